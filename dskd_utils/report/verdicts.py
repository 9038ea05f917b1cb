"""What results make of a claim of the paper: what is seen and a verdict, by rules (paper, sections 3 to 7).

Pure functions on loaded results; the claims and their rules in words are in `claims.py`, those on grids of students are
judged in `grid_verdicts.py`. A piece that was not run raises `NotRunError` and decides nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from dskd_utils.evaluate.significance import SMALLEST, verdict
from dskd_utils.report.paper import STATED, TASKS, squad_name

HELD, NOT, UNCLEAR, UNTESTED = "held up", "did not hold up", "not told apart", "could not be tested here"
MEASURE = "top1_agreement"  # of grids: the share of positions where student and teacher have the same top token
NORMAL = 1.96
ROUNDS = 5  # of a timing: an interval of fewer decides nothing
Results = Mapping[str, Mapping[str, Any]]


class NotRunError(LookupError):
    """A result that a claim needs is not there."""


def piece(results: Results, notebook: str, *path: str) -> Any:
    """A part of the results.

    Raises:
        NotRunError: it is missing or empty.
    """
    here: Any = results.get(notebook) or {}
    for step in path:
        here = here.get(step) if isinstance(here, Mapping) else None
    if not here and here != 0:
        raise NotRunError("not run here")
    return here


def interval(value: float, low: float, high: float, form: str = "{:+.3f}") -> str:
    """`+0.012 [-0.010, +0.030]`, with real minus signs and not to be broken over two lines."""
    text = f"{form.format(value)}\u00a0[{form.format(low)},\u00a0{form.format(high)}]"
    return text.replace("-", "\N{MINUS SIGN}")


def gap(a: Mapping[str, Any], b: Mapping[str, Any], measure: str = MEASURE) -> tuple[float, float, float]:
    """Difference `a - b` of two students of one grid, and the ends of its 95% interval.

    The two are judged on the same text, but the grid keeps no paired errors: the interval takes them as independent,
    which makes it too wide rather than too narrow.
    """
    difference = a[measure] - b[measure]
    spread = NORMAL * math.hypot(a[f"{measure}_stderr"], b[f"{measure}_stderr"])
    return difference, difference - spread, difference + spread


def is_number(value: Any) -> bool:
    """Whether a cell of a table holds a number."""
    return isinstance(value, int | float) and not math.isnan(value)


def every_benchmark(results: Results) -> tuple[str, str]:
    """Section 5.3, Table 3: DSKD above KD on every benchmark."""
    rows = [row for row in piece(results, "05-evaluation", "differences") if row["pair"] == "DSKD - KD"]
    told = {TASKS[row["task"]]: (row["difference"], row["low"], row["high"]) for row in rows}
    read = {task: verdict(*one[1:], SMALLEST["gold_logprob"]) for task, one in told.items()}
    shown = [f"{task} {interval(*one)}, {read[task]}" for task, one in told.items()]
    squad = squad_gain(results["05-evaluation"])
    if squad:
        name = squad_name(results["05-evaluation"].get("letters") or [])
        read[name] = verdict(*squad[1:], SMALLEST["f1"])
        shown.append(f"{name} {interval(*squad)}, {read[name]}")
    else:
        shown.append("SQuAD not run")
    seen = "; ".join(shown)
    if any(one == "the same" or one.startswith("lower") for one in read.values()):
        return seen, NOT
    return seen, HELD if all(one.startswith("higher") for one in read.values()) else UNCLEAR


def squad_gain(evaluation: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """DSKD - KD in F1 with its 95% interval: paired, or of two errors where a study of before kept no pairs."""
    for row in evaluation.get("squad_differences") or []:
        if row["pair"] == "DSKD - KD":
            return row["difference"], row["low"], row["high"]
    rows = [row for row in evaluation.get("letters") or [] if (row["task"], row["metric"]) == ("squad2", "f1")]
    f1 = {row["model"]: {"f1": row["value"], "f1_stderr": row["stderr"]} for row in rows}
    return gap(f1["dskd"], f1["kd"], "f1") if {"kd", "dskd"} <= set(f1) else None


def above_teacher(results: Results) -> tuple[str, str]:
    """Table 3: a student above its teacher on PIQA."""
    rows = piece(results, "05-evaluation", "accuracy_differences")
    rows = [row for row in rows if row["task"] == "piqa" and row["pair"] == "KD - teacher"]
    if not rows:
        raise NotRunError("PIQA was not asked")
    (row,) = rows
    reads = verdict(row["low"], row["high"], SMALLEST["acc_norm"])
    seen = f"KD − teacher on PIQA, accuracy by likelihood, zero-shot: {_told(row)}, {reads}"
    for letter in results["05-evaluation"].get("letter_differences") or []:
        if (letter["task"], letter["pair"]) == ("piqa", "KD - teacher"):
            beside = verdict(letter["low"], letter["high"], SMALLEST["acc"])
            seen += f"; by letter after examples, the paper's protocol: {_told(letter)}, {beside}"
    if reads.startswith("higher"):
        return seen, HELD
    return seen, UNCLEAR if reads == "not told apart" else NOT


def _told(row: Mapping[str, Any]) -> str:
    return interval(row["difference"], row["low"], row["high"])


def training_time(results: Results) -> tuple[str, str]:
    """Table 11: what the sense loss adds to the training time."""
    rows = piece(results, "08-costs", "seconds")
    return _times([row["DSKD"] / row["KD"] for row in rows], "trains", 1 + STATED["training overhead"])


def answering_time(results: Results) -> tuple[str, str]:
    """Table 12: what it adds to the answering time."""
    ratios = []
    for row in piece(results, "08-costs", "answered"):
        times = {
            method: sum(value for name, value in row.items() if name.startswith(f"{method}, "))
            for method in ("kd", "dskd")
        }
        if all(times.values()):
            ratios.append(times["dskd"] / times["kd"])
    if not ratios:
        raise NotRunError("not run here")
    seen, ruling = _times(ratios, "answers", 1.0)
    return f"{seen}; both are plain models of the same layers", ruling


def mean_ratio(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios over rounds of a timing and its 95% interval, by Student's t of their logarithms.

    The ends are NaN where there is one round, which says nothing of others.
    """
    logs = np.log(ratios)
    if logs.size < 2:
        return float(np.exp(logs.mean())), math.nan, math.nan
    spread = student_t.ppf(0.975, logs.size - 1) * logs.std(ddof=1) / math.sqrt(logs.size)
    mean, low, high = np.exp([logs.mean(), logs.mean() - spread, logs.mean() + spread])
    return float(mean), float(low), float(high)


