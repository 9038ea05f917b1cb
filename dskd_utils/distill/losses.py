"""The objective: cross-entropy, KL and the sense hinge (paper, section 4).

Pure functions on tensors, in fp32 and log space: `n` positions, `v` tokens, width `d`, `p` sampled positions.
"""

import logging
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)
IGNORED = -100
DIVERGENCES = ("forward", "reverse", "js")
WORTH_COMPILING = 2**22  # logits of a batch from which a compiled step pays
CHUNK = {True: 2**23, False: 2**22}  # logits of a chunk, compiled or plain: read often, so they stay near the cores
TILE = 1024  # rows of the head in one product on the CPU


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
        student_logits, teacher_logits: `(n, v)` floating; the teacher's get no gradient.
        targets: `(n,)` int64, -100 where a position does not count.
        alpha, temperature: the weight of the KL term, and `T`.
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
        rows, v = (targets != IGNORED).nonzero().flatten(), len(head)
        n = max(len(rows), 1)
        compiled = compiled_step(head.device.type) if len(rows) * v >= WORTH_COMPILING else None
        step, spread = compiled or (_step, _spread)
        chunks = math.ceil(n / (chunk_size or max(1, CHUNK[compiled is not None] // v)))
        grads = [torch.zeros_like(one, dtype=torch.float32) for one in hidden]
        sums = torch.zeros(2, len(hidden), device=head.device)
        weights = torch.tensor([one[:2] for one in settings], device=head.device)
        buffers = torch.empty(2, math.ceil(n / chunks), v, device=head.device, dtype=head.dtype)
        for part in rows.tensor_split(chunks) if len(rows) else ():
            teacher = _logits(teacher_hidden[part], head, softcap, buffers[0, : len(part)])
            spreads = {one.temperature: spread(teacher, pair[1]) for one, pair in zip(settings, weights, strict=True)}
            index = targets[part][:, None]
            for i, (_, T, divergence) in enumerate(settings):
                logits = _logits(hidden[i][part], head, softcap, buffers[1, : len(part)])
                found = step(logits, teacher, spreads[T], index, weights[i], T == 2, divergence, softcap)
                sums[:, i] += found.sum(1)
                grads[i][part] = (logits @ head).float()
        ctx.save_for_backward(*[(grad / n).to(one.dtype) for grad, one in zip(grads, hidden, strict=True)])
        ce, kl = sums / n
        totals = [ce[i] + one.alpha * kl[i] for i, one in enumerate(settings)]
        ctx.mark_non_differentiable(ce, kl)
        return ce, kl, *totals

    @staticmethod
    def backward(ctx, _ce, _kl, *grad_totals):
        return (None,) * 6 + tuple(grad * outer for grad, outer in zip(ctx.saved_tensors, grad_totals, strict=True))


def _logits(hidden: Tensor, head: Tensor, softcap: float | None, out: Tensor) -> Tensor:
    """Logits `(c, v)` in the head's number format, written to `out`."""
    tiles = TILE if head.dtype == torch.float32 and not head.is_cuda else len(head)
    for rows, place in zip(head.split(tiles), out.split(tiles, dim=1), strict=True):
        torch.mm(hidden.to(head.dtype), rows.T, out=place)
    return out.div_(softcap).tanh_().mul_(softcap) if softcap else out


def _spread(logits: Tensor, temperature: Tensor) -> Tensor:
    """The logarithm of the softmax's denominator at a temperature, `(c, 1)` in fp32."""
    return (logits.float() / temperature).logsumexp(1, keepdim=True)


def _step(buffer, teacher, spread, index, weights, double: bool, divergence: str, softcap: float | None) -> Tensor:
    """CE and T^2 * divergence of each row, `(2, c)`; `buffer`, the logits, becomes the slope of their weighted sum.

    In fp32, whatever the buffers hold. Sums over the rows are left to the caller: Inductor fuses the rest into few
    passes over memory, and exponentials are what it then costs. With `double`, a temperature of 2, both softmaxes of
    the student need but one: exp(x) is the square of exp(x / 2).
    """
    alpha, temperature = weights[0], weights[1]
    logits, teacher = buffer.float(), teacher.float()
    below = logits - logits.amax(1, keepdim=True)
    soft = (below / temperature).exp()
    hard = soft.square() if double else below.exp()
    soft_sum, hard_sum = soft.sum(1, keepdim=True), hard.sum(1, keepdim=True)
    ce = hard_sum.log() - below.gather(1, index)
    slope = hard / hard_sum - (torch.arange(logits.shape[1], device=logits.device) == index).float()
    log_ps, log_pt = below / temperature - soft_sum.log(), teacher / temperature - spread
    ps, pt = soft / soft_sum, log_pt.exp()
    if divergence == "forward":
        value, bend = (pt * (log_pt - log_ps)).sum(1), ps - pt
    else:
        middle = log_pt if divergence == "reverse" else torch.logaddexp(log_ps, log_pt) - math.log(2)
        each = ps * (log_ps - middle)
        value = each.sum(1, keepdim=True)
        bend, value = each - ps * value, value[:, 0]
        if divergence == "js":
            value, bend = (value + (pt * (log_pt - middle)).sum(1)) / 2, bend / 2
    slope = slope + alpha * temperature * bend
    if softcap:
        slope = slope * (1 - (logits / softcap).square())
    buffer.copy_(slope)
    return torch.stack([ce[:, 0], temperature**2 * value])


@cache
def compiled_step(device: str) -> tuple[Callable, Callable] | None:
    """The step of a chunk and the softmax's denominator, compiled for a kind of device; None where that fails."""
    try:
        torch.compile(torch.exp)(torch.zeros(8, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises
        logger.warning("the loss runs uncompiled, same values but slower: %s", str(error).strip().split("\n")[0])
        return None
    return torch.compile(_step), torch.compile(_spread)


def fused_kd_loss(
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    targets: Tensor,
    head: Tensor,
    alpha: float = 1.0,
    temperature: float = 2.0,
    chunk_size: int = 0,
    softcap: float | None = None,
    divergence: str = "forward",
) -> LossParts:
    """`kd_loss` from hidden states and the frozen head, with no `(n, v)` tensor in memory.

    Same value and gradient as `kd_loss` on `hidden @ head.T`; the gradient reaches `student_hidden` only.

    Args:
        student_hidden, teacher_hidden: `(n, d)` states after the final norm.
        targets, alpha, temperature, divergence: as in `kd_loss`.
        head: `(v, d)` output matrix, frozen.
        chunk_size: most positions whose logits are held at once; 0 leaves it to the size of the vocabulary.
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
    chunk_size: int = 0,
    softcap: float | None = None,
) -> list[LossParts]:
    """`fused_kd_loss` of several students of one teacher on the same positions; the teacher's part is computed once.

    Args:
        student_hidden, settings: of each student, the states `(n, d)`.
        teacher_hidden, targets, head, chunk_size, softcap: as in `fused_kd_loss`.

    Raises:
        ValueError: a temperature that is not positive, or an unknown divergence.
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
    return F.pad(chosen, (0, 0, 0, kappa - kept)), F.pad(mask.gather(1, order), (0, kappa - kept))


class SenseParts(NamedTuple):
    """`total = beta_p * attraction + beta_n * repulsion`; `active`: share of real negatives with a hinge above 0."""

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
    contributes nothing. The caller scales by `p / n` for a loss averaged over all `n` positions (NOTES 31).

    Args:
        n: `(p, d)` student states.
        positives, positive_mask: `(p, a, d)` nearest senses of the token and its synonyms, and which are real.
        negatives, negative_mask: `(p, b, d)` nearest senses of the antonyms, and which are real.
        beta_p, beta_n: weights of the two parts.
        margin: the paper's gamma, in units of mean squared error.

    Returns:
        a scalar, fp32.
    """
    return semantic_parts(n, positives, positive_mask, negatives, negative_mask, beta_p, beta_n, margin).total


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real entries of each row; zero, with zero gradient, for a row without any."""
    return values.masked_fill(~mask, 0).sum(1) / mask.sum(1).clamp(min=1)
