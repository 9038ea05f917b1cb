"""Teachers beside each other, from made-up results."""

import itertools
import math
import re

import pytest

from dskd_utils.report import across
from dskd_utils.report.verdicts import NotRunError


def study(difference, gains, tokens="1,000"):
    low, high = difference - 0.1, difference + 0.1
    rows = [{"task": task, "pair": "DSKD - KD", "difference": difference, "low": low, "high": high}
            for task in ("arc_challenge", "piqa")]  # fmt: skip
    held_out = [{"model": model, "metric": "perplexity", "value": 20.0} for model in ("teacher", "kd", "dskd")]
    paired = [{"model": "dskd", "minus": "kd", "metric": "kl", "difference": 0.5, "low": 0.25, "high": 0.75}]
    forest = [{"probe": across.PROBE, "method": method, "value": value, "low": value - spread, "high": value + spread}
              for method, (value, spread) in gains.items()]  # fmt: skip
    evaluation = {"differences": rows, "held_out": held_out, "held_out_differences": paired, "forest": forest}
    settings = {"student layers": "5 of 6", "training tokens": tokens}
    senses = {"facts": {"vocabulary": 49152}}
    return {"05-evaluation": evaluation, "04-distillation": {"settings": settings}, "02-senses": senses}


STUDIES = {
    "small": study(0.25, {"DSKD": (0.1, 0.05), "rewired neighbours": (0.0, math.nan)}),
    "some-hub--large": study(-0.05, {"DSKD": (0.0, 0.01)}, tokens="2,000"),
    "half done": {"01-lexicon": {}},
}


def test_teachers_stand_together_in_each_benchmark_and_method():
    rows = across.benchmark_gains(STUDIES)
    assert [(row["label"], row["series"]) for row in rows] == [
        ("ARC", "small"), ("ARC", "large"), ("PIQA", "small"), ("PIQA", "large"),
    ]  # fmt: skip
    assert rows[0]["reads"].startswith("higher") and rows[1]["reads"] == "not told apart"
    words = across.word_gains(STUDIES)
    assert [(row["label"], row["series"], row["reads"]) for row in words] == [
        ("DSKD", "small", "higher"), ("DSKD", "large", "the same"), ("rewired neighbours", "small", "no interval"),
    ]  # fmt: skip


def test_the_pictures_say_in_words_what_they_show_and_a_label_stands_once():
    benchmarks, words = (drawing.render() for drawing in across.pictures(STUDIES))
    assert "better on 2 of 4 benchmarks" in benchmarks
    assert benchmarks.count(">ARC</text>") == 1 and benchmarks.count(">small</text>") == 1
    assert "small, DSKD: +0.100, interval +0.050 to +0.150, higher" in words
    assert "rewired neighbours: +0.000, no interval" in words and "nan" not in words


def test_names_in_the_legend_never_meet():
    names = [f"{letter}-teacher-of-a-rather-long-name" for letter in "abcd"]
    drawn, _ = (drawing.render() for drawing in across.pictures(dict.fromkeys(names, STUDIES["small"])))
    boxes = {name: re.search(rf'<text x="([\d.]+)" y="([\d.]+)"[^>]*>{name}<', drawn) for name in names}
    ends = [(float(box[2]), float(box[1]), float(box[1]) + 7.5 * len(name)) for name, box in boxes.items()]
    assert all(end <= 600 for _, _, end in ends)
    assert all(a[0] < b[0] or a[2] < b[1] for a, b in itertools.pairwise(ends))


def test_the_table_has_a_column_a_teacher_that_was_evaluated():
    table = across.table(STUDIES)
    assert list(table.columns) == ["small", "large"]
    assert table.loc["training tokens", "large"] == "2,000" and table.loc["vocabulary", "small"] == "49,152"
    assert table.filter(like="KL", axis=0).small.item() == "+0.5000\u00a0[+0.2500,\u00a0+0.7500]"


def test_without_an_evaluation_there_is_nothing_to_show():
    with pytest.raises(NotRunError):
        across.pictures({"half done": STUDIES["half done"]})
