"""Tables of the book, made from result files (paper, Tables 3 and 8)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dskd_utils.evaluate.significance import SMALLEST, verdict
from dskd_utils.profiles import ASKED, BATCH, profile
from dskd_utils.report.paper import TABLE_8, TASKS, squad_name, table_3
from dskd_utils.sources.presets import preset

METHODS = {"teacher": "teacher", "initial": "student, untrained", "kd": "KD", "dskd": "DSKD"}
METHODS |= {  # controls
    "without_antonyms": "DSKD without antonyms",
    "without_synonyms": "DSKD without synonyms",
    "without_flips": "DSKD without flips",
    "own_senses_only": "own senses only",
    "shuffled_senses": "shuffled senses",
    "rewired": "rewired neighbours",
    "swapped_labels": "swapped labels",
    "state_error": "state error",
    "sense_prediction": "sense prediction",
    "reverse_kl": "KD, reverse KL",
    "jensen_shannon": "KD, Jensen-Shannon",
}


def percent(value: float, error: float) -> str:
    """`71.3 ± 2.6`: a share and its standard error in percent, not to be broken over two lines."""
    shown = f"{100 * value:.1f}"
    return shown if pd.isna(error) else f"{shown}\u00a0±\u00a0{100 * error:.1f}"


def share_of(asked: int, whole: float) -> str:
    """`300 of 1,838`: how many were asked, and of how many where these are more."""
    return f"{int(asked):,}" + (f" of {int(whole):,}" if whole > asked else "")


def our_table_3(
    evaluation: Sequence[Mapping[str, Any]], metrics: Mapping[str, str], protocol: str, error: str = "stderr"
) -> pd.DataFrame:
    """Our Table 3: a row a model, a column a benchmark, each cell value ± standard error in percent.

    Args:
        evaluation: rows of `evaluate(...)` as the results file holds them.
        metrics: the metric shown for each task; a task that is not named is left out.
        protocol: which protocol's rows are shown.
        error: the column behind ±, `"stderr"` or `"deviation"`, that of the training seeds; no ± where it is NaN.

    Returns:
        a frame indexed by model with a last row of chance levels and one of question counts; a benchmark that
        did not run says why.
    """
    rows = pd.DataFrame(evaluation)
    rows = rows[rows.protocol == protocol]
    table = pd.DataFrame()
    for task, name in TASKS.items():
        if task not in metrics:
            continue
        here = rows[(rows.task == task) & (rows.metric == metrics[task])]
        if here.empty:
            missing = rows[(rows.task == task) & (rows.metric == "not run")]
            reason = "not run, needs data_dir" if len(missing) else "not run"
            for model in rows.model.unique():
                table.loc[METHODS.get(model, model), name] = reason
            continue
        name = squad_name(here.to_dict("records"), metrics[task]) if task == "squad2" else name
        for row in here.itertuples():
            table.loc[METHODS.get(row.model, row.model), name] = percent(row.value, getattr(row, error))
        table.loc["chance", name] = f"{100 * here.chance.iloc[0]:.1f}" if pd.notna(here.chance.iloc[0]) else "-"
        of = here["of"].iloc[0] if "of" in here else float("nan")
        table.loc["questions", name] = share_of(here.n.iloc[0], of)
    order = [*(name for name in METHODS.values() if name in table.index), "chance", "questions"]
    return table.reindex([name for name in order if name in table.index]).fillna("-")


def paper_table_3() -> pd.DataFrame:
    """The paper's Table 3 in the same form, its ± as printed there; teachers of 32 layers, students of 16."""
    rows = table_3()
    rows["cell"] = [
        f"{value:.2f}\u00a0±\u00a0{spread:.2f}" for value, spread in zip(rows.value, rows.plus_minus, strict=True)
    ]
    rows["model"] = [f"{teacher} {METHODS[method]}" for teacher, method in zip(rows.teacher, rows.method, strict=True)]
    wide = rows.pivot_table(index="model", columns="task", values="cell", aggfunc="first", sort=False)
    return wide.rename(columns=TASKS).rename_axis(columns=None, index=None)


