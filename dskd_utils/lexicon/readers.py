"""Readers of thesauri and pair files as (word, other, relation, source), the raw material of section 3.2.

Every reader is a generator of `Pair`: words as the file writes them, each unordered pair of one group once.
Normalising, merging and resolving contradictions is the business of `relations.Relations`.
"""

import contextlib
import gzip
import html
import itertools
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

Relation = Literal["synonym", "antonym"]
RELATIONS = ("synonym", "antonym")


class Pair(NamedTuple):
    """Two words, how they relate (`"synonym"` or `"antonym"`) and which source says so."""

    word: str
    other: str
    relation: Relation
    source: str


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of a UTF-8 file, plain, `.gz` or `.xz`, without the line end.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated or not UTF-8; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of an existing plain, .gz or .xz text file")
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    number = 0
    try:
        with opener(path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                yield number, line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line {number}: not valid UTF-8 ({error.reason}); convert the file to UTF-8"
        ) from error
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise ValueError(
            f"{path}, line {number + 1}: the compressed file is damaged or cut off; fetch it again"
        ) from error
    if number == 0:
        raise ValueError(f"{path}, line 1: the file is empty; fetch it again")


def read_text(path: str | Path) -> str:
    """The whole of a file as `read_lines` reads it, with plain line ends; the same errors."""
    path = Path(path)
    if path.is_file() and path.suffix not in (".gz", ".xz") and (content := path.read_bytes()):
        # Much faster than line by line; a byte that is not UTF-8 is left to the slow way, which counts lines.
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode("utf-8").replace("\r\n", "\n")
    return "\n".join(line for _, line in read_lines(path))


def read_pairs(path: str | Path, relation: Relation, source: str) -> Iterator[Pair]:
    """Pairs of a file with two words a line, as HG2Vec and Dict2Vec write them (plain, `.gz` or `.xz`).

    Args:
        relation: what the file's pairs are, `"synonym"` or `"antonym"`.
        source: name under which the pairs are remembered.

    Raises:
        ValueError: `relation` is neither, or a line is not a word, a blank and a word (file and line are named).
            An empty first word, as HG2Vec has it, is passed on for `Relations` to drop and count.
    """
    if relation not in RELATIONS:
        raise ValueError(f"relation is {relation!r}, expected 'synonym' or 'antonym'")
    for number, line in read_lines(path):
        if not line.strip():
            continue
        # The published HG2Vec files hold a few entries of several words, and empty ones: the last blank separates.
        word, blank, other = line.rpartition(" ")
        if not blank or "\t" in line or not re.search(r"[^\W\d_]", other):
            raise ValueError(f"{path}, line {number}: expected two words with a blank between, found {line[:60]!r}")
        yield Pair(word, other, relation, source)


WORDNET_PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}


def read_wordnet(folder: str | Path) -> Iterator[Pair]:
    """Synonyms (members of one synset) and antonyms (`!` pointers, word to word) of WordNet database files.

    Args:
        folder: holds `data.noun`, `data.verb`, `data.adj` and `data.adv` in the format of wndb(5WN).

    Raises:
        FileNotFoundError: a data file is missing.
        ValueError: a line is not a synset, or a pointer leads nowhere; the message names file and line.
    """
    folder = Path(folder)
    synsets: dict[tuple[str, str], list[str]] = {}
    pointers = []
    for part, name in WORDNET_PARTS.items():
        path = folder / f"data.{name}"
        before = len(synsets)
        for number, line in read_lines(path):
            if line.startswith("  "):  # the licence
                continue
            try:
                offset, words, opposites = _synset(line)
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}, line {number}: not a WordNet synset: {line[:60]!r}") from error
            synsets[part, offset] = words
            yield from (Pair(a, b, "synonym", "wordnet") for a, b in itertools.combinations(words, 2))
            pointers += [(path, number, words, *opposite) for opposite in opposites]
        if len(synsets) == before:
            raise ValueError(f"{path}, line 1: the file holds no synset; expected a WordNet data file")
    for path, number, words, part, offset, source, target in pointers:
        try:
            # Numbers count from 1; 0 would stand for the whole synset, which `!` never uses.
            word, other = words[source - 1], synsets[part, offset][target - 1]
        except (KeyError, IndexError) as error:
            raise ValueError(
                f"{path}, line {number}: an antonym pointer leads to no word; the file is cut off"
            ) from error
        yield Pair(word, other, "antonym", "wordnet")


