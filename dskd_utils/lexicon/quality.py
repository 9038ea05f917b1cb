"""How good the synonyms and antonyms are: sources judged by others, flips judged alone (section 3.2, Tables 1 and 8).

A gold set holds related pairs only, so the accuracy of what is found in one is an upper bound for precision: a flip
between unrelated words is never found. Two things make up for it: stated pairs scored on the same set, and
`flips.hand_precision`, where every flip of a random draw was read. Intervals are Wilson's and take pairs as
independent; flips of one negated word are not quite, so read them as somewhat too narrow.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dskd_utils.lexicon.flips import derive, flips
from dskd_utils.lexicon.gold import RELATIONS, Gold, add_interval, both_in, compare, objects, pair_sources
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.pair_table import FLIP
from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations

READINGS = ("none", "add", "replace")
OTHER_SOURCES = "the other sources"
ANY_SET = "any set"


def of_sources(relations: Relations, names: tuple[str, ...], policy: str = "antonym") -> Relations:
    """The relations as if only the named sources had been read, flips left out."""
    return Relations.from_stream(_statements(relations, set(names)), keep_multiword=True, policy=policy)


def _statements(relations: Relations, names: set[str]) -> Iterator[Pair]:
    frame = relations.frame
    for relation in RELATIONS:
        told = frame[frame[f"{relation}_sources"] != ""]
        for word, other, sources in zip(*objects(told, "word", "other", f"{relation}_sources"), strict=True):
            yield from (Pair(word, other, relation, name) for name in sources.split(", ") if name in names)


def leave_one_out(
    relations: Relations, gold: Gold, negation: Negation | None = None, policy: str = "antonym"
) -> pd.DataFrame:
    """Every source alone, all but one, and all together, judged by the gold sets and by the sources left out.

    Args:
        relations: before flips.
        negation: with it each choice of sources is judged without flips and with those of both readings.
        policy: the policy that the relations were merged by.

    Returns:
        One row for each choice of `sources`, reading of `flips`, gold `set`, `relation` (`"both"` pools them) and
        `part` of the set: `"all"`, `"others silent"` (pairs that no source left out states), `"flips only"` (pairs
        that the judged sources do not state). Counts: `pairs`, `known` (both words), `found` (the pair), `right`;
        shares with 95% intervals: `known share`, `coverage` = found / pairs, `accuracy` = right / found.
        `"hg2vec only"` can be found by flips alone, by its construction.
    """
    names = [c for c in pair_sources(relations) if c not in ("word", "other")]
    sizes = sorted({1, max(len(names) - 1, 1), len(names)})
    choices = [choice for size in sizes for choice in itertools.combinations(names, size)]
    tables = []
    for choice in tqdm(choices, desc="sources judged", leave=False):
        rest = tuple(name for name in names if name not in choice)
        alone, others = (of_sources(relations, chosen, policy) for chosen in (choice, rest))
        pairs = pd.concat([gold.pairs, _as_gold(others)], ignore_index=True)
        plain, silent = compare(alone, pairs), compare(others, pairs)["given"].isna()
        for reading in READINGS if negation is not None else READINGS[:1]:
            found = plain if reading == "none" else compare(alone.with_negation(negation, reading), pairs)
            parts = {"all": found}
            if rest:
                parts["others silent"] = found[silent]
            if reading != "none":
                parts["flips only"] = found[plain["given"].isna()]
            named = {"sources": " + ".join(choice), "flips": reading}
            tables += [_scores(rows).assign(**named, part=part) for part, rows in parts.items()]
    table = pd.concat(tables, ignore_index=True)
    first = ["sources", "flips", "set", "part", "relation"]
    return table[first + [c for c in table if c not in first]]


def _as_gold(relations: Relations) -> pd.DataFrame:
    frame = relations.frame[["word", "other", "relation"]].astype("str")
    return frame[frame["relation"] != "dropped"].assign(set=OTHER_SOURCES)


def _scores(found: pd.DataFrame) -> pd.DataFrame:
    """Counts, coverage and accuracy of what `compare` gives, by set and gold relation, and both relations pooled."""
    found = pd.concat([found, found.assign(relation="both")])
    found = found.assign(pairs=True, found=found["given"].notna())
    table = found.groupby(["set", "relation"], sort=False)[["pairs", "known", "found", "right"]].sum().reset_index()
    table = add_interval(table, "known", "pairs", "known share")
    table = add_interval(table, "found", "pairs", "coverage")
    return add_interval(table, "right", "found", "accuracy")


def flip_precision(relations: Relations, gold: Gold, negation: Negation) -> pd.DataFrame:
    """Flips that a gold set holds: how many have its label, next to stated pairs on the same set.

    Args:
        relations: with flips of one reading.
        negation: what they were flipped with; it names the affixes.

    Returns:
        One row for each gold `set` (`"any set"` pools them, pairs on which they disagree left out), `kind` (`"flip"`
        or `"stated"`), `relation` given (`"both"` pools them) and `affix` (`"any"` pools them). Counts: `pairs` there
        are, `known` of them with both words in the set, `found` in the set, `right`. Shares: `found share` = found /
        known, and `precision` = right / found, with 95% intervals; `majority`, what the best constant label scores
        on the found pairs; `dealt`, what the given labels would score if the set's labels were dealt out at random.
    """
    flipped = derive(relations, flips(relations), negation)
    stated = relations.frame[["word", "other", "relation"]].astype("str")
    stated = stated[stated["relation"] != "dropped"].merge(pair_sources(relations)[["word", "other"]])
    given = pd.concat([flipped.assign(kind="flip"), stated.assign(kind="stated")], ignore_index=True)
    given = given.assign(said=given["relation"])[["kind", "relation", "affix", "word", "other", "said"]]
    given.loc[given["affix"].str.contains(" and ", na=False), "affix"] = "two affixes"
    pooled = given.assign(affix="any")
    affixes = given[given["kind"] == "flip"].assign(relation="both").sort_values("affix", kind="stable")
    rows = pd.concat([pooled, pooled.assign(relation="both"), affixes], ignore_index=True)
    return pd.concat([_found_in(rows, name, labelled) for name, labelled in _sets(gold)], ignore_index=True)


def _sets(gold: Gold) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every gold set, and all of them as one without the pairs on which they disagree."""
    yield from gold.pairs.groupby("set", sort=False)
    pooled = gold.pairs.drop_duplicates(["word", "other", "relation"])
    yield ANY_SET, pooled[~pooled.duplicated(["word", "other"], keep=False)]


