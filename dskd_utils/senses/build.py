"""Parts of a sense dictionary: word senses beside token senses, and who neighbours whom (paper, sections 3.2, 3.3)."""

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.spans import MIN_HEAD_LENGTH, word_spans
from dskd_utils.senses.composition import compose_spans
from dskd_utils.senses.teacher_pass import RowFile

WORDS_AT_ONCE = 4096  # bounds the fp32 copy of composed senses


def known_spans(words: Iterable[str], tokenizer, token_offsets: Tensor, max_span: int) -> dict[str, tuple[int, ...]]:
    """The words, in order, that have at most `max_span` tokens, each of them with senses; and their token ids."""
    seen = (token_offsets.diff() > 0).tolist()
    spans = word_spans(sorted(words), tokenizer)
    return {w: span for w, span in spans.items() if 1 <= len(span) <= max_span and all(seen[token] for token in span)}


def word_rows(token_offsets: Tensor, spans: Mapping[str, tuple[int, ...]]) -> tuple[Tensor, int]:
    """Where the senses of each word stand: a word of one token points at its token, the others follow all tokens.

    A composed word has as many senses as its first token, so the places are known before anything is computed.

    Args:
        token_offsets: `(v + 1,)` int64; the numbers of senses may differ from token to token.
        spans: token ids of each word.

    Returns:
        first and last + 1 row of each word, `(w, 2)` int64, and the number of all rows, tokens' and words'.
    """
    first = torch.tensor([span[0] for span in spans.values()], dtype=torch.int64)
    longer = torch.tensor([len(span) > 1 for span in spans.values()], dtype=torch.bool)
    rows = torch.stack([token_offsets[first], token_offsets[first + 1]], 1)
    base = int(token_offsets[-1])
    ends = base + rows[longer].diff(dim=1).flatten().cumsum(0)
    rows[longer] = torch.stack([ends - rows[longer].diff(dim=1).flatten(), ends], 1)
    return rows, int(ends[-1]) if len(ends) else base


def mapped_rows(path: Path, rows: int, width: int) -> Tensor:
    """A new file of `rows` senses as a writable memory map `(rows, width)` bf16; its blocks are reserved.

    Raises:
        OSError: the disk is full.
    """
    with RowFile(path, rows * width * 2):
        pass  # a map of blocks that are not reserved would end the process on a full disk
    if not rows:
        return torch.empty(0, width, dtype=torch.bfloat16)
    return torch.from_file(str(path), shared=True, size=rows * width, dtype=torch.bfloat16).view(rows, width)


def compose_words(vectors: Tensor, token_offsets: Tensor, spans: Mapping[str, tuple[int, ...]], rows: Tensor) -> None:
    """Write the composed senses of the words of several tokens to their rows (section 3.3).

    Args:
        vectors: `(r, d)` floating, the senses of all tokens in their rows; may be a memory map.
        token_offsets, spans, rows: as in `word_rows`.
    """
    ids = list(spans.values())
    length = torch.tensor([len(span) for span in ids], dtype=torch.int64)
    tokens = vectors[: int(token_offsets[-1])]
    for m in length[length > 1].unique().tolist():
        for places in (length == m).nonzero().flatten().split(WORDS_AT_ONCE):
            batch = torch.tensor([ids[place] for place in places.tolist()])
            composed, offsets = compose_spans(tokens, token_offsets, batch)
            for (start, stop), senses in zip(rows[places].tolist(), composed.tensor_split(offsets[1:-1]), strict=True):
                vectors[start:stop] = senses


def neighbour_lists(
    relations: Relations,
    spans: Mapping[str, tuple[int, ...]],
    *,
    neighbours: int | None,
    seed: int,
    neighbour_tokens: str = "any",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Heads, tokens that are words with relations, and the words that neighbour them (section 3.2; NOTES 7 to 9).

    Args:
        relations: synonyms and antonyms.
        spans: token ids of the words that have senses; a neighbour without senses is left out.
        neighbours: most synonyms and most antonyms a head keeps, drawn with `seed`; None keeps all.
        seed: of that draw.
        neighbour_tokens: `"any"`, or `"several"` to leave out neighbours of one token, as the released code's training
            does (NOTES 8).

    Returns:
        `(h,)` sorted token ids, then words (their places in `spans`) and offsets `(h + 1,)` of the synonyms, then
        of the antonyms; int64.
    """
    number = {word: i for i, word in enumerate(spans)}
    heads = {span[0]: word for word, span in spans.items() if len(span) == 1 and len(word) >= MIN_HEAD_LENGTH}
    draw, several = random.Random(seed), neighbour_tokens == "several"

    def kept(words: set[str]) -> list[int]:
        found = sorted(number[word] for word in words if word in number and (not several or len(spans[word]) > 1))
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
