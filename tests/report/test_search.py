"""What the search chose and decided, from made-up results."""

import math

import pytest
import yaml

from dskd_utils.report import search
from dskd_utils.report.verdicts import NotRunError
from dskd_utils.results import write_results


def trial(model, method, perplexity, auc, **settings):
    blank = dict.fromkeys(("lr", "alpha", "temperature", "beta", "margin_quantile", "kappa"), math.nan)
    row = {"model": model, "method": method, "failed": "", "perplexity": perplexity, "auc": auc, "auc_stderr": 0.01}
    return blank | row | settings


def stage_one(*more):
    rows = [
        trial("kd-a", "kd", 20.0, 0.70, lr=0.002, alpha=0.5),
        trial("kd-b", "kd", 20.1, 0.72, lr=0.001, temperature=4.0),
        trial("kd-far", "kd", 20.3, 0.90, lr=0.004),  # more than a hundredth above the lowest
        trial("dskd-a", "dskd", 20.0, 0.71, lr=0.002, beta=3.0, margin_quantile=0.5, kappa=10.0),
        trial("dskd-b", "dskd", 20.0, 0.69, lr=0.001, beta=1.0),
        trial("teacher", "teacher", 15.0, 0.95),
        *more,
    ]
    return {"06-ablations": {"grids": {"search": rows}}}


def stage_two(gain=(0.03, 0.01), over_control=(0.02, 0.01), nll=(0.0, 0.004), right=(0.0, 0.03), p=0.01):
    def row(difference, spread):
        return {"low": difference - spread, "high": difference + spread}

    pairs = [
        {"subset": "all", "measure": "sum", "model": "dskd", "minus": minus, "value": value[0], "p": p}
        | {"n": 1234, "words": 2000}
        | row(*value)
        for minus, value in (("kd", gain), ("rewired", over_control))
    ]
    text = [{"model": "dskd", "minus": "kd", "metric": "nll", "difference": nll[0]} | row(*nll)]
    asked = [{"pair": "DSKD - KD", "task": "piqa", "difference": right[0]} | row(*right)]
    evaluation = {"controls": ["rewired"], "probe_pairs": pairs, "held_out_differences": text, "differences": asked}
    settings = {"margin": 1.0, "beta": "1.0 and 1.0", "kappa": 5, "temperature": 4.0}
    return {"05-evaluation": evaluation, "04-distillation": {"settings": settings}}


def test_the_greatest_area_among_those_of_low_perplexity_is_chosen():
    best = search.chosen(stage_one())
    assert (best["kd"]["model"], best["dskd"]["model"]) == ("kd-b", "dskd-a")
    failed = trial("dskd-c", "dskd", math.nan, math.nan) | {"failed": "not finite"}
    assert search.chosen(stage_one(failed))["dskd"]["model"] == "dskd-a"


def test_stage_two_has_the_rates_of_kd_and_the_senses_of_dskd():
    expected = {"lr": 0.001, "temperature": 4.0, "margin_quantile": 0.5, "beta_p": 3.0, "beta_n": 3.0, "kappa": 10}
    assert search.parameters(stage_one()) == expected


def test_a_method_without_students_chooses_nothing():
    rows = [row for row in stage_one()["06-ablations"]["grids"]["search"] if row["method"] != "dskd"]
    with pytest.raises(ValueError, match="DSKD"):
        search.chosen({"06-ablations": {"grids": {"search": rows}}})
    with pytest.raises(NotRunError):
        search.stage_one({})


@pytest.mark.parametrize(
    ("changed", "answer", "state"),
    [
        ({}, "yes", search.HOLDS),
        ({"gain": (0.01, 0.005)}, "no", search.FAILS),  # above zero, by less than matters
        ({"gain": (0.03, 0.04)}, search.OPEN, search.OPEN),
        ({"p": 0.2}, search.OPEN, search.OPEN),
        ({"p": 0.03}, search.OPEN, search.OPEN),  # two comparisons: below one in twenty alone, not after Holm
    ],
)
def test_the_answer_is_by_the_plan(changed, answer, state):
    results = stage_two(**changed)
    assert search.answer(results) == answer
    if "gain" not in changed or answer != "no":
        assert search.conditions(results)[0]["state"] == state


