"""Tests of the verdicts on the paper's claims, on made-up results."""

import copy
import math
import re

import pytest

from dskd_utils.report import grid_verdicts, verdicts
from dskd_utils.report.claims import VERDICTS, claims, tally
from dskd_utils.report.verdicts import HELD, NOT, UNCLEAR, UNTESTED


def student(method="dskd", agreement=0.6, error=0.001, layers=27, **settings):
    return {"method": method, "layers": layers, "failed": "", "top1_agreement": agreement,
            "top1_agreement_stderr": error, "kl": 1.0, "kl_stderr": 0.01, **settings}  # fmt: skip


def difference(task, low, high, pair="DSKD - KD"):
    return {"task": task, "pair": pair, "difference": (low + high) / 2, "low": low, "high": high, "n": 100}


def grid(name, setting, values, **more):
    return {name: [student(agreement=agreement, **{setting: value}, **more) for value, agreement in values.items()]}


CHOICE = ("arc_challenge", "commonsense_qa", "mmlu", "piqa")
F1 = [
    {"task": "squad2", "metric": "f1", "model": m, "value": v, "stderr": 0.001} for m, v in (("kd", 0.5), ("dskd", 0.6))
]
DEPTHS = {8: 0.3, 12: 0.4, 16: 0.8, 24: 0.9}
GRIDS = {
    **grid("senses", "k", {5: 0.50, 10: 0.60, 15: 0.60, 25: 0.60}),
    **grid("candidates", "kappa", {1: 0.50, 5: 0.60, 10: 0.60}),
    **grid("weights", "beta", {0.5: 0.50, 1.0: 0.60, 1.5: 0.58, 2.0: 0.50}),
    "depth": [student("teacher", 1.0, layers=32)] + [student("kd", a, layers=n) for n, a in DEPTHS.items()],
    "trained-layers": [
        student(method, agreement, trainable_layers=n)
        for method in ("kd", "dskd")
        for n, agreement in {1: 0.5, 2: 0.6, 3: 0.6}.items()
    ],
}  # fmt: skip
SPAN = {"m": 3, "synonym": 97.0, "antonym": 95.0, "synonym relations": 10_000, "antonym relations": 5_000}
ALL_HELD = {
    "01-lexicon": {"table_2": {"one": [SPAN | {"m": 1}, SPAN]},
                   "corpus_share": {"related": 14.9, "both": 5.0, "tokens": 1000}},
    "02-senses": {"facts": {"vocabulary": 49_152}},
    "03-sense-maps": {"cohesion": [{"group": "red", "of": "contexts", "ratio": 0.9}]},
    "05-evaluation": {
        "differences": [difference(task, 0.01, 0.2) for task in CHOICE],
        "accuracy_differences": [difference("piqa", 0.01, 0.1, "KD - teacher"), difference("piqa", -1, -0.5)],
        "letters": F1,
    },
    "06-ablations": {"grids": GRIDS},
    "08-costs": {
        "seconds": [{"round": i, "KD": 1.0, "DSKD": ratio} for i, ratio in enumerate((1.02, 1.05, 1.08, 1.05, 1.05))],
        "answered": [{"round": i, "teacher, piqa": 9.0, "kd, piqa": 4.0, "dskd, piqa": 4.1} for i in range(5)],
    },
}  # fmt: skip


def verdict(results, number):
    return claims(results)[number - 1].verdict


def changed(notebook, key, value):
    results = copy.deepcopy(ALL_HELD)
    results[notebook][key] = value
    return results


def with_grid(name, setting, values, **more):
    return changed("06-ablations", "grids", GRIDS | grid(name, setting, values, **more))


def test_what_says_the_same_as_the_paper_holds_up_and_the_vocabulary_cannot_be_tested():
    found = claims(ALL_HELD)
    assert [row.verdict for row in found] == [HELD] * 11 + [UNTESTED] + [HELD]
    assert tally(found) == "12 held up and 1 could not be tested here"
    assert all(row.claim and row.paper and row.seen and row.rule and row.page for row in found)