def held_out_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Measures on held-out text, a row a model, each cell value ± standard error.

    Args:
        rows: rows of `text_measures(...)`.
    """
    shown = {
        "perplexity": ("perplexity", "{:,.1f}"),
        "kl": ("KL (nats)", "{:.3f}"),
        "top1_agreement": ("same top token", "{:.3f}"),
        "top5_agreement": ("of the top five", "{:.3f}"),
        "accuracy": ("accuracy", "{:.3f}"),
        "bits_per_byte": ("bits a byte", "{:.2f}"),
    }
    there = {row["metric"] for row in rows}
    cells: dict[str, dict[str, str]] = {name: {} for metric, (name, _) in shown.items() if metric in there}
    for row in rows:
        name, form = shown[row["metric"]]
        error = "" if pd.isna(row["stderr"]) else f"\u00a0±\u00a0{form.format(row['stderr'])}"
        cells[name][METHODS.get(row["model"], row["model"])] = form.format(row["value"]) + error
    return pd.DataFrame(cells)


def class_table(rows: Sequence[Mapping[str, Any]], metric: str, form: str = "{:.3f}") -> pd.DataFrame:
    """One measure on held-out text by kind of token: a row a kind, a column a model, value ± standard error.

    Args:
        rows: rows of `text_measures(...)` with classes.
        metric: which measure.
        form: of its numbers.
    """
    table = pd.DataFrame()
    for row in rows:
        if row["metric"] == metric:
            error = "" if pd.isna(row["stderr"]) else f"\u00a0±\u00a0{form.format(row['stderr'])}"
            table.loc[row["tokens"], "tokens"] = f"{row['n']:,}"
            table.loc[row["tokens"], METHODS.get(row["model"], row["model"])] = form.format(row["value"]) + error
    return table


def our_table_8(facts: Mapping[str, float], pairs: Mapping[str, float], teacher: str) -> pd.DataFrame:
    """The paper's Table 8 with our dictionary's column behind it."""
    ours = {
        "vocabulary": facts["vocabulary"],
        "token keys": facts["token keys"],
        "word keys": facts["word keys of several tokens"],
        "GB": facts["bytes"] / 1e9,
        "synonym pairs": pairs["synonym_pairs"],
        "antonym pairs": pairs["antonym_pairs"],
    }
    table = pd.DataFrame(TABLE_8 | {teacher: ours})
    return table.map(lambda value: f"{value:.2f}" if value < 100 else f"{value:,.0f}")


def p_value(p: float) -> str:
    """A p-value for reading, so that what is below a level does not read as the level."""
    return "-" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def differences(rows: Sequence[Mapping[str, Any]], smallest: float = SMALLEST["gold_logprob"]) -> pd.DataFrame:
    """DSKD - KD and KD - teacher with their paired intervals and what these say, for reading.

    Of right and wrong answers Holm's correction is of McNemar's test; with several training seeds it is of the
    interval's own p, and McNemar's of the first seeds stands beside it, uncorrected.

    Args:
        rows: of `benchmarks.compare`.
        smallest: the smallest difference that would matter.
    """
    frame = pd.DataFrame(rows)
    mcnemar = "p_mcnemar" in frame and frame.p_mcnemar.notna().any()  # log-probabilities have no McNemar test
    seeds = "seeds" in frame and frame.seeds.max() > 1
    shown = pd.DataFrame(
        {
            "benchmark": frame.task.map(TASKS),
            "difference": frame.difference.map("{:+.3f}".format),
            "95% interval": [f"[{low:+.3f}, {high:+.3f}]" for low, high in zip(frame.low, frame.high, strict=True)],
            "questions": frame.n,
            "reads": [verdict(low, high, smallest) for low, high in zip(frame.low, frame.high, strict=True)],
        }
    )
    if "p_holm" in frame and frame.p_holm.notna().any():
        shown["McNemar, Holm" if mcnemar and not seeds else "p, Holm"] = frame.p_holm.map(p_value)
    if mcnemar and seeds:
        shown["McNemar, first seed"] = frame.p_mcnemar.map(p_value)
    return shown


def text_differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences on held-out text and what they say, for reading.

    Args:
        rows: of `text.compare_text`.
    """
    names = {"nll": "nll (nats)", "kl": "KL (nats)", "top1_agreement": "same top token"}
    return pd.DataFrame(
        {
            "models": [_pair_name(a, b) for a, b in zip(rows.model, rows.minus, strict=True)],
            "measure": rows.metric.map(names).to_numpy(),
            "difference": [_interval(row, "{:+.4f}", "difference") for row in rows.itertuples()],
            "reads": [verdict(row.low, row.high, SMALLEST[row.metric]) for row in rows.itertuples()],
            "p, Holm": rows.p_holm.map(p_value).to_numpy(),
        }
    )


def squad_table(rows: pd.DataFrame) -> pd.DataFrame:
    """SQuAD 2.0 by kind of question, a row a model, percent ± standard error.

    Args:
        rows: those of `evaluate(...)` whose metric is of `HasAns` or `NoAns`.
    """
    shown = pd.DataFrame({"model": list(dict.fromkeys(rows.model.map(lambda name: METHODS.get(name, name))))})
    for metric, here in rows.groupby("metric", sort=False):
        kind, measure = metric.split("_")
        label = f"{'has an answer' if kind == 'HasAns' else 'has none'}, {measure}, n = {int(here.n.iloc[0])}"
        shown[label] = [percent(value, error) for value, error in zip(here.value, here.stderr, strict=True)]
    return shown


