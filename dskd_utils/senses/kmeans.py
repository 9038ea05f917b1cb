"""k-means of many small ragged problems at once (paper, section 3.1).

Every token of the vocabulary is a clustering problem of its own, with 1 to 2,000 vectors. Problems of about
the same size are padded to one length and solved together. All that is done to a problem (its padded length, its
random numbers, its restarts) depends on its own rows, on k and on the seed, so neither the order of the problems
nor who shares a batch changes a result.

Three things make it fast. Problems of up to `GRAM_LENGTH` vectors are solved on their inner products alone, which
makes a restart nearly free: small problems are the ones where one unlucky seeding costs much. Larger problems are
seeded and brought near their end in a subspace of `SKETCH` dimensions, spanned by some of their own vectors, and
finished on the vectors themselves. And one buffer serves all batches, since fresh memory costs more than the
arithmetic here.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

SIZE_STEP = 1.25  # neighbouring padded lengths differ by this factor: at most a fifth of a batch is padding
MEMORY_BYTES = 16 * 2**20  # padded vectors of one batch, fp32; more does not pay on a CPU, a GPU likes 512 MB
GRAM_LENGTH = 128  # longest problem that is solved on its inner products
RESTARTS = 4  # of those problems; the best counts
SKETCH = 32  # dimensions in which longer problems are begun
SKETCH_ITERATIONS = 50
ALIGNMENT = 16  # widths are padded to 64 bytes: products of matrices that begin elsewhere may round otherwise


@dataclass(frozen=True)
class KMeansResult:
    """Clusters of all problems.

    Attributes:
        centroids: `(sum k_t, d)` fp32 (or the dtype of `out`), problem after problem.
        offsets: `(t + 1,)` int64, the rows of problem `i` are `offsets[i]:offsets[i + 1]`.
        labels: `(n,)` int64, cluster of each vector within its problem, 0 to `k_t - 1`.
        inertia: `(t,)` fp32, sum of squared distances to the nearest centroid.
    """

    centroids: Tensor
    offsets: Tensor
    labels: Tensor
    inertia: Tensor


def centroid_offsets(offsets: Tensor, k: int | Tensor) -> Tensor:
    """Boundaries `(t + 1,)` int64 of the `min(k, n_t)` centroids of each group; the last is the number of rows."""
    sizes = offsets.diff()
    counts = torch.minimum(sizes, torch.as_tensor(k, dtype=torch.int64, device=sizes.device))
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def batched_kmeans(
    values: Tensor,
    offsets: Tensor,
    k: int | Tensor,
    *,
    seed: int = 0,
    max_iter: int = 100,
    tol: float = 1e-3,
    memory_bytes: int = MEMORY_BYTES,
    device: torch.device | str | None = None,
    out: Tensor | None = None,
) -> KMeansResult:
    """Cluster `t` ragged groups of vectors, each into `min(k, n_t)` clusters (section 3.1; NOTES 3 to 5).

    Seeding is k-means++ with the greedy trials of Arthur and Vassilvitskii's authors' code, as scikit-learn does
    it; then Lloyd's iterations, each problem until an iteration lowers its inertia by less than the share `tol`
    (0: until no label changes). A cluster that loses all its vectors moves to the vector that is worst served. A
    group with at most `k` vectors keeps them as they are. Accumulates in fp32, whatever `values` is stored in.

    `values` may be a memory-mapped file, of which one batch is read at a time, and `out` another one, so that
    neither has to fit in memory. A call that was cut off has left no state: calling again gives the same bytes.

    Args:
        values: `(n, d)` floating, groups one after another.
        offsets: `(t + 1,)` int64, group boundaries; empty groups are allowed and get no centroid.
        k: clusters a group, one number or `(t,)` int64.
        seed: of the random numbers, which are the same for every group with the same k.
        max_iter: most Lloyd iterations.
        tol: least relative fall of the inertia that is worth another iteration.
        memory_bytes: bound on the padded vectors of one batch (one group is a batch at least).
        device: where to compute; the device of `values` if None.
        out: `(sum k_t, d)` floating, receives the centroids (`centroid_offsets` says how many). A file behind it
            should have its blocks reserved: a full disk under a memory map ends the process.

    Raises:
        ValueError: shapes do not fit, `k` is below 1, or a vector is not finite.
    """
    groups = offsets.numel() - 1
    if values.ndim != 2 or groups < 0 or int(offsets[-1]) != len(values) or bool((offsets.diff() < 0).any()):
        last = offsets[-1].item() if offsets.numel() else "nothing"
        raise ValueError(f"offsets must end at the {len(values)} rows of values and never fall: the last is {last}")
    device = values.device if device is None else torch.device(device)
    offsets = offsets.cpu()
    wanted = torch.as_tensor(k, dtype=torch.int64).cpu().expand(groups)
    if groups and int(wanted.min()) < 1:
        raise ValueError(f"k must be at least 1 for every group: got {int(wanted.min())}")
    bounds = centroid_offsets(offsets, wanted)
    shape = (int(bounds[-1]), values.shape[1])
    if out is None:
        out = torch.empty(shape, dtype=torch.float32, device=values.device)
    if out.shape != shape:
        raise ValueError(f"out has the shape {tuple(out.shape)}, but {shape[0]} centroids of width {shape[1]} come")
    sizes = offsets.diff()
    result = KMeansResult(
        out,
        bounds.to(values.device),
        torch.empty(len(values), dtype=torch.int64, device=values.device),
        torch.zeros(groups, device=values.device),
    )
    _keep_vectors(values, offsets, bounds, (sizes <= wanted).nonzero().flatten(), result, memory_bytes)

    clustered = (sizes > wanted).nonzero().flatten()
    longest = int(sizes.max()) if len(clustered) else 0
    width = -(-shape[1] // ALIGNMENT) * ALIGNMENT
    buffer = torch.empty(max(memory_bytes // 4, _lengths(longest)[-1] * width), device=values.device)
    with tqdm(total=int(sizes[clustered].sum()), desc="k-means", unit="row", unit_scale=True, delay=5) as bar:
        for clusters, length, batch in _batches(clustered, sizes, wanted, width, memory_bytes):
            count = sizes[batch]
            points = buffer[: len(batch) * length * width].view(len(batch), length, width)
            points[..., shape[1] :] = 0
            for place, start, size in zip(points, offsets[batch].tolist(), count.tolist(), strict=True):
                place[:size, : shape[1]] = values[start : start + size]
                place[size:] = 0
            found, labels, cost = _solve(points.to(device), count.to(device), clusters, seed, max_iter, tol)
            rows = bounds[batch][:, None] + torch.arange(clusters)
            out[rows.flatten().to(out.device)] = found[..., : shape[1]].flatten(0, 1).to(out)
            real = torch.arange(length) < count[:, None]
            where = (offsets[batch][:, None] + torch.arange(length))[real]
            result.labels[where.to(values.device)] = labels[real.to(device)].to(values.device)
            result.inertia[batch.to(values.device)] = cost.to(values.device)
            bar.update(len(where))
    return result


def _keep_vectors(values, offsets, bounds, groups, result, memory_bytes) -> None:
    """Groups with at most k vectors: the vectors themselves are the centroids."""
    sizes = offsets.diff()[groups]
    step = torch.arange(int(sizes.sum())) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    source = offsets[groups].repeat_interleave(sizes) + step
    target = bounds[groups].repeat_interleave(sizes) + step
    result.labels[source.to(values.device)] = step.to(values.device)
    chunk = max(1, memory_bytes // (4 * max(values.shape[1], 1)))
    for rows, places in zip(source.split(chunk), target.split(chunk), strict=True):
        kept = values[rows.to(values.device)].float()
        _check_finite(kept.sum(1))
        result.centroids[places.to(result.centroids.device)] = kept.to(result.centroids)


def _check_finite(numbers: Tensor) -> None:
    """Takes a number a vector that is not finite where the vector is not."""
    if not bool(torch.isfinite(numbers).all()):
        raise ValueError("a vector is not finite (NaN or infinity): check the teacher's hidden states")


def _lengths(longest: int) -> list[int]:
    """The geometric grid of padded lengths, up to the first that holds `longest` vectors."""
    grid = [8]
    while grid[-1] < longest:
        grid.append(max(grid[-1] + 1, int(grid[-1] * SIZE_STEP)))
    return grid


def _batches(groups: Tensor, sizes: Tensor, wanted: Tensor, width: int, memory_bytes: int):
    """Groups of one k and one padded length, as many at a time as the memory holds: `(k, length, groups)`."""
    if not len(groups):
        return
    grid = torch.tensor(_lengths(int(sizes[groups].max())))
    kinds = torch.stack([wanted[groups], grid[torch.searchsorted(grid, sizes[groups])]])
    kinds, member = kinds.unique(dim=1, return_inverse=True)
    for kind, (clusters, length) in enumerate(kinds.T.tolist()):
        for batch in groups[member == kind].split(max(1, memory_bytes // (4 * length * width))):
            yield clusters, length, batch


def _solve(points: Tensor, count: Tensor, k: int, seed: int, max_iter: int, tol: float):
    """Centroids `(b, k, d)`, labels `(b, n)` and inertia `(b,)` of problems `(b, n, d)` whose padding is zero."""
    b, n, _ = points.shape
    mask = (torch.arange(n, device=points.device) < count[:, None]).float()
    # Centring keeps the differences of large squared norms accurate in fp32.
    shift = points.sum(1, keepdim=True) / count[:, None, None]
    points = points.baddbmm_(mask[..., None], shift, alpha=-1)
    norms = torch.linalg.vector_norm(points, dim=2).square()
    _check_finite(norms)
    if k == 1:
        return shift, torch.zeros(b, n, dtype=torch.int64, device=points.device), norms.sum(1)
    small = n <= GRAM_LENGTH
    draws = torch.rand(
        RESTARTS if small else 1,
        k,
        2 + int(math.log(k)),
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float64,
    ).to(points.device)
    if small:
        gram = torch.bmm(points, points.transpose(1, 2))
        weights = _seed_rows(gram, norms, count, draws, gram=True)
        weights, labels, cost = _lloyd(gram, norms, mask, weights, max_iter, tol, gram=True)
    else:
        rows = torch.arange(SKETCH, device=points.device) * count[:, None] // SKETCH
        some = points.gather(1, rows[..., None].expand(-1, -1, points.shape[2]))
        sketch = torch.bmm(points, torch.linalg.qr(some.transpose(1, 2)).Q)
        lengths = sketch.square().sum(2)
        weights = _seed_rows(sketch, lengths, count, draws)
        weights, _, _ = _lloyd(sketch, lengths, mask, weights, SKETCH_ITERATIONS, tol)
        weights, labels, cost = _lloyd(points, norms, mask, weights[:, None], max_iter, tol)
    return torch.bmm(weights, points).add_(shift), labels, cost


def _seed_rows(vectors: Tensor, norms: Tensor, count: Tensor, draws: Tensor, *, gram: bool = False) -> Tensor:
    """Greedy k-means++: of several candidates drawn by squared distance, take the one that lowers the cost most.

    Args:
        vectors: `(b, n, r)` points, or with `gram` their inner products `(b, n, n)`.
        norms: `(b, n)` squared lengths, 0 on padding.
        count: `(b,)` real points.
        draws: `(restarts, k, trials)` fp64 in [0, 1).

    Returns:
        `(b, restarts, k, n)` the centres as weights on the points: a one for each chosen point.
    """
    (b, n), (restarts, k, trials) = norms.shape, draws.shape
    batch = torch.arange(b, device=norms.device)[:, None]

    def distances(picks: Tensor) -> Tensor:  # (b, c) -> (b, c, n)
        own = norms.gather(1, picks)[..., None]
        if gram:
            return torch.add(own, vectors[batch, picks], alpha=-2).add_(norms[:, None])
        return torch.baddbmm(own, vectors[batch, picks], vectors.transpose(1, 2), alpha=-2).add_(norms[:, None])

    chosen = [(draws[:, 0, 0] * count[:, None]).long()]
    real = torch.arange(n, device=norms.device) < count[:, None]
    closest = distances(chosen[0]).clamp_(min=0) * real[:, None]  # (b, restarts, n)
    for step in range(1, k):
        cumulative = closest.cumsum(2, dtype=torch.float64)
        total = cumulative[..., -1:]
        picks = torch.searchsorted(cumulative, draws[:, step] * total, right=True)
        picks = torch.minimum(picks, count[:, None, None] - 1)
        # Where all points coincide the cumulative sum is zero and any of them serves.
        picks = picks.masked_fill_(total == 0, 0)
        lowered = distances(picks.flatten(1)).view(b, restarts, trials, n).clamp_(min=0)
        lowered = torch.minimum(lowered, closest[:, :, None])
        best = lowered.sum(3).argmin(2, keepdim=True)
        chosen.append(picks.gather(2, best)[..., 0])
        closest = lowered.gather(2, best[..., None].expand(-1, -1, -1, n))[:, :, 0]
    weights = torch.zeros(b, restarts, k, n, device=norms.device)
    return weights.scatter_(3, torch.stack(chosen, 2)[..., None], 1.0)


def _lloyd(vectors: Tensor, norms: Tensor, mask: Tensor, weights: Tensor, max_iter: int, tol: float, *, gram=False):
    """Lloyd's iterations on centres that are given as weights on the points `(b, restarts, k, n)`.

    Takes `vectors` and `norms` as `_seed_rows` does, `mask` `(b, n)` fp32. Of each problem's restarts the best counts.

    Returns:
        weights `(b, k, n)`, and the labels `(b, n)` and the inertia `(b,)` under these centres.
    """
    b, restarts, k, n = weights.shape
    device = weights.device
    best, best_labels = torch.empty(b, k, n, device=device), torch.empty(b, n, dtype=torch.int64, device=device)
    inertia = torch.empty(b, device=device)
    active, live = torch.arange(b, device=device), torch.ones(b, dtype=torch.bool, device=device)
    previous, last = None, torch.full((b, restarts), torch.inf, device=device)
    for iteration in range(max_iter + 1):
        flat = weights.flatten(1, 2)
        if gram:
            inner = torch.bmm(flat, vectors)
            distance = torch.add((flat * inner).sum(2, keepdim=True), inner, alpha=-2)
        else:
            centres = torch.bmm(flat, vectors)
            squares = centres.square().sum(2, keepdim=True)
            distance = torch.baddbmm(squares, centres, vectors.transpose(1, 2), alpha=-2)
        cost, labels = distance.view_as(weights).min(2)  # (b, restarts, n), less the points' own squared lengths
        cost = cost.add_(norms[:, None]).clamp_(min=0).mul_(mask[:, None])
        total = cost.sum(2)
        ones = mask[:, None, None].expand(-1, restarts, 1, n)
        member = torch.zeros_like(weights).scatter_(2, labels[:, :, None], ones)
        size = member.sum(3, keepdim=True)
        empty = size[..., 0] == 0
        going = (last - total > tol * total) | empty.any(2)
        if previous is not None:
            going &= (labels != previous).any(2)
        done = live & ~going.any(1) if iteration < max_iter else live
        if bool(done.any()):
            # A problem that has settled keeps the centres that its labels and its cost were computed for.
            at = done.nonzero().flatten()
            winner = total[at].argmin(1)
            best[active[at]], best_labels[active[at]] = weights[at, winner], labels[at, winner]
            inertia[active[at]] = total[at, winner]
            live = live & ~done
            if not bool(live.any()):
                break
        weights = member.div_(size.clamp_(min=1))
        if bool(empty.any()):
            worst = cost.argsort(dim=2, descending=True, stable=True)  # stable: padding comes last
            point = worst.gather(2, (empty.cumsum(2) - 1).clamp_(min=0))
            moved = torch.zeros_like(weights).scatter_(3, point[..., None], 1.0)
            weights = torch.where(empty[..., None], moved, weights)
        previous, last = labels, total
        if 2 * int(live.sum()) <= len(live):  # copying what is left costs about as much as an iteration
            left = live.nonzero().flatten()
            vectors, norms, mask, weights = vectors[left], norms[left], mask[left], weights[left]
            previous, last, active, live = previous[left], last[left], active[left], live[left]
    return best, best_labels, inertia
