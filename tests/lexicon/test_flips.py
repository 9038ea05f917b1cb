"""Tests of `dskd_utils.lexicon.flips`."""

import pandas as pd
import pytest

from dskd_utils.lexicon.flips import (
    KEY,
    derive,
    draw_flips,
    flips,
    hand_precision,
    hand_precision_by,
    load_labels,
    random_flips,
    unread_flips,
)
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations

WORDS = ["happy", "kind", "able", "clear", "real", "fair", "wise", "safe"]


@pytest.fixture(scope="module")
def negation(tmp_path_factory):
    rows = [f"{w} un{w} J J un prefix" for w in WORDS] + [f"{w} {w}ness J N ness suffix" for w in WORDS]
    path = tmp_path_factory.mktemp("morphology") / "eng.tsv"
    path.write_text("\n".join(rows).replace(" ", "\t"))
    return Negation.load(path)


@pytest.fixture(scope="module")
def many(negation):
    """80 flips: 64 antonyms and 16 synonyms."""
    stated = [Pair(f"un{w}", f"low{i}", "synonym", "mine") for w in WORDS for i in range(8)]
    stated += [Pair(f"un{w}", f"high{i}", "antonym", "yours") for w in WORDS for i in range(2)]
    return Relations.from_stream(stated).with_negation(negation)


def read(pairs, wrong=()):
    """The pairs as a reader would label them, all right but those whose first word is in `wrong`."""
    verdict = ["wrong" if word in wrong else "right" for word in pairs["word"]]
    return pairs.assign(verdict=verdict, same_part="yes", original_verdict="right")


def test_a_pair_that_a_source_states_is_no_flip(negation):
    stated = [Pair("unkind", "friendly", "antonym", "mine"), Pair("kind", "friendly", "synonym", "yours")]
    stated += [Pair("unhappy", "sad", "synonym", "mine"), Pair("unable", "fit", "synonym", "mine")]
    stated += [Pair("able", "fit", "synonym", "yours")]
    found = flips(Relations.from_stream(stated).with_negation(negation))
    assert found.to_dict("records") == [{"word": "happy", "other": "sad", "relation": "antonym"}]
    assert flips(Relations.from_stream(stated)).empty


def test_two_flips_that_contradict_each_other_are_no_flip_under_the_policy_drop(negation):
    stated = [Pair("unkind", "happy", "synonym", "a"), Pair("kind", "unhappy", "antonym", "a")]
    assert flips(Relations.from_stream(stated, policy="drop").with_negation(negation)).empty
    assert len(flips(Relations.from_stream(stated, policy="antonym").with_negation(negation))) == 1


def test_derivations_name_the_original_its_source_and_the_affix(many, negation):
    table = derive(many, flips(many), negation)
    row = table[(table["word"] == "happy") & (table["other"] == "high1")].iloc[0]
    assert row["relation"] == "synonym"
    assert (row["original_word"], row["original_other"], row["original_relation"]) == ("unhappy", "high1", "antonym")
    assert (row["original_sources"], row["affix"]) == ("yours", "un-")
    stated = [Pair("unhappy", "kind", "antonym", "mine"), Pair("unhappy", "unkind", "synonym", "mine")]
    found = Relations.from_stream(stated).with_negation(negation)
    assert found.sources("unhappy", "kind") == ("mine", "negation")
    table = derive(found, flips(found), negation).set_index(["word", "other"])
    assert table.loc[("happy", "kind"), ["original_word", "original_sources"]].tolist() == ["unhappy", "mine"]
    replaced = Relations.from_pairs([("unkind", "unhappy")]).with_negation(negation, "replace")
    assert derive(replaced, flips(replaced), negation)["affix"].tolist() == ["un- and un-"]


def test_the_draw_is_stratified_and_a_drawn_pair_stays_drawn(many, negation):
    drawn = draw_flips(many, negation, n=20)
    assert drawn["relation"].value_counts().to_dict() == {"synonym": 10, "antonym": 10}
    assert not drawn.equals(draw_flips(many, negation, n=20, seed=1))
    fewer = many.without({"unwise"})
    again = draw_flips(fewer, negation, n=20)
    kept = drawn[drawn["word"].ne("wise") & drawn["other"].ne("wise")]
    assert len(kept) < len(drawn)
    assert len(kept.merge(again, on=KEY)) == len(kept)


