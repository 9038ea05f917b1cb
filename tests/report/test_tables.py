"""Tests of the book's tables."""

import pandas as pd

from dskd_utils.report import paper, tables


def row(model, task, value, metric="acc", protocol="paper", n=100, chance=0.25):
    return {
        "model": model, "task": task, "protocol": protocol, "metric": metric, "value": value, "stderr": 0.05,
        "n": n, "chance": chance,
    }  # fmt: skip


ROWS = [
    row("teacher", "piqa", 0.7, chance=0.5),
    row("kd", "piqa", 0.6, chance=0.5),
    row("dskd", "piqa", 0.65, chance=0.5),
    row("dskd", "piqa", 0.99, protocol="likelihood"),
    row("teacher", "squad2", float("nan"), metric="not run"),
]


def test_our_table_shows_the_asked_protocol_with_errors_chance_and_counts():
    table = tables.our_table_3(ROWS, dict.fromkeys(paper.TASKS, "acc"), "paper")
    assert table.loc["DSKD", "PIQA"] == "65.0\u00a0±\u00a05.0" and table.loc["chance", "PIQA"] == "50.0"
    assert table.loc["questions", "PIQA"] == "100"
    assert list(table.index) == ["teacher", "KD", "DSKD", "chance", "questions"]


def test_what_did_not_run_says_so():
    table = tables.our_table_3(ROWS, dict.fromkeys(paper.TASKS, "acc"), "paper")
    assert table.loc["teacher", "SQuAD"] == "not run, needs data_dir" and table.loc["teacher", "MMLU"] == "not run"


def test_a_task_without_a_metric_is_left_out():
    assert list(tables.our_table_3(ROWS, {"piqa": "acc"}, "paper").columns) == ["PIQA"]


def test_squad_is_called_by_the_part_that_was_asked():
    asked = row("kd", "squad2", 0.5, metric="f1") | {"split": "held-out"}
    assert list(tables.our_table_3([asked], {"squad2": "f1"}, "paper")) == ["SQuAD, held-out articles (F1)"]
    assert list(tables.our_table_3([asked | {"split": "validation"}], {"squad2": "f1"}, "paper")) == ["SQuAD"]
    exact = tables.our_table_3([asked | {"metric": "exact"}], {"squad2": "exact"}, "paper")
    assert list(exact) == ["SQuAD, held-out articles (exact)"]


def test_held_out_measures_are_one_row_a_model():
    rows = [
        {"model": model, "metric": metric, "value": 1234.56, "stderr": 2.0}
        for model in ("teacher", "kd")
        for metric in ("perplexity", "kl", "top1_agreement", "accuracy")
    ]
    table = tables.held_out_table(rows)
    assert list(table.index) == ["teacher", "KD"] and table.loc["KD", "perplexity"] == "1,234.6\u00a0±\u00a02.0"


def test_the_papers_table_has_its_thirty_numbers():
    table = tables.paper_table_3()
    assert table.shape == (6, 5) and table.loc["Mistral-7B DSKD", "CSQA"] == "68.44\u00a0±\u00a00.70"


def test_differences_are_written_with_their_intervals():
    rows = [{"task": "piqa", "difference": 0.0123, "low": -0.01, "high": 0.03, "n": 50, "p_holm": float("nan"),
             "p_mcnemar": float("nan")}]  # fmt: skip
    assert "McNemar, Holm" not in tables.differences(rows), "a column without any value is left out"
    shown = tables.differences([*rows, rows[0] | {"p_holm": 0.5, "p_mcnemar": 0.5}]).iloc[0]
    assert tables.differences(rows).reads.tolist() == ["the same"]
    assert shown.difference == "+0.012" and shown["95% interval"] == "[-0.010, +0.030]"
    assert shown["McNemar, Holm"] == "-"
    assert tables.differences([rows[0] | {"p_holm": 0.04}])["p, Holm"].tolist() == ["0.040"], "of the bootstrap"
    over_seeds = tables.differences([rows[0] | {"p_holm": 0.5, "p_mcnemar": 0.01, "seeds": 3}]).iloc[0]
    assert over_seeds["p, Holm"] == "0.50" and over_seeds["McNemar, first seed"] == "0.010"
    assert "McNemar, Holm" not in over_seeds


def test_a_part_of_a_benchmark_is_shown_as_a_part_and_seeds_with_their_deviation():
    row = {"task": "piqa", "protocol": "paper", "metric": "acc", "stderr": 0.02, "chance": 0.5, "n": 300, "of": 1838}
    rows = [row | {"model": "teacher", "value": 0.7, "deviation": float("nan")},
            row | {"model": "kd", "value": 0.6, "deviation": 0.01}]  # fmt: skip
    table = tables.our_table_3(rows, {"piqa": "acc"}, "paper")
    assert table.loc["questions", "PIQA"] == "300 of 1,838" and table.loc["KD", "PIQA"] == "60.0\u00a0±\u00a02.0"
    seeds = tables.our_table_3(rows, {"piqa": "acc"}, "paper", error="deviation")
    assert seeds.loc["KD", "PIQA"] == "60.0\u00a0±\u00a01.0" and seeds.loc["teacher", "PIQA"] == "70.0"
    whole = tables.our_table_3([one | {"of": 300} for one in rows], {"piqa": "acc"}, "paper")
    assert whole.loc["questions", "PIQA"] == "300"


