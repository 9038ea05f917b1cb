"""Every table of the paper beside ours for one teacher, by topic, and what can be subtracted (paper, Tables 1 to 12).

Pure functions on loaded results, for the page on tables. Levels of teachers of different sizes are not subtracted, but
gains, ratios and shares of the same lexicons are. An interval is that of our side alone: the paper gives none.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from dskd_utils.report import beside, paper
from dskd_utils.report.claims import claims
from dskd_utils.report.tables import METHODS
from dskd_utils.report.verdicts import NORMAL, NotRunError, Results, interval, mean_ratio, squad_gain

TOKENIZERS = {"Llama-3-8B": "llama-3", "Mistral-7B": "mistral-7b"}  # the paper's teachers, as notebook 01 reads them
TEACHERS = tuple(TOKENIZERS)
Ends = tuple[float, float, float]


def _row(stated: float, ours: Ends | None, form: str = "{:.2f}") -> dict[str, str]:
    """The paper's number, ours, the difference and its interval as text."""
    shown = {"paper": form.format(stated), "ours": beside.NOT_RUN, "ours − paper [95% interval]": beside.NOT_RUN}
    if ours is not None:
        signed, moved = form.replace("{:", "{:+"), [end - stated for end in ours]
        told = signed.format(moved[0]) if math.isnan(moved[1]) else interval(*moved, signed)
        shown |= {"ours": form.format(ours[0]), "ours − paper [95% interval]": told}
    return {name: text.replace("-", "\N{MINUS SIGN}") for name, text in shown.items()}


def _frame(rows: Mapping[str, Mapping[str, str]], name: str) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(name)


def span_differences(results: Results) -> pd.DataFrame:
    """Table 2 at the paper's longest span, with the tokenizers of the paper's teachers, in percentage points."""
    found, m = (results.get("01-lexicon") or {}).get("table_2") or {}, int(paper.STATED["span"])
    rows = {}
    for (teacher, kind), values in paper.TABLE_2.items():
        ours = None
        for row in found.get(TOKENIZERS[teacher]) or []:
            if row["m"] == m:
                spread = NORMAL * math.sqrt(row[kind] * (100 - row[kind]) / row[f"{kind} relations"])
                ours = row[kind], row[kind] - spread, row[kind] + spread
        rows[f"{teacher}, {kind}s, m = {m}"] = _row(values[m - 1], ours)
    return _frame(rows, "relations kept (%)")


def related_differences(results: Results) -> pd.DataFrame:
    """Section 4.2: the share of tokens with relations, in percentage points; counted, so without an interval."""
    share = (results.get("01-lexicon") or {}).get("corpus_share")
    kinds = {"related": "any relation", "both": "both kinds"}
    rows = {
        name: _row(paper.RELATED_TOKENS, (share[kind], math.nan, math.nan) if share else None, "{:.1f}")
        for kind, name in kinds.items()
    }
    return _frame(rows, "tokens with relations (%)")


def gains(results: Results) -> pd.DataFrame:
    """Table 3: what DSKD gains over KD by the paper's protocol, the letter of the answer (SQuAD: F1), in points."""
    evaluation = results.get("05-evaluation") or {}
    ours = {
        row["task"]: (row["difference"], row["low"], row["high"])
        for row in evaluation.get("letter_differences") or []
        if row["pair"] == "DSKD - KD"
    }
    if squad := squad_gain(evaluation):
        ours["squad2"] = squad
    rows = {}
    for teacher in TEACHERS:
        dskd, kd = paper.TABLE_3[teacher, "dskd", 16], paper.TABLE_3[teacher, "kd", 16]
        for (task, name), above, below in zip(paper.TASKS.items(), dskd, kd, strict=True):
            own = tuple(100 * end for end in ours[task]) if task in ours else None
            name = paper.squad_name(evaluation.get("letters") or []) if task == "squad2" else name
            rows[f"{name}, {teacher}"] = _row(above[0] - below[0], own)
    return _frame(rows, "DSKD − KD (points)")


def kept(results: Results) -> pd.DataFrame:
    """Table 3: what each student keeps of its teacher's number, in percent, by letter; a ratio, chance included."""
    letters = (results.get("05-evaluation") or {}).get("letters") or []
    ours = {(row["model"], row["task"]): row["value"] for row in letters if row["metric"] in ("acc", "f1")}
    frame = pd.DataFrame()
    for method in ("kd", "dskd"):
        label = METHODS[method]
        for teacher in TEACHERS:
            pairs = zip(paper.TABLE_3[teacher, method, 16], paper.TABLE_3[teacher, "teacher", 32], strict=True)
            frame.loc[f"{teacher}, {label}", list(paper.TASKS.values())] = [
                f"{100 * a / b:.1f}" for (a, _), (b, _) in pairs
            ]
        for task, name in paper.TASKS.items():
            student, whole = ours.get((method, task)), ours.get(("teacher", task))
            name = paper.squad_name(letters) if task == "squad2" else name
            frame.loc[f"ours, {label}", name] = f"{100 * student / whole:.1f}" if student and whole else beside.NOT_RUN
    return frame.fillna("-").rename_axis("student / teacher (%)")


