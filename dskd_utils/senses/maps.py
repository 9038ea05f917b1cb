"""Words' senses in two dimensions (paper, Figure 1)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import umap
from sklearn.manifold import TSNE, trustworthiness
from torch import Tensor

from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import SenseDictionary, word_spans


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
