"""All-words disambiguation with the dictionary's senses, beyond the paper (section 3.1).

The senses have no names: each is given the WordNet sense that most of its instances have in one half of the text,
and judged in the other half. Intervals are over resampled lemmas, since instances of one lemma go wrong together.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from tqdm.auto import tqdm

from dskd_utils.evaluate.significance import paired_bootstrap
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.in_context import borrowed_senses, sense_distances, senses_of_words

COLUMNS = ["task", "method", "key", "metric", "value", "low", "high", "n", "covered"]
RANDOM_DRAWS = 10  # of the control with random centroids, averaged
NEAREST, RANDOM, ONE, FIRST = "nearest sense", "random centroids", "one sense (k = 1)", "WordNet's first sense"
NEIGHBOUR = "nearest labelled state (cosine)"
MAJORITY = "majority class"
READ_NOTHING = (ONE, FIRST, MAJORITY)  # they see neither states nor senses: their key is "any"
ACCURACY, COVERED = "accuracy", "accuracy, covered"


def tagging_scores(
    instances: pd.DataFrame,
    states: Tensor,
    dictionary: SenseDictionary,
    tokenizer,
    wordnet: Mapping[tuple[str, str], Sequence[str]],
    *,
    key: str,
    seed: int = 0,
) -> pd.DataFrame:
    """All-words disambiguation: senses of a lemma mapped to WordNet's on one half, judged on the other.

    The instances of each lemma and part of speech are halved at random (the larger half maps). A sense stands for
    the WordNet sense that most of its instances in the mapping half have, one without instances for the lemma's most
    frequent there, which is also what a single sense (k = 1) would say. An answer is right if it is among the gold.

    Args:
        instances: from `all_words`.
        states: `(n, d)`, row by row, of the kind that `key` files.
        dictionary, tokenizer, key, seed: as in `pair_scores`; `seed` of the halves too.
        wordnet: sense keys of (lemma, part of speech) in WordNet's order.

    Returns:
        rows as `word_senses.sense_table` has them: accuracies on all judged instances, on lemmas with two or more
        WordNet senses, on those with senses in the dictionary; and as metric `lemmas` how many lemmas are in both
        halves, of how many (`n`), and how many of them have senses (`covered`).

    Raises:
        ValueError: no lemma occurs twice.
    """
    draw = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    groups = list(instances.groupby(["lemma", "pos"]).indices.items())
    halved = [(word, draw.permutation(places)) for word, places in groups if len(places) > 1]
    if not halved:
        raise ValueError("no lemma occurs twice: nothing can be mapped on one half and judged on the other")
    inventory = senses_of_words(dictionary, tokenizer, {lemma.replace("_", " ") for (lemma, _), _ in halved})
    gold = instances.gold.tolist()
    right, judged = defaultdict(list), []
    for word, places in tqdm(halved, desc="lemmas", unit="lemma", delay=5):
        senses = inventory.get(word[0].replace("_", " "))
        half = (len(places) + 1) // 2
        mapped, asked = [gold[place] for place in places[:half]], [gold[place] for place in places[half:]]
        near = states[torch.from_numpy(places)]
        usual = [_majority(mapped)] * len(asked)
        by_sense, controls = usual, [usual]
        if senses is not None:
            others = [borrowed_senses(senses, dictionary, generator) for _ in range(RANDOM_DRAWS)]
            by_sense, *controls = (_by_nearest(near, found, mapped, usual) for found in (senses, *others))
        answers = {NEAREST: by_sense, ONE: usual, NEIGHBOUR: _nearest_labelled(near, mapped)}
        answers[FIRST] = [wordnet.get(word, [""])[0]] * len(asked)
        for name, given in answers.items():
            right[name] += _right(given, asked)
        right[RANDOM] += np.mean([_right(given, asked) for given in controls], axis=0).tolist()
        judged += [("%".join(word), senses is not None, len(wordnet.get(word, ())) > 1)] * len(asked)
    lemmas, covered, ambiguous = map(np.array, zip(*judged, strict=True))
    subsets = {ACCURACY: np.ones(len(lemmas), bool), "accuracy, ambiguous": ambiguous, COVERED: covered}
    values = {name: np.array(found) for name, found in right.items()}
    table = score_rows("all-words", key, values, subsets, covered, lemmas, NEIGHBOUR)
    count = ["all-words", "lemmas in both halves", key, "lemmas", len(halved), np.nan, np.nan, len(groups)]
    count.append(len(set(lemmas[covered])))
    return pd.concat([table, pd.DataFrame([count], columns=COLUMNS)], ignore_index=True)


def _right(answers: Sequence[str], gold: Sequence[tuple[str, ...]]) -> list[float]:
    return [float(answer in senses) for answer, senses in zip(answers, gold, strict=True)]


def _majority(gold: Sequence[tuple[str, ...]]) -> str:
    """The sense that most instances have; of several the first in the alphabet."""
    votes = Counter(sense for senses in gold for sense in senses)
    return min(votes, key=lambda sense: (-votes[sense], sense))


def _by_nearest(states: Tensor, senses: Tensor, mapped: Sequence[tuple[str, ...]], usual: list[str]) -> list[str]:
    """The answers for the states behind the mapped ones, by what the nearest sense stands for."""
    labels = sense_distances(states, senses).argmin(1).tolist()
    members = defaultdict(list)
    for label, gold in zip(labels[: len(mapped)], mapped, strict=True):
        members[label].append(gold)
    stands_for = {label: _majority(gold) for label, gold in members.items()}
    return [stands_for.get(label, default) for label, default in zip(labels[len(mapped) :], usual, strict=True)]


def _nearest_labelled(states: Tensor, mapped: Sequence[tuple[str, ...]]) -> list[str]:
    known, asked = states[: len(mapped)].float(), states[len(mapped) :].float()
    nearest = cosine_similarity(asked[:, None], known[None], dim=2).argmax(1).tolist()
    return [mapped[place][0] for place in nearest]


def score_rows(
    task: str,
    key: str,
    right: Mapping[str, np.ndarray],
    subsets: Mapping[str, np.ndarray],
    covered: np.ndarray,
    lemmas: np.ndarray,
    reference: str,
) -> pd.DataFrame:
    """Accuracy of every method on every subset of the items, and its paired difference to the reference.

    Args:
        right: for each method `(n,)`, how often it is right on each item.
        subsets: for each metric `(n,)` bool, the items that it is over; an empty one gives no row.
        covered: `(n,)` bool, items whose word has senses.
        lemmas: `(n,)` what is resampled as a whole.
        reference: the method that the others are compared with.
    """
    rows = []
    for name, values in right.items():
        for metric, of in subsets.items():
            others = {metric: np.zeros(len(values)), f"{metric}, minus {reference}": right[reference]}
            if name == reference:
                del others[f"{metric}, minus {reference}"]
            for label, other in others.items() if of.any() else ():
                found = paired_bootstrap(values[of], other[of], clusters=lemmas[of])
                alone = name in READ_NOTHING and label == metric != COVERED
                known = found.n if alone else int((covered & of).sum())
                rows.append([task, name, "any" if alone else key, label, *found[:4], known])
    return pd.DataFrame(rows, columns=COLUMNS)
