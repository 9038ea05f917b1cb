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


def test_a_word_of_a_model_is_never_markup():
    figures.style()
    frame = pd.DataFrame({"expects": ["<h1>"], "share": [0.5]})
    for table in (frame.style, frame.style.format({"share": "{:.0%}"}, escape="html")):
        assert "&lt;h1&gt;" in table.to_html() and "<h1>" not in table.to_html()


def test_the_span_title_is_computed():
    figure = figures.span_lengths({"ours": [50, 80, 91.2, 98, 99], "paper, x": [10, 20, 30, 40, 50]})
    assert "keep 91%" in figure.axes[0].get_title()


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


def test_a_table_is_kept_for_a_spreadsheet_a_page_and_a_paper(tmp_path):
    table = pd.DataFrame({"a_b": ["x & y"], "KL": ["1.0\u00a0± 0.2"]}, index=["T²"])
    assert list(figures.save_table(table, tmp_path / "t")) == ["", "a_b", "KL"]
    assert (tmp_path / "t.csv").read_text() == ",a_b,KL\nT²,x & y,1.0 ± 0.2\n"
    assert "| T² | x & y | 1.0 ± 0.2 |" in (tmp_path / "t.md").read_text()
    latex = (tmp_path / "t.tex").read_text()
    assert "\\toprule" in latex and r"T² & x \& y & 1.0~± 0.2 \\" in latex and r"a\_b" in latex
    counted = figures.save_table(pd.DataFrame({"n": [1, 2]}), tmp_path / "n")
    assert list(counted) == ["n"]


def test_the_three_files_of_a_table_hold_the_same_cells(tmp_path):
    cells = [["+0.010", "1.00"], ["**79.66**", "\N{MINUS SIGN}2"]]
    figures.save_table(pd.DataFrame(cells, columns=["a", "b"]), tmp_path / "t")
    plain = [[cell.strip("*") for cell in row] for row in cells]
    texts = {ending: (tmp_path / f"t.{ending}").read_text().splitlines() for ending in ("csv", "md", "tex")}
    assert [line.split(",") for line in texts["csv"][1:]] == plain
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in texts["md"][2:]] == cells
    rows = [line.removesuffix(r" \\").split(" & ") for line in texts["tex"] if " & " in line][1:]
    assert [[cell.removeprefix(r"\textbf{").removesuffix("}") for cell in row] for row in rows] == plain
    assert r"\textbf{79.66}" in texts["tex"][-3]


def test_every_step_of_the_waterfall_ends_where_the_next_begins():
    steps = pd.DataFrame({"step": ["read: a", "lost", "merged"], "change": ["gain", "loss", "total"]}
                         | {kind: [5000, -2000, 3000] for kind in ("synonym", "antonym")})  # fmt: skip
    axis = figures.waterfall_chart(steps).axes[0]
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axis.patches]
    assert ends == [(0, 5), (5, 3), (0, 3)]
    assert [text.get_text() for text in axis.texts] == ["+5,000", "-2,000", "3,000"]