def time_ratios(results: Results) -> pd.DataFrame:
    """Tables 11 and 12: DSKD's time over KD's, of training and of answering MMLU; ours with Student's t over rounds."""
    costs = results.get("08-costs") or {}
    trained = [row["DSKD"] / row["KD"] for row in costs.get("seconds") or []]
    asked = [row["dskd, mmlu"] / row["kd, mmlu"] for row in costs.get("answered") or [] if "dskd, mmlu" in row]
    rows = {}
    for what, table, place, ours in (("training", paper.TABLE_11, 3, trained), ("MMLU", paper.TABLE_12, 2, asked)):
        for teacher in TEACHERS:
            stated = table[teacher, "dskd"][place] / table[teacher, "kd"][place]
            rows[f"{what}, {teacher}"] = _row(stated, mean_ratio(ours) if ours else None)
    return _frame(rows, "DSKD's time / KD's")


def claim_table(results: Results) -> pd.DataFrame:
    """What the paper claims, what was seen with this teacher, and the verdict, a row a claim."""
    columns = {"claim": "claim", "paper": "the paper", "seen": "seen here", "verdict": "verdict"}
    return pd.DataFrame([vars(row) for row in claims(results)])[list(columns)].rename(columns=columns)


class Table(NamedTuple):
    """A table of a topic: its name in a file's, its title, and how it is made."""

    name: str
    title: str
    make: Callable[[Results], pd.DataFrame]


def _ablation(number: int, title: str) -> Table:
    told = f"Table {number}: {title} (the paper's accuracy in percent, its choice in bold; our agreement and KL)"
    return Table(f"table-{number}", told, lambda results: beside.ablation(results, number))


def _figure(part: str, title: str) -> Table:
    return Table(f"figure-3{part}", f"Figure 3{part}: {title}", lambda results: beside.figure_3(results, part)[0])


TOPICS: Mapping[str, tuple[Table, ...]] = {
    "words": (
        Table("table-1", "Table 1: negation", beside.negation),
        Table("table-2", "Table 2: relations kept at a longest span of m tokens (%)", beside.spans),
        Table("table-2-difference", "Table 2: ours − the paper's", span_differences),
        Table("section-4-2-difference", "Section 4.2: tokens with relations, ours − the paper's", related_differences),
        Table("table-8", "Table 8: dictionaries", beside.dictionaries),
    ),
    "comparison": (
        Table("table-3", "Table 3: all models", beside.comparison),
        Table("table-3-difference", "Table 3: the gain of DSKD over KD, ours − the paper's", gains),
        Table("table-3-kept", "Table 3: what a student keeps of its teacher", kept),
        Table("controls", "Beyond the paper: what DSKD and each control gain over KD", beside.controls),
    ),
    "ablations": (
        _ablation(4, "senses a token"),
        _ablation(5, "nearest candidates"),
        _ablation(6, "weight of the sense loss"),
        _ablation(9, "weight of the KL divergence"),
        _figure("a", "layers of the student"),
        _figure("b", "trained layers"),
    ),
    "costs": (
        Table("table-10", "Table 10: settings", beside.chosen_settings),
        Table("table-11", "Tables 7 and 11: size, memory, time of training", beside.training_cost),
        Table("table-12", "Tables 7 and 12: time of answering", beside.answering_cost),
        Table("table-11-difference", "Tables 11 and 12: DSKD's time over KD's, ours − the paper's", time_ratios),
    ),
    "claims": (Table("claims", "The paper's claims and what was seen here", claim_table),),
}


def tables_of(topic: str, results: Results) -> dict[str, tuple[str, pd.DataFrame]]:
    """The tables of a topic of `TOPICS`: by name the title and the table, which says where a part was not run.

    Args:
        topic: one of `TOPICS`.
        results: the loaded `results/<notebook>.json` of one teacher by notebook; any may be missing.

    Raises:
        ValueError: there is no such topic.
    """
    if topic not in TOPICS:
        raise ValueError(f"there is no topic {topic!r}: choose among {', '.join(TOPICS)}")
    found = {}
    for name, title, make in TOPICS[topic]:
        try:
            found[name] = title, make(results)
        except NotRunError as missing:
            found[name] = title, pd.DataFrame({"ours": [str(missing)]})
    return found
