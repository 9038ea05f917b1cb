"""Reader of Roget's Thesaurus of 1911 as pairs of words, one of the lexical resources of section 3.2.

Written for Project Gutenberg 10681: numbered heads, paragraphs by part of speech, groups between semicolons.
"""

import html
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dskd_utils.lexicon.text_files import Pair, read_text

# A foreign or obsolete expression is no English synonym: the item goes. Other marks ([U.S.], [Slang], [Law],
# the author of a quotation, a heading such as [Science of existence]) only leave the text.
_DROPPED_MARKS = frozenset(
    ("lat", "fr", "it", "g", "ger", "gr", "grk", "sp", "port", "jap", "rus", "russ", "arab", "hindi", "obs")
)
_OPPOSED_PARTS = ("N", "Adj", "V")
_HEAD = re.compile(
    r"^(?P<number>\d+[a-z]?)\. (?P<title>(?:(?!\n\n).){1,250}?)\s--\s*(?=(?:N|V|Adj|Adv|Phr|Int)\.)", re.M | re.S
)
_PART = re.compile(r"^(N|V|Adj|Adv|Phr|Int|Pron)\s?\.(?=\s)")
# `&c 494`, `&c (event) 151` and `&c n.`, which names another part of speech of the same head.
_REFERENCE = re.compile(
    r",?\s*&c\.?(?:\s*\((?P<keyword>[^)]*)\))?"
    r"(?:\s*(?:(?P<number>\d+\w?)(?:\.\d+)?|(?:adj|adv|n|v|pron|int|phr)\b\s?\.*))*",
    re.I,
)
_ITEM = re.compile(r"[^\W\d_]+(?:[ '\-][^\W\d_]+)*")
Paragraphs = dict[str, list[list[list[str]]]]  # part of speech -> paragraphs -> semicolon groups -> items


class Reference(NamedTuple):
    """An item that sends the reader to another head: `occur &c (event) 151` is occur, event, 151."""

    part: str
    item: str
    keyword: str
    number: str


class Head(NamedTuple):
    """A head of the thesaurus: number (`"16a"`), title without notes, paragraphs by part of speech, references."""

    number: str
    title: str
    paragraphs: Paragraphs
    references: list[Reference]


def read_roget(path: str | Path, *, antonym_cap: int = 6, references: bool = False) -> Iterator[Pair]:
    """Synonyms and antonyms of Roget's Thesaurus of 1911 (Project Gutenberg 10681), as text or as an HTML page.

    Synonyms are the items between two semicolons. Antonyms come from opposed heads, see `antonym_pairs`. Foreign and
    obsolete expressions, phrases (`Phr.`) and notes are dropped.

    Args:
        antonym_cap: antonyms of two opposed heads, at most.
        references: give cross references (`truth &c 494`) as synonyms too, see `reference_pairs`. Off by default:
            nine in ten only repeat the groups, and PPDB, HG2Vec and WordNet confirm the rest less than half as often
            as the groups, hardly more often than any two words of one head and part of speech.

    Raises:
        FileNotFoundError, ValueError: no file; not UTF-8; or no heads in it (names file and line).
    """
    heads = parse_roget(path)
    for groups in _groups(heads).values():
        for group in groups:
            yield from (Pair(a, b, "synonym", "roget") for a, b in itertools.combinations(group, 2))
    yield from antonym_pairs(heads, antonym_cap)
    if references:
        yield from reference_pairs(heads)


def antonym_pairs(heads: list[Head], cap: int) -> Iterator[Pair]:
    """Antonyms of opposed heads, at most `cap` for two heads.

    The leading group of a part of speech (noun, adjective, verb) stands against the leading group of the same part in
    the facing head, nearest ranks first: the first item against the first, then the first against the second. A full
    cross product would be mostly wrong, and so would adverbs and interjections: precision falls with every rank (see
    `tests/lexicon/roget_antonym_labels.tsv`).
    """
    for left, right in opposed_heads(heads):
        crossed = []
        for place, part in enumerate(_OPPOSED_PARTS):
            if part in left and part in right:
                ends = left[part][0][0], right[part][0][0]
                crossed += [(i + j, place, i, x, y) for (i, x), (j, y) in itertools.product(*map(enumerate, ends))]
        yield from (Pair(x, y, "antonym", "roget") for *_, x, y in sorted(crossed)[:cap])


def reference_pairs(heads: list[Head]) -> Iterator[Pair]:
    """Cross references as synonyms, source `"roget-reference"`.

    The item joins that group of the head it names, of the same part of speech, that already holds it; where none
    does, the group that holds the word in brackets (`occur &c (event) 151`), else the leading group of that part.
    """
    groups = _groups(heads)
    for head in heads:
        for part, item, keyword, number in head.references:
            found = groups.get((number, part), [])
            holding = [group for word in (item, keyword) for group in found if word in group]
            for other in next(iter(holding + found), []):
                if other != item:
                    yield Pair(item, other, "synonym", "roget-reference")


