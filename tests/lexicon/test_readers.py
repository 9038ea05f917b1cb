"""Tests of what all readers of `dskd_utils.lexicon.readers` have in common, and of `text_files` behind them."""

import gzip
import json
import lzma
import random
import zlib

import pytest

from dskd_utils.lexicon import readers
from dskd_utils.lexicon.readers import Pair, read_lines, read_text
from dskd_utils.lexicon.text_files import read_byte_lines

ENTRY = {"word": "happy", "lang_code": "en", "synonyms": [{"word": "glad"}]}
# For each reader: how it is called on a file, and a file that it reads.
READERS = {
    "wiktionary": (readers.read_wiktionary, ".jsonl", json.dumps(ENTRY) + "\n"),
    "roget": (readers.read_roget, ".txt", "1. Joy -- N. joy, glee.\n\n2. Grief -- N. grief, woe.\n"),
    "pairs": (lambda path: readers.read_pairs(path, "synonym", "mine"), ".txt", "happy glad\n"),
    "table": (readers.read_pair_file, ".tsv", "word\tother\trelation\nhappy\tglad\tsynonym\n"),
    "csv": (readers.read_pair_file, ".csv", "word,synonym\nhappy,glad\n"),
    "json": (lambda path: readers.read_pair_file(path, "synonym"), ".json", '{"happy": ["glad"]}\n'),
    "moby": (readers.read_moby, ".txt", "happy,glad,merry\n"),
}
each_reader = pytest.mark.parametrize("name", READERS)


@each_reader
@pytest.mark.parametrize("packing", ["", ".gz", ".xz"])
def test_every_reader_gives_pairs_of_a_plain_and_of_a_packed_file(tmp_path, name, packing):
    read, suffix, text = READERS[name]
    path = tmp_path / f"file{suffix}{packing}"
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[packing](text.encode()))
    found = list(read(path))
    assert found and all(isinstance(pair, Pair) and pair.relation in readers.RELATIONS for pair in found)
    assert found[0].word in ("happy", "joy")


@each_reader
def test_every_reader_takes_windows_line_ends_and_a_byte_order_mark(tmp_path, name):
    read, suffix, text = READERS[name]
    plain, other = tmp_path / f"plain{suffix}", tmp_path / f"other{suffix}"
    plain.write_text(text)
    other.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    named = {"table", "csv", "json"} & {name}  # these call their source after the file
    assert [pair[: 3 if named else 4] for pair in read(other)] == [pair[: 3 if named else 4] for pair in read(plain)]


def long(text):
    """The reader's file with its last line a thousand times over."""
    return (text + (text.splitlines()[-1] + "\n") * 1000).encode()


DAMAGED = r"line \d+: the compressed file is damaged"
BROKEN = {  # ending, how the file is made from the reader's own, what is said of it
    "empty": ("", lambda _: b"", r"line 1: the file is empty"),
    "empty-gz": (".gz", lambda _: gzip.compress(b""), r"line 1: the file is empty"),
    "cut-gz": (".gz", lambda text: gzip.compress(long(text))[:-20], DAMAGED),
    "cut-xz": (".xz", lambda text: lzma.compress(long(text))[:-30], DAMAGED),
    "not-gz": (".gz", lambda text: text.encode(), DAMAGED),
    "damaged-gz": (".gz", lambda text: gzip.compress(long(text))[:20] + b"\xff" * 40, DAMAGED),
    "utf-16": ("", lambda text: text.encode("utf-16"), r"line 1: (not valid UTF-8|no line is an entry)"),
    "latin-1": ("", lambda text: b"caf\xe9 " + text.encode(), r"line 1: (not valid UTF-8|no line is an entry)"),
}


@each_reader
@pytest.mark.parametrize("fault", BROKEN)
def test_every_reader_names_file_and_line_of_a_broken_file_in_one_line(tmp_path, name, fault):
    read, suffix, text = READERS[name]
    packing, make, message = BROKEN[fault]
    path = tmp_path / f"broken{suffix}{packing}"
    path.write_bytes(make(text))
    with pytest.raises(ValueError, match=rf"broken\{suffix}{packing}, {message}") as caught:
        list(read(path))
    assert "\n" not in str(caught.value)


@each_reader
def test_every_reader_says_which_file_is_missing(tmp_path, name):
    read, suffix, _ = READERS[name]
    with pytest.raises(FileNotFoundError, match="there is no file .*gone"):
        list(read(tmp_path / f"gone{suffix}"))


def test_lines_are_numbered_from_one_and_a_wrong_byte_is_found_on_its_line(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"one\r\ntwo\n\nfour")
    assert list(read_lines(path)) == [(1, "one"), (2, "two"), (3, ""), (4, "four")]
    assert [line for _, line in read_byte_lines(path)] == [b"one\r\n", b"two\n", b"\n", b"four"]
    assert read_text(path) == "one\ntwo\n\nfour"
    path.write_bytes(b"one\ntwo\n\xe9\n")
    for read in (lambda: list(read_lines(path)), lambda: read_text(path)):
        with pytest.raises(ValueError, match=r"lines\.txt, line 3: not valid UTF-8"):
            read()


@pytest.mark.parametrize("packing", ["gz", "xz"])
def test_a_cut_off_file_gives_all_lines_before_the_cut_and_names_the_next(tmp_path, packing):
    draw = random.Random(0)
    whole = b"".join(b"%x\n" % draw.getrandbits(200) for _ in range(20_000))
    packed = {"gz": gzip.compress, "xz": lzma.compress}[packing](whole)[:300_000]
    unpacked = {"gz": zlib.decompressobj(31), "xz": lzma.LZMADecompressor()}[packing].decompress(packed)
    path = tmp_path / f"cut.txt.{packing}"
    path.write_bytes(packed)
    found = []
    with pytest.raises(ValueError, match=r"damaged or cut off") as caught:
        for _, line in read_lines(path):
            found.append(line)
    assert found == unpacked.decode().split("\n")[:-1] and len(found) > 5000
    assert f"line {len(found) + 1}:" in str(caught.value)


def test_the_progress_bar_counts_the_bytes_of_the_packed_file(tmp_path, monkeypatch):
    from tqdm import tqdm

    from dskd_utils.lexicon import text_files

    bars = []

    class Watched(tqdm):
        def __init__(self, *args, **kwargs):
            bars.append(self)
            super().__init__(*args, **kwargs | {"delay": 0, "disable": False})

    monkeypatch.setattr(text_files, "tqdm", Watched)
    path = tmp_path / "long.txt.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\n" % (i * i) for i in range(200_000))))
    seen = [bars[0].n for _ in read_lines(path)]
    assert bars[0].total == path.stat().st_size
    assert seen == sorted(seen) and len(set(seen)) > 2 and 0.9 < seen[-1] / bars[0].total <= 1
