"""One switch for the paper's reading and the released code's: complete, real options, outdone by what is given."""

import re
from pathlib import Path

import nbformat
import pytest

from dskd_utils.study import assignments, open_study
from dskd_utils.variants import decisions, settings

ROOT = Path(__file__).resolve().parent.parent
NOTES = ROOT.parent / "shared" / "paper" / "NOTES.md"


def parameters() -> dict:
    """Name and default of every notebook's parameters."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        found |= assignments(next(c for c in cells if "parameters" in c.metadata.get("tags", [])).source)
    return found


def test_every_point_has_a_number_a_paper_and_something_that_we_do():
    rows = decisions()
    assert list(rows) == list(range(1, 38))
    for number, row in rows.items():
        assert {"point", "paper"} <= set(row) <= {"point", "paper", "released", "options", "ours", "changes"}, number
        assert row.get("options") or row.get("ours"), number


@pytest.mark.skipif(not NOTES.is_file(), reason="the paper's notes are not beside this project")
def test_no_row_of_the_notes_is_missing():
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", NOTES.read_text(encoding="utf-8"), re.M)]
    assert sorted(numbers) == list(decisions())


def test_options_are_parameters_of_notebooks_and_the_papers_values_their_defaults():
    known = parameters()
    for number, row in decisions().items():
        for name, values in row.get("options", {}).items():
            assert name in known, (number, name)
            assert set(values) <= {"paper", "released"}
            assert all(type(value) is type(known[name]) for value in values.values()), (number, name)
            assert values.get("paper", known[name]) == known[name], (number, name)


def test_the_paper_sets_nothing_and_the_released_code_what_differs():
    assert settings("paper") == {}
    released = settings("released")
    assert released["key"] == "predicted" and released["flips"] == "replace" and released["weighting"] == "sampled"
    assert released["own_in_negatives"] is True and released["alpha"] == 0.7 and "kappa" not in released
    with pytest.raises(ValueError, match="variant must be one of paper, released: got 'both'"):
        settings("both")


CELL = 'teacher: str = "smollm2-135m"\nprofile: str = "smoke"\nrun: str = "scratch"\nseed: int = 0\n'
CELL += 'data_dir: str = ""\nvariant: str = "paper"\nkey: str = "next"\nflips: str = "add"\nkappa: int = 5'


@pytest.mark.parametrize(
    ("given", "key", "flips"),
    [
        ("", "next", "add"),
        ("variant = 'released'", "predicted", "replace"),
        ("variant = 'released'\nkey = 'input'", "input", "replace"),
        ("variant = 'released'\nflips = 'add'", "predicted", "add"),
    ],
)
def test_a_notebook_gets_the_variants_values_unless_it_is_given_others(
    given, key, flips, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    cells = [CELL] + (["# Parameters\n" + given] if given else [])
    variables = {}
    for cell in cells:
        variables |= assignments(cell)
    variables["In"] = ["", *cells, "open_study(...)"]
    study = open_study("02-senses", variables)
    assert (variables["key"], variables["flips"], variables["kappa"]) == (key, flips, 5)
    assert study.parameters["key"] == key and study.parameters["flips"] == flips
    assert ("variant 'released' sets" in capsys.readouterr().out) == bool(given)
