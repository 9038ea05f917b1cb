"""k-means of many small ragged problems at once (paper, section 3.1).

Every token of the vocabulary is a clustering problem of its own, with 1 to 2,000 vectors. Problems of about
the same size are padded to one length and solved together; the length depends on the problem's own size
alone, so the result does not depend on which problems happen to share a batch.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIZE_STEP = 1.25  # neighbouring padded lengths differ by this factor: at most a fifth of a batch is padding
MEMORY_BYTES = 128 * 2**20  # padded vectors of one batch, fp32


@dataclass(frozen=True)
class KMeansResult:
    """Clusters of all problems.

    Attributes:
        centroids: `(sum k_t, d)` fp32, problem after problem.
        offsets: `(t + 1,)` int64, the rows of problem `i` are `offsets[i]:offsets[i + 1]`.
        labels: `(n,)` int64, cluster of each vector within its problem, 0 to `k_t - 1`.
        inertia: `(t,)` fp32, sum of squared distances to the nearest centroid.
    """

    centroids: Tensor
    offsets: Tensor
    labels: Tensor
    inertia: Tensor


def batched_kmeans(
    values: Tensor,
    offsets: Tensor,
    k: int | Tensor,
    *,
    seed: int = 0,
    max_iter: int = 100,
    tol: float = 1e-4,
    memory_bytes: int = MEMORY_BYTES,
) -> KMeansResult:
    """Cluster `t` ragged groups of vectors, each into `min(k, n_t)` clusters (section 3.1; NOTES 3 to 5).

    Seeding is k-means++ with the greedy trials of Arthur and Vassilvitskii's authors' code, as scikit-learn
    does it; then Lloyd's iterations, each problem until its centroids move by less than `tol` times the mean
    variance of its dimensions. A group with at most `k` vectors keeps them as they are. Accumulates in fp32.

    Args:
        values: `(n, d)` floating, groups one after another.
        offsets: `(t + 1,)` int64, group boundaries; empty groups are allowed and get no centroid.
        k: clusters a group, one number or `(t,)` int64.
        seed: of the seeding's random numbers, which are drawn group by group.
        max_iter: most Lloyd iterations.
        tol: relative tolerance on the squared movement of the centroids.
        memory_bytes: bound on the padded vectors of one batch.

    Raises:
        ValueError: shapes do not fit, `k` is below 1, or a vector is not finite.
    """
    groups = offsets.numel() - 1
    if values.ndim != 2 or groups < 0 or int(offsets[-1]) != len(values):
        raise ValueError(f"offsets must end at the {len(values)} rows of values: got {offsets[-1].item()}")
    wanted = torch.as_tensor(k, dtype=torch.int64).expand(groups)
    if groups and int(wanted.min()) < 1:
        raise ValueError("k must be at least 1 for every group")
    sizes = offsets.diff().cpu()
    k_t = torch.minimum(wanted.cpu(), sizes)
    out_offsets = torch.cat([torch.zeros(1, dtype=torch.int64), k_t.cumsum(0)])
    device, width = values.device, values.shape[1]
    centroids = torch.empty(int(out_offsets[-1]), width, device=device)
    labels = torch.empty(len(values), dtype=torch.int64, device=device)
    inertia = torch.zeros(groups, device=device)

    trials = 2 + int(math.log(max(int(wanted.max()), 1))) if groups else 2
    draws = torch.rand(
        groups, int(wanted.max()) if groups else 1, trials, generator=torch.Generator().manual_seed(seed)
    )
    small = sizes <= wanted.cpu()
    _keep_vectors(values, offsets.cpu(), small.nonzero().flatten(), out_offsets, centroids, labels)

    order = torch.argsort(torch.where(small, -1, sizes), stable=True)
    order = order[int(small.sum()) :]
    for batch in _batches(order, sizes, width, memory_bytes):
        length = _padded(int(sizes[batch].max()))
        index, mask = _padding(offsets.cpu()[batch], sizes[batch], length)
        points = values[index.to(device)].float() * mask.to(device)[..., None]
        if not bool(torch.isfinite(points).all()):
            raise ValueError("a vector is not finite (NaN or infinity): check the teacher's hidden states")
        found, assigned, cost = _solve(
            points, mask.to(device), k_t[batch].to(device), draws[batch].to(device), max_iter, tol
        )
        rows, used = _padding(out_offsets[batch], k_t[batch], int(k_t[batch].max()))
        centroids[rows[used].to(device)] = found[used.to(device)]
        labels[index[mask].to(device)] = assigned[mask.to(device)]
        inertia[batch.to(device)] = cost
    return KMeansResult(centroids, out_offsets.to(device), labels, inertia)


def _keep_vectors(values, offsets, groups, out_offsets, centroids, labels) -> None:
    """Groups with at most k vectors: the vectors themselves are the centroids."""
    if not len(groups):
        return
    sizes = offsets.diff()[groups]
    index, mask = _padding(offsets[groups], sizes, max(int(sizes.max()), 1))
    rows, _ = _padding(out_offsets[groups], sizes, index.shape[1])
    kept = values[index[mask].to(values.device)].float()
    if not bool(torch.isfinite(kept).all()):
        raise ValueError("a vector is not finite (NaN or infinity): check the teacher's hidden states")
    centroids[rows[mask].to(values.device)] = kept
    labels[index[mask].to(values.device)] = torch.arange(index.shape[1]).expand_as(index)[mask].to(values.device)


def _padded(size: int) -> int:
    """The least length of the geometric grid that holds `size` vectors."""
    length = 8
    while length < size:
        length = max(length + 1, int(length * SIZE_STEP))
    return length


def _batches(order: Tensor, sizes: Tensor, width: int, memory_bytes: int):
    """Cut problems sorted by size into batches of one padded length within the memory bound."""
    start = 0
    while start < len(order):
        length = _padded(int(sizes[order[start]]))
        most = max(1, memory_bytes // (length * width * 4))
        stop = start + 1
        while stop < len(order) and stop - start < most and int(sizes[order[stop]]) <= length:
            stop += 1
        yield order[start:stop]
        start = stop


def _padding(starts: Tensor, sizes: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Row numbers `(b, length)` of ragged groups and the mask of the real ones; padding repeats row `start`."""
    steps = torch.arange(length)
    mask = steps < sizes[:, None]
    return torch.where(mask, starts[:, None] + steps, starts[:, None]), mask