def _groups(heads: list[Head]) -> dict[tuple[str, str], list[list[str]]]:
    """The semicolon groups of each head's number and part of speech, paragraphs joined."""
    return {
        (head.number, part): list(itertools.chain.from_iterable(paragraphs))
        for head in heads
        for part, paragraphs in head.paragraphs.items()
    }


# The printed book sets opposed heads side by side in two columns; the plain text has lost the columns. Restored
# here from the titles: `23` says that head 23 faces 24, `16-16a` names both. Heads that merely adjoin (Painting,
# Sculpture) or whose titles are not opposite in sense (Unity, Accompaniment; Leap, Plunge) are left out.
_FACING = """
1 3 5 9 13 16-16a 17 19 23 27 31 33 35 37 41 43 46 48 50 52 54 56 58 60 62 64 66 69 72 76 78 82 102 106 110 112 116 118
121 123 125 127 129 132-133 134 136 138 140 142 149 153 157 159 161 164 166 168 171 173 175-175a 178 180-180a 184
186 192 194 196 198 200 202 206 208 210 212 216-216a 220 223 225 234 238 240 242 245 250-252 253 255 260 262 264 274 278
280 282 284 286 288 290 292 294 296 300 303 305 307 316 319 321 323 325 327 331 339 357 359 375 377 382 384 386
390 394 396 398 400 402 404 408-408a 413 418 420 425 428 430 441 446 448 450-450a 451 455 457 459 461 464-464a
465-465a 467 470 472 474 478 480-481 482 484 486 488 490 492 494 498 500 502 505 507 516 518 522 525 528 535 537 540 543
554 570 572 574 576 578 580 584 597 602 604-605 609-610 613 615-615a 618 620 622 639 642 644 646 648 650 652 654 656 658
660 662 664 666 673 677 680 682 684 686 688 698 700 702 704 706 708 710 713 716 721 729 731 734 739 742 745 748 750 755
760 762-764 765 772 775 777-777a 781 784 787 789 795 803 805 807 809 812a-812b 814 816-819 817-818 822 825 827 829 831
834 836 838 840 842 845 847-848 850 858 861 863 865 870 873 875 878 880 885 888 890 892 894 897 903 906 910 912 914-914a
916 918 922 924 928 931 933 935 937 939 942 944 946 948 950 953 956 958 960 963 970 972 977 981 983a-984 987 996
"""


def opposed_heads(heads: list[Head]) -> Iterator[tuple[Paragraphs, Paragraphs]]:
    """The paragraphs of each two heads of `parse_roget` that face each other in the printed book, such as 1 and 2."""
    paragraphs = {head.number: head.paragraphs for head in heads}
    for entry in _FACING.split():
        left, _, right = entry.partition("-")
        right = right or str(int(left) + 1)
        if left in paragraphs and right in paragraphs:
            yield paragraphs[left], paragraphs[right]


def parse_roget(path: str | Path) -> list[Head]:
    """The heads of the 1911 Roget in order."""
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
        heads.append(Head(start["number"], " ".join(title.split()), *_paragraphs(body)))
    return heads


def _paragraphs(body: str) -> tuple[Paragraphs, list[Reference]]:
    """Cleaned semicolon groups of a head's text, empty groups and paragraphs left out, and the references in it."""
    found: Paragraphs = {}
    references = []
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
        block = re.sub(r"\[([^\]]*)\]", _mark, _REFERENCE.sub(_link, block))
        groups = []
        for chunk in re.split(r";|:|\.(?=\s|$)", block):
            items = _items(chunk)
            references += [Reference(part, item, *link) for item, links in items.items() for link in links]
            groups += [list(items)] if items else []
        if groups:
            found.setdefault(part, []).append(groups)
    return found, references


def _link(match: re.Match) -> str:
    """A marker with keyword and number in place of a reference; nothing for one to another part of the same head."""
    keyword = re.sub(r"[^\w' \-]", " ", match["keyword"] or "")
    return f" \x01{keyword}\x02{match['number']}\x01 " if match["number"] else " "


def _mark(match: re.Match) -> str:
    """A marker that drops the item before it when the note names a foreign language or says obsolete."""
    names = re.findall(r"[a-z]+", match[1].lower())
    return " \x00 " if names and names[0] in _DROPPED_MARKS else " "


def _items(chunk: str) -> dict[str, list[list[str]]]:
    """The words and short expressions of one semicolon group, in order, each with its [keyword, number] references."""
    items: dict[str, list[list[str]]] = {}
    for item in re.split(r"[,!?]", chunk):
        links = [link.split("\x02") for link in re.findall("\x01([^\x01]*)\x01", item)]
        item = re.sub("\x01[^\x01]*\x01", " ", item)
        item = " ".join(re.sub(r"\([^)]*\)", " ", item).split())
        item = re.sub(r"(?<=[a-z])\d+$| etc$", "", item)  # the number of a footnote
        item = re.sub(r"^(?:a|an|the) (?=\S)", "", item)
        # Expressions of more than four words are definitions or quotations.
        if _ITEM.fullmatch(item) and item.count(" ") < 4:
            items.setdefault(item, []).extend(links)
    return items
