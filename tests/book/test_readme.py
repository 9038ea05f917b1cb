"""The README: its numbers are the results', its links and commands are there."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from dskd_utils import readme
from dskd_utils.study import assignments

ROOT = Path(__file__).resolve().parents[2]
SEARCH = readme.load_results(ROOT, run="search")
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_numbers_are_those_of_the_committed_results():
    made = readme.rewritten(TEXT, readme.load_results(ROOT), SEARCH)
    assert made == TEXT, "run `python -m dskd_utils.readme`"


def test_other_results_would_change_it():
    results = json.loads(json.dumps(readme.load_results(ROOT)))
    for row in results["05-evaluation"]["held_out"]:
        row["value"] += 1
    assert readme.rewritten(TEXT, results, SEARCH) != TEXT


def test_the_time_of_the_committed_pages_counts_those_of_the_search():
    results = readme.load_results(ROOT)
    minutes = sum(record["provenance"]["seconds"] for record in SEARCH.values()) / 60
    said = " ".join(readme.costs_block(results, SEARCH).split())
    assert len(SEARCH) == 3 and f"those of the search another {minutes:,.0f} minutes of profile `full`" in said
    assert "the search" not in readme.costs_block(results, {})


def test_without_results_it_says_that_nothing_was_run():
    block = readme.results_block({})
    assert block.startswith("Not run yet") and "13 could not be tested here" in block


def test_lost_marks_are_an_error_that_shows_them():
    with pytest.raises(ValueError, match="lost the marks of its block 'results'.*<!-- end of results -->"):
        readme.rewritten(TEXT.replace("<!-- results:", ""), {}, {})


def prose() -> str:
    """The README without what is generated, and without code."""
    text = re.sub(r"<!-- (\w+): .*?<!-- end of \1 -->", "", TEXT, flags=re.S)
    return re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)


def test_no_other_number_is_in_it_that_could_be_stale():
    known = {"3.11", "3.12", "3.13", "2.0", "3", "2"}  # Python, Apache-2.0, Gemma-3, Phi-3, Qwen2
    found = re.findall(r"\d+(?:[.,]\d+)*", prose())
    assert set(found) <= known, set(found) - known


def test_its_links_and_pictures_are_there():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links and all((ROOT / link).exists() for link in links if "://" not in link)
    for folder in re.findall(r"`((?:book|notebooks|dskd_utils|tests)/[\w./-]*)`", TEXT):
        assert (ROOT / folder).exists(), folder


def test_its_make_commands_exist_and_its_papermill_parameters_too():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for words in re.findall(r"(?<!snake)make ((?:[a-z]+ ?)+)", TEXT):
        assert set(words.split()) & targets, words
    for path, rest in re.findall(r"papermill (\S+\.ipynb) \S+\.ipynb(.*)", TEXT):
        cells = nbformat.read(ROOT / path, as_version=4).cells
        declared = assignments(next(c for c in cells if "parameters" in c.metadata.get("tags", [])).source)
        assert set(re.findall(r"-p (\w+)", rest)) <= set(declared), (path, rest)
