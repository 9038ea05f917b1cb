"""The integer table behind `relations.Relations`: gathering, merging and flipping pairs (section 3.2).

Pure functions on `words` (sorted object array) and `rows`, a frame with one row a statement or pair: `left` <
`right` (codes of words), `label` (what the row says), `synonym_bits` and `antonym_bits` (one bit a source), and
`via_left`, `via_right`, `via_label` (the pair a flip came from, -1 for none).
"""

import itertools
import unicodedata
from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from dskd_utils.lexicon.readers import Pair

DROPPED, SYNONYM, ANTONYM = 0, 1, 2
FLIP = "negation"  # the source of pairs that morphological negation gives
BITS = ("synonym_bits", "antonym_bits")
CODES = ("left", "right", "via_left", "via_right")
COLUMNS = ("left", "right", "label", "synonym_bits", "antonym_bits", "via_left", "via_right", "via_label")
MAX_SOURCES = 30  # bits of an int32, one spared for the flips


class Derivation(NamedTuple):
    """How a flip came about: the pair and relation it started from, and the pair and relation it gave."""

    original: tuple[str, str]
    original_relation: str
    pair: tuple[str, str]
    relation: str

    def __str__(self) -> str:
        return f"{'/'.join(self.original)} {self.original_relation} -> {'/'.join(self.pair)} {self.relation}"


def normalise(word: str) -> str:
    """NFKC, lower case, underscores and runs of blanks as one space."""
    return " ".join(unicodedata.normalize("NFKC", word).lower().replace("_", " ").split())


def tagged(pairs: Iterable, relation: str, source: str) -> Iterable[Pair]:
    """Each plain tuple as a `Pair` of a relation; a `Pair` as it is, if it is of that relation."""
    for pair in pairs:
        if not isinstance(pair, Pair):
            pair = Pair(pair[0], pair[1], relation, source)
        elif pair.relation != relation:
            raise ValueError(f"{pair} was given among the {relation}s: use Relations.from_stream for mixed readers")
        yield pair


def gather(streams: Iterable[Iterable[Pair]], keep_multiword: bool) -> tuple:
    """Words, rows, source names and counts of what was dropped, of pairs from any number of streams.

    Raises:
        ValueError: more sources than bits, or a relation that is neither synonym nor antonym.
    """
    codes: dict[str, int] = {}
    source_codes: dict[str, int] = {}
    kinds = {"synonym": SYNONYM, "antonym": ANTONYM}
    left, right, marks = array("i"), array("i"), array("i")
    for word, other, relation, source in itertools.chain.from_iterable(streams):
        if relation not in kinds:
            raise ValueError(f"the pair {word!r}, {other!r} is marked {relation!r}, expected 'synonym' or 'antonym'")
        left.append(codes.setdefault(word, len(codes)))
        right.append(codes.setdefault(other, len(codes)))
        marks.append(source_codes.setdefault(source, len(source_codes)) << 2 | kinds[relation])
    if len(source_codes) > MAX_SOURCES:
        raise ValueError(f"{len(source_codes)} sources, at most {MAX_SOURCES} can be told apart: name several alike")
    # Everything from here on is about the sorted names, so the order of arrival leaves no trace.
    spelt = [normalise(word) for word in codes]
    words = np.array(sorted({word for word in spelt if word and (keep_multiword or " " not in word)}), dtype=object)
    place = {word: code for code, word in enumerate(words)}
    final = np.array([place.get(word, -1) for word in spelt], dtype=np.int32)
    sources = tuple(sorted(source_codes))
    bit = np.array([1 << sources.index(name) for name in source_codes], dtype=np.int32)
    a, b, marks = (np.array(x, dtype=np.int32) for x in (left, right, marks))
    a, b, bits, kind = final[a], final[b], bit[marks >> 2], marks & 3
    known = (a >= 0) & (b >= 0)
    usable = known & (a != b)
    facts = {
        "pairs_read": len(a),
        "multiword_or_empty_dropped": int((~known).sum()),
        "self_pairs_dropped": int((known & (a == b)).sum()),
        "steps": {
            name: {
                "read": {source: int(((kind == label) & (bits == 1 << i)).sum()) for i, source in enumerate(sources)},
                "multiword": int(((kind == label) & ~known).sum()),
                "self": int(((kind == label) & known & (a == b)).sum()),
            }
            for name, label in kinds.items()
        },
    }
    rows = _rows(a[usable], b[usable], kind[usable], bits[usable])
    return words, rows, sources, facts


def _rows(a: np.ndarray, b: np.ndarray, label: np.ndarray, bits: np.ndarray | int, via: tuple = (-1, -1, -1)):
    """A frame of rows, each with one relation."""
    return pd.DataFrame(
        {
            "left": np.minimum(a, b),
            "right": np.maximum(a, b),
            "label": label,
            "synonym_bits": np.where(label == SYNONYM, bits, 0),
            "antonym_bits": np.where(label == ANTONYM, bits, 0),
            "via_left": via[0],
            "via_right": via[1],
            "via_label": via[2],
        }
    )


