"""What the second plan of the search found: margins under which antonyms push (beyond the paper, on its section 4.2).

Pure functions on loaded results of the grid `search-margins`, by the rule of the book's plan for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dskd_utils.evaluate.significance import SMALLEST, verdict
from dskd_utils.report.charts import forest
from dskd_utils.report.search import PERPLEXITY
from dskd_utils.report.svg import Drawing
from dskd_utils.report.verdicts import Results, interval, piece

GRID = "search-margins"
SAID = {
    "margin_quantile": "quantile {:g}",
    "beta": "beta {:g}",
    "kappa": "kappa {:g}",
    "beta_n": "pushed only, beta {:g}",
}
HEAD = ("trial", "margin", "antonym senses within it", "area \N{MINUS SIGN} KD's", "perplexity above KD's by")


def outcomes(results: Results) -> list[dict[str, Any]]:
    """Of each student with a sense loss its row of the grid, `set` in words, `dearer` and whether it is `promising`.

    `dearer` is the share by which its perplexity is above that of the KD student beside it.

    Raises:
        NotRunError: the grid was not run.
        ValueError: of one of the two methods no student was trained to the end.
    """
    rows = piece(results, "06-ablations", "grids", GRID)
    kd, dskd = ([row for row in rows if row["method"] == method and not row["failed"]] for method in ("kd", "dskd"))
    if not kd or not dskd:
        missing = "DSKD" if kd else "KD"
        raise ValueError(f"no {missing} student of the grid {GRID} was trained to the end: there is nothing to compare")
    found = []
    for row in dskd:
        dearer = row["perplexity"] / kd[0]["perplexity"] - 1
        promising = row["auc_over_kd"] >= SMALLEST["area"] and dearer <= PERPLEXITY
        found.append({**row, "set": _named(row), "dearer": dearer, "promising": promising})
    return found


def _named(row: Mapping[str, Any]) -> str:
    said = [form.format(row[name]) for name, form in SAID.items() if not pd.isna(row.get(name))]
    return ", ".join(said) if said else "the paper's margin"


def answer(results: Results) -> str:
    """How many trials are promising, which, and how far all of them lie from KD.

    Raises:
        NotRunError, ValueError: as of `outcomes`.
    """
    found = outcomes(results)
    good = [row["set"] for row in found if row["promising"]]
    many = f"{len(good) or 'None'} of {len(found)} trials {'are' if len(good) > 1 else 'is'} promising"
    named = f": {'; '.join(good)}" if good else ""
    least, most = (f"{pick(row['auc_over_kd'] for row in found):+.3f}" for pick in (min, max))
    asked = f"On {found[0]['pairs']:,.0f} pairs of validation words their areas differ from KD's by"
    ends = f"{least} to {most}".replace("-", "\N{MINUS SIGN}")
    return f"{many}{named}. {asked} {ends}; what would matter is {SMALLEST['area']}."


def picture(results: Results) -> Drawing:
    """The area of every trial less KD's, with its interval over the words asked about.

    Raises:
        NotRunError, ValueError: as of `outcomes`.
    """
    rows = [
        {"label": row["set"], "difference": row["auc_over_kd"]}
        | {end: row[f"auc_over_kd_{end}"] for end in ("low", "high")}
        | {"reads": verdict(row["auc_over_kd_low"], row["auc_over_kd_high"], SMALLEST["area"])}
        for row in outcomes(results)
    ]
    title = "The second plan: area under the curve on pairs of validation words, each trial of DSKD less KD"
    return forest("margins", title, rows, "area under the curve, DSKD \N{MINUS SIGN} KD", SMALLEST["area"])


def table(results: Results) -> list[str]:
    """Every trial with its margin, its area and its perplexity beside KD's, in Markdown; what is promising is bold.

    Raises:
        NotRunError, ValueError: as of `outcomes`.
    """
    lines = [_line(HEAD), _line(["---"] * len(HEAD))]
    for row in outcomes(results):
        over = interval(row["auc_over_kd"], row["auc_over_kd_low"], row["auc_over_kd_high"])
        dearer = f"{row['dearer']:+.2%}".replace("-", "\N{MINUS SIGN}")
        name = f"**{row['set']}**" if row["promising"] else row["set"]
        lines.append(_line([name, f"{row['margin_used']:.2f}", f"{row['active']:.1%}", over, dearer]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
