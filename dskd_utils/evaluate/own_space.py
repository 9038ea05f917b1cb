"""Words in a model's own space: where they occur, and whether synonyms lie nearer than antonyms (beyond section 5).

The teacher's dictionary says nothing about a student's space, so every model reads the same occurrences itself.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.evaluate.probe_data import COSINES, similarity_records
from dskd_utils.evaluate.relatives import relatives
from dskd_utils.evaluate.scoring import scoring_mode
from dskd_utils.lexicon.pair_table import normalise
from dskd_utils.senses.in_context import row_batches, token_rows
from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.sources.wikipedia import Document

OCCURRENCES = 5  # of a word
SENSES = 3  # that a word's occurrences are clustered into, at most
LEFT = 120  # characters that are read before a word, less what stands before the first blank in them
OWN_SPACE = "synonym or antonym, own space"
_WORD = re.compile(r"[^\W\d_]+")


def word_contexts(
    documents: Iterable[Document], words: Iterable[str], *, occurrences: int = OCCURRENCES, seed: int = 0
) -> pd.DataFrame:
    """The first occurrences of words in the shuffled documents, at most one a document.

    Args:
        documents: where to look.
        words: normalised words.
        occurrences: at most so many of each.
        seed: of the order of the documents.

    Returns:
        `word`, `text` (what stands before the word, and the word), `start` and `end` (its characters); a word that does
        not occur has no row.
    """
    wanted, found, rows = set(words), Counter(), []
    documents = list(documents)
    for place in np.random.default_rng(seed).permutation(len(documents)):
        if not wanted:
            break
        text, seen = documents[place].text, set()
        for match in _WORD.finditer(text):
            word = normalise(match.group())
            if word not in wanted or word in seen or match.start() == 0:
                continue
            seen.add(word)
            first = max(0, match.start() - LEFT)
            before = text[first : match.start()]
            before = before if first == 0 else before.partition(" ")[2]
            if not before.strip():
                continue
            rows.append((word, before + match.group(), len(before), len(before) + len(match.group())))
            found[word] += 1
            if found[word] == occurrences:
                wanted.discard(word)
    return pd.DataFrame(sorted(rows), columns=["word", "text", "start", "end"])


def word_states(models: Mapping[str, Any], tokenizer: Any, contexts: pd.DataFrame) -> dict[str, dict[str, Tensor]]:
    """Words in each model's own space: its states after the final norm over given contexts.

    What the models share is computed once (`relatives`).

    Args:
        models: name -> causal language model.
        tokenizer: of all of them.
        contexts: a row an occurrence, `text`, `start` and `end` (characters of the word) and `word`.

    Returns:
        name -> normalised word -> `(n, d)` fp32, a row an occurrence: the mean of the states that have read it.

    Raises:
        ValueError: no context, a span without a token, or a state that is not finite.
    """
    if not len(contexts):
        raise ValueError("there is no context: give at least one occurrence of a word")
    rows, places = token_rows(tokenizer, contexts)
    of_row: list[list[int]] = [[] for _ in rows]
    for number, (row, _, _) in enumerate(places):
        of_row[row].append(number)
    family = relatives(list(models.values()))
    words = [normalise(word) for word in contexts["word"]]
    names = list(dict.fromkeys(words))
    number_of = {word: i for i, word in enumerate(names)}
    member = torch.tensor([number_of[word] for word in words])
    found: list[list[Tensor]] = [[] for _ in models]
    order: list[int] = []
    batches = list(row_batches(list(map(len, rows))))
    with scoring_mode(*models.values()):
        for batch in tqdm(batches, desc="words in context", unit="batch", delay=5, leave=False):
            length = max(len(rows[row]) for row in batch)
            # Padding stands behind the words, where a causal model does not look.
            ids = torch.tensor([rows[row] + [0] * (length - len(rows[row])) for row in batch])
            spans = [(line, *places[number][1:]) for line, row in enumerate(batch) for number in of_row[row]]
            order += [number for row in batch for number in of_row[row]]
            positions = torch.arange(length).expand_as(ids)
            for own, states in zip(found, family.states(ids, positions, [None] * len(models)), strict=True):
                own.append(torch.stack([states[i, first:stop].float().mean(0) for i, first, stop in spans]).cpu())
    place = member[torch.tensor(order)].argsort(stable=True)
    sizes = member.bincount().tolist()
    by_word = {}
    for name, own in zip(models, found, strict=True):
        states = torch.cat(own)
        if not torch.isfinite(states).all():
            raise ValueError(f"a state of model {name!r} is not finite: load it in float32")
        by_word[name] = dict(zip(names, states[place].split(sizes), strict=True))
    return by_word


def word_vectors(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """The mean `(d,)` of each word's states `(n, d)`, of `word_states`."""
    return {name: {word: rows.mean(0) for word, rows in of.items()} for name, of in states.items()}


def word_senses(
    states: Mapping[str, Mapping[str, Tensor]], k: int = SENSES, *, seed: int = 0
) -> dict[str, dict[str, Tensor]]:
    """Each model's own senses of words, clustered as its teacher's dictionary is (section 3.1).

    Args:
        states: of `word_states`.
        k: most senses of a word; with at most so many occurrences they are its senses.
        seed: of the clustering.

    Returns:
        name -> word -> centroids `(s, d)`, s at most k.
    """
    found = {}
    for name, of in states.items():
        offsets = torch.tensor([0, *(len(rows) for rows in of.values())]).cumsum(0)
        clusters = batched_kmeans(torch.cat(list(of.values())), offsets, k, seed=seed)
        found[name] = dict(zip(of, clusters.centroids.split(clusters.offsets.diff().tolist()), strict=True))
    return found


def own_space_records(
    vectors: Mapping[str, Mapping[str, Tensor]],
    pairs: pd.DataFrame,
    senses: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> pd.DataFrame:
    """Cosines of the two words of synonym and antonym pairs in each model's own space, for `probes.probe_table`.

    Args:
        vectors: name of the model -> word -> `(d,)`, from `word_vectors` over the same contexts.
        pairs: from `held_out_pairs`.
        senses: name of the model -> word -> `(s, d)`, from `word_senses`.

    Returns:
        as `similarity_records`, with `gold` 1 for synonyms and 0 for antonyms, and `subset` all, one or both held out.
    """
    pairs = pairs.reset_index(drop=True).assign(gold=(pairs["relation"] == "synonym").to_numpy(float))
    records = similarity_records(vectors, pairs, senses)
    held = records["held_out"].map({1: "one held out", 2: "both held out"})
    return records.assign(probe=OWN_SPACE, subset=[["all", name] for name in held])


def within_sets(records: pd.DataFrame) -> pd.DataFrame:
    """Records of `similarity_records` whose sets, each with a scale of its own, can be pooled.

    Scores and cosines become the share of the set's pairs with a cosine that do not lie above. A set's rank
    correlation stays what it was, and that of several sets is about the mean of theirs, weighted by their pairs.
    """
    ranked = records.assign(gold=records["gold"].where(records["cosine"].notna()))
    columns = ["gold", *(name for name in COSINES if name in records)]
    return records.assign(**ranked.groupby(["model", "set"])[columns].rank(pct=True))
