"""Controls and ablations of the sense dictionary, for the sense loss of section 4.2: what a claim about it must beat.

Each function takes a dictionary and returns another that trains in its place, at the same budget. `head_ids` and the
number of senses of every token stay the same in all of them, even where a head has no neighbour left. These two alone
decide which positions are drawn (`candidate_index`, `sample_positions`), so with the same seed a control is trained
at the very positions of the full dictionary. Tensors that a control does not change are the given ones, not copies.

The list `controls` in the header of the result says what was done to it and with which seed (null where nothing is
drawn), so that a saved dictionary says what it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from dskd_utils.distill.rewiring import among, exchange
from dskd_utils.lexicon.flips import flips
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.spans import word_spans
from dskd_utils.senses.build import compose_words, word_rows
from dskd_utils.senses.dictionary import SenseDictionary

CONTROLS = {
    "without_antonyms": "attraction to own and synonym senses, no repulsion",
    "without_synonyms": "attraction to own senses, repulsion from antonym senses",
    "without_flips": "no pair that only a negation flip gives",
    "own_senses_only": "attraction to own senses, no relation at all",
    "shuffled_senses": "every token has the senses of another token, words are composed of these",
    "rewired": "own senses; neighbours drawn anew, degrees and frequencies kept",
    "swapped_labels": "own senses; synonyms repel and antonyms attract",
}
KINDS = ("synonym", "antonym")
BINS = tuple(2**power for power in range(21))


def controlled(
    dictionary: SenseDictionary, name: str, *, tokenizer: Any, counts: Tensor, relations: Relations, seed: int
) -> SenseDictionary:
    """The control of that name, one of `CONTROLS`; each has a function of its own that says what it does.

    Args:
        dictionary: the full one.
        name: of the control.
        tokenizer: the dictionary's; read by `shuffled_senses`, `rewired` and `without_flips` alone.
        counts: `(v,)` integer, how often the text has each token; read by `rewired` alone.
        relations: those that the dictionary was built with; read by `without_flips` alone.
        seed: of the two that draw, the same two; the others are the same for every seed.

    Raises:
        ValueError: no control has this name, or as in that control.
    """
    match name:
        case "without_antonyms":
            return without_antonyms(dictionary)
        case "without_synonyms":
            return without_synonyms(dictionary)
        case "without_flips":
            return without_flips(dictionary, relations, tokenizer=tokenizer)
        case "own_senses_only":
            return own_senses_only(dictionary)
        case "shuffled_senses":
            return shuffled_senses(dictionary, seed, tokenizer=tokenizer)
        case "rewired":
            return rewired(dictionary, counts, seed, tokenizer=tokenizer)
        case "swapped_labels":
            return swapped_labels(dictionary)
    raise ValueError(f"there is no control {name!r}: choose one of {', '.join(CONTROLS)}")


def without_antonyms(dictionary: SenseDictionary) -> SenseDictionary:
    """No antonyms: the negative set A of section 4.2 is empty everywhere."""
    return _recorded(dictionary, "without_antonyms", **_emptied(dictionary, "antonym"))


def without_synonyms(dictionary: SenseDictionary) -> SenseDictionary:
    """No synonyms: the positive set P of section 4.2 is the token's own senses everywhere."""
    return _recorded(dictionary, "without_synonyms", **_emptied(dictionary, "synonym"))


def without_flips(dictionary: SenseDictionary, relations: Relations, *, tokenizer: Any) -> SenseDictionary:
    """No neighbour that only a negation flip gives (section 3.2, step 2); what a source states stays.

    The header gives for either relation the share of neighbours that are `flips`, left out here; null where there
    is none.

    Args:
        dictionary: the full one.
        relations: those that it was built with.
        tokenizer: the one that it was built with.

    Raises:
        ValueError: the tokenizer does not fit.
    """
    heads = {span[0]: word for word, span in _spans(dictionary, tokenizer).items() if len(span) == 1}
    heads = [heads[token] for token in dictionary.head_ids.tolist()]
    made = {tuple(row) for row in flips(relations).itertuples(index=False)}
    changes, facts = {}, {}
    for kind in KINDS:
        places = torch.arange(len(heads)).repeat_interleave(getattr(dictionary, f"{kind}_offsets").diff())
        words = getattr(dictionary, f"{kind}_words")
        pairs = [sorted((heads[a], dictionary.words[b])) for a, b in zip(places.tolist(), words.tolist(), strict=True)]
        flip = torch.tensor([(*pair, kind) in made for pair in pairs], dtype=torch.bool)
        changes[f"{kind}_words"] = words[~flip]
        kept = places[~flip].bincount(minlength=len(heads))
        changes[f"{kind}_offsets"] = torch.cat([torch.zeros(1, dtype=torch.int64), kept.cumsum(0)])
        facts[f"{kind}s"] = {"flips": _share(flip)}
    return _recorded(dictionary, "without_flips", None, facts, **changes)


