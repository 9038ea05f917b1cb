"""Tests of `dskd_utils.lexicon.gold`."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from dskd_utils.lexicon.gold import FILES, HG2VEC_ONLY, add_interval, compare, load_gold, overlap
from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LINES = {  # file -> lines; the other files of `FILES` hold one pair each
    "antsynnet/adjective-pairs.train": ["hot\tcold\t1", "Cold\thot\t1", "big\tbig\t0", "odd\teven\t0"],
    "antsynnet/adjective-pairs.val": ["even\todd\t1", "kind\tfriendly\t0"],
    "counter_fitting/ppdb_antonyms.txt.gz": ["females males ", "males females "],
    "hg2vec/syn-pairs.txt.gz": ["glad happy", "kind friendly", " lonely", "hornets nest deadlock"],
    "hg2vec/ant-pairs.txt.gz": ["glad sad", "happy sad"],
}


@pytest.fixture
def data_dir(tmp_path):
    for name, files in FILES.items():
        for file, relation in files:
            path = tmp_path / "lexical" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = LINES.get(file, ["one\ttwo\t0" if relation is None else f"one{len(name)} two"])
            content = ("\n".join(lines) + "\n").encode()
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return tmp_path


@pytest.fixture
def relations():
    stated = [
        ("friendly", "kind", "synonym", "a"),
        ("kind", "friendly", "synonym", "b"),
        ("hot", "cold", "antonym", "b"),
    ]
    stated += [("glad", "sad", "synonym", "a"), ("boil", "encode", "synonym", "a"), ("odd", "queer", "synonym", "a")]
    return Relations.from_stream(Pair(*pair) for pair in stated)


def pairs_of(gold, name):
    rows = gold.pairs[gold.pairs["set"] == name]
    return list(rows[["word", "other", "relation"]].itertuples(index=False, name=None))


def test_gold_pairs_are_normalised_unordered_and_counted_where_they_are_dropped(data_dir):
    gold = load_gold(data_dir)
    assert pairs_of(gold, "antsynnet adjective") == [("friendly", "kind", "synonym"), ("cold", "hot", "antonym")]
    assert ("females", "males", "antonym") in pairs_of(gold, "ppdb")
    facts = gold.facts.loc["antsynnet adjective"]
    assert facts.drop("not two single words").to_dict() == {
        "lines": 6, "self pairs": 1, "duplicates": 1, "pairs labelled both ways": 1, "synonym": 1, "antonym": 1
    }  # fmt: skip
    assert gold.facts.loc["hg2vec", "not two single words"] == 2
    assert HG2VEC_ONLY not in gold.facts.index


def test_hg2vec_only_lacks_every_pair_that_a_source_states_but_not_flips(data_dir, relations):
    flipped = Relations.from_pairs(antonyms=[Pair("happy", "sad", "antonym", "negation")])
    assert set(pairs_of(load_gold(data_dir, relations), HG2VEC_ONLY)) == {
        ("glad", "happy", "synonym"),
        ("happy", "sad", "antonym"),
    }
    assert load_gold(data_dir, relations).facts.loc[HG2VEC_ONLY, "stated by a source"] == 2
    assert ("happy", "sad", "antonym") in pairs_of(load_gold(data_dir, flipped), HG2VEC_ONLY)


def test_sets_that_lack_a_file_are_left_out(data_dir, relations):
    (data_dir / "lexical" / "hg2vec" / "ant-pairs.txt.gz").unlink()
    (data_dir / "lexical" / "antsynnet" / "noun-pairs.val").unlink()
    gold = load_gold(data_dir, relations)
    assert list(gold.facts.index) == ["antsynnet adjective", "antsynnet verb", "ppdb", "wordnet antonyms"]
    assert set(gold.pairs["set"]) == set(gold.facts.index)
    for nowhere in (data_dir / "nowhere", None):
        none = load_gold(nowhere, relations)
        assert len(none.pairs) == len(none.facts) == 0 and list(none.pairs) == list(gold.pairs)
        assert len(compare(relations, none.pairs)) == 0


def test_a_bad_line_is_named(data_dir):
    path = data_dir / "lexical" / "antsynnet" / "noun-pairs.val"
    path.write_text("one\ttwo\t0\none\ttwo\t2\n")
    with pytest.raises(ValueError, match="noun-pairs.val, line 2: expected word, word, 0 or 1"):
        load_gold(data_dir)


def test_compare_says_what_is_known_found_and_right(data_dir, relations):
    found = compare(relations, load_gold(data_dir).pairs).set_index(["set", "word", "other"])
    kind = found.loc[("antsynnet adjective", "friendly", "kind")]
    assert (kind["known"], kind["given"], kind["right"]) == (True, "synonym", True)
    sad = found.loc[("hg2vec", "glad", "sad")]
    assert (sad["known"], sad["given"], sad["right"]) == (True, "synonym", False)
    happy = found.loc[("hg2vec", "glad", "happy")]
    assert (happy["known"], pd.isna(happy["given"]), happy["right"]) == (False, True, False)
    assert len(found) == len(load_gold(data_dir).pairs)


def test_a_contradiction_that_the_policy_drops_is_not_found():
    both = Relations.from_pairs([("hot", "cold")], [("cold", "hot")], policy="drop")
    pairs = pd.DataFrame({"word": ["cold"], "other": ["hot"], "relation": ["antonym"]})
    assert compare(both, pairs)["given"].isna().all()


def test_overlap_counts_by_source_and_by_lemma(data_dir, relations):
    gold = load_gold(data_dir)
    table = overlap(relations, gold, {"two": "encode", "one16": "boil"}).set_index(["set", "relation"])
    row = table.loc[("antsynnet adjective", "synonym")]
    assert (row["pairs"], row["a"], row["b"], row["any"], row["share"], row["other relation"]) == (1, 1, 1, 1, 1.0, 0)
    row = table.loc[("hg2vec", "antonym")]
    assert (row["pairs"], row["a"], row["b"], row["any"], row["share"], row["other relation"]) == (2, 1, 0, 1, 0.5, 1)
    row = table.loc[("wordnet antonyms", "antonym")]
    assert (row["any"], row["by lemma"]) == (0, 1)
    assert "by lemma" not in overlap(relations, gold)


def test_intervals_are_wilsons():
    table = add_interval(pd.DataFrame({"right": [8, 0, 0], "n": [10, 5, 0]}), "right", "n", "share")
    # Wilson by its formula, z = 1.959964.
    assert table.loc[0, ["share", "share low", "share high"]].tolist() == pytest.approx(
        [0.8, 0.490162, 0.943318], abs=1e-5
    )
    assert table.loc[1, ["share", "share low", "share high"]].tolist() == pytest.approx([0, 0, 0.434482], abs=1e-5)
    assert table.loc[2, ["share", "share low", "share high"]].isna().all()


def test_the_published_files_have_their_published_sizes():
    if not (DATA / "lexical").is_dir():
        pytest.skip("the gold sets of ../shared/data are not here")
    facts = load_gold(DATA).facts
    assert facts.loc["antsynnet adjective", "lines"] == 5_562 + 398
    assert facts.loc["ppdb", "lines"] == 53_809 + 638
    assert facts.loc["hg2vec", "lines"] == 124_404 + 17_379
    lost = (
        facts[["not two single words", "self pairs", "duplicates"]].sum(axis=1) + 2 * facts["pairs labelled both ways"]
    )
    assert (facts["lines"] - lost == facts["synonym"] + facts["antonym"]).all()
