"""Tests of all-words disambiguation with the dictionary's senses (beyond the paper)."""

import numpy as np
import pandas as pd
import pytest
import torch

from dskd_utils.evaluate.disambiguation import score_rows, tagging_scores
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.dictionary import build_dictionary

D = 16
WORDNET = {
    ("bank", "noun"): ["bank%a", "bank%b"],
    ("light", "adj"): ["light%b", "light%a"],
    ("merry", "adj"): ["merry%a"],
}


@pytest.fixture(scope="module")
def dictionary(tiny_tokenizer):
    """Two far-apart senses a token; `merry` was never seen."""
    counts = torch.full((len(tiny_tokenizer),), 2)
    counts[tiny_tokenizer(" merry")["input_ids"][0]] = 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    centroids = 10 * torch.randn(int(offsets[-1]), D, generator=torch.Generator().manual_seed(0))
    return build_dictionary(centroids, offsets, Relations.from_pairs(), tiny_tokenizer)


def tagged(dictionary, tokenizer, rows, noise=0.1):
    """Instances (lemma, pos, which sense, gold), each with a state near its sense."""
    generator = torch.Generator().manual_seed(1)
    states = []
    for lemma, _, sense, _ in rows:
        senses = dictionary.token_senses(tokenizer(" " + lemma)["input_ids"][0]).float()
        base = senses[sense] if len(senses) else torch.zeros(D)
        states.append(base + noise * torch.randn(D, generator=generator))
    frame = pd.DataFrame([(lemma, pos, gold) for lemma, pos, _, gold in rows], columns=["lemma", "pos", "gold"])
    return frame, torch.stack(states)


def value(table, method, metric="accuracy", column="value"):
    (found,) = table[(table.method == method) & (table.metric == metric)][column]
    return found


def bank_and_light(times=8):
    rows = [("bank", "noun", i % 2, (f"bank%{'ab'[i % 2]}",)) for i in range(2 * times)]
    return rows + [("light", "adj", i % 2, (f"light%{'ab'[i % 2]}", "light%z")) for i in range(2 * times)]


def test_senses_that_are_the_gold_senses_are_all_right(dictionary, tiny_tokenizer):
    # Wide enough that a plane of any direction through the middle no longer parts the two senses.
    spread = tagged(dictionary, tiny_tokenizer, bank_and_light(), noise=7.0)
    table = tagging_scores(*spread, dictionary, tiny_tokenizer, WORDNET, key="next")
    assert value(table, "nearest sense") == value(table, "nearest labelled state (cosine)") == 1
    assert value(table, "WordNet's first sense") < 0.9 and value(table, "one sense (k = 1)") < 0.9
    assert value(table, "random centroids") < 0.9
    assert value(table, "nearest sense", column="n") == value(table, "nearest sense", column="covered") == 16
    assert set(table.key) == {"next", "any"}
    difference = value(table, "one sense (k = 1)", "accuracy, minus nearest labelled state (cosine)")
    assert difference == pytest.approx(value(table, "one sense (k = 1)") - 1)


