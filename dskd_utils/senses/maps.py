"""Senses and contextual states of words in two dimensions (paper, Figure 1)."""

import hashlib
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.manifold import TSNE, trustworthiness
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.artefacts import MANIFEST, atomic_folder, code_digest, digest, read_manifest, write_manifest
from dskd_utils.lexicon.spans import word_spans
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.hidden_states import teacher_states
from dskd_utils.sources.packing import first_token
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


def word_states(
    teacher: Teacher, contexts: pd.DataFrame, *, key: str = "next", window: int = 32, batch_size: int = 16
) -> Tensor:
    """The teacher's state of each word in its context, the mean over its tokens where it has several.

    Args:
        teacher: the model.
        contexts: from `word_contexts`.
        key: `"next"` takes the states that expect the word's tokens, `"input"` those that have read them.
        window: tokens read before the word, behind the BOS token where the tokenizer adds one.
        batch_size: contexts a forward pass.

    Returns:
        `(n, d)` fp32, one row a context.

    Raises:
        ValueError: an unknown key.
    """
    if key not in OFFSETS:
        raise ValueError(f"key {key!r} is not one of {', '.join(OFFSETS)}")
    spans = word_spans(sorted(set(contexts.word)), teacher.tokenizer)
    texts = contexts.before.tolist()
    befores = teacher.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    start = first_token(teacher.tokenizer)
    rows = [
        (start + ids[-window:] or [teacher.tokenizer.eos_token_id], list(spans[word]))
        for word, ids in zip(contexts.word, befores, strict=True)
    ]
    vectors = []
    with torch.inference_mode(), tqdm(total=len(rows), desc="states of words", unit="context") as bar:
        for begin in range(0, len(rows), batch_size):
            batch = rows[begin : begin + batch_size]
            longest = max(len(before) + len(span) for before, span in batch)
            # Padded behind the word: a causal model's states before it do not change.
            ids = torch.tensor([(before + span + span[-1:] * longest)[:longest] for before, span in batch])
            (states,) = teacher_states(teacher, ids, torch.arange(longest).expand(len(batch), -1), [])
            for state, (before, span) in zip(states, batch, strict=True):
                first = len(before) - OFFSETS[key]
                vectors.append(state[first : first + len(span)].float().mean(0).cpu())
            bar.update(len(batch))
    return torch.stack(vectors) if vectors else torch.empty(0, teacher.hidden_size)


