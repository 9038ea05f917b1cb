"""Words in a model's own space: occurrences that are what they say, and synonyms above antonyms where they are."""

import numpy as np
import pandas as pd
import pytest
import torch

from dskd_utils.distill.students import make_student
from dskd_utils.evaluate.own_space import (
    LEFT,
    own_space_records,
    within_sets,
    word_contexts,
    word_senses,
    word_states,
    word_vectors,
)
from dskd_utils.evaluate.probe_data import similarity_records
from dskd_utils.evaluate.probes import probe_table
from dskd_utils.sources.wikipedia import Document

TEXTS = [
    "The happy river runs. A Happy dog.",
    "Sad and happy, the bank was dark " + "x" * 200 + " and so happy.",
    "happy at the start, glad later, and glad again",
    "Nobody is glad.",
]


def contexts(**options):
    return word_contexts(
        [Document("t", str(i), text) for i, text in enumerate(TEXTS)], ["happy", "glad", "no"], **options
    )


def test_occurrences_are_those_of_the_word_and_at_most_one_a_document():
    found = contexts()
    assert found.groupby("word").size().to_dict() == {"glad": 2, "happy": 2}, "a word that opens a text has no context"
    for row in found.itertuples():
        assert row.text[row.start : row.end].lower() == row.word and row.text.endswith(row.text[row.start : row.end])
        assert 0 < row.start <= LEFT
    assert contexts(occurrences=1).groupby("word").size().to_dict() == {"glad": 1, "happy": 1}
    assert contexts(seed=1).equals(contexts(seed=1))


def test_a_model_reads_the_occurrences_itself(llama):
    states = word_states({"llama": llama.model}, llama.tokenizer, contexts())
    assert {word: rows.shape for word, rows in states["llama"].items()} == dict.fromkeys(
        ("glad", "happy"), (2, llama.hidden_size)
    )
    vectors = word_vectors(states)["llama"]
    torch.testing.assert_close(vectors["happy"], states["llama"]["happy"].mean(0))
    one = contexts().query("word == 'glad'").head(1)
    alone = word_states({"llama": llama.model}, llama.tokenizer, one)["llama"]["glad"][0]
    assert min((alone - row).abs().max() for row in states["llama"]["glad"]) < 1e-4, "a row is an occurrence's"


def test_models_that_begin_alike_have_the_vectors_that_each_has_alone(llama):
    models = {"teacher": llama.model, "student": make_student(llama, 4).as_model()}
    together = word_states(models, llama.tokenizer, contexts())
    for name, model in models.items():
        alone = word_states({name: model}, llama.tokenizer, contexts())[name]
        for word, rows in alone.items():
            torch.testing.assert_close(together[name][word], rows, atol=1e-5, rtol=1e-4)
    assert (together["teacher"]["happy"] - together["student"]["happy"]).abs().max() > 0.1


def test_synonyms_that_lie_nearer_have_an_area_of_one():
    near, far = torch.tensor([1.0, 0.1]), torch.tensor([-1.0, 0.1])
    vectors = {"good": {"a": near, "b": near, "c": far, "d": far}, "bad": {"a": near, "b": far, "c": near, "d": far}}
    rows = [("a", "b", "synonym", 1), ("c", "d", "synonym", 2), ("a", "c", "antonym", 1), ("b", "d", "antonym", 2),
            ("a", "x", "antonym", 1)]  # fmt: skip
    pairs = pd.DataFrame(rows, columns=["word", "other", "relation", "held_out"]).assign(set="s")
    records = own_space_records(vectors, pairs)
    assert records.cosine.isna().sum() == 2, "a word without a vector"
    table = probe_table(records, [("good", "bad")], resamples=20)
    value = table[(table.subset == "all") & (table.measure == "cosine")].set_index(["model", "minus"]).value
    assert value["good", ""] == 1.0 and value["bad", ""] == 0.0 and value["good", "bad"] == 1.0
    assert (
        set(table.subset) == {"all", "one held out", "both held out"} and (table.chance[table.minus == ""] == 0.5).all()
    )


