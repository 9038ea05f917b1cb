"""The built book as one PDF to print or one zip to pass on; no section of the paper.

`python -m dskd_utils.report.publish pdf --site _build/html --out FILE`, or `zip`. Chromium prints the PDF page by page,
in the order of the table of contents, and put together with bookmarks; links between pages lead to places in the PDF.
"""

import argparse
import io
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urldefrag

import yaml

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
REFERENCE = "api/"  # pages that are looked up, not read: more than the rest of the book together
SCALE = 0.8  # of the screen's text, so that tables and equations have the width that they have there
LEFT_OUT = {".doctrees", ".buildinfo", "objects.inv"}  # nothing that a reader opens
FOOTER = (
    '<div style="width: 100%; font: 8px sans-serif; color: #555; text-align: center">'
    '<span class="title"></span>, <span class="pageNumber"></span> of <span class="totalPages"></span></div>'
)
UNFOLD = """() => {
  const parts = document.querySelectorAll("article details:not(.hide, .dskd-compare, .dskd-words details)");
  parts.forEach((part) => { part.open = true; });
}"""


def toc_pages(toc: Path) -> list[str]:
    """Pages of a book in the order of its table of contents, without endings.

    Args:
        toc: `_toc.yml` of the book's sources.

    Raises:
        FileNotFoundError: there is no such file.
    """
    whole = yaml.safe_load(toc.read_text(encoding="utf-8"))

    def below(entries: Sequence[dict]) -> list[str]:
        found = []
        for entry in entries:
            found += [entry["file"]] if "file" in entry else []
            found += below([one for kind in ("parts", "chapters", "sections") for one in entry.get(kind, [])])
        return found

    return [whole["root"], *below([whole])]


def chromium() -> str:
    """Where this machine's Chromium is.

    Raises:
        FileNotFoundError: it has none.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError("the PDF is printed by Chromium, which is not here: `apt-get install chromium`")


def write_pdf(site: Path, pages: Sequence[str], out: Path) -> Path:
    """Print pages of a built site into one PDF.

    Args:
        site: the folder with `index.html`.
        pages: without endings, in order.
        out: the PDF to write.

    Raises:
        FileNotFoundError: a page is not there, or this machine has no Chromium.
    """
    from playwright.sync_api import sync_playwright

    missing = [page for page in pages if not (site / f"{page}.html").is_file()]
    if missing:
        raise FileNotFoundError(f"{site} has no page {missing[0]}: build the book first, `make book`")
    printed = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        tab = browser.new_page(color_scheme="light")
        tab.set_default_timeout(120_000)  # a busy machine is slow, not wrong
        for page in pages:
            address = (site / f"{page}.html").resolve().as_uri()
            tab.goto(address)
            tab.evaluate("window.MathJax?.startup?.promise ?? null")
            tab.evaluate(UNFOLD)
            margin = {"top": "15mm", "bottom": "18mm", "left": "15mm", "right": "15mm"}
            options = {
                "format": "A4",
                "scale": SCALE,
                "print_background": True,
                "display_header_footer": True,
                "margin": margin,
            }
            pdf = tab.pdf(header_template="<span></span>", footer_template=FOOTER, tagged=True, **options)
            printed.append((address, tab.title(), pdf))
        browser.close()
    return join(printed, out)


def join(printed: Sequence[tuple[str, str, bytes]], out: Path) -> Path:
    """One PDF of several: bookmarks by title, and links between them as places in it.

    Args:
        printed: address, title and PDF of each page.
        out: the PDF to write.
    """
    from pypdf import PdfWriter
    from pypdf.generic import ArrayObject, NameObject, NullObject

    book, first = PdfWriter(), {}
    for address, title, pdf in printed:
        first[address] = len(book.pages)
        book.append(io.BytesIO(pdf), import_outline=False)
        book.add_outline_item(title=title.rsplit(" — ", 1)[0], page_number=first[address])
    for page in book.pages:
        for link in [part.get_object() for part in page.get("/Annots") or []]:
            action = link.get("/A")
            address = urldefrag(str(action.get_object().get("/URI", ""))).url if action else ""
            if address in first:
                target = book.pages[first[address]].indirect_reference
                place = [target, NameObject("/XYZ"), NullObject(), NullObject(), NullObject()]
                del link["/A"]
                link[NameObject("/Dest")] = ArrayObject(place)
    book.add_metadata({"/Title": printed[0][1].rsplit(" — ", 1)[-1]})
    book.compress_identical_objects()
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out, "wb") as stream:
        book.write(stream)
    return out


def write_zip(site: Path, out: Path) -> Path:
    """Pack a built site as one zip with one folder in it, which works where it is unpacked; the same bytes every time.

    Args:
        site: the folder with `index.html`.
        out: the zip to write; its name is the folder's.

    Raises:
        FileNotFoundError: there is no built site.
    """
    if not (site / "index.html").is_file():
        raise FileNotFoundError(f"{site} holds no built book: run `make book` first")
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(site.rglob("*")):
            inside = path.relative_to(site)
            if path.is_file() and not LEFT_OUT & set(inside.parts):
                entry = zipfile.ZipInfo(f"{out.stem}/{inside.as_posix()}", date_time=(1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return out


def main(arguments: list[str] | None = None) -> int:
    """`python -m dskd_utils.report.publish pdf|zip`: the built book as one file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind", choices=("pdf", "zip"))
    parser.add_argument("--site", type=Path, default=Path("_build/html"))
    parser.add_argument("--toc", type=Path, default=Path("book/_toc.yml"), help="order of the pages in the PDF")
    parser.add_argument("--reference", action="store_true", help="print the reference of the package too")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        if options.kind == "pdf":
            pages = [page for page in toc_pages(options.toc) if options.reference or not page.startswith(REFERENCE)]
            written = write_pdf(options.site, pages, options.out)
        else:
            written = write_zip(options.site, options.out)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"done: {written.resolve()}, {written.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
