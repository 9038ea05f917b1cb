"""Tests of `dskd_utils.lexicon.relations` and of the table behind it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.readers import Pair, read_pairs
from dskd_utils.lexicon.relations import Relations

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TABLE_1 = [  # original pair, its relation, new pair
    ("quit", "discontinue", "synonym", "quit", "continue"),
    ("accurate", "faultless", "synonym", "accurate", "fault"),
    ("opposite", "dissimilar", "synonym", "opposite", "similar"),
    ("variable", "unchangeable", "antonym", "variable", "changeable"),
    ("unkind", "friendly", "antonym", "kind", "friendly"),
    ("disinterest", "zeal", "antonym", "interest", "zeal"),
]
OPPOSITE = {"synonym": "antonym", "antonym": "synonym"}

words = st.sampled_from(["happy", "unhappy", "glad", "sad", "kind", "unkind", "Kind", "fall_down"])
pairs = st.lists(
    st.builds(Pair, words, words, st.sampled_from(["synonym", "antonym"]), st.sampled_from(["a", "b"])), max_size=25
)


@pytest.fixture(scope="module")
def negation(tmp_path_factory):
    rows = ["happy unhappy J J un prefix", "happy happily J R ly suffix"]
    rows += ["kind unkind J J un prefix", "kind kindness J N ness suffix"]
    path = tmp_path_factory.mktemp("morphology") / "eng.tsv"
    path.write_text("\n".join(rows).replace(" ", "\t"))
    return Negation.load(path)


def related(relations, relation, word):
    return relations.synonyms(word) if relation == "synonym" else relations.antonyms(word)


def test_pairs_hold_in_both_directions_and_are_normalised():
    found = Relations.from_pairs([("Ｇlad", "happy"), ("happy", "HAPPY"), ("fall_down", "drop"), ("", "x")])
    assert found.synonyms("happy") == {"glad"}
    assert found.synonyms("Glad") == {"happy"}
    assert found.synonyms("unknown") == set()
    assert found.words == ("glad", "happy")
    counts = found.counts()
    assert (counts["synonym_pairs"], counts["multiword_or_empty_dropped"], counts["self_pairs_dropped"]) == (1, 2, 1)
    kept = Relations.from_pairs([("fall_down", "drop")], keep_multiword=True)
    assert kept.synonyms("drop") == {"fall down"}


def test_every_source_of_a_pair_is_remembered():
    found = Relations.from_stream(
        [Pair("glad", "happy", "synonym", "wordnet")], [Pair("happy", "glad", "synonym", "roget")]
    )
    assert found.sources("happy", "glad") == ("roget", "wordnet")
    assert found.sources("happy", "sad") == ()


@pytest.mark.parametrize(("policy", "kept"), [("antonym", (0, 1)), ("synonym", (1, 0)), ("drop", (0, 0))])
def test_a_contradiction_is_counted_and_resolved_by_the_policy(policy, kept):
    found = Relations.from_pairs([("hot", "cold")], [("cold", "hot")], policy=policy)
    assert (len(found.synonyms("hot")), len(found.antonyms("hot"))) == kept
    assert found.counts()["conflicts"] == 1
    assert len(found.frame) == 1


def test_flip_adds_the_paper_pair_and_keeps_the_original(negation):
    found = Relations.from_pairs([], [("unkind", "friendly")], source="mine").with_negation(negation)
    assert found.antonyms("friendly") == {"unkind"}
    assert found.synonyms("kind") == {"friendly"}
    assert found.sources("kind", "friendly") == ("negation",)
    assert str(found.derivation("kind", "friendly")) == "unkind/friendly antonym -> kind/friendly synonym"
    assert found.derivation("unkind", "friendly") is None
    assert found.counts()["flips"] == 1


def test_flip_replaces_in_the_released_reading_with_parity(negation):
    given = Relations.from_pairs([("unkind", "unhappy"), ("unkind", "cruel")])
    found = given.with_negation(negation, "replace")
    assert found.words == ("cruel", "happy", "kind")
    assert found.synonyms("kind") == {"happy"}
    assert found.antonyms("kind") == {"cruel"}


@pytest.mark.parametrize("relation", ["synonym", "antonym"])
def test_a_flip_never_overrules_what_a_source_states(negation, relation):
    # The policy favours the flip's relation, and still the statement stands.
    stated = [Pair("kind", "friendly", relation, "mine"), Pair("unkind", "friendly", relation, "mine")]
    found = Relations.from_stream(stated, policy=OPPOSITE[relation]).with_negation(negation)
    assert related(found, relation, "friendly") == {"kind", "unkind"}
    assert found.counts()["flips_overruled"] == 1
    assert found.derivation("kind", "friendly") is None


@pytest.mark.parametrize("relation", ["synonym", "antonym"])
def test_flipping_twice_gives_the_relation_back(negation, relation):
    once = Relations.from_stream([Pair("unkind", "unhappy", relation, "mine")]).with_negation(negation)
    assert related(once, OPPOSITE[relation], "kind") == {"unhappy"}
    twice = once.with_negation(negation)
    assert related(twice, relation, "kind") == {"happy"}


@settings(deadline=None, max_examples=60)
@given(pairs, st.randoms(use_true_random=False), st.sampled_from(["antonym", "synonym", "drop"]))
def test_merging_is_free_of_order(negation, given_pairs, random, policy):
    shuffled = random.sample(given_pairs, len(given_pairs))
    turned = [Pair(p.other, p.word, p.relation, p.source) for p in shuffled]
    one = Relations.from_stream(given_pairs, policy=policy)
    other = Relations.from_stream(turned[:5], turned[5:], policy=policy)
    assert one == other
    assert one.with_negation(negation) == other.with_negation(negation)


@settings(deadline=None, max_examples=40)
@given(pairs, st.sampled_from(["none", "add", "replace"]), st.booleans())
def test_saving_and_loading_loses_nothing(tmp_path_factory, negation, given_pairs, reading, keep_multiword):
    relations = Relations.from_stream(given_pairs, keep_multiword=keep_multiword)
    if reading != "none":
        relations = relations.with_negation(negation, reading)
    path = tmp_path_factory.mktemp("saved") / "relations.parquet"
    relations.save(path)
    loaded = Relations.load(path)
    assert loaded == relations
    assert loaded.counts() == relations.counts()
    for word in relations.words:
        assert loaded.synonyms(word) == relations.synonyms(word)
        assert loaded.antonyms(word) == relations.antonyms(word)


def test_without_drops_pairs_of_the_words_and_flips_that_came_from_them(negation):
    found = Relations.from_pairs([("glad", "happy"), ("sad", "low")], [("unkind", "friendly")])
    rest = found.with_negation(negation).without({"happy", "unkind"})
    assert rest.words == ("low", "sad")


def test_wrong_calls_say_what_was_expected(negation, tmp_path):
    with pytest.raises(ValueError, match="policy is 'vote', expected one of antonym"):
        Relations.from_pairs([], policy="vote")
    with pytest.raises(ValueError, match="was given among the synonyms"):
        Relations.from_pairs([Pair("hot", "cold", "antonym", "mine")])
    with pytest.raises(ValueError, match="reading is 'both', expected 'add'"):
        Relations.from_pairs([("a", "b")]).with_negation(negation, "both")
    with pytest.raises(FileNotFoundError, match="there are no relations at"):
        Relations.load(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(ValueError, match="is not a file of relations"):
        Relations.load(tmp_path / "bad.parquet")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder ../shared/data (HG2Vec, MorphoLEX, MorphyNet)")
@pytest.mark.parametrize("morphology", ["MorphyNet", "MorphoLEX and MorphyNet"])
def test_table_1_comes_out_as_printed_from_real_pairs(morphology):
    folder = DATA / "morphology"
    sources = [folder / "morphynet.eng.derivational.tsv.xz"]
    sources += [folder / "MorphoLEX_en.tsv.gz"] if "LEX" in morphology else []
    pair_files = DATA / "lexical" / "hg2vec"
    relations = Relations.from_stream(
        read_pairs(pair_files / "syn-pairs.txt.gz", "synonym", "hg2vec"),
        read_pairs(pair_files / "ant-pairs.txt.gz", "antonym", "hg2vec"),
    )
    flipped = relations.with_negation(Negation.load(sources))
    for word, other, relation, new_word, new_other in TABLE_1:
        assert other in related(relations, relation, word)
        assert new_other in related(flipped, OPPOSITE[relation], new_word)
        assert "negation" in flipped.sources(new_word, new_other)
