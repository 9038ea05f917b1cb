"""Tests of the schema of results files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dskd_utils.artefacts import provenance
from dskd_utils.results import VERSION, read_results, write_results

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = sorted((ROOT / "book" / "studies").glob("*/results/*.json"))


@pytest.fixture
def record():
    header = {"teacher": "t", "profile": {"name": "smoke"}, "parameters": {"seed": 0}, "files": False}
    return header | {"provenance": provenance(1.0, dtype="float32")}


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: f"{p.parents[1].name}/{p.stem}")
def test_the_committed_results_are_strict_json_of_the_schema(path):
    json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constant)
    found = read_results(path)
    assert path.stem == "03-explored-words" or found["schema_version"] == VERSION


def test_a_number_that_a_row_lacks_is_null_in_the_file_and_nan_for_a_reader(record, tmp_path):
    rows = [{"model": "kd", "p": math.nan}, {"model": "dskd", "p": np.float32(0.5)}]
    path = write_results(tmp_path / "x.json", record | {"rows": rows, "best": {"lr": None}})
    written = json.loads(path.read_text(), parse_constant=no_constant)
    assert written["rows"][0]["p"] is None
    found = read_results(path)
    assert math.isnan(found["rows"][0]["p"]) and found["rows"][1]["p"] == 0.5 and found["best"]["lr"] is None


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"teacher": None}, "teacher"),
        ({"schema_version": VERSION + 1}, "schema_version"),
        ({"provenance": {}}, "provenance.commit"),
    ],
)
def test_a_wrong_header_is_refused_by_its_field_and_leaves_no_file(record, tmp_path, wrong, told):
    with pytest.raises(ValueError, match=f"x.json is not a results file of schema {VERSION}: {told}: .*run its noteb"):
        write_results(tmp_path / "x.json", record | wrong)
    assert not list(tmp_path.iterdir())
    (tmp_path / "x.json").write_text(json.dumps({"schema_version": VERSION} | record | wrong))
    with pytest.raises(ValueError, match=told):
        read_results(tmp_path / "x.json")
