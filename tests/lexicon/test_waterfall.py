"""Tests of `dskd_utils.lexicon.waterfall`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.waterfall import KINDS, waterfall

words = st.sampled_from(["happy", "unhappy", "glad", "sad", "kind", "unkind", "Kind", "fall_down", ""])
pairs = st.lists(st.builds(Pair, words, words, st.sampled_from(KINDS), st.sampled_from(["a", "b"])), max_size=40)


@pytest.fixture(scope="module")
def negation(tmp_path_factory):
    path = tmp_path_factory.mktemp("morphology") / "eng.tsv"
    rows = ["happy unhappy J J un prefix", "happy happily J R ly suffix", "kind unkind J J un prefix"]
    path.write_text("\n".join([*rows, "kind kindness J N ness suffix"]).replace(" ", "\t"))
    return Negation.load(path)


@settings(max_examples=25, deadline=None)
@given(pairs, st.sampled_from(["antonym", "synonym", "drop"]), st.sets(st.sampled_from(["glad", "unkind"])))
def test_gains_and_losses_add_up_to_every_total(negation, found, policy, held_out):
    relations = Relations.from_stream(found, policy=policy)
    training = relations.without(held_out).with_negation(negation).without(held_out)
    spans = {word: tuple(range(len(word) // 3)) for word in training.words}  # happy has one token, unhappy two
    steps = waterfall(relations, training, held_out, spans, max_span=1)
    for kind in KINDS:
        running = 0
        for change, number in zip(steps.change, steps[kind], strict=True):
            if change == "total":
                assert running == number
            else:
                assert number >= 0 if change == "gain" else number <= 0
                running += number


def test_each_step_counts_what_it_says(negation):
    found = [
        Pair("happy", "glad", "synonym", "a"),
        Pair("glad", "happy", "synonym", "b"),
        Pair("sad", "sad", "synonym", "a"),
    ]
    found += [Pair("fall_down", "drop", "synonym", "a"), Pair("glad", "happy", "antonym", "b")]
    found += [Pair("unkind", "glad", "antonym", "b"), Pair("sad", "kind", "synonym", "b")]
    relations = Relations.from_stream(found)
    training = relations.with_negation(negation)
    steps = waterfall(relations, training, set(), {word: (0,) * (1 + (word == "sad")) for word in training.words}, 1)
    synonyms, antonyms = (dict(zip(steps.step, steps[kind], strict=True)) for kind in KINDS)
    assert (synonyms["read: a"], synonyms["read: b"], antonyms["read: b"]) == (3, 2, 2)
    assert synonyms["entries of several words, and empty ones"] == -1
    assert synonyms["a word with itself"] == -1
    assert synonyms["the same pair again, in one source or in another"] == -1
    assert (synonyms["said to be both, one side kept"], antonyms["said to be both, one side kept"]) == (-1, 0)
    assert (synonyms["merged"], antonyms["merged"]) == (1, 2)
    assert (synonyms["negation flips"], antonyms["negation flips"]) == (1, 0)  # kind, glad
    assert synonyms["a word of more than 1 tokens"] == -1  # sad
    assert (synonyms["a head and its neighbour"], antonyms["a head and its neighbour"]) == (1, 2)
