"""Readers of plain files of word pairs, for lexical resources of the reader's own beside those of section 3.2.

Two words a line as HG2Vec and Dict2Vec write them, tables with a header, JSON objects, and the Moby thesaurus;
`read_pair_file` tells them apart.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

from dskd_utils.lexicon.text_files import PACKED, RELATIONS, Pair, Relation, check_relation, read_lines, read_text

HEADERS = "word, other, relation (and source), or word and other, or word with synonym, antonym or both"


def read_pair_file(path: str | Path, relation: Relation | None = None, source: str | None = None) -> Iterator[Pair]:
    """Pairs of a file of any of the kinds that this module reads, told by its name and, for text, by its first line.

    `.json` and what begins with `{` is read by `read_json_pairs`; `.tsv`, `.csv` and text with a tab or a known header
    in its first line by `read_table`; other text with commas there by `read_moby`; any other text by `read_pairs`.
    All of them may be packed as `.gz` or `.xz`.

    Args:
        relation: what the pairs are, where the file does not say; a name such as `syn-pairs.txt` or `antonyms.json`
            is enough.
        source: name under which the pairs are remembered; by default `moby`, or the file's name without its endings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed, truncated, not UTF-8 or holds no pair (file and line are named), or neither
            the file nor `relation` says what the pairs are.
    """
    path = Path(path)
    name = path.stem if path.suffix in PACKED else path.name
    suffix, stem, first = Path(name).suffix.lower(), name.split(".")[0], _first_line(path)
    if suffix == ".jsonl":
        raise ValueError(f"{path}, line 1: JSON lines are no pair file: read_wiktionary reads those of wiktextract")
    if suffix == ".json" or first.lstrip().startswith(("{", "[")):
        pairs = read_json_pairs(path, _stated(relation, path), source or stem)
    elif suffix in (".tsv", ".csv") or "\t" in first or _columns(first.split(",")):
        pairs = read_table(path, relation, source or stem)
    elif "," not in first:
        pairs = read_pairs(path, _stated(relation, path), source or stem)
    elif relation != "antonym":
        pairs = read_moby(path, source or "moby")
    else:
        raise ValueError(f"{path}, line 1: a Moby thesaurus holds synonyms, but relation is 'antonym'")
    empty = True
    for pair in pairs:
        empty = False
        yield pair
    if empty:
        raise ValueError(f"{path}, line 1: the file holds no pair of words")


def read_pairs(path: str | Path, relation: Relation, source: str) -> Iterator[Pair]:
    """Pairs of a file with two words a line, as HG2Vec and Dict2Vec write them (plain, `.gz` or `.xz`).

    Args:
        relation: what the file's pairs are, `"synonym"` or `"antonym"`.
        source: name under which the pairs are remembered.

    Raises:
        ValueError: `relation` is neither, or a line is not a word, a blank and a word (file and line are named).
            An empty first word, as HG2Vec has it, is passed on for `Relations` to drop and count.
    """
    check_relation(relation)
    for number, line in read_lines(path):
        if not line.strip():
            continue
        # The published HG2Vec files hold a few entries of several words, and empty ones: the last blank separates.
        word, blank, other = line.rpartition(" ")
        if not blank or "\t" in line or not re.search(r"[^\W\d_]", other):
            raise ValueError(f"{path}, line {number}: expected two words with a blank between, found {line[:60]!r}")
        yield Pair(word, other, relation, source)


def read_table(path: str | Path, relation: Relation | None = None, source: str = "table") -> Iterator[Pair]:
    """Pairs of a table with a header, separated by tabs if the header has one, else by commas (with quotes as in CSV).

    The columns, in any order and among others, are `word`, `other`, `relation` and perhaps `source`; or `word` with
    `synonym` or `antonym` or both, where an empty cell means that the row has none.

    Args:
        relation: what the pairs are in a table of `word` and `other` only; elsewhere the table must agree with it.
        source: name under which the pairs are remembered, where the table does not say.

    Raises:
        ValueError: another header, a row that is too short or too long, an empty word, an unknown relation or one that
            is not `relation` (file and line are named).
    """
    if relation is not None:
        check_relation(relation)
    rows = _rows(path)
    number, header = next(rows)
    columns = _columns(header)
    if not columns:
        raise ValueError(f"{path}, line {number}: expected a header with the columns {HEADERS}, found {header}")
    if "other" in columns and "relation" not in columns:
        relation = _stated(relation, Path(path))
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(f"{path}, line {number}: expected {len(header)} cells as in the header, found {len(row)}")
        cells = {name: row[place].strip() for name, place in columns.items()}
        if "other" in columns:
            found = [(cells["other"], cells["relation"].lower() if "relation" in cells else relation)]
        else:
            found = [(cells[kind], kind) for kind in RELATIONS if cells.get(kind)]
        for other, kind in found:
            if not (cells["word"] and other):
                raise ValueError(f"{path}, line {number}: a word is empty")
            if kind not in RELATIONS or relation not in (None, kind):
                expected = repr(relation) if relation else "'synonym' or 'antonym'"
                raise ValueError(f"{path}, line {number}: the relation is {kind!r}, expected {expected}")
            yield Pair(cells["word"], other, kind, cells.get("source") or source)


def _columns(header: list[str]) -> dict[str, int]:
    """Place of each column that is read, or nothing if the header is none that `read_table` knows."""
    names = [name.strip().lower() for name in header]
    found = {name: names.index(name) for name in ("word", "other", "relation", "source", *RELATIONS) if name in names}
    known = "word" in found and ("other" in found) != bool(found.keys() & set(RELATIONS))
    return found if known and all(names.count(name) == 1 for name in found) else {}


def _rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row, the header first; blank lines are left out."""
    # A tab never stands inside a word, so quotes mean nothing in a file with tabs.
    tabs = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if "\t" in _first_line(path) else {"strict": True}
    at = 1

    def text() -> Iterator[str]:
        nonlocal at
        for number, line in read_lines(path):
            at = number
            yield line + "\n"

    try:
        for row in csv.reader(text(), **tabs):
            if any(cell.strip() for cell in row):
                yield at, row
    except csv.Error as error:
        raise ValueError(f"{path}, line {at}: not a row of the table ({error})") from error