def own_senses_only(dictionary: SenseDictionary) -> SenseDictionary:
    """Neither synonyms nor antonyms. Heads stay heads, so the positions drawn stay the same."""
    return _recorded(
        dictionary, "own_senses_only", **_emptied(dictionary, "synonym"), **_emptied(dictionary, "antonym")
    )


def swapped_labels(dictionary: SenseDictionary) -> SenseDictionary:
    """Synonyms and antonyms exchanged: the same words, pulled where they were pushed."""
    return _recorded(
        dictionary,
        "swapped_labels",
        synonym_words=dictionary.antonym_words,
        synonym_offsets=dictionary.antonym_offsets,
        antonym_words=dictionary.synonym_words,
        antonym_offsets=dictionary.synonym_offsets,
    )


def shuffled_senses(dictionary: SenseDictionary, seed: int, *, tokenizer: Any) -> SenseDictionary:
    """Senses permuted over tokens: the very same senses, but each of the wrong token.

    The tokens with the same number of senses stand in a random circle and each gets the senses of its neighbour, so
    none keeps its own unless no other token has that number. Words of several tokens are composed anew (section 3.3).
    The result's vectors are new, in memory, as large as the given ones. The header gives the share of `tokens moved`
    among those with senses.

    Args:
        dictionary: the full one.
        seed: of the permutation.
        tokenizer: the one that the dictionary was built with.

    Raises:
        ValueError: the tokenizer does not fit.
    """
    spans = _spans(dictionary, tokenizer)
    offsets = dictionary.token_offsets
    source = _circles(offsets.diff(), torch.Generator().manual_seed(seed))
    rows = torch.arange(int(offsets[-1])) + (offsets[source] - offsets[:-1]).repeat_interleave(offsets.diff())
    vectors = torch.empty_like(dictionary.vectors)
    torch.index_select(dictionary.vectors, 0, rows, out=vectors[: len(rows)])
    compose_words(vectors, offsets, spans, dictionary.word_rows)
    moved = (source != torch.arange(len(source)))[offsets.diff() > 0]
    return _recorded(dictionary, "shuffled_senses", seed, {"tokens moved": _share(moved)}, vectors=vectors)


def rewired(
    dictionary: SenseDictionary, counts: Tensor, seed: int, *, tokenizer: Any, bins: Sequence[int] = BINS
) -> SenseDictionary:
    """Neighbours drawn anew with degree and frequency matched: own senses stay, the knowledge of relations goes.

    Two neighbours of two heads change places, many times over, for synonyms and antonyms apart. So every head keeps
    its number of neighbours and every word the number of heads that it neighbours, exactly. Only words of one
    frequency bin change places, so a head's neighbours stay as frequent as they were. The frequency of a word is the
    count of its first token, which also decides its number of senses. Words of several tokens change places only
    among themselves, because their first token may be a frequent fragment and their senses are averages.

    No head becomes its own neighbour or gets a neighbour twice. A head gets no word to which it is related in the
    full dictionary, by either relation and in either direction, nor one word as both synonym and antonym, unless the
    exchanges find nothing else (a bin of few words). The relation is no longer mutual where it was.

    The header gives for either relation the share of neighbours that are `changed`, not in the head's list before,
    and the number that are `still related` (or an antonym that is a synonym by now); null and 0 without neighbours.

    Args:
        dictionary: the full one.
        counts: `(v,)` integer, how often the text has each token.
        seed: of the exchanges.
        tokenizer: the one that the dictionary was built with.
        bins: ascending counts at which a new bin begins; by default the powers of two up to a million, so two words
            that change places differ by less than a factor of two.

    Raises:
        ValueError: counts of another shape or kind, bins that do not ascend, a tokenizer that does not fit.
    """
    level = _levels(dictionary, counts, bins, _spans(dictionary, tokenizer))
    own = dictionary.token_offsets[dictionary.head_ids]
    # A word is told by its first row of senses: words of the same senses count as one, and a head is such a word too.
    start, size = dictionary.word_rows[:, 0], len(dictionary.vectors) + 1
    generator = torch.Generator().manual_seed(seed)
    before = {}
    for kind in KINDS:
        places = torch.arange(len(own)).repeat_interleave(getattr(dictionary, f"{kind}_offsets").diff())
        before[kind] = places, getattr(dictionary, f"{kind}_words")
    known = [(own[places], start[words]) for places, words in before.values()]
    avoided = torch.cat([a * size + b for x, y in known for a, b in ((x, y), (y, x))]).unique()
    changes, facts = {}, {}
    for kind, (places, words) in before.items():
        heads, targets = own[places], start[words]
        taken = exchange(heads, targets, level[words], avoided, size, generator)
        order = torch.argsort(places * len(start) + words[taken])  # within each head, as in a dictionary that was built
        changes[f"{kind}_words"] = words[taken][order]
        pairs = heads * size + targets[taken]
        facts[f"{kind}s"] = {
            "changed": _share(~among(pairs, (heads * size + targets).unique())),
            "still related": int(among(pairs, avoided).sum()),
        }
        avoided = torch.cat([avoided, pairs]).unique()
    return _recorded(dictionary, "rewired", seed, {"bins": list(bins)} | facts, **changes)


