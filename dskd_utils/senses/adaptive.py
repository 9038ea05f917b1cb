"""A number of senses for each token from its own states, the paper's future work (section 8; section 3.1 fixes k).

Three criteria, all of which read one table, the inertia of every token at a grid of k. The Bayesian information
criterion asks how many spherical Gaussians the states of a token speak for. The square-root rule looks at a token's
count and dispersion only. The rate-distortion rule spends centroids where they lower the squared distance most. Each
can be held to a total, so that dictionaries of equal size are compared: what it costs to store a dictionary and to
search it is the number of its centroids.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.senses.sample import SamplePlan

GRID = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40)  # numbers of senses that are tried
CRITERIA = ("bic", "square-root", "distortion")
OWN_TOTAL = "bic-own"  # BIC with as many senses in all as it asks for
STEPS = 60  # halvings of a bracket of the price
ROWS = 1 << 17  # states looked at together


def inertia_curves(values: Tensor, offsets: Tensor, ks: Sequence[int] = GRID, *, seed: int = 0) -> Tensor:
    """Inertia of every group at every number of clusters (section 3.1).

    Args:
        values: `(n, d)` floating, groups one after another; may be a memory map.
        offsets: `(t + 1,)` int64.
        ks: ascending numbers of clusters.
        seed: as in `batched_kmeans`.

    Returns:
        `(t, len(ks))` fp32, never rising along a row (a worse clustering with more clusters is not taken); 0 where
        `k` reaches the group's size.

    Raises:
        ValueError: as `batched_kmeans`.
    """
    rows = []
    for rows_here, bounds in _parts(values, offsets):
        rows.append(torch.stack([batched_kmeans(rows_here, bounds, k, seed=seed).inertia.cpu() for k in ks], 1))
    return torch.cat(rows).cummin(1).values


def _parts(*ragged: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Groups `(values, offsets, values, offsets, ...)` cut between groups, so that only a part has to be in memory."""
    starts, first = ragged[1], 0
    groups = len(starts) - 1
    while first < groups:
        last = int(torch.searchsorted(starts, starts[first] + ROWS, right=True)) - 1
        last = min(max(last, first + 1), groups)
        yield tuple(
            part
            for values, offsets in zip(ragged[::2], ragged[1::2], strict=True)
            for part in (values[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first])
        )
        first = last


def sense_counts(
    criterion: str,
    curves: Tensor,
    counts: Tensor,
    width: int,
    *,
    total: int | None = None,
    ks: Sequence[int] = GRID,
) -> Tensor:
    """The number of senses of every token by one of the `CRITERIA`, or by `OWN_TOTAL`.

    Args:
        criterion: `"bic"`, `"square-root"` or `"distortion"`, each held to a total, or `"bic-own"`, which is not.
        curves: `(t, len(ks))` fp32 of `inertia_curves`.
        counts: `(t,)` int64, states of each token.
        width: d.
        total: most senses of all tokens together, the counts of the tokens without states left out. Where it is below
            the number of tokens with states, each still gets one. `"bic-own"` does not look at it.
        ks: as in `inertia_curves`.

    Returns:
        `(t,)` int64, 1 to `counts`; 1 for a token without states, which gets no centroid whatever is asked.

    Raises:
        ValueError: an unknown criterion, or no total for a criterion that needs one.
    """
    if criterion == OWN_TOTAL:
        return k_by_bic(curves, counts, width, ks)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion {criterion!r} is not one of {', '.join(CRITERIA)}, {OWN_TOTAL}")
    if total is None:
        raise ValueError(f"criterion {criterion!r} shares out a total: give total=")
    if criterion == "square-root":
        return k_by_square_root(curves[:, 0], counts, total, most=max(ks))
    if criterion == "distortion":
        return k_by_distortion(curves, counts, total, ks)
    return k_by_bic(curves, counts, width, ks, total=total)