def merge(words: np.ndarray, rows: pd.DataFrame, sources: tuple[str, ...], policy: str) -> tuple:
    """Words that are used and one row a pair, sorted: bits united, contradictions resolved, one derivation kept."""
    key = rows["left"].to_numpy(np.int64) * max(len(words), 1) + rows["right"].to_numpy(np.int64)
    order = np.argsort(key, kind="stable")
    rows, key = rows.iloc[order].reset_index(drop=True), key[order]
    first = np.r_[True, key[1:] != key[:-1]][: len(key)]
    starts = np.flatnonzero(first)
    bits = {c: np.bitwise_or.reduceat(rows[c].to_numpy(), starts) if len(starts) else starts for c in BITS}
    label = resolve(bits["synonym_bits"], bits["antonym_bits"], sources, policy)

    # Of several derivations a pair keeps the first by its words, among those that give its relation.
    told = rows["label"].to_numpy() == label[np.cumsum(first) - 1] if len(rows) else first
    via = {c: np.where(told, rows[c].to_numpy(), -1) for c in ("via_left", "via_right", "via_label")}
    behind = np.where(via["via_left"] < 0, len(words), via["via_left"])
    best = np.lexsort((via["via_label"], via["via_right"], behind, key))[starts]
    pairs = pd.DataFrame(
        {"left": rows["left"].to_numpy()[starts], "right": rows["right"].to_numpy()[starts], "label": label}
        | bits
        | {c: values[best] for c, values in via.items()}
    )
    used = np.zeros(len(words), dtype=bool)
    for column in CODES:
        used[pairs.loc[pairs[column] >= 0, column]] = True
    renumber = np.append(np.cumsum(used) - 1, -1).astype(np.int32)  # the last place keeps -1 as it is
    for column in CODES:
        pairs[column] = renumber[pairs[column].to_numpy()]
    return words[used], pairs.astype({c: np.int8 if c.endswith("label") else np.int32 for c in COLUMNS})


def resolve(synonym: np.ndarray, antonym: np.ndarray, sources: tuple[str, ...], policy: str) -> np.ndarray:
    """The relation of every pair: what sources state, else what flips give; both alike by the policy."""
    flip = flip_bit(sources)
    stated = ((synonym | antonym) & ~flip) > 0
    is_synonym = np.where(stated, synonym & ~flip, synonym) > 0
    is_antonym = np.where(stated, antonym & ~flip, antonym) > 0
    both = {"antonym": ANTONYM, "synonym": SYNONYM, "drop": DROPPED}[policy]
    return np.select([is_synonym & is_antonym, is_synonym, is_antonym], [both, SYNONYM, ANTONYM], DROPPED)


def flip_bit(sources: tuple[str, ...]) -> int:
    """The bit that marks flips, 0 before any was made."""
    return 1 << sources.index(FLIP) if FLIP in sources else 0


def flip(words: np.ndarray, rows: pd.DataFrame, sources: tuple[str, ...], bases: Mapping[str, str], add: bool) -> tuple:
    """Words, rows and sources with the flips of every pair that has a word in `bases` (word -> base).

    `add` keeps all rows and adds one for each negated word; else both words are replaced and the old row goes.
    """
    grown = np.array(sorted({*words, *bases.values()}), dtype=object)
    place = {word: code for code, word in enumerate(grown)}
    moved = np.array([place[word] for word in words] + [-1], dtype=np.int32)
    base = np.arange(len(grown), dtype=np.int32)
    for word, stripped in bases.items():
        base[place[word]] = place[stripped]
    rows = rows.assign(**{column: moved[rows[column].to_numpy()] for column in CODES})
    names = tuple(sorted({*sources, FLIP}))
    for column in BITS:
        old = rows[column].to_numpy()
        rows[column] = sum(((old >> i & 1) << names.index(name) for i, name in enumerate(sources)), np.zeros_like(old))

    alive = rows[rows["label"] != DROPPED]
    left, right, label = (alive[c].to_numpy() for c in ("left", "right", "label"))
    other = SYNONYM + ANTONYM - label
    if add:
        made = [(base[left], right, other), (left, base[right], other)]
    else:
        odd = (base[left] != left) ^ (base[right] != right)
        made = [(base[left], base[right], np.where(odd, other, label))]
        rows = rows[(base[rows["left"]] == rows["left"]) & (base[rows["right"]] == rows["right"])]
    found = [rows]
    for a, b, given in made:
        new = (a != b) & ((a != left) | (b != right))
        via = (left[new], right[new], label[new])
        found.append(_rows(a[new], b[new], given[new], flip_bit(names), via))
    return grown, pd.concat(found, ignore_index=True), names
