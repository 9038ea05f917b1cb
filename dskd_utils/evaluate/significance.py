"""Standard errors, paired intervals and tests for differences between models (paper section 5, which gives none).

Pure functions on arrays: one value a question (or a word, a block of text), the same order for both models.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

# Resampled indices are drawn in slices of this many numbers, so that 10,000 resamples of MMLU stay below 100 MB.
_SLICE = 4_000_000


# The smallest difference that would matter: nats of the right answer's log-probability, nats a token of held-out text
# (0.01 is one percent of perplexity), shares of accuracy and agreement, areas and correlations. Set after a first small
# run had been seen and before the committed study; a smaller one is of no use to anybody who chooses a model.
SMALLEST = {"gold_logprob": 0.05, "nll": 0.01, "kl": 0.01, "area": 0.02, "correlation": 0.05}
SMALLEST |= dict.fromkeys(("acc", "acc_norm", "f1", "top1_agreement"), 0.02)


class Interval(NamedTuple):
    """A mean difference `a - b`, the ends of its interval, the number of questions behind it, and p against zero.

    `p` is two-sided and from the same resamples: twice the smaller share of them on one side of zero.
    """

    difference: float
    low: float
    high: float
    n: int
    p: float


def two_sided(drawn: np.ndarray) -> float:
    """p against zero of resampled differences: twice the smaller share on one side, never below 2 / (1 + resamples)."""
    return float(min(1.0, 2 * (1 + min((drawn <= 0).sum(), (drawn >= 0).sum())) / (1 + len(drawn))))


def _values(x: ArrayLike, name: str) -> np.ndarray:
    values = np.asarray(x, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError(f"{name} is empty: at least one question is needed")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds {np.sum(~np.isfinite(values))} NaN or infinite values: drop those questions")
    return values


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = _values(a, "a"), _values(b, "b")
    if a.size != b.size:
        raise ValueError(
            f"a has {a.size} values and b has {b.size}: both need one value for each of the same questions"
        )
    return a, b


def standard_error(x: ArrayLike) -> float:
    """Standard error of the mean of `x` (n,): sd / sqrt(n), which is sqrt(p (1 - p) / (n - 1)) for zeros and ones.

    NaN where n is 1, since one value says nothing about the spread.

    Raises:
        ValueError: `x` is empty or not finite.
    """
    values = _values(x, "x")
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Interval:
    """Percentile interval of the mean of `a - b` over resampled questions, or over whole resampled clusters.

    Args:
        a: one value a question for the first model, shape (n,).
        b: the same questions' values for the second model, shape (n,).
        resamples: number of bootstrap samples.
        seed: of the resampling; the same seed gives the same interval.
        level: coverage, between 0 and 1.
        clusters: labels (n,) of what has to be drawn together (the word of a pair, the paragraph of a question).

    Raises:
        ValueError: empty, unequal or not finite values; a level outside (0, 1); fewer than one resample.
    """
    a, b = _pairs(a, b)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a coverage between 0 and 1 such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1 (10,000 is usual)")
    sums, sizes = a - b, np.ones(a.size)
    if clusters is not None:
        labels = np.asarray(clusters).ravel()
        if labels.size != a.size:
            raise ValueError(
                f"clusters has {labels.size} labels for {a.size} questions: one label a question is needed"
            )
        _, member = np.unique(labels, return_inverse=True)
        sums, sizes = np.bincount(member, weights=a - b), np.bincount(member).astype(np.float64)
    rng = np.random.default_rng(seed)
    units = sums.size
    rows = max(1, _SLICE // units)
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, units, size=(min(rows, resamples - start), units))
        means[start : start + rows] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(a - b)), float(low), float(high), int(a.size), two_sided(means))


def other_seeds(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How far the mean over other training seeds may lie from that of these, (draws,): Student's t of their values.

    Zero where there is one seed, which says nothing of others.
    """
    if len(values) < 2:
        return np.zeros(draws)
    return rng.standard_t(len(values) - 1, draws) * values.std(ddof=1) / np.sqrt(len(values))