def test_without_results_nothing_is_decided():
    assert {(row.verdict, row.seen) for row in claims({})} == {(UNTESTED, "not run here")}


@pytest.mark.parametrize("notebook", list(ALL_HELD))
def test_a_missing_piece_leaves_the_others_as_they_are(notebook):
    found = claims({name: record for name, record in ALL_HELD.items() if name != notebook})
    for row, whole in zip(found, claims(ALL_HELD), strict=True):
        assert row.verdict == (UNTESTED if row.page == notebook else whole.verdict), row.claim


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(0.01, 0.2)] * 3 + [(-0.01, 0.2)], UNCLEAR),
        ([(0.01, 0.2)] * 3 + [(-0.01, 0.02)], NOT),  # the same
        ([(0.01, 0.2)] * 3 + [(-0.2, -0.01)], NOT),
        ([(0.01, 0.04)] * 4, HELD),  # higher, by less than matters, is higher
    ],
)
def test_dskd_must_be_above_kd_on_every_benchmark(intervals, expected):
    rows = [difference(task, *ends) for task, ends in zip(CHOICE, intervals, strict=True)]
    assert verdict(changed("05-evaluation", "differences", rows), 1) == expected


def test_a_larger_value_must_be_far_above_to_refute_and_settled_to_confirm():
    def with_errors(ten, error):
        rows = grid("candidates", "kappa", {1: 0.50, 5: 0.60, 10: ten})["candidates"]
        return changed(
            "06-ablations", "grids", GRIDS | {"candidates": [row | {"top1_agreement_stderr": error} for row in rows]}
        )

    assert verdict(with_errors(0.613, 0.003), 4) == UNCLEAR  # above, and two points are neither reached nor excluded
    assert verdict(with_errors(0.660, 0.003), 4) == NOT
    assert verdict(with_errors(0.605, 0.003), 4) == HELD


def test_one_block_of_text_decides_nothing():
    depths = [row | {"top1_agreement_stderr": math.nan} for row in GRIDS["depth"]]
    assert verdict(changed("06-ablations", "grids", GRIDS | {"depth": depths}), 6) == UNCLEAR


def test_squad_counts_where_it_was_asked_and_is_named_where_it_was_not():
    lower = [row | {"value": 0.9} if row["model"] == "kd" else row for row in F1]
    assert verdict(changed("05-evaluation", "letters", lower), 1) == NOT
    without = claims(changed("05-evaluation", "letters", []))[0]
    assert without.verdict == HELD and "SQuAD not run" in without.seen
    paired = claims(changed("05-evaluation", "squad_differences", [difference("squad2", -0.2, 0.3)]))[0]
    assert paired.verdict == UNCLEAR and "SQuAD +0.050\u00a0[\N{MINUS SIGN}0.200" in paired.seen
    part = changed("05-evaluation", "letters", [row | {"split": "held-out"} for row in F1])
    assert "SQuAD, held-out articles (F1) +0.100" in claims(part)[0].seen


@pytest.mark.parametrize(("low", "high", "expected"), [(-0.1, -0.05, NOT), (-0.1, 0.1, UNCLEAR), (-0.01, 0.01, NOT)])
def test_the_student_above_its_teacher_is_judged_by_the_pair_kd_minus_teacher(low, high, expected):
    rows = [difference("piqa", low, high, "KD - teacher"), difference("piqa", 0.5, 1.0)]
    results = changed("05-evaluation", "accuracy_differences", rows)
    assert verdict(results, 2) == expected
    assert "by likelihood, zero-shot" in claims(results)[1].seen and "letter" not in claims(results)[1].seen
    results["05-evaluation"]["letter_differences"] = [difference("piqa", 0.1, 0.3, "KD - teacher")]
    seen = claims(results)[1].seen
    assert verdict(results, 2) == expected and "by letter after examples" in seen and "+0.200" in seen
    assert seen.endswith("higher")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({5: 0.6, 10: 0.6, 15: 0.6}, NOT),  # flat from the start
        ({5: 0.5, 10: 0.6, 15: 0.7}, NOT),  # still rising
        ({5: 0.6, 10: 0.5, 15: 0.5}, NOT),  # falling
        ({5: 0.5, 10: 0.6, 15: 0.605}, HELD),  # more, by less than matters
        ({5: 0.5, 10: 0.6}, UNTESTED),  # nothing larger
        ({5: 0.5, 15: 0.6}, UNTESTED),
    ],
)
def test_saturation_needs_a_gain_and_then_none(values, expected):
    assert verdict(with_grid("senses", "k", values), 3) == expected


