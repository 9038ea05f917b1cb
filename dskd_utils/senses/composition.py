"""Word senses from the senses of a word's tokens (paper, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def compose_span(senses: Sequence[Tensor]) -> Tensor:
    """Senses of a word that the tokenizer cuts into `m` tokens (section 3.3).

    Each sense of the first token runs through the span on its own: at every next token the mean of what has
    been aligned so far picks that token's nearest sense under L2 distance; the word sense is the average of
    the `m` aligned senses.

    Args:
        senses: `m` tensors `(k_i, d)`, the senses of the tokens in order.

    Returns:
        `(k_1, d)` fp32; for `m = 1` the senses of the only token.

    Raises:
        ValueError: no token, or a token without senses.
    """
    if not senses or any(s.ndim != 2 or not len(s) for s in senses):
        raise ValueError("a span needs at least one token and every token needs senses of shape (k, d)")
    total = senses[0].float().clone()
    for step, following in enumerate(senses[1:], start=1):
        following = following.float()
        total += following[torch.cdist(total / step, following).argmin(1)]
    return total / len(senses)


def compose_spans(
    vectors: Tensor, offsets: Tensor, spans: Tensor, *, batch_rows: int = 32_768
) -> tuple[Tensor, Tensor]:
    """`compose_span` for many words of one length at once.

    Args:
        vectors: `(r, d)` token senses, any floating dtype.
        offsets: `(v + 1,)` int64, the senses of token `i` are `vectors[offsets[i]:offsets[i + 1]]`.
        spans: `(w, m)` int64 token ids; every token has at least one sense.
        batch_rows: words in a batch times senses, a bound on memory.

    Returns:
        composed senses `(sum k_1, d)` fp32 and their offsets `(w + 1,)` int64.

    Raises:
        ValueError: a token of a span has no senses.
    """
    counts = offsets.diff()
    if spans.numel() and int(counts[spans].min()) < 1:
        raise ValueError("a token of a span has no senses: drop such words before composing them")
    first = counts[spans[:, 0]] if len(spans) else counts[:0]
    out_offsets = torch.cat([torch.zeros(1, dtype=torch.int64), first.cumsum(0)])
    out = torch.empty(int(out_offsets[-1]), vectors.shape[1])
    most = int(counts.max()) if len(counts) else 1
    step = max(1, batch_rows // max(most, 1))
    for start in range(0, len(spans), step):
        batch = spans[start : start + step]
        total, used = _gather(vectors, offsets, counts, batch[:, 0], most)
        for h in range(1, batch.shape[1]):
            following, real = _gather(vectors, offsets, counts, batch[:, h], most)
            distance = torch.cdist(total / h, following).masked_fill_(~real[:, None, :], torch.inf)
            nearest = distance.argmin(2)[..., None].expand_as(total)
            total = total + following.gather(1, nearest)
        rows = slice(int(out_offsets[start]), int(out_offsets[start + len(batch)]))
        out[rows] = (total / batch.shape[1])[used]
    return out, out_offsets


def _gather(vectors: Tensor, offsets: Tensor, counts: Tensor, ids: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Senses `(w, most, d)` of one token a word, padded, and the mask of the real ones."""
    steps = torch.arange(most)
    mask = steps < counts[ids][:, None]
    rows = torch.where(mask, offsets[ids][:, None] + steps, offsets[ids][:, None])
    return vectors[rows].float(), mask