def crossed_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Interval:
    """Percentile interval of the mean of `a - b` over resampled questions and further training seeds together.

    Questions are drawn anew in every resample. Two to five seeds drawn from each other would vary too little, so the
    mean over seeds moves by Student's t with their standard error: the interval holds for other seeds and questions.

    Args:
        a, b: one value a seed and question, shape (s, n), row i of both from the same seed.
        resamples, seed, level, clusters: as in `paired_bootstrap`.

    Raises:
        ValueError: as in `paired_bootstrap`; fewer than two seeds.
    """
    a, b = np.atleast_2d(np.asarray(a, dtype=np.float64)), np.atleast_2d(np.asarray(b, dtype=np.float64))
    if a.shape != b.shape or len(a) < 2:
        raise ValueError(f"a is {a.shape} and b {b.shape}: both need (seeds, questions) with two seeds or more")
    _pairs(a, b)
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level is {level} and resamples {resamples}, expected a level in (0, 1) and at least 1 draw")
    labels = np.arange(a.shape[1]) if clusters is None else np.asarray(clusters).ravel()
    if labels.size != a.shape[1]:
        raise ValueError(f"clusters has {labels.size} labels for {a.shape[1]} questions: one label a question")
    _, member = np.unique(labels, return_inverse=True)
    sizes = np.bincount(member).astype(np.float64)
    sums = np.stack([np.bincount(member, weights=row) for row in a - b])  # (s, clusters)
    rng, units = np.random.default_rng(seed), sizes.size
    rows, means = max(1, _SLICE // units), np.empty(resamples)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = rng.multinomial(units, np.full(units, 1 / units), count)  # (count, clusters)
        means[start : start + rows] = drawn @ sums.mean(0) / (drawn @ sizes)
    means += other_seeds(sums.sum(1) / sizes.sum(), resamples, rng)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(a - b)), float(low), float(high), int(a.shape[1]), two_sided(means))


def paired_seeds(a: ArrayLike, b: ArrayLike, *, clusters: ArrayLike | None = None, **draws) -> Interval:
    """`crossed_bootstrap` where a side has several seeds, else `paired_bootstrap`.

    Args:
        a, b: (s, n), or (1, n) of what has no seeds, such as a teacher, which stands beside every seed of the other.
        clusters, draws: as in `paired_bootstrap`.
    """
    a, b = np.atleast_2d(np.asarray(a, dtype=np.float64)), np.atleast_2d(np.asarray(b, dtype=np.float64))
    many = max(len(a), len(b))
    if many == 1:
        return paired_bootstrap(a[0], b[0], clusters=clusters, **draws)
    a, b = (np.repeat(side, many, axis=0) if len(side) == 1 else side for side in (a, b))
    return crossed_bootstrap(a, b, clusters=clusters, **draws)


def verdict(low: float, high: float, smallest: float) -> str:
    """What an interval of a difference says, given the smallest difference that would matter.

    `"higher"` or `"lower"` where it leaves out zero, with `", by less than matters"` where it lies within the smallest
    difference too; `"the same"` where it holds zero and lies within it; else `"not told apart"`.
    """
    within = -smallest < low and high < smallest
    if low > 0 or high < 0:
        return ("higher" if low > 0 else "lower") + (", by less than matters" if within else "")
    return "the same" if within else "not told apart"


def mcnemar(a_correct: ArrayLike, b_correct: ArrayLike) -> float:
    """Two-sided exact (binomial) McNemar p-value for two models' right and wrong answers, both (n,) of 0 and 1.

    1.0 where the models never disagree.

    Raises:
        ValueError: empty or unequal lengths; values other than 0 and 1.
    """
    a, b = _pairs(a_correct, b_correct)
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError(
            "McNemar's test needs right (1) or wrong (0) for every question: use paired_bootstrap for scores"
        )
    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p-values, in the order given; one call is one family of tests.

    Raises:
        ValueError: no p-value, or one outside [0, 1].
    """
    p = _values(p_values, "p_values")
    if (p < 0).any() or (p > 1).any():
        raise ValueError("a p-value lies outside [0, 1]: holm takes unadjusted p-values")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