def _times(ratios: Sequence[float], does: str, aim: float, slack: float = 0.05) -> tuple[str, str]:
    """Held up where the interval stays below the aim and a slack, not where it lies above; else not told apart."""
    mean, low, high = mean_ratio(ratios)
    span = "" if math.isnan(low) else f"\u00a0[{low:.2f},\u00a0{high:.2f}]"
    seen = f"DSKD {does} in {mean:.2f}{span} of KD's time, rounds: {len(ratios)}"
    if len(ratios) < ROUNDS:
        return f"{seen}; fewer than five decide nothing", UNCLEAR
    return seen, HELD if high <= aim + slack else NOT if low > aim + slack else UNCLEAR


def span_lengths(results: Results) -> tuple[str, str]:
    """Table 2: relations kept at three tokens a word."""
    shown, read = [], []
    for tokenizer, rows in piece(results, "01-lexicon", "table_2").items():
        (row,) = (row for row in rows if row["m"] == STATED["span"])
        for kind in ("synonym", "antonym"):
            share = row[kind] / 100
            spread = NORMAL * math.sqrt(share * (1 - share) / row[f"{kind} relations"])
            read.append((share - spread, share + spread))
        shown.append(f"{tokenizer} {row['synonym']:.1f}% and {row['antonym']:.1f}%")
    seen = "of the synonyms and antonyms: " + "; ".join(shown)
    bar = STATED["kept relations"]
    if any(high < bar for _, high in read):
        return seen, NOT
    return seen, HELD if all(low > bar for low, _ in read) else UNCLEAR


def clusters(results: Results) -> tuple[str, str]:
    """Figure 1: words of a group lie nearer to each other than to others."""
    rows = piece(results, "03-sense-maps", "cohesion")
    ratios = {(row["group"], row["of"]): row["ratio"] for row in rows if is_number(row["ratio"])}
    if not ratios:
        raise NotRunError("03-sense-maps has too few states of the words to compare distances")
    shown = [f"{group}, {kind}: {ratio:.3f}" for (group, kind), ratio in ratios.items()]
    seen = "mean distance within the group over that to other words: " + "; ".join(shown)
    if any(ratio >= 1 for ratio in ratios.values()):
        return seen, NOT
    return seen, HELD if all(ratio <= 0.95 for ratio in ratios.values()) else UNCLEAR


def vocabulary(results: Results) -> tuple[str, str]:
    """Section 5.3: a small vocabulary gains more."""
    size = piece(results, "02-senses", "facts", "vocabulary")
    return (
        f"{size:,} tokens; a study has one teacher, and other teachers differ in more than their vocabulary",
        UNTESTED,
    )


def related_tokens(results: Results) -> tuple[str, str]:
    """Section 4.2: the share of tokens with relations."""
    share = piece(results, "01-lexicon", "corpus_share")
    stated, slack = 100 * STATED["related tokens"], 100 * SMALLEST["acc"]
    seen = f"{share['related']:.1f}% of {share['tokens']:,} tokens have any, {share['both']:.1f}% have both kinds"
    near = any(abs(share[kind] - stated) <= slack for kind in ("related", "both"))
    return seen, HELD if near else NOT
