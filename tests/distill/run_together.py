"""Trains three students in one pass, in a process of its own, for the test that shares the pass between two.

`run_together.py GIVEN FOLDER`: GIVEN holds the store, the index and the teacher's folder.
"""

import sys
from pathlib import Path

import torch
from torch import distributed

from dskd_utils.distill.candidates import CandidateIndex
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.students import make_student
from dskd_utils.distill.trainee import Cell, Schedule
from dskd_utils.distill.training import distill_together
from dskd_utils.senses.hidden_states import TeacherStates
from dskd_utils.sources.teachers import load_teacher


def main():
    given, folder = torch.load(sys.argv[1], weights_only=True), Path(sys.argv[2])
    teacher, index = load_teacher(given["teacher"]), CandidateIndex(**given["index"])
    fast = Schedule(lr=2e-2, epochs=2, batch_size=4, checkpoint_every=3)
    cells = [
        Cell(make_student(teacher, 4), folder / "kd", Objective(beta_p=0, beta_n=0), fast),
        Cell(make_student(teacher, 4), folder / "dskd", Objective(), fast, index),
        Cell(make_student(teacher, 4), folder / "hot", Objective(temperature=4.0, kappa=2, weighting="sampled"),
             Schedule(lr=1e-2, epochs=2, batch_size=4, checkpoint_every=2), index),
    ]  # fmt: skip
    distill_together(cells, TeacherStates(**given["states"]))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
