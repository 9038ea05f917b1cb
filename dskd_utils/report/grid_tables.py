"""Tables of the grids: settings tried and how near each student came to its teacher (paper, Tables 4 to 6 and 9)."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dskd_utils.report.tables import METHODS
from dskd_utils.report.verdicts import interval

BAND = (0.60, 0.75)  # top-1 agreement at which a student is judged: it has kept much, and has something to lose
MEASURES = {
    "top1_agreement": ("same top token", 3),
    "kl": ("KL (nats)", 3),
    "perplexity": ("perplexity", 1),
    "auc": ("synonyms from antonyms (AUC)", 3),  # where a grid asks about words
}
OVER_KD = "auc_over_kd"
OWN = ("model", "method", "layers", "seed", "tokens", "failed", "n")


def grid_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a student: what is set, depth, and the measures ± standard error; for reading.

    Args:
        rows: of `stage_grid.judge_grid`.
    """
    settings = [name for name in rows if name not in OWN and not _is_measure(name) and rows[name].notna().any()]
    table = pd.DataFrame({"student": rows.method.map(lambda name: METHODS.get(name, name)), "layers": rows.layers})
    told = [", ".join(f"{s} {_number(row[s])}" for s in settings if pd.notna(row[s])) for _, row in rows.iterrows()]
    is_teacher = rows.method == "teacher"
    table["set"] = pd.Series(told, index=rows.index).where(lambda text: (text != "") | is_teacher, "as the preset")
    for name, (label, digits) in MEASURES.items():
        if name in rows:
            pairs = zip(rows[name], rows[f"{name}_stderr"], strict=True)
            table[label] = [_cell(value, error, digits) for value, error in pairs]
    if OVER_KD in rows and rows[OVER_KD].notna().any():
        ends = zip(rows[OVER_KD], rows[f"{OVER_KD}_low"], rows[f"{OVER_KD}_high"], strict=True)
        table["AUC over KD's"] = ["-" if pd.isna(three[0]) else interval(*three) for three in ends]
    if "active" in rows and rows.active.notna().any():
        shares = zip(rows.active, rows.margin_used, strict=True)
        table["antonym senses within the margin"] = [_within(*both) for both in shares]
    failed = rows.failed.astype(bool)
    table.loc[failed, next(iter(MEASURES.values()))[0]] = "failed: " + rows.failed[failed]
    return table


def _is_measure(name: str) -> bool:
    known = {*MEASURES, "top5_agreement", "accuracy", "bits_per_byte", OVER_KD, "pairs", "margin_used", "active"}
    return re.sub("_(stderr|low|high)$", "", name) in known


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _cell(value: float, error: float, digits: int) -> str:
    if pd.isna(value):
        return "-"
    shown = f"{value:,.{digits}f}"
    return shown if pd.isna(error) or error == 0 else f"{shown}\u00a0±\u00a0{error:,.{digits}f}"


def _within(active: float, margin: float) -> str:
    return "-" if pd.isna(active) else f"{active:.1%} (of {margin:.3g})"


def best(rows: pd.DataFrame) -> dict[str, Mapping[str, Any]]:
    """The student of each method with the lowest KL to the teacher, and how many were tried."""
    tried = rows[rows.method != "teacher"]
    found = {}
    for method, here in tried.groupby("method", sort=False):
        if here.kl.notna().any():
            found[method] = here.loc[here.kl.idxmin()].to_dict() | {"trials": len(here)}
    return found


def depth_finding(rows: pd.DataFrame, preset: int) -> str:
    """What the depth sweep says of the preset's depth, in Markdown.

    Args:
        rows: of `judge_grid` over students that differ in depth alone.
        preset: layers that the preset has.
    """
    students = rows[(rows.method != "teacher") & rows.top1_agreement.notna()].sort_values("layers")
    inside = students[students.top1_agreement.between(*BAND)]
    share = f"{BAND[0]:.0%} to {BAND[1]:.0%}"
    if inside.empty:
        first = f"No depth tried agrees with the teacher's top token at {share} of the positions."
    else:
        layers = ", ".join(str(n) for n in inside.layers)
        first = f"Students of **{layers}** layers agree with the teacher's top token at {share} of the positions."
    own = students[students.layers == preset]
    if own.empty:
        return f"{first} The preset's {preset} layers are not among those tried."
    value = own.top1_agreement.iloc[0]
    place = "inside" if value >= BAND[0] and value <= BAND[1] else "below" if value < BAND[0] else "above"
    return f"{first} The preset's **{preset}** layers agree at {value:.1%}, {place} that band."