def test_senses_that_have_nothing_to_do_with_the_gold_are_no_better_than_one_sense(dictionary, tiny_tokenizer):
    rows = [("bank", "noun", i % 2, ("bank%a" if (i // 2) % 4 else "bank%b",)) for i in range(80)]
    table = tagging_scores(*tagged(dictionary, tiny_tokenizer, rows), dictionary, tiny_tokenizer, WORDNET, key="next")
    assert value(table, "nearest sense") <= value(table, "one sense (k = 1)") == pytest.approx(0.75, abs=0.1)


def test_the_first_sense_is_wordnets(dictionary, tiny_tokenizer):
    rows = [("light", "adj", 0, ("light%a",))] * 3 + [("bank", "noun", 0, ("bank%a",))] * 4
    table = tagging_scores(*tagged(dictionary, tiny_tokenizer, rows), dictionary, tiny_tokenizer, WORDNET, key="next")
    assert value(table, "WordNet's first sense") == pytest.approx(2 / 3), "light's first is light%b"
    assert value(table, "one sense (k = 1)") == 1


def test_an_unknown_lemma_gets_its_most_frequent_sense_and_is_counted(dictionary, tiny_tokenizer):
    rows = [*bank_and_light(2), *[("merry", "adj", 0, ("merry%a",))] * 4, ("sad", "adj", 0, ("sad%a",))]
    table = tagging_scores(*tagged(dictionary, tiny_tokenizer, rows), dictionary, tiny_tokenizer, WORDNET, key="input")
    found = table[(table.method == "nearest sense") & (table.metric == "accuracy")].iloc[0]
    assert (found.n, found.covered) == (6, 4), "sad occurs once and merry has no senses"
    assert value(table, "nearest sense", "accuracy, covered", "n") == 4
    assert value(table, "nearest sense", "accuracy, ambiguous", "n") == 4, "merry has one sense in WordNet"
    count = table[table.metric == "lemmas"].iloc[0]
    assert (count.value, count.n, count.covered) == (3, 4, 2)


def test_the_judged_half_is_not_looked_at(dictionary, tiny_tokenizer):
    instances, states = tagged(dictionary, tiny_tokenizer, bank_and_light())
    table = tagging_scores(instances, states, dictionary, tiny_tokenizer, WORDNET, key="next")
    order = np.random.default_rng(0)
    asked = [
        p for places in instances.groupby(["lemma", "pos"]).indices.values() for p in order.permutation(places)[8:]
    ]
    wrong = instances.copy()
    wrong["gold"] = [("other%a",) if i in asked else gold for i, gold in enumerate(instances.gold)]
    changed = tagging_scores(wrong, states, dictionary, tiny_tokenizer, WORDNET, key="next")
    assert value(table, "nearest sense") == 1 and value(changed, "nearest sense") == 0
    assert value(changed, "nearest labelled state (cosine)") == value(changed, "one sense (k = 1)") == 0


def test_a_sense_without_mapped_instances_says_the_most_frequent(dictionary, tiny_tokenizer):
    rows = [("bank", "noun", 0, ("bank%a",))] * 3
    instances, states = tagged(dictionary, tiny_tokenizer, rows)
    (places,) = instances.groupby(["lemma", "pos"]).indices.values()
    asked = np.random.default_rng(0).permutation(places)[2]
    senses = dictionary.token_senses(tiny_tokenizer(" bank")["input_ids"][0]).float()
    states[asked] = senses[1]
    table = tagging_scores(instances, states, dictionary, tiny_tokenizer, WORDNET, key="next")
    assert value(table, "nearest sense") == 1


def test_text_in_which_no_lemma_occurs_twice_is_refused(dictionary, tiny_tokenizer):
    rows = [("bank", "noun", 0, ("bank%a",)), ("bank", "verb", 0, ("bank%a",))]
    with pytest.raises(ValueError, match="no lemma occurs twice"):
        tagging_scores(*tagged(dictionary, tiny_tokenizer, rows), dictionary, tiny_tokenizer, WORDNET, key="next")


def test_rows_have_intervals_over_lemmas_and_paired_differences():
    right = {"a": np.array([1.0, 1, 1, 0, 0, 0]), "b": np.array([1.0, 0, 1, 0, 0, 0])}
    subsets = {"accuracy": np.ones(6, bool), "none": np.zeros(6, bool)}
    table = score_rows("t", "next", right, subsets, np.arange(6) < 4, np.array(list("xxxyyy")), "b")
    first = table.iloc[0]
    assert first.value == 0.5 and (first.low, first.high) == (0, 1), "two lemmas, one all right and one all wrong"
    assert table.metric.tolist() == ["accuracy", "accuracy, minus b", "accuracy"]
    assert table.value.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 3]) and (table.covered == 4).all()
