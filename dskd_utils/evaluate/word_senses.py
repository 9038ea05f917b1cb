"""Does the dictionary hold senses? Words in context and all-words disambiguation, beyond the paper (section 3.1).

Whatever has to be fitted is fitted on one part (the train pairs, one half of a lemma's instances) and judged on
another. Every accuracy comes with the share of items that the dictionary knows and with an interval over resampled
lemmas, since items of one lemma go wrong together; every baseline stands in the same table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dskd_utils.evaluate.disambiguation import (
    ACCURACY,
    COLUMNS,
    COVERED,
    MAJORITY,
    NEAREST,
    ONE,
    RANDOM,
    RANDOM_DRAWS,
    score_rows,
    tagging_scores,
)
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.in_context import (
    ContextStates,
    borrowed_senses,
    context_states,
    contexts_digest,
    sense_distances,
    senses_of_words,
)
from dskd_utils.sources.sense_tasks import ALL_WORDS, all_words, word_in_context
from dskd_utils.sources.teachers import Teacher

COSINE = "cosine of raw states"
DISTANCE, PROBABILITY = "distance of senses", "probability of one sense"


def sense_table(
    teacher: Teacher,
    dictionary: SenseDictionary,
    key: str,
    *,
    data_dir: str | Path,
    folder: Path,
    wordnet: Mapping[tuple[str, str], Sequence[str]],
    limit: int | None = None,
    tagged_limit: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracies on WiC, MCL-WiC and the three tagged texts: of a dictionary's senses, and of the baselines.

    Args:
        teacher: the dictionary's teacher.
        dictionary: its senses, from states filed by `key`.
        key: `"next"`, `"predicted"` or `"input"`.
        data_dir: as in `sources.sense_tasks`.
        folder: keeps the states of the contexts, which serve every dictionary and key of this teacher.
        wordnet: from `sources.sense_tasks.wordnet_senses`.
        limit: most pairs of each part of WiC and of MCL-WiC, drawn with `seed`; None takes all.
        tagged_limit: about how many tagged instances, likewise; all of them are few tokens, for they share sentences.
        seed: of the draws, of the halves, of the controls.

    Returns:
        columns `task, method, key, metric, value, low, high, n, covered`. `n` counts the judged items, `covered` those
        whose word has senses; the others count as `"same"` in pairs, and as the lemma's most frequent sense in
        disambiguation. Rows of methods that read no state have the key `"any"` and are the same for every dictionary.

    Raises:
        FileNotFoundError: the data are not in `data_dir`.
        ValueError: malformed data, or states of another teacher in `folder`.
    """

    def states(contexts: pd.DataFrame, name: str) -> ContextStates:
        return context_states(teacher, contexts, folder / f"{name}-{contexts_digest(contexts)}")

    tables = []
    for name in ("wic", "mcl-wic"):
        parts = {part: word_in_context(data_dir, name, part, limit=limit, seed=seed) for part in ("train", "dev")}
        known = {part: states(contexts, f"{name}-{part}") for part, contexts in parts.items()}
        if key == "predicted":
            tables.append(expected_share(known["dev"], name))
        by_key = {part: found.of(key) for part, found in known.items()}
        tables.append(pair_scores(parts, by_key, dictionary, teacher.tokenizer, key=key, seed=seed))
    tagged = all_words(data_dir, ALL_WORDS, limit=tagged_limit, seed=seed)
    found = states(tagged, "all-words").of(key)
    tables.append(tagging_scores(tagged, found, dictionary, teacher.tokenizer, wordnet, key=key, seed=seed))
    return pd.concat(tables, ignore_index=True)


def expected_share(states: ContextStates, task: str) -> pd.DataFrame:
    """How often the teacher's argmax before a word is the word: where key `predicted` files what key `next` does."""
    share = float(states.expected.float().mean())
    row = [task, "teacher expects the word", "predicted", "share", share, np.nan, np.nan, len(states.expected), 0]
    return pd.DataFrame([row], columns=COLUMNS)


