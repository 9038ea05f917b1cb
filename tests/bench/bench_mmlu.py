"""All of MMLU's test split for a teacher and two students (paper, section 5, Table 3).

`python tests/bench/bench_mmlu.py [--protocols paper likelihood] [--dtype D] [--limit N]`; aim: all 14,042 questions for
the three models within 20 minutes on two cores with bf16 matrix units, a protocol.
"""

import argparse
import time

import torch

from dskd_utils.distill.students import make_student
from dskd_utils.evaluate.benchmarks import PROTOCOLS, evaluate
from dskd_utils.sources.teachers import load_teacher


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


if __name__ == "__main__":
    main()
