"""The short answer of a study: a few sentences, one table, one picture (paper, Table 3 and section 5.3).

Pure functions on loaded results, for the front page and the README.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dskd_utils.evaluate.significance import SMALLEST, verdict
from dskd_utils.report.charts import forest
from dskd_utils.report.claims import claims, tally
from dskd_utils.report.paper import TASKS, squad_name
from dskd_utils.report.svg import Drawing
from dskd_utils.report.tables import METHODS, p_value, percent
from dskd_utils.report.verdicts import Results, interval, piece, squad_gain

FINE = "\u00a0±\u00a0"
METHODS_SHOWN = ("teacher", "kd", "dskd")


def differences(results: Results) -> list[dict[str, Any]]:
    """DSKD - KD on each benchmark asked: `label`, `difference`, `low`, `high` in nats and what the interval `reads`.

    Raises:
        NotRunError: the evaluation is missing.
    """
    rows = [row for row in piece(results, "05-evaluation", "differences") if row["pair"] == "DSKD - KD"]
    return [
        {name: row[name] for name in ("difference", "low", "high")}
        | {"label": TASKS[row["task"]], "reads": verdict(row["low"], row["high"], SMALLEST["gold_logprob"])}
        for row in rows
    ]


def result_table(results: Results) -> pd.DataFrame:
    """Our Table 3 in short: accuracy in percent by likelihood, then perplexity and KL on unseen text, each ± its error.

    Returns:
        a frame indexed by model; a column that was not run says so.

    Raises:
        NotRunError: the evaluation is missing.
    """
    likelihood = piece(results, "05-evaluation", "likelihood")
    held_out = {(row["model"], row["metric"]): row for row in piece(results, "05-evaluation", "held_out")}
    table = pd.DataFrame(index=[METHODS[method] for method in METHODS_SHOWN])
    accuracy = {(row["model"], row["task"]): row for row in likelihood if row["metric"] == "acc_norm"}
    for task, name in TASKS.items():
        for method in METHODS_SHOWN:
            if row := accuracy.get((method, task)):
                table.loc[METHODS[method], name] = percent(row["value"], row["stderr"])
    for metric, name, form in (("perplexity", "perplexity", "{:,.1f}"), ("kl", "KL (nats)", "{:.3f}")):
        for method in METHODS_SHOWN:
            row = held_out[method, metric]
            shown = form.format(row["value"])
            if row["stderr"] and not math.isnan(row["stderr"]):
                shown += FINE + form.format(row["stderr"])
            table.loc[METHODS[method], name] = shown
    return table.rename_axis(None)


def setting(results: Results) -> str:
    """One sentence on what the numbers come from.

    Raises:
        NotRunError: the evaluation or the distillation is missing.
    """
    settings = piece(results, "04-distillation", "settings")
    profile = piece(results, "05-evaluation", "profile")
    questions = max(row["n"] for row in results["05-evaluation"]["likelihood"])
    seeds = results["05-evaluation"].get("seeds", 1)
    return (
        f"Teacher {results['05-evaluation']['teacher']}, students of {settings['student layers']} layers trained on "
        f"{settings['training tokens']} tokens, profile `{profile['name']}`; accuracy in percent with standard errors, "
        f"by the likelihood of the answer, zero-shot, on at most {questions:,} questions a benchmark; perplexity and "
        "KL to the teacher on text that no model trained on"
        + (f"; means over {seeds} training seeds." if seeds > 1 else "; one training seed.")
    )


def answer(results: Results) -> list[str]:
    """The answer, a few sentences each: benchmarks, text, words and the controls, the margin if known, claims.

    Raises:
        NotRunError: the evaluation is missing.
    """
    said = {
        "Benchmarks": _benchmarks(differences(results)) + _accuracies(results),
        "Text": _text(results),
        "Words": _words(results),
        "Opposites": _margin(results),
        "Claims": _counted(results),
    }
    return [f"**{about}.** {sentences}" for about, sentences in said.items() if sentences]


def _benchmarks(rows: list[Mapping[str, Any]]) -> str:
    better, worse = ([row for row in rows if row["reads"].startswith(word)] for word in ("higher", "lower"))
    same = [row for row in rows if row["reads"] == "the same"]
    rest = len(rows) - len(better) - len(worse) - len(same)
    count = f"{len(better)} of {len(rows)} benchmarks" if better else f"none of the {len(rows)} benchmarks"
    parts = [f"By the log-probability of the right answer, on {count} is the DSKD student better than the KD student"]
    parts += [f"on {len(worse)} it is worse"] if worse else []
    parts += [f"on {len(same)} they are the same to within what would matter"] if same else []
    parts += [f"on {rest if rest < len(rows) else 'all'} the questions do not tell them apart"] if rest else []
    return "; ".join(parts) + "."


def _accuracies(results: Results) -> str:
    """The benchmarks on which accuracy tells the two apart, and SQuAD's F1 where it was asked."""
    evaluation, said = results["05-evaluation"], ""
    for row in evaluation.get("accuracy_differences") or []:
        reads = verdict(row["low"], row["high"], SMALLEST["acc_norm"])
        if row["pair"] == "DSKD - KD" and reads.startswith(("higher", "lower")):
            way, comma, rest = reads.partition(",")
            shown, corrected = interval(row["difference"], row["low"], row["high"]), row.get("p_holm")
            said += f" By accuracy it is {way} on {TASKS[row['task']]}{comma}{rest}, {shown}"
            said += "." if pd.isna(corrected) else f" (p {p_value(corrected)} after Holm)."
    if gain := squad_gain(evaluation):
        name = squad_name(evaluation.get("letters") or []).replace(" (F1)", "")
        said += f" On {name}, its F1 differs by {interval(*gain)}, {verdict(*gain[1:], SMALLEST['f1'])}."
    return said