def _synset(line: str) -> tuple[str, list[str], list[tuple[str, str, int, int]]]:
    """Offset, member words and (part, offset, source word, target word) of the antonym pointers of a data line."""
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
    quads = zip(*[iter(rest)] * 4, strict=True)
    opposites = [(part, to, int(ends[:2], 16), int(ends[2:], 16)) for sign, to, part, ends in quads if sign == "!"]
    return offset, words, opposites


# A foreign or obsolete expression is no English synonym: the item goes. Other marks ([U.S.], [Slang], [Law],
# the author of a quotation, a heading such as [Science of existence]) only leave the text.
_DROPPED_MARKS = {
    "lat",
    "fr",
    "it",
    "g",
    "ger",
    "gr",
    "grk",
    "sp",
    "port",
    "jap",
    "rus",
    "russ",
    "arab",
    "hindi",
    "obs",
}
_HEAD = re.compile(
    r"^(?P<number>\d+[a-z]?)\. (?P<title>(?:(?!\n\n).){1,250}?)\s--\s*(?=(?:N|V|Adj|Adv|Phr|Int)\.)", re.M | re.S
)
_PART = re.compile(r"^(N|V|Adj|Adv|Phr|Int|Pron)\s?\.(?=\s)")
_REFERENCE = re.compile(
    r",?\s*&c\.?(?:\s*\([^)]*\))?(?:\s*(?:\d+\w?(?:\.\d+)?|(?:adj|adv|n|v|pron|int|phr)\b\s?\.*))*", re.I
)
_ITEM = re.compile(r"[^\W\d_]+(?:[ '\-][^\W\d_]+)*")
Paragraphs = dict[str, list[list[list[str]]]]  # part of speech -> paragraphs -> semicolon groups -> items


def read_roget(path: str | Path, *, antonym_cap: int = 12) -> Iterator[Pair]:
    """Synonyms and antonyms of Roget's Thesaurus of 1911 (Project Gutenberg 10681), as text or as an HTML page.

    Synonyms are the items between two semicolons. Antonyms come from opposed heads (see `opposed_heads`): the
    leading group of a part of speech against the leading group of the same part in the facing head, nearest
    ranks first, at most `antonym_cap` pairs for two heads, since a full cross product would be mostly wrong.
    Foreign and obsolete expressions, phrases (`Phr.`), cross references (`&c. 12`) and notes are dropped.

    Raises:
        FileNotFoundError, ValueError: no file; not UTF-8; or no heads in it (names file and line).
    """
    heads = parse_roget(path)
    for _, _, paragraphs in heads:
        for groups in paragraphs.values():
            for group in itertools.chain.from_iterable(groups):
                yield from (Pair(a, b, "synonym", "roget") for a, b in itertools.combinations(group, 2))
    for left, right in opposed_heads(heads):
        crossed = []
        for part in left.keys() & right.keys():
            a, b = left[part][0][0], right[part][0][0]
            crossed += [(i + j, part, x, y) for (i, x), (j, y) in itertools.product(enumerate(a), enumerate(b))]
        yield from (Pair(x, y, "antonym", "roget") for _, _, x, y in sorted(crossed)[:antonym_cap])


# The printed book sets opposed heads side by side in two columns; the plain text has lost the columns. Restored
# here from the titles: `23` says that head 23 faces 24, `16-16a` names both. Heads that merely adjoin (Painting,
# Sculpture) or whose titles are not opposite in sense (Unity, Accompaniment) are left out.
_FACING = """
1 3 5 9 13 16-16a 17 19 23 27 31 33 35 37 41 43 46 48 50 52 54 56 58 60 62 64 66 69 72 76 78 82 102 106 110 112 116 118
121 123 125 127 129 132-133 134 136 138 140 142 149 153 155 157 159 161 164 166 168 171 173 175-175a 178 180-180a 184
186 192 194 196 198 200 202 206 208 210 212 216-216a 220 223 225 234 238 240 242 245 250-252 253 255 260 262 264 274 278
280 282 284 286 288 290 292 294 296 300 303 305 307 309 316 319 321 323 325 327 331 339 357 359 375 377 382 384 386
388-388a 390 394 396 398 400 402 404 408-408a 413 418 420 425 428 430 441 446 448 450-450a 451 455 457 459 461 464-464a
465-465a 467 470 472 474 478 480-481 482 484 486 488 490 492 494 498 500 502 505 507 516 518 522 525 528 535 537 540 543
554 570 572 574 576 578 580 584 597 602 604-605 609-610 613 615-615a 618 620 622 639 642 644 646 648 650 652 654 656 658
660 662 664 666 673 677 680 682 684 686 688 698 700 702 704 706 708 710 713 716 721 729 731 734 739 742 745 748 750 755
760 762-764 765 772 775 777-777a 781 784 787 789 795 803 805 807 809 812a-812b 814 816-819 817-818 822 825 827 829 831
834 836 838 840 842 845 847-848 850 858 861 863 865 870 873 875 878 880 885 888 890 892 894 897 903 906 910 912 914-914a
916 918 922 924 928 931 933 935 937 939 942 944 946 948 950 953 956 958 960 963 970 972 977 981 983a-984 987 996
"""