def test_wide_errors_decide_nothing():
    assert verdict(with_grid("candidates", "kappa", {1: 0.59, 5: 0.6, 10: 0.6}, error=0.02), 4) == UNCLEAR


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({0.5: 0.7, 1.0: 0.6, 2.0: 0.5}, NOT),
        ({0.5: 0.6, 1.0: 0.6, 2.0: 0.6}, NOT),
        ({0.5: 0.5, 1.5: 0.6, 2.0: 0.6}, UNCLEAR),
        ({1.0: 0.6, 1.5: 0.6}, UNTESTED),
    ],
)
def test_the_best_weight_must_be_above_all_others(values, expected):
    assert verdict(with_grid("weights", "beta", values), 5) == expected


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ({8: 0.1, 12: 0.2, 16: 0.3, 24: 0.9}, NOT),  # half depth has lost it already
        ({16: 0.8, 24: 0.9}, UNTESTED),  # nothing below half was tried
        ({16: 0.3, 24: 0.9}, UNTESTED),  # the same, whatever half depth keeps
        ({8: 0.70, 16: 0.75, 24: 0.99}, NOT),  # steepest above
        ({8: 0.3, 24: 0.9}, UNTESTED),
    ],
)
def test_the_cliff_must_lie_below_half_depth(depths, expected):
    rows = [student("kd", agreement, layers=n) for n, agreement in depths.items()] + [student("teacher", 1, layers=32)]
    assert verdict(changed("06-ablations", "grids", GRIDS | {"depth": rows}), 6) == expected


def test_both_methods_must_be_content_with_two_trained_layers():
    rows = [row if row["method"] == "kd" else row | {"top1_agreement": 0.6} for row in GRIDS["trained-layers"]]
    assert verdict(changed("06-ablations", "grids", GRIDS | {"trained-layers": rows}), 7) == NOT


def times(*ratios):
    return changed("08-costs", "seconds", [{"KD": 2.0, "DSKD": 2.0 * ratio} for ratio in ratios])


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0, 1.02, 1.05, 1.02, 1.0], HELD),
        ([1.0, 1.02, 1.05, 1.02], UNCLEAR),  # the same with a round less
        ([0.98, 1.3, 1.0, 1.02, 1.0], UNCLEAR),
        ([1.2, 1.22, 1.25, 1.22, 1.2], NOT),
        ([1.2], UNCLEAR),
    ],
)
def test_training_may_take_a_tenth_longer_at_most_by_an_interval_over_five_rounds_or_more(ratios, expected):
    row = claims(times(*ratios))[7]
    assert row.verdict == expected
    assert ("fewer than five decide nothing" in row.seen) == (len(ratios) < 5)


def test_more_rounds_make_the_interval_of_a_ratio_narrower_not_wider():
    mean, low, high = verdicts.mean_ratio([0.5, 2.0] * 3)
    assert mean == pytest.approx(1) and low * high == pytest.approx(1) and 0.4 < low < 0.5
    assert verdicts.mean_ratio([0.5, 2.0] * 30)[2] < high
    assert math.isnan(verdicts.mean_ratio([1.5])[1])