def test_differences_on_held_out_text_are_read():
    row = {"model": "dskd", "minus": "kd", "metric": "nll", "difference": 0.02, "low": 0.015, "high": 0.03}
    rows = [row | {"p_holm": 0.01}, row | {"p_holm": 0.01, "metric": "top1_agreement", "high": 0.019}]
    text = tables.text_differences(pd.DataFrame(rows))
    assert text.reads.tolist() == ["higher", "higher, by less than matters"], "each by its own measure's size"
    assert text.models.tolist() == ["DSKD - KD"] * 2
    assert text.difference[0] == "+0.0200\u00a0[+0.0150,\u00a0+0.0300]"


def test_probes_are_shown_with_intervals_chance_and_counts():
    columns = ["subset", "measure", "model", "minus", "value", "low", "high", "p_holm", "n", "of", "words", "chance"]
    rows = [
        ("all", "sum", "kd", "", 0.61, 0.55, 0.67, float("nan"), 1200, 1500, 300, 0.5),
        ("all", "sum", "dskd", "", 0.63, 0.57, 0.69, float("nan"), 1200, 1500, 300, 0.5),
        ("all", "sum", "dskd", "kd", 0.02, -0.01, 0.05, 0.2, 1200, 1500, 300, 0.0),
        ("all", "mean", "dskd", "kd", 0.9, 0.9, 0.9, 0.9, 1200, 1500, 300, 0.0),
        ("one", "sum", "kd", "", 0.7, float("nan"), float("nan"), float("nan"), 1, 1, 1, 0.5),
    ]
    table = pd.DataFrame(rows, columns=columns)
    values = tables.probe_values(table, "sum", ("all", "one", "absent"))
    assert list(values.columns) == ["all", "one"]
    assert values.loc["KD", "all"] == "0.610\u00a0[0.550,\u00a00.670]" and values.loc["KD", "one"] == "0.700"
    assert values.loc["chance", "all"] == "0.500" and values.loc["items (words)", "all"] == "1,200 of 1,500 (300)"
    assert values.loc["items (words)", "one"] == "1 (1)"
    differences = tables.probe_differences(table, "sum", ("all",))
    assert differences.to_dict("records") == [
        {"models": "DSKD - KD", "words": "all", "difference": "+0.020\u00a0[-0.010,\u00a0+0.050]",
         "reads": "not told apart", "p, Holm": "0.20"}
    ]  # fmt: skip
    assert tables.probe_differences(table, "mean", ("all",)).reads.tolist() == ["higher"]


def test_a_measure_by_kind_of_token_has_a_column_a_model():
    values = [("kd", "content words", 0.5, 0.01), ("dskd", "content words", 0.45, 0.02), ("kd", "no senses", 1, None)]
    names = ("model", "tokens", "value", "stderr")
    rows = [dict(zip(names, each, strict=True)) | {"metric": "kl", "n": 1200} for each in values]
    table = tables.class_table([*rows, rows[0] | {"metric": "accuracy"}], "kl")
    assert table.loc["content words"].tolist() == ["1,200", "0.500\u00a0±\u00a00.010", "0.450\u00a0±\u00a00.020"]
    assert list(table.columns) == ["tokens", "KD", "DSKD"] and table.loc["no senses", "KD"] == "1.000"


def test_the_command_that_repeats_a_study_has_what_was_asked_beside_its_profile():
    plain = {"teacher": "tiny", "profile": {"name": "quick"}, "parameters": {"seed": 0, "source": "package"}}
    assert tables.study_command(plain) == "make study TEACHER=tiny PROFILE=quick"
    trained = {**plain, "files": True, "parameters": {"seed": 2, "seeds": 3, "controls": "rewired"}}
    assert tables.study_command(plain, trained) == (
        "make study TEACHER=tiny PROFILE=quick SEED=2 SEEDS=3 CONTROLS=rewired DATA_DIR=..."
    )
    longer = {**plain, "profile": {"name": "quick", "minutes": 60}}
    assert tables.study_command(longer) == "make study TEACHER=tiny PROFILE=quick MINUTES=60"
    usual = {**plain, "profile": {"name": "quick", "minutes": 22}}
    assert tables.study_command(usual) == tables.study_command(plain)
    assert tables.study_command(plain | {"teacher": "gemma3-270m"}).endswith("ACCEPT_TERMS=gemma3-270m")
