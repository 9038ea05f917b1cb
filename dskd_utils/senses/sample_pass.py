"""The teacher pass that keeps a sample of states, grouped by token, in one file (paper, section 3.1; NOTES 1, 3).

A planned sample is written straight to its final place. Under the key `predicted` a state's token is known only in
the pass: a reservoir keeps the states in a working file, and one copy at the end puts them in order.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dskd_utils.artefacts import MANIFEST, atomic_path
from dskd_utils.senses.hidden_states import TeacherStates, kept_states, predict, teacher_parameters, teacher_states
from dskd_utils.senses.sample import (
    Reservoir,
    Sample,
    SamplePlan,
    draw_parameters,
    keyed_rows,
    load_sample,
    plan_of,
    save_plan,
)  # fmt: skip
from dskd_utils.senses.teacher_pass import (
    WORKING,
    Batches,
    Journal,
    RowFile,
    finish_pass,
    open_pass,
    processes,
    run_batches,
    wait_for_all,
)  # fmt: skip
from dskd_utils.sources.corpora import Packed
from dskd_utils.sources.teachers import Teacher

COPIED = 4096  # rows of a file, or blocks of a text, handled together


def collect_sample(
    teacher: Teacher,
    texts: Sequence[Packed],
    plan: SamplePlan,
    folder: Path,
    *,
    stored: Mapping[int, TeacherStates] | None = None,
    batch_size: int = 4,
    checkpoint_seconds: float = 10.0,
    parameters: dict | None = None,
) -> Sample:
    """Run the teacher over the blocks that hold a kept position, and write each kept state to its place.

    A finished folder is only opened; an interrupted one is continued. Under `torchrun` every process calls it with
    a teacher of its own and does its share of the batches.

    Args:
        teacher: the model and its tokenizer.
        texts: those that the plan was made for.
        plan: from `plan_sample`.
        folder: where the sample lives.
        stored: stores of some of the texts by their number; the states are copied and no teacher runs.
        batch_size: blocks a forward pass.
        checkpoint_seconds: most work that a kill costs.
        parameters: what the manifest records beside the teacher, the corpus and the draw.

    Raises:
        ValueError: the plan or a store is of other texts, a state is not finite, or a finished sample belongs to
            another teacher, corpus or draw.
        OSError: the disk is full, found before the pass where it can be.
    """
    stored = dict(stored or {})
    digests = _check_texts(texts, stored)
    if plan.digests != digests:
        raise ValueError(
            "the plan was made for other texts: call plan_sample on the texts of this pass, in their order"
        )
    draw = draw_parameters(digests, plan.key, plan.cap, plan.seed, len(plan.offsets) - 1)
    parameters = dict(parameters or {}) | teacher_parameters(teacher) | draw
    if (folder / MANIFEST).is_file():
        return load_sample(folder, **parameters)
    started = time.monotonic()
    partial = open_pass(folder, parameters | {"batch_size": batch_size, "stored": sorted(stored)})
    if not (partial / MANIFEST).is_file():
        _write_planned(teacher, texts, plan, partial, stored, batch_size, checkpoint_seconds)
        if processes()[0] == 0:
            save_plan(plan, partial)
    finish_pass(partial, folder, "sample", parameters, started, **_facts(plan, texts))
    return load_sample(folder, **parameters)


def _write_planned(
    teacher: Teacher,
    texts: Sequence[Packed],
    plan: SamplePlan,
    partial: Path,
    stored: dict[int, TeacherStates],
    batch_size: int,
    every: float,
) -> None:
    order = np.lexsort((plan.position.numpy(), plan.text.numpy()))  # rows in the order of the pass
    bounds = np.searchsorted(plan.text.numpy()[order], np.arange(len(texts) + 1))
    rows = [order[start:stop] for start, stop in zip(bounds, bounds[1:], strict=False)]
    places = [plan.position.numpy()[part] for part in rows]
    widths = [text.ids.shape[1] for text in texts]
    needed = [torch.from_numpy(np.unique(part // width)) for part, width in zip(places, widths, strict=True)]
    batches = Batches(tuple(needed), batch_size)
    journal = Journal(partial)
    with RowFile(partial / "rows.bf16", len(order) * teacher.hidden_size * 2) as file:

        def work(number: int) -> None:
            text, blocks = batches[number]
            width, edges = widths[text], blocks[[0, -1]] + torch.tensor([0, 1])
            start, stop = np.searchsorted(places[text], edges.numpy() * width)
            here, filed = places[text][start:stop], rows[text][start:stop]
            order = np.argsort(filed)
            here = torch.from_numpy(here[order])
            within = torch.searchsorted(blocks, here // width) * width + here % width
            states = _final_states(teacher, texts[text], blocks, stored.get(text))
            file.write_rows(filed[order], states.flatten(0, 1)[within])

        def commit(numbers: list[int]) -> None:
            file.sync()
            journal.add(numbers)

        run_batches(len(batches), journal.done, work, commit, every)


def _check_texts(texts: Sequence[Packed], stored: Mapping[int, TeacherStates]) -> tuple[str, ...]:
    """Digests of the texts; there must be one at least, and every store must be that of its text."""
    if not any(len(text.ids) for text in texts):
        raise ValueError("the corpus is empty, there is not one block to read: give a text of at least two tokens")
    for number, states in stored.items():
        if not 0 <= number < len(texts) or not torch.equal(states.ids, texts[number].ids):
            raise ValueError(
                f"stored[{number}] holds the states of another text than texts[{number}]: number stores as their texts"
            )
    return tuple(text.digest for text in texts)


def _final_states(teacher: Teacher, text: Packed, blocks: Tensor, states: TeacherStates | None) -> Tensor:
    """States after the final norm `(b, T, d)` bf16 of the blocks of a text, from its store where it has one."""
    if states is not None:
        return kept_states(states.final[blocks], text.digest, blocks)
    (final,) = teacher_states(teacher, text.ids[blocks], text.positions[blocks], [])
    return kept_states(final, text.digest, blocks)


def collect_predicted(
    teacher: Teacher,
    texts: Sequence[Packed],
    folder: Path,
    *,
    cap: int = 2000,
    seed: int = 0,
    stored: Mapping[int, TeacherStates] | None = None,
    batch_size: int = 4,
    checkpoint_seconds: float = 30.0,
    parameters: dict | None = None,
) -> Sample:
    """Run the teacher over all blocks and file the states under its own predictions (NOTES 1).

    Keeps the rows that `plan_sample` would, had it known the predictions. The disk holds the kept states twice for
    a moment. Otherwise as `collect_sample`.

    Args:
        teacher: the model and its tokenizer.
        texts: packed texts.
        folder: where the sample lives.
        cap: most states a token.
        seed: of the draw.
        stored: stores of some of the texts by their number; the states are read there and no teacher runs.
        batch_size: blocks a forward pass.
        checkpoint_seconds: most work that a kill costs.
        parameters: what the manifest records beside the teacher, the corpus and the draw.

    Raises:
        ValueError: the corpus is empty, a store is of another text, a state is not finite, or a finished sample
            belongs to another teacher, corpus or draw.
        OSError: the disk is full.
    """
    stored = dict(stored or {})
    digests = _check_texts(texts, stored)
    vocab_size = teacher.vocab_size
    parameters = dict(parameters or {}) | teacher_parameters(teacher)
    parameters |= draw_parameters(digests, "predicted", cap, seed, vocab_size)
    if (folder / MANIFEST).is_file():
        return load_sample(folder, **parameters)
    started = time.monotonic()
    partial = open_pass(folder, parameters | {"batch_size": batch_size, "stored": sorted(stored)})
    facts = {}
    if not (partial / MANIFEST).is_file():
        _fill_reservoir(teacher, texts, partial, stored, cap, seed, batch_size, checkpoint_seconds)
        wait_for_all()
        rows, slots = _merged_reservoirs(partial, vocab_size, cap)
        plan = plan_of(rows, digests, vocab_size, "predicted", cap, seed)
        _copy_in_order(rows, slots, partial, teacher.hidden_size)
        facts = _facts(plan, texts)
        if processes()[0] == 0:
            save_plan(plan, partial)
    finish_pass(partial, folder, "sample", parameters, started, **facts)
    return load_sample(folder, **parameters)


def _fill_reservoir(
    teacher: Teacher,
    texts: Sequence[Packed],
    partial: Path,
    stored: dict[int, TeacherStates],
    cap: int,
    seed: int,
    batch_size: int,
    every: float,
) -> None:
    """Keep the states of lowest priority that this process meets, in a working file of its own.

    A checkpoint holds the reservoir's rows and the batches that it has seen. What a killed run wrote after its last
    checkpoint does no harm: it went to free slots, or to those of rows that had lost already.
    """
    head = teacher.model.get_output_embeddings().weight.detach()
    batches = Batches(tuple(_with_target(text) for text in texts), batch_size)
    checkpoints = {path: _checkpoint(path) for path in partial.glob(f"{WORKING}reservoir-*.npz")}
    done = np.concatenate([np.empty(0, np.int64), *(found["done"] for found in checkpoints.values())])
    path = partial / f"{WORKING}reservoir-{processes()[0]:05d}.npz"
    own = checkpoints.get(path, {"rows": None, "slots": 0, "done": np.empty(0, np.int64)})
    reservoir = Reservoir(teacher.vocab_size, cap, own["rows"], int(own["slots"]))
    seen = own["done"].tolist()
    with RowFile(path.with_suffix(".bf16")) as file:

        def work(number: int) -> None:
            text, blocks = batches[number]
            width = texts[text].ids.shape[1]
            states = _final_states(teacher, texts[text], blocks, stored.get(text)).flatten(0, 1)
            places = (blocks[:, None] * width + torch.arange(width)).flatten()
            targets = texts[text].targets[blocks].flatten()
            keys = torch.cat([predict(part, head) for part in states.split(512)])
            rows = keyed_rows(keys.numpy(), targets.numpy(), places.numpy(), text, texts[text].digest, seed)
            taken, slots = reservoir.offer(rows)
            where = np.flatnonzero(targets.numpy() >= 0)[taken]
            file.write_rows(slots, states[torch.from_numpy(where)])

        def commit(numbers: list[int]) -> None:
            seen.extend(numbers)
            file.sync()
            with atomic_path(path) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, rows=reservoir.kept(), slots=reservoir.slots, done=np.array(seen, np.int64))

        run_batches(len(batches), done, work, commit, every)


def _with_target(text: Packed) -> Tensor:
    """Numbers of the blocks that hold a position with a next token."""
    parts = [(part >= 0).any(1) for part in text.targets.split(COPIED)]  # in parts: the text may be memory-mapped
    return torch.cat(parts).nonzero().flatten()


def _checkpoint(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return dict(found)


def _merged_reservoirs(partial: Path, vocab_size: int, cap: int) -> tuple[np.ndarray, dict[Path, int]]:
    """The kept rows of all processes, slots counted on from file to file, and each file's number of slots."""
    found = {path: _checkpoint(path) for path in sorted(partial.glob(f"{WORKING}reservoir-*.npz"))}
    slots = {path.with_suffix(".bf16"): int(checkpoint["slots"]) for path, checkpoint in found.items()}
    for checkpoint, first in zip(found.values(), np.cumsum([0, *slots.values()]), strict=False):
        checkpoint["rows"]["slot"] += first
    rows = np.concatenate([checkpoint["rows"] for checkpoint in found.values()])
    return Reservoir(vocab_size, cap, rows, sum(slots.values())).kept(), slots