def k_by_bic(
    curves: Tensor, counts: Tensor, width: int, ks: Sequence[int] = GRID, *, total: int | None = None
) -> Tensor:
    """The k of the least BIC of k spherical Gaussians of one variance, equally probable, with hard assignments.

    For n states of width d with inertia W the variance is W / (d (n - k)), and k d + 1 numbers are fitted:
    BIC(k) = n d ln(2 pi W / (d (n - k))) + d (n - k) + 2 n ln k + (k d + 1) ln n (Pelleg and Moore's X-means, 2000,
    with equal proportions). A sense needs two states on average, k <= n / 2: with fewer the variance is that of a few
    near repetitions in the text, and BIC would follow these.

    Args:
        total: multiplies the last term, the price of a parameter, by the least factor with which all senses together
            are no more than this; None leaves the factor at 1.

    Returns:
        `(t,)` int64.
    """
    n, k = counts.double()[:, None], torch.tensor(ks, dtype=torch.float64)
    # Where the states of each cluster are all the same, what is left is rounding: it must not count as a better fit.
    inertia = curves.double().maximum(1e-6 * curves[:, :1].double() + torch.finfo(torch.float64).tiny)
    variance = inertia / (width * (n - k).clamp(min=1))
    misfit = n * width * torch.log(2 * torch.pi * variance) + width * (n - k) + 2 * n * k.log()
    price = ((k * width + 1) * n.clamp(min=1).log()).expand_as(misfit)
    misfit = misfit.masked_fill((2 * k > n) & (k > 1), torch.inf)
    return _cheapest(misfit, price, counts, ks, total, factor=None if total is not None else 1.0)


def k_by_distortion(curves: Tensor, counts: Tensor, total: int, ks: Sequence[int] = GRID) -> Tensor:
    """The k of each token that minimise the inertia summed over tokens for a total of senses (a Lagrangian).

    Entropy-constrained design of quantisers (Chou, Lookabaugh and Gray, 1989) with a centroid as the unit of rate.
    It knows the states that it is given only: a token with few of them gets its states themselves, at no error.
    """
    k = torch.tensor(ks, dtype=torch.float64)
    size = torch.minimum(counts.double()[:, None], k)
    return _cheapest(curves.double(), size.clamp(min=1), counts, ks, total)


def k_by_square_root(inertia: Tensor, counts: Tensor, total: int, *, most: int = GRID[-1]) -> Tensor:
    """Senses in proportion to the square root of a token's count times its dispersion, between 1 and `most`.

    Count times dispersion is the inertia around the mean. The square root lies between a number of senses that does
    not look at the states at all (exponent 0) and one that is proportional to their spread (exponent 1).

    Args:
        inertia: `(t,)` around the mean of each token's states.
        counts: `(t,)` int64.
        total: senses of all tokens together, met exactly where the bounds allow it.
        most: senses of one token.
    """
    highest = counts.clamp(max=most).double()
    lowest = highest.clamp(max=1)
    weight = inertia.double().clamp(min=0).sqrt()

    def shares(scale: float) -> Tensor:
        return torch.minimum((weight * scale).maximum(lowest), highest)

    low, high = 0.0, float(most / weight[weight > 0].min()) if bool((weight > 0).any()) else 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if float(shares(middle).sum()) <= total else (low, middle)
    found = shares(low)
    whole = found.floor()
    spare = max(0, min(int(total - whole.sum()), int((found > whole).sum())))
    whole[(found - whole).argsort(descending=True, stable=True)[:spare]] += 1
    return torch.minimum(whole, highest).clamp(min=1).long()


def _cheapest(misfit: Tensor, price: Tensor, counts: Tensor, ks: Sequence[int], total: int | None, factor=None):
    """For each row the k of least `misfit + factor * price`; without a factor, the least with which the total holds."""
    grid = torch.tensor(ks, dtype=torch.int64)

    def at(factor: float) -> Tensor:
        return torch.minimum(grid[(misfit + factor * price).argmin(1)], counts.clamp(min=1))

    def used(k: Tensor) -> int:
        return int(k[counts > 0].sum())

    if factor is not None:
        return at(factor)
    low, high = -60.0, 60.0  # powers of two: the sum falls as the price rises
    if used(at(2**low)) <= total:
        return at(2**low)
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if used(at(2**middle)) <= total else (middle, high)
    return at(2**high)


