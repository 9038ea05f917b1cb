"""Documents cut, packed into rows of equal length and told apart by their positions (paper, section 3.1)."""

import bisect
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from dskd_utils.sources.wikipedia import Document

NO_TARGET = -100


class Piece(NamedTuple):
    """Tokens that are read as one text, int64 (t,), and the document that they are cut from."""

    ids: np.ndarray
    document: Document


@dataclass(frozen=True)
class Packed:
    """Documents packed into B rows of T tokens.

    `ids`, `positions`, `targets` are (B, T) int64. `positions` restart at 0 at each piece of a document; `targets`
    hold the next token of the same piece, -100 at its last token and on padding. `articles` is (B,) int64, a number for
    the document that most of a row's tokens are of: rows of one depend on each other. `documents` counts the documents,
    `tokens` the ids without padding. A causal model called with `position_ids=positions, attention_mask=None,
    use_cache=False` keeps the pieces apart. `digest` is a hash of ids and targets.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    articles: torch.Tensor
    documents: int
    tokens: int
    digest: str

    def first(self, tokens: int) -> "Packed":
        """The first rows that hold at least so many positions, all where there are fewer; `documents` is not known."""
        rows = -(-tokens // self.ids.shape[1])
        if not 0 < rows < len(self.ids):
            return self
        ids, positions, targets = self.ids[:rows], self.positions[:rows], self.targets[:rows]
        # Padding is a piece of one token without a target.
        ends = torch.cat([positions[:, 1:] == 0, torch.ones(rows, 1, dtype=torch.bool)], dim=1)
        held = int((~((positions == 0) & ends)).sum())
        return packed(ids, positions, targets, self.articles[:rows], 0, held)


def pack(
    documents: Iterable[Document | str], tokenizer: Any, *, block: int = 512, budget: int | None = None, seed: int = 0
) -> Packed:
    """Shuffle, tokenise, cut and pack documents.

    A document is cut into pieces of at most `block` tokens; each piece starts with the BOS token where the tokenizer
    adds one, for a model reads a piece as a text of its own.

    Args:
        documents: texts or documents.
        tokenizer: a Hugging Face tokenizer.
        block: T, the length of a row in tokens.
        budget: stop at so many tokens (BOS counted); the last piece is cut short.
        seed: order of the documents and of the rows.

    Raises:
        ValueError: `block` below 2, or no token at all.
    """
    numbered = enumerate(documents)
    texts = [one if isinstance(one, Document) else Document("text", str(number), one) for number, one in numbered]
    return fill_rows(cut_pieces(texts, tokenizer, block, budget, seed), tokenizer, block, seed)


def first_token(tokenizer: Any) -> list[int]:
    """The token that the tokenizer itself puts before plain text, if any."""
    ids = tokenizer("a")["input_ids"]
    return [ids[0]] if tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id else []


def plain_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def cut_pieces(
    documents: Sequence[Document],
    tokenizer: Any,
    block: int,
    budget: int | None,
    seed: int | None,
    *,
    each: int | None = None,
    encode: Callable[[Sequence[str], Any], list[list[int]]] = plain_ids,
) -> list[Piece]:
    """Pieces of 2 to `block` tokens of the shuffled documents, at most `budget` tokens in all.

    Args:
        documents, tokenizer, block, budget: as in `pack`.
        seed: of the order; without one the documents stay in theirs.
        each: at most so many pieces of a document, its first; None for all.
        encode: token ids of texts.

    Raises:
        ValueError: `block` below 2.
    """
    if block < 2:
        raise ValueError(f"block is {block}, expected at least 2 tokens: a token needs a next one to predict")
    bos = first_token(tokenizer)
    width = block - len(bos)
    order = list(documents)
    if seed is not None:
        random.Random(seed).shuffle(order)
    left = sum(len(document.text) + 1 for document in order) * block if budget is None else budget
    pieces: list[Piece] = []
    for start in range(0, len(order), 64):
        if left < 2:
            break
        batch = order[start : start + 64]
        for document, ids in zip(batch, encode([one.text for one in batch], tokenizer), strict=True):
            ids = ids[len(bos) :] if bos and ids[:1] == bos else ids  # a chat template writes its own
            for cut in range(0, len(ids), width)[:each]:
                piece = (bos + ids[cut : cut + width])[: min(left, block)]
                if len(piece) >= 2:
                    pieces.append(Piece(np.asarray(piece, np.int64), document))
                    left -= len(piece)
    return pieces


def token_count(pieces: Iterable[Piece]) -> int:
    """How many tokens the pieces hold."""
    return sum(len(piece.ids) for piece in pieces)


def fill_rows(pieces: Sequence[Piece], tokenizer: Any, block: int, seed: int) -> Packed:
    """Pieces into rows, longest first, each into the fullest row that has room; then the rows in seeded order."""
    if not pieces:
        raise ValueError(
            "the corpus is empty, not one piece of 2 tokens is left to pack: give documents with text, "
            "a budget of at least 2 tokens, and a source that leak removal leaves something of"
        )
    rows: list[list[Piece]] = []
    room: list[tuple[int, int]] = []  # (free places, row), sorted
    for piece in sorted(pieces, key=lambda one: len(one.ids), reverse=True):
        size = len(piece.ids)
        place = bisect.bisect_left(room, (size, -1))
        free, row = room.pop(place) if place < len(room) else (block, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(piece)
        if free - size >= 2:
            bisect.insort(room, (free - size, row))
    random.Random(seed).shuffle(rows)
    padding = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
    ids = np.full((len(rows), block), padding, np.int64)
    positions = np.zeros_like(ids)  # a padding token is a piece of its own: it attends to itself, no row is all masked
    targets, articles = np.full_like(ids, NO_TARGET), np.empty(len(rows), np.int64)
    numbers: dict[Document, int] = {}
    for row, parts in enumerate(rows):
        start, sizes = 0, Counter()
        for piece, document in parts:
            end = start + len(piece)
            ids[row, start:end] = piece
            positions[row, start:end] = np.arange(len(piece))
            targets[row, start : end - 1] = piece[1:]
            sizes[numbers.setdefault(document, len(numbers))] += len(piece)
            start = end
        articles[row] = sizes.most_common(1)[0][0]
    tensors = [torch.from_numpy(array) for array in (ids, positions, targets, articles)]
    return packed(*tensors, len(numbers), token_count(pieces))


def packed(
    ids: torch.Tensor,
    positions: torch.Tensor,
    targets: torch.Tensor,
    articles: torch.Tensor,
    documents: int,
    tokens: int,
) -> Packed:
    """A packed text with its digest."""
    digest = hashlib.sha256(ids.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()[:16]
    return Packed(ids, positions, targets, articles, documents, tokens, digest)