def _first_line(path: str | Path) -> str:
    """The first line that is not blank."""
    for _, line in read_lines(path):
        if line.strip():
            return line
    raise ValueError(f"{path}, line 1: the file holds blank lines only")


def read_json_pairs(path: str | Path, relation: Relation, source: str) -> Iterator[Pair]:
    """Pairs of a JSON object from a word to a list of words, all of one relation; read as a whole.

    Raises:
        ValueError: `relation` is neither, or the file is not such an object (file and line are named).
    """
    check_relation(relation)
    text = read_text(path)
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path}, line 1: expected a JSON object from words to lists of words")
    for word, others in entries.items():
        if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
            at = text[: max(text.find(json.dumps(word, ensure_ascii=False)), 0)].count("\n") + 1
            raise ValueError(f"{path}, line {at}: expected a list of words for {word!r}, found {str(others)[:60]}")
        yield from (Pair(word, other, relation, source) for other in others)


def read_moby(path: str | Path, source: str = "moby") -> Iterator[Pair]:
    """Synonyms of the Moby thesaurus (`mthesaur.txt`): on every line a root, then what belongs to it, after commas.

    Raises:
        ValueError: a line holds no second word (file and line are named).
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        root, *others = (word.strip() for word in line.split(","))
        others = list(filter(None, others))
        if not (root and others):
            raise ValueError(
                f"{path}, line {number}: expected a root and its synonyms after commas, found {line[:60]!r}"
            )
        yield from (Pair(root, other, "synonym", source) for other in others)


def _stated(relation: Relation | None, path: Path) -> Relation:
    """The relation given, or else the one that the file's name tells."""
    told = set(re.findall(r"(?<![a-z])(syn|ant)(?:onyms?)?(?![a-z])", path.name.lower()))
    if relation is None and len(told) != 1:
        raise ValueError(f"{path} does not say what its pairs are: give relation='synonym' or relation='antonym'")
    return relation or f"{told.pop()}onym"