def _levels(dictionary: SenseDictionary, counts: Tensor, bins: Sequence[int], spans: Mapping[str, tuple]) -> Tensor:
    """For each word `(w,)` a number of its frequency bin and of whether it has several tokens."""
    vocabulary = len(dictionary.token_offsets) - 1
    counts = torch.as_tensor(counts)
    if counts.shape != (vocabulary,) or counts.is_floating_point() or (vocabulary and int(counts.min()) < 0):
        raise ValueError(
            f"counts must be ({vocabulary},) whole numbers, one for each token of the dictionary's vocabulary: got "
            f"{tuple(counts.shape)} {counts.dtype}; count the ids of the text with torch.bincount(ids, minlength=...)"
        )
    bounds = torch.tensor(list(bins), dtype=torch.int64)
    if not bool((bounds.diff() > 0).all()):
        raise ValueError(f"bins must be ascending counts, each the start of a new bin: got {list(bins)}")
    first = torch.tensor([span[0] for span in spans.values()], dtype=torch.int64)
    several = torch.tensor([len(span) > 1 for span in spans.values()], dtype=torch.int64)
    return 2 * torch.bucketize(counts.to(torch.int64)[first], bounds, right=True) + several


def _spans(dictionary: SenseDictionary, tokenizer: Any) -> dict[str, tuple[int, ...]]:
    """Token ids of the dictionary's words, in their order."""
    offsets = dictionary.token_offsets
    spans = word_spans(dictionary.words, tokenizer)
    if len(spans) == len(dictionary.words) and all(span and max(span) < len(offsets) - 1 for span in spans.values()):
        rows, total = word_rows(offsets, spans)
        if total == len(dictionary.vectors) and torch.equal(rows, dictionary.word_rows):
            return spans
    raise ValueError(
        "the tokenizer does not cut the words as when the dictionary was built: give the tokenizer of its teacher"
    )


def _circles(numbers: Tensor, generator: torch.Generator) -> Tensor:
    """A permutation `(v,)` that turns all places with the same number in one random circle."""
    order = torch.randperm(len(numbers), generator=generator)
    order = order[torch.argsort(numbers[order], stable=True)]
    source = torch.empty_like(order)
    for places in order.split(torch.unique_consecutive(numbers[order], return_counts=True)[1].tolist()):
        source[places] = places.roll(1)
    return source


def _emptied(dictionary: SenseDictionary, kind: str) -> dict[str, Tensor]:
    """The fields of a relation without any neighbour, for as many heads."""
    return {
        f"{kind}_words": torch.zeros(0, dtype=torch.int64),
        f"{kind}_offsets": torch.zeros(len(dictionary.head_ids) + 1, dtype=torch.int64),
    }


def _recorded(
    dictionary: SenseDictionary, name: str, seed: int | None = None, facts: Mapping = MappingProxyType({}), **changes
) -> SenseDictionary:
    """The dictionary with these fields changed, and what was done added to its header."""
    done = [
        *dictionary.header.get("controls", []),
        {"name": name, "seed": seed if seed is None else int(seed), **facts},
    ]
    return replace(dictionary, header=dictionary.header | {"controls": done}, **changes)


def _share(flags: Tensor) -> float | None:
    return float(flags.double().mean()) if len(flags) else None
