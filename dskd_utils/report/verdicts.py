"""What results make of a claim of the paper: what is seen and a verdict, by rules (paper, sections 3 to 7).

Pure functions on loaded results; the claims and their rules in words are in `claims.py`. A piece that was not run
raises `NotRunError` and decides nothing.
"""

import math
from collections.abc import Mapping
from typing import Any

from dskd_utils.evaluate.significance import SMALLEST, verdict
from dskd_utils.report.paper import STATED, TASKS

HELD, NOT, UNCLEAR, UNTESTED = "held up", "did not hold up", "not told apart", "could not be tested here"
MEASURE = "top1_agreement"  # of grids: the share of positions where student and teacher have the same top token
NORMAL = 1.96
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


def saturation(rows: Mapping[float, Mapping[str, Any]], first: float, enough: float) -> tuple[str, str]:
    """Whether a setting gains up to `enough` and no further: what is seen, and the verdict.

    Held up: `enough` is above `first`, and nothing larger is above it by more than would matter. Did not: it is not
    above `first`, or something larger is. Else not told apart.

    Raises:
        NotRunError: one of the two, or everything larger, is missing.
    """
    larger = sorted(value for value in rows if value > enough)
    if first not in rows or enough not in rows or not larger:
        raise NotRunError("not run here")
    gain = gap(rows[enough], rows[first])
    gained = verdict(*gain[1:], SMALLEST[MEASURE])
    beyond = {value: gap(rows[value], rows[enough]) for value in larger}
    more = [verdict(*one[1:], SMALLEST[MEASURE]) for one in beyond.values()]
    best = max(beyond, key=lambda value: beyond[value][0])
    seen = f"{enough:g} against {first:g}: {interval(*gain)}, {gained}; {best:g}, the best of the larger, against "
    seen += f"{enough:g}: {interval(*beyond[best])}, {more[larger.index(best)]}"
    far = any(low > SMALLEST[MEASURE] for _, low, _ in beyond.values())
    settled = all(high < SMALLEST[MEASURE] for _, _, high in beyond.values())
    if far or gained == "the same" or gained.startswith("lower"):
        return seen, NOT
    return seen, HELD if gained.startswith("higher") and settled else UNCLEAR


def cells(results: Results, grid: str, setting: str, method: str = "dskd") -> dict[float, Mapping[str, Any]]:
    """The students of a grid by the value of one setting.

    Raises:
        NotRunError: the grid or the method is not there.
    """
    rows = piece(results, "06-ablations", "grids", grid)
    found = {
        float(row[setting]): row
        for row in rows
        if row["method"] == method and _is_number(row.get(setting)) and _is_number(row.get(MEASURE))
    }
    if not found:
        raise NotRunError("not run here")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def every_benchmark(results: Results) -> tuple[str, str]:
    """Section 5.3, Table 3: DSKD above KD on every benchmark."""
    rows = [row for row in piece(results, "05-evaluation", "differences") if row["pair"] == "DSKD - KD"]
    told = {TASKS[row["task"]]: (row["difference"], row["low"], row["high"]) for row in rows}
    read = {task: verdict(*one[1:], SMALLEST["gold_logprob"]) for task, one in told.items()}
    shown = [f"{task} {interval(*one)}, {read[task]}" for task, one in told.items()]
    squad = _squad(results["05-evaluation"])
    if squad:
        read["SQuAD"] = verdict(*squad[1:], SMALLEST["f1"])
        shown.append(f"SQuAD (F1) {interval(*squad)}, {read['SQuAD']}")
    else:
        shown.append("SQuAD not run")
    seen = "; ".join(shown)
    if any(one == "the same" or one.startswith("lower") for one in read.values()):
        return seen, NOT
    return seen, HELD if all(one.startswith("higher") for one in read.values()) else UNCLEAR


def _squad(evaluation: Mapping[str, Any]) -> tuple[float, float, float] | None:
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
    seen = f"KD − teacher on PIQA, accuracy: {interval(row['difference'], row['low'], row['high'])}, {reads}"
    if reads.startswith("higher"):
        return seen, HELD
    return seen, UNCLEAR if reads == "not told apart" else NOT


