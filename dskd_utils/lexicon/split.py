"""One seeded split of words by lemma, made before flips and composition; no section of the paper.

Words of a lemma stay together. No relation that touches a held-out word may enter the dictionary's neighbours or
the loss; since a flip can turn a training pair into one with a held-out word, `training_relations` filters twice.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.readers import read_lines
from dskd_utils.lexicon.relations import Relations

Part = Literal["train", "validation", "test"]

# WordNet's rules of detachment, morphy(7WN): the ending that goes and what takes its place.
_DETACHMENTS = {
    "noun": [
        ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
        ("ies", "y"),
    ],
    "verb": [
        ("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""),
    ],
    "adj": [("er", ""), ("est", ""), ("er", "e"), ("est", "e")],
    "adv": [],
}  # fmt: skip


def lemmatise(words: Iterable[str], wordnet_folder: str | Path) -> dict[str, str]:
    """The lemma of each word after WordNet's morphy: exceptions first, then endings, each checked in the index.

    Exceptions of any part of speech come first, so that `felt` falls under `feel` and their relations stay on one
    side of the split; then a word that is an entry stays, then endings are tried in the order noun, verb,
    adjective. A word that WordNet does not know is its own lemma.

    Args:
        wordnet_folder: holds `index.*` and `*.exc` of WordNet.

    Raises:
        FileNotFoundError, ValueError: a file is missing, empty or malformed (file and line are named).
    """
    folder = Path(wordnet_folder)
    index: dict[str, set[str]] = {}
    exceptions: dict[str, dict[str, str]] = {}
    for part in _DETACHMENTS:
        lines = read_lines(folder / f"index.{part}")
        index[part] = {line.split(" ", 1)[0].replace("_", " ") for _, line in lines if not line.startswith("  ")}
        exceptions[part] = {}
        for number, line in read_lines(folder / f"{part}.exc"):
            inflected, _, lemmas = line.partition(" ")
            if not lemmas.strip():
                raise ValueError(
                    f"{folder / f'{part}.exc'}, line {number}: expected a form and its lemma, found {line!r}"
                )
            exceptions[part][inflected.replace("_", " ")] = lemmas.split()[0].replace("_", " ")
    return {word: _morphy(word, index, exceptions) for word in words}


def _morphy(word: str, index: Mapping[str, set[str]], exceptions: Mapping[str, dict[str, str]]) -> str:
    """The first lemma that WordNet knows for a word, or the word itself."""
    for part in _DETACHMENTS:
        if found := exceptions[part].get(word):
            return found
    if any(word in entries for entries in index.values()):
        return word
    for part, rules in _DETACHMENTS.items():
        for ending, instead in rules:
            if word.endswith(ending) and (lemma := word[: -len(ending)] + instead) in index[part]:
                return lemma
    return word


def split_words(
    words: Iterable[str], lemmas: Mapping[str, str], *, seed: int = 0, held_out: float = 0.15
) -> dict[str, Part]:
    """Which part each word belongs to, decided by a stable hash of its lemma.

    A lemma's part depends on the seed and the lemma alone: more words, another order or another machine change
    nothing. `held_out` of the lemmas are held out, a third of these for validation, the rest for test.

    Args:
        lemmas: word -> lemma, as `lemmatise` gives it; a word without an entry is its own lemma.

    Raises:
        ValueError: `held_out` is not between 0 and 1.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out is {held_out}, expected a share of the lemmas from 0 up to, but not, 1")
    return {word: _part(lemmas.get(word, word), seed, held_out) for word in words}


def _part(lemma: str, seed: int, held_out: float) -> Part:
    number = int.from_bytes(hashlib.blake2b(f"{seed}\t{lemma}".encode(), digest_size=8).digest()) / 2**64
    if number >= held_out:
        return "train"
    return "validation" if number < held_out / 3 else "test"


def training_relations(
    relations: Relations,
    negation: Negation | None,
    split: Mapping[str, Part],
    reading: Literal["add", "replace"] = "add",
) -> Relations:
    """The relations that training may see: held-out words dropped, flips made, held-out words dropped again.

    Args:
        relations: before any flip.
        negation: None for a study without flips.
        split: word -> part for every word of `relations` AND every base of one, as a flip brings new words in.

    Raises:
        ValueError: a word of the outcome has no part in the split.
    """
    held = [word for word, part in split.items() if part != "train"]
    found = relations.without(held)
    if negation is not None:
        found = found.with_negation(negation, reading).without(held)
    missing = [word for word in found.words if word not in split]
    if missing:
        raise ValueError(
            f"{len(missing)} words have no part in the split ({', '.join(missing[:3])}, ...): "
            "split the words of the relations with flips, not those before"
        )
    return found