def _pair_name(a: str, b: str) -> str:
    return f"{METHODS.get(a, a)} - {METHODS.get(b, b)}"


def probe_values(table: pd.DataFrame, measure: str, subsets: Sequence[str]) -> pd.DataFrame:
    """What a probe measured, a row a model, a column a subset, each cell value [95% interval].

    Args:
        table: of `evaluate.probes.probe_table`.
        measure: which of its measures.
        subsets: which of its subsets, those that are there.

    Returns:
        a frame indexed by model with a last row of chance levels and one of item counts: those that every model has a
        score of, of all that were drawn.
    """
    rows = table[(table.measure == measure) & (table.minus == "")]
    shown = pd.DataFrame()
    for subset in [name for name in subsets if name in set(rows.subset)]:
        here = rows[rows.subset == subset]
        for row in here.itertuples():
            shown.loc[METHODS.get(row.model, row.model), subset] = _interval(row, "{:.3f}")
        shown.loc["chance", subset] = f"{here.chance.iloc[0]:.3f}"
        items = share_of(here.n.iloc[0], here["of"].iloc[0])
        shown.loc["items (words)", subset] = f"{items} ({here.words.iloc[0]:,})"
    return shown


def probe_differences(
    table: pd.DataFrame, measure: str, subsets: Sequence[str], smallest: float = SMALLEST["area"]
) -> pd.DataFrame:
    """Paired differences between models of a probe and what they say, for reading; arguments as in `probe_values`."""
    rows = table[(table.measure == measure) & (table.minus != "") & table.subset.isin(list(subsets))]
    names = [_pair_name(a, b) for a, b in zip(rows.model, rows.minus, strict=True)]
    return pd.DataFrame(
        {
            "models": names,
            "words": rows.subset.to_numpy(),
            "difference": [_interval(row, "{:+.3f}") for row in rows.itertuples()],
            "reads": [_reads(row, smallest) for row in rows.itertuples()],
            "p, Holm": rows.p_holm.map(p_value).to_numpy(),
        }
    )


def _reads(row: Any, smallest: float) -> str:
    return "-" if pd.isna(row.low) else verdict(row.low, row.high, smallest)


def _interval(row: Any, form: str, column: str = "value") -> str:
    value = form.format(getattr(row, column))
    if pd.isna(row.low):
        return value
    return f"{value}\u00a0[{form.format(row.low)},\u00a0{form.format(row.high)}]"


def study_command(*records: Mapping[str, Any]) -> str:
    """The `make study` that repeats the results of one study, with what was asked for beside the profile's settings.

    Args:
        records: results of notebooks of one teacher and profile.
    """
    first = records[0]
    given = {"TEACHER": first["teacher"], "PROFILE": first["profile"]["name"]}
    for record in records:
        asked = {name: record["parameters"].get(name) for name in ("seed", "source", *ASKED)}
        given |= {name.upper(): value for name, value in asked.items() if value and value != "package"}
    minutes = first["profile"].get("minutes")
    if minutes and minutes != profile(given["PROFILE"]).minutes:
        given["MINUTES"] = f"{minutes:g}"
    if any(record.get("files") for record in records):
        given["DATA_DIR"] = "..."
    if preset(first["teacher"]).get("terms"):
        given["ACCEPT_TERMS"] = first["teacher"]
    return "make study " + " ".join(f"{name}={value}" for name, value in given.items())


def provenance_box(record: Mapping[str, Any], *before: Mapping[str, Any]) -> str:
    """One Markdown line under a page: commit, teacher, profile, seed, hardware, duration and how to rerun.

    Args:
        record: the page's results.
        before: results that the page was made from, whose options the command needs too.
    """
    origin = record["provenance"]
    machine, profile = origin["hardware"], record["profile"]
    accelerators = ", ".join(machine["accelerators"]) or "no accelerator"
    batch = record["parameters"].get("run", BATCH) == BATCH  # how to repeat another run is said by the book's foot
    return (
        f"> **Where these numbers come from.** Commit `{origin['commit']}`, teacher `{record['teacher']}`, profile "
        f"`{profile['name']}` at {profile['scale']:.0%} of its budget, seed {record['parameters']['seed']}, "
        f"{machine['cores']} cores ({machine['architecture']}, {machine['vector_unit']}), {accelerators}, "
        f"{machine['memory_gb']:.0f} GB, {origin['dtype']}, torch {origin['versions']['torch']}, this page in "
        f"{origin['seconds']:.0f} s on {origin['finished'][:10]}."
        + (f" Rerun: `{study_command(record, *before)}`." if batch else "")
    )
