"""The nearest senses of every training position, found once (paper, section 4.2, Top-kappa).

Which senses are near depends on the teacher's state m_t and on the dictionary alone, never on the student, so
every epoch, seed, beta and kappa reads a slice of one index. Positions of one token share their candidate
sets, so the search goes token by token.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.live_states import States

NEAREST = 20  # the largest kappa of the paper's Table 5


@dataclass(frozen=True)
class CandidateIndex:
    """Nearest senses of the `q` positions whose target has senses of its own.

    Attributes:
        positions: `(q,)` int64, flat positions of the store, ascending.
        related: `(q,)` bool, whether the target has synonyms or antonyms.
        positive: `(q, 20)` int32 rows of the dictionary's vectors, nearest first, -1 where there are fewer.
        negative: `(q, 20)` int32 likewise; all -1 for a token without antonyms.
        vectors: `(r, d)` the dictionary's vectors.
    """

    positions: Tensor
    related: Tensor
    positive: Tensor
    negative: Tensor
    vectors: Tensor

    def save(self, path: Path) -> None:
        """Write the index without the vectors, which the dictionary holds."""
        names = ("positions", "related", "positive", "negative")
        torch.save({name: getattr(self, name) for name in names}, path)

    @classmethod
    def load(cls, path: Path, dictionary: SenseDictionary) -> "CandidateIndex":
        """Open an index that `save` wrote, over the vectors of its dictionary."""
        return cls(**torch.load(path, weights_only=True), vectors=dictionary.vectors)


def candidate_index(
    states: States,
    dictionary: SenseDictionary,
    *,
    own_in_negatives: bool = False,
    chunk_size: int = 2048,
) -> CandidateIndex:
    """The 20 nearest positive and negative senses of every position, by L2 distance to m_t (section 4.2).

    Args:
        states: the teacher's; m_t is the final state, the looked-up token its target x_{t+1}.
        dictionary: the senses.
        own_in_negatives: the released code's reading, the token's own senses are negatives too (NOTES 10).
        chunk_size: positions of one token searched at once.
    """
    targets = states.targets.flatten()
    counts = dictionary.token_offsets.diff()
    has_senses = (targets >= 0) & (counts[targets.clamp(min=0)] > 0)
    positions = has_senses.nonzero().flatten()
    positive = torch.full((len(positions), NEAREST), -1, dtype=torch.int32)
    negative = torch.full((len(positions), NEAREST), -1, dtype=torch.int32)
    with tqdm(total=len(positions), desc="nearest senses", unit="position") as bar:
        for first, final in states.windows():
            here = slice(*torch.searchsorted(positions, torch.tensor([first, first + len(final)])).tolist())
            places, out = positions[here], (positive[here], negative[here])
            _search(final, places - first, targets[places], dictionary, own_in_negatives, chunk_size, out)
            bar.update(len(places))
    related = dictionary.has_relations()[targets[positions]]
    return CandidateIndex(positions, related, positive, negative, dictionary.vectors)


def _search(
    final: Tensor,
    places: Tensor,
    targets: Tensor,
    dictionary: SenseDictionary,
    own_in_negatives: bool,
    chunk_size: int,
    found: tuple[Tensor, Tensor],
) -> None:
    """Write the nearest senses of some positions to `found`, token by token.

    Args:
        final: `(n, d)` states.
        places: `(q,)` rows of these.
        targets: `(q,)` the token looked up at each.
        dictionary, own_in_negatives, chunk_size: as in `candidate_index`.
        found: `(q, 20)` rows of positive and of negative senses, -1 throughout.
    """
    order = torch.argsort(targets, stable=True)
    tokens, sizes = targets[order].unique_consecutive(return_counts=True)
    sets, vectors = dictionary.candidates(tokens), dictionary.vectors
    for i, where in enumerate(order.split(sizes.tolist())):
        near = sets.positive_rows[sets.positive_offsets[i] : sets.positive_offsets[i + 1]]
        far = sets.negative_rows[sets.negative_offsets[i] : sets.negative_offsets[i + 1]]
        if own_in_negatives:
            own = torch.arange(int(dictionary.token_offsets[tokens[i]]), int(dictionary.token_offsets[tokens[i] + 1]))
            far = torch.cat([far, own])
        for rows, out in zip((near, far), found, strict=True):
            if len(rows):
                senses = vectors[rows].float()
                for part in where.split(chunk_size):
                    out[part, : min(NEAREST, len(rows))] = _nearest(final[places[part]].float(), senses, rows)


def _nearest(m: Tensor, senses: Tensor, rows: Tensor) -> Tensor:
    """Rows `(p, min(20, c))` of the senses `(c, d)` nearest to `m` `(p, d)`, nearest first."""
    distance = senses.square().sum(-1) - 2 * (m @ senses.T)
    return rows[distance.topk(min(NEAREST, len(rows)), largest=False).indices].to(torch.int32)


def sample_positions(index: CandidateIndex, window: Tensor, *, share: float, generator: torch.Generator) -> Tensor:
    """Positions of one step's blocks that carry the sense loss (section 4.2; NOTES 11).

    A share of the positions whose target has relations (at least 25 where there are as many), and as many
    whose target has senses of its own only.

    Args:
        index: the candidate index.
        window: `(s,)` int64, entries of the index that lie in the step's blocks.
        share: of the positions with relations that are drawn.
        generator: seeded by the run and the step.

    Returns:
        `(p,)` int64 entries of the index.
    """
    related = window[index.related[window]]
    alone = window[~index.related[window]]
    wanted = min(len(related), max(int(share * len(related)), 25))
    picks = [part[torch.randperm(len(part), generator=generator)[:wanted]] for part in (related, alone)]
    return torch.cat(picks)


def gather_senses(rows: Tensor, vectors: Tensor, kappa: int) -> tuple[Tensor, Tensor]:
    """Senses `(p, kappa, d)` fp32 and mask `(p, kappa)` from rows `(p, 20)` of an index."""
    rows = rows[:, :kappa].long()
    mask = rows >= 0
    return vectors[rows.clamp(min=0)].float(), mask
