"""Areas, rank correlations and shares with bootstrap intervals over words and training seeds; no section of the paper.

Items of one word are drawn together, and the draws depend on the words and the seed of the draws alone: so each model's
values are computed once, and a difference of two models is taken draw by draw.
"""

from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dskd_utils.evaluate.significance import other_seeds, two_sided

RESAMPLES = 10_000  # p is at least 2 in as many, and Holm's family is a table of a hundred comparisons
_SLICE = 1_000_000  # resampled weights at a time, 8 MB


class Estimate(NamedTuple):
    """A value or difference, its bootstrap standard error and interval, the two-sided p against 0, and the items."""

    value: float
    stderr: float
    low: float
    high: float
    p: float
    n: int


def _beneath(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For every item the weight of those below it and half of that of its equals, (r, n)."""
    order = np.argsort(values, kind="stable")
    total = np.pad(np.cumsum(weights[:, order], axis=1), ((0, 0), (1, 0)))
    left, right = (np.searchsorted(values[order], values, side) for side in ("left", "right"))
    return (total[:, left] + total[:, right]) / 2


def area(weights: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The area under the ROC curve (r,) of scores (n,) for labels 0 and 1 (n,), in draws of weights (r, n)."""
    ones, zeros = weights * (labels == 1), weights * (labels != 1)
    return (ones * _beneath(zeros, scores)).sum(1) / (ones.sum(1) * zeros.sum(1))


def rank_correlation(weights: np.ndarray, scores: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Spearman's correlation (r,) of scores (n,) with gold values (n,), in draws of weights (r, n)."""
    total = weights.sum(1, keepdims=True)
    x, y = (_beneath(weights, values) for values in (scores, gold))  # ranks, but for a constant
    x, y = (ranks - (weights * ranks).sum(1, keepdims=True) / total for ranks in (x, y))
    return (weights * x * y).sum(1) / np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))


def accuracy(weights: np.ndarray, right: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The share (r,) of what is right (n,), 0 or 1, in draws of weights (r, n)."""
    return weights @ right / weights.sum(1)


def bootstrap_auc(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    other: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The area under the ROC curve with its percentile interval, or the difference of two models' areas.

    Args:
        scores, labels: (n,), high scores for label 1 and low for 0; equal scores count half.
        other: a second model's scores of the same items: the difference `scores - other` over the same draws.
        clusters: labels (n,) of what is drawn together; None draws items.
        resamples: number of draws; those without one of the labels are left out.
        level: coverage of the interval.
        seed: of the draws.

    Raises:
        ValueError: not one finite value for each item, labels other than 0 and 1 or only one of them.
    """
    arrays = [np.asarray(x, dtype=float).ravel() for x in (scores, labels, scores if other is None else other)]
    units = np.arange(arrays[0].size) if clusters is None else np.asarray(clusters).ravel()
    if len({units.size, *(x.size for x in arrays)}) > 1 or not all(np.isfinite(x).all() for x in arrays):
        raise ValueError("scores, labels, other and clusters need one finite value for each of the same items")
    if set(arrays[1]) != {0, 1}:
        raise ValueError("an AUC needs items of both labels, 0 and 1, and no others")
    check_draws(resamples, level)
    drawn = [
        drawn_values(area, row[None], arrays[1], units, resamples, seed)
        for row in ([arrays[0]] if other is None else [arrays[0], arrays[2]])
    ]
    return estimate(drawn[0], None if other is None else drawn[1], arrays[0].size, level, seed)


def check_draws(resamples: int, level: float) -> None:
    """Refuse what cannot be drawn.

    Raises:
        ValueError: fewer than two draws, or a level outside (0, 1).
    """
    if not 0 < level < 1 or resamples < 2:
        raise ValueError(f"level is {level} and resamples {resamples}, expected a level in (0, 1) and at least 2 draws")


def drawn_values(
    statistic: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    scores: np.ndarray,
    gold: np.ndarray,
    clusters: np.ndarray,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """A statistic of scores `(s, n)` of s training seeds: `(1 + r, s)`, of all items, then of draws of whole clusters.

    The draws depend on the clusters and the seed alone, so those of two models can be taken from each other.
    """
    units, member = np.unique(clusters, return_inverse=True)
    even, rng = np.full(len(units), 1 / max(1, len(units))), np.random.default_rng(seed)
    rows = max(1, _SLICE // max(1, len(gold)))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)] if len(units) > 1 else []
    draws = (rng.multinomial(len(units), even, size)[:, member].astype(float) for size in sizes)
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw without one of the labels has no value
        return np.concatenate([
            np.stack([statistic(weights, row, gold) for row in scores], axis=1)
            for weights in chain([np.ones((1, len(gold)))], draws)
        ])  # fmt: skip


def estimate(one: np.ndarray, other: np.ndarray | None, n: int, level: float, seed: int) -> Estimate:
    """What is estimated of `n` items from `drawn_values` of a model, or of the difference of two over the same draws.

    The value is the mean over training seeds, the same seeds for both models where both have several; a resample also
    moves it as other seeds may, `significance.other_seeds`.
    """
    both = [side.shape[1] for side in (one, other) if side is not None]
    many = max(both)
    if set(both) - {1, many}:
        raise ValueError(f"two models have {both[0]} and {both[1]} seeds: give both as many, or one of them one")
    found = one if other is None else one - other
    drawn, whole = found[1:].mean(1), float(found[0].mean())
    drawn = drawn + other_seeds(found[0], len(drawn), np.random.default_rng([seed, 1]))
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size < 2:
        return Estimate(whole, *[np.nan] * 4, n)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    p = float("nan") if other is None else two_sided(drawn)  # a single value is not compared with 0
    return Estimate(whole, float(drawn.std(ddof=1)), float(low), float(high), p, n)
