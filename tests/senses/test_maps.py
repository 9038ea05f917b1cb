"""Tests of the sense maps (paper, Figure 1)."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch.testing import assert_close

from dskd_utils.senses import maps
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.maps import (
    cohesion,
    composed_senses,
    neighbour_mix,
    project,
    sense_map,
    word_contexts,
    word_states,
)

TEXTS = ["the river bank was dark, the banks ran", "a bank is warm", "Bank and light", "very light"]


def test_contexts_are_whole_lower_case_words_with_what_leads_up_to_them():
    found = word_contexts(TEXTS, ["bank", "light"], per_word=9)
    assert found.word.tolist() == ["bank", "bank", "light", "light"]
    assert set(found.before) == {"the river", "a", "Bank and", "very"}


def test_no_more_contexts_than_asked_and_the_same_for_a_seed():
    one, two = (word_contexts(TEXTS * 50, ["bank", "sad"], per_word=5, seed=3) for _ in range(2))
    assert len(one) == 5 and one.equals(two)


def test_states_are_those_that_expect_or_have_read_the_word(llama):
    contexts = pd.DataFrame({"word": ["happy", "happygloomy"], "before": [" the river is very", " the bank was"]})
    before = llama.tokenizer(contexts.before.tolist())["input_ids"]
    spans = llama.tokenizer([" happy", " happygloomy"])["input_ids"]
    for key, offset in (("next", 1), ("input", 0)):
        found = word_states(llama, contexts, key=key)
        for row, (lead, span) in enumerate(zip(before, spans, strict=True)):
            states = llama.model.model(torch.tensor([lead + span])).last_hidden_state[0]
            assert_close(found[row], states[len(lead) - offset :][: len(span)].mean(0), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="key 'middle' is not one of"):
        word_states(llama, contexts, key="middle")


def test_states_stand_behind_the_token_that_starts_a_text(llama):
    tokenizer = copy.deepcopy(llama.tokenizer)
    bos = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = bos
    contexts = pd.DataFrame({"word": ["happygloomy", "happy"], "before": [" the river is very", ""]})
    for key, offset in (("next", 1), ("input", 0)):
        found = word_states(replace(llama, tokenizer=tokenizer), contexts, key=key)
        for row, (word, before) in zip(found, contexts.itertuples(index=False), strict=True):
            lead, span = tokenizer(before)["input_ids"], llama.tokenizer(f" {word}")["input_ids"]
            assert lead[0] == tokenizer.bos_token_id
            states = llama.model.model(torch.tensor([lead + span])).last_hidden_state[0]
            assert_close(row, states[len(lead) - offset :][: len(span)].mean(0), atol=1e-5, rtol=1e-4)


def test_states_do_not_depend_on_the_other_contexts_of_a_batch(llama):
    befores = ["the river", "the river is very warm and", "", "a", "bright light was the bank of"]
    contexts = pd.DataFrame({"word": ["bank", "happy", "light", "happygloomy", "sad"], "before": befores})
    for key in ("next", "input"):
        together = word_states(llama, contexts, key=key, batch_size=5)
        assert_close(together, word_states(llama, contexts, key=key, batch_size=1), atol=1e-5, rtol=1e-4)


def test_both_maps_keep_separate_clusters_apart_and_are_the_same_for_a_seed():
    draw = np.random.default_rng(0)
    vectors = np.concatenate([draw.normal(size=(20, 8)), draw.normal(size=(20, 8)) + 30]).astype("f")
    layout, scores = project(vectors, neighbours=5)
    assert set(scores) == {"t-SNE", "UMAP"} and min(scores.values()) > 0.7
    for name in scores:
        xy = layout[[f"{name}_x", f"{name}_y"]].to_numpy()
        within = np.linalg.norm(xy[:20] - xy[:20].mean(0), axis=1).mean()
        assert np.linalg.norm(xy[:20].mean(0) - xy[20:].mean(0)) > 2 * within
    assert layout.equals(project(vectors, neighbours=5)[0])


def test_too_few_vectors_are_refused():
    with pytest.raises(ValueError, match="at least 12 vectors, got 2"):
        project(np.zeros((2, 3)))


@pytest.fixture(scope="module")
def dictionary(llama):
    """Two senses of every token but that of `gloomy`, of no training."""
    torch.manual_seed(1)
    counts = torch.full((llama.vocab_size,), 2)
    counts[llama.tokenizer(" gloomy")["input_ids"]] = 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    none = torch.empty(0, dtype=torch.int64)
    vectors = 3 * torch.randn(int(offsets[-1]), llama.hidden_size)
    return SenseDictionary(vectors.bfloat16(), offsets, [], none.view(0, 2), none, none, offsets[:1], none, offsets[:1])


@pytest.fixture
def contexts():
    return word_contexts(["the river bank is warm, a bright light, very sad, the bank light"] * 4, WORDS, per_word=5)


WORDS = ["bank", "light", "sad", "hotcold", "gloomy"]


def test_senses_of_a_word_of_several_tokens_are_composed_and_unknown_ones_left_out(llama, dictionary):
    found = composed_senses(dictionary, llama.tokenizer, WORDS)
    assert list(found) == ["bank", "light", "sad", "hotcold"]
    (bank,), parts = llama.tokenizer(" bank")["input_ids"], llama.tokenizer(" hotcold")["input_ids"]
    assert_close(found["bank"], dictionary.token_senses(bank).float())
    assert len(parts) > 1
    assert_close(found["hotcold"], compose_span([dictionary.token_senses(token) for token in parts]))


def test_a_map_holds_contexts_with_their_nearest_senses_and_senses_with_their_shares(
    llama, dictionary, contexts, tmp_path
):
    made = sense_map(tmp_path, llama, dictionary, contexts, WORDS, neighbours=4)
    points, states = made.points, word_states(llama, contexts)
    assert points.kind.tolist() == ["context"] * len(contexts) + ["sense"] * 8
    assert points.text[: len(contexts)].tolist() == contexts.before.tolist()
    assert_close(torch.from_numpy(made.vectors[: len(contexts)]), states)
    senses = composed_senses(dictionary, llama.tokenizer, WORDS)
    for state, point in zip(states, points.itertuples(), strict=False):
        distance = (senses[point.word] - state).norm(dim=1)
        assert point.sense == int(distance.argmin()) + 1 and point.distance == pytest.approx(
            float(distance.min()), 1e-4
        )
    for point, vector in zip(points[points.kind == "sense"].itertuples(), made.vectors[len(contexts) :], strict=True):
        assert_close(senses[point.word][point.sense - 1], torch.from_numpy(vector))
        own = points[(points.word == point.word) & (points.kind == "context")]
        assert point.share == pytest.approx((own.sense == point.sense).mean() if len(own) else 0)
    coordinates = [f"{method}_{axis}" for method in made.scores for axis in "xy"]
    assert len(coordinates) == 4 and points[coordinates].notna().all().all()


def test_a_second_call_reads_the_file_and_another_input_makes_another_map(
    llama, dictionary, contexts, tmp_path, monkeypatch
):
    first = sense_map(tmp_path, llama, dictionary, contexts, WORDS, neighbours=4)

    def refuse(*_, **__):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(maps, "word_states", refuse)
        patch.setattr(maps, "project", refuse)
        second = sense_map(tmp_path, llama, dictionary, contexts, WORDS, neighbours=4)
        for changed in (
            (contexts[1:].reset_index(drop=True), WORDS, {"neighbours": 4}),
            (contexts, WORDS[1:], {"neighbours": 4}),
            (contexts, WORDS, {"neighbours": 5}),
            (contexts, WORDS, {"neighbours": 4, "seed": 1}),
            (contexts, WORDS, {"neighbours": 4, "key": "input"}),
        ):
            with pytest.raises(AssertionError, match="computed again"):
                sense_map(tmp_path, llama, dictionary, *changed[:2], **changed[2])
        other = replace(dictionary, vectors=dictionary.vectors + 1)
        with pytest.raises(AssertionError, match="computed again"):
            sense_map(tmp_path, llama, other, contexts, WORDS, neighbours=4)
    pd.testing.assert_frame_equal(first.points.reset_index(drop=True), second.points)
    assert (first.vectors == second.vectors).all() and first.scores == second.scores and first.folder == second.folder


def test_cohesion_compares_different_words_of_a_group_with_all_others():
    points = pd.DataFrame({"kind": ["context"] * 5 + ["sense"], "word": ["a", "a", "b", "c", "c", "a"]})
    vectors = np.array([[0.0], [1], [3], [10], [12], [0]])
    found = cohesion(points, vectors, {"near": ["a", "b"], "alone": ["c"]}).set_index(["of", "group"])
    row = found.loc["contexts", "near"]
    assert row.points == 3
    assert row.within == pytest.approx((3 + 2) / 2), "a point's nearness to its own word does not count"
    assert row["to others"] == pytest.approx((10 + 12 + 9 + 11 + 7 + 9) / 6)
    assert row.ratio == pytest.approx(row.within / row["to others"])
    assert np.isnan(found.loc["contexts", "alone"].within) and np.isnan(found.loc["senses", "near"].ratio)


def test_neighbours_of_other_words_are_counted_against_chance():
    points = pd.DataFrame({"kind": ["context"] * 8 + ["sense"], "word": [*"aabbcccd", "a"]})
    vectors = np.array([[0.0], [1], [13], [21], [20.4], [29], [22], [500], [0.5]])
    found = neighbour_mix(points, vectors, neighbours=2).set_index("word")
    assert found.contexts.to_dict() == {"a": 2, "b": 2, "c": 3}, "a single context has no neighbour of its own word"
    assert found["other words"].to_dict() == {"a": 0, "b": 1, "c": pytest.approx(3 / 6)}
    assert found["by chance"].tolist() == pytest.approx([6 / 7, 6 / 7, 5 / 7])
    assert found.ratio["c"] == pytest.approx(0.5 / (5 / 7))
    assert found["most often"].to_dict() == {"a": "", "b": "c", "c": "b"}
    assert neighbour_mix(points[:1], vectors[:1]).empty
