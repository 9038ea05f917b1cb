"""A student at work: its settings, its optimiser, its checkpoint and its end (paper, section 4.2; NOTES 19)."""

import contextlib
import logging
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from dskd_utils.artefacts import atomic_path, digest, file_sha256, replace_folder, write_manifest
from dskd_utils.distill.candidates import CandidateIndex
from dskd_utils.distill.objective import Objective, automatic_margin
from dskd_utils.distill.students import Student
from dskd_utils.senses.live_states import States

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """Optimisation (NOTES 19): AdamW, cosine with warm-up, clipping.

    Attributes:
        lr: peak learning rate.
        epochs: passes over the store.
        batch_size: blocks a step.
        warmup: share of the steps.
        weight_decay: of AdamW.
        clip: largest gradient norm.
        seed: of the order of the blocks and of the sampled positions.
        checkpoint_every: steps between two checkpoints, or fewer where these take more than some minutes.
    """

    lr: float = 2e-3
    epochs: int = 1
    batch_size: int = 4
    warmup: float = 0.1
    weight_decay: float = 1e-3
    clip: float = 1.0
    seed: int = 0
    checkpoint_every: int = 50


@dataclass(frozen=True)
class Cell:
    """One student of a common pass.

    Attributes:
        student: from `make_student`; its top layers are trained in place.
        folder: where the student goes.
        objective: what is minimised.
        schedule: how; cells of one pass have the same blocks in the same order, so the same `epochs`, `batch_size` and
            `seed`.
        index: nearest senses, needed when the objective uses senses.
        card: facts for the model card and the manifest.
    """

    student: Student
    folder: Path
    objective: Objective
    schedule: Schedule
    index: CandidateIndex | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


class Trainee:
    """A cell at work: its optimiser, its rows so far and its unfinished folder.

    Args:
        cell: what is trained.
        states: the store.
        run: devices and processes.
    """

    def __init__(self, cell: Cell, states: States, run: Accelerator):
        self.cell, self.started = cell, time.monotonic()
        self.error: Exception | None = None
        student, schedule = cell.student, cell.schedule
        self.objective = cell.objective
        if cell.objective.uses_senses and cell.objective.margin_quantile:
            measured = automatic_margin(states, cell.index, cell.objective.kappa, cell.objective.margin_quantile)
            self.objective = replace(cell.objective, margin=measured)
        self.parameters = {
            "teacher": student.teacher.name,
            "layers": list(student.layers),
            "trainable_layers": student.trainable_layers,
            "objective": asdict(self.objective),
            "schedule": asdict(schedule),
            **cell.card,
        }
        self.partial = cell.folder.parent / f".{cell.folder.name}.partial"
        plan = self.partial / f"{digest(self.parameters)}.plan"
        if run.is_main_process:
            if self.partial.exists() and not plan.is_file():
                shutil.rmtree(self.partial)
            self.partial.mkdir(parents=True, exist_ok=True)
            plan.touch()
        run.wait_for_everyone()
        per_epoch = math.ceil(len(states.ids) / schedule.batch_size)
        self.steps = per_epoch * schedule.epochs
        optimizer = torch.optim.AdamW(student.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
        self.scheduler = get_cosine_schedule_with_warmup(optimizer, math.ceil(schedule.warmup * self.steps), self.steps)
        self.top, self.optimizer = run.prepare(student.top, optimizer)
        self.rows: list[dict[str, float]] = []
        if self.checkpoint.is_file():
            saved = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
            student.top.layers.load_state_dict(saved["layers"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scheduler.load_state_dict(saved["scheduler"])
            self.rows = saved["rows"]
            logger.info("%s: resuming after step %d of %d", cell.folder.name, len(self.rows), self.steps)
        self.top.train()

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint, where there is one."""
        return self.partial / "checkpoint.pt"

    def hidden(self, trunk: Tensor, positions: Tensor, seed: int) -> Tensor:
        """States n_t `(b * T, d)` of the student; `seed` is that of dropout in this step and process.

        Where the teacher computes in bf16 the student does too, from weights that stay in fp32.
        """
        call = {"inputs_embeds": trunk, "position_ids": positions, "use_cache": False}
        half = self.cell.student.teacher.model.dtype == torch.bfloat16
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.autocast(trunk.device.type, torch.bfloat16, enabled=half))
            if getattr(self.cell.student.top.config, "attention_dropout", 0.0):
                # Its own random numbers, so that a resumed step and a shared pass draw as an uninterrupted one alone.
                stack.enter_context(torch.random.fork_rng(devices=[trunk.device] if trunk.is_cuda else []))
                torch.manual_seed(seed)
            return self.top(**call).last_hidden_state.flatten(0, 1).float()

    def step(self, run: Accelerator, row: dict[str, float]) -> None:
        """Move the weights along the gradients that have been accumulated."""
        norm = run.clip_grad_norm_(self.cell.student.parameters(), self.cell.schedule.clip)
        row |= {"gradient": float(norm), "lr": self.scheduler.get_last_lr()[0]}
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.rows.append(row)

    def save(self) -> None:
        """Write a checkpoint."""
        with atomic_path(self.checkpoint) as temporary:
            state = {"layers": self.cell.student.top.layers.state_dict(), "optimizer": self.optimizer.state_dict()}
            torch.save(state | {"scheduler": self.scheduler.state_dict(), "rows": self.rows}, temporary)

    def finish(self) -> None:
        """Export the student and put its folder in place."""
        self.top.eval()
        log, cell = pd.DataFrame(self.rows), self.cell
        log.to_csv(self.partial / "training.csv", index=False)
        card = {"losses": asdict(self.objective), "training": asdict(cell.schedule), **cell.card}
        cell.student.export(self.partial, card)
        facts = {"steps": len(log), "tokens": int(log.tokens.sum())}
        facts["training_seconds"] = round(float(log.seconds.sum()), 2)
        weights = {path.name: file_sha256(path) for path in sorted(self.partial.glob("*.safetensors"))}
        write_manifest(self.partial, "student", self.parameters, self.started, **facts, weights=weights)
        self.checkpoint.unlink(missing_ok=True)
        (self.partial / f"{digest(self.parameters)}.plan").unlink()
        replace_folder(self.partial, cell.folder)
