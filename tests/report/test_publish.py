"""Tests of the book as one file: the zip, the order of pages, and the PDF where a browser is there."""

import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from dskd_utils.report import publish


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "html"
    (folder / ".doctrees").mkdir(parents=True)
    (folder / "part").mkdir()
    (folder / ".doctrees" / "index.doctree").write_text("not for readers")
    page = "<html><head><title>{0} — Book</title></head><body><h1>{0}</h1><a href='{1}'>{1}</a></body></html>"
    (folder / "index.html").write_text(page.format("First", "part/second.html#here"), encoding="utf-8")
    (folder / "part" / "second.html").write_text(page.format("Second", "../index.html"), encoding="utf-8")
    return folder


def test_the_zip_holds_one_folder_and_only_what_readers_open(site, tmp_path):
    out = publish.write_zip(site, tmp_path / "book.zip")
    assert zipfile.ZipFile(out).namelist() == ["book/index.html", "book/part/second.html"]
    first = out.read_bytes()
    assert publish.write_zip(site, out).read_bytes() == first, "the same site packs to the same bytes"


def test_a_site_that_was_not_built_is_refused_with_the_command(tmp_path, capsys):
    arguments = ["--site", str(tmp_path), "--out", str(tmp_path / "book.zip")]
    assert publish.main(["zip", *arguments]) == 2 and "make book" in capsys.readouterr().err
    toc = tmp_path / "_toc.yml"
    toc.write_text("root: index\nparts: []\n")
    assert publish.main(["pdf", "--toc", str(toc), *arguments]) == 2 and "make book" in capsys.readouterr().err


def test_pages_come_in_the_order_of_the_table_of_contents(tmp_path):
    toc = tmp_path / "_toc.yml"
    toc.write_text(
        "root: index\nparts:\n- caption: A\n  chapters:\n  - file: a\n    sections:\n    - file: a/b\n  - file: c\n"
        "- caption: D\n  chapters:\n  - file: d\n"
    )
    assert publish.toc_pages(toc) == ["index", "a", "a/b", "c", "d"]


def test_a_machine_without_chromium_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(publish.shutil, "which", lambda _: None)
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"):
        publish.chromium()


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_the_pdf_has_all_pages_bookmarks_and_links_within(site, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    # In a thread of its own, since the browser of other tests may hold this one.
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(publish.write_pdf, site, ["index", "part/second"], tmp_path / "book.pdf")
    book = pypdf.PdfReader(written.result())
    assert [page.extract_text().split()[0] for page in book.pages] == ["First", "Second"]
    assert [item.title for item in book.outline] == ["First", "Second"] and book.metadata.title == "Book"
    links = [[part.get_object() for part in page["/Annots"]] for page in book.pages]
    targets = [[book.get_page_number(link["/Dest"][0].get_object()) for link in page] for page in links]
    assert targets == [[1], [0]]