def _distances(points: Tensor, norms: Tensor, centres: Tensor) -> Tensor:
    """Squared distances `(b, n, c)` of points `(b, n, d)` to centres `(b, c, d)`, never negative."""
    squares = centres.square().sum(-1)
    products = torch.bmm(points, centres.transpose(1, 2))
    return (norms[..., None] + squares[:, None, :] - 2 * products).clamp_(min=0)


def _seed_centres(points: Tensor, mask: Tensor, k_t: Tensor, draws: Tensor) -> Tensor:
    """Greedy k-means++: of several candidates drawn by squared distance, take the one that lowers the cost most."""
    b, n, d = points.shape
    most, trials = int(k_t.max()), draws.shape[2]
    rows = torch.arange(b, device=points.device)
    norms = points.square().sum(-1)
    first = (draws[:, 0, 0] * mask.sum(1)).long()
    centres = torch.zeros(b, most, d, device=points.device)
    centres[:, 0] = points[rows, first]
    closest = _distances(points, norms, centres[:, :1])[..., 0] * mask
    for step in range(1, most):
        cumulative = closest.double().cumsum(1)
        targets = draws[:, step].double() * cumulative[:, -1:]
        picks = torch.searchsorted(cumulative, targets).clamp(max=n - 1)
        # Where all points coincide the cumulative sum is zero and any of them serves.
        picks = torch.where(cumulative[:, -1:] > 0, picks, 0)
        candidates = points.gather(1, picks[..., None].expand(b, trials, d))
        lowered = torch.minimum(_distances(points, norms, candidates), closest[..., None]) * mask[..., None]
        best = lowered.sum(1).argmin(1)
        centres[:, step] = candidates[rows, best]
        closest = lowered[rows, :, best]
    return centres


def _solve(points, mask, k_t, draws, max_iter, tol) -> tuple[Tensor, Tensor, Tensor]:
    """Centroids `(b, K, d)`, labels `(b, n)` and inertia `(b,)` of equal-length padded problems."""
    b, n, d = points.shape
    counts = mask.sum(1).clamp(min=1)
    # Centring keeps the differences of large squared norms accurate in fp32.
    shift = points.sum(1, keepdim=True) / counts[:, None, None]
    points = (points - shift) * mask[..., None]
    tolerance = tol * points.square().sum(1).mean(1) / counts
    centres = _seed_centres(points, mask, k_t, draws)
    final_centres, final_labels = centres.clone(), torch.zeros(b, n, dtype=torch.int64, device=points.device)
    final_cost = torch.zeros(b, device=points.device)
    active = torch.arange(b, device=points.device)
    unused = torch.arange(centres.shape[1], device=points.device) >= k_t[:, None]
    for iteration in range(max_iter + 1):
        norms = points.square().sum(-1)
        distances = _distances(points, norms, centres).masked_fill_(unused[:, None, :], torch.inf)
        cost, labels = distances.min(-1)
        cost = cost * mask
        final_centres[active], final_labels[active], final_cost[active] = centres, labels, cost.sum(1)
        if iteration == max_iter:
            break
        moved = _update(points, mask, centres, labels, cost, unused)
        going = (moved - centres).square().sum((1, 2)) > tolerance
        # A problem that has settled keeps the centroids that its labels and its cost were computed for.
        centres = moved
        if not bool(going.any()):
            break
        if int(going.sum()) < len(active):
            points, mask, centres, unused = points[going], mask[going], centres[going], unused[going]
            tolerance, active = tolerance[going], active[going]
    return final_centres + shift, final_labels, final_cost


def _update(points, mask, centres, labels, cost, unused) -> Tensor:
    """Means of the assigned points; an empty cluster takes the point that is worst served."""
    member = torch.nn.functional.one_hot(labels, centres.shape[1]).to(points.dtype) * mask[..., None]
    count = member.sum(1)
    means = torch.bmm(member.transpose(1, 2), points) / count.clamp(min=1)[..., None]
    empty = (count == 0) & ~unused
    if bool(empty.any()):
        worst = cost.argsort(1, descending=True)
        rank = (empty.cumsum(1) - 1).clamp(min=0)
        index = worst.gather(1, rank)[..., None].expand(-1, -1, points.shape[2])
        means = torch.where(empty[..., None], points.gather(1, index), means)
    return torch.where(unused[..., None], centres, means)