def _found_in(given: pd.DataFrame, name: str, labelled: pd.DataFrame) -> pd.DataFrame:
    """The rows of `flip_precision` for one gold set."""
    words = {*labelled["word"], *labelled["other"]}
    labels = labelled[["word", "other", "relation"]].rename(columns={"relation": "gold"})
    rows = given.merge(labels, how="left", on=["word", "other"])
    rows["known"] = both_in(rows, words)
    rows["found"] = rows["gold"].notna()
    rows["right"] = rows["gold"] == rows["said"]
    rows["antonyms"] = rows["gold"] == "antonym"
    rows["chance"] = rows["said"].map(labels["gold"].value_counts(normalize=True)).fillna(0.0) * rows["found"]
    groups = rows.groupby(["kind", "relation", "affix"], sort=False)
    table = groups[["known", "found", "right", "antonyms", "chance"]].sum()
    table.insert(0, "pairs", groups.size())
    table = table.reset_index()
    table.insert(0, "set", name)
    found = table["found"].where(table["found"] > 0)
    antonyms, chance = table.pop("antonyms") / found, table.pop("chance") / found
    table = add_interval(table, "found", "known", "found share")
    table = add_interval(table, "right", "found", "precision")
    return table.assign(majority=np.maximum(antonyms, 1 - antonyms), dealt=chance)


def flips_cost_and_buy(plain: Relations, added: Relations, replaced: Relations, gold: Gold) -> pd.DataFrame:
    """What flips cost and buy: one column for no flips, one for each reading.

    Args:
        plain: before flips; `added`, `replaced`: with those of the reading of that name.

    Returns:
        Rows by `measure`, gold `set` and `relation` (both empty for counts of the relations themselves); columns
        `none`, `add`, `replace`. New and lost pairs and words are against `plain`; an agreeing flip gives what a
        source states as well, an overruled one the opposite. The gold rows are those of `leave_one_out`.
    """
    systems = dict(zip(READINGS, (plain, added, replaced), strict=True))
    counts = pd.DataFrame({reading: _measures(system, plain) for reading, system in systems.items()})
    counts.index = pd.MultiIndex.from_product([counts.index, [""], [""]], names=["measure", "set", "relation"])
    scores = {}
    for reading, system in systems.items():
        table = _scores(compare(system, gold.pairs)).set_index(["set", "relation"])
        shown = table[["found", "coverage", "accuracy", "accuracy low", "accuracy high"]]
        scores[reading] = shown.unstack(["set", "relation"])
    judged = pd.DataFrame(scores).rename_axis(["measure", "set", "relation"])
    return pd.concat([counts, judged])


def _measures(system: Relations, plain: Relations) -> dict[str, float]:
    """Counts of one reading against the relations before flips."""
    frame, before = (r.frame[r.frame["relation"] != "dropped"] for r in (system, plain))
    pairs, old = (set(zip(*objects(f, "word", "other"), strict=True)) for f in (frame, before))
    antonyms, old_antonyms = (f[f["relation"] == "antonym"] for f in (frame, before))
    heads, old_heads = ({*f["word"], *f["other"]} for f in (antonyms, old_antonyms))
    words, old_words = set(system.words), set(plain.words)
    named = itertools.chain(*objects(frame, *(f"{relation}_sources" for relation in RELATIONS)))
    agreed = sum({FLIP} < set(names.split(", ")) for names in named)
    overruled = system.counts()["flips_overruled"]
    without = old_words - old_heads
    return {
        "synonym pairs": len(frame) - len(antonyms),
        "antonym pairs": len(antonyms),
        "new pairs": len(pairs - old),
        "lost pairs": len(old - pairs),
        "words": len(words),
        "new words": len(words - old_words),
        "lost words": len(old_words - words),
        "antonyms a word": 2 * len(antonyms) / len(words),
        "words with an antonym": len(heads),
        "words that gain their first antonym": len(without & heads),
        "their share of the words without": len(without & heads) / len(without) if without else np.nan,
        "words that lose their last antonym": len(old_heads - heads),
        "agreeing flips": agreed,
        "overruled flips": overruled,
        "agreeing share": agreed / (agreed + overruled) if agreed + overruled else np.nan,
    }
