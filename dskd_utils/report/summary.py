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
BY_TASK = {  # tables of paired differences on the page on the evaluation, and what each compares
    "differences": "log-probability of the right answer",
    "arc_test_differences": "log-probability of the right answer, test split",
    "accuracy_differences": "accuracy by likelihood",
    "letter_differences": "accuracy by letter",
    "squad_differences": "F1",
}
OF_TEXT = {"nll": "nll on held-out text", "kl": "KL to the teacher", "top1_agreement": "same top token as the teacher"}
# Of a probe's table: the subset that is shown first, the measure, what is compared, and the measure in `SMALLEST`.
OF_WORDS = (
    ("probe_pairs", "all", "sum", "synonym or antonym, by prompt", "area"),
    ("probe_questions", "synonym", "acc", "questions: synonym", "acc"),
    ("probe_questions", "antonym", "acc", "questions: antonym", "acc"),
    ("probe_own_space", "all", "standardised", "synonym or antonym, own space", "area"),
    ("probe_similarity", "held out", "standardised", "similarity, held-out words", "correlation"),
)


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
    return [*_compared(results), f"**Claims.** {_counted(results)}"]


def found(results: Results) -> list[str]:
    """What the page on the evaluation found, in a few sentences: everything that it compares, then as in `answer`.

    Args:
        results: of the page, and of 04-distillation for the margin.

    Raises:
        NotRunError: the evaluation is missing.
    """
    return [f"**All of it.** {_everything(everywhere(results))}", *_compared(results)]


def everywhere(results: Results) -> list[dict[str, Any]]:
    """DSKD - KD in each table of the page on the evaluation: `label`, `value`, `low`, `high`, `reads`.

    Above zero is better: the signs of nll and KL are turned.

    Raises:
        NotRunError: the evaluation is missing.
    """
    piece(results, "05-evaluation", "differences")
    page, told = results["05-evaluation"], []
    for name, label in BY_TASK.items():
        for row in page.get(name) or []:
            if row["pair"] == "DSKD - KD":
                ends = (row[end] for end in ("difference", "low", "high"))
                told.append((f"{TASKS[row['task']]}, {label}", *ends, SMALLEST[row["metric"]]))
    for row in page.get("held_out_differences") or []:
        if (row["model"], row["minus"]) == ("dskd", "kd"):
            ends = [row[end] for end in ("difference", "low", "high")]
            ends = ends if row["metric"] == "top1_agreement" else [-ends[0], -ends[2], -ends[1]]
            told.append((OF_TEXT[row["metric"]], *ends, SMALLEST[row["metric"]]))
    for name, subset, measure, label, unit in OF_WORDS:
        for row in page.get(name) or []:
            if (row["subset"], row["measure"], row["model"], row["minus"]) == (subset, measure, "dskd", "kd"):
                told.append((label, row["value"], row["low"], row["high"], SMALLEST[unit]))
    names = ("label", "value", "low", "high")
    return [dict(zip(names, one, strict=False)) | {"reads": verdict(*one[2:])} for one in told]


def _everything(rows: list[Mapping[str, Any]]) -> str:
    """How often DSKD is better, and where, over all that a page compares."""
    words = {"higher": "better", "higher, by less than matters": "better by less than would matter", "lower": "worse"}
    words |= {"lower, by less than matters": "worse by less than would matter"}
    words |= {"the same": "the same to within what would matter", "not told apart": "not told apart"}
    counts = [(sum(row["reads"] == reads for row in rows), word) for reads, word in words.items()]
    parts = [f"{count} {word}" for count, word in counts if count]
    said = f"DSKD is compared with KD in {len(rows)} places of this page: {', '.join(parts)}. "
    better = [row for row in rows if row["reads"] == "higher"]
    if not better:
        return said + "Nothing that was asked shows that the sense loss helps by what would matter."
    shown = "; ".join(f"{row['label']} {interval(row['value'], row['low'], row['high'])}" for row in better)
    return said + f"It is better in this: {shown}; of so many intervals some leave out zero by chance."


def _compared(results: Results) -> list[str]:
    said = {
        "Benchmarks": _benchmarks(differences(results)) + _accuracies(results),
        "Text": _text(results),
        "Words": _words(results),
        "Opposites": _margin(results),
    }
    return [f"**{about}.** {sentences}" for about, sentences in said.items() if sentences]


def _benchmarks(rows: list[Mapping[str, Any]]) -> str:
    better, worse = ([row for row in rows if row["reads"] == word] for word in ("higher", "lower"))
    same = [row for row in rows if row["reads"] == "the same" or row["reads"].endswith("by less than matters")]
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
