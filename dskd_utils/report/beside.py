"""The paper's tables beside ours, from results files alone (paper, Tables 1 to 12 and Figure 3).

Pure functions on loaded results, for the page that walks through all of them. Our ablations are judged by agreement
with the teacher on validation text, the paper's by accuracy on the benchmarks: side by side, not on one scale.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dskd_utils.report import paper
from dskd_utils.report.charts import bars, curves
from dskd_utils.report.cost_tables import table_11, table_12
from dskd_utils.report.grid_verdicts import cells, failures
from dskd_utils.report.svg import Drawing
from dskd_utils.report.tables import METHODS, our_table_3, paper_table_3
from dskd_utils.report.verdicts import MEASURE, NotRunError, Results, interval, piece

# Of an ablation: its table, the grid that repeats it, what varies, and the methods that are trained.
ABLATIONS: Mapping[int, tuple[Mapping, str, str, tuple[str, ...]]] = {
    4: (paper.TABLE_4, "senses", "k", ("dskd",)),
    5: (paper.TABLE_5, "candidates", "kappa", ("dskd",)),
    6: (paper.TABLE_6, "weights", "beta", ("dskd",)),
    9: (paper.TABLE_9, "divergence", "alpha", ("kd", "dskd")),
}
NOT_RUN = "not run here"


def ablation(results: Results, number: int) -> pd.DataFrame:
    """Table 4, 5, 6 or 9: the paper's accuracies, then our agreement ± standard error and KL, a row a value.

    The paper's chosen values are in bold; ours of one grid differ in this setting alone.

    Args:
        results: loaded results of one teacher.
        number: of the paper's table.
    """
    table, grid, setting, methods = ABLATIONS[number]
    ours = {method: _cells(results, grid, setting, method) for method in methods}
    frame = pd.DataFrame()
    for value in sorted({*table, *(value for rows in ours.values() for value in rows)}):
        for (teacher, task), place in zip(paper.ABLATED, range(4), strict=True):
            shown = f"{table[value][place]:.2f}" if value in table else "-"
            bold = paper.CHOSEN[number][teacher] == value
            frame.loc[f"{value:g}", f"{teacher}, {task}"] = f"**{shown}**" if bold else shown
        for method, rows in ours.items():
            row, name = rows.get(value, NOT_RUN), METHODS[method]
            frame.loc[f"{value:g}", f"ours, {name}, same top token"] = measured(row, MEASURE)
            frame.loc[f"{value:g}", f"ours, {name}, KL"] = measured(row, "kl")
    return frame.rename_axis(setting)


def _cells(results: Results, grid: str, setting: str, method: str) -> dict[float, Mapping[str, Any] | str]:
    """The students of a grid by the value of one setting, of a failed one why."""
    try:
        return failures(results, grid, setting, method) | cells(results, grid, setting, method)
    except NotRunError:
        return failures(results, grid, setting, method)


def measured(row: Mapping[str, Any] | str, name: str) -> str:
    """A measure of a student of a grid ± its standard error; where there is none, why."""
    if isinstance(row, str):
        return row
    return f"{row[name]:.3f}\u00a0±\u00a0{row[f'{name}_stderr']:.3f}"


def figure_3(results: Results, part: str) -> tuple[pd.DataFrame, Drawing]:
    """Figure 3a (depth) or 3b (trained layers): our table and chart; the paper prints no numbers of its own.

    A student that failed has no point in the chart; the table says why.

    Args:
        results: loaded results of one teacher.
        part: `"a"` or `"b"`.

    Raises:
        NotRunError: the grid was not run, or all its students failed; says why.
    """
    grid, setting, label = {
        "a": ("depth", "layers", "layers of the student"),
        "b": ("trained-layers", "trainable_layers", "trained layers of the student"),
    }[part]
    series: dict[str, list[tuple[float, float, float]]] = {}
    frame = pd.DataFrame()
    piece(results, "06-ablations", "grids", grid)
    for method in ("kd", "dskd"):
        rows, name = _cells(results, grid, setting, method), METHODS[method]
        there = {x: row for x, row in sorted(rows.items()) if not isinstance(row, str)}
        if there:
            series[name] = [(x, row[MEASURE], row[f"{MEASURE}_stderr"]) for x, row in there.items()]
        for x in sorted(rows):
            frame.loc[f"{x:g}", f"{name}, same top token"] = measured(rows[x], MEASURE)
            frame.loc[f"{x:g}", f"{name}, KL"] = measured(rows[x], "kl")
    if not series:
        lost = [(METHODS[m], failures(results, grid, setting, m)) for m in ("kd", "dskd")]
        told = [f"{name}, {setting} {x:g} {text}" for name, found in lost for x, text in found.items()]
        raise NotRunError("; ".join(told) or NOT_RUN)
    title = f"Agreement with the teacher by {label}"
    drawn = curves(f"figure3{part}", title, series, label, "same top token as the teacher (share)")
    return frame.fillna("-").rename_axis(label.split(" of ")[0]), drawn


def negation(results: Results) -> pd.DataFrame:
    """Table 1: the paper's pairs and new pairs, and what our rule makes of each where the lexicon was built."""
    ours = (results.get("01-lexicon") or {}).get("table_1") or []
    made = {row["original pair"]: row["ours"] for row in ours}
    rows = {
        ", ".join(old): [relation, ", ".join(new), turned, made.get(", ".join(old), NOT_RUN)]
        for old, relation, new, turned in paper.TABLE_1
    }
    columns = ["relation", "new pair", "new relation", "ours"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("pair")


def comparison(results: Results) -> pd.DataFrame:
    """Table 3: the paper's, then ours by letter, as the paper asks, and by likelihood of the answer."""
    frames = [paper_table_3()]
    evaluation = results.get("05-evaluation") or {}
    choice = [task for task in paper.TASKS if task != "squad2"]
    kinds = {"letters": ("paper", "acc", "by letter"), "likelihood": ("likelihood", "acc_norm", "by likelihood")}
    for kind, (protocol, metric, told) in kinds.items():
        if evaluation.get(kind):
            metrics = dict.fromkeys(choice, metric) | ({"squad2": "f1"} if kind == "letters" else {})
            ours = our_table_3(evaluation[kind], metrics, protocol)
            frames.append(ours.rename(index=lambda name, told=told: f"ours, {told}, {name}"))
    return pd.concat(frames).fillna("-").rename_axis("model")


def chosen_settings(results: Results) -> pd.DataFrame:
    """Table 10: the paper's settings as printed there, then ours of the main comparison."""
    table = pd.DataFrame(paper.TABLE_10, index=list(paper.TABLE_10_ROWS)).map(str)
    record = results.get("04-distillation") or {}
    if used := record.get("settings"):
        beta_p, beta_n = used["beta"].split(" and ")
        ours = [used["student layers"], used["trained"], used["learning rate"], record["profile"]["epochs"]]
        ours += [used["kappa"], used["alpha"], beta_p, beta_n, used["margin"]]
        table["ours, DSKD"] = list(map(str, ours))
    return table.rename_axis("setting")


def training_cost(results: Results) -> pd.DataFrame:
    """Table 11: the paper's rows, then ours, whose minutes are those of the machine named on the page on costs."""
    record = results.get("08-costs") or {}
    ours = pd.DataFrame(record.get("sizes") or [], columns=["method", "layers", "parameters", "gib", "minutes"])
    return table_11(ours, record.get("teacher", "")).set_index("teacher")


def answering_cost(results: Results) -> pd.DataFrame:
    """Table 12: the paper's minutes on whole benchmarks, and our seconds on a few questions of each."""
    record = results.get("08-costs") or {}
    answered, parameters = pd.DataFrame(record.get("answered") or []), record.get("parameters") or {}
    table = table_12(answered, parameters.get("questions", 0), record.get("teacher", "")).set_index("teacher")
    return table if len(answered) else table[: len(paper.TABLE_12)]


def controls(results: Results) -> pd.DataFrame:
    """What DSKD and each control gain over KD on the probes of held-out words, with 95% intervals, a row a method.

    Raises:
        NotRunError: no control was trained.
    """
    rows = piece(results, "05-evaluation", "forest")
    frame = pd.DataFrame()
    for row in rows:
        known = row["low"] is not None and row["low"] == row["low"]
        shown = interval(row["value"], row["low"], row["high"]) if known else f"{row['value']:+.3f}"
        frame.loc[row["method"], row["probe"]] = shown
    if len(frame) < 2:
        raise NotRunError(NOT_RUN)
    return frame.rename_axis("gain over KD").fillna("-")


def spans(results: Results) -> pd.DataFrame:
    """Table 2: percentages of relations kept at a longest span of `m` tokens, a column each; the paper's, then ours."""
    rows = {f"{name}, {kind}s": list(values) for (name, kind), values in paper.TABLE_2.items()}
    for tokenizer, found in ((results.get("01-lexicon") or {}).get("table_2") or {}).items():
        for kind in ("synonym", "antonym"):
            rows[f"ours, {tokenizer}, {kind}s"] = [row[kind] for row in found]
    frame = pd.DataFrame(rows, index=[f"m = {m}" for m in range(1, 6)]).T
    return frame.map("{:.2f}".format).rename_axis("tokenizer")


def dictionaries(results: Results) -> pd.DataFrame:
    """Table 8: sizes of the dictionaries, the paper's two and ours."""
    table: dict[str, Mapping[str, float]] = dict(paper.TABLE_8)
    facts, pairs = (results.get("02-senses") or {}).get("facts"), (results.get("01-lexicon") or {}).get("facts")
    if facts and pairs:
        table[f"ours, {results['02-senses']['teacher']}"] = {
            "vocabulary": facts["vocabulary"],
            "token keys": facts["token keys"],
            "word keys": facts["word keys of several tokens"],
            "GB": facts["bytes"] / 1e9,
            "synonym pairs": pairs["training"]["synonym_pairs"],
            "antonym pairs": pairs["training"]["antonym_pairs"],
        }
    shown = pd.DataFrame(table).map(lambda value: f"{value:.2f}" if value < 100 else f"{value:,.0f}")
    return shown.rename_axis("dictionary")


def runs(results: Results) -> pd.DataFrame:
    """What every notebook took, a row each: its budget, minutes, memory and energy where known, and the commit.

    Raises:
        NotRunError: no notebook has results.
    """
    frame = pd.DataFrame()
    for name, record in results.items():
        if not isinstance(record, Mapping) or "provenance" not in record:
            continue
        profile, origin = record["profile"], record["provenance"]
        memory = origin.get("peak_memory_gb")
        frame.loc[name, "profile"] = f"{profile['name']}, {profile.get('scale', 1):.0%}"
        frame.loc[name, "minutes"] = f"{origin['seconds'] / 60:.1f}"
        frame.loc[name, "memory (GiB)"] = f"{memory:.1f}" if memory else "not noted"
        energy = origin.get("energy_wh")
        frame.loc[name, "energy (Wh)"] = f"{energy:.0f}" if energy is not None and energy == energy else "not told"
        frame.loc[name, "format"] = origin["dtype"]
        frame.loc[name, "commit"] = origin["commit"]
    if frame.empty:
        raise NotRunError(NOT_RUN)
    return frame.rename_axis("notebook")


def run_picture(results: Results) -> Drawing:
    """Minutes of every notebook as bars, the most memory that each held behind them.

    Raises:
        NotRunError: no notebook has results.
    """
    rows = []
    for name, row in runs(results).iterrows():
        memory = "" if row["memory (GiB)"] == "not noted" else f", {row['memory (GiB)']} GiB"
        rows.append({"label": name, "value": float(row["minutes"]), "said": f"{row['minutes']} min{memory}"})
    return bars("runs", "Minutes and memory of every notebook", rows, "minutes of the last sitting")


# What can stand beside the paper's by its number, and what the study adds.
TABLES = {
    "1": negation,
    "2": spans,
    "3": comparison,
    "8": dictionaries,
    "10": chosen_settings,
    "11": training_cost,
    "12": answering_cost,
    "controls": controls,
    "runs": runs,
}


def markdown(frame: pd.DataFrame) -> list[str]:
    """The lines of a table in Markdown, its index as the first column."""
    head = [frame.index.name or "", *map(str, frame.columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + [
        "| " + " | ".join(map(str, (label, *row))) + " |"
        for label, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
