"""Lines of the text files that lexical resources come in, and the `Pair` that every reader gives (section 3.2).

Files are plain, `.gz` or `.xz`, read line by line in constant memory, with a bar over the bytes of the file once
that takes longer than five seconds. Whatever is wrong with a file is one sentence with its name and the line.
"""

import codecs
import contextlib
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from tqdm.auto import tqdm

Relation = Literal["synonym", "antonym"]
RELATIONS = ("synonym", "antonym")
PACKED = (".gz", ".xz")


class Pair(NamedTuple):
    """Two words, how they relate (`"synonym"` or `"antonym"`) and which source says so."""

    word: str
    other: str
    relation: Relation
    source: str


def check_relation(relation: str) -> None:
    """Raise a ValueError unless `relation` is one of `RELATIONS`."""
    if relation not in RELATIONS:
        raise ValueError(f"relation is {relation!r}, expected 'synonym' or 'antonym'")


def read_byte_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line of a file, plain, `.gz` or `.xz`, with the line end.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty or truncated; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of an existing plain, .gz or .xz text file")
    number = 0
    size = path.stat().st_size
    with (
        open(path, "rb") as raw,
        tqdm(total=size, desc=f"reading {path.name}", unit="B", unit_scale=True, delay=5, leave=False) as bar,
    ):
        unpack = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix)
        # Without a further buffer, which would lose the last lines before a cut and so name a wrong one.
        lines = unpack(raw, "rb") if unpack else raw
        try:
            for number, line in enumerate(lines, 1):
                if number % 1024 == 0:
                    bar.update(raw.tell() - bar.n)
                yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise ValueError(
                f"{path}, line {number + 1}: the compressed file is damaged or cut off; fetch it again"
            ) from error
    if number == 0:
        raise ValueError(f"{path}, line 1: the file is empty; fetch it again")


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of a UTF-8 file, plain, `.gz` or `.xz`, without the line end.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated or not UTF-8; the message names file and line.
    """
    for number, line in read_byte_lines(path):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not valid UTF-8 ({error.reason}); convert the file to UTF-8"
            ) from error
        yield number, text.rstrip("\r\n")


def read_text(path: str | Path) -> str:
    """The whole of a file as `read_lines` reads it, with plain line ends; the same errors."""
    path = Path(path)
    if path.is_file() and path.suffix not in PACKED and (content := path.read_bytes()):
        # Much faster than line by line; a byte that is not UTF-8 is left to the slow way, which counts lines.
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode("utf-8-sig").replace("\r\n", "\n")
    return "\n".join(line for _, line in read_lines(path))
