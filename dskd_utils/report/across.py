"""Teachers beside each other: what DSKD gains over KD with each (paper, section 5.3).

Pure functions on the loaded results of several studies. Teachers differ in size, vocabulary, training and licence, and
their studies in budget: what can be compared is the direction of a difference and whether the controls share it.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dskd_utils.evaluate.significance import SMALLEST, verdict
from dskd_utils.report import summary
from dskd_utils.report.charts import forest
from dskd_utils.report.svg import Drawing
from dskd_utils.report.verdicts import NotRunError, Results, interval, piece

Studies = Mapping[str, Results]  # by teacher
PROBE = "synonym or antonym, by prompt"  # the primary one, see `evaluate/probes.py`


def benchmark_gains(studies: Studies) -> list[dict[str, Any]]:
    """DSKD - KD in nats of the right answer's log-probability, a row a benchmark and teacher, as `forest` takes them.

    Raises:
        NotRunError: no study has an evaluation.
    """
    rows = [
        row | {"series": teacher} for teacher, results in _evaluated(studies) for row in summary.differences(results)
    ]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    return sorted(rows, key=lambda row: labels.index(row["label"]))


def word_gains(studies: Studies) -> list[dict[str, Any]]:
    """What DSKD and each control gain over KD in telling synonyms from antonyms, a row a method and teacher.

    Raises:
        NotRunError: no study has an evaluation.
    """
    rows = [
        {"series": teacher, "label": row["method"], "difference": row["value"], "low": row["low"], "high": row["high"]}
        | {"reads": _reads(row)}
        for teacher, results in _evaluated(studies)
        for row in results["05-evaluation"].get("forest") or []
        if row["probe"] == PROBE
    ]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    return sorted(rows, key=lambda row: labels.index(row["label"]))


def pictures(studies: Studies) -> list[Drawing]:
    """The gains on the benchmarks and, where words were asked about, on these.

    Raises:
        NotRunError: no study has an evaluation.
    """
    benchmarks, words = benchmark_gains(studies), word_gains(studies)
    better = sum(row["reads"].startswith("higher") for row in benchmarks)
    title = f"DSKD minus KD: better on {better} of {len(benchmarks)} benchmarks of all teachers"
    unit = "log-probability of the right answer, DSKD − KD (nats)"
    drawn = [forest("teachers", title, benchmarks, unit, SMALLEST["gold_logprob"])]
    if words:
        title = "Synonym or antonym? What DSKD and each control gain over KD"
        drawn.append(forest("words", title, words, "area under the curve, method − KD", SMALLEST["area"]))
    return drawn


def table(studies: Studies) -> pd.DataFrame:
    """Each teacher's size and budget, its perplexity, and the students' distance to it on unseen text.

    Raises:
        NotRunError: no study has an evaluation.
    """
    frame = pd.DataFrame()
    for teacher, results in _evaluated(studies):
        settings, evaluation = piece(results, "04-distillation", "settings"), results["05-evaluation"]
        held_out = {(row["model"], row["metric"]): row["value"] for row in evaluation["held_out"]}
        facts = (results.get("02-senses") or {}).get("facts")
        frame.loc[teacher, "vocabulary"] = f"{facts['vocabulary']:,}" if facts else "-"
        frame.loc[teacher, "layers of the student"] = settings["student layers"]
        frame.loc[teacher, "training tokens"] = settings["training tokens"]
        frame.loc[teacher, "seeds"] = f"{evaluation.get('seeds', 1)}"
        for model in ("teacher", "kd", "dskd"):
            name = {"teacher": "teacher"}.get(model, model.upper())
            frame.loc[teacher, f"perplexity, {name}"] = f"{held_out[model, 'perplexity']:,.1f}"
        for row in evaluation.get("held_out_differences") or []:
            if (row["model"], row["minus"], row["metric"]) == ("dskd", "kd", "kl"):
                shown = interval(row["difference"], row["low"], row["high"], "{:+.4f}")
                frame.loc[teacher, "KL to the teacher, DSKD − KD (nats)"] = shown
    return frame.fillna("-").rename_axis("teacher").T.rename_axis("of the study")


def _reads(row: Mapping[str, Any]) -> str:
    return "no interval" if math.isnan(row["low"]) else verdict(row["low"], row["high"], SMALLEST["area"])


def _evaluated(studies: Studies) -> list[tuple[str, Results]]:
    # Of a hub id or a path the last part, which is its name.
    found = [(name.split("--")[-1], results) for name, results in studies.items() if results.get("05-evaluation")]
    if not found:
        raise NotRunError("not run here")
    return found
