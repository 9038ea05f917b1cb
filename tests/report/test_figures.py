"""Tests of the book's figures: what they draw is what they were given."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dskd_utils.report import figures

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def log(sense):
    steps = np.arange(30)
    frame = pd.DataFrame({"ce": 9.0 - steps / 10, "kl": 5.0 - steps / 10, "tokens": 100})
    return frame.assign(attraction=3.0, active=0.0) if sense else frame


def test_training_curves_show_the_sense_parts_only_where_there_are_any():
    assert len(figures.training_curves({"KD": log(False)}).axes) == 2
    figure = figures.training_curves({"KD": log(False), "DSKD": log(True)})
    assert [len(axis.lines) for axis in figure.axes] == [2, 2, 1, 1]
    assert "from 9.0 to 6.2" in figure.get_suptitle()
    assert figure.axes[3].get_ylim()[0] == 0


def test_the_span_title_is_computed():
    figure = figures.span_lengths({"ours": [50, 80, 91.2, 98, 99], "paper, x": [10, 20, 30, 40, 50]})
    assert "keep 91%" in figure.axes[0].get_title()


def test_a_sense_map_draws_every_point_of_every_word_once():
    points = pd.DataFrame({"word": ["a"] * 3 + ["b"] * 2} | {f"{m}_{x}": range(5) for m in "TU" for x in "xy"})
    figure = figures.sense_map(points, {"T": 0.9, "U": 0.8})
    for axis in figure.axes:
        assert sorted(len(c.get_offsets()) for c in axis.collections) == [2, 3]
    assert figure.axes[0].get_xlabel() == "trustworthiness 0.90"


def test_bars_stand_at_the_values_with_the_chance_level():
    rows = pd.DataFrame(
        [(t, m, v, 0.1, 0.25) for t in ("x", "y") for m, v in (("KD", 0.3), ("DSKD", 0.4))],
        columns=["task", "model", "value", "stderr", "chance"],
    )
    axis = figures.benchmark_bars(rows, {"x": "X", "y": "Y"}, "title").axes[0]
    assert [round(bar.get_height()) for bar in axis.patches] == [30, 30, 40, 40]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["X", "Y"]


def test_a_figures_data_is_kept_beside_it(tmp_path):
    path = figures.save_data(pd.DataFrame({"a": [1]}), tmp_path / "x" / "a.csv")
    assert path.read_text() == "a\n1\n"
