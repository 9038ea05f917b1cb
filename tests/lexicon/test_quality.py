"""Tests of `dskd_utils.lexicon.quality`."""

from pathlib import Path

import pandas as pd
import pytest

from dskd_utils.lexicon.gold import HG2VEC_ONLY, Gold, compare, load_gold
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.quality import flip_precision, flips_cost_and_buy, leave_one_out, of_sources
from dskd_utils.lexicon.readers import Pair, read_roget, read_wordnet
from dskd_utils.lexicon.relations import Relations
from dskd_utils.sources.assets import cached

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
STATED = [  # source a knows three pairs, b three, one of them the same and one with the other relation
    Pair("glad", "happy", "synonym", "a"),
    Pair("unkind", "cruel", "synonym", "a"),
    Pair("hot", "cold", "synonym", "a"),
    Pair("glad", "happy", "synonym", "b"),
    Pair("hot", "cold", "antonym", "b"),
    Pair("unhappy", "cheerful", "antonym", "b"),
]
GOLD = [
    ("one", "glad", "happy", "synonym"),
    ("one", "cold", "hot", "antonym"),
    ("one", "cruel", "kind", "antonym"),  # only a flip gives it
    ("one", "cheerful", "happy", "antonym"),  # a flip gives it as a synonym
    ("one", "glad", "sad", "antonym"),  # a word that nobody knows
    ("two", "cheerful", "happy", "synonym"),
]


@pytest.fixture(scope="module")
def negation(tmp_path_factory):
    rows = [f"{w} un{w} J J un prefix" for w in ("happy", "kind")] + [
        f"{w} {w}ness J N ness suffix" for w in ("happy", "kind")
    ]
    path = tmp_path_factory.mktemp("morphology") / "eng.tsv"
    path.write_text("\n".join(rows).replace(" ", "\t"))
    return Negation.load(path)


@pytest.fixture
def relations():
    return Relations.from_stream(STATED)


@pytest.fixture
def gold():
    return Gold(pd.DataFrame(GOLD, columns=["set", "word", "other", "relation"]), pd.DataFrame())


def row_of(table, **values):
    found = table
    for column, value in values.items():
        found = found[found[column] == value]
    assert len(found) == 1, f"{len(found)} rows for {values}"
    return found.iloc[0]


def test_of_sources_is_what_these_sources_alone_would_give(relations, negation):
    for name in ("a", "b"):
        alone = Relations.from_stream([pair for pair in STATED if pair.source == name])
        assert of_sources(relations, (name,)).frame.equals(alone.frame)
        assert of_sources(relations.with_negation(negation), (name,)).frame.equals(alone.frame)
    assert of_sources(relations, ("a", "b")).frame.equals(relations.frame)


def test_each_source_is_judged_alone_and_all_together(relations, gold):
    table = leave_one_out(relations, gold)
    assert set(table["sources"]) == {"a", "b", "a + b"}
    row = row_of(table, sources="a", set="one", relation="antonym", part="all")
    assert row[["pairs", "known", "found", "right"]].tolist() == [4, 1, 1, 0]
    row = row_of(table, sources="b", set="one", relation="antonym", part="all")
    assert row[["found", "right", "coverage", "accuracy"]].tolist() == [1, 1, 0.25, 1.0]
    assert 0 < row["accuracy low"] < row["accuracy high"] <= 1
    row = row_of(table, sources="a", set="one", relation="both", part="all")
    assert row[["pairs", "found", "right"]].tolist() == [5, 2, 1]


def test_the_source_left_out_is_a_judge_too(relations, gold):
    table = leave_one_out(relations, gold)
    row = row_of(table, sources="a", set="the other sources", relation="both", part="all")
    assert row[["pairs", "found", "right"]].tolist() == [3, 2, 1]
    assert "the other sources" not in set(table[table["sources"] == "a + b"]["set"])


def test_pairs_that_the_others_state_are_set_apart(relations, gold):
    row = row_of(leave_one_out(relations, gold), sources="a", set="one", relation="both", part="others silent")
    assert row[["pairs", "found"]].tolist() == [3, 0]


def test_flips_are_judged_with_the_rest_and_alone(relations, gold, negation):
    table = leave_one_out(relations, gold, negation)
    where = {"sources": "a + b", "set": "one", "relation": "antonym"}
    assert row_of(table, **where, flips="none", part="all")["found"] == 1
    assert row_of(table, **where, flips="add", part="all")[["found", "right"]].tolist() == [3, 2]
    assert row_of(table, **where, flips="add", part="flips only")[["pairs", "found", "right"]].tolist() == [3, 2, 1]
    assert table[(table["flips"] == "none") & (table["part"] == "flips only")].empty


