"""One training step of several students on one batch of the store (paper, section 4.2; NOTES 11, 31)."""

import math

import torch
from accelerate import Accelerator
from torch import Tensor

from dskd_utils.distill.losses import IGNORED, fused_kd_losses
from dskd_utils.distill.objective import sampled, sense_part
from dskd_utils.distill.trainee import Schedule, Trainee
from dskd_utils.senses.live_states import States


def take_step(trainees: list[Trainee], states: States, step: int, run: Accelerator) -> list[dict[str, float]]:
    """One step of all trainees on one batch; returns the rows of those that took it."""
    cell = trainees[0].cell
    batch = _blocks_of_step(step, math.ceil(len(states.ids) / cell.schedule.batch_size), len(states.ids), cell.schedule)
    found = _losses(trainees, states, batch, step, run)
    taken = []
    for trainee, (total, row) in zip(trainees, found, strict=True):
        if not math.isfinite(row["loss"]):
            good = trainee.checkpoint if trainee.checkpoint.is_file() else "none yet"
            trainee.error = FloatingPointError(
                f"the loss is not finite at step {step} (blocks {batch.tolist()}): lower the learning rate; "
                f"the last good checkpoint is {good}"
            )
        else:
            taken.append((trainee, total, row))
    if taken:
        run.backward(sum(total for _, total, _ in taken))
    for trainee, _, row in taken:
        try:
            trainee.step(run, row)
        except Exception as error:  # its weights may have moved in part, so it cannot take the step again
            if run.num_processes > 1:
                raise
            trainee.error = error.with_traceback(None)
    return [row for trainee, _, row in taken if trainee.error is None]


def _losses(
    trainees: list[Trainee], states: States, batch: Tensor, step: int, run: Accelerator
) -> list[tuple[Tensor, dict[str, float]]]:
    """For each trainee the loss of this process's part of a batch, to be averaged over them, and the row of all."""
    student = trainees[0].cell.student
    head = student.teacher.model.get_output_embeddings().weight.detach()
    softcap = getattr(student.teacher.model.config, "final_logit_softcapping", None)
    length, device = states.ids.shape[1], head.device
    parts = batch.tensor_split(run.num_processes)
    mine, before = parts[run.process_index], sum(map(len, parts[: run.process_index]))
    idle = not len(mine)  # more processes than blocks: one block without targets, so that all take the step
    mine = batch[:1] if idle else mine
    targets = states.targets[mine].to(device).flatten()
    if idle:
        targets = torch.full_like(targets, IGNORED)
    valid = int((states.targets[batch] != IGNORED).sum())
    share = int((targets != IGNORED).sum()) / max(valid, 1)
    positions = states.positions[mine].to(device)
    trunks, teacher = states.blocks(mine, {trainee.cell.student.frozen_layers for trainee in trainees})
    trunks = {frozen: trunk.to(device, torch.float32) for frozen, trunk in trunks.items()}
    teacher = teacher.to(device, torch.float32).flatten(0, 1)
    seed = ((trainees[0].cell.schedule.seed * 1_000_003 + step) * run.num_processes + run.process_index) % 2**63
    hidden = [trainee.hidden(trunks[trainee.cell.student.frozen_layers], positions, seed) for trainee in trainees]
    kd = fused_kd_losses(
        hidden, teacher, targets, head, [trainee.objective.kd for trainee in trainees], softcap=softcap
    )
    found = []
    for trainee, states_n, parts_kd in zip(trainees, hidden, kd, strict=True):
        total = parts_kd.total * share
        row = {"ce": float(parts_kd.ce) * share, "kl": float(parts_kd.kl) * share}
        if trainee.objective.uses_senses:
            index = trainee.cell.index
            generator = torch.Generator().manual_seed(trainee.cell.schedule.seed * 1_000_003 + step)
            chosen = sampled(index, batch, length, trainee.objective.share, generator)
            used = len(chosen.entries)
            rows = chosen.rows - before * length
            here = (rows >= 0) & (rows < len(mine) * length) & (not idle)
            rows, entries = rows[here].to(device), chosen.entries[here]
            sense, parts_sense = sense_part(
                states_n[rows], teacher[rows], entries, trainee.cell.index, trainee.objective
            )
            of = len(entries) / max(used, 1)
            scale = used / max(valid, 1) if trainee.objective.weighting == "position" else 1.0
            total = total + sense * (scale * of * trainee.objective.beta_share(step, trainee.steps))
            row |= {name: value * of for name, value in parts_sense.items()} | {"positions": float(used)}
        row["loss"] = float(total.detach())
        if run.num_processes > 1:
            row = _summed(row, {"positions": 1 / run.num_processes}, run)
            total = total * run.num_processes  # gradients are averaged over processes
        found.append((total, {"step": step} | row | {"tokens": valid}))
    return found


def _summed(row: dict[str, float], weights: dict[str, float], run: Accelerator) -> dict[str, float]:
    """The values of a row added up over all processes, each times its weight."""
    values = torch.tensor([value * weights.get(name, 1.0) for name, value in row.items()], device=run.device)
    return dict(zip(row, run.reduce(values, "sum").tolist(), strict=True))


def _blocks_of_step(step: int, per_epoch: int, blocks: int, schedule: Schedule) -> Tensor:
    """Block numbers of a step: a seeded permutation an epoch, so any step can be recomputed on resume."""
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(blocks, generator=torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch))
    return order[place * schedule.batch_size : (place + 1) * schedule.batch_size].sort().values
