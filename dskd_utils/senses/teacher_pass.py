"""How a teacher pass is cut off, resumed and shared by several processes (paper, section 3.1).

A pass is a list of batches that is fixed before it starts. Each batch writes to places of its own in files of
known size, so batches may run in any order, twice, or in several processes, and the bytes are the same. What is
finished is noted only after its rows are on the disk.
"""

import contextlib
import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed
from tqdm.auto import tqdm

from dskd_utils.artefacts import MANIFEST, read_json, replace_folder, write_json, write_manifest

logger = logging.getLogger(__name__)
PATIENCE = timedelta(hours=12)  # of processes that wait for one that clusters, or writes its students
WORKING = "work-"  # files with this prefix belong to an unfinished pass


@dataclass(frozen=True)
class Batches:
    """The blocks that a pass reads, in groups of at most `size` blocks of one text.

    Which blocks share a forward pass depends on nothing else, so a resumed or a shared pass rounds alike.

    Attributes:
        blocks: for each text, the numbers of its blocks, ascending int64.
        size: blocks a forward pass.
    """

    blocks: tuple[Tensor, ...]
    size: int

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([-(-len(part) // self.size) for part in self.blocks])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> tuple[int, Tensor]:
        """The text and the blocks `(b,)` of a batch."""
        text = int(np.searchsorted(self._ends, number, side="right"))
        within = number - (int(self._ends[text - 1]) if text else 0)
        return text, self.blocks[text][within * self.size : (within + 1) * self.size]


class RowFile:
    """A file that is written in any order, also by several processes at once, with plain writes.

    A writable memory map would end the process on a full disk; a write that fails is an error like any other.

    Args:
        path: the file, kept if it is there.
        size: bytes to set aside now, so that a disk too small is found before any work; 0 where it is not known.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, path: Path, size: int = 0):
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._set_aside(size)
        except BaseException:
            self.close()
            path.unlink()  # what was set aside so far would keep the disk full
            raise

    def _set_aside(self, size: int) -> None:
        if size <= os.fstat(self._descriptor).st_size:
            return
        free = shutil.disk_usage(self.path.parent).free
        message = (
            f"the disk is full: {self.path} needs {size / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; "
            "free some space or set DSKD_HOME to another disk and run again"
        )
        if size > free + os.fstat(self._descriptor).st_blocks * 512:
            raise OSError(errno.ENOSPC, message)
        with _full_disk(message):
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._descriptor, 0, size)
            else:
                os.truncate(self._descriptor, size)

    def write(self, values: Tensor, offset: int) -> None:
        """Write the bytes of a contiguous tensor at `offset` bytes.

        Raises:
            OSError: the disk is full.
        """
        self._write(_bytes(values), offset)

    def write_rows(self, rows: np.ndarray, values: Tensor) -> None:
        """Write contiguous `values` `(m, d)` as the rows numbered `rows` `(m,)`; neighbours go in one call.

        Raises:
            OSError: the disk is full.
        """
        content, width = _bytes(values), values.shape[1] * values.element_size()
        cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        for start, stop in zip(cuts, cuts[1:], strict=False):
            if stop > start:
                self._write(content[start * width : stop * width], int(rows[start]) * width)

    def _write(self, left: memoryview, offset: int) -> None:
        with self._going_on():
            while left:
                written = os.pwrite(self._descriptor, left, offset)
                left, offset = left[written:], offset + written

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        with self._going_on():
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _going_on(self) -> contextlib.AbstractContextManager:
        return _full_disk(
            f"the disk is full while writing {self.path}: free some space and run again, the pass goes on from there"
        )


def _bytes(values: Tensor) -> memoryview:
    return memoryview(values.view(torch.uint8).flatten().numpy())


@contextlib.contextmanager
def _full_disk(message: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        raise OSError(errno.ENOSPC, message) from error


def processes() -> tuple[int, int]:
    """This process's number and how many there are: of `torchrun` or `accelerate launch`, else 0 and 1."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not distributed.is_initialized():
        from accelerate import PartialState  # only here: it would settle the device of a plain run

        PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def wait_for_all() -> None:
    """Return when every process has come here."""
    if processes()[1] > 1:
        distributed.barrier()


def open_pass(folder: Path, settings: dict) -> Path:
    """The folder of an unfinished pass with the same settings, or a fresh one; every process calls it."""
    partial = folder.parent / f".{folder.name}.partial"
    if processes()[0] == 0:
        plan = partial / "plan.json"
        same = plan.is_file() and read_json(plan) == json.loads(json.dumps(settings))
        if partial.exists() and not same:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        write_json(plan, settings)
    wait_for_all()
    return partial


def finish_pass(partial: Path, folder: Path, kind: str, parameters: dict, started: float, **facts) -> None:
    """Turn an unfinished pass into an artefact once every process is through; every process calls it.

    A pass that was cut off in here has its manifest already, and only what is left is done.
    """
    wait_for_all()
    if processes()[0] == 0:
        if not (partial / MANIFEST).is_file():
            write_manifest(partial, kind, parameters, started, **facts)
        for left in [*partial.glob(f"{WORKING}*"), *partial.glob(".*")]:  # what a kill left half-written, too
            left.unlink()
        replace_folder(partial, folder)
    wait_for_all()


class Journal:
    """The numbers of the finished batches, a file of int64 a process, which only that process adds to."""

    def __init__(self, partial: Path):
        self.path = partial / f"{WORKING}journal-{processes()[0]:05d}"
        self.done = np.concatenate([np.empty(0, np.int64), *map(_records, partial.glob(f"{WORKING}journal-*"))])

    def add(self, numbers: list[int]) -> None:
        """Note batches whose rows are on the disk."""
        whole = len(_records(self.path)) * 8 if self.path.exists() else 0
        with RowFile(self.path) as file:
            file.write(torch.tensor(numbers, dtype=torch.int64), whole)  # over a record that a kill cut short
            file.sync()


def _records(path: Path) -> np.ndarray:
    content = path.read_bytes()
    return np.frombuffer(content[: len(content) // 8 * 8], np.int64)


def run_batches(
    count: int, done: np.ndarray, work: Callable[[int], None], commit: Callable[[list[int]], None], every: float
) -> None:
    """Do what is left of `count` batches, dealt out among the processes; every process calls it.

    Args:
        count: number of batches.
        done: numbers of those that are finished.
        work: does a batch.
        commit: brings finished batches to the disk, then notes their numbers.
        every: seconds between two commits, the most that a kill costs.
    """
    rank, world = processes()
    wait_for_all()  # all have read what is done before anyone notes more
    left = np.setdiff1d(np.arange(count), done)
    if len(left) < count:
        logger.info("resuming the teacher pass after %d of %d batches", count - len(left), count)
    finished: list[int] = []
    last = time.monotonic()
    with torch.inference_mode(), tqdm(total=count, initial=count - len(left), unit="batch", desc="teacher pass",
                                      disable=rank > 0) as bar:  # fmt: skip
        for number in left[rank::world].tolist():
            work(number)
            finished.append(number)
            if time.monotonic() - last >= every:
                commit(finished)
                finished, last = [], time.monotonic()
            bar.update(min(world, count - bar.n))
    commit(finished)
