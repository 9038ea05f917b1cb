"""Words in a model's own space: where they occur, and whether synonyms lie nearer than antonyms (beyond section 5).

The teacher's dictionary says nothing about a student's space, so every model reads the same occurrences itself.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from dskd_utils.evaluate.probe_data import similarity_records
from dskd_utils.lexicon.pair_table import normalise
from dskd_utils.sources.wikipedia import Document

OCCURRENCES = 3  # of a word
LEFT = 120  # characters that are read before a word, less what stands before the first blank in them
SETS = ("SimLex-999", "WS-353-SIM")  # of people's scores: likeness proper, not relatedness
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


def own_space_records(vectors: Mapping[str, Mapping[str, Tensor]], pairs: pd.DataFrame) -> pd.DataFrame:
    """Cosines of the two words of synonym and antonym pairs in each model's own space, for `probes.probe_table`.

    Args:
        vectors: name of the model -> word -> `(d,)`, from `word_vectors` over the same contexts.
        pairs: from `held_out_pairs`.

    Returns:
        as `similarity_records`, with `gold` 1 for synonyms and 0 for antonyms, and `subset` all, one or both held out.
    """
    pairs = pairs.reset_index(drop=True).assign(gold=(pairs["relation"] == "synonym").to_numpy(float))
    records = similarity_records(vectors, pairs)
    held = records["held_out"].map({1: "one held out", 2: "both held out"})
    return records.assign(probe=OWN_SPACE, subset=[["all", name] for name in held])