def pair_scores(
    parts: Mapping[str, pd.DataFrame],
    states: Mapping[str, Tensor],
    dictionary: SenseDictionary,
    tokenizer,
    *,
    key: str,
    seed: int = 0,
) -> pd.DataFrame:
    """Same sense or not in two contexts: by nearest senses, and by baselines (WiC, MCL-WiC).

    Both contexts are judged against one inventory: the senses of the form, lower-cased, where both have the same, else
    the lemma's, for two forms have no sense in common. "Same" if the nearest sense is (`nearest sense`); if the two
    nearest senses are close (`distance of senses`); if the two contexts probably have the same sense, each with
    probabilities exp(-distance^2 / T), T the mean gap between a train context's two smallest squared distances
    (`probability of one sense`). Thresholds and T come from the train pairs.

    Args:
        parts: `"train"` and `"dev"` from `word_in_context`.
        states: for each part `(2 p, d)`, row by row, of the kind that `key` files.
        dictionary: the senses.
        tokenizer: the teacher's.
        key: named in the rows.
        seed: of the random centroids.
    """
    items = {part: _pairs(contexts) for part, contexts in parts.items()}
    inventory = senses_of_words(dictionary, tokenizer, {word for pairs in items.values() for word in pairs.word})
    distances = {part: _pair_distances(items[part], states[part], inventory) for part in items}
    temperature = _mean_gap([d for pair in distances["train"] if pair is not None for d in pair])
    scores = {part: _pair_measures(items[part], distances[part], inventory, temperature) for part in items}
    for part in items:
        scores[part][COSINE] = cosine_similarity(states[part][::2].float(), states[part][1::2].float()).numpy()
    train, dev = items["train"].label.to_numpy(), items["dev"].label.to_numpy()
    covered = items["dev"].word.isin(inventory).to_numpy()
    right = {}
    for name, values in scores["dev"].items():
        threshold = 0.5 if name == NEAREST else best_threshold(scores["train"][name], train)
        right[name] = np.where(np.isnan(values) | (values >= threshold), dev, ~dev).astype(float)
    right[RANDOM] = _random_pairs(items["dev"], states["dev"], inventory, dictionary, seed)
    right[ONE] = dev.astype(float)
    right[MAJORITY] = (dev == (train.mean() >= 0.5)).astype(float)
    task = str(parts["dev"].task.iloc[0])
    subsets = {ACCURACY: np.ones(len(dev), bool), COVERED: covered}
    return score_rows(task, key, right, subsets, covered, items["dev"].lemma.to_numpy(), COSINE)


def _pairs(contexts: pd.DataFrame) -> pd.DataFrame:
    """One row a pair: lemma, label, and the word whose senses judge it."""
    forms = [text[s:e].lower() for text, s, e in zip(contexts.text, contexts.start, contexts.end, strict=True)]
    pairs = contexts.iloc[::2][["lemma", "label"]].reset_index(drop=True)
    lemmas = pairs.lemma.str.replace("_", " ")
    same = pd.Series([a == b for a, b in zip(forms[::2], forms[1::2], strict=True)])
    return pairs.assign(word=lemmas.where(~same, pd.Series(forms[::2])))


def _pair_distances(pairs: pd.DataFrame, states: Tensor, inventory: Mapping[str, Tensor]) -> list[Tensor | None]:
    return [
        sense_distances(states[2 * i : 2 * i + 2], inventory[word]) if word in inventory else None
        for i, word in enumerate(pairs.word)
    ]


def _mean_gap(distances: Sequence[Tensor]) -> float:
    """The mean difference of the two smallest squared distances, where there are two; 1 where there are none."""
    nearest = [found.square().topk(2, largest=False).values for found in distances if len(found) > 1]
    return float(torch.stack(nearest).diff().mean()) if nearest else 1.0


def _pair_measures(pairs: pd.DataFrame, distances: list, inventory: Mapping, temperature: float) -> dict:
    """Scores that are high where the senses are the same, NaN where the word has none."""
    found = {name: np.full(len(pairs), np.nan) for name in (NEAREST, DISTANCE, PROBABILITY)}
    for i, (word, pair) in enumerate(zip(pairs.word, distances, strict=True)):
        if pair is None:
            continue
        a, b = pair.argmin(1).tolist()
        posterior = torch.softmax(-pair.square() / temperature, 1)
        senses = inventory[word]
        found[NEAREST][i] = a == b
        found[DISTANCE][i] = -float((senses[a] - senses[b]).norm())
        found[PROBABILITY][i] = float(posterior.prod(0).sum())
    return found


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold at or above which "same" is most often right; NaN scores are left out.

    Between two scores it is their mean. Minus infinity where all, or no score at all, speaks for "same".
    """
    known = ~np.isnan(scores)
    values, labels = scores[known], labels[known]
    order = np.argsort(values, kind="stable")
    values, labels = values[order], labels[order]
    # right[i]: everything from the i-th lowest score on is called the same.
    right = np.append(0, np.cumsum(~labels)) + labels.sum() - np.append(0, np.cumsum(labels))
    ends = np.append(True, np.append(values[1:] > values[:-1], True))
    best = int(np.argmax(np.where(ends, right, -1)))
    if best == 0:
        return -np.inf
    return np.inf if best == len(values) else float((values[best - 1] + values[best]) / 2)


def _random_pairs(pairs, states: Tensor, inventory: Mapping, dictionary: SenseDictionary, seed: int) -> np.ndarray:
    """How often random centroids are right on each pair, over several draws."""
    generator = torch.Generator().manual_seed(seed)
    right = pairs.label.to_numpy(float)
    for i, word in enumerate(pairs.word):
        if word in inventory:
            draws = [borrowed_senses(inventory[word], dictionary, generator) for _ in range(RANDOM_DRAWS)]
            nearest = [sense_distances(states[2 * i : 2 * i + 2], senses).argmin(1).tolist() for senses in draws]
            right[i] = np.mean([(a == b) == pairs.label[i] for a, b in nearest])
    return right
