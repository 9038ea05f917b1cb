"""Tests of `dskd_utils.lexicon.quality_negation`."""

import math

import pytest

from dskd_utils.lexicon.derivations import Derivations
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.quality_negation import read_labels, score
from dskd_utils.sources.assets import fetch


@pytest.fixture
def negation():
    derivations = Derivations()
    derivations.add("happy", "unhappy", "J", "J", "un", "prefix")
    derivations.add("kind", "unkind", "J", "J", "un", "prefix")
    derivations.add("loose", "unloose", "J", "V", "un", "prefix")
    return Negation(derivations)


def test_score_counts_right_wrong_and_missed_bases_with_wilson_intervals(negation):
    labels = {"unhappy": "happy", "unkind": "kind", "unloose": None, "dissimilar": "similar", "under": None}
    result = score(negation, labels)
    assert [result[key] for key in ("words", "negations", "given", "right")] == [5, 3, 3, 2]
    assert result["precision"] == result["recall"] == 2 / 3
    assert (result["wrong"], result["missed"]) == ([("unloose", "loose", None)], [("dissimilar", "similar")])
    # Wilson's centre and half width for 2 of 3, by his formula
    z, n, p = 1.959964, 3, 2 / 3
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    limits = [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    assert [result["precision_low"], result["precision_high"]] == pytest.approx(limits, abs=1e-6)


def test_a_base_that_is_not_the_labelled_one_is_wrong_and_not_missed(negation):
    result = score(negation, {"unhappy": "happiness"})
    assert (result["precision"], result["recall"], result["missed"]) == (0, 0, [])


def test_score_without_a_base_or_a_negation_has_no_precision(negation):
    result = score(negation, {"under": None})
    assert math.isnan(result["precision"]) and math.isnan(result["recall"]) and result["given"] == 0


def test_labels_are_read_and_malformed_lines_named(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text("unhappy\thappy\nunder\t-\n")
    assert read_labels(path) == {"unhappy": "happy", "under": None}
    for text, message in (
        ("unhappy\thappy\nunder\n", "line 2: expected a word, a tab"),
        ("unhappy\t\n", "line 1: expected a word, a tab"),
        ("a\tb\tc\n", "line 1: expected a word, a tab"),
        ("under\t-\nunder\t-\n", "line 2: 'under' has a label already"),
        ("", "line 1: the file is empty"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_labels(path)


@pytest.mark.network
def test_the_rule_is_right_on_at_least_95_of_100_labelled_words():
    labels = read_labels()
    assert len(labels) == 300
    found = score(Negation.load(fetch("morphynet")), labels)
    assert found["precision"] >= 0.95 and found["recall"] >= 0.9
