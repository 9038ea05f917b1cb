"""Synonym and antonym pairs merged from many sources, and their negation flips (section 3.2, Tables 1 and 8).

A `Relations` never changes: every step returns a new one. Pairs are unordered and held as integer codes into a
sorted word list, with one bit a source for each of the two relations, so a contradiction stays visible after it
has been resolved. `python -m dskd_utils.lexicon.relations WORD` shows what the sources say about a word.
"""

import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dskd_utils.artefacts import atomic_path
from dskd_utils.lexicon import pair_table
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.pair_table import ANTONYM, BITS, CODES, COLUMNS, DROPPED, SYNONYM, Derivation, normalise
from dskd_utils.lexicon.readers import Pair

LABELS = {DROPPED: "dropped", SYNONYM: "synonym", ANTONYM: "antonym"}
POLICIES = ("antonym", "synonym", "drop")
_FORMAT = 2


class Relations:
    """Synonyms and antonyms of words, each pair with its sources. Built by `from_pairs` or `load`."""

    def __init__(self, words: np.ndarray, pairs: pd.DataFrame, sources: tuple[str, ...], facts: dict):
        self._words, self._pairs, self._sources, self._facts = words, pairs, sources, facts

    @classmethod
    def from_pairs(
        cls,
        synonyms: Iterable[tuple[str, str] | Pair] = (),
        antonyms: Iterable[tuple[str, str] | Pair] = (),
        *,
        source: str = "given",
        keep_multiword: bool = False,
        policy: Literal["antonym", "synonym", "drop"] = "antonym",
    ) -> "Relations":
        """Merge pairs of any number of sources; their order does not matter.

        Args:
            synonyms, antonyms: (word, word) or `Pair`; a `Pair` brings its own source.
            source: what the plain tuples' source is called.
            keep_multiword: keep entries with a space in them (`fall down`); dropped by default.
            policy: which relation a pair gets that is stated as both. `"antonym"` by default, because lists of
                synonyms are longer and looser; `"synonym"`, or `"drop"` for neither.

        Raises:
            ValueError: an unknown policy, or a `Pair` of the other relation.
        """
        streams = (pair_table.tagged(synonyms, "synonym", source), pair_table.tagged(antonyms, "antonym", source))
        return cls.from_stream(*streams, keep_multiword=keep_multiword, policy=policy)

    @classmethod
    def from_stream(
        cls, *streams: Iterable[Pair], keep_multiword: bool = False, policy: str = "antonym"
    ) -> "Relations":
        """Merge what readers yield, synonyms and antonyms mixed, as `from_pairs` does for two separate iterables."""
        if policy not in POLICIES:
            raise ValueError(f"policy is {policy!r}, expected one of {', '.join(POLICIES)}")
        words, rows, sources, facts = pair_table.gather(streams, keep_multiword)
        return cls._merged(words, rows, sources, facts | {"policy": policy, "keep_multiword": keep_multiword})

    @classmethod
    def _merged(cls, words: np.ndarray, rows: pd.DataFrame, sources: tuple[str, ...], facts: dict) -> "Relations":
        words, pairs = pair_table.merge(words, rows, sources, facts["policy"])
        return cls(words, pairs, sources, facts)

    def synonyms(self, word: str) -> set[str]:
        """The word's synonyms; empty for an unknown word."""
        return self._neighbours(word, SYNONYM)

    def antonyms(self, word: str) -> set[str]:
        """The word's antonyms; empty for an unknown word."""
        return self._neighbours(word, ANTONYM)

    def sources(self, word: str, other: str) -> tuple[str, ...]:
        """Names of the sources that state the pair's relation, `"negation"` for a flip; empty if there is none."""
        row = self._row(word, other)
        if row is None or not row.label:
            return ()
        return self._names(row.synonym_bits if row.label == SYNONYM else row.antonym_bits)

    def derivation(self, word: str, other: str) -> Derivation | None:
        """The flip behind a pair (of several, the first by its words), or None where none was needed or made."""
        row = self._row(word, other)
        if row is None or row.via_left < 0:
            return None
        pair = self._words[self._code(word)], self._words[self._code(other)]
        original = self._words[row.via_left], self._words[row.via_right]
        # In the order asked for, with the negated word where its base stands now.
        shared = original[0] == pair[0] or original[1] == pair[1]
        if not shared and not (set(original).isdisjoint(pair) and pair[0] in original[0]):
            original = original[::-1]
        return Derivation(original, LABELS[row.via_label], pair, LABELS[row.label])

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All words with a synonym or an antonym, sorted."""
        alive = self._pairs[self._pairs["label"] > 0]
        return tuple(self._words[np.union1d(alive["left"], alive["right"])])

    @property
    def frame(self) -> pd.DataFrame:
        """One row a pair, contradictions included: word, other, relation, synonym_sources, antonym_sources."""
        pairs = self._pairs
        columns = {"word": self._words[pairs["left"]], "other": self._words[pairs["right"]]}
        columns["relation"] = pairs["label"].map(LABELS).astype("category")
        for column in BITS:
            names = {bits: ", ".join(self._names(bits)) for bits in pairs[column].unique()}
            columns[column.replace("bits", "sources")] = pairs[column].map(names)
        return pd.DataFrame(columns)

    def counts(self) -> dict[str, int]:
        """Pairs by relation and origin, words, and what was lost on the way in.

        `conflicts` are pairs that sources state as both synonym and antonym; `flips` are pairs that only negation
        gives; `flips_overruled` are pairs whose stated relation a flip contradicts (the statement stands).
        """
        labels = self._pairs["label"]
        flips = pair_table.flip_bit(self._sources)
        synonym, antonym = (self._pairs[f"{kind}_bits"].to_numpy() for kind in ("synonym", "antonym"))
        stated, opposed = synonym & ~flips, antonym & ~flips
        steps = {k: v for k, v in self._facts.items() if k not in ("policy", "keep_multiword", "steps")}
        return {
            "synonym_pairs": int((labels == SYNONYM).sum()),
            "antonym_pairs": int((labels == ANTONYM).sum()),
            "words": len(self.words),
            "conflicts": int(((stated > 0) & (opposed > 0)).sum()),
            "flips": int(((stated | opposed) == 0).sum()),
            "flips_overruled": int(
                (((stated > 0) & (antonym & flips > 0)) | ((opposed > 0) & (synonym & flips > 0))).sum()
            ),
            **steps,
        }

    @property
    def steps(self) -> dict[str, dict]:
        """For each relation the statements read by source, and those dropped as `multiword` or `self`."""
        return self._facts["steps"]

    def stated(self) -> dict[str, int]:
        """For each relation the distinct pairs of which a source says so, contradictions counted on both sides."""
        flips = pair_table.flip_bit(self._sources)
        return {kind: int(((self._pairs[f"{kind}_bits"] & ~flips) > 0).sum()) for kind in ("synonym", "antonym")}

    def with_negation(self, negation: Negation, reading: Literal["add", "replace"] = "add") -> "Relations":
        """The relations with morphological flips (Table 1).

        Args:
            negation: `.base(word)` gives the word without its negation, or None.
            reading: `"add"`, the paper's: for a pair (w1, w2) with a negated w1, the NEW pair (base(w1), w2) with
                the other relation is added, and the same for w2. `"replace"`, the released code's: negated
                words are replaced by their bases, the relation changes if one was negated and stays if both
                were, and the pair they came from is gone.

        A flip never overrules what a source states; two flips that disagree are resolved by the policy.

        Raises:
            ValueError: an unknown reading.
        """
        if reading not in ("add", "replace"):
            raise ValueError(f"reading is {reading!r}, expected 'add' (the paper) or 'replace' (the released code)")
        bases = {word: normalise(base) for word in self.words if (base := negation.base(word))}
        words, rows, sources = pair_table.flip(self._words, self._pairs, self._sources, bases, add=reading == "add")
        return self._merged(words, rows, sources, self._facts)

    def without(self, words: Iterable[str]) -> "Relations":
        """The relations that touch none of `words`; nor is any left that was flipped from a pair with such a word."""
        dropped = {normalise(word) for word in words}
        gone = np.array([word in dropped for word in self._words] + [False])
        touched = np.zeros(len(self._pairs), dtype=bool)
        for column in ("left", "right"):
            touched |= gone[self._pairs[column].to_numpy()]
        flips = pair_table.flip_bit(self._sources)
        only_flip = ((self._pairs["synonym_bits"] | self._pairs["antonym_bits"]).to_numpy() & ~flips) == 0
        via = gone[self._pairs["via_left"].to_numpy()] | gone[self._pairs["via_right"].to_numpy()]
        rows = self._pairs[~(touched | (only_flip & via))].copy()
        rows.loc[via[rows.index], ["via_left", "via_right", "via_label"]] = -1
        return self._merged(self._words, rows, self._sources, self._facts)

    def save(self, path: str | Path) -> None:
        """Write one Parquet file, whole or not at all: the columns of `frame` as codes, words as a dictionary."""
        table = self._pairs.copy()
        for column in CODES:
            table[column] = pd.Categorical.from_codes(table[column], categories=pd.Index(self._words, dtype="str"))
        table.attrs = {"format": _FORMAT, "sources": list(self._sources), "facts": self._facts}
        with atomic_path(path) as temporary:
            table.to_parquet(temporary, index=False)

    @classmethod
    def load(cls, path: str | Path) -> "Relations":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not such a file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"there are no relations at {path}: build them with notebook 01 or `Relations.save`"
            )
        try:
            table = pd.read_parquet(path)
            facts, sources = table.attrs["facts"], tuple(table.attrs["sources"])
            known = table.attrs["format"] == _FORMAT and set(COLUMNS) == set(table)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path} is not a file of relations ({error}): delete it and build it again") from error
        if not known:
            raise ValueError(f"{path} has another format of relations than this version reads: build it again")
        words = np.array(sorted(set().union(*(table[column].dropna().unique() for column in CODES))), dtype=object)
        for column in CODES:
            place = pd.Index(words).get_indexer(table[column].cat.categories)
            table[column] = np.append(place, -1)[table[column].cat.codes.to_numpy()].astype(np.int32)
        table.attrs = {}
        return cls(words, table[list(COLUMNS)], sources, facts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Relations):
            return NotImplemented
        same = self._sources == other._sources and self._facts == other._facts
        return same and np.array_equal(self._words, other._words) and self._pairs.equals(other._pairs)

    __hash__ = None

    def __len__(self) -> int:
        return int((self._pairs["label"] > 0).sum())

    def __repr__(self) -> str:
        return f"Relations({', '.join(f'{k}={v}' for k, v in self.counts().items())})"

    def _names(self, bits: int) -> tuple[str, ...]:
        return tuple(name for place, name in enumerate(self._sources) if bits >> place & 1)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: code for code, word in enumerate(self._words)}

    def _code(self, word: str) -> int | None:
        code = self._place.get(word)
        return self._place.get(normalise(word)) if code is None else code

    @cached_property
    def _adjacency(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """For each relation the neighbours of every word as CSR: codes, and offsets (words + 1,)."""
        found = {}
        for label in (SYNONYM, ANTONYM):
            rows = self._pairs[self._pairs["label"] == label]
            heads = np.concatenate([rows["left"], rows["right"]])
            tails = np.concatenate([rows["right"], rows["left"]])
            offsets = np.zeros(len(self._words) + 1, dtype=np.int64)
            np.cumsum(np.bincount(heads, minlength=len(self._words)), out=offsets[1:])
            found[label] = tails[np.argsort(heads, kind="stable")], offsets
        return found

    def _neighbours(self, word: str, label: int) -> set[str]:
        code = self._code(word)
        if code is None:
            return set()
        tails, offsets = self._adjacency[label]
        return set(self._words[tails[offsets[code] : offsets[code + 1]]])

    @cached_property
    def _keys(self) -> np.ndarray:
        return self._pairs["left"].to_numpy(np.int64) * max(len(self._words), 1) + self._pairs["right"].to_numpy()

    def _row(self, word: str, other: str):
        """The pair's row, or None."""
        a, b = self._code(word), self._code(other)
        if a is None or b is None:
            return None
        key = min(a, b) * len(self._words) + max(a, b)
        at = int(np.searchsorted(self._keys, key))
        return self._pairs.iloc[at] if at < len(self._keys) and self._keys[at] == key else None


if __name__ == "__main__":
    from dskd_utils.lexicon.lookup import main

    sys.exit(main())
