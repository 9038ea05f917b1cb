"""The objective: cross-entropy, KL and the sense hinge (paper, section 4).

Pure functions on tensors, computed in fp32 and log space. `n` positions, `v` tokens in the vocabulary, `d`
the width, `p` sampled positions.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
DIVERGENCES = ("forward", "reverse", "js")


class LossParts(NamedTuple):
    """`total = ce + alpha * kl`; the parts are means over the positions with a target, in nats."""

    total: Tensor
    ce: Tensor
    kl: Tensor


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    alpha: float = 1.0,
    temperature: float = 2.0,
    divergence: str = "forward",
) -> LossParts:
    """L_KD = L_CE + alpha * L_KL (section 4.1), averaged over the positions whose target is not -100.

    L_CE is the mean of `-log p_s(y)`; L_KL is `T^2` times the mean of `sum_v p_t (log p_t - log p_s)`, both
    distributions at temperature `T`. With no valid position all parts are zero and so is the gradient.

    Args:
        student_logits: `(n, v)` floating.
        teacher_logits: `(n, v)` floating; gets no gradient.
        targets: `(n,)` int64, -100 where a position does not count.
        alpha: weight of the KL term.
        temperature: `T`.
        divergence: `"forward"` as in the paper; as controls `"reverse"`, `sum_v p_s (log p_s - log p_t)`, and `"js"`,
            Jensen and Shannon's: the mean KL of both distributions from their mean.

    Raises:
        ValueError: shapes differ, the temperature is not positive, or an unknown divergence.
    """
    if student_logits.shape != teacher_logits.shape or student_logits.shape[:1] != targets.shape:
        raise ValueError(
            f"logits must both be (n, v) and targets (n,): got {tuple(student_logits.shape)}, "
            f"{tuple(teacher_logits.shape)} and {tuple(targets.shape)}"
        )
    check_kd(temperature, divergence)
    valid, n = targets != IGNORED, (targets != IGNORED).sum().clamp(min=1)
    student, teacher = student_logits[valid].float(), teacher_logits[valid].detach().float()
    ce = F.cross_entropy(student, targets[valid], reduction="sum") / n
    log_ps = F.log_softmax(student / temperature, dim=-1)
    log_pt = F.log_softmax(teacher / temperature, dim=-1)
    if divergence == "forward":
        found = F.kl_div(log_ps, log_pt, reduction="sum", log_target=True)
    elif divergence == "reverse":
        found = F.kl_div(log_pt, log_ps, reduction="sum", log_target=True)
    else:
        middle = torch.logaddexp(log_ps, log_pt) - math.log(2)
        found = sum(F.kl_div(middle, p, reduction="sum", log_target=True) for p in (log_ps, log_pt)) / 2
    kl = temperature**2 * found / n
    return LossParts(ce + alpha * kl, ce, kl)


def check_kd(temperature: float, divergence: str) -> None:
    """Raise a ValueError unless these are settings of `kd_loss`."""
    if temperature <= 0:
        raise ValueError(f"temperature must be positive: got {temperature}")
    if divergence not in DIVERGENCES:
        raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}: got {divergence!r}")


class KDSettings(NamedTuple):
    """What `kd_loss` takes beside tensors."""

    alpha: float = 1.0
    temperature: float = 2.0
    divergence: str = "forward"


class _FusedKD(torch.autograd.Function):
    """CE + alpha * T^2 * KL of several students from hidden states in chunks; gradients come in the forward pass."""

    @staticmethod
    def forward(ctx, teacher_hidden, targets, head, settings, chunk_size, softcap, *hidden):
        rows = (targets != IGNORED).nonzero().flatten()
        n = max(len(rows), 1)
        grads = [torch.zeros_like(one, dtype=torch.float32) for one in hidden]
        sums = torch.zeros(2, len(hidden), dtype=torch.float32, device=head.device)
        for part in rows.split(chunk_size):
            teacher = _logits(teacher_hidden[part], head, softcap)
            targets_t = {}  # the teacher's distribution once for each temperature
            for temperature in {one.temperature for one in settings}:
                log_pt = F.log_softmax(teacher / temperature, dim=-1)
                targets_t[temperature] = log_pt, log_pt.exp()
            index = targets[part][:, None]
            for number, (one, grad) in enumerate(zip(hidden, grads, strict=True)):
                logits = _logits(one[part], head, softcap)
                ce, kl, slope = _chunk(logits, index, *targets_t[settings[number].temperature], settings[number])
                if softcap:
                    slope *= 1 - (logits / softcap).square_()
                grad[part] = (slope.to(head.dtype) @ head).float()
                sums[0, number] += ce
                sums[1, number] += kl
        ctx.save_for_backward(*[(grad / n).to(one.dtype) for grad, one in zip(grads, hidden, strict=True)])
        ce, kl = sums / n
        totals = [ce[i] + one.alpha * kl[i] for i, one in enumerate(settings)]
        ctx.mark_non_differentiable(ce, kl)
        return ce, kl, *totals

    @staticmethod
    def backward(ctx, _ce, _kl, *grad_totals):
        found = [grad * outer for grad, outer in zip(ctx.saved_tensors, grad_totals, strict=True)]
        return None, None, None, None, None, None, *found


def _logits(hidden: Tensor, head: Tensor, softcap: float | None) -> Tensor:
    logits = (hidden.to(head.dtype) @ head.T).float()
    return torch.tanh_(logits.div_(softcap)).mul_(softcap) if softcap else logits


def _chunk(logits: Tensor, index: Tensor, log_pt: Tensor, pt: Tensor, settings: KDSettings):
    """Summed CE and T^2 * divergence of a chunk, and the slope of CE + alpha * T^2 * divergence at its logits."""
    alpha, temperature, divergence = settings
    log_ps = F.log_softmax(logits, dim=-1)
    ce = -log_ps.gather(1, index).sum()
    slope = log_ps.exp_().scatter_add_(1, index, -torch.ones_like(index, dtype=torch.float32))
    log_ps = F.log_softmax(logits / temperature, dim=-1)
    if divergence == "forward":
        value = (pt * (log_pt - log_ps)).sum()
        bend = log_ps.exp_().sub_(pt)
    else:
        ps = log_ps.exp()
        middle = log_pt if divergence == "reverse" else torch.logaddexp(log_ps, log_pt).sub_(math.log(2))
        each = ps * (log_ps - middle)
        own = each.sum(1, keepdim=True)
        bend = each.sub_(ps * own)
        value = own.sum()
        if divergence == "js":
            value = (value + (pt * (log_pt - middle)).sum()) / 2
            bend = bend.div_(2)
    return ce, temperature**2 * value, slope.add_(bend, alpha=alpha * temperature)


def fused_kd_loss(
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    targets: Tensor,
    head: Tensor,
    alpha: float = 1.0,
    temperature: float = 2.0,
    chunk_size: int = 256,
    softcap: float | None = None,
    divergence: str = "forward",
) -> LossParts:
    """`kd_loss` from hidden states and the frozen head, with no `(n, v)` tensor in memory.

    Same value and gradient as `kd_loss` on `hidden @ head.T`; the gradient reaches `student_hidden` only.

    Args:
        student_hidden: `(n, d)` states after the final norm.
        teacher_hidden: `(n, d)`.
        targets: `(n,)` int64, -100 where a position does not count.
        head: `(v, d)` output matrix, frozen.
        alpha, temperature, divergence: as in `kd_loss`.
        chunk_size: positions whose logits are held at once.
        softcap: the cap of `cap * tanh(logits / cap)` where the architecture has one.
    """
    settings = [KDSettings(float(alpha), float(temperature), divergence)]
    return fused_kd_losses([student_hidden], teacher_hidden, targets, head, settings, chunk_size, softcap)[0]


def fused_kd_losses(
    student_hidden: Sequence[Tensor],
    teacher_hidden: Tensor,
    targets: Tensor,
    head: Tensor,
    settings: Sequence[KDSettings],
    chunk_size: int = 256,
    softcap: float | None = None,
) -> list[LossParts]:
    """`fused_kd_loss` of several students of one teacher on the same positions; the teacher's part is computed once.

    Args:
        student_hidden: of each student `(n, d)`.
        settings: of each student.
        teacher_hidden, targets, head, chunk_size, softcap: as in `fused_kd_loss`.

    Raises:
        ValueError: as in `kd_loss`.
    """
    for one in settings:
        check_kd(one.temperature, one.divergence)
    arguments = (teacher_hidden.detach(), targets, head.detach(), list(settings), int(chunk_size), softcap)
    ce, kl, *totals = _FusedKD.apply(*arguments, *student_hidden)
    return [LossParts(total, ce[i], kl[i]) for i, total in enumerate(totals)]


def nearest_candidates(m: Tensor, candidates: Tensor, mask: Tensor, kappa: int) -> tuple[Tensor, Tensor]:
    """The kappa candidates nearest to the teacher's state m_t under L2 distance (section 4.2, Top-kappa).

    Args:
        m: `(p, d)` teacher states.
        candidates: `(p, c, d)` senses, padded.
        mask: `(p, c)` bool, True where a candidate is real.
        kappa: how many to keep; with fewer real candidates the rest is masked.

    Returns:
        `(p, kappa, d)` senses, nearest first, and their mask `(p, kappa)`.

    Raises:
        ValueError: kappa is below 1.
    """
    if kappa < 1:
        raise ValueError(f"kappa must be at least 1: got {kappa}")
    distance = (candidates.float() - m.float()[:, None, :]).square().sum(-1).masked_fill(~mask, torch.inf)
    kept = min(kappa, candidates.shape[1])
    order = distance.topk(kept, dim=1, largest=False).indices
    chosen = candidates.gather(1, order[..., None].expand(-1, -1, candidates.shape[2]))
    chosen_mask = mask.gather(1, order)
    return F.pad(chosen, (0, 0, 0, kappa - kept)), F.pad(chosen_mask, (0, kappa - kept))


class SenseParts(NamedTuple):
    """Parts of the sense loss: `total = beta_p * attraction + beta_n * repulsion`, and how the hinge behaves.

    `active` is the share of real negative candidates whose hinge is above zero.
    """

    total: Tensor
    attraction: Tensor
    repulsion: Tensor
    active: Tensor


def semantic_parts(
    n: Tensor,
    positives: Tensor,
    positive_mask: Tensor,
    negatives: Tensor,
    negative_mask: Tensor,
    beta_p: float = 1.0,
    beta_n: float = 1.0,
    margin: float = 1.0,
) -> SenseParts:
    """`semantic_loss` with its parts; arguments as there."""
    n = n.float()
    pull = (positives.float() - n[:, None, :]).square().mean(-1)
    attraction = _masked_mean(pull, positive_mask)
    hinge = (margin - (negatives.float() - n[:, None, :]).square().mean(-1)).clamp(min=0)
    repulsion = _masked_mean(hinge, negative_mask)
    positions = max(len(n), 1)
    active = ((hinge > 0) & negative_mask).sum() / negative_mask.sum().clamp(min=1)
    attraction, repulsion = attraction.sum() / positions, repulsion.sum() / positions
    return SenseParts(beta_p * attraction + beta_n * repulsion, attraction.detach(), repulsion.detach(), active)


def semantic_loss(
    n: Tensor,
    positives: Tensor,
    positive_mask: Tensor,
    negatives: Tensor,
    negative_mask: Tensor,
    beta_p: float = 1.0,
    beta_n: float = 1.0,
    margin: float = 1.0,
) -> Tensor:
    """L_sem (section 4.2): near the positives by MSE, away from the negatives by a hinge on the MSE.

    Averages within each candidate set of a position, then over the `p` sampled positions; an empty set
    contributes nothing. The caller scales by `p / n` for a loss summed over all `n` positions (NOTES 31).

    Args:
        n: `(p, d)` student states.
        positives: `(p, a, d)` nearest senses of the token and its synonyms.
        positive_mask: `(p, a)` bool.
        negatives: `(p, b, d)` nearest senses of the antonyms.
        negative_mask: `(p, b)` bool.
        beta_p: weight of the positive part.
        beta_n: weight of the negative part.
        margin: the paper's gamma, in units of mean squared error.

    Returns:
        a scalar, fp32.
    """
    return semantic_parts(n, positives, positive_mask, negatives, negative_mask, beta_p, beta_n, margin).total


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real entries of each row; zero, with zero gradient, for a row without any."""
    return values.masked_fill(~mask, 0).sum(1) / mask.sum(1).clamp(min=1)
