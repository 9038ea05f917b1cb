"""Every work of the bibliography is mentioned somewhere, and every mention has its work."""

import re
from pathlib import Path

BOOK = Path(__file__).resolve().parents[2] / "book"


def test_works_and_mentions_are_the_same():
    works = set(re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.M))
    pages = "".join(path.read_text(encoding="utf-8") for path in BOOK.rglob("*.md"))
    sources = "".join(path.read_text(encoding="utf-8") for path in (BOOK.parent / "notebooks").glob("*.ipynb"))
    mentions = {key for keys in re.findall(r"\{cite\}`([^`]+)`", pages + sources) for key in keys.split(",")}
    assert works == mentions


def test_the_citation_of_the_book_is_the_repositorys():
    text = (BOOK.parent / "CITATION.cff").read_text(encoding="utf-8")
    page = (BOOK / "data.md").read_text(encoding="utf-8")
    for field in ("title", "version", "license"):
        value = re.search(rf"^{field}: (.+)$", text, re.M)[1]
        assert f"{field} = {{{value}}}" in page
