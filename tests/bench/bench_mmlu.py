"""All of MMLU's test split for a teacher and two students (paper, section 5, Table 3).

`python tests/bench/bench_mmlu.py [--protocols paper likelihood] [--dtype D] [--limit N]`; bar: all 14,042 questions for
the three models within 20 minutes on two cores with bf16 matrix units, a protocol; it ends with an error where this is
missed.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

from dskd_utils.distill.students import make_student
from dskd_utils.evaluate.benchmarks import PROTOCOLS, evaluate
from dskd_utils.sources.teachers import load_teacher

MINUTES = 20


def matrix_units() -> bool:
    """Whether the machine multiplies matrices of bf16."""
    cpu = Path("/proc/cpuinfo")
    return cpu.is_file() and "amx_bf16" in cpu.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS))
    parser.add_argument("--layers", type=int, default=27)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--limit", type=int, help="a seeded sample, for a first look")
    given = parser.parse_args()
    teacher = load_teacher(given.teacher, dtype=given.dtype)
    models = {"teacher": teacher.model}
    models |= {init: make_student(teacher, given.layers, init=init).as_model() for init in ("last", "next")}
    slow = []
    for protocol in given.protocols:
        began = time.perf_counter()
        table = evaluate(models, teacher.tokenizer, ("mmlu",), protocol, shots=given.shots, limit=given.limit)
        minutes = (time.perf_counter() - began) / 60
        first = table.iloc[0]
        print(
            f"{protocol}, {first['shots']}-shot, {first['n']:,} of {first['of']:,} questions, {first['truncated']:,} "
            f"cut to the context, {len(models)} models, {given.dtype}, {torch.get_num_threads()} threads: "
            f"{minutes:.1f} minutes, {first['n'] / minutes / 60:.1f} questions a second"
        )
        columns = ["model", "metric", "value", "stderr", "chance"]
        print(table[columns].round(4).to_string(index=False), flush=True)
        slow += [f"{protocol} took {minutes:.1f} minutes"] if minutes > MINUTES else []
    if given.limit is not None or not matrix_units():
        why = "a part of the questions" if given.limit is not None else "this machine: it has no bf16 matrix units"
        print(f"the bar of {MINUTES} minutes does not apply to {why}")
    elif slow:
        sys.exit(f"the bar is missed: {', '.join(slow)}, expected at most {MINUTES}")


if __name__ == "__main__":
    main()