@pytest.mark.parametrize(
    ("changed", "place", "state"),
    [
        ({"over_control": (0.0, 0.01)}, 1, search.FAILS),
        ({"nll": (0.02, 0.005)}, 2, search.FAILS),
        ({"nll": (0.008, 0.005)}, 2, search.OPEN),
        ({"right": (-0.2, 0.05)}, 3, search.FAILS),
        ({"right": (-0.04, 0.02)}, 3, search.OPEN),
    ],
)
def test_one_condition_that_does_not_hold_keeps_the_answer_from_yes(changed, place, state):
    results = stage_two(**changed)
    states = [row["state"] for row in search.conditions(results)]
    assert states.pop(place) == state and set(states) == {search.HOLDS}
    assert search.answer(results) == search.OPEN


def test_pictures_mark_what_was_chosen_and_name_every_comparison():
    drawing, lines = search.stage_one(stage_one())
    assert drawing.told.count("chosen") == 2 and "kd-b" in lines[0]
    drawing, rows = search.stage_two(stage_two())
    assert "over rewired neighbours" in drawing.told and len(rows) == 4
    assert "1,234 pairs of 2,000 test words" in drawing.title and rows[0]["condition"].startswith("1,234 pairs of test")


def test_the_answer_names_the_settings_that_it_is_of():
    said = "no, at the setting chosen (margin 1, beta 1, kappa 5, temperature 4)"
    results = stage_two(gain=(0.01, 0.005))
    assert search.answered(results) == said
    results["04-distillation"]["settings"] |= {"margin": 0.123456, "beta": "3.0 and 0.3"}
    assert "margin 0.123, beta 0.3 and 3, kappa" in search.answered(results)


def test_what_could_be_chosen_and_what_could_not_is_counted():
    lines = search.stage_one(stage_one())[1]
    assert lines[2] == (
        "- KD: eligible were 2 of 3 trials, with lr 0.001 and 0.002, temperature 4, alpha 0.5; in no eligible trial, "
        "so that they could not be chosen: lr 0.004"
    )
    assert lines[3].startswith("- DSKD: eligible were 2 of 2 trials") and "could not be chosen" not in lines[3]
    far = trial("dskd-far", "dskd", 20.3, 0.9, lr=0.004, kappa=1.0, beta=3.0)  # no KD of its rate is near
    worse = trial("dskd-worse", "dskd", 20.3, 0.9, lr=0.001, margin_quantile=0.9)  # its weight's own fault
    lines = search.stage_one(stage_one(far, worse))[1]
    assert "DSKD: eligible were 2 of 4 trials" in lines[3]
    assert lines[3].endswith("could not be chosen: lr 0.004, margin_quantile 0.9, kappa 1")
    assert search.by_rate_alone(stage_one(far, worse)) == 1 and "not eligible, 1 had a learning rate" in lines[4]


def test_the_number_of_pairs_of_stage_one_is_given_where_it_was_noted():
    results = stage_one()
    assert "on pairs of validation words" in search.stage_one(results)[0].title
    for row in results["06-ablations"]["grids"]["search"]:
        row["pairs"] = 2000
    drawing, lines = search.stage_one(results)
    assert "on 2,000 pairs of validation words" in drawing.title and "on 2,000 pairs" in lines[0]


def test_a_trial_stands_beside_the_kd_of_its_rate():
    plain = trial("kd-c", "kd", 20.0, 0.73, lr=0.002, alpha=1.0)
    assert search.beside_kd(stage_one(plain)) == [pytest.approx(-0.02)]
    assert "−0.020 to −0.020" in search.stage_one(stage_one(plain))[1][-1]
    assert len(search.stage_one(stage_one())[1]) == 4


def test_the_command_writes_parameters_for_papermill(tmp_path, capsys):
    provenance = {
        "commit": "0123456", "versions": {}, "seconds": 1.0, "finished": "2026-11-24T10:00:00", "dtype": "float32",
        "hardware": {"architecture": "x86_64", "vector_unit": "AVX2", "cores": 2, "memory_gb": 23.6,
                     "accelerators": [], "python": "3.11"},
    }  # fmt: skip
    header = {"teacher": "tiny", "profile": {"name": "full"}, "parameters": {}, "provenance": provenance}
    path = write_results(tmp_path / "06-ablations.json", header | stage_one()["06-ablations"])
    assert search.main([str(path)]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["kappa"] == 10
    path = write_results(tmp_path / "other.json", header | {"grids": {}})
    assert search.main([str(path)]) == 2 and "stage one" in capsys.readouterr().err