def _text(results: Results) -> str:
    held_out = {(row["model"], row["metric"]): row for row in results["05-evaluation"]["held_out"]}
    text = ", ".join(
        f"{METHODS[method]} {held_out[method, 'kl']['value']:.3f}{FINE}{held_out[method, 'kl']['stderr']:.3f}"
        for method in ("kd", "dskd")
    )
    sentence = f"The students' distance to the teacher on unseen text, in nats of KL, is {text}"
    paired = [
        row
        for row in results["05-evaluation"].get("held_out_differences") or []
        if (row["model"], row["minus"], row["metric"]) == ("dskd", "kd", "kl")
    ]
    if paired:
        sentence += f", DSKD − KD {interval(*(paired[0][name] for name in ('difference', 'low', 'high')))}"
    return sentence + "."


def _words(results: Results) -> str:
    """What DSKD, and students without the right relations, gain over KD on the probe of words."""
    gains = {
        row["model"]: (row["value"], row["low"], row["high"])
        for row in results["05-evaluation"].get("probe_pairs") or []
        if (row["subset"], row["measure"], row["minus"]) == ("all", "sum", "kd")
    }
    said = ""
    if gain := gains.pop("dskd", None):
        said = (
            "Asked to tell synonyms from antonyms among words that training never related, DSKD − KD is "
            f"{interval(*gain)} of the area under the curve, {verdict(*gain[1:], SMALLEST['area'])}. "
        )
    if gains:
        controls = ", ".join(f"{METHODS[model]} {interval(*gain)}" for model, gain in gains.items())
        said += f"On the same words the controls differ from KD by {controls}."
    return said.strip()


def _margin(results: Results) -> str:
    for row in results.get("04-distillation", {}).get("hinge") or []:
        if row["when"] == "epoch 1":
            return (
                f"In the first epoch of training {row['share within the margin']:.1%} of the antonym senses chosen "
                "lay within the margin; the others push nothing."
            )
    return ""


def _counted(results: Results) -> str:
    rows = claims(results)
    return f"Of {len(rows)} claims of the paper, {tally(rows)}."


def picture(results: Results) -> Drawing:
    """DSKD - KD on each benchmark with intervals.

    Raises:
        NotRunError: the evaluation is missing.
    """
    rows = differences(results)
    better = sum(row["reads"].startswith("higher") for row in rows)
    title = f"DSKD minus KD: better on {better} of {len(rows)} benchmarks"
    unit = "log-probability of the right answer, DSKD − KD (nats)"
    return forest("difference", title, rows, unit, SMALLEST["gold_logprob"])