def test_random_flips_show_what_a_reader_said(many, negation):
    labels = read(draw_flips(many, negation, n=20), wrong=["clear"])
    shown = random_flips(many, negation, n=30, labels=labels)
    assert len(shown) == 30
    assert set(shown["by hand"]) == {"right", "wrong", ""}
    known = {f"{a}, {b}": v for a, b, v in labels[["word", "other", "verdict"]].to_numpy()}
    assert all(known.get(pair, "") == verdict for pair, verdict in shown[["new pair", "by hand"]].to_numpy())
    assert "by hand" not in random_flips(many, negation)


def test_hand_precision_counts_only_what_is_still_a_flip_and_says_what_is_unread(many, negation):
    labels = read(draw_flips(many, negation, n=40), wrong=["clear", "able"])
    table = hand_precision(labels, many).set_index("relation")
    assert table.loc["antonym", ["flips", "labelled", "left", "unread"]].tolist() == [64, 20, 20, 0]
    antonyms = labels[labels["relation"] == "antonym"]
    wrong = int((antonyms["verdict"] == "wrong").sum())
    assert table.loc["antonym", "precision"] == pytest.approx(1 - wrong / 20)
    # The other relation's 16 flips weigh a quarter of the 64.
    mean = (64 * table.loc["antonym", "precision"] + 16 * table.loc["synonym", "precision"]) / 80
    assert table.loc["all", "precision"] == pytest.approx(mean)
    assert table.loc["all", "precision low"] < mean < table.loc["all", "precision high"]

    fewer = many.without({"unclear"})
    gone = int(antonyms[["word", "other"]].eq("clear").any(axis=1).sum())
    assert gone > 0
    assert hand_precision(labels, fewer).set_index("relation").loc["antonym", ["left", "unread"]].tolist() == [
        20 - gone,
        0,
    ]


def test_new_flips_within_the_reach_of_the_draw_are_unread_until_they_are_labelled(many, negation):
    labels = read(draw_flips(many.without({"unclear"}), negation, n=40))
    unread = unread_flips(labels, many)
    assert len(unread) == hand_precision(labels, many)["unread"].iloc[-1] > 0
    assert unread[["word", "other"]].eq("clear").any(axis=1).all()
    assert unread_flips(pd.concat([labels, read(unread)]), many).empty


def test_errors_of_the_source_are_told_from_errors_of_the_flip(many, negation):
    labels = read(draw_flips(many, negation, n=40))
    bad = labels["word"].eq("able") & labels["relation"].eq("antonym")
    labels.loc[bad, ["verdict", "original_verdict"]] = "wrong"
    table = hand_precision(labels, many).set_index("relation")
    assert bad.any()
    assert table.loc["antonym", "precision"] < 1
    assert table.loc["antonym", "of sound"] == 1
    by = hand_precision_by(labels, many, "original_sources").set_index(["relation", "original_sources"])
    assert by.loc[("synonym", "yours"), "precision"] == 1
    assert by.loc[("antonym", "mine"), "left"] == 20


def test_labels_of_the_package_are_150_flips_or_more_of_both_relations():
    labels = load_labels()
    assert labels["relation"].value_counts().min() >= 75
    assert not labels.duplicated(KEY).any()
    assert (labels["word"] < labels["other"]).all()
    assert (labels["relation"] != labels["original_relation"]).all()


def test_bad_labels_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are no flip labels at"):
        load_labels(tmp_path / "none.tsv")
    labels = load_labels()
    labels.loc[1, "verdict"] = "maybe"
    labels.to_csv(tmp_path / "bad.tsv", sep="\t", index=False)
    with pytest.raises(ValueError, match="bad.tsv, line 3: verdict is 'maybe', expected right or wrong"):
        load_labels(tmp_path / "bad.tsv")
    load_labels().drop(columns="same_part").to_csv(tmp_path / "bad.tsv", sep="\t", index=False)
    with pytest.raises(ValueError, match="bad.tsv: there is no column 'same_part', expected word, other"):
        load_labels(tmp_path / "bad.tsv")
