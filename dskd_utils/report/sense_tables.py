"""Tables of the senses' page: text, dictionary, keys, senses a word, tests of senses (paper, sections 3.1 and 3.3)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dskd_utils.report.lexicon_tables import interval
from dskd_utils.report.paper import RELATED_TOKENS

PARTS = {"train": "training", "extra": "extra", "validation": "validation", "test": "test"}
WAYS = {
    "fixed": "the same for all",
    "one": "one",
    "bic": "BIC",
    "square-root": "square root",
    "bic-own": "BIC, its own total",
}
NUMBER_METHODS = ("nearest sense", "distance of senses", "probability of one sense")
TASKS = {"wic": "WiC", "mcl-wic": "MCL-WiC", "all-words": "tagged text"}


def text_table(facts: Mapping[str, Any]) -> pd.DataFrame:
    """Documents and tokens of each part of the study's text, a column a source and one for all."""
    columns = {
        (name, kind): {source: counts[kind] for source, counts in facts[part].items()}
        for part, name in PARTS.items()
        if part in facts
        for kind in ("documents", "tokens")
    }
    table = pd.DataFrame(columns).fillna(0).astype(int)
    table.loc["all"] = table.sum()
    return table.map("{:,}".format).T


def shares(facts: Mapping[str, float]) -> pd.Series:
    """What part of vocabulary and positions the dictionary speaks of, and how often it judges its own states."""
    return pd.Series(
        {
            "tokens with senses, of the vocabulary": facts["token keys"] / facts["vocabulary"],
            "tokens with k states or fewer, of those with senses": facts["raw-state keys"] / facts["token keys"],
            "positions whose next token has relations": facts["positions with relations"] / facts["training positions"],
            "the same in the paper (section 4.2, approximately)": RELATED_TOKENS / 100,
            "positions whose own state is in the dictionary's sample": facts["own states"],
            "positions whose own state is their nearest sense": facts["self-hits"],
        },
        name="share",
    )


