"""Runs every teacher pass in a process of its own, for the tests that kill it or share it; prints what it did.

`run_passes.py TEACHER TEXTS FOLDER [--kills N]`: with kills, runs whole into FOLDER/whole, then into FOLDER/cut in
children, at most N of which die by SIGKILL at a random moment; without, into FOLDER, sharing the work with the other
processes that `torchrun` started.
"""

import argparse
import json
import os
import random
import signal
import time
from pathlib import Path

import torch
from torch import distributed

from dskd_utils.senses import hidden_states, sample_pass
from dskd_utils.senses.hidden_states import collect_states
from dskd_utils.senses.sample import plan_sample
from dskd_utils.senses.sample_pass import collect_predicted, collect_sample
from dskd_utils.sources.corpora import Packed
from dskd_utils.sources.teachers import load_teacher

OPTIONS = {"batch_size": 1, "checkpoint_seconds": 0.01}
calls = []


def counted(real):
    return lambda *given: (calls.append(1), real(*given))[1]


def run(teacher, texts, folder):
    collect_states(teacher, texts[1], folder / "states", split_layers=[0, 4], **OPTIONS)
    collect_sample(teacher, texts, plan_sample(texts, teacher.vocab_size, cap=5), folder / "sample", **OPTIONS)
    collect_predicted(teacher, texts, folder / "predicted", cap=5, **OPTIONS)


def child(*given):
    """Start `run` in a child; the imports and the teacher are there already."""
    if (number := os.fork()) == 0:
        try:
            run(*given)
            os._exit(0)
        finally:
            os._exit(1)
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("teacher", "texts", "folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    teacher = load_teacher(str(given.teacher))
    texts = [Packed(**text) for text in torch.load(given.texts, weights_only=True)]
    hidden_states.teacher_states = counted(hidden_states.teacher_states)
    sample_pass.teacher_states = counted(sample_pass.teacher_states)
    if not given.kills:
        run(teacher, texts, given.folder)
        print(json.dumps({"batches": len(calls)}))
        if distributed.is_initialized():
            distributed.destroy_process_group()
        return
    began = time.monotonic()
    assert os.waitpid(child(teacher, texts, given.folder / "whole"), 0)[1] == 0
    whole, draw, cut = time.monotonic() - began, random.Random(0), given.folder / "cut"
    killed = []
    for _ in range(given.kills):
        number = child(teacher, texts, cut)
        time.sleep(draw.uniform(0, whole / 4))
        os.kill(number, signal.SIGKILL)
        if os.waitpid(number, 0)[1] == 0:
            break  # it was through already
        killed += [path.name for path in cut.glob(".*.partial/work-*") if path.stat().st_size]
    assert os.waitpid(child(teacher, texts, cut), 0)[1] == 0
    print(json.dumps({"killed": killed}))


if __name__ == "__main__":
    main()