def test_flip_precision_sets_flips_beside_stated_pairs(relations, gold, negation):
    table = flip_precision(relations.with_negation(negation), gold, negation)
    row = row_of(table, set="one", kind="flip", relation="both", affix="any")
    assert row[["pairs", "known", "found", "right", "precision", "majority"]].tolist() == [2, 2, 2, 1, 0.5, 1.0]
    # One flip says antonym (4 of 5 in the set are), the other synonym (1 of 5).
    assert row["dealt"] == pytest.approx((0.8 + 0.2) / 2)
    row = row_of(table, set="one", kind="flip", relation="synonym", affix="any")
    assert row[["found", "right", "precision"]].tolist() == [1, 0, 0.0]
    row = row_of(table, set="one", kind="flip", relation="both", affix="un-")
    assert row["found"] == 2
    row = row_of(table, set="one", kind="stated", relation="both", affix="any")
    assert row[["pairs", "found", "right"]].tolist() == [4, 2, 2]
    row = row_of(table, set="one", kind="stated", relation="synonym", affix="any")
    assert row[["found", "precision", "majority"]].tolist() == [1, 1.0, 1.0]


def test_pairs_on_which_gold_sets_disagree_do_not_count_among_all_sets(relations, gold, negation):
    table = flip_precision(relations.with_negation(negation), gold, negation)
    row = row_of(table, set="any set", kind="flip", relation="both", affix="any")
    assert row[["found", "right"]].tolist() == [1, 1]


def test_a_set_without_a_common_pair_gives_no_precision(relations, gold, negation):
    table = flip_precision(relations.with_negation(negation), gold, negation)
    row = row_of(table, set="two", kind="stated", relation="both", affix="any")
    assert row["found"] == 0
    assert row[["precision", "majority", "dealt"]].isna().all()


def test_what_flips_cost_and_buy(relations, gold, negation):
    added, replaced = (relations.with_negation(negation, reading) for reading in ("add", "replace"))
    table = flips_cost_and_buy(relations, added, replaced, gold)
    counts = table.droplevel(["set", "relation"])
    assert counts.loc["new pairs"].tolist() == [0, 2, 2]
    assert counts.loc["lost pairs"].tolist() == [0, 0, 2]
    assert counts.loc["antonym pairs"].tolist() == [2, 3, 2]
    assert counts.loc["antonyms a word"].tolist() == pytest.approx([4 / 8, 6 / 9, 4 / 7])
    assert counts.loc["words that gain their first antonym"].tolist() == [0, 1, 1]  # cruel; kind is a new word
    assert counts.loc["their share of the words without"].tolist() == [0, 0.25, 0.25]
    assert counts.loc["words that lose their last antonym"].tolist() == [0, 0, 2]
    assert table.loc[("found", "one", "antonym")].tolist() == [1, 3, 3]
    assert table.loc[("accuracy", "one", "antonym")].tolist() == pytest.approx([1, 2 / 3, 2 / 3])


def test_flips_that_agree_with_a_source_and_those_overruled_are_counted(gold, negation):
    stated = [Pair("unkind", "cruel", "synonym", "a"), Pair("kind", "cruel", "antonym", "b")]
    stated += [Pair("unhappy", "sad", "synonym", "a"), Pair("happy", "sad", "synonym", "b")]
    plain = Relations.from_stream(stated)
    counts = flips_cost_and_buy(
        plain, plain.with_negation(negation), plain.with_negation(negation, "replace"), gold
    ).droplevel(["set", "relation"])
    assert counts.loc[["agreeing flips", "overruled flips", "agreeing share"], "add"].tolist() == [1, 1, 0.5]


def test_the_studys_own_sources_agree_with_the_gold_sets():
    paths = [cached(name) for name in ("wordnet", "roget")]
    if None in paths or not (DATA / "lexical").is_dir():
        pytest.skip("WordNet, Roget or the gold sets of ../shared/data are not here")
    relations = Relations.from_stream(read_wordnet(paths[0]), read_roget(paths[1]))
    found = compare(relations, load_gold(DATA, relations).pairs)
    found = found[found["given"].notna()]
    assert HG2VEC_ONLY not in set(found["set"])
    right = found.groupby("set")["right"].agg(["size", "mean"])
    assert right.loc["hg2vec", "size"] > 10_000
    assert right["mean"].min() > 0.9
