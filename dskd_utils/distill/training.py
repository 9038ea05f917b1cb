"""Training a student on the teacher's stored states (paper, section 4.2; NOTES 11, 19, 31)."""

import logging
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm.auto import tqdm
from transformers import get_cosine_schedule_with_warmup

from dskd_utils.artefacts import atomic_path, digest, file_sha256, read_manifest, replace_folder, write_manifest
from dskd_utils.distill.candidates import CandidateIndex, gather_senses, sample_positions
from dskd_utils.distill.losses import fused_kd_loss, semantic_parts
from dskd_utils.distill.students import Student
from dskd_utils.senses.hidden_states import TeacherStates

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Objective:
    """L_DSKD = L_KD + L_sem (section 4.2); the paper's values as defaults.

    Attributes:
        alpha: weight of KL.
        temperature: T of the KL term (not given in the paper; the released code's 2).
        beta_p: weight of the positive senses; with both betas zero the objective is plain KD.
        beta_n: weight of the negative senses.
        margin: the paper's gamma, mean squared error in the teacher's space.
        kappa: nearest candidates on either side.
        share: of the positions with relations that are sampled each step (NOTES 11).
        weighting: `"position"` adds L_sem(t) to L_KD(t) at each sampled position and divides by all positions,
            as the equation reads; `"sampled"` divides by the sampled positions, as the released code (NOTES 31).
    """

    alpha: float = 1.0
    temperature: float = 2.0
    beta_p: float = 1.0
    beta_n: float = 1.0
    margin: float = 1.0
    kappa: int = 5
    share: float = 0.4
    weighting: str = "position"

    def __post_init__(self) -> None:
        if self.weighting not in {"position", "sampled"}:
            raise ValueError(f"weighting must be 'position' or 'sampled': got {self.weighting!r}")
        if self.alpha < 0 or self.beta_p < 0 or self.beta_n < 0 or self.temperature <= 0:
            raise ValueError("alpha and the betas must not be negative and the temperature must be positive")

    @property
    def uses_senses(self) -> bool:
        """Whether the sense loss has any weight."""
        return self.beta_p > 0 or self.beta_n > 0


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
        checkpoint_every: steps between two checkpoints.
    """

    lr: float = 2e-3
    epochs: int = 1
    batch_size: int = 4
    warmup: float = 0.1
    weight_decay: float = 1e-3
    clip: float = 1.0
    seed: int = 0
    checkpoint_every: int = 50


def distill(
    student: Student,
    states: TeacherStates,
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
        student: from `make_student`; its top layers are trained in place.
        states: the teacher's states; must hold the student's number of frozen layers.
        folder: where the student goes.
        objective: what is minimised.
        schedule: how.
        index: nearest senses, needed when the objective uses senses.
        card: facts for the model card and the manifest.

    Returns:
        `folder`.

    Raises:
        ValueError: the store lacks the student's split layer, or the senses are missing.
        FloatingPointError: the loss is not finite; names the step and the last good checkpoint.
    """
    if (folder / "manifest.json").is_file():
        return folder
    if student.frozen_layers not in states.trunk:
        held = ", ".join(map(str, states.trunk))
        raise ValueError(
            f"the student has {student.frozen_layers} frozen layers but the store holds the states after {held}: "
            "run the teacher pass with this split layer"
        )
    if objective.uses_senses and index is None:
        raise ValueError("the sense loss needs a candidate index: build one with candidate_index(states, dictionary)")
    started = time.monotonic()
    parameters = {
        "teacher": student.teacher.name,
        "layers": list(student.layers),
        "trainable_layers": student.trainable_layers,
        "objective": asdict(objective),
        "schedule": asdict(schedule),
        **(card or {}),
    }
    partial = folder.parent / f".{folder.name}.partial"
    if partial.exists() and not (partial / f"{digest(parameters)}.plan").is_file():
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    (partial / f"{digest(parameters)}.plan").touch()

    log = _train(student, states, index, objective, schedule, partial / "checkpoint.pt")
    log.to_csv(partial / "training.csv", index=False)
    student.export(partial, {"losses": asdict(objective), "training": asdict(schedule), **(card or {})})
    facts = {"steps": len(log), "tokens": int(log.tokens.sum()), "training_seconds": round(float(log.seconds.sum()), 2)}
    weights = {path.name: file_sha256(path) for path in sorted(partial.glob("*.safetensors"))}
    write_manifest(partial, "student", parameters, started, **facts, weights=weights)
    (partial / "checkpoint.pt").unlink(missing_ok=True)
    (partial / f"{digest(parameters)}.plan").unlink()
    replace_folder(partial, folder)
    return folder


