"""Tables of the lexicon's page: examples, rule, flips and quality (paper, section 3.2, Tables 1, 2 and 8)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from dskd_utils.lexicon.relations import Relations
from dskd_utils.report.paper import TABLE_1, TABLE_2, TABLE_8

NAMED = {"llama-3": "Llama-3-8B", "mistral-7b": "Mistral-7B"}  # tokenizers of the paper's teachers


def our_table_1(stated: Relations, flipped: Relations) -> pd.DataFrame:
    """The paper's Table 1 with what our pairs and our rule say about each row.

    Args:
        stated: relations as the sources have them.
        flipped: the same with negation flips.

    Returns:
        a row an example: the paper's four columns, which sources state the original pair, and what our rule makes
        of it.
    """
    rows = []
    for original, was, new, becomes in TABLE_1:
        said = original[1] in (stated.synonyms(original[0]) if was == "synonym" else stated.antonyms(original[0]))
        now = next((k for k in ("synonym", "antonym") if new[1] in getattr(flipped, f"{k}s")(new[0])), None)
        rows.append(
            {
                "original pair": ", ".join(original),
                "relation": was,
                "new pair": ", ".join(new),
                "new relation": becomes,
                "stated by": ", ".join(stated.sources(*original)) if said else "no source here",
                "ours": "-" if not said else "as printed" if now == becomes else f"{now or 'no relation'}, differs",
            }
        )
    return pd.DataFrame(rows)


def interval(share: float, low: float, high: float, digits: int = 2) -> str:
    """`0.93 [0.91, 0.95]`, or a dash where there is nothing to divide by."""
    if np.isnan(share):
        return "-"
    return f"{share:.{digits}f}\u00a0[{low:.{digits}f},\u00a0{high:.{digits}f}]"


def with_intervals(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The table with each share and its two limits in one cell."""
    shown = table.copy()
    for name in names:
        limits = [f"{name} low", f"{name} high"]
        shown[name] = [interval(*row) for row in table[[name, *limits]].itertuples(index=False)]
        shown = shown.drop(columns=limits)
    return shown


def rule_table(scores: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Precision and recall of the negation rule on hand-labelled words, a row a source of derivations."""
    rows = {
        name: {
            "words": score["words"],
            "negations among them": score["negations"],
            "given a base": score["given"],
            "right": score["right"],
            "precision": interval(score["precision"], score["precision_low"], score["precision_high"]),
            "recall": interval(score["recall"], score["recall_low"], score["recall_high"]),
        }
        for name, score in scores.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def hand_table(precision: pd.DataFrame) -> Styler:
    """What one reader found of a random draw of flips: `flips.hand_precision` or `hand_precision_by` for reading."""
    names = {"precision": "right", "strict": "right, same part of speech", "of sound": "right, of sound originals"}
    shares = [name for name in names if name in precision]
    shown = with_intervals(precision, *shares).rename(columns={"original_sources": "original pair from"})
    columns = [name for name in ("relation", "original pair from", "flips", "left", *shares) if name in shown]
    return shown[columns].rename(columns=names | {"left": "read"}).style.hide().format(thousands=",")


def overlap_table(rows: pd.DataFrame) -> Styler:
    """How much of each gold set the study's own sources state: `gold.overlap` for reading."""
    shown = rows.rename(columns={"set": "list", "any": "any of them", "other relation": "with the other label"})
    return shown.style.hide().format({"share": "{:.0%}"}, thousands=",")


def balance_table(balance: pd.DataFrame) -> pd.DataFrame:
    """Counts without flips and with those of each reading: `quality.flips_cost_and_buy` for reading."""
    counts = balance.xs("", level="set").droplevel("relation").rename_axis(None)
    return counts.map(lambda x: "-" if pd.isna(x) else f"{x:,.0f}" if x == int(x) else f"{x:.2f}")


def agreement_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Each choice of sources against every gold set: share found and, of these, share with the set's label.

    Args:
        rows: of `quality.leave_one_out`; those of part `"all"` without flips are shown, the sets of which something
            was found.
    """
    rows = rows[(rows.part == "all") & (rows.flips == "none") & (rows.relation != "both") & (rows.found > 0)]
    shown = with_intervals(rows, "accuracy")
    shown["cell"] = [f"{x:.0%}:\u00a0{y}" for x, y in zip(rows.coverage, shown.accuracy, strict=True)]
    wide = shown.pivot_table(index=["set", "relation"], columns="sources", values="cell", aggfunc="first", sort=False)
    wide = wide[sorted(wide.columns, key=len)].fillna("-").rename_axis(columns=None)
    return wide.reset_index().rename(columns={"set": "judged by"})


def flip_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Flips that a gold set holds beside stated pairs on the same set: `quality.flip_precision` for reading.

    Both relations pooled, so that a constant label is a rival; all sets as one, and the pairs of HG2Vec alone.
    """
    rows = rows[(rows.affix == "any") & (rows.relation == "both") & rows.set.isin(["any set", "hg2vec only"])]
    rows = rows[rows.found > 0]
    shown = with_intervals(rows, "precision")
    shown["found share"] = shown["found share"].map("{:.0%}".format)
    for name in ("majority", "dealt"):
        shown[name] = shown[name].map("{:.2f}".format)
    shown["found"] = shown["found"].map("{:,}".format)
    names = {"set": "judged by", "kind": "pairs of", "found share": "of known words", "majority": "best constant"}
    columns = ["reading", "set", "kind", "found", "found share", "precision", "majority", "dealt"]
    return shown[columns].rename(columns=names | {"dealt": "dealt at random"})


def our_table_2(rates: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Table 2: relations kept for each longest span m, ours by tokenizer and the paper's below them, in percent.

    Args:
        rates: tokenizer -> `spans.keep_rates`.
    """
    rows = {}
    for name, table in rates.items():
        for kind in ("synonym", "antonym"):
            rows[NAMED.get(name, name), f"{kind}s", "ours"] = table.set_index("m")[kind]
            if (NAMED.get(name), kind) in TABLE_2:
                printed = TABLE_2[NAMED[name], kind]
                rows[NAMED[name], f"{kind}s", "paper"] = pd.Series(printed, index=range(1, len(printed) + 1))
    table = pd.DataFrame(rows).T.map("{:.1f}".format)
    return table.rename(columns="m = {}".format).rename_axis(["tokenizer", "relations", "numbers"])


def table_8_bounds(bounds: pd.DataFrame) -> pd.DataFrame:
    """Table 8 before any text is read: what a dictionary of our relations can hold, and what the paper's holds.

    Args:
        bounds: of `spans.table_8`, a row a tokenizer.
    """
    columns: dict[str, dict[str, float]] = {}
    for row in bounds.to_dict("records"):
        name = NAMED.get(row["tokenizer"], row["tokenizer"])
        columns[f"{name}, ours"] = {
            "vocabulary": row["vocabulary"],
            "token keys": np.nan,
            "word keys": row["word keys"],
            "of these of several tokens": row["word keys of several tokens"],
            "one-token heads": row["one-token heads"],
            "GB": row["bytes at most"] / 1e9,
            "synonym pairs": row["synonym pairs"],
            "antonym pairs": row["antonym pairs"],
        }
        if name in TABLE_8:
            columns[f"{name}, paper"] = dict(TABLE_8[name])
    table = pd.DataFrame(columns).rename({"GB": "GB, ours at most"})
    return table.map(lambda x: "-" if pd.isna(x) else f"{x:.2f}" if x < 100 else f"{x:,.0f}")
