"""States to a dictionary on disk: the same as in memory, killed at any moment, and far larger than a laptop's."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.clustering import write_dictionary
from dskd_utils.senses.dictionary import FILE, SenseDictionary, build_dictionary
from dskd_utils.senses.kmeans import batched_kmeans

VOCABULARY, WIDTH = 262_144, 4_096
GIGABYTE = 1e9
HEADER = {"teacher": "t"}


@pytest.fixture(scope="module")
def relations() -> Relations:
    return Relations.from_pairs([("happy", "glad"), ("happy", "gladmerry")], [("happy", "sad")])


def ragged(counts: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])


def test_the_file_holds_what_memory_would(relations, tiny_tokenizer, tmp_path):
    counts = torch.arange(len(tiny_tokenizer)) % 9
    offsets = ragged(counts)
    values = torch.randn(int(offsets[-1]), 12, generator=torch.Generator().manual_seed(2)).bfloat16()
    written, inertia = write_dictionary(
        tmp_path, values, offsets, 3, relations, tiny_tokenizer, header={"teacher": "t"}
    )
    clusters = batched_kmeans(values, offsets, 3)
    plain = build_dictionary(clusters.centroids.bfloat16(), clusters.offsets, relations, tiny_tokenizer)
    assert torch.equal(written.vectors, plain.vectors) and torch.equal(written.token_offsets, plain.token_offsets)
    assert written.words == plain.words and torch.equal(inertia, clusters.inertia)
    assert written.header["teacher"] == "t" and written.header["counts"] == plain.table8()
    assert [path.name for path in tmp_path.iterdir()] == [FILE], "the scratch file is gone"


def test_numbers_of_senses_may_differ(relations, tiny_tokenizer, tmp_path):
    offsets = ragged(torch.full((len(tiny_tokenizer),), 6))
    values = torch.randn(int(offsets[-1]), 4, generator=torch.Generator().manual_seed(2))
    k = 1 + torch.arange(len(tiny_tokenizer)) % 8
    written, _ = write_dictionary(tmp_path, values, offsets, k, relations, tiny_tokenizer)
    assert torch.equal(written.token_offsets.diff(), k.clamp(max=6))


def test_a_state_that_is_no_number_is_one_sentence(relations, tiny_tokenizer, tmp_path):
    offsets = ragged(torch.full((len(tiny_tokenizer),), 4))
    values = torch.ones(int(offsets[-1]), 4)
    values[7, 2] = torch.nan
    with pytest.raises(ValueError, match="a vector is not finite .* check the teacher's hidden states"):
        write_dictionary(tmp_path, values, offsets, 2, relations, tiny_tokenizer)


def test_a_full_disk_is_one_sentence(relations, tiny_tokenizer, tmp_path, monkeypatch):
    offsets = ragged(torch.full((len(tiny_tokenizer),), 4))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(OSError, match="the disk is full: .*vectors.bf16 needs .* GB and 0.00 GB are free; free some"):
        write_dictionary(tmp_path, torch.ones(int(offsets[-1]), 4), offsets, 2, relations, tiny_tokenizer)
    assert not list(tmp_path.iterdir())


def test_clustering_that_is_killed_again_and_again_ends_with_the_same_bytes(tiny_tokenizer, tmp_path):
    tiny_tokenizer.save_pretrained(tmp_path / "tokenizer")
    script = Path(__file__).parent / "run_clusters.py"
    folder = tmp_path / "runs"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "tokenizer"), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert said["met"].count("vectors.bf16") >= 3, "kills must meet the clustering"
    assert said["left"] == ["cut", "whole"], "nothing half-written may be left"
    assert (folder / "cut" / FILE).read_bytes() == (folder / "whole" / FILE).read_bytes()


class Memory:
    """The most memory of this process that no file stands behind, in GB, while it works."""

    def __enter__(self):
        self.peak, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._over.is_set():
            lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
            kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.peak = max(self.peak, kilobytes * 1024 / GIGABYTE)
            time.sleep(0.02)

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_vocabulary_of_262_thousand_of_width_4096_fits_in_8_gb(tiny_tokenizer, tmp_path):
    if not Path("/proc/self/status").is_file():
        pytest.skip("memory is read from /proc, which this system does not have")
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(5, (VOCABULARY,), generator=generator)  # most tokens are rare
    counts[torch.randperm(VOCABULARY, generator=generator)[:2000]] = 30
    counts[torch.randperm(VOCABULARY, generator=generator)[:20]] = 2000
    offsets = ragged(counts)
    rows = int(offsets[-1])
    needed = rows * WIDTH * 2 * 3 / GIGABYTE  # the states, the senses and their file
    if shutil.disk_usage(tmp_path).free / GIGABYTE < needed + 5:
        pytest.skip(f"{needed + 5:.0f} GB of free disk are needed in {tmp_path}")
    with open(tmp_path / "rows.bf16", "wb") as stream:
        for part in torch.arange(rows).split(1 << 15):
            noise = torch.randn(len(part), WIDTH, generator=generator).bfloat16()
            stream.write(noise.view(torch.uint8).numpy().tobytes())
    values = torch.from_file(str(tmp_path / "rows.bf16"), size=rows * WIDTH, dtype=torch.bfloat16).view(rows, WIDTH)
    relations = Relations.from_pairs([("happy", "glad")], [("happy", "sad")])
    began = time.monotonic()
    with Memory() as memory:
        written, inertia = write_dictionary(tmp_path, values, offsets, 10, relations, tiny_tokenizer)
    print(f"{rows:,} states, {len(written.vectors):,} senses, {time.monotonic() - began:.0f} s, {memory.peak:.2f} GB")
    assert memory.peak < 8
    assert torch.equal(written.token_offsets.diff(), counts.clamp(max=10))
    assert torch.isfinite(inertia).all() and (inertia[counts > 10] > 0).all()
    few = int(((counts > 0) & (counts <= 10)).nonzero()[0])
    assert torch.equal(written.token_senses(few), values[int(offsets[few]) : int(offsets[few + 1])])
    began = time.monotonic()
    opened = SenseDictionary.load(tmp_path)
    assert time.monotonic() - began < 1 and opened.vectors.shape == (int(counts.clamp(max=10).sum()), WIDTH)
