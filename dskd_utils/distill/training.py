"""Training a student on the teacher's stored states (paper, section 4.2; NOTES 11, 19, 31)."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from accelerate import Accelerator, DistributedType
from tqdm.auto import tqdm

from dskd_utils.artefacts import read_manifest
from dskd_utils.distill.candidates import CandidateIndex
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.steps import take_step
from dskd_utils.distill.students import Student
from dskd_utils.distill.trainee import Cell, Schedule, Trainee
from dskd_utils.senses.live_states import States
from dskd_utils.senses.teacher_pass import processes

logger = logging.getLogger(__name__)

LONGEST = 300.0  # seconds without a checkpoint, also where many students share steps that take long


def distill(
    student: Student,
    states: States,
    folder: Path,
    *,
    objective: Objective,
    schedule: Schedule,
    index: CandidateIndex | None = None,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Train one student and export it as a plain Hugging Face folder; a finished one is left as it is.

    A run that was cut off goes on from its last checkpoint and ends with the same weights. The student's
    folder also holds `training.csv`, one row a step with the loss parts, and a manifest.

    Args:
        student, folder, objective, schedule, index, card: as in `Cell`.
        states: the teacher's states; must hold the student's number of frozen layers.

    Returns:
        `folder`.

    Raises:
        ValueError: the store lacks the student's split layer, or the senses are missing.
        FloatingPointError: the loss is not finite; names the step and the last good checkpoint.
    """
    (found,) = distill_together([Cell(student, folder, objective, schedule, index, card or {})], states)
    if isinstance(found, Exception):
        raise found
    return found


def distill_together(cells: Sequence[Cell], states: States) -> list[Path | Exception]:
    """Train several students in one pass over the store: each batch is read, and the teacher's part computed, once.

    A student ends with the weights that it would have had alone. Each has its own checkpoint, and one that was cut off
    earlier than the others joins at its own step. Under `torchrun` or `accelerate launch` the processes share every
    batch, and the result is that of one process to rounding.

    Args:
        cells: the students; those that are finished are left as they are.
        states: the teacher's states; must hold every cell's number of frozen layers.

    Returns:
        for each cell its folder, or the error that stopped it: a loss that is not finite, a margin that cannot be
        measured or memory that runs out ends one cell, not the others. Where processes share the work only the first of
        these does.

    Raises:
        ValueError: the store lacks a split layer, senses are missing, the cells do not share their batches, two of
            them have one folder, or the launch would split the trained layers over devices.
        OSError: a disk or a network failed, which is no student's fault; a second call goes on.
    """
    if len({cell.folder for cell in cells}) < len(cells):
        raise ValueError("two cells have the same folder: give each student a folder of its own")
    if len({(cell.schedule.epochs, cell.schedule.batch_size, cell.schedule.seed) for cell in cells}) > 1:
        raise ValueError(
            "the cells of one pass must have the same epochs, batch_size and seed, which decide the batches: "
            "train the others in a pass of their own"
        )
    waiting = [cell for cell in cells if not (cell.folder / "manifest.json").is_file()]
    for cell in waiting:
        _check(cell, states)
    errors: dict[Path, Exception] = {}
    if waiting:
        processes()  # they meet with its patience
        run = Accelerator(cpu=waiting[0].student.teacher.model.device.type == "cpu")
        _check_launch(run)
        trainees = []
        for cell in waiting:
            try:
                trainees.append(Trainee(cell, states, run))
            except Exception as error:
                errors[cell.folder] = _own(error, cell, run)
        if trainees:
            _train(trainees, states, run)
        for trainee in trainees:
            if trainee.error is not None:
                errors[trainee.cell.folder] = trainee.error
            elif run.is_main_process:
                trainee.finish()
        run.wait_for_everyone()
    return [errors.get(cell.folder, cell.folder) for cell in cells]


def _own(error: Exception, cell: Cell, run: Accelerator) -> Exception:
    """The error as a student's own, without what it holds in memory; raised where it is that of all."""
    if isinstance(error, OSError) or run.num_processes > 1:  # the other processes would wait for this one
        raise error
    logger.warning("%s failed: %s: %s", cell.folder.name, type(error).__name__, error)
    return error.with_traceback(None)


def _check_launch(run: Accelerator) -> None:
    if run.distributed_type in {DistributedType.FSDP, DistributedType.DEEPSPEED}:
        raise ValueError(
            f"training was launched with {run.distributed_type.value}, but the few trained layers stay whole on every "
            "device: launch with data parallel (DDP), `accelerate launch --multi_gpu`"
        )


def _check(cell: Cell, states: States) -> None:
    if cell.student.frozen_layers not in states.split_layers:
        held = ", ".join(map(str, states.split_layers))
        raise ValueError(
            f"the student has {cell.student.frozen_layers} frozen layers but the store holds the states after {held}: "
            "run the teacher pass with this split layer"
        )
    if cell.objective.uses_senses and cell.index is None:
        raise ValueError("the sense loss needs a candidate index: build one with candidate_index(states, dictionary)")


def _train(trainees: list[Trainee], states: States, run: Accelerator) -> None:
    """The loop over steps; every trainee takes the steps that it has not yet taken."""
    steps = trainees[0].steps
    first, kept = min(len(trainee.rows) for trainee in trainees), time.monotonic()
    with tqdm(total=steps, initial=first, desc="distil", unit="step", disable=not run.is_main_process) as bar:
        for step in range(first, steps):
            began = time.perf_counter()
            here = [trainee for trainee in trainees if trainee.error is None and len(trainee.rows) == step]
            rows = _step(here, states, step, run)
            if not any(trainee.error is None for trainee in trainees):
                break
            seconds = time.perf_counter() - began
            if overdue := time.monotonic() - kept > LONGEST:
                kept = time.monotonic()
            for trainee in here:
                if trainee.error is None:
                    # The time of a common step is shared out evenly.
                    trainee.rows[-1] |= {"seconds": seconds / len(here)}
                    due = overdue or (step + 1) % trainee.cell.schedule.checkpoint_every == 0
                    if due and run.is_main_process:
                        trainee.save()
            if rows:
                tokens = len(here) * rows[0]["tokens"] / seconds
                bar.set_postfix(ce=f"{rows[0]['ce']:.3f}", kl=f"{rows[0]['kl']:.3f}", tok_s=f"{tokens:.0f}")
            bar.update()


def _step(trainees: list[Trainee], states: States, step: int, run: Accelerator) -> list[dict[str, float]]:
    """One step of all; where that fails each takes it alone, so that an error ends the student that it is of."""
    try:
        return take_step(trainees, states, step, run)
    except Exception as error:
        if len(trainees) == 1 or isinstance(error, OSError) or run.num_processes > 1:
            trainees[0].error = _own(error, trainees[0].cell, run)
            return []
        logger.warning("step %d of %d students failed (%s), each takes it alone", step, len(trainees), error)
    for trainee in trainees:
        trainee.optimizer.zero_grad()
    left = [trainee for trainee in trainees if trainee.error is None and len(trainee.rows) == step]
    return [row for trainee in left for row in _step([trainee], states, step, run)]


def training_log(folder: Path) -> pd.DataFrame:
    """One row a step of a finished student: loss parts, learning rate, tokens and seconds."""
    read_manifest(folder)
    return pd.read_csv(folder / "training.csv")
