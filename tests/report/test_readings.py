"""What intervals say, in words."""

import pandas as pd
import pytest

from dskd_utils.evaluate.significance import SMALLEST
from dskd_utils.report import readings


def test_reads_names_the_smallest_difference_of_every_measure():
    assert set(readings.UNITS) == set(SMALLEST)
    said = readings.reads()
    for measure, unit in readings.UNITS.items():
        assert f"{SMALLEST[measure]:g} {unit}" in said
    assert "*the same* where it is so narrow" in said and "*not told apart* where it is wider" in said


def test_a_part_on_which_the_teacher_guesses_is_named():
    columns = ["task", "model", "value", "stderr", "chance"]
    rows = [("piqa", "teacher", 0.60, 0.04, 0.5), ("mmlu", "teacher", 0.30, 0.04, 0.25), ("piqa", "kd", 0.5, 0.04, 0.5),
            ("squad2", "teacher", 0.1, 0.01, float("nan"))]  # fmt: skip
    table, names = pd.DataFrame(rows, columns=columns), {"piqa": "PIQA", "mmlu": "MMLU", "squad2": "SQuAD"}
    said = readings.like_a_guesser(table, names)
    assert said.startswith("The teacher itself cannot be told from a guesser here: MMLU.")
    known = "The teacher stands above a guesser in all of this: PIQA."
    assert readings.like_a_guesser(table, {"piqa": "PIQA"}) == known
    assert readings.like_a_guesser(table, {"squad2": "SQuAD"}) == "" == readings.like_a_guesser(table, {"arc": "ARC"})
    one = table.assign(stderr=float("nan"))
    assert "MMLU, PIQA" in readings.like_a_guesser(one, {"mmlu": "MMLU", "piqa": "PIQA"}), "one question says nothing"


@pytest.mark.parametrize(("low", "lost"), [(0.51, False), (0.49, True), (float("nan"), True)])
def test_a_probe_on_which_the_teacher_guesses_is_named(low, lost):
    columns = ["subset", "model", "minus", "value", "low", "high", "chance"]
    rows = [("all", "teacher", "", 0.6, low, 0.7, 0.5), ("all", "teacher", "kd", 0.1, -1, 1, 0.0)]
    said = readings.like_a_guesser(pd.DataFrame(rows, columns=columns), {"all": "all pairs"})
    assert ("cannot be told from a guesser here: all pairs." in said) == lost


def test_gains_over_kd_are_taken_from_every_probe():
    row = {"measure": "sum", "subset": "all", "low": -0.1, "high": 0.3, "p_holm": 0.5, "n": 10}
    values = (("dskd", "kd", 0.1), ("rewired", "kd", 0.2), ("dskd", "rewired", 0.3), ("kd", "", 0.4))
    table = pd.DataFrame([row | {"model": a, "minus": b, "value": value} for a, b, value in values])
    found = readings.gains_over({"one": (table, "sum", "all"), "two": (table, "sum", "all")}, "kd", ["dskd", "rewired"])
    assert found.method.tolist() == ["DSKD", "rewired neighbours"] * 2 and found.value.tolist() == [0.1, 0.2] * 2
    assert found.probe.tolist() == ["one", "one", "two", "two"]
