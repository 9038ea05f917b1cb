"""Evaluation text in training text, found by shared runs of words and taken out (paper, section 3.1)."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from tqdm.auto import tqdm

from dskd_utils.sources.wikipedia import Document, normalise_title

NGRAM = 13  # words; the length that GPT-3 and later work use to find evaluation text in training text
SHORT = 5  # lines of 5 to 12 words are compared whole; shorter ones say too little to call a match a leak

_WORD = re.compile(r"[^\W_]+")
_LABELS = {"question", "goal"}  # prompt words that would hide that two short questions are the same


class _WordHashes(dict):
    """Word -> 64-bit hash, the same in every process; computed once a word."""

    def __missing__(self, word: str) -> int:
        self[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
        return self[word]


_word_hashes = _WordHashes()


def _words(text: str) -> list[str]:
    return _WORD.findall((text if text.isascii() else unicodedata.normalize("NFKC", text)).lower())


def _combine(values: np.ndarray, starts: np.ndarray, n: int) -> np.ndarray:
    """Hashes of the n words from each of `starts` on: a polynomial in an odd base, modulo 2^64, (len(starts),)."""
    total = np.full(len(starts), n, np.uint64)
    for place in range(n):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[starts + place]
    return total


def ngram_hashes(text: str, n: int = NGRAM) -> set[int]:
    """64-bit hashes of the word n-grams of a text (lower case, letters and digits only), equal in every process."""
    values = np.array([_word_hashes[word] for word in _words(text)], np.uint64)
    return set(_combine(values, np.arange(max(len(values) - n + 1, 0)), n).tolist())


def _keys(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What two texts must not share, as hashes (m,) uint64 with the text each is from (m,) int64.

    Those are the runs of 13 words, and the lines of 5 to 12 words as a whole.
    """
    words: list[str] = []
    short: list[tuple[int, int, int]] = []  # (first word, words, text)
    lengths = []
    for index, text in enumerate(texts):
        before = len(words)
        for line in text.split("\n"):
            found = _words(line)
            label = len(found) > 0 and found[0] in _LABELS
            if SHORT <= len(found) - label < NGRAM:
                short.append((len(words) + label, len(found) - label, index))
            words += found
        lengths.append(len(words) - before)
    values = np.fromiter(map(_word_hashes.__getitem__, words), np.uint64, len(words))
    owner = np.repeat(np.arange(len(texts)), lengths)
    starts = np.arange(max(len(words) - NGRAM + 1, 0))
    starts = starts[owner[starts] == owner[starts + NGRAM - 1]]
    keys, owners = [_combine(values, starts, NGRAM)], [owner[starts]]
    lines = np.array(short, np.int64).reshape(-1, 3)
    for n in range(SHORT, NGRAM):
        chosen = lines[lines[:, 1] == n]
        keys.append(_combine(values, chosen[:, 0], n))
        owners.append(chosen[:, 2])
    return np.concatenate(keys), np.concatenate(owners)


def _evaluation_keys(evaluation: Iterable[str | Document]) -> tuple[np.ndarray, set[str]]:
    """Sorted hashes and normalised titles of what training text must not hold."""
    evaluation = list(evaluation)
    titles = {normalise_title(item.title) for item in evaluation if isinstance(item, Document)}
    return np.sort(_keys([item if isinstance(item, str) else item.text for item in evaluation])[0]), titles


def _among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of `keys` (n,) are in the sorted `known` (m,), as (n,) bool."""
    if not len(known):
        return np.zeros(len(keys), bool)
    return known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys


def remove_leaks(
    training: Sequence[Document], evaluation: Iterable[str | Document]
) -> tuple[list[Document], list[Document]]:
    """Training documents without and with a leak: `(kept, removed)`, both in the given order.

    A leak is a title that an evaluation document has, a shared run of 13 words, or a shared line of 5 to 12 words.
    """
    known, titles = _evaluation_keys(evaluation)
    kept: list[Document] = []
    removed: list[Document] = []
    for start in tqdm(range(0, len(training), 1000), desc="comparing texts", disable=len(training) < 50_000):
        batch = training[start : start + 1000]
        keys, owners = _keys([document.text for document in batch])
        leaking = set(owners[_among(keys, known)].tolist())
        for index, document in enumerate(batch):
            leak = index in leaking or normalise_title(document.title) in titles
            (removed if leak else kept).append(document)
    return kept, removed


def leak_report(training: Iterable[Document], evaluation: Iterable[str | Document]) -> dict[str, int]:
    """How much the two share: `{"titles": ..., "ngrams": ...}`; both are 0 after `remove_leaks`.

    `ngrams` counts the distinct runs of 13 words, and lines of 5 to 12, of the training text.
    """
    training = list(training)
    known, titles = _evaluation_keys(evaluation)
    keys, _ = _keys([document.text for document in training])
    shared = titles & {normalise_title(document.title) for document in training}
    return {"titles": len(shared), "ngrams": len(set(keys[_among(keys, known)].tolist()))}
