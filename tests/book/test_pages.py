"""Tests of every page in a browser: it loads, asks nobody else, fits a phone, can be read in the dark and aloud."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

BOOK = Path(__file__).resolve().parents[2] / "book"


def pages(entries):
    """Pages of a table of contents in its order."""
    for entry in entries:
        if "file" in entry:
            yield entry["file"]
        yield from pages([*entry.get("chapters", []), *entry.get("sections", [])])


TOC = yaml.safe_load((BOOK / "_toc.yml").read_text())
PAGES = [TOC["root"], *pages(TOC["parts"])]
ALL = [*PAGES, "search", "genindex", "_modules/dskd_utils/distill/losses"]
# Pages that are made as others are, from docstrings and for a second teacher, wait for `make test-all`.
LIKE_OTHERS = re.compile(r"api/(?!senses)|genindex|studies/(?!smollm2-135m/\d)")
every_page = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if LIKE_OTHERS.match(name) else name for name in ALL]
)

# Elements that stick out of the window and do not lie in a box of their own that scrolls or hides;
# the contents of the page wait outside of a phone's window until they are asked for.
STICKING_OUT = """() => {
  const width = document.documentElement.clientWidth, found = [];
  for (const element of document.querySelectorAll("main *:not(.bd-sidebar-secondary, .bd-sidebar-secondary *)")) {
    const place = element.getBoundingClientRect();
    if (!place.width || place.right <= width + 1) continue;
    let box = element.parentElement, held = false;
    while (box && box !== document.body && !held) {
      held = ["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(box).overflowX);
      box = box.parentElement;
    }
    if (!held) found.push(`${element.tagName}.${element.className} to ${Math.round(place.right)}`);
  }
  return found.slice(0, 5);
}"""

BLIND = r"[...document.images].filter((i) => !i.alt.trim() || /\.(png|svg)$/.test(i.alt)).map((i) => i.src)"


def serious(page):
    """What axe-core finds of serious and critical faults, as short texts."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:300]} ({len(fault['nodes'])} times) "
        + fault["nodes"][0]["failureSummary"][:300]
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


@every_page
def test_a_page_loads_renders_its_equations_and_can_be_used_by_everyone(opened, address, name):
    page = opened(f"{address}/{name}.html")
    assert page.locator("h1:visible").count()
    assert not page.locator("mjx-merror").count()
    equations = page.locator("article .math").count()
    assert page.locator("article .math mjx-container").count() == equations, "an equation is not rendered"
    blind = page.evaluate(BLIND)
    assert not blind, "pictures without a text"
    broken = page.evaluate("[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)")
    assert not broken
    assert not page.evaluate(STICKING_OUT)
    assert not serious(page)


@every_page
def test_a_page_fits_a_phone_and_can_be_read_in_the_dark(opened, address, name):
    page = opened(f"{address}/{name}.html", width=390, dark=True)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.evaluate(STICKING_OUT)
    assert not serious(page)


class _Links(HTMLParser):
    """Links of a page, the names that can be linked to, and its links that leave the site."""

    def __init__(self, text):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.names |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag in {"a", "link"} and given.get("href"):
            self.links.append(given["href"])


def test_links_inside_the_book_lead_somewhere(site):
    read = {
        path: _Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if "_static" not in path.parts
    }
    lost = []
    for path, page in read.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            names = read[target].names if target in read else {unquote(parts.fragment)}
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in names):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert len(read) > len(PAGES) and not lost, lost[:20]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_once_where_its_numbers_come_from_and_how_to_run_it_again(site, name):
    text = (site / f"{name}.html").read_text(encoding="utf-8")
    article = text[text.index("<article") : text.index("</article>")]
    assert article.count("Where these numbers come from") == 1
    said = re.sub(r"<[^>]+>", "", article[article.index("Where these numbers come from") :])
    assert re.search(r"[Cc]ommit [0-9a-f]{7,}|commit unknown", said) and re.search(r"papermill|make book", said)
