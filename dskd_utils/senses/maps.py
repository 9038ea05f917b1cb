"""Contextual states of words in two dimensions (paper, Figure 1)."""

import random
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
import umap
from sklearn.manifold import TSNE, trustworthiness
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.senses.dictionary import word_spans
from dskd_utils.senses.hidden_states import teacher_states
from dskd_utils.sources.teachers import Teacher

OFFSETS = {"next": 1, "input": 0}  # how far before a token its state stands


def word_contexts(
    texts: Iterable[str], words: Sequence[str], *, per_word: int, characters: int = 160, seed: int = 0
) -> pd.DataFrame:
    """Places where words stand in lower case, at most `per_word` a word, drawn uniformly.

    Args:
        texts: running text.
        words: what to look for, as whole words.
        per_word: most places a word.
        characters: text kept before the word.
        seed: of the draw.

    Returns:
        columns `word` and `before`, the text that leads up to the word without the space between.
    """
    pattern = re.compile(r" (" + "|".join(map(re.escape, words)) + r")\b")
    found: dict[str, list[str]] = {word: [] for word in words}
    for text in texts:
        for match in pattern.finditer(text):
            found[match[1]].append(text[max(0, match.start() - characters) : match.start()])
    draw = random.Random(seed)
    kept = {word: draw.sample(places, min(per_word, len(places))) for word, places in found.items()}
    return pd.DataFrame([(word, before) for word in words for before in kept[word]], columns=["word", "before"])


def word_states(teacher: Teacher, contexts: pd.DataFrame, *, key: str = "next", window: int = 32) -> Tensor:
    """The teacher's state of each word in its context, the mean over its tokens where it has several.

    Args:
        teacher: the model.
        contexts: from `word_contexts`.
        key: `"next"` takes the states that expect the word's tokens, `"input"` those that have read them.
        window: tokens read before the word.

    Returns:
        `(n, d)` fp32, one row a context.

    Raises:
        ValueError: an unknown key.
    """
    if key not in OFFSETS:
        raise ValueError(f"key {key!r} is not one of {', '.join(OFFSETS)}")
    spans = word_spans(sorted(set(contexts.word)), teacher.tokenizer)
    befores = teacher.tokenizer(contexts.before.tolist(), add_special_tokens=False)["input_ids"]
    rows = [
        (ids[-window:] or [teacher.tokenizer.eos_token_id], list(spans[word]))
        for word, ids in zip(contexts.word, befores, strict=True)
    ]
    vectors = []
    with torch.inference_mode():
        for before, span in tqdm(rows, desc="states of words", unit="context"):
            ids = torch.tensor([before + span])
            (state,) = teacher_states(teacher, ids, torch.arange(ids.shape[1])[None], [])
            start = len(before) - OFFSETS[key]
            vectors.append(state[0, start : start + len(span)].float().mean(0).cpu())
    return torch.stack(vectors) if vectors else torch.empty(0, teacher.hidden_size)


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
