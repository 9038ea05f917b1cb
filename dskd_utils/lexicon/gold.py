"""Gold pairs that the sources and the negation flips of section 3.2 are judged by, and what they have in common.

No gold set is fully independent of the study's sources: the counter-fitting list of WordNet antonyms IS WordNet,
inflected (encode, deciphering) and widened by a synonym at either end, and AntSynNET was drawn from WordNet and
Wordnik. `overlap` says how much of each set the sources state themselves, and belongs beside every result.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from dskd_utils.lexicon.pair_table import FLIP, normalise
from dskd_utils.lexicon.readers import read_lines
from dskd_utils.lexicon.relations import Relations

RELATIONS = ("synonym", "antonym")
HG2VEC_ONLY = "hg2vec only"
COLUMNS = ["set", "word", "other", "relation"]
# Files below `lexical/` and what their pairs are; None where each line carries its own label.
FILES: dict[str, tuple[tuple[str, str | None], ...]] = {
    f"antsynnet {part}": tuple((f"antsynnet/{part}-pairs.{split}", None) for split in ("train", "val"))
    for part in ("adjective", "noun", "verb")
} | {
    "ppdb": (
        ("counter_fitting/ppdb_synonyms.txt.gz", "synonym"),
        ("counter_fitting/ppdb_antonyms.txt.gz", "antonym"),
    ),
    "wordnet antonyms": (("counter_fitting/wordnet_antonyms.txt.gz", "antonym"),),
    "hg2vec": (("hg2vec/syn-pairs.txt.gz", "synonym"), ("hg2vec/ant-pairs.txt.gz", "antonym")),
}


class Gold(NamedTuple):
    """Gold pairs and how many were lost on the way in.

    `pairs`: set, word, other (word < other), relation; each pair once a set. `facts`: one row a set.
    """

    pairs: pd.DataFrame
    facts: pd.DataFrame


def load_gold(
    data_dir: str | Path | None, stated: Relations | None = None, sets: Collection[str] = tuple(FILES)
) -> Gold:
    """The gold sets that `data_dir/lexical` holds as normalised, unordered pairs of single words.

    Args:
        data_dir: may hold `lexical/antsynnet`, `lexical/counter_fitting` and `lexical/hg2vec`; a set that lacks a file
            is left out.
        stated: the study's relations before flips. With them and HG2Vec there is one set more, `"hg2vec only"`: the
            pairs of HG2Vec that none of the sources states as either relation. Only flips can be found among these.
        sets: which sets, of `FILES`.

    Raises:
        ValueError: a line of AntSynNET is not two words and 0 or 1 (file and line are named).
    """
    folder = Path(data_dir or "") / "lexical"
    found, facts = [pd.DataFrame(columns=COLUMNS, dtype=str)], {}
    for name, files in FILES.items():
        if data_dir is None or name not in sets or not all((folder / file).is_file() for file, _ in files):
            continue
        lines = pd.DataFrame(
            [line for file, relation in files for line in _read(folder / file, relation)],
            columns=["word", "other", "relation"],
        )
        pairs, facts[name] = _clean(lines)
        found.append(pairs.assign(set=name))
    if stated is not None and "hg2vec" in facts:
        only = found[-1].merge(pair_sources(stated)[["word", "other"]], how="left", indicator=True)
        only = only[only["_merge"] == "left_only"].drop(columns="_merge")
        facts[HG2VEC_ONLY] = {"stated by a source": len(found[-1]) - len(only)} | _sizes(only)
        found.append(only.assign(set=HG2VEC_ONLY))
    table = pd.DataFrame(facts).T.fillna(0).astype(int).rename_axis("set")
    table = table.reindex(columns=[c for c in table if c not in RELATIONS] + list(RELATIONS))
    return Gold(pd.concat(found, ignore_index=True)[COLUMNS], table)


def _read(path: Path, relation: str | None) -> Iterator[tuple[str, str, str]]:
    """Two words and a relation of every line; an empty word stands for what is not a single word."""
    for number, line in read_lines(path):
        fields = line.split()
        if relation is not None:
            # HG2Vec has lines of one word and of a whole sentence.
            yield (fields[0], fields[1], relation) if len(fields) == 2 else ("", "", relation)
        elif line.count("\t") == 2 and len(fields) == 3 and fields[2] in ("0", "1"):
            yield fields[0], fields[1], RELATIONS[int(fields[2])]
        else:
            raise ValueError(f"{path}, line {number}: expected word, word, 0 or 1 with tabs, found {line[:60]!r}")


def _clean(lines: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row a pair, and what was dropped: not single words, self pairs, duplicates, pairs labelled both ways."""
    spelt = {word: normalise(word) for word in {*lines["word"], *lines["other"]}}
    a, b = lines["word"].map(spelt), lines["other"].map(spelt)
    single = (a != "") & (b != "") & ~a.str.contains(" ") & ~b.str.contains(" ")
    # Smaller word first, as in `Relations.frame`.
    pairs = pd.DataFrame({"word": a.where(a < b, b), "other": b.where(a < b, a), "relation": lines["relation"]})
    usable = pairs[single & (a != b)]
    labelled = usable.drop_duplicates()
    both = labelled.duplicated(["word", "other"], keep=False)
    once = labelled[~both].sort_values(["relation", "word", "other"], ascending=[False, True, True], ignore_index=True)
    dropped = {
        "lines": len(lines),
        "not two single words": int((~single).sum()),
        "self pairs": int((single & (a == b)).sum()),
        "duplicates": len(usable) - len(labelled),
        "pairs labelled both ways": int(both.sum()) // 2,
    }
    return once, dropped | _sizes(once)