def key_table(facts: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """The dictionaries of the three keys beside each other, a row a key."""
    rows = {
        name: {
            "token keys": f"{found['token keys']:,}",
            "senses": f"{found['senses']:,}",
            "tokens with k states or fewer": f"{found['raw-state keys'] / found['token keys']:.1%}",
            "tokens at the cap": found["tokens at the cap"],
            "squared distance": f"{found['inertia']:,.0f}",
        }
        for name, found in facts.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("key")


def held_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Tests of senses for reading: a row a task and method, a column a key, accuracy in percent with its interval.

    A method that reads no state has the same accuracy for every key. The last row of a task says how many of its items
    have senses.

    Args:
        rows: of `evaluate.word_senses.sense_table` for one or more keys.
    """
    rows = rows[rows.metric == "accuracy"].drop_duplicates(["task", "method", "key"])
    keys = [key for key in dict.fromkeys(rows.key) if key != "any"]
    lines = []
    for task, part in rows.groupby("task", sort=False):
        for method, found in part.groupby("method", sort=True):
            cells = {row.key: interval(100 * row.value, 100 * row.low, 100 * row.high, 1) for row in found.itertuples()}
            lines.append([task, method, *(cells.get(key, cells.get("any", "-")) for key in keys)])
        known = part[part.key != "any"].groupby("key").covered.max()
        lines.append([task, f"words with senses, of {part.n.max():,}", *(f"{known.get(key, 0):,}" for key in keys)])
    shown = pd.DataFrame(lines, columns=["test", "method", *keys])
    return shown.assign(test=shown.test.map(lambda task: TASKS.get(task, task))).style.hide()


def error_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Ways to choose the number of senses by what held-out states lie from the nearest, for reading.

    Args:
        rows: of `evaluate.sense_numbers.error_table`.
    """
    return pd.DataFrame(
        {
            "number of senses": rows.way.map(lambda way: WAYS.get(way, way)),
            "senses": rows.senses.map("{:,}".format),
            "squared distance": rows.error.map("{:,.0f}".format),
            "against the same number, 95% interval": [
                "-" if row.way == "fixed" else f"{row.difference:+.1%} [{row.low:+.1%}, {row.high:+.1%}]"
                for row in rows.itertuples()
            ],
            "states": rows.n.map("{:,}".format),
        }
    ).style.hide()


def numbers_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Tests of senses, a row a test and a column a way to choose the numbers: percent, and half the 95% interval.

    Args:
        rows: of `evaluate.word_senses.sense_table`, with a column `way`.
    """
    found = rows[(rows.metric == "accuracy") & rows.method.isin(NUMBER_METHODS)]
    cells = pd.DataFrame(
        {
            "number of senses": found.way.map(lambda way: WAYS.get(way, way)),
            "test": found.task.map(lambda task: TASKS.get(task, task)) + ", " + found.method,
            "accuracy": [
                f"{100 * v:.1f}\u00a0±\u00a0{50 * (high - low):.1f}"
                for v, low, high in zip(found.value, found.low, found.high, strict=True)
            ],
        }
    )
    order = list(dict.fromkeys(cells["number of senses"]))
    table = cells.pivot(index="test", columns="number of senses", values="accuracy")[order]
    return table.rename_axis(columns=None, index=None)


def ambiguity_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The words of most and of fewest senses side by side.

    Args:
        rows: of `evaluate.sense_numbers.extremes`.
    """
    sides = {
        kind: part.drop(columns="kind").reset_index(drop=True).rename(columns={"wordnet": "WordNet"})
        for kind, part in rows.groupby("kind", sort=False)
    }
    table = pd.concat(sides, axis=1)
    return table.style.hide().format(lambda value: value if isinstance(value, str) else f"{value:g}", na_rep="")


def agreement_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations of numbers of senses with WordNet's, a row a criterion.

    Args:
        rows: of `evaluate.sense_numbers.agreement`.
    """
    shown = rows.assign(
        number=rows.criterion.map(lambda way: WAYS.get(way, way)),
        value=[interval(*row, 2) for row in rows[["value", "low", "high"]].to_numpy(float)],
    )
    names = {"spearman": "rank correlation", "partial": "at equal frequency"}
    table = shown.pivot(index="number", columns="measure", values="value")[list(names)].rename(columns=names)
    return table.loc[list(dict.fromkeys(shown.number))].rename_axis(columns=None, index=None)


def findings(share: Mapping[str, float], errors: pd.DataFrame, numbers: pd.DataFrame, held: pd.DataFrame) -> str:
    """What the senses' page found, as a list in Markdown whose every number is computed.

    Args:
        share: of `shares`.
        errors: of `evaluate.sense_numbers.error_table`.
        numbers: of `evaluate.sense_numbers.agreement`.
        held: of `evaluate.word_senses.sense_table`; may be empty.
    """
    raw = share["tokens with k states or fewer, of those with senses"]
    lines = [f"{raw:.0%} of the tokens with senses have no more states than senses, so nothing was clustered for them."]
    rivals = errors[~errors.way.isin(["fixed", "one", "bic-own"])].sort_values("error")
    best = rivals.iloc[0]
    sure = "the interval leaves out zero" if best.low * best.high > 0 else "the interval holds zero"
    lines.append(
        f"Of the ways to choose the number of senses, {_way(best.way)} comes nearest to held-out states: "
        f"{best.difference:+.1%} of squared distance against the same number for all, {sure}. "
        + ", ".join(f"{_way(row.way)}: {row.difference:+.1%}" for row in rivals.iloc[1:].itertuples())
        + "."
    )
    own = errors[errors.way == "bic-own"]
    if len(own):
        lines.append(
            f"Left to itself, BIC keeps {own.senses.iloc[0] / errors.senses[errors.way == 'fixed'].iloc[0]:.0%} of the "
            f"senses, and held-out states lie {own.difference.iloc[0]:+.1%} from the nearest in squared distance."
        )
    partial = numbers[numbers.measure == "partial"].dropna().sort_values("value", ascending=False)
    if len(partial):
        top = partial.iloc[0]
        lines.append(
            f"At equal frequency no criterion's numbers agree with WordNet's better than by a rank correlation of "
            f"{interval(top.value, top.low, top.high)} ({_way(top.criterion)})."
        )
    accuracy = held[held.metric == "accuracy"] if len(held) else held
    for task, name in TASKS.items():
        rows = accuracy[accuracy.task == task] if len(accuracy) else accuracy
        senses = rows[rows.method == "nearest sense"].sort_values("value") if len(rows) else rows
        if len(senses):
            ours = senses.iloc[-1]
            baseline = rows[~rows.method.isin(NUMBER_METHODS)].sort_values("value").iloc[-1]
            percent = interval(100 * ours.value, 100 * ours.low, 100 * ours.high, 0)
            lines.append(
                f"{name}: the nearest sense is right on {percent}% at best (key `{ours.key}`), the best baseline "
                f"({baseline.method}) on {100 * baseline.value:.0f}%."
            )
    return "\n".join(f"- {line}" for line in lines)


def _way(name: str) -> str:
    return WAYS.get(name, name)