def opposed_heads(heads: list[tuple[str, str, Paragraphs]]) -> Iterator[tuple[Paragraphs, Paragraphs]]:
    """The paragraphs of each two heads of `parse_roget` that face each other in the printed book, such as 1 and 2."""
    paragraphs = {number: found for number, _, found in heads}
    for entry in _FACING.split():
        left, _, right = entry.partition("-")
        right = right or str(int(left) + 1)
        if left in paragraphs and right in paragraphs:
            yield paragraphs[left], paragraphs[right]


def parse_roget(path: str | Path) -> list[tuple[str, str, Paragraphs]]:
    """Heads of the 1911 Roget in order: number (`"16a"`), title without notes, and its paragraphs by part of speech."""
    text = read_text(path)
    if "<pre>" in text:  # the page of the Internet Archive around the text, `&` written as `&amp;`
        text = html.unescape(text.split("<pre>", 1)[1].split("</pre>", 1)[0])
    # From head 908 on the page indents every line by four spaces and marks paragraphs by a tab.
    text = re.sub(r"^ {4}(?=\S)|^[ \t]+$", "", text, flags=re.M)
    starts = list(_HEAD.finditer(text))
    if len(starts) < 2:
        raise ValueError(f"{path}, line 1: no heads such as '1. Existence -- N.' found; expected Gutenberg text 10681")
    heads = []
    for start, following in itertools.zip_longest(starts, starts[1:]):
        body = text[start.end() : following.start() if following else None]
        title = re.sub(r"\[[^\]]*\]|\{[^}]*\}|\.", " ", start["title"])
        heads.append((start["number"], " ".join(title.split()), _paragraphs(body)))
    return heads


def _paragraphs(body: str) -> Paragraphs:
    """Cleaned semicolon groups of a head's text; empty groups and paragraphs left out."""
    found: Paragraphs = {}
    part = ""
    body = re.sub(r"\{[^}]*\}", " ", body)  # `{ant. of 388}`, which only some heads have
    body = re.sub(r"-\n\s*", "-", body)  # hyphens at a line end are part of the word
    # A section heading or the licence may follow the last paragraph: a blank line ends the head.
    body = re.split(r"\n\s*\n", body, maxsplit=1)[0]
    for block in re.split(r"\n(?=\s|(?:V|Adj|Adv|Phr|Int|Pron)\.\s)", body):
        block = " ".join(block.split())
        if mark := _PART.match(block):
            part, block = mark[1], block[mark.end() :]
        if part in ("", "Phr"):
            continue
        # Notes hold semicolons and commas of their own, so they go before the text is cut at these.
        block = re.sub(r"\[([^\]]*)\]", _mark, _REFERENCE.sub(" ", block))
        groups = [group for chunk in re.split(r";|:|\.(?=\s|$)", block) if (group := _items(chunk))]
        if groups:
            found.setdefault(part, []).append(groups)
    return found


def _mark(match: re.Match) -> str:
    """A marker that drops the item before it when the note names a foreign language or says obsolete."""
    names = re.findall(r"[a-z]+", match[1].lower())
    return " \x00 " if names and names[0] in _DROPPED_MARKS else " "


def _items(chunk: str) -> list[str]:
    """The words and short expressions of one semicolon group, in order, each once."""
    items = []
    for item in re.split(r"[,!?]", chunk):
        item = " ".join(re.sub(r"\([^)]*\)", " ", item).split())
        item = re.sub(r"(?<=[a-z])\d+$| etc$", "", item)  # the number of a footnote
        item = re.sub(r"^(?:a|an|the) (?=\S)", "", item)
        # Expressions of more than four words are definitions or quotations.
        if _ITEM.fullmatch(item) and item.count(" ") < 4:
            items.append(item)
    return list(dict.fromkeys(items))
