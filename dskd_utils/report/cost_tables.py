"""Tables of the cost page: ours beside the paper's Tables 7, 10, 11 and 12, and estimates for its teachers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dskd_utils.report.paper import TABLE_10, TABLE_10_ROWS, TABLE_11, TABLE_12, TASKS
from dskd_utils.report.tables import METHODS


def ratio_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Ratios with their range over the rounds, by operations, and beside the bar that was aimed at.

    Where the median meets the bar and a round does not, both is said.

    Args:
        rows: of `costs.times_faster`, `bar` a number and `at most` whether it is one from above.
    """
    shown = rows["what"].to_frame("compared")
    spans = zip(rows["median"], rows.low, rows.high, strict=True)
    shown["measured"] = [f"{a:.2f} ({b:.2f} to {c:.2f})" for a, b, c in spans]
    shown["by operations"] = rows["by operations"].map(lambda value: "-" if pd.isna(value) else f"{value:.2f}")
    words = rows["at most"].map({True: "at most", False: "at least"})
    met = (rows["median"] <= rows.bar).where(rows["at most"], rows["median"] >= rows.bar)
    all_met = (rows.high <= rows.bar).where(rows["at most"], rows.low >= rows.bar)
    shown["aim"] = [f"{word} {bar:g}" for word, bar in zip(words, rows.bar, strict=True)]
    told = {(True, True): "yes", (True, False): "median yes, range no", (False, False): "no"}
    shown["met"] = [told[both] for both in zip(met, all_met, strict=True)]
    return shown


def _duration(minutes: float | None) -> str:
    if minutes is None or pd.isna(minutes):
        return "-"
    hours, rest = divmod(round(minutes), 60)
    if hours:
        return f"{hours} h {rest:02d} min"
    return f"{rest} min" if minutes >= 10 else f"{60 * minutes:.0f} s"


def table_11(ours: pd.DataFrame, name: str) -> pd.DataFrame:
    """Table 11 (and Table 7 but for its last column): the paper's rows, then ours.

    Args:
        ours: columns `method`, `layers`, `parameters`, `gib` (in the study's number format), `minutes`.
        name: our teacher's.
    """
    rows = [
        {"teacher": teacher, "model": METHODS[method], "layers": str(layers), "parameters": f"{parameters:.1f} B",
         "memory (GiB)": f"{memory:.1f}", "training": _duration(minutes)}
        for (teacher, method), (layers, parameters, memory, minutes) in TABLE_11.items()
    ]  # fmt: skip
    rows += [
        {"teacher": name, "model": METHODS[row.method], "layers": str(row.layers),
         "parameters": f"{row.parameters / 1e6:.0f} M", "memory (GiB)": f"{row.gib:.2f}",
         "training": _duration(row.minutes)}
        for row in ours.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def table_12(seconds: pd.DataFrame, questions: int, name: str) -> pd.DataFrame:
    """Table 12 (and the last column of Table 7): the paper's minutes on whole benchmarks, then our seconds.

    Args:
        seconds: of `costs.alternate`, a column `<method>, <task>` for each model and task.
        questions: that ours answered in each.
        name: our teacher's.

    Returns:
        a row a model; in brackets ours as a share of its teacher's time, the median over the rounds.
    """
    rows = [
        {"teacher": teacher, "model": METHODS[method]} | {
            task: f"{minutes:g} min" for task, minutes in zip(TASKS.values(), cells, strict=True)
        }
        for (teacher, method), cells in TABLE_12.items()
    ]  # fmt: skip
    for method in ("teacher", "kd", "dskd"):
        row = {"teacher": f"{name}, {questions} questions", "model": METHODS[method]}
        for task, label in TASKS.items():
            if f"{method}, {task}" in seconds:
                own, whole = (seconds[f"{each}, {task}"] for each in (method, "teacher"))
                row[label] = f"{own.median():.1f} s" + (
                    "" if method == "teacher" else f" ({(own / whole).median():.2f})"
                )
        rows.append(row)
    return pd.DataFrame(rows).fillna("not run")


def table_10(settings: Mapping[str, Any], name: str) -> pd.DataFrame:
    """Table 10: the paper's settings as printed there, then ours by the same names."""
    table = pd.DataFrame(TABLE_10, index=list(TABLE_10_ROWS)).map(str)
    for method in ("KD", "DSKD"):
        without = {"kappa", "beta_p", "beta_n", "gamma"} if method == "KD" else set()
        table[f"{name} {method}"] = ["N/A" if row in without else f"{settings[row]:g}" for row in TABLE_10_ROWS]
    return table


def estimate_table(estimates: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Estimates for teachers that were not run, a column a teacher.

    Args:
        estimates: of `costs.estimate` by teacher.
    """
    return pd.DataFrame(estimates).map(lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.2g}")


def side_by_side(found: Mapping[str, Mapping[str, Any]], held_out: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """This code beside TRL's trainer.

    Args:
        found: of `costs_gkd.compare`.
        held_out: of each code its student's KL to the teacher on validation text and the standard error.
    """
    names = {"ours": "this code, on the store", "gkd": "TRL's GKD trainer, off-policy"}
    with_pass = {
        kind: one["seconds"] + one["teacher pass, seconds"] * (1 - 2 / max(one["steps"], 3))
        for kind, one in found.items()
    }
    rows = {
        names[kind]: {
            "positions a second": f"{one['positions a second']:,.0f}",
            "with the teacher pass": f"{one['positions a second'] * one['seconds'] / with_pass[kind]:,.0f}",
            "peak memory (GiB)": f"{one['peak, GiB']:.1f}",
            "training KL at the end": f"{one['last KL']:.3f}",
            "KL on validation text": "{:.3f}\u00a0±\u00a0{:.3f}".format(*held_out[kind]),
        }
        for kind, one in found.items()
    }
    return pd.DataFrame(rows)
