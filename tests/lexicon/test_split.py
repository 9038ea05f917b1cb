"""Tests of `dskd_utils.lexicon.split`."""

from collections import Counter

import pytest

from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.split import lemmatise, split_words, training_relations


@pytest.fixture
def wordnet(tmp_path):
    index = {
        "noun": ["leaf", "box", "doer", "man"],
        "verb": ["run", "make", "leave"],
        "adj": ["big", "late"],
        "adv": ["well"],
    }
    exceptions = {"noun": "leaves leaf", "verb": "running run", "adj": "bigger big", "adv": "best well"}
    for part, lemmas in index.items():
        lines = "".join(f"{lemma} {part[0]} 1 0 1 0 00000001\n" for lemma in lemmas)
        (tmp_path / f"index.{part}").write_text("  1 the licence\n" + lines)
        (tmp_path / f"{part}.exc").write_text(exceptions[part] + "\n")
    return tmp_path


def test_lemmas_follow_exceptions_then_endings_checked_in_the_index(wordnet):
    expected = {
        "leaves": "leaf",
        "boxes": "box",
        "running": "run",
        "making": "make",
        "bigger": "big",
        "later": "late",
        "firemen": "firemen",  # fireman is no entry, so the ending stays
        "men": "man",
        "doer": "doer",
        "xyzzies": "xyzzies",
    }
    assert lemmatise(expected, wordnet) == expected


def test_lemmas_of_a_malformed_exception_list_name_file_and_line(wordnet):
    (wordnet / "noun.exc").write_text("leaves leaf\nmice\n")
    with pytest.raises(ValueError, match=r"noun\.exc, line 2: expected a form and its lemma"):
        lemmatise(["mice"], wordnet)


def test_split_keeps_a_lemma_together_and_has_the_shares_asked_for():
    names = [f"word{i}" for i in range(6000)]
    lemmas = {name + ending: name for name in names for ending in ("", "s")}
    split = split_words(lemmas, lemmas, seed=1)
    assert all(split[name] == split[name + "s"] for name in names)
    share = Counter(split[name] for name in names)
    assert share["validation"] / 6000 == pytest.approx(0.05, abs=0.01)
    assert share["test"] / 6000 == pytest.approx(0.10, abs=0.012)


def test_split_of_a_word_depends_on_its_lemma_and_the_seed_alone():
    names = [f"word{i}" for i in range(500)]
    whole = split_words(names, {})
    assert {name: part for name, part in whole.items() if name in names[:50]} == split_words(names[49::-1], {})
    assert whole != split_words(names, {}, seed=1)
    with pytest.raises(ValueError, match="held_out is 1.5"):
        split_words(names, {}, held_out=1.5)


@pytest.mark.parametrize("reading", ["add", "replace"])
def test_training_relations_hold_no_held_out_word_even_after_flips(tmp_path, reading):
    rows = ["kind unkind J J un prefix", "kind kindness J N ness suffix"]
    rows += ["happy unhappy J J un prefix", "happy happily J R ly suffix"]
    (tmp_path / "eng.tsv").write_text("\n".join(rows).replace(" ", "\t"))
    negation = Negation.load(tmp_path / "eng.tsv")
    relations = Relations.from_pairs([("unkind", "cruel"), ("unhappy", "sad"), ("glad", "merry")])
    split = dict.fromkeys(relations.with_negation(negation).words, "train") | {"kind": "test", "merry": "validation"}
    # The flip of a training pair alone would bring `kind` back.
    assert "kind" in relations.without(["kind", "merry"]).with_negation(negation, reading).words
    found = training_relations(relations, negation, split, reading)
    assert not {"kind", "merry"} & set(found.words)
    assert "sad" in found.antonyms("happy")
    assert training_relations(relations, None, split).synonyms("unkind") == {"cruel"}


def test_training_relations_refuse_a_split_that_lacks_words():
    with pytest.raises(ValueError, match="2 words have no part in the split"):
        training_relations(Relations.from_pairs([("glad", "happy")]), None, {})
