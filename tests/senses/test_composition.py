"""Tests of word-sense composition (paper, section 3.3)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from dskd_utils.senses.composition import compose_span, compose_spans


def plain_loop(senses):
    """Section 3.3 sense by sense."""
    out = []
    for first in senses[0]:
        aligned = [first]
        for token in senses[1:]:
            mean = sum(aligned) / len(aligned)
            aligned.append(min(token, key=lambda s, mean=mean: float((s - mean).norm())))
        out.append(sum(aligned) / len(aligned))
    return torch.stack(out)


def random_senses(counts, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(k, d, generator=generator) for k in counts]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 5))
def test_a_span_is_composed_as_the_section_says(counts, seed):
    senses = random_senses(counts, seed=seed)
    assert_close(compose_span(senses), plain_loop(senses))


def test_a_single_token_keeps_its_senses():
    (senses,) = random_senses([4])
    assert_close(compose_span([senses]), senses)


@pytest.mark.parametrize("length", [2, 3])
def test_many_spans_at_once_equal_one_by_one(length):
    counts = [3, 1, 4, 2, 5, 1]
    senses = random_senses(counts, seed=2)
    offsets = torch.tensor([0, *torch.tensor(counts).cumsum(0)])
    spans = torch.randint(len(counts), (20, length), generator=torch.Generator().manual_seed(3))
    composed, bounds = compose_spans(torch.cat(senses), offsets, spans, batch_rows=15)
    for i, span in enumerate(spans.tolist()):
        assert_close(composed[bounds[i] : bounds[i + 1]], compose_span([senses[token] for token in span]))


def test_tokens_without_senses_are_refused():
    with pytest.raises(ValueError, match="needs senses"):
        compose_span([torch.zeros(2, 3), torch.zeros(0, 3)])
    with pytest.raises(ValueError, match="no senses"):
        compose_spans(torch.zeros(2, 3), torch.tensor([0, 2, 2]), torch.tensor([[0, 1]]))