def test_slower_answers_are_a_cost():
    rows = [{"round": i, "kd, piqa": 4.0, "dskd, piqa": 5.0} for i in range(5)]
    assert verdict(changed("08-costs", "answered", rows), 9) == NOT
    assert verdict(changed("08-costs", "answered", rows[:3]), 9) == UNCLEAR


def test_one_tokenizer_below_nine_tenths_is_enough_to_refute():
    spans = {"one": [SPAN], "two": [SPAN | {"antonym": 88.0}]}
    assert verdict(changed("01-lexicon", "table_2", spans), 10) == NOT
    assert verdict(changed("01-lexicon", "table_2", {"one": [SPAN | {"antonym": 90.1}]}), 10) == UNCLEAR


@pytest.mark.parametrize(("ratio", "expected"), [(0.97, UNCLEAR), (1.01, NOT)])
def test_a_cluster_is_nearer_to_itself(ratio, expected):
    rows = [{"group": "red", "of": "senses", "ratio": ratio}]
    assert verdict(changed("03-sense-maps", "cohesion", rows), 11) == expected


def test_twice_as_many_related_tokens_are_not_fourteen_percent():
    share = {"related": 29.0, "both": 10.0, "tokens": 1000}
    assert verdict(changed("01-lexicon", "corpus_share", share), 13) == NOT


def test_a_failed_student_of_a_grid_is_left_out_and_named():
    lost = student(agreement=math.nan, k=20) | {"failed": "loss is nan"}
    results = changed("06-ablations", "grids", GRIDS | {"senses": [*GRIDS["senses"], lost]})
    assert set(grid_verdicts.cells(results, "senses", "k")) == {5, 10, 15, 25}
    assert claims(results)[2].verdict == HELD and "k 20 failed: loss is nan" in claims(results)[2].seen
    rows = [row if row["k"] != 10 else lost | {"k": 10} for row in GRIDS["senses"]]
    row = claims(changed("06-ablations", "grids", GRIDS | {"senses": rows}))[2]
    assert (row.verdict, row.seen) == (UNTESTED, "k 10 failed: loss is nan")
    assert grid_verdicts.failures({}, "senses", "k") == {}


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.001, "the same, so no setting of the sense loss had much room here"), (0.1, "higher"), (0.03, "higher")],
)
def test_what_the_whole_sense_loss_moves_stands_beside_its_settings(gain, words):
    both = [student("kd", 0.6, alpha=1.0), student("dskd", 0.6 + gain, alpha=1.0), student("kd", 0.9, alpha=2.0)]
    found = claims(changed("06-ablations", "grids", GRIDS | {"divergence": both}))
    for row in found[2:5]:
        assert row.verdict == HELD and "at the preset in the grid `divergence`: +" in row.seen
        assert row.seen.endswith(words)
    own = [*GRIDS["weights"], student("kd", 0.6)]
    row = claims(changed("06-ablations", "grids", GRIDS | {"divergence": both, "weights": own}))[4]
    assert "at the preset: +0.000" in row.seen, "of the grid itself where it has KD"
    assert "in the grid `trained-layers`: +0.000" in claims(ALL_HELD)[2].seen


def test_rows_of_another_setting_or_depth_are_not_at_the_preset():
    others = [student("dskd", 0.6, alpha=2.0), student("dskd", 0.6, alpha=1.0, layers=20), student("kd", 0.6, alpha=1)]
    assert grid_verdicts.no_room(changed("06-ablations", "grids", {"divergence": others}), "senses") == ""


def test_minus_signs_are_minus_signs_and_intervals_are_kept_on_one_line():
    assert verdicts.interval(-0.5, -1, 0.25) == "\N{MINUS SIGN}0.500\u00a0[\N{MINUS SIGN}1.000,\u00a0+0.250]"
    assert not any(re.search(r"-\d", row.seen) for row in claims(ALL_HELD)[:5])


def test_every_verdict_has_a_name_in_the_table():
    assert len(set(VERDICTS)) == 4 == len({HELD, NOT, UNCLEAR, UNTESTED})
