"""Numbers of senses a token: what each criterion promises, on made-up states whose answer is known."""

import itertools

import pytest
import torch

from dskd_utils.senses import adaptive
from dskd_utils.senses.adaptive import (
    CRITERIA,
    GRID,
    held_out_errors,
    inertia_curves,
    k_by_bic,
    k_by_distortion,
    k_by_square_root,
    quantisation_errors,
    rows_of,
    sense_counts,
    split_by_block,
)
from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.senses.sample import SamplePlan


def clouds(clusters: int, count: int, width: int, generator: torch.Generator, spread: float = 0.05) -> torch.Tensor:
    """States of a token that has this many well separated senses."""
    centres = torch.randn(clusters, width, generator=generator) * 3
    return centres[torch.arange(count) % clusters] + spread * torch.randn(count, width, generator=generator)


def ragged(groups: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat(groups), torch.tensor([0, *map(len, groups)]).cumsum(0)


@pytest.fixture(scope="module")
def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of 0 to 90 states with 1 to 6 senses, of width 6."""
    generator = torch.Generator().manual_seed(3)
    sizes = [(1, 0), (1, 1), (1, 2), (2, 7), (1, 40), (3, 90), (6, 60), (4, 12)]
    return ragged([clouds(*size, 6, generator, 0.5) for size in sizes])


def test_curves_fall_from_the_spread_around_the_mean_to_nothing(tokens):
    values, offsets = tokens
    curves = inertia_curves(values, offsets)
    assert curves.shape == (8, len(GRID))
    assert (curves.diff(dim=1) <= 0).all()
    for row, (start, stop) in enumerate(itertools.pairwise(offsets.tolist())):
        group = values[start:stop]
        if len(group):
            torch.testing.assert_close(curves[row, 0], (group - group.mean(0)).square().sum(), rtol=1e-4, atol=1e-4)
        assert (curves[row, torch.tensor(GRID) >= len(group)] == 0).all()


@pytest.mark.parametrize("width", [4, 64])
def test_bic_finds_the_planted_senses(width):
    generator = torch.Generator().manual_seed(0)
    planted = [1, 2, 3, 6, 8, 10]
    values, offsets = ragged([clouds(n, 240, width, generator) for n in planted])
    found = k_by_bic(inertia_curves(values, offsets), offsets.diff(), width)
    assert found.tolist() == planted


def test_bic_of_states_that_are_all_the_same_is_one_sense():
    values, offsets = ragged([torch.full((30, 5), 2.5), torch.ones(1, 5), torch.ones(0, 5), torch.ones(2, 5)])
    assert k_by_bic(inertia_curves(values, offsets), offsets.diff(), 5).tolist() == [1, 1, 1, 1]
    thrice = torch.tensor([[1.0, 2.0], [3.0, 5.0], [-4.0, 1.0]]).repeat(20, 1)
    assert k_by_bic(inertia_curves(thrice, torch.tensor([0, 60])), torch.tensor([60]), 2).tolist() == [3]


def test_bic_does_not_follow_a_few_repetitions():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(31, 64, generator=generator)
    values[30] = values[0]  # with 30 clusters nothing is left
    curves = inertia_curves(values, torch.tensor([0, 31]))
    assert curves[0, GRID.index(30)] < 1e-3
    assert k_by_bic(curves, torch.tensor([31]), 64).tolist() == [1]
    for total in (1, 5, 30):
        assert int(k_by_bic(curves, torch.tensor([31]), 64, total=total)) <= 15


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("total", [8, 20, 45, 90, 10_000])
def test_a_total_is_kept_and_no_token_has_more_senses_than_states(tokens, criterion, total):
    values, offsets = tokens
    counts = offsets.diff()
    k = sense_counts(criterion, inertia_curves(values, offsets), counts, 6, total=total)
    assert k.dtype == torch.int64 and (k >= 1).all() and (k <= counts.clamp(min=1, max=GRID[-1])).all()
    assert int(k[counts > 0].sum()) <= total
    assert int(torch.minimum(k, counts).sum()) == len(batched_kmeans(values, offsets, k).centroids)


def test_a_total_below_one_sense_a_token_gives_one_each(tokens):
    values, offsets = tokens
    curves = inertia_curves(values, offsets)
    for criterion in CRITERIA:
        assert sense_counts(criterion, curves, offsets.diff(), 6, total=3).tolist() == [1] * 8


@pytest.mark.parametrize("total", [9, 17, 30, 61, 100, 139])
def test_square_root_rule_meets_its_total(tokens, total):
    values, offsets = tokens
    counts = offsets.diff()
    curves = inertia_curves(values, offsets)
    k = k_by_square_root(curves[:, 0], counts, total, most=40)
    assert int(k[counts > 0].sum()) == total
    free = counts > 40
    order = curves[free, 0].argsort()
    assert k[free][order].diff().min() >= 0  # more spread never gets fewer
    full = (k == counts.clamp(max=40)) & (counts > 0)
    share = (curves[:, 0].sqrt() / k)[(counts > 0) & ~full & (k > 1)]
    assert total < 17 or share.max() / share.min() < 2.1  # in proportion, to a whole number


def test_distortion_rule_is_optimal_for_the_size_that_it_uses(tokens):
    values, offsets = tokens
    ks = (1, 2, 4, 8)
    counts = offsets.diff()
    curves = inertia_curves(values, offsets, ks)
    sizes = torch.minimum(counts[:, None], torch.tensor(ks))
    every = torch.tensor(list(itertools.product(range(len(ks)), repeat=len(counts) - 1)))
    rows = torch.arange(1, len(counts))
    cost, size = curves[rows, every].double().sum(1), sizes[rows, every].sum(1)
    last = 0
    for total in range(7, 50, 3):
        k = k_by_distortion(curves, counts, total, ks)
        used = int(torch.minimum(k, counts).sum())
        chosen = torch.tensor([next(i for i, n in enumerate(ks) if min(n, c) == min(int(v), c))
                               for v, c in zip(k[1:], counts[1:].tolist(), strict=True)])  # fmt: skip
        mine = curves[rows, chosen].double().sum()
        assert mine <= cost[size <= used].min() * (1 + 1e-6) + 1e-6
        assert last <= used <= total
        last = used


def test_a_dearer_parameter_never_gives_bic_more_senses(tokens):
    values, offsets = tokens
    curves = inertia_curves(values, offsets)
    used = [int(k_by_bic(curves, offsets.diff(), 6, total=total)[1:].sum()) for total in range(7, 120, 6)]
    assert used == sorted(used)


def test_held_out_states_are_judged_and_never_clustered(tokens):
    values, offsets = tokens
    held = torch.arange(len(values)) % 3 == 0
    choices = {"fixed": lambda _, counts: counts.clamp(1, 4), "more": lambda _, counts: counts.clamp(1, 8)}
    errors, sizes, of = held_out_errors(values, offsets, held, choices)
    kept, kept_offsets = rows_of(values, offsets, ~held)
    found = batched_kmeans(kept, kept_offsets, 4)
    expected, tokens_of = [], []
    for token, (start, stop) in enumerate(itertools.pairwise(offsets.tolist())):
        senses = found.centroids[found.offsets[token] : found.offsets[token + 1]]
        for row in range(start, stop):
            if held[row] and len(senses):
                expected.append((values[row] - senses).square().sum(1).min())
                tokens_of.append(token)
    torch.testing.assert_close(errors["fixed"], torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert of.tolist() == tokens_of
    assert sizes["fixed"] == len(found.centroids) < sizes["more"]
    moved = values.clone()
    moved[held] += 100
    again = held_out_errors(moved, offsets, held, choices)
    assert again[1] == sizes and (again[0]["fixed"] > errors["fixed"]).all()


def test_parts_of_the_tokens_give_what_all_together_give(tokens, monkeypatch):
    values, offsets = tokens
    held = torch.arange(len(values)) % 3 == 0
    choices = {"distortion": lambda curves, counts: sense_counts("distortion", curves, counts, 6, total=30)}
    curves, whole = inertia_curves(values, offsets), held_out_errors(values, offsets, held, choices)
    for rows in (1, 50, 100):
        monkeypatch.setattr(adaptive, "ROWS", rows)
        torch.testing.assert_close(inertia_curves(values, offsets), curves)
        parts = held_out_errors(values, offsets, held, choices)
        torch.testing.assert_close(parts[0]["distortion"], whole[0]["distortion"])
        assert parts[1] == whole[1] and torch.equal(parts[2], whole[2])


def test_a_token_without_senses_has_no_error():
    values, offsets = ragged([torch.zeros(2, 3), torch.ones(1, 3)])
    errors = quantisation_errors(values, offsets, torch.zeros(1, 3), torch.tensor([0, 1, 1]))
    assert errors[:2].tolist() == [0, 0] and errors[2].isnan()


def test_blocks_are_held_out_whole():
    position = torch.arange(0, 6000, 3)
    text = torch.arange(2000) // 1000
    plan = SamplePlan(text.int(), position % 3000, torch.tensor([0, 2000]), ("a", "b"), "next", 5, 0)
    held = split_by_block(plan, 30, share=0.3, seed=1)
    assert 0.2 < held.float().mean() < 0.4
    assert torch.equal(held, split_by_block(plan, 30, share=0.3, seed=1))
    assert not torch.equal(held, split_by_block(plan, 30, share=0.3, seed=2))
    for number in (0, 1):
        for block in range(100):
            here = (plan.text == number) & (plan.position // 30 == block)
            assert held[here].unique().numel() <= 1
    assert not torch.equal(held[:1000], held[1000:])  # the texts are drawn apart


def test_what_cannot_be_asked():
    curves, counts = torch.ones(2, len(GRID)), torch.tensor([3, 4])
    with pytest.raises(ValueError, match="'aic' is not one of bic, square-root, distortion, bic-own"):
        sense_counts("aic", curves, counts, 3)
    with pytest.raises(ValueError, match="'distortion' shares out a total"):
        sense_counts("distortion", curves, counts, 3)
