"""Tests of batched k-means (paper, section 3.1)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch.testing import assert_close

from dskd_utils.senses.kmeans import batched_kmeans


def groups(sizes, d=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(sum(sizes), d, generator=generator)
    offsets = torch.tensor([0, *np.cumsum(sizes)])
    return values, offsets


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 6), st.integers(0, 3))
def test_every_group_gets_min_k_n_clusters_and_consistent_labels(sizes, k, seed):
    values, offsets = groups(sizes, seed=seed)
    result = batched_kmeans(values, offsets, k, seed=seed)
    assert result.offsets.diff().tolist() == [min(k, n) for n in sizes]
    for i, n in enumerate(sizes):
        x = values[offsets[i] : offsets[i + 1]]
        c = result.centroids[result.offsets[i] : result.offsets[i + 1]]
        labels = result.labels[offsets[i] : offsets[i + 1]]
        if n:
            # By differences: by inner products the distance of a state to itself need not be zero.
            nearest = torch.cdist(x, c, compute_mode="donot_use_mm_for_euclid_dist").min(1)
            assert_close(result.inertia[i], nearest.values.square().sum(), atol=1e-3, rtol=1e-3)
            assert_close((x - c[labels]).norm(dim=1), nearest.values, atol=2e-3, rtol=1e-3)


def test_small_groups_keep_their_vectors():
    values, offsets = groups([3, 1, 0, 12])
    result = batched_kmeans(values, offsets, 5)
    assert_close(result.centroids[:4], values[:4])
    assert result.inertia[:3].tolist() == [0, 0, 0] and result.labels[:4].tolist() == [0, 1, 2, 0]


def test_the_result_does_not_depend_on_the_size_of_a_batch():
    values, offsets = groups([30, 31, 7, 80, 33, 200, 29])
    whole = batched_kmeans(values, offsets, 4, seed=3)
    single = batched_kmeans(values, offsets, 4, seed=3, memory_bytes=1)
    assert torch.equal(whole.labels, single.labels)
    assert_close(whole.centroids, single.centroids)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(9)), st.integers(1, 6))
def test_the_order_of_the_groups_does_not_matter(order, k):
    sizes = [30, 3, 0, 150, 7, 31, 200, 12, 30]
    values, offsets = groups(sizes, seed=4)
    parts = [values[offsets[i] : offsets[i + 1]] for i in order]
    moved = batched_kmeans(torch.cat(parts), torch.tensor([0, *np.cumsum([len(part) for part in parts])]), k)
    straight = batched_kmeans(values, offsets, k)
    assert torch.equal(moved.inertia, straight.inertia[list(order)])
    for place, group in enumerate(order):
        here, there = (slice(r.offsets[i], r.offsets[i + 1]) for r, i in ((moved, place), (straight, group)))
        assert torch.equal(moved.centroids[here], straight.centroids[there])


def test_separate_clusters_are_found():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 16, generator=generator) * 20
    values = (centres[:, None] + torch.randn(5, 30, 16, generator=generator) * 0.1).flatten(0, 1)
    result = batched_kmeans(values, torch.tensor([0, 150]), 5)
    assert torch.cdist(centres, result.centroids).min(1).values.max() < 1


def test_inertia_is_as_good_as_scikit_learns():
    sizes = [20, 50, 90, 200, 40, 150] * 3
    values, offsets = groups(sizes, d=12, seed=5)
    ours = batched_kmeans(values, offsets, 8).inertia.double().mean().item()
    theirs = np.mean(
        [
            KMeans(8, n_init=1, random_state=0).fit(values[a:b].numpy()).inertia_
            for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ]
    )
    assert ours < theirs * 1.02


def test_duplicates_and_constant_groups_are_handled():
    values = torch.cat([torch.ones(20, 4), torch.zeros(10, 4), torch.ones(10, 4)])
    result = batched_kmeans(values, torch.tensor([0, 20, 40]), 3)
    assert torch.isfinite(result.centroids).all()
    assert_close(result.inertia, torch.zeros(2), atol=1e-5, rtol=0)


def test_k_can_differ_by_group():
    values, offsets = groups([30, 40, 50])
    result = batched_kmeans(values, offsets, torch.tensor([2, 5, 1]))
    assert result.offsets.diff().tolist() == [2, 5, 1]
    assert_close(result.centroids[-1], values[70:].mean(0), atol=1e-5, rtol=1e-4)


def test_one_more_iteration_never_raises_the_inertia():
    values, offsets = groups([60, 100])
    costs = [batched_kmeans(values, offsets, 6, max_iter=i, tol=0).inertia for i in range(8)]
    for before, after in zip(costs, costs[1:], strict=False):
        assert (after <= before + 1e-3).all()


def test_bf16_rows_are_accumulated_in_fp32():
    values, offsets = groups([64])
    half = batched_kmeans(values.bfloat16(), offsets, 4)
    assert half.centroids.dtype == torch.float32
    assert_close(half.centroids, batched_kmeans(values.bfloat16().float(), offsets, 4).centroids)


def test_bad_input_is_refused():
    values, offsets = groups([20])
    with pytest.raises(ValueError, match="not finite"):
        batched_kmeans(values.masked_fill(values > 1, torch.nan), offsets, 3)
    with pytest.raises(ValueError, match="k must be"):
        batched_kmeans(values, offsets, 0)
    with pytest.raises(ValueError, match="offsets must end"):
        batched_kmeans(values, torch.tensor([0, 5]), 3)