def composed_senses(dictionary: SenseDictionary, tokenizer, words: Iterable[str]) -> dict[str, Tensor]:
    """Senses `(k, d)` fp32 of each word, composed where it has several tokens (section 3.3).

    Unlike `SenseDictionary.word_senses` this knows every word whose tokens have senses, in the relations or not; a
    word with a token that the corpus does not hold is left out.
    """
    found = {}
    for word, span in word_spans(words, tokenizer).items():
        senses = [dictionary.token_senses(token) for token in span]
        if senses and all(map(len, senses)):
            found[word] = compose_span(senses)
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
    import umap  # here, since its compiler takes seconds and a saved map needs none of it

    near = min(neighbours, len(vectors) // 3)
    layouts = {
        "t-SNE": TSNE(perplexity=near, random_state=seed, init="pca").fit_transform(vectors),
        "UMAP": umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(vectors),
    }
    columns = {f"{name}_{axis}": xy[:, i] for name, xy in layouts.items() for i, axis in enumerate("xy")}
    scores = {name: float(trustworthiness(vectors, xy, n_neighbors=near)) for name, xy in layouts.items()}
    return pd.DataFrame(columns), scores


@dataclass(frozen=True)
class SenseMap:
    """Senses and contextual states of words, with their places on both maps.

    Attributes:
        points: a row a point: `kind` (`"context"`, behind them `"sense"`), `word`, `sense` (of a sense its number in
            the dictionary from 1, of a context the number of the word's nearest sense, 0 where the word has none),
            `share` (of a sense, among the word's contexts here), `distance` (of a context to that sense), `text`
            (what leads up to the word), and `<method>_x`, `<method>_y` for each method.
        vectors: `(n, d)` fp32, the points in the teacher's space.
        scores: trustworthiness by method.
        folder: where all this is kept.
    """

    points: pd.DataFrame
    vectors: np.ndarray
    scores: dict[str, float]
    folder: Path


def sense_map(
    folder: Path,
    teacher: Teacher,
    dictionary: SenseDictionary,
    contexts: pd.DataFrame,
    words: Sequence[str],
    *,
    key: str = "next",
    neighbours: int = 12,
    seed: int = 0,
) -> SenseMap:
    """Figure 1 with senses: made once, and read from its file by every later call with the same inputs.

    Args:
        folder: holds all maps of a study; this one's folder in it is named by a hash of all it depends on, save for
            the machine: a map made elsewhere is drawn as it was made, as UMAP's coordinates differ between machines.
        teacher: gives the contextual states.
        dictionary: gives the senses; its key should be `key`.
        contexts: from `word_contexts`.
        words: whose senses are shown.
        key: which state of a word is taken, as for `word_states`.
        neighbours, seed: as for `project`.

    Raises:
        ValueError: an unknown key, or too few points for a map.
    """
    started = time.monotonic()
    senses = composed_senses(dictionary, teacher.tokenizer, words)
    flat = torch.cat([*senses.values(), torch.empty(0, teacher.hidden_size)])
    parameters = {
        "contexts": digest(contexts.to_dict("list"), 16),
        "senses": hashlib.sha256(flat.numpy().tobytes()).hexdigest()[:16],
        "words": list(words),
        "teacher": teacher.fingerprint,
        "key": key,
        "neighbours": neighbours,
        "seed": seed,
        "code": code_digest("senses/maps.py"),
    }
    made = folder / f"{key}-{digest(parameters)}"
    if not (made / MANIFEST).is_file():
        states = word_states(teacher, contexts, key=key)
        vectors = torch.cat([states, flat]).numpy()
        layout, scores = project(vectors, neighbours=neighbours, seed=seed)
        points = pd.concat([_points(contexts, states, senses).reset_index(drop=True), layout], axis=1)
        with atomic_folder(made) as temporary:
            points.to_parquet(temporary / "points.parquet", index=False)
            np.save(temporary / "vectors.npy", vectors)
            write_manifest(temporary, "map", parameters, started, scores=scores, points=len(points))
    scores = read_manifest(made)["facts"]["scores"]
    return SenseMap(pd.read_parquet(made / "points.parquet"), np.load(made / "vectors.npy"), scores, made)


def _points(contexts: pd.DataFrame, states: Tensor, senses: Mapping[str, Tensor]) -> pd.DataFrame:
    """The contexts with their nearest senses, then the senses with their shares."""
    rows: list[dict[str, Any]] = []
    numbers = torch.zeros(len(contexts), dtype=torch.int64)
    distances = torch.full((len(contexts),), torch.nan)
    for word, centroids in senses.items():
        here = torch.tensor((contexts.word == word).tolist(), dtype=torch.bool)
        nearest = torch.cdist(states[here], centroids).min(1)
        numbers[here], distances[here] = nearest.indices + 1, nearest.values
        used = nearest.indices.bincount(minlength=len(centroids)) / max(1, len(nearest.indices))
        rows += [{"kind": "sense", "word": word, "sense": i + 1, "share": s} for i, s in enumerate(used.tolist())]
    points = contexts.rename(columns={"before": "text"}).assign(
        kind="context", sense=numbers.numpy(), distance=distances.numpy()
    )
    columns = ["kind", "word", "sense", "share", "distance", "text"]
    return pd.concat([points, pd.DataFrame(rows, columns=columns[:4])])[columns]


def cohesion(points: pd.DataFrame, vectors: np.ndarray, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Do the words of a group lie together in the teacher's own space, maps aside?

    Args:
        points: columns `kind` and `word`.
        vectors: `(n, d)`, the points.
        groups: words by the name of their group.

    Returns:
        a row a group and kind: `points`, the mean L2 distance between different words of the group (`within`) and
        from them to all other words (`to others`), and their `ratio`, below 1 where the group holds together.
    """
    rows = []
    for kind, here in points.groupby("kind", sort=False):
        places = here.index.to_numpy()
        word = here.word.to_numpy()
        distance = _all_distances(vectors[places])
        for group, members in groups.items():
            inside = np.isin(word, list(members))
            pairs = (inside[:, None] & inside) & (word[:, None] != word)
            near = distance[pairs].mean() if pairs.any() else np.nan
            far = distance[np.ix_(inside, ~inside)].mean() if inside.any() and not inside.all() else np.nan
            rows.append((group, f"{kind}s", int(inside.sum()), near, far, near / far))
    return pd.DataFrame(rows, columns=["group", "of", "points", "within", "to others", "ratio"])


def neighbour_mix(points: pd.DataFrame, vectors: np.ndarray, *, neighbours: int = 10) -> pd.DataFrame:
    """Whose neighbourhoods overlap: of each word's contexts, the nearest others in the teacher's own space.

    Args:
        points: columns `kind` and `word`; contexts only are used.
        vectors: `(n, d)`, the points.
        neighbours: how many of the nearest contexts are looked at, for a word of fewer contexts as many as could be
            its own.

    Returns:
        a row a word of at least two contexts: `contexts`, `other words` (share of the neighbours that belong to
        another word), `by chance` (that share if neighbours were drawn at random), `ratio` of the two, and
        `most often` (which other word).
    """
    here = points[points.kind == "context"]
    word = here.word.to_numpy()
    distance = _all_distances(vectors[here.index.to_numpy()])
    np.fill_diagonal(distance, np.inf)
    order = word[distance.argsort(1)]
    rows = []
    for name, count in here.word.value_counts(sort=False).items():
        if count < 2:
            continue
        found = order[word == name, : min(neighbours, count - 1)].ravel()
        others = pd.Series(found[found != name]).value_counts()
        share, chance = len(found[found != name]) / len(found), (len(word) - count) / (len(word) - 1)
        ratio = share / chance if chance else np.nan
        rows.append((name, count, share, chance, ratio, others.index[0] if len(others) else ""))
    return pd.DataFrame(rows, columns=["word", "contexts", "other words", "by chance", "ratio", "most often"])


def _all_distances(vectors: np.ndarray) -> np.ndarray:
    """L2 distances `(n, n)` between all rows."""
    rows = torch.from_numpy(np.ascontiguousarray(vectors)).double()
    return torch.cdist(rows, rows).numpy()