def test_two_words_are_as_near_as_their_nearest_senses():
    axes = torch.eye(8)
    bank = torch.cat([axes[:1] * 5 + 0.01 * axes[2:5], axes[1:2] * 5 + 0.01 * axes[5:8]])  # two groups of three
    draw = torch.Generator().manual_seed(0)  # many words in all directions, so that every dimension has one scale
    states = {"m": {"bank": bank, "shore": axes[:1] * 5, "money": axes[1:2] * 5, "cloud": -axes[2:3] * 5}}
    states["m"] |= {str(i): rows for i, rows in enumerate(torch.randn(400, 2, 8, generator=draw))}
    senses, vectors = word_senses(states, 2), word_vectors(states)
    assert [len(senses["m"][word]) for word in ("bank", "shore", "money", "cloud")] == [2, 1, 1, 1]
    assert torch.equal(senses["m"]["shore"], states["m"]["shore"]), "few occurrences are the senses"
    rows = [("bank", "shore", "synonym"), ("bank", "money", "synonym"), ("bank", "cloud", "antonym"),
            ("shore", "money", "antonym")]  # fmt: skip
    pairs = pd.DataFrame(rows, columns=["word", "other", "relation"]).assign(set="s", held_out=1)
    found = own_space_records(vectors, pairs, senses)
    assert found.nearest[:2].min() > 0.95 > found.standardised[:2].max(), "the mean of two senses is near neither"
    assert found.nearest[3] == pytest.approx(found.standardised[3]) and found.nearest[2] < 0.5
    table = probe_table(found, resamples=20).set_index(["subset", "measure"]).value
    assert table["all", "nearest"] == 1.0
    assert "nearest" not in set(probe_table(own_space_records(vectors, pairs), resamples=20).measure)
    assert within_sets(found).nearest.max() == 1.0


def test_sets_with_scales_of_their_own_are_pooled_within_each():
    rng = np.random.default_rng(0)
    vectors = {"m": {str(i): torch.from_numpy(rng.normal(size=4)) for i in range(60)}}
    ends = rng.permuted(np.tile(np.arange(60), (50, 1)), axis=1)[:, :2].astype(str)
    pairs = pd.DataFrame(ends, columns=["word", "other"]).assign(set=["a"] * 30 + ["b"] * 20, held_out=[0, 1] * 25)
    cosines = similarity_records(vectors, pairs.assign(gold=0.0))["cosine"]
    # Each set's scores rise with the cosines; the second's are on another scale, and its words all far apart.
    gold = np.where(pairs["set"] == "a", cosines, 100 + cosines)
    records = similarity_records(vectors, pairs.assign(gold=gold)).assign(cosine=cosines - 5 * (pairs["set"] == "b"))
    value = {name: probe_table(of, resamples=20).set_index(["subset", "measure"]).value for name, of in
             (("raw", records), ("pooled", within_sets(records)))}  # fmt: skip
    assert value["raw"]["all", "cosine"] < 0 and value["pooled"]["all", "cosine"] > 0.99
    for measure in ("cosine", "standardised"):
        for name in ("a", "b"):
            assert value["raw"][name, measure] == pytest.approx(value["pooled"][name, measure])
        both = [value["raw"][name, measure] for name in ("a", "b")]
        assert value["pooled"]["all", measure] == pytest.approx(np.average(both, weights=[30, 20]), abs=0.02)
    assert value["pooled"]["held out", "cosine"] > 0.99


def test_a_pair_without_a_vector_has_no_place_in_its_set():
    vectors = {"m": {name: torch.tensor([float(i), 1.0]) for i, name in enumerate("abc")}}
    rows = [("a", "b", 9.0), ("a", "x", 5.0), ("b", "c", 1.0)]
    pairs = pd.DataFrame(rows, columns=["word", "other", "gold"]).assign(set="s", held_out=0)
    assert within_sets(similarity_records(vectors, pairs)).gold.fillna(0).tolist() == [1.0, 0.0, 0.5]
