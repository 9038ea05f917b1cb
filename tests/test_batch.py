"""What the batch runner plans to do, by dry runs of the Snakefile."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINKED = ["notebooks", "dskd_utils", "book", "Snakefile"]


@pytest.fixture
def planned(tmp_path, run):
    """A function from options of `make study` to what a dry run says."""
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)

    def said(*asked):
        done = run("snakemake", "--dry-run", "--cores", "1", "--config", "profile=full", *asked, home=tmp_path)
        return done.stdout + done.stderr

    return said


def test_long_pages_are_left_out_where_none_is_asked_for(planned):
    told = planned("grids=none", "rounds=0")
    assert "notebook=05-evaluation" in told
    assert "notebook=06-ablations" not in told and "notebook=08-costs" not in told
