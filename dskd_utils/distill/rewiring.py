"""Pairs that exchange their second words, level by level: the draw behind a control of section 4.2's sense loss.

Pure functions on whole numbers: a pair of a head and a target is `head * size + target`.
"""

import torch
from torch import Tensor

MIXING = 20  # rounds in which half of the neighbours are offered an exchange; a few are enough to forget the start
PATIENCE = 40  # rounds after these without one related pair less, and those left count as unavoidable


def exchange(
    heads: Tensor, targets: Tensor, level: Tensor, avoided: Tensor, size: int, generator: torch.Generator
) -> Tensor:
    """Which pair's target each of `n` pairs ends up with, `(n,)`, after as many rounds as are of use.

    Args:
        heads, targets: `(n,)` int64, the first rows of the two words.
        level: `(n,)` int64, of the target; pairs of one level exchange.
        avoided: ascending numbers `head * size + target` of pairs that should not come out.
        size: above every row.
        generator: of the random order.
    """
    taken = everywhere = torch.arange(len(targets))
    # Nothing is avoided at first: refusals from the start on would cut off outcomes of a small bin.
    for _ in range(MIXING):
        taken = _round(taken, everywhere, heads, targets, level, avoided[:0], size, generator)
    unwanted, waited = among(heads * size + targets[taken], avoided), 0
    while unwanted.any() and waited < PATIENCE:
        offered = torch.isin(level, level[unwanted]).nonzero().flatten()
        taken = _round(taken, offered, heads, targets, level, avoided, size, generator)
        before, unwanted = unwanted, among(heads * size + targets[taken], avoided)
        waited = waited + 1 if unwanted.sum() == before.sum() else 0
    return taken


def _round(
    taken: Tensor,
    offered: Tensor,
    heads: Tensor,
    targets: Tensor,
    level: Tensor,
    avoided: Tensor,
    size: int,
    generator: torch.Generator,
) -> Tensor:
    """One round: of the pairs offered, those of a level meet two by two and exchange targets where it is allowed.

    Refused are a self pair, a pair that is there or that another exchange of the round makes, and more pairs to be
    avoided than before.
    """
    order = offered[torch.randperm(len(offered), generator=generator)]
    order = order[torch.argsort(level[order], stable=True)]
    ordered = level[order]
    place = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    meet = (place[:-1] % 2 == 0) & (ordered[:-1] == ordered[1:])
    # Half of them at random: if four pairs always exchanged two by two, three of their nine outcomes would be reached.
    meet &= torch.rand(len(meet), generator=generator) < 0.5
    two = torch.stack([order[:-1][meet], order[1:][meet]])
    pairs = heads * size + targets[taken]
    gets = targets[taken[two.flip(0)]]
    made = heads[two] * size + gets
    _, which, times = made.unique(return_inverse=True, return_counts=True)
    allowed = ((heads[two] != gets) & (times[which] == 1) & ~among(made, pairs.sort().values)).all(0)
    allowed &= among(made, avoided).sum(0) <= among(pairs[two], avoided).sum(0)
    two = two[:, allowed]
    after = taken.clone()
    after[two] = taken[two.flip(0)]
    return after


def among(numbers: Tensor, ascending: Tensor) -> Tensor:
    """Which of the numbers, of any shape, are among the ascending ones."""
    if not len(ascending):
        return torch.zeros_like(numbers, dtype=torch.bool)
    return ascending[torch.searchsorted(ascending, numbers).clamp(max=len(ascending) - 1)] == numbers
