"""Tests of the sense maps (paper, Figure 1)."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from dskd_utils.senses.maps import project, word_contexts, word_states

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
