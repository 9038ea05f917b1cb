"""What a student minimises: the objective with its options, and the sense part of one step (paper, section 4.2)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dskd_utils.distill.candidates import CandidateIndex, gather_senses, sample_positions
from dskd_utils.distill.losses import KDSettings, check_kd, semantic_parts
from dskd_utils.senses.live_states import States

WEIGHTINGS = ("position", "sampled")
BETA_SCHEDULES = ("constant", "rising", "falling")
SPREAD = (0.1, 0.5, 0.9)  # quantiles of the negatives' distance that are logged
MARGIN_POSITIONS = 20_000  # that an automatic margin is measured on


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
        margin_quantile: where above 0, `margin` is this quantile of the mean squared error between the teacher's states
            and their nearest positive senses (`automatic_margin`): a margin in the units of any teacher.
        beta_schedule: `"constant"` as in the paper; `"rising"` and `"falling"` take the weight of the whole sense loss
            in a line from 0 to its value over the steps, or from it to 0 (`beta_share`).
        divergence: `"forward"` KL; as controls `"reverse"` or `"js"`.
        state_weight: of a control, the mean squared error to the teacher's own state m_t at the sampled positions.
        prediction_weight: of a control, the cross-entropy of telling the sense nearest to m_t from other positives near
            it, which is what sense knowledge distillation of encoders asks of a student.
    """

    alpha: float = 1.0
    temperature: float = 2.0
    beta_p: float = 1.0
    beta_n: float = 1.0
    margin: float = 1.0
    kappa: int = 5
    share: float = 0.4
    weighting: str = "position"
    margin_quantile: float = 0.0
    beta_schedule: str = "constant"
    divergence: str = "forward"
    state_weight: float = 0.0
    prediction_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be 'position' or 'sampled': got {self.weighting!r}")
        if self.beta_schedule not in BETA_SCHEDULES:
            raise ValueError(f"beta_schedule must be one of {', '.join(BETA_SCHEDULES)}: got {self.beta_schedule!r}")
        weights = (self.alpha, self.beta_p, self.beta_n, self.state_weight, self.prediction_weight)
        if min(weights) < 0 or self.temperature <= 0:
            raise ValueError("alpha, the betas and weights must not be negative and the temperature must be positive")
        if not 0 <= self.margin_quantile < 1:
            raise ValueError(f"margin_quantile must be 0 (use margin) or below 1: got {self.margin_quantile}")
        if self.kappa < 1:
            raise ValueError(f"kappa must be at least 1: got {self.kappa}")
        check_kd(self.temperature, self.divergence)

    @property
    def uses_senses(self) -> bool:
        """Whether anything is asked at sampled positions, so that a candidate index is needed."""
        return max(self.beta_p, self.beta_n, self.state_weight, self.prediction_weight) > 0

    def beta_share(self, step: int, steps: int) -> float:
        """The share of its weight that the sense loss has in a step, from 0 to 1; the first step is 0."""
        done = step / max(steps - 1, 1)
        return {"constant": 1.0, "rising": done, "falling": 1 - done}[self.beta_schedule]

    @property
    def kd(self) -> KDSettings:
        """The settings of the KD part."""
        return KDSettings(self.alpha, self.temperature, self.divergence)


class Sampled(NamedTuple):
    """The positions of one step that carry the sense loss.

    Attributes:
        entries: `(p,)` int64 of the candidate index.
        rows: `(p,)` int64, the places of these positions among the batch's `(b * T,)`.
    """

    entries: Tensor
    rows: Tensor


def sampled(index: CandidateIndex, batch: Tensor, length: int, share: float, generator: torch.Generator) -> Sampled:
    """Draw the positions of one step (section 4.2; NOTES 11).

    Args:
        index: the candidate index.
        batch: `(b,)` int64 block numbers, ascending.
        length: T, positions of a block.
        share: of the positions with relations.
        generator: seeded by the run and the step.
    """
    bounds = torch.searchsorted(index.positions, torch.stack([batch, batch + 1]) * length)
    window = torch.cat([torch.arange(int(a), int(b)) for a, b in bounds.T])
    picked = sample_positions(index, window, share=share, generator=generator)
    block, offset = index.positions[picked] // length, index.positions[picked] % length
    return Sampled(picked, torch.searchsorted(batch, block) * length + offset)


