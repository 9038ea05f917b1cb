"""Reader of Wiktionary as wiktextract's JSON lines, the paper's main lexical resource (section 3.2).

The file is kaikki.org's raw data of the English edition (all languages) or its English part, plain or `.gz`; one
word and part of speech a line, with `synonyms` and `antonyms` both for the word and inside its `senses`.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson

from dskd_utils.lexicon.text_files import Pair, read_byte_lines

logger = logging.getLogger(__name__)

_FIELDS = {"synonyms": "synonym", "antonyms": "antonym"}
_PAGE = re.compile(r"\b(?:Thesaurus|Wikisaurus):", re.I)
# The place on a page that a link leads to: happy#English. The sharp of C# and of F# major stays.
_ANCHOR = re.compile(r"#\w.*|(?<!\b[A-G])#.*", re.S)


def read_wiktionary(path: str | Path, *, level: Literal["both", "word", "sense"] = "both") -> Iterator[Pair]:
    """Synonyms and antonyms of the English entries of a wiktextract file, each pair of an entry once.

    Links keep their word and lose the place on its page (`happy#English`); empty words and links to thesaurus pages
    (`Thesaurus:happy`) are dropped, while words that wiktextract itself took from such a page are kept. Lines that
    are no entry are passed over. What was dropped is counted and logged when the file has been read.

    Args:
        level: lists of the whole word, lists of single senses, or both.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown level; the file is empty or truncated (file and line are named), or no line is an entry.
    """
    if level not in ("both", "word", "sense"):
        raise ValueError(f"level is {level!r}, expected 'both', 'word' or 'sense'")
    counts: Counter[str] = Counter()
    first_bad = 0
    for number, line in read_byte_lines(path):
        entry = _entry(line)
        if entry is None:
            if line.strip():
                first_bad = first_bad or number
                counts["malformed"] += 1
        elif entry.get("lang_code") != "en":
            counts["foreign"] += 1
        else:
            counts["english"] += 1
            yield from _pairs(entry, level, counts)
    _report(path, counts, first_bad)


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry (or redirect) on a line, or None for what is no such thing."""
    try:
        entry = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(entry, dict):
        return None
    if "lang_code" not in entry:  # only a redirect has no language
        return entry if "redirect" in entry else None
    word = entry.get("word")
    return entry if isinstance(word, str) and word.strip() else None


def _pairs(entry: dict[str, Any], level: str, counts: Counter[str]) -> Iterator[Pair]:
    """The pairs of an English entry, each once though several senses may repeat it."""
    holders = [entry] if level != "sense" else []
    if level != "word":
        holders += [sense for sense in _listed(entry, "senses") if isinstance(sense, dict)]
    seen = set()
    for field, relation in _FIELDS.items():
        for link in (link for holder in holders for link in _listed(holder, field)):
            other = link.get("word") if isinstance(link, dict) else link
            if isinstance(other, str) and _PAGE.search(other):
                counts["thesaurus"] += 1
                continue
            other = _ANCHOR.sub("", other).strip() if isinstance(other, str) else ""
            if not other:
                counts["empty"] += 1
            elif (other, relation) not in seen:
                seen.add((other, relation))
                yield Pair(entry["word"], other, relation, "wiktionary")


def _listed(holder: dict[str, Any], field: str) -> list:
    value = holder.get(field)
    return value if isinstance(value, list) else []


def _report(path: str | Path, counts: Counter[str], first_bad: int) -> None:
    """Log what a file held and what was dropped; raise if it held no entry at all."""
    if not counts["english"] + counts["foreign"]:
        raise ValueError(
            f"{path}, line {first_bad or 1}: no line is an entry with a word and a lang_code; expected wiktextract's "
            "JSON lines, such as raw-wiktextract-data.jsonl of kaikki.org"
        )
    if counts["malformed"]:
        logger.warning("%s: %d malformed lines passed over, the first is line %d", path, counts["malformed"], first_bad)
    if not counts["english"]:
        logger.warning("%s: none of %d entries is English, so there are no pairs", path, counts["foreign"])
    logger.info(
        "%s: %d English entries, %d others; %d links to thesaurus pages and %d empty words dropped",
        path, counts["english"], counts["foreign"], counts["thesaurus"], counts["empty"],
    )  # fmt: skip
