"""What the batch runner plans to do, by dry runs of the Snakefile."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINKED = ["notebooks", "dskd_utils", "book", "Snakefile"]


@pytest.fixture
def planned(tmp_path, run):
    """A function from options of `make study` to what a dry run says."""
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    plan = tmp_path / "runs/smollm2-135m/full/plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text(json.dumps({"minutes": {"all": 100.0}, "student_minutes": 10.0, "student_gb": 1.0}))

    def said(*asked):
        done = run("snakemake", "--dry-run", "--cores", "1", "--config", "profile=full", *asked, home=tmp_path)
        return done.stdout + done.stderr

    return said


def test_long_pages_are_left_out_where_none_is_asked_for(planned):
    told = planned("grids=none", "rounds=0")
    assert "notebook=05-evaluation" in told
    assert "notebook=06-ablations" not in told and "notebook=08-costs" not in told


def test_students_that_are_asked_for_add_time_and_an_own_grid_is_an_input(planned, tmp_path):
    grid = tmp_path / "mine.yaml"
    grid.write_text("title: mine\ntokens: 0\nvary: [{kappa: [1, 2, 3]}]\n")
    told = planned(f"grids={grid}", "seeds=2", "controls=rewired,state_error")
    (ablations,) = [job for job in told.split("\nrule ") if "notebook=06-ablations" in job]
    assert str(grid) in ablations.split("output:")[0]
    # Two seeds of four students and three of the grid, two of them in the plan's own minutes.
    assert f"runtime={3 * (100 + 9 * 10)}" in ablations