def _copy_in_order(rows: np.ndarray, slots: dict[Path, int], partial: Path, hidden_size: int) -> None:
    """Copy the states of `rows` from the working files to their final places; each process copies some."""
    rank, world = processes()
    sources = [np.memmap(path, np.int16, "r", shape=(n, hidden_size)) for path, n in slots.items() if n]
    firsts = np.cumsum([0, *map(len, sources)])
    with RowFile(partial / "rows.bf16", len(rows) * hidden_size * 2) as file:
        for start in range(rank * COPIED, len(rows), world * COPIED):
            wanted = rows["slot"][start : start + COPIED]
            values = np.empty((len(wanted), hidden_size), np.int16)
            for source, first in zip(sources, firsts, strict=False):
                here = (wanted >= first) & (wanted < first + len(source))
                values[here] = source[wanted[here] - first]
            file.write(torch.from_numpy(values), start * hidden_size * 2)
        file.sync()


def _facts(plan: SamplePlan, texts: Sequence[Packed]) -> dict:
    """Counts for the manifest, and the texts."""
    counts = plan.offsets.diff()
    return {
        "texts": list(plan.digests),
        "states": len(plan.position),
        "tokens": int((counts > 0).sum()),
        "tokens at the cap": int((counts == plan.cap).sum()),
        "corpus tokens": sum(text.tokens for text in texts),
    }