def split_by_block(plan: SamplePlan, block: int, *, share: float = 0.2, seed: int = 0) -> Tensor:
    """Which kept states stand in a held-out block of their text, so that no held-out state has a kept neighbour.

    Args:
        plan: of the sample.
        block: positions of a block.
        share: of the blocks, drawn with `seed`.

    Returns:
        `(n,)` bool.
    """
    blocks = plan.position // block
    held = torch.zeros(len(blocks), dtype=torch.bool)
    for number in range(len(plan.digests)):
        here = plan.text == number
        drawn = np.random.default_rng([seed, number]).random(int(blocks[here].max()) + 1 if bool(here.any()) else 0)
        held[here] = torch.from_numpy(drawn < share)[blocks[here]]
    return held


def rows_of(values: Tensor, offsets: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The rows `(m, d)` of ragged groups where `kept` `(n,)` bool holds, and their offsets `(t + 1,)`."""
    before = torch.cat([torch.zeros(1, dtype=torch.int64), kept.cumsum(0)])
    return values[kept], before[offsets]


def quantisation_errors(values: Tensor, offsets: Tensor, centroids: Tensor, bounds: Tensor) -> Tensor:
    """Squared L2 distance of every state to its token's nearest centroid.

    Args:
        values: `(n, d)` floating states, grouped by token.
        offsets: `(t + 1,)` int64 of the states.
        centroids: `(r, d)` floating.
        bounds: `(t + 1,)` int64 of the centroids.

    Returns:
        `(n,)` fp32, NaN where a token has no centroid.
    """
    errors = torch.full((len(values),), torch.nan)
    for token in (offsets.diff() * bounds.diff()).nonzero().flatten().tolist():
        rows = slice(int(offsets[token]), int(offsets[token + 1]))
        senses = centroids[int(bounds[token]) : int(bounds[token + 1])].float()
        # Not by the product of the two: where states are much longer than their differences it loses the digits.
        distances = torch.cdist(values[rows].float(), senses, compute_mode="donot_use_mm_for_euclid_dist")
        errors[rows] = distances.amin(1).square()
    return errors


def held_out_errors(
    values: Tensor,
    offsets: Tensor,
    held: Tensor,
    choices: dict[str, Callable[[Tensor, Tensor], Tensor]],
    *,
    ks: Sequence[int] = GRID,
    seed: int = 0,
) -> tuple[dict[str, Tensor], dict[str, int], Tensor]:
    """What each choice of k costs on states that were not clustered: squared distance to the nearest sense.

    Args:
        values, offsets: all states, grouped by token.
        held: `(n,)` bool, the states that are judged; the others are clustered.
        choices: for each name, from the curves and the counts of the clustered states to `(t,)` int64.
        ks, seed: as in `inertia_curves`.

    Returns:
        for each name the errors `(m,)` of the held-out states whose token has others; for each name how many senses it
        uses; and the token of each error `(m,)`.
    """
    kept_counts = rows_of(held, offsets, ~held)[1].diff()
    curves = [
        inertia_curves(*rows_of(rows, bounds, ~part), ks, seed=seed)
        for rows, bounds, part, _ in _parts(values, offsets, held, offsets)
    ]
    chosen = {name: choose(torch.cat(curves), kept_counts) for name, choose in choices.items()}
    errors: dict[str, list[Tensor]] = {name: [] for name in choices}
    tokens, first = [], 0
    for rows, bounds, part, _ in _parts(values, offsets, held, offsets):
        kept, kept_offsets = rows_of(rows, bounds, ~part)
        asked, asked_offsets = rows_of(rows, bounds, part)
        last = first + len(bounds) - 1
        of = torch.arange(first, last).repeat_interleave(asked_offsets.diff())
        known = kept_counts[of] > 0
        tokens.append(of[known])
        for name, k in chosen.items():
            found = batched_kmeans(kept, kept_offsets, k[first:last], seed=seed)
            errors[name].append(quantisation_errors(asked, asked_offsets, found.centroids, found.offsets)[known])
        first = last
    sizes = {name: int(torch.minimum(k, kept_counts).sum()) for name, k in chosen.items()}
    return {name: torch.cat(found) for name, found in errors.items()}, sizes, torch.cat(tokens)
