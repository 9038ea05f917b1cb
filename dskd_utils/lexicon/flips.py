"""The pairs that only negation gives: list, random draws, precision by hand (paper, section 3.2, Table 1)."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from dskd_utils.lexicon.gold import RELATIONS, add_interval, objects
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.pair_table import FLIP
from dskd_utils.lexicon.relations import Relations

LABELS = Path(__file__).with_name("flip_labels.tsv")
KEY = ["word", "other", "relation"]
_VERDICTS = {"verdict": {"right", "wrong"}, "same_part": {"yes", "no"}, "original_verdict": {"right", "wrong"}}


def flips(relations: Relations) -> pd.DataFrame:
    """The pairs that only negation gives: word, other, relation. A pair that some source states is not among them."""
    frame = relations.frame
    alone = [frame[f"{relation}_sources"].isin(["", FLIP]) for relation in RELATIONS]
    found = frame.loc[alone[0] & alone[1] & (frame["relation"] != "dropped"), KEY]
    return found.astype("str").reset_index(drop=True)


def derive(relations: Relations, pairs: pd.DataFrame, negation: Negation) -> pd.DataFrame:
    """Flips with the pair and relation that they came from, its sources, and the affixes that were taken off.

    Args:
        relations: with flips; `pairs` are rows of `flips(relations)`.
        negation: what they were flipped with.

    Returns:
        `pairs` with original_word, original_other, original_relation, original_sources (`"roget, wordnet"`; empty in
        the reading "replace", where the original is gone) and affix (`"un-"`, or `"in- and un-"`).
    """
    rows = []
    for word, other in zip(*objects(pairs, "word", "other"), strict=True):
        original, relation, flipped, _ = relations.derivation(word, other)
        changed = [before for before, after in zip(original, flipped, strict=True) if before != after]
        affixes = sorted(negation.affix_of(before) or "unknown" for before in changed)
        sources = ", ".join(name for name in relations.sources(*original) if name != FLIP)
        rows.append((*original, relation, sources, " and ".join(affixes)))
    columns = ["original_word", "original_other", "original_relation", "original_sources", "affix"]
    return pd.concat([pairs.reset_index(drop=True), pd.DataFrame(rows, columns=columns, dtype="str")], axis=1)


def _rank(pairs: pd.DataFrame, seed: int) -> pd.Series:
    """A number from 0 to 1 for each pair, by a hash of the seed and the pair alone.

    The pairs of lowest rank are a random draw, and a pair that was drawn stays drawn however the others change.
    """
    text = str(seed) + "\t" + pairs["word"] + "\t" + pairs["other"]
    ranks = [int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest()) / 2**64 for t in text]
    return pd.Series(ranks, index=pairs.index, dtype=float)


def draw_flips(relations: Relations, negation: Negation, n: int = 150, seed: int = 0) -> pd.DataFrame:
    """A random draw of flips to be read, half of them synonyms and half antonyms, with the columns of `derive`."""
    pairs = flips(relations)
    ordered = pairs.loc[_rank(pairs, seed).sort_values().index]
    halves = [ordered[ordered["relation"] == relation].head(n // 2) for relation in RELATIONS]
    return derive(relations, pd.concat(halves), negation)


def random_flips(
    relations: Relations, negation: Negation, n: int = 30, seed: int = 0, labels: pd.DataFrame | None = None
) -> pd.DataFrame:
    """`n` random flips, right and wrong ones alike, with their derivations, to be shown.

    Returns:
        `original pair`, `was`, `new pair`, `is`, `affix`; with `labels` also `by hand`, empty where nobody read it.
    """
    pairs = flips(relations)
    table = derive(relations, pairs.loc[_rank(pairs, seed).sort_values().index[:n]], negation)
    shown = pd.DataFrame(
        {
            "original pair": table["original_word"] + ", " + table["original_other"],
            "was": table["original_relation"],
            "new pair": table["word"] + ", " + table["other"],
            "is": table["relation"],
            "affix": table["affix"],
        }
    )
    if labels is not None:
        shown["by hand"] = table.merge(labels[[*KEY, "verdict"]], how="left", on=KEY)["verdict"].fillna("")
    return shown


def load_labels(path: str | Path = LABELS) -> pd.DataFrame:
    """Flips of WordNet and Roget (MorphyNet, reading "add", seed 0) that one reader labelled, without a second opinion.

    A draw of 150, and those that the same draw took when the sources and the rule of negation had changed.

    The columns are those of `derive` and three more. `verdict`: `right` if the relation holds in some common sense of
    both words. As in Table 1 (accurate, fault) a difference in part of speech is no fault, a noun standing for having
    what it names; `same_part` is `no` where there is such a difference. `original_verdict`: the same for the pair
    that the flip came from, so that errors of the source and errors of the flip can be told apart.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing or holds another word than these.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no flip labels at {path}: install the package with its data files")
    labels = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    for column, allowed in ({column: None for column in KEY} | _VERDICTS).items():
        if column not in labels:
            raise ValueError(f"{path}: there is no column {column!r}, expected {', '.join([*KEY, *_VERDICTS])}")
        if allowed and (bad := labels.index[~labels[column].isin(allowed)]).size:
            found = labels[column][bad[0]]
            raise ValueError(
                f"{path}, line {bad[0] + 2}: {column} is {found!r}, expected {' or '.join(sorted(allowed))}"
            )
    return labels


