"""Parts of a sense dictionary: word senses beside token senses, and who neighbours whom (paper, sections 3.2, 3.3)."""

import random
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.spans import MIN_HEAD_LENGTH, word_spans
from dskd_utils.senses.composition import compose_spans

WORDS_AT_ONCE = 4096  # bounds the fp32 copy of composed senses


def known_spans(words: Iterable[str], tokenizer, token_offsets: Tensor, max_span: int) -> dict[str, tuple[int, ...]]:
    """The words, in order, that have at most `max_span` tokens, each of them with senses; and their token ids."""
    seen = (token_offsets.diff() > 0).tolist()
    spans = word_spans(sorted(words), tokenizer)
    return {w: span for w, span in spans.items() if 1 <= len(span) <= max_span and all(seen[token] for token in span)}


def word_senses(
    centroids: Tensor, token_offsets: Tensor, spans: Mapping[str, tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """The token senses and behind them the composed senses of the words of several tokens (section 3.3).

    Args:
        centroids: `(r, d)` floating, token after token.
        token_offsets: `(v + 1,)` int64; the numbers of senses may differ from token to token.
        spans: token ids of each word.

    Returns:
        vectors `(r + c, d)` bf16, and for each word its first and last + 1 row, `(w, 2)` int64; a word of one
        token points at its token.
    """
    first = torch.tensor([span[0] for span in spans.values()], dtype=torch.int64)
    length = torch.tensor([len(span) for span in spans.values()], dtype=torch.int64)
    rows = torch.stack([token_offsets[first], token_offsets[first + 1]], 1)
    # A composed word has as many senses as its first token, so the size is known and nothing is held twice.
    longer = length > 1
    total = len(centroids) + int((rows[longer, 1] - rows[longer, 0]).sum())
    vectors = torch.empty(total, centroids.shape[1], dtype=torch.bfloat16)
    vectors[: len(centroids)] = centroids
    base = len(centroids)
    token_ids = list(spans.values())
    for m in length[longer].unique().tolist():
        for places in (length == m).nonzero().flatten().split(WORDS_AT_ONCE):
            batch = torch.tensor([token_ids[place] for place in places.tolist()])
            composed, offsets = compose_spans(centroids, token_offsets, batch)
            vectors[base : base + len(composed)] = composed
            rows[places] = torch.stack([offsets[:-1], offsets[1:]], 1) + base
            base += len(composed)
    return vectors, rows


def neighbour_lists(
    relations: Relations, spans: Mapping[str, tuple[int, ...]], *, neighbours: int | None, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Heads, tokens that are words with relations, and the words that neighbour them (section 3.2; NOTES 7 to 9).

    Args:
        relations: synonyms and antonyms.
        spans: token ids of the words that have senses; a neighbour without senses is left out.
        neighbours: most synonyms and most antonyms a head keeps, drawn with `seed`; None keeps all.
        seed: of that draw.

    Returns:
        `(h,)` sorted token ids, then words (their places in `spans`) and offsets `(h + 1,)` of the synonyms, then
        of the antonyms; int64.
    """
    number = {word: i for i, word in enumerate(spans)}
    heads = {span[0]: word for word, span in spans.items() if len(span) == 1 and len(word) >= MIN_HEAD_LENGTH}
    draw = random.Random(seed)

    def kept(words: set[str]) -> list[int]:
        found = sorted(number[word] for word in words if word in number)
        return found if neighbours is None else sorted(draw.sample(found, min(neighbours, len(found))))

    lists = [
        (token, kept(relations.synonyms(word)), kept(relations.antonyms(word))) for token, word in sorted(heads.items())
    ]
    lists = [(token, near, far) for token, near, far in lists if near or far]
    ids = torch.tensor([token for token, _, _ in lists], dtype=torch.int64)
    return ids, *_csr([near for _, near, _ in lists]), *_csr([far for _, _, far in lists])


def _csr(groups: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Values and offsets of ragged groups, int64."""
    values = torch.tensor([value for group in groups for value in group], dtype=torch.int64)
    return values, torch.tensor([0, *map(len, groups)], dtype=torch.int64).cumsum(0)
