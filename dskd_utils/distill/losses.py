"""The objective: cross-entropy, KL and the sense hinge (paper, section 4).

Pure functions on tensors, computed in fp32 and log space. `n` positions, `v` tokens in the vocabulary, `d`
the width, `p` sampled positions.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100


class LossParts(NamedTuple):
    """`total = ce + alpha * kl`; the parts are means over the positions with a target, in nats."""

    total: Tensor
    ce: Tensor
    kl: Tensor


def kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, targets: Tensor, alpha: float = 1.0, temperature: float = 2.0
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

    Raises:
        ValueError: shapes differ or the temperature is not positive.
    """
    if student_logits.shape != teacher_logits.shape or student_logits.shape[:1] != targets.shape:
        raise ValueError(
            f"logits must both be (n, v) and targets (n,): got {tuple(student_logits.shape)}, "
            f"{tuple(teacher_logits.shape)} and {tuple(targets.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be positive: got {temperature}")
    valid = targets != IGNORED
    n = valid.sum().clamp(min=1)
    student, teacher = student_logits[valid].float(), teacher_logits[valid].detach().float()
    ce = F.cross_entropy(student, targets[valid], reduction="sum") / n
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    kl = temperature**2 * F.kl_div(log_student, log_teacher, reduction="sum", log_target=True) / n
    return LossParts(ce + alpha * kl, ce, kl)


class _FusedKD(torch.autograd.Function):
    """CE + alpha * T^2 * KL from hidden states in chunks; the gradient is computed in the forward pass."""

    @staticmethod
    def forward(ctx, hidden, teacher_hidden, targets, head, alpha, temperature, chunk_size, softcap):
        rows = (targets != IGNORED).nonzero().flatten()
        n = max(len(rows), 1)
        grad = torch.zeros_like(hidden, dtype=torch.float32)
        ce = hidden.new_zeros((), dtype=torch.float32)
        kl = hidden.new_zeros((), dtype=torch.float32)
        for part in rows.split(chunk_size):
            student = _logits(hidden[part], head, softcap)
            teacher = _logits(teacher_hidden[part], head, softcap)
            index = targets[part][:, None]
            log_ps = F.log_softmax(student, dim=-1)
            ce -= log_ps.gather(1, index).sum()
            slope = log_ps.exp_().scatter_add_(1, index, -torch.ones_like(index, dtype=torch.float32))
            log_pt = F.log_softmax(teacher.div_(temperature), dim=-1)
            log_ps = F.log_softmax(student / temperature, dim=-1)
            pt = log_pt.exp()
            kl += (pt * log_pt.sub_(log_ps)).sum()
            slope += alpha * temperature * log_ps.exp_().sub_(pt)
            if softcap:
                slope *= 1 - (student / softcap).square_()
            grad[part] = slope.to(head.dtype) @ head
        ctx.save_for_backward((grad / n).to(hidden.dtype))
        ce, kl = ce / n, temperature**2 * kl / n
        ctx.mark_non_differentiable(ce, kl)
        return ce + alpha * kl, ce, kl

    @staticmethod
    def backward(ctx, grad_total, *_):
        (grad,) = ctx.saved_tensors
        return grad * grad_total, None, None, None, None, None, None, None


def _logits(hidden: Tensor, head: Tensor, softcap: float | None) -> Tensor:
    logits = (hidden.to(head.dtype) @ head.T).float()
    return torch.tanh_(logits.div_(softcap)).mul_(softcap) if softcap else logits


def fused_kd_loss(
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    targets: Tensor,
    head: Tensor,
    alpha: float = 1.0,
    temperature: float = 2.0,
    chunk_size: int = 256,
    softcap: float | None = None,
) -> LossParts:
    """`kd_loss` from hidden states and the frozen head, with no `(n, v)` tensor in memory.

    Same value and gradient as `kd_loss` on `hidden @ head.T`; the gradient reaches `student_hidden` only.

    Args:
        student_hidden: `(n, d)` states after the final norm.
        teacher_hidden: `(n, d)`.
        targets: `(n,)` int64, -100 where a position does not count.
        head: `(v, d)` output matrix, frozen.
        alpha: weight of the KL term.
        temperature: `T`.
        chunk_size: positions whose logits are held at once.
        softcap: the cap of `cap * tanh(logits / cap)` where the architecture has one.
    """
    arguments = (student_hidden, teacher_hidden.detach(), targets, head.detach())
    return LossParts(*_FusedKD.apply(*arguments, float(alpha), float(temperature), int(chunk_size), softcap))


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