def unread_flips(labels: pd.DataFrame, relations: Relations, seed: int = 0) -> pd.DataFrame:
    """Flips now that the draw behind the labels would have taken and that have no label: word, other, relation.

    Where a better rule of negation gives new flips, reading these few makes the labels a fair sample again.
    """
    found = []
    for relation, now in flips(relations).groupby("relation", sort=False):
        reach = _rank(labels[labels["relation"] == relation], seed).max()
        found.append(now[_rank(now, seed) <= reach])
    drawn = pd.concat(found) if found else flips(relations)
    known = drawn.merge(labels[KEY], how="left", on=KEY, indicator=True)["_merge"] == "both"
    return drawn[~known.to_numpy()].reset_index(drop=True)


def hand_precision(labels: pd.DataFrame, relations: Relations, seed: int = 0) -> pd.DataFrame:
    """Precision of the flips as read by hand, on those labelled pairs that are flips still.

    Args:
        labels: as `load_labels` gives them.
        relations: with flips of the reading "add".
        seed: the seed of the draw.

    Returns:
        One row a relation and a last one `"all"`. Counts: `flips` there are now; `labelled`; `left`, of these still
        flips; `unread`, rows of `unread_flips` (with 0 the labels left are a fair sample of all flips); `right`;
        `right, same part` of speech; `sound`, those left whose original pair is right; `sound right`. Shares with
        95% intervals: `precision` = right / left, `strict` = right and same part / left, `of sound` = sound right /
        sound. `"all"` weights the relations by their flips; its intervals combine theirs (MOVER: distances to the
        limits added in quadrature).
    """
    now, unread, rows = flips(relations), unread_flips(labels, relations, seed), []
    for relation in RELATIONS:
        mine, all_flips = labels[labels["relation"] == relation], now[now["relation"] == relation]
        left = mine.merge(all_flips, on=KEY)
        right, sound = left["verdict"] == "right", left["original_verdict"] == "right"
        rows.append(
            {
                "relation": relation,
                "flips": len(all_flips),
                "labelled": len(mine),
                "left": len(left),
                "unread": int((unread["relation"] == relation).sum()),
                "right": int(right.sum()),
                "right, same part": int((right & (left["same_part"] == "yes")).sum()),
                "sound": int(sound.sum()),
                "sound right": int((sound & right).sum()),
            }
        )
    table = pd.DataFrame(rows)
    overall = {"relation": "all"} | table.drop(columns="relation").sum().to_dict()
    shares = {
        "precision": ("right", "left"),
        "strict": ("right, same part", "left"),
        "of sound": ("sound right", "sound"),
    }
    for name, (right, n) in shares.items():
        table = add_interval(table, right, n, name)
        overall |= _weighted(table, name)
    return pd.concat([table, pd.DataFrame([overall])], ignore_index=True)


def hand_precision_by(labels: pd.DataFrame, relations: Relations, column: str) -> pd.DataFrame:
    """The precision of `hand_precision` by a column of the labels, such as `affix` or `original_sources`.

    Returns:
        One row for each relation and value of `column`: `left`, `right` and `precision` with its 95% interval.
    """
    left = labels.merge(flips(relations), on=KEY)
    groups = left.assign(right=left["verdict"] == "right").groupby(["relation", column])["right"]
    return add_interval(groups.agg(left="size", right="sum").reset_index(), "right", "left", "precision")


def _weighted(table: pd.DataFrame, name: str) -> dict[str, float]:
    """The share over all relations, weighted by their flips, with MOVER limits; NaN if one with flips has no label."""
    weight = table["flips"] / max(table["flips"].sum(), 1)
    used = weight > 0
    share, low, high = (table.loc[used, f"{name}{end}"] for end in ("", " low", " high"))
    mean = (weight[used] * share).sum(skipna=False) if used.any() else np.nan
    below, above = (np.sqrt(((weight[used] * (share - limit)) ** 2).sum(skipna=False)) for limit in (low, high))
    return {name: mean, f"{name} low": mean - below, f"{name} high": mean + above}
