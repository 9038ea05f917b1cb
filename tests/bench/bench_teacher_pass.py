"""What keeping states adds to the bare model's forward pass (paper, section 3.1).

`python tests/bench/bench_teacher_pass.py [--tokens N] [--rounds R]`; bar: the pass into the store, and into a planned
sample, take at most 1.10 of the decoder's forward pass without its head. The two alternate batch by batch, so that
other work on the machine meets both.
"""

import argparse
import dataclasses
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dskd_utils.senses.hidden_states import collect_states
from dskd_utils.senses.sample import plan_sample
from dskd_utils.senses.sample_pass import collect_predicted, collect_sample
from dskd_utils.sources.assets import fetch
from dskd_utils.sources.corpora import Packed, pack
from dskd_utils.sources.teachers import Teacher, load_teacher
from dskd_utils.sources.wikipedia import wikipedia_leads


def clocks() -> torch.Tensor:
    """Seconds of the wall clock and of this process's processors."""
    return torch.tensor([time.perf_counter(), time.process_time()], dtype=torch.float64)


def ratio(teacher: Teacher, work: Callable[[], object]) -> list[float]:
    """Time of a pass over that of the same forward passes alone, one run beside each batch of it; on both clocks."""
    model, spent, batches = teacher.model.model, torch.zeros(2, dtype=torch.float64), 0
    forward = model.forward

    def beside(_module, arguments, options, _output=None) -> None:
        nonlocal spent
        began = clocks()
        forward(*arguments, **options)
        spent += clocks() - began

    def before(*call) -> None:
        if batches % 2 == 0:
            beside(*call)

    def after(*call) -> None:
        nonlocal batches
        if batches % 2:
            beside(*call)
        batches += 1

    hooks = [
        model.register_forward_pre_hook(before, with_kwargs=True),
        model.register_forward_hook(after, with_kwargs=True),
    ]
    began = clocks()
    work()
    total = clocks() - began
    for hook in hooks:
        hook.remove()
    return ((total - spent) / spent).tolist()


def passes(teacher: Teacher, part: Packed, folder: Path, batch_size: int) -> dict[str, Callable[[], object]]:
    """The three passes over a text, each with its preparation."""
    options = {"batch_size": batch_size}
    layer = teacher.num_layers // 2
    return {
        "pass into the store, one split layer": lambda: collect_states(
            teacher, part, folder / "store", split_layers=[layer], **options
        ),
        "pass into a planned sample": lambda: collect_sample(
            teacher, [part], plan_sample([part], teacher.vocab_size), folder / "sample", **options
        ),
        "pass into a reservoir, with the head that 'predicted' needs": lambda: collect_predicted(
            teacher, [part], folder / "predicted", **options
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=8192, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=4)
    given = parser.parse_args()
    teacher = load_teacher(given.teacher)
    articles = list(wikipedia_leads(fetch("wikipedia-leads")))[: given.tokens * given.rounds // 20]
    whole = pack(articles, teacher.tokenizer, budget=given.tokens * given.rounds)
    size = len(whole.ids) // given.rounds
    found: dict[str, list[list[float]]] = {}
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(given.rounds):
            rows = slice(number * size, (number + 1) * size)
            tensors = {name: getattr(whole, name)[rows] for name in ("ids", "positions", "targets")}
            part = dataclasses.replace(whole, **tensors, digest=f"part {number}")
            for what, work in passes(teacher, part, Path(name), given.batch_size).items():
                found.setdefault(what, []).append(ratio(teacher, work))
            for made in Path(name).iterdir():
                shutil.rmtree(made)
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
    threads = torch.get_num_threads()
    print(f"{teacher.name}, {given.rounds} rounds of {size * whole.ids.shape[1]:,} positions, {threads} threads")
    print("time over the bare model's: median (least to most) of the rounds, by the wall clock and in processor time")
    for what, ratios in found.items():
        both = [f"{statistics.median(r):.3f} ({min(r):.3f} to {max(r):.3f})" for r in zip(*ratios, strict=True)]
        print(f"{what}: {both[0]}, {both[1]}")
    print(f"peak memory {peaks[0]:.2f} GB after the first round, {peaks[-1]:.2f} GB after the last")


if __name__ == "__main__":
    main()
