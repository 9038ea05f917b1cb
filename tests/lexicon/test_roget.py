"""Tests of `dskd_utils.lexicon.roget`, and the hand-made labels of its antonyms."""

import csv
from pathlib import Path

import pytest
from scipy.stats import binomtest

from dskd_utils.lexicon.roget import Reference, parse_roget, read_roget
from dskd_utils.sources.assets import cached

LABELS = Path(__file__).parent / "roget_antonym_labels.tsv"
ROGET = """<html><pre>
CLASS I

1. Existence -- N. existence, being, entity, ens [Lat.]; fact &amp;c 3, matter of fact.
     life, vitality [Science of
existence].
V. exist, be; have being &amp;c n.; occur &amp;c (event) 2, &amp;c (thing) 3.
Adv. really, truly.
Phr. to be or not to be [Hamlet].

    2. [Absence.] Inexistence -- N. {ant.
     1} inexistence, nonentity; nation-
    state.
V. vanish, cease; event, come about.
\tAdj. absent &amp;c (away) 187, lacking1, the missing etc.
Adv. never.

2. BEING, IN THE CONCRETE

3. Substantiality -- N. thing, object; reality, fact, deed.
V. take place, happen.
</pre></html>
"""


@pytest.fixture
def roget(tmp_path):
    path = tmp_path / "roget.txt"
    path.write_text(ROGET)
    return path


def pairs(path, relation, source="roget", **options):
    return [pair[:2] for pair in read_roget(path, **options) if pair[2:] == (relation, source)]


def test_text_is_parsed_into_heads_parts_and_clean_groups(roget):
    first, second, third = parse_roget(roget)
    assert first[:2] == ("1", "Existence")
    assert first.paragraphs == {
        "N": [[["existence", "being", "entity"], ["fact", "matter of fact"]], [["life", "vitality"]]],
        "V": [[["exist", "be"], ["have being"], ["occur"]]],
        "Adv": [[["really", "truly"]]],
    }
    assert second[:2] == ("2", "Inexistence")
    assert second.paragraphs == {
        "N": [[["inexistence", "nonentity"], ["nation-state"]]],
        "V": [[["vanish", "cease"], ["event", "come about"]]],
        "Adj": [[["absent", "lacking", "missing"]]],
        "Adv": [[["never"]]],
    }
    assert third[:2] == ("3", "Substantiality")


def test_references_to_other_heads_are_kept_with_their_keyword(roget):
    first, second, third = parse_roget(roget)
    assert first.references == [
        Reference("N", "fact", "", "3"), Reference("V", "occur", "event", "2"), Reference("V", "occur", "thing", "3"),
    ]  # fmt: skip
    assert second.references == [Reference("Adj", "absent", "away", "187")]
    assert third.references == []


def test_synonyms_are_the_items_of_one_group(roget):
    found = pairs(roget, "synonym")
    assert ("existence", "entity") in found and ("event", "come about") in found
    assert ("existence", "fact") not in found and ("fact", "thing") not in found


def test_a_reference_joins_the_group_that_holds_it_or_its_keyword_or_else_the_leading_one(roget):
    assert pairs(roget, "synonym", "roget-reference", references=True) == [
        ("fact", "reality"), ("fact", "deed"),  # 3 holds `fact` itself, not in its leading group
        ("occur", "event"), ("occur", "come about"),  # 2 holds `event`
        ("occur", "take place"), ("occur", "happen"),  # 3 holds neither among its verbs
    ]  # fmt: skip
    assert not pairs(roget, "synonym", "roget-reference")


def test_antonyms_are_leading_groups_of_facing_heads_nearest_ranks_first(roget):
    found = pairs(roget, "antonym", antonym_cap=100)
    assert found[:2] == [("existence", "inexistence"), ("exist", "vanish")]
    assert set(found) == {
        *((a, b) for a in ("existence", "being", "entity") for b in ("inexistence", "nonentity")),
        *((a, b) for a in ("exist", "be") for b in ("vanish", "cease")),
    }  # neither adverbs, nor a part that only one head has, nor a later group
    assert pairs(roget, "antonym", antonym_cap=3) == found[:3]
    assert pairs(roget, "antonym") == found[:6]


def test_another_text_is_refused(tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("just a text\n")
    with pytest.raises(ValueError, match=r"other\.txt, line 1: no heads"):
        parse_roget(path)
    path.write_bytes(ROGET.encode() + b"\n\xe9")
    with pytest.raises(ValueError, match=r"other\.txt, line \d\d: not valid UTF-8"):
        parse_roget(path)


@pytest.fixture(scope="module")
def labels():
    """Antonyms drawn at random and read one by one: right if opposite or clearly contrasting in some common sense."""
    with open(LABELS, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_antonyms_drawn_after_the_cap_was_chosen_are_mostly_right(labels):
    final = [row for row in labels if row["sample"] == "final"]
    right = sum(row["label"] == "right" for row in final)
    interval = binomtest(right, len(final)).proportion_ci(method="wilson")
    assert len(final) == 100 and interval.low > 0.7


def test_labelled_precision_falls_with_the_rank_which_is_why_there_is_a_cap(labels):
    def precision(ranks):
        chosen = [row["label"] == "right" for row in labels if int(row["rank"]) in ranks and row["part"] != "Int"]
        return sum(chosen) / len(chosen)

    assert precision({0}) > precision({1, 2}) > precision({3, 4, 5}) > precision(set(range(6, 40)))


@pytest.fixture(scope="module")
def book():
    """All pairs of the real book."""
    path = cached("roget")
    if path is None:
        pytest.skip("needs the roget asset in the cache")
    return list(read_roget(path))


def test_what_was_labelled_is_what_the_reader_gives(labels, book):
    given = {frozenset(pair[:2]) for pair in book if pair.relation == "antonym"}
    assert all(frozenset((row["word"], row["other"])) in given for row in labels if row["sample"] == "final")
    # Most of the wrong ones that gave the cap its value are gone, and most of the right ones are kept.
    kept = {label: [] for label in ("right", "wrong")}
    for row in labels:
        if row["sample"] != "final":
            kept[row["label"]].append(frozenset((row["word"], row["other"])) in given)
    assert sum(kept["wrong"]) / len(kept["wrong"]) < 0.3 < 0.5 < sum(kept["right"]) / len(kept["right"])


def test_the_whole_book_gives_many_synonyms_and_at_most_the_cap_of_antonyms(book):
    antonyms = [pair[:2] for pair in book if pair.relation == "antonym"]
    assert len(book) - len(antonyms) > 150_000
    assert 1500 < len(antonyms) <= 6 * 307 and ("beautiful", "ugly") in antonyms
