"""Reader of WordNet database files as pairs of words, one of the lexical resources of section 3.2."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dskd_utils.lexicon.text_files import Pair, read_lines

WORDNET_PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}


class _Pointer(NamedTuple):
    """A link of a synset: its sign, the other synset, and the numbers of the two words (0 for the whole synset)."""

    sign: str
    part: str
    offset: str
    word: int
    other: int


def read_wordnet(folder: str | Path, *, similar_to: bool = False) -> Iterator[Pair]:
    """Synonyms (members of one synset) and antonyms (`!` pointers, word to word) of WordNet database files.

    Args:
        folder: holds `data.noun`, `data.verb`, `data.adj` and `data.adv` in the format of wndb(5WN).
        similar_to: give the members of synsets that a `&` pointer joins (`quick` and `fast`) as synonyms too, under
            the source `"wordnet-similar"`; each two synsets once.

    Raises:
        FileNotFoundError: a data file is missing.
        ValueError: a line is not a synset, or a pointer leads nowhere; the message names file and line.
    """
    folder = Path(folder)
    synsets: dict[tuple[str, str], list[str]] = {}
    links = []
    for part, name in WORDNET_PARTS.items():
        path = folder / f"data.{name}"
        before = len(synsets)
        for number, line in read_lines(path):
            if line.startswith("  "):  # the licence
                continue
            try:
                offset, words, pointers = _synset(line)
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}, line {number}: not a WordNet synset: {line[:60]!r}") from error
            synsets[part, offset] = words
            yield from (Pair(a, b, "synonym", "wordnet") for a, b in itertools.combinations(words, 2))
            links += [(path, number, (part, offset), p) for p in pointers if p.sign == "!" or similar_to]
        if len(synsets) == before:
            raise ValueError(f"{path}, line 1: the file holds no synset; expected a WordNet data file")
    yield from _linked(synsets, links)


def _linked(synsets: dict[tuple[str, str], list[str]], links: list) -> Iterator[Pair]:
    """The pairs behind the pointers, once all synsets are known."""
    joined = set()
    for path, number, start, (sign, *end, first, second) in links:
        end = tuple(end)
        try:
            words, others = synsets[start], synsets[end]
            if sign == "!":
                # Numbers count from 1; 0 would stand for the whole synset, which `!` never uses.
                words, others = [words[first - 1]], [others[second - 1]]
        except (KeyError, IndexError) as error:
            kind = "an antonym" if sign == "!" else "a similar-to"
            raise ValueError(f"{path}, line {number}: {kind} pointer leads to no word; the file is cut off") from error
        if sign == "!":
            yield Pair(words[0], others[0], "antonym", "wordnet")
        elif (end, start) not in joined:
            joined.add((start, end))
            yield from (Pair(a, b, "synonym", "wordnet-similar") for a, b in itertools.product(words, others))


def _synset(line: str) -> tuple[str, list[str], list[_Pointer]]:
    """Offset, member words and the antonym and similar-to pointers of a data line."""
    fields = line.split(" | ", 1)[0].split()
    offset, count = fields[0], int(fields[3], 16)
    if not (len(offset) == 8 and offset.isdigit() and count):
        raise ValueError("no synset offset or no words")
    # Adjectives may carry a marker of their position: `galore(ip)`.
    words = [re.sub(r"\((?:a|p|ip)\)$", "", word) for word in fields[4 : 4 + 2 * count : 2]]
    first = 4 + 2 * count
    total = int(fields[first])
    rest = fields[first + 1 : first + 1 + 4 * total]
    if len(rest) != 4 * total or len(words) != count:
        raise ValueError("cut off")
    # A satellite adjective is `s` in some versions; it stands in data.adj all the same.
    return (
        offset,
        words,
        [
            _Pointer(sign, part.replace("s", "a"), to, int(ends[:2], 16), int(ends[2:], 16))
            for sign, to, part, ends in zip(*[iter(rest)] * 4, strict=True)
            if sign in "!&"
        ],
    )
