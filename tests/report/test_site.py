"""Tests of the way from executed notebooks to the book's sources."""

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

from dskd_utils.report import site


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    run = tmp_path / "runs" / "tiny" / "smoke"
    (run / "notebooks").mkdir(parents=True)
    (run / "results").mkdir()
    outputs = [
        new_output("stream", name="stderr", text="50%|####"),
        new_output("stream", name="stdout", text="INFO loading\n"),
        new_output("stream", name="stdout", text="a result\n"),
    ]
    cell = new_code_cell("1", outputs=outputs, metadata={"papermill": {"duration": 1}})
    notebook = new_notebook(cells=[cell], metadata={"papermill": {"output_path": str(run)}})
    nbformat.write(notebook, run / "notebooks" / "01-lexicon.ipynb")
    (run / "results" / "01-lexicon.json").write_text("{}")
    book = tmp_path / "book"
    (book / "studies" / "other").mkdir(parents=True)
    nbformat.write(new_notebook(), book / "studies" / "other" / "07-tables.ipynb")
    toc = {"format": "jb-book", "root": "index", "parts": [
        {"caption": "Paper", "chapters": [{"file": "method"}]},
        {"caption": "Study", "chapters": [{"file": "studies/other/07-tables"}]},
        {"caption": "More", "chapters": [{"file": "data"}]},
    ]}  # fmt: skip
    (book / "_toc.yml").write_text(yaml.safe_dump(toc))
    return tmp_path


def test_copies_hold_results_but_no_logs_bars_or_paths(home):
    site.collect("tiny", "smoke", home / "out")
    text = (home / "out" / "01-lexicon.ipynb").read_text()
    assert "a result" in text and "INFO" not in text and "50%" not in text and str(home) not in text
    assert (home / "out" / "results" / "01-lexicon.json").is_file()


def test_a_staged_book_lists_the_run_first_and_keeps_the_committed_studies(home):
    site.stage(["tiny/smoke"], home / "staged")
    parts = yaml.safe_load((home / "staged" / "_toc.yml").read_text())["parts"]
    assert [part["caption"] for part in parts] == ["Paper", "The study: tiny", "The study: other", "More"]
    assert parts[1]["chapters"] == [{"file": "studies/tiny/01-lexicon"}]
    assert "tiny" not in (home / "book" / "_toc.yml").read_text(), "the committed book is not touched"


@pytest.fixture
def committed(home):
    """The committed study of the same teacher: a page that the run has, one that it has not, and a search."""
    study = home / "book" / "studies" / "tiny"
    for folder, pages in {study: ["01-lexicon", "06-ablations"], study / "search": ["06-ablations"]}.items():
        (folder / "results").mkdir(parents=True)
        for page in pages:
            nbformat.write(new_notebook(), folder / f"{page}.ipynb")
            (folder / "results" / f"{page}.json").write_text('{"old": 1}')
    return study


def test_no_page_of_the_committed_study_stands_for_a_run_that_has_none(home, committed):
    site.stage(["tiny/smoke"], home / "staged")
    staged = home / "staged" / "studies" / "tiny"
    files = sorted(str(path.relative_to(staged)) for path in staged.rglob("*.*"))
    assert files == [
        "01-lexicon.ipynb",
        "results/01-lexicon.json",
        "search/06-ablations.ipynb",
        "search/results/06-ablations.json",
    ]
    parts = yaml.safe_load((home / "staged" / "_toc.yml").read_text())["parts"]
    assert parts[1]["chapters"] == [{"file": "studies/tiny/01-lexicon"}]
    assert (committed / "06-ablations.ipynb").is_file(), "the committed book is not touched"


def test_an_adopted_run_replaces_the_pages_that_it_has(home, committed):
    site.adopt("tiny", "smoke")
    assert "a result" in (committed / "01-lexicon.ipynb").read_text()
    assert (committed / "results" / "01-lexicon.json").read_text() == "{}"
    assert (committed / "results" / "06-ablations.json").read_text() == '{"old": 1}'
    parts = yaml.safe_load((home / "book" / "_toc.yml").read_text())["parts"]
    pages = ["studies/tiny/01-lexicon", "studies/tiny/06-ablations"]
    assert [chapter["file"] for chapter in parts[2]["chapters"]] == pages


def test_an_adopted_study_is_listed_behind_those_that_are_there(home):
    assert site.main(["adopt", "--teacher", "tiny", "--profile", "smoke"]) == 0
    parts = yaml.safe_load((home / "book" / "_toc.yml").read_text())["parts"]
    assert [part["caption"] for part in parts] == ["Paper", "The study: other", "The study: tiny", "More"]
    run = home / "runs" / "tiny" / "smoke" / "notebooks"
    nbformat.write(new_notebook(), run / "08-costs.ipynb")
    site.main(["adopt", "--teacher", "tiny", "--profile", "smoke"])
    parts = yaml.safe_load((home / "book" / "_toc.yml").read_text())["parts"]
    assert [chapter["file"] for chapter in parts[2]["chapters"]] == ["studies/tiny/01-lexicon", "studies/tiny/08-costs"]


def test_a_study_that_was_not_run_is_named_with_the_command(home, capsys):
    assert site.main(["adopt", "--teacher", "nobody", "--profile", "smoke"]) == 2
    assert "make study TEACHER=nobody PROFILE=smoke" in capsys.readouterr().err
