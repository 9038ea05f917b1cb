"""Wikipedia articles as clean documents, split by title into training and held-out parts (paper, section 3.1)."""

import bz2
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HELD_OUT = 0.1  # share of the articles that is never trained on, half validation, half test
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Document:
    """A text with its source (`"wikipedia-dump"`, `"wikipedia-leads"` or a task) and its title (a question's id)."""

    source: str
    title: str
    text: str


_INLINE = (  # templates whose words belong to the sentence; `filter_wiki` drops all others
    (re.compile(r"\{\{(?:convert|cvt)\|([^|{}]+)\|([^|{}]+)[^{}]*\}\}", re.I), r"\1 \2"),
    (re.compile(r"\{\{(?:lang|transl)\|[^|{}]+\|([^|{}]+)[^{}]*\}\}", re.I), r"\1"),
    (re.compile(r"\{\{(?:nowrap|nobr|small)\|([^{}]*)\}\}", re.I), r"\1"),
    (re.compile(r"\{\{(?:snd|spnd|[ns]?dash|endash|spaced ndash)\}\}", re.I), "–"),
)
_HOLE = "\ue000"  # a private character: stands where a formula was, so that its paragraph can be dropped
_FORMULA = re.compile(r"<math\b.*?(?:</math>|/>)|\{\{(?:math|mvar|chem)\b[^{}]*\}\}", re.S | re.I)
_BLOCK = re.compile(r"<(gallery|source|syntaxhighlight|pre|timeline|imagemap)\b.*?</\1>", re.S | re.I)
_FILE = re.compile(r"\[\[(?:File|Image):(?:[^\[\]]|\[\[[^\[\]]*\]\]|\[[^\[\]]*\])*\]\]", re.I)
_TABLE = re.compile(r"^[ :*]*\{\|(?:(?!^[ :*]*\{\|).)*?^\s*\|\}", re.S | re.M)
_HEADING = re.compile(r"^\s*(=+)\s*(.*?)\s*\1\s*$")
_NO_PROSE = re.compile(  # headings of sections that hold lists and notes
    r"(references|external links|further reading|see also|notes|bibliography|footnotes|sources|citations|gallery|"
    r"works cited|filmography|discography|reference)\b",
    re.I,
)
_TIDY = (
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"__[A-Z]+__|<[^<>]*>"), ""),
    (re.compile(r"\[?https?://\S+"), ""),
    (re.compile(r"[\s\u200b]+"), " "),
    (re.compile(r"\(\s*(?:(?:or|and|i\.e\.)?\s*[,;:]\s*)*"), "("),
    (re.compile(r"(?:\s*[,;:])*\s*\)"), ")"),
    (re.compile(r"\s*\(\)"), ""),
    (re.compile(r"([,;])(?:\s*[,;])+"), r"\1"),
    (re.compile(r"\s+([,;:.!?)](?:\s|$))"), r"\1"),
)
_SENTENCE_END = re.compile(r"[.!?][\"'”’)]*$")
_RESIDUE = re.compile(r"[|{}\[\]" + _HOLE + r"]|\bthumb\||\bISBN\b")


def _tidy(line: str) -> str:
    """A line without quote marks of wikitext and without the empty brackets that dropped templates leave."""
    for pattern, kept in _TIDY:
        line = pattern.sub(kept, line)
    return line.strip()


def _clean(wikitext: str) -> str:
    """Prose of an article: paragraphs of whole sentences, one a line, without headings, lists of works and markup."""
    from gensim.corpora.wikicorpus import filter_wiki

    text = _FORMULA.sub(_HOLE, _BLOCK.sub("", wikitext))
    for pattern, kept in _INLINE:
        text = pattern.sub(kept, text)
    text = filter_wiki(_TABLE.sub("\n", _FILE.sub("", text)))
    paragraphs, skipped = [], 0
    for line in text.split("\n"):
        if heading := _HEADING.match(line):
            level = len(heading[1])
            if not skipped or level <= skipped:
                skipped = level if _NO_PROSE.match(heading[2]) else 0
            continue
        if skipped:
            continue
        line = _tidy(line.lstrip(" *#:;"))
        if len(line.split()) >= 8 and _SENTENCE_END.search(line) and not _RESIDUE.search(line):
            paragraphs.append(line)
    return "\n".join(paragraphs)


def wikipedia_dump(path: str | Path) -> Iterator[Document]:
    """Articles of a MediaWiki XML dump (`.bz2` or plain), in its order; redirects and other namespaces are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a MediaWiki dump.
    """
    from gensim.corpora.wikicorpus import extract_pages

    path = _file(path)
    with (bz2.open if path.suffix == ".bz2" else open)(path, "rb") as stream:
        pages = extract_pages(stream, filter_namespaces=("0",))
        try:
            for title, wikitext, _ in pages:
                if not re.match(r"\s*#redirect", wikitext or "", re.I) and (text := _clean(wikitext or "")):
                    yield Document("wikipedia-dump", title, text)
        except (SyntaxError, OSError, EOFError, ValueError) as error:  # ParseError is a SyntaxError
            raise ValueError(f"{path} is not a whole MediaWiki XML dump ({error}): fetch it again") from error


def wikipedia_leads(path: str | Path) -> Iterator[Document]:
    """Article leads from a JSON object `{title: {"title", "extract", ...}}`, in its order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not such an object, or an article lacks a field.
    """
    path = _file(path)
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))
        for title, article in articles.items():
            text = _tidy(article["extract"])
            if text:
                yield Document("wikipedia-leads", article.get("title") or title, text)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a JSON object of articles with 'extract' ({error!r}): fetch it again"
        ) from error


def _file(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no text file {path}: fetch it with `python -m dskd_utils.sources.assets`")
    return Path(path)


def normalise_title(title: str) -> str:
    """A title's key: NFKC, case folded, underscores as spaces."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().replace("_", " ").split())


def split_articles(
    documents: Iterable[Document], *, seed: int = 0, held_out: float = HELD_OUT
) -> dict[str, list[Document]]:
    """Documents by part: `"train"`, `"validation"`, `"test"`, decided by a seeded hash of the normalised title.

    An article that two samples share falls on one side, and only its longest text is kept, in the place of the
    first. Validation and test get half of `held_out` each.

    Raises:
        ValueError: `held_out` outside [0, 1).
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out is {held_out}, expected a share of at least 0 and below 1")
    longest: dict[str, Document] = {}
    for document in documents:
        key = normalise_title(document.title)
        if key not in longest or len(document.text) > len(longest[key].text):
            longest[key] = document
    parts: dict[str, list[Document]] = {part: [] for part in PARTS}
    for key, document in longest.items():
        place = int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()) / 2**64
        part = "validation" if place < held_out / 2 else "test" if place < held_out else "train"
        parts[part].append(document)
    return parts
