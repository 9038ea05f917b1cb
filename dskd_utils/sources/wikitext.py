"""WikiText-2's articles as text to be judged on, its unknown words masked (beyond the paper's section 5).

WikiText-2 keeps words apart from punctuation and writes `<unk>` for rare ones. The text is put together again as far as
its own marks allow; a token that stands for part of an `<unk>` is read but not a target, since no model should be asked
for it.
"""

import lzma
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dskd_utils.sources.packing import NO_TARGET, Packed, cut_pieces, fill_rows, packed
from dskd_utils.sources.wikipedia import Document

FILE = Path("wikipedia") / "wikitext-2.valid.txt.xz"
SOURCE = "wikitext-2"
UNKNOWN = "<unk>"
_TITLE = re.compile(r"^ = ([^=].*?) = $", re.M)
_JOINS = (
    (re.compile(r" @([-,.])@ "), r"\1"),
    (re.compile(r" ([,.;:!?%)\]])"), r"\1"),
    (re.compile(r"([(\[]) "), r"\1"),
    (re.compile(r" ('s|'t|n't|'re|'ve|'ll|'d|'m)\b"), r"\1"),
    (re.compile(r'" ([^"\n]*?) "'), r'"\1"'),
    (re.compile(r"^ | $", re.M), ""),
)
_MASK = 1 << 40  # added to the ids of tokens that are no targets while they are packed


def wikitext_articles(path: str | Path) -> list[Document]:
    """The articles of a WikiText file, headings left out, their text put together again.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or holds no article.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give data_dir, a folder that holds {FILE}")
    try:
        with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as stream:
            text = stream.read()
    except (EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): fetch the file again") from error
    _, *parts = _TITLE.split(text)
    if not parts:
        raise ValueError(f"{path} has no article: its titles stand between single equals signs on a line of their own")
    bodies = (re.sub(r"(?m)^ = .* = $", "", body) for body in parts[1::2])
    return [Document(SOURCE, title, _joined(body)) for title, body in zip(parts[::2], bodies, strict=True)]


def _joined(text: str) -> str:
    for pattern, replacement in _JOINS:
        text = pattern.sub(replacement, text)
    return "\n".join(line for line in text.split("\n") if line.strip())


def masked_pack(
    documents: Sequence[Document], tokenizer: Any, *, block: int, budget: int | None = None, seed: int = 0
) -> Packed:
    """Documents packed as `pack` does, but tokens that overlap an `<unk>` are no targets.

    Each gives as many whole blocks, its first, as fill the budget where all are that long: so many of them are in it.

    Args:
        documents: texts.
        tokenizer: a fast Hugging Face tokenizer, which knows the characters of each token.
        block: tokens a row.
        budget: stop at so many tokens; None for all.
        seed: order of the documents and of the rows.

    Raises:
        ValueError: no text.
    """
    each = None if budget is None else -(-budget // (block * max(1, len(documents))))
    pieces = cut_pieces(documents, tokenizer, block, budget, seed, each=each, encode=_masked_ids)
    made = fill_rows(pieces, tokenizer, block, seed)
    targets = made.targets.where(made.targets < _MASK, NO_TARGET)
    return packed(made.ids % _MASK, made.positions, targets, made.articles, made.documents, made.tokens)


def _masked_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each text, those that overlap an `<unk>` larger by `_MASK`."""
    encoded, found = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False), []
    for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        ids, offsets = np.array(ids, np.int64), np.array(offsets).reshape(-1, 2)
        for match in re.finditer(re.escape(UNKNOWN), text):
            ids[(offsets[:, 0] < match.end()) & (offsets[:, 1] > match.start())] += _MASK
        found.append(ids.tolist())
    return found