def sense_part(
    hidden: Tensor, teacher: Tensor, entries: Tensor, index: CandidateIndex, objective: Objective
) -> tuple[Tensor, dict[str, float]]:
    """L_sem averaged over the sampled positions (section 4.2), with the controls that the objective asks for.

    Args:
        hidden: `(p, d)` student states n_t.
        teacher: `(p, d)` teacher states m_t.
        entries: `(p,)` int64 of the index.
        index: nearest senses.
        objective: weights, margin and kappa.

    Returns:
        a scalar, fp32, and what is logged: the parts before their weights, the share of the negatives inside the
        margin, and quantiles of the negatives' mean squared error, which is what the hinge compares with the margin.
    """
    device = hidden.device
    near = [x.to(device) for x in gather_senses(index.positive[entries], index.vectors, objective.kappa)]
    far = [x.to(device) for x in gather_senses(index.negative[entries], index.vectors, objective.kappa)]
    parts = semantic_parts(hidden, *near, *far, objective.beta_p, objective.beta_n, objective.margin)
    total = parts.total
    row = {"attraction": float(parts.attraction), "repulsion": float(parts.repulsion), "active": float(parts.active)}
    with torch.no_grad():
        distance = (far[0] - hidden.detach().float()[:, None]).square().mean(-1)[far[1]]
        places = torch.tensor(SPREAD, device=device)
        found = distance.quantile(places).tolist() if len(distance) else [float("nan")] * len(SPREAD)
    row |= {f"far_{round(100 * q)}": value for q, value in zip(SPREAD, found, strict=True)}
    if objective.state_weight:
        error = F.mse_loss(hidden.float(), teacher.float()) if len(hidden) else hidden.sum() * 0.0
        total = total + objective.state_weight * error
        row["state"] = float(error.detach())
    if objective.prediction_weight:
        error = sense_prediction(
            hidden, *gather_senses(index.positive[entries], index.vectors, index.positive.shape[1])
        )
        total = total + objective.prediction_weight * error
        row["prediction"] = float(error.detach())
    return total, row


def sense_prediction(hidden: Tensor, senses: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the teacher's nearest sense among a position's candidates, a sense's logit being minus its MSE.

    Args:
        hidden: `(p, d)` student states.
        senses: `(p, c, d)` candidates, the teacher's nearest first.
        mask: `(p, c)` bool; a position with fewer than two candidates counts as zero.
    """
    senses, mask = senses.to(hidden.device), mask.to(hidden.device)
    logits = -(senses.float() - hidden.float()[:, None]).square().mean(-1)
    loss = torch.logsumexp(logits.masked_fill(~mask, -1e9), 1) - logits[:, 0]
    return (loss * (mask.sum(1) > 1)).sum() / max(len(hidden), 1)


def automatic_margin(states: States, index: CandidateIndex, kappa: int, quantile: float, *, seed: int = 0) -> float:
    """A quantile of the mean squared error between teacher states and their kappa nearest positive senses.

    Measured on at most 20,000 training positions, drawn with `seed`. Positions whose own state is a sense count with
    their zero, as they do in training.

    Raises:
        ValueError: no position has a sense.
    """
    if not len(index.positions):
        raise ValueError("no training position has a sense, so no margin can be measured: set margin itself")
    drawn = torch.randperm(len(index.positions), generator=torch.Generator().manual_seed(seed))[:MARGIN_POSITIONS]
    drawn = drawn.sort().values  # so that states computed on the fly are computed once
    found = []
    for entries in drawn.split(2048):
        senses, mask = gather_senses(index.positive[entries], index.vectors, kappa)
        m = states.rows(index.positions[entries]).float()
        found.append((senses - m[:, None]).square().mean(-1)[mask])
    return float(torch.cat(found).quantile(quantile))
