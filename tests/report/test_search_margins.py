"""What the second plan of the search found, from made-up results."""

import math

import pytest

from dskd_utils.report import search_margins
from dskd_utils.report.verdicts import NotRunError


def trial(over, spread, perplexity, method="dskd", failed="", **settings):
    row = {"method": method, "failed": failed, "perplexity": perplexity, "lr": 0.002, "temperature": 4.0}
    row |= {"auc_over_kd": over, "auc_over_kd_low": over - spread, "auc_over_kd_high": over + spread}
    blank = dict.fromkeys(("beta", "beta_p", "beta_n", "margin_quantile", "kappa"), math.nan)
    return blank | row | {"active": 0.25, "margin_used": 1.5, "pairs": 816.0} | settings


def results():
    rows = [
        trial(math.nan, math.nan, 20.0, "kd"),
        trial(0.001, 0.003, 20.1),
        trial(0.03, 0.01, 20.1, margin_quantile=0.9, beta=3.0),
        trial(0.05, 0.01, 20.3, margin_quantile=0.5, kappa=10.0),  # more than a hundredth above KD's
        trial(0.01, 0.03, 20.0, margin_quantile=0.9, beta_p=0.0, beta_n=1.0),
        trial(0.9, 0.01, 20.0, failed="not finite"),
        trial(math.nan, math.nan, 16.0, "teacher"),
    ]
    return {"06-ablations": {"grids": {"search-margins": rows}}}


def test_a_trial_is_promising_by_the_rule_of_the_plan():
    found = search_margins.outcomes(results())
    assert [row["promising"] for row in found] == [False, True, False, False]
    assert found[2]["dearer"] == pytest.approx(0.015)
    said = search_margins.answer(results())
    assert said.startswith(
        "1 of 4 trials is promising: quantile 0.9, beta 3. On 816 pairs of validation words their areas"
    )
    assert "differ from KD's by +0.001 to +0.050" in said


def test_where_none_is_promising_it_says_so():
    some = results()
    some["06-ablations"]["grids"]["search-margins"][2]["auc_over_kd"] = -0.001
    said = search_margins.answer(some)
    assert said.startswith("None of 4 trials is promising. ") and "by \N{MINUS SIGN}0.001 to +0.050" in said


def test_the_picture_and_the_table_name_every_trial():
    drawing, lines = search_margins.picture(results()), search_margins.table(results())
    for name in ("the paper's margin", "quantile 0.9, beta 3", "quantile 0.9, pushed only, beta 1"):
        assert name in drawing.told and any(name in line for line in lines)
    assert (
        "| 1.50 | 25.0% |" in lines[2] and "+1.50%" in lines[4] and lines[3].startswith("| **quantile 0.9, beta 3** |")
    )
    assert {line.count("|") for line in lines} == {6}


def test_without_the_grid_or_one_of_the_methods_there_is_nothing_to_tell():
    with pytest.raises(NotRunError):
        search_margins.answer({})
    for missing, method in (("KD", "kd"), ("DSKD", "dskd")):
        rows = [row for row in results()["06-ablations"]["grids"]["search-margins"] if row["method"] != method]
        with pytest.raises(ValueError, match=f"no {missing} student of the grid search-margins"):
            search_margins.answer({"06-ablations": {"grids": {"search-margins": rows}}})