def _train(student, states, index, objective, schedule, checkpoint: Path) -> pd.DataFrame:
    """The loop over steps; returns one row a step."""
    blocks = len(states.ids)
    per_epoch = math.ceil(blocks / schedule.batch_size)
    steps = per_epoch * schedule.epochs
    accelerator = Accelerator(cpu=student.teacher.model.device.type == "cpu")
    optimizer = torch.optim.AdamW(student.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    scheduler = get_cosine_schedule_with_warmup(optimizer, math.ceil(schedule.warmup * steps), steps)
    top, optimizer = accelerator.prepare(student.top, optimizer)
    rows: list[dict[str, float]] = []
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        student.top.layers.load_state_dict(saved["layers"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        rows = saved["rows"]
        logger.info("resuming after step %d of %d", len(rows), steps)
    head = student.teacher.model.get_output_embeddings().weight.detach()
    softcap = getattr(student.teacher.model.config, "final_logit_softcapping", None)
    top.train()
    with tqdm(total=steps, initial=len(rows), desc="distil", unit="step") as bar:
        for step in range(len(rows), steps):
            began = time.perf_counter()
            batch = _blocks_of_step(step, per_epoch, blocks, schedule)
            kd, parts, used = _losses(student, states, index, objective, schedule, batch, step, head, softcap)
            total = kd.total + parts.total if parts is not None else kd.total
            if not bool(torch.isfinite(total)):
                raise FloatingPointError(
                    f"the loss is not finite at step {step} (blocks {batch.tolist()}): lower the learning rate; "
                    f"the last good checkpoint is {checkpoint if checkpoint.is_file() else 'none yet'}"
                )
            accelerator.backward(total)
            norm = accelerator.clip_grad_norm_(student.parameters(), schedule.clip)
            lr = scheduler.get_last_lr()[0]
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            tokens = int((states.targets[batch] != -100).sum())
            row = {"step": step, "loss": total.item(), "ce": kd.ce.item(), "kl": kd.kl.item(), "gradient": float(norm)}
            if parts is not None:
                row |= {"attraction": parts.attraction.item(), "repulsion": parts.repulsion.item()}
                row |= {"active": parts.active.item(), "positions": used}
            seconds = time.perf_counter() - began
            rows.append(row | {"lr": lr, "tokens": tokens, "seconds": seconds})
            bar.set_postfix(ce=f"{row['ce']:.3f}", kl=f"{row['kl']:.3f}", tok_s=f"{tokens / seconds:.0f}")
            bar.update()
            if (step + 1) % schedule.checkpoint_every == 0:
                _save_checkpoint(checkpoint, student, optimizer, scheduler, rows)
    top.eval()
    return pd.DataFrame(rows)


def _blocks_of_step(step: int, per_epoch: int, blocks: int, schedule: Schedule) -> Tensor:
    """Block numbers of a step: a seeded permutation an epoch, so any step can be recomputed on resume."""
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(blocks, generator=torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch))
    return order[place * schedule.batch_size : (place + 1) * schedule.batch_size].sort().values


def _losses(student, states, index, objective, schedule, batch, step, head, softcap):
    """KD parts, and the sense parts weighted as the objective says, of one batch of blocks."""
    device = head.device
    trunk = states.trunk[student.frozen_layers][batch].to(device, torch.float32)
    teacher = states.final[batch].to(device, torch.float32).flatten(0, 1)
    targets = states.targets[batch].to(device).flatten()
    hidden = student.hidden(trunk, states.positions[batch].to(device)).flatten(0, 1)
    kd = fused_kd_loss(hidden, teacher, targets, head, objective.alpha, objective.temperature, softcap=softcap)
    if not objective.uses_senses:
        return kd, None, 0
    generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + step)
    picked, rows = _sampled_rows(index, batch, states.ids.shape[1], objective.share, generator)
    positives = gather_senses(index.positive[picked], index.vectors, objective.kappa)
    negatives = gather_senses(index.negative[picked], index.vectors, objective.kappa)
    scale = len(picked) / max(int((targets != -100).sum()), 1) if objective.weighting == "position" else 1.0
    arguments = [part.to(device) for part in (*positives, *negatives)]
    parts = semantic_parts(
        hidden[rows.to(device)], *arguments, objective.beta_p * scale, objective.beta_n * scale, objective.margin
    )
    return kd, parts, len(picked)


def _sampled_rows(index: CandidateIndex, batch: Tensor, length: int, share: float, generator) -> tuple[Tensor, Tensor]:
    """Sampled entries of the index, and the row of each among the batch's flattened positions."""
    bounds = torch.searchsorted(index.positions, torch.stack([batch, batch + 1]) * length)
    window = torch.cat([torch.arange(int(a), int(b)) for a, b in bounds.T])
    picked = sample_positions(index, window, share=share, generator=generator)
    block, offset = index.positions[picked] // length, index.positions[picked] % length
    return picked, torch.searchsorted(batch, block) * length + offset


def _save_checkpoint(path: Path, student: Student, optimizer, scheduler, rows: list[dict]) -> None:
    with atomic_path(path) as temporary:
        state = {"layers": student.top.layers.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | {"scheduler": scheduler.state_dict(), "rows": rows}, temporary)


def training_log(folder: Path) -> pd.DataFrame:
    """One row a step of a finished student: loss parts, learning rate, tokens and seconds."""
    read_manifest(folder)
    return pd.read_csv(folder / "training.csv")