def _sizes(pairs: pd.DataFrame) -> dict[str, int]:
    return {relation: int((pairs["relation"] == relation).sum()) for relation in RELATIONS}


def pair_sources(relations: Relations) -> pd.DataFrame:
    """Pairs that a source states, flips left out: word, other, and one boolean column a source that states either."""
    frame = relations.frame
    named = frame["synonym_sources"] + ", " + frame["antonym_sources"]
    stated_by = {text: set(text.split(", ")) - {"", FLIP} for text in named.unique()}
    table = frame[["word", "other"]].copy()
    for name in sorted(set().union(*stated_by.values())):
        table[name] = named.map({text: name in names for text, names in stated_by.items()})
    return table[named.map(stated_by).astype(bool)].reset_index(drop=True)


def compare(relations: Relations, pairs: pd.DataFrame) -> pd.DataFrame:
    """Gold pairs with what the relations say about them.

    Args:
        pairs: word, other, relation, as in `Gold.pairs`.

    Returns:
        The rows of `pairs` in their order, with `known` (both words have a relation of any kind), `given` (the
        relation of the pair, missing where there is none) and `right` (given and gold agree).
    """
    frame = relations.frame[["word", "other", "relation"]].rename(columns={"relation": "given"})
    frame["given"] = frame["given"].astype("str")
    found = pairs.merge(frame[frame["given"] != "dropped"], how="left", on=["word", "other"])
    found["known"] = both_in(found, set(relations.words))
    found["right"] = found["given"] == found["relation"]
    return found


def both_in(pairs: pd.DataFrame, words: set[str]) -> list[bool]:
    """Whether both words of each pair are among `words`."""
    return [a in words and b in words for a, b in zip(*objects(pairs, "word", "other"), strict=True)]


def objects(table: pd.DataFrame, *columns: str) -> list[np.ndarray]:
    """Columns as object arrays: looping over pandas' own strings takes several times as long."""
    return [table[column].to_numpy(dtype=object) for column in columns]


def overlap(relations: Relations, gold: Gold, lemmas: Mapping[str, str] | None = None) -> pd.DataFrame:
    """How much of each gold set the study's own sources state, by source, so that nobody takes it for independent.

    Args:
        relations: with or without flips; these are left out.
        lemmas: word -> lemma, as `split.lemmatise` gives it. With them the column `by lemma` counts pairs that
            a source states themselves or by their lemmas, since some lists are WordNet inflected.

    Returns:
        One row a set and relation: pairs; pairs stated by each source (as either relation), by any; the share;
        how many of these the sources give the other relation.
    """
    sources = pair_sources(relations)
    names = [column for column in sources if column not in ("word", "other")]
    table = gold.pairs.merge(sources, how="left", on=["word", "other"])
    table[names] = table[names].eq(True)
    table["any"] = table[names].any(axis=1)
    given = compare(relations, gold.pairs)
    table["other relation"] = table["any"] & given["given"].notna() & ~given["right"]
    counted = [*names, "any", "other relation"]
    if lemmas is not None:
        a, b = (gold.pairs[c].map(lambda word: lemmas.get(word, word)) for c in ("word", "other"))
        stated = pd.MultiIndex.from_frame(sources[["word", "other"]])
        turned = pd.MultiIndex.from_arrays([a.where(a < b, b), b.where(a < b, a)])
        table["by lemma"] = table["any"] | turned.isin(stated)
        counted.append("by lemma")
    groups = table.groupby(["set", "relation"], sort=False)
    result = groups[counted].sum().astype(int)
    result.insert(0, "pairs", groups.size())
    result.insert(len(names) + 2, "share", result["any"] / result["pairs"])
    return result.reset_index()


def add_interval(table: pd.DataFrame, right: str, n: str, name: str) -> pd.DataFrame:
    """The table with the share `name` = `right` / `n` and its 95% interval after Wilson; NaN where n is 0."""
    rows = []
    for successes, total in zip(table[right].astype(int), table[n].astype(int), strict=True):
        interval = binomtest(successes, total).proportion_ci(0.95, method="wilson") if total else (float("nan"),) * 2
        rows.append((successes / total if total else float("nan"), *interval))
    columns = [name, f"{name} low", f"{name} high"]
    return table.assign(**dict(zip(columns, zip(*rows, strict=True) if rows else ([], [], []), strict=True)))
