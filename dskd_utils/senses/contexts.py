"""What senses look like: their nearest contexts, and a word's vectors in two dimensions (paper, Figure 1)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import umap
from sklearn.manifold import TSNE, trustworthiness
from torch import Tensor

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import MIN_HEAD_LENGTH, SenseDictionary, word_spans
from dskd_utils.senses.hidden_states import TeacherStates


def nearest_contexts(
    states: TeacherStates, dictionary: SenseDictionary, tokenizer, word: str, *, per_sense: int = 2, window: int = 10
) -> pd.DataFrame:
    """The contexts of the training text nearest to each sense of a one-token word.

    Args:
        states: the store that the dictionary was built from, with key `next`.
        dictionary: the senses.
        tokenizer: the teacher's.
        word: a word that is one token behind a space.
        per_sense: contexts a sense.
        window: tokens shown before the word.

    Returns:
        a row a context: sense, share of the word's occurrences, and the text with the word in brackets.

    Raises:
        ValueError: the word has several tokens or no senses.
    """
    (span,) = word_spans([word], tokenizer).values()
    senses = dictionary.token_senses(span[0]).float()
    if len(span) != 1 or not len(senses):
        raise ValueError(f"{word!r} has {len(span)} tokens and {len(senses)} senses: choose a frequent one-token word")
    places = (states.targets == span[0]).nonzero()
    distance = torch.cdist(states.final[places[:, 0], places[:, 1]].float(), senses)
    labels = distance.argmin(1)
    rows = []
    for sense in labels.bincount(minlength=len(senses)).argsort(descending=True).tolist():
        members = (labels == sense).nonzero().flatten()
        for place in members[distance[members, sense].argsort()[:per_sense]].tolist():
            block, offset = places[place].tolist()
            start = max(0, offset + 1 - min(window, int(states.positions[block, offset]) + 1))
            before = tokenizer.decode(states.ids[block, start : offset + 1])
            share = len(members) / len(places)
            rows.append({"sense": sense + 1, "share": share, "context": f"… {before.strip()} [{word}]"})
    return pd.DataFrame(rows)


def keep_rates(relations: Relations, tokenizer, longest: int = 5) -> pd.DataFrame:
    """Table 2: percentage of relations of one-token heads whose neighbour has at most m tokens.

    Args:
        relations: synonyms and antonyms.
        tokenizer: of any model.
        longest: the largest m.

    Returns:
        a row an m, columns `m`, `synonym`, `antonym`, and the numbers of relations behind them.
    """
    spans = word_spans(relations.words, tokenizer)
    heads = [word for word, span in spans.items() if len(span) == 1 and len(word) >= MIN_HEAD_LENGTH]
    lengths = {
        "synonym": np.array([len(spans[other]) for word in heads for other in relations.synonyms(word)]),
        "antonym": np.array([len(spans[other]) for word in heads for other in relations.antonyms(word)]),
    }
    return pd.DataFrame(
        {"m": m}
        | {name: 100 * float((found <= m).mean()) if len(found) else np.nan for name, found in lengths.items()}
        | {f"{name} relations": len(found) for name, found in lengths.items()}
        for m in range(1, longest + 1)
    )


def span_senses(dictionary: SenseDictionary, tokenizer, words: Sequence[str]) -> dict[str, Tensor]:
    """Senses `(k_1, d)` fp32 of any words, composed where needed; words with an unseen token are left out."""
    found = {}
    for word, span in word_spans(words, tokenizer).items():
        parts = [dictionary.token_senses(token) for token in span]
        if all(len(part) for part in parts):
            found[word] = compose_span(parts)
    return found


def project(vectors: np.ndarray, *, neighbours: int = 10, seed: int = 0) -> tuple[pd.DataFrame, dict[str, float]]:
    """t-SNE and UMAP of the same vectors, and how well each preserves neighbourhoods (Figure 1).

    Args:
        vectors: `(n, d)` floating, at least 12 rows.
        neighbours: UMAP's, t-SNE's perplexity and the neighbourhood that trustworthiness looks at.
        seed: of both.

    Returns:
        columns `t-SNE_x`, `t-SNE_y`, `UMAP_x`, `UMAP_y`; and trustworthiness by method, 1 is best.

    Raises:
        ValueError: too few vectors for a map.
    """
    if len(vectors) < 12:
        raise ValueError(f"a map needs at least 12 vectors, got {len(vectors)}: name more words or use more text")
    near = min(neighbours, len(vectors) // 3)
    layouts = {
        "t-SNE": TSNE(perplexity=near, random_state=seed, init="pca").fit_transform(vectors),
        "UMAP": umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(vectors),
    }
    columns = {f"{name}_{axis}": xy[:, i] for name, xy in layouts.items() for i, axis in enumerate("xy")}
    scores = {name: float(trustworthiness(vectors, xy, n_neighbors=near)) for name, xy in layouts.items()}
    return pd.DataFrame(columns), scores