def best_beta(results: Results) -> tuple[str, str]:
    """Table 6: a weight of 1 to 1.5 above all others."""
    rows = cells(results, "weights", "beta")
    inside, outside = [b for b in rows if 1 <= b <= 1.5], [b for b in rows if not 1 <= b <= 1.5]
    if not inside or not outside:
        raise NotRunError("not run here")
    best = max(inside, key=lambda beta: rows[beta][MEASURE])
    gaps = {beta: gap(rows[best], rows[beta]) for beta in sorted(outside)}
    read = [verdict(*one[1:], SMALLEST[MEASURE]) for one in gaps.values()]
    pairs = zip(gaps.items(), read, strict=True)
    seen = "; ".join(f"{best:g} against {beta:g}: {interval(*one)}, {said}" for (beta, one), said in pairs)
    if any(one.startswith("lower") for one in read) or all(one == "the same" for one in read):
        return seen, NOT
    return seen, HELD if all(one.startswith("higher") for one in read) else UNCLEAR


def cliff(results: Results) -> tuple[str, str]:
    """Section 6.1, Figure 3a: half the layers keep much, fewer do not."""
    rows = piece(results, "06-ablations", "grids", "depth")
    whole = max(row["layers"] for row in rows if row["method"] == "teacher")
    by_layers = {layers: row for layers, row in cells(results, "depth", "layers", "kd").items() if layers < whole}
    depths = sorted(by_layers)
    half = [layers for layers in depths if 0.45 <= layers / whole <= 0.6]
    if not half or len(depths) < 2:
        raise NotRunError("no student of about half the layers was trained")
    row = by_layers[half[0]]
    value, spread = row[MEASURE], NORMAL * row[f"{MEASURE}_stderr"]
    slopes = {
        (a, b): (by_layers[b][MEASURE] - by_layers[a][MEASURE]) / (b - a)
        for a, b in zip(depths, depths[1:], strict=False)
    }
    low, high = max(slopes, key=lambda pair: slopes[pair])
    kept = interval(value, value - spread, value + spread, "{:.1%}")
    seen = (
        f"{half[0]:g} of {whole:g} layers agree with the teacher's top token at {kept} of the positions; the fall is "
    )
    seen += f"steepest between {high:g} and {low:g} layers"
    seen += "; none of fewer was trained" if depths[0] >= half[0] else ""
    if math.isnan(spread):
        return seen, UNCLEAR
    if value + spread < STATED["kept by KD, low"]:
        return seen, NOT
    if value - spread < STATED["kept by KD, low"] or depths[0] >= half[0]:
        return seen, UNCLEAR
    return seen, HELD if high <= half[0] else NOT


def trained_layers(results: Results) -> tuple[str, str]:
    """Section 6.1, Figure 3b: a second trained layer gains, a third does not."""
    found = {}
    for method, name in (("kd", "KD"), ("dskd", "DSKD")):
        found[name] = saturation(cells(results, "trained-layers", "trainable_layers", method), 1, 2)
    seen = ". ".join(f"{name}: {text}" for name, (text, _) in found.items())
    rulings = [ruling for _, ruling in found.values()]
    return seen, NOT if NOT in rulings else HELD if set(rulings) == {HELD} else UNCLEAR


def training_time(results: Results) -> tuple[str, str]:
    """Table 11: what the sense loss adds to the training time."""
    rows = [row for row in piece(results, "08-costs", "ratios") if str(row["what"]).startswith("DSKD's time")]
    if not rows:
        raise NotRunError("not run here")
    (row,) = rows
    seen = f"{row['median']:.2f} times KD's time, {row['low']:.2f} to {row['high']:.2f} over the rounds"
    if row["low"] == row["high"]:
        return f"{row['median']:.2f} times KD's time, in one round", UNCLEAR
    return seen, _near(row["low"], row["high"], 1 + STATED["training overhead"])


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
    low, high = min(ratios), max(ratios)
    if len(ratios) < 2:
        return f"DSKD answers in {low:.2f} of KD's time, in one round", UNCLEAR
    seen = f"DSKD answers in {low:.2f} to {high:.2f} of KD's time; both are plain models of the same layers"
    return seen, _near(low, high, 1.0)


def _near(low: float, high: float, aim: float, slack: float = 0.05) -> str:
    """Held up where a ratio's range stays below the aim and a slack, not where it lies above; else not told apart."""
    return HELD if high <= aim + slack else NOT if low > aim + slack else UNCLEAR


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
    ratios = {(row["group"], row["of"]): row["ratio"] for row in rows if _is_number(row["ratio"])}
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
