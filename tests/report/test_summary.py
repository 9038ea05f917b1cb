"""The short answer, from made-up results."""

import math

import pytest

from dskd_utils.report.summary import answer, everywhere, found
from dskd_utils.report.verdicts import NotRunError

ENDS = {"low": -0.01, "high": 0.01}


def results(controls=(), hinge=()):
    held_out = [{"model": model, "metric": "kl", "value": 0.5, "stderr": 0.01} for model in ("kd", "dskd")]
    pairs = [
        {"subset": "all", "measure": "sum", "model": model, "minus": "kd", "value": 0.004} | ENDS
        for model in ("dskd", *controls)
    ]
    asked = [{"pair": "DSKD - KD", "task": "piqa", "difference": 0.0} | ENDS]
    found = {"05-evaluation": {"differences": asked, "held_out": held_out, "probe_pairs": pairs}}
    return found | {"04-distillation": {"hinge": list(hinge)}}


def test_the_controls_and_the_margin_are_named_where_they_are_known():
    rows = [
        {"when": "first steps", "share within the margin": 0.5},
        {"when": "epoch 1", "share within the margin": 0.0},
    ]
    told = answer(results(("rewired", "swapped_labels"), rows))
    assert [point.split("**")[1] for point in told] == ["Benchmarks.", "Text.", "Words.", "Opposites.", "Claims."]
    assert "rewired neighbours +0.004" in told[2] and "swapped labels +0.004" in told[2]
    assert "the controls differ from KD by" in told[2] and "0.0% of the antonym senses" in told[3]


def test_nothing_is_said_of_what_was_not_run():
    assert not any("Opposites" in point or "controls" in point for point in answer(results()))
    assert "On the same words the controls differ from KD by rewired" in answer(results(("rewired",)))[2]


def test_the_measure_is_named_and_what_other_measures_tell_apart_is_added():
    measure = "By the log-probability of the right answer, on none of the 1 benchmarks"
    assert answer(results())[0].startswith(f"**Benchmarks.** {measure}")
    told = results()
    row = {"pair": "DSKD - KD", "task": "piqa", "difference": -0.04, "low": -0.06, "high": -0.03, "p_holm": 0.156}
    told["05-evaluation"]["accuracy_differences"] = [
        row, row | {"task": "mmlu", "high": 0.01}, row | {"pair": "KD - teacher"},
        row | {"task": "arc_challenge", "difference": 0.01, "low": 0.005, "high": 0.015, "p_holm": math.nan},
    ]  # fmt: skip
    told["05-evaluation"]["squad_differences"] = [row | {"task": "squad2"}]
    told["05-evaluation"]["letters"] = [{"task": "squad2", "split": "held-out", "metric": "f1"}]
    told = answer(told)[0].replace("\N{MINUS SIGN}", "-").replace("\u00a0", " ")
    assert told.endswith(
        "By accuracy it is lower on PIQA, -0.040 [-0.060, -0.030] (p 0.16 after Holm). By accuracy it is higher on "
        "ARC, by less than matters, +0.010 [+0.005, +0.015]. On SQuAD, held-out articles, its F1 differs by "
        "-0.040 [-0.060, -0.030], lower."
    )


def test_a_gain_too_small_to_matter_is_not_counted_as_better():
    told = results()
    told["05-evaluation"]["differences"][0] |= {"difference": 0.02, "low": 0.01, "high": 0.03}
    said = answer(told)[0]
    assert "on none of the 1 benchmarks" in said and "on 1 they are the same to within what would matter" in said


def page(value, low, high):
    ends = {"difference": value, "value": value, "low": low, "high": high}
    asked = [{"pair": pair, "task": "piqa", "metric": "acc"} | ends for pair in ("DSKD - KD", "KD - teacher")]
    text = [{"model": "dskd", "minus": minus, "metric": metric} | ends
            for metric in ("nll", "kl", "top1_agreement") for minus in ("kd", "rewired")]  # fmt: skip
    similar = [{"subset": subset, "measure": "standardised", "model": "dskd", "minus": "kd"} | ends
               for subset in ("held out", "all")]  # fmt: skip
    made = results()["05-evaluation"] | {"held_out_differences": text, "probe_similarity": similar}
    names = ("differences", "arc_test_differences", "letter_differences")
    return {"05-evaluation": made | dict.fromkeys(names, asked)}


def test_what_was_found_counts_everything_that_a_page_compares():
    rows = {row["label"]: row for row in everywhere(page(0.2, 0.1, 0.3))}
    assert len(rows) == 8 and rows["nll on held-out text"]["reads"] == rows["KL to the teacher"]["reads"] == "lower"
    assert (rows["KL to the teacher"]["low"], rows["KL to the teacher"]["high"]) == (-0.3, -0.1), "less is better"
    assert rows["same top token as the teacher"]["reads"] == rows["similarity, held-out words"]["reads"] == "higher"
    said = found(page(0.2, 0.1, 0.3))
    assert said[0].startswith(
        "**All of it.** DSKD is compared with KD in 8 places of this page: 5 better, 2 worse, 1 the same to"
    )
    assert "PIQA, accuracy by letter +0.200" in said[0] and said[1:] == answer(page(0.2, 0.1, 0.3))[:-1]


def test_a_page_that_shows_no_gain_says_so():
    said = found(page(0.0, -0.001, 0.001))[0]
    assert "8 the same to within what would matter" in said
    assert "Nothing that was asked shows that the sense loss helps" in said
    said = found(page(0.005, 0.001, 0.009))[0]
    assert "better by less than would matter" in said and "Nothing that was asked shows" in said
    with pytest.raises(NotRunError):
        found({"05-evaluation": {}})
