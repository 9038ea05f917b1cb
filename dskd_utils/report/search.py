"""What the search chose and decided, by the rules of the book's plan for it (beyond the paper, on sections 4.2 and 6).

Pure functions on loaded results. `python -m dskd_utils.report.search 06-ablations.json > chosen.yaml` writes what stage
one chose as parameters of the notebook on distillation, so that nothing is typed by hand between the two stages.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from dskd_utils.evaluate.significance import SMALLEST, holm, verdict
from dskd_utils.report.charts import forest, scatter
from dskd_utils.report.paper import TASKS
from dskd_utils.report.svg import Drawing
from dskd_utils.report.tables import METHODS, p_value
from dskd_utils.report.verdicts import Results, interval, piece
from dskd_utils.results import read_results

GRID = "search"
PERPLEXITY = 0.01  # the share by which a perplexity may be above the lowest, or above KD's
LEVEL = 0.05
HOLDS, FAILS, OPEN = "holds", "does not hold", "not told apart"
FROM_KD = ("lr", "temperature", "alpha")  # of KD's best trial, for both methods
FROM_DSKD = ("beta", "margin", "margin_quantile", "kappa")
SETTINGS = (*FROM_KD, *FROM_DSKD)


def trials(results: Results) -> list[Mapping[str, Any]]:
    """The students of stage one that were trained to the end.

    Raises:
        NotRunError: stage one was not run.
    """
    rows = piece(results, "06-ablations", "grids", GRID)
    return [row for row in rows if row["method"] != "teacher" and not row["failed"]]


def chosen(results: Results) -> dict[str, Mapping[str, Any]]:
    """The best trial of KD and of DSKD: the greatest area among those whose perplexity is near the method's lowest.

    Raises:
        NotRunError: stage one was not run.
        ValueError: a method has no student.
    """
    return {method: max(eligible(results, method), key=lambda row: row["auc"]) for method in ("kd", "dskd")}


def eligible(results: Results, method: str) -> list[Mapping[str, Any]]:
    """The trials of a method whose perplexity is near the method's lowest, of which one can be chosen.

    Raises:
        NotRunError: stage one was not run.
        ValueError: the method has no student.
    """
    rows = [row for row in trials(results) if row["method"] == method]
    if not rows:
        raise ValueError(f"no student of {METHODS[method]} was trained to the end: nothing can be chosen")
    most = (1 + PERPLEXITY) * min(row["perplexity"] for row in rows)
    return [row for row in rows if row["perplexity"] <= most]


def parameters(results: Results) -> dict[str, Any]:
    """Of the notebook on distillation, for stage two: what the best trials name; its own values stand for the rest.

    Raises:
        NotRunError, ValueError: as of `chosen`.
    """
    best = chosen(results)
    named = [(best["kd"], name) for name in FROM_KD] + [(best["dskd"], name) for name in FROM_DSKD]
    found = {name: row[name] for row, name in named if not pd.isna(row.get(name))}
    if "beta" in found:
        found |= dict.fromkeys(("beta_p", "beta_n"), found.pop("beta"))
    if "kappa" in found:
        found["kappa"] = int(found["kappa"])
    return found


def conditions(results: Results) -> list[dict[str, str]]:
    """Each condition of the plan for a yes, what was seen of it, and whether it holds.

    A difference in area counts as above zero where its interval is and Holm's correction over these comparisons, of
    DSKD with KD and with each control, leaves it below one in twenty.

    Raises:
        NotRunError: stage two was not run.
    """
    found = []
    areas = {minus: _area(results, minus) for minus in ("kd", *piece(results, "05-evaluation", "controls"))}
    corrected = holm([row["p"] for row in areas.values()])
    for (minus, row), p in zip(areas.items(), corrected, strict=True):
        seen = f"{interval(row['value'], row['low'], row['high'])}, Holm's p {p_value(p)}"
        above = row["low"] > 0 and p < LEVEL
        state = HOLDS if above else FAILS if row["high"] < SMALLEST["area"] else OPEN
        name = f"{row['n']:,} pairs of test words: DSKD − {METHODS[minus]}, area"
        found.append({"condition": name, "seen": seen, "state": state})
    row = next(
        row
        for row in piece(results, "05-evaluation", "held_out_differences")
        if (row["model"], row["minus"], row["metric"]) == ("dskd", "kd", "nll")
    )
    ends = [math.expm1(row[name]) for name in ("difference", "low", "high")]
    state = HOLDS if ends[2] <= PERPLEXITY else FAILS if ends[1] > PERPLEXITY else OPEN
    found.append({"condition": "perplexity, above KD's by", "seen": interval(*ends, "{:+.2%}"), "state": state})
    for row in piece(results, "05-evaluation", "differences"):
        if row["pair"] == "DSKD - KD":
            ends = row["difference"], row["low"], row["high"]
            worst = -SMALLEST["gold_logprob"]
            state = HOLDS if ends[1] > worst else FAILS if ends[2] < worst else OPEN
            name = f"{TASKS[row['task']]}: right answer (nats), DSKD − KD"
            found.append({"condition": name, "seen": interval(*ends), "state": state})
    return found


def _area(results: Results, minus: str) -> Mapping[str, Any]:
    rows = piece(results, "05-evaluation", "probe_pairs")
    wanted = {"subset": "all", "measure": "sum", "model": "dskd", "minus": minus}
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def answer(results: Results) -> str:
    """`yes`, `no` or `not told apart`: no where the gain over KD is below what would matter, yes where all hold.

    Raises:
        NotRunError: stage two was not run.
    """
    if _area(results, "kd")["high"] < SMALLEST["area"]:
        return "no"
    return "yes" if all(row["state"] == HOLDS for row in conditions(results)) else OPEN


def answered(results: Results) -> str:
    """The answer, and of which settings it is one: those that stage one chose and stage two trained with.

    Raises:
        NotRunError: stage two was not run.
    """
    used = piece(results, "04-distillation", "settings")
    weights = _listed({float(beta) for beta in used["beta"].split(" and ")})
    setting = f"margin {used['margin']:.3g}, beta {weights}, kappa {used['kappa']}, temperature {used['temperature']:g}"
    return f"{answer(results)}, at the setting chosen ({setting})"


def could_be_chosen(results: Results, method: str) -> str:
    """How many trials of a method were eligible, with which settings, and which settings had no eligible trial.

    Raises:
        NotRunError, ValueError: as of `eligible`.
    """
    rows = [row for row in trials(results) if row["method"] == method]
    near = eligible(results, method)
    never = {name: _values(rows, name) - _values(near, name) for name in SETTINGS}
    named = _named({name: _values(near, name) for name in SETTINGS}) or "nothing but the preset's settings"
    said = f"{METHODS[method]}: eligible were {len(near)} of {len(rows)} trials, with {named}"
    if any(never.values()):
        said += "; in no eligible trial, so that they could not be chosen: "
        said += _named(never)
    return said


def by_rate_alone(results: Results) -> int:
    """How many trials of DSKD fell out at a learning rate at which every trial of KD would have fallen out too.

    Raises:
        NotRunError, ValueError: as of `eligible`.
    """
    rows, near = trials(results), eligible(results, "dskd")
    most = (1 + PERPLEXITY) * min(row["perplexity"] for row in near)
    within = {row["lr"] for row in rows if row["method"] == "kd" and row["perplexity"] <= most}
    tried = {row["lr"] for row in rows if row["method"] == "kd"}
    return sum(row["method"] == "dskd" and row not in near and row["lr"] in tried - within for row in rows)


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> set[float]:
    return {row[name] for row in rows if not pd.isna(row.get(name))}


def _listed(values: set[float]) -> str:
    return " and ".join(f"{value:g}" for value in sorted(values))


def _named(settings: Mapping[str, set[float]]) -> str:
    return ", ".join(f"{name} {_listed(values)}" for name, values in settings.items() if values)


def stage_one(results: Results) -> tuple[Drawing, list[str]]:
    """Every trial by perplexity and area, and in Markdown what was chosen and what could have been.

    Raises:
        NotRunError, ValueError: as of `chosen`.
    """
    best = chosen(results)
    marked = {row["model"] for row in best.values()}
    rows = [
        {"series": METHODS[row["method"]], "x": row["perplexity"], "y": row["auc"], "error": row["auc_stderr"]}
        | {"label": row["model"], "marked": row["model"] in marked}
        for row in trials(results)
    ]
    asked = _values(trials(results), "pairs")  # not noted by studies of before
    pairs = f"{max(asked):,.0f} pairs" if asked else "pairs"
    drawn = scatter(
        "search",
        f"Stage one: perplexity of every trial and the area under the curve on {pairs} of validation words",
        rows,
        "perplexity on validation text",
        "area under the curve",
    )
    said = [
        f"- {METHODS[method]}: `{row['model']}`, area {row['auc']:.3f} ± {row['auc_stderr']:.3f} on {pairs} of "
        f"validation words, perplexity {row['perplexity']:.1f}"
        for method, row in best.items()
    ]
    said += [f"- {could_be_chosen(results, method)}" for method in best]
    if fell := by_rate_alone(results):
        said.append(
            f"- Of the trials of DSKD that were not eligible, {fell} had a learning rate at which no trial of KD stays "
            "below DSKD's bound either, so that what else they tried was not weighed"
        )
    changes = beside_kd(results)
    if changes:
        said.append(
            f"- Beside KD at the same learning rate and otherwise the preset, the area of {len(changes)} trials of "
            f"DSKD differs by {_signed(min(changes))} to {_signed(max(changes))}; "
            f"what would matter is {SMALLEST['area']}"
        )
    return drawn, said


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def beside_kd(results: Results) -> list[float]:
    """Differences in area of each trial of DSKD from the KD trial that has its learning rate and names nothing else.

    A weight of KL of 1 is the preset's. A trial without such a partner is left out.

    Raises:
        NotRunError: stage one was not run.
    """
    rows = trials(results)
    plain = {
        row["lr"]: row["auc"]
        for row in rows
        if row["method"] == "kd"
        and pd.isna(row.get("temperature"))
        and (pd.isna(row.get("alpha")) or row["alpha"] == 1)
    }
    return [row["auc"] - plain[row["lr"]] for row in rows if row["method"] == "dskd" and row["lr"] in plain]


def stage_two(results: Results) -> tuple[Drawing, list[dict[str, str]]]:
    """What DSKD gains over KD and over each control on the test words, and the conditions of a yes.

    Raises:
        NotRunError: stage two was not run.
    """
    rows = []
    for minus in ("kd", *piece(results, "05-evaluation", "controls")):
        row = _area(results, minus)
        reads = verdict(row["low"], row["high"], SMALLEST["area"])
        rows.append({"label": f"over {METHODS[minus]}", "difference": row["value"], "reads": reads}
                    | {end: row[end] for end in ("low", "high")})  # fmt: skip
    row = _area(results, "kd")
    title = f"Stage two: what DSKD gains on {row['n']:,} pairs of {row['words']:,} test words"
    drawn = forest("decision", title, rows, "area under the curve, DSKD − the other", SMALLEST["area"])
    return drawn, conditions(results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what stage one chose as YAML, for `papermill -f`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", help="06-ablations.json of stage one")
    path = parser.parse_args(arguments).results
    try:
        print(yaml.safe_dump(parameters({"06-ablations": read_results(path)})), end="")
    except LookupError:
        print(f"error: {path} holds no students of the grid {GRID!r}: run stage one first", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
