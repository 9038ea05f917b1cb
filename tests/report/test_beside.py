"""The paper's tables beside ours, and the short answer, from made-up results."""

import re

import pytest

from dskd_utils.report import beside, paper, summary
from dskd_utils.report.verdicts import NotRunError


def student(method, agreement, **settings):
    return {"method": method, "layers": 27, "failed": "", "top1_agreement": agreement, "top1_agreement_stderr": 0.002,
            "kl": 0.75, "kl_stderr": 0.01, **settings}  # fmt: skip


GRIDS = {
    "candidates": [student("dskd", 0.5, kappa=1), student("dskd", 0.625, kappa=5), student("dskd", 0.5, kappa=7)],
    "divergence": [student("kd", 0.5, alpha=1.0)],
    "depth": [student("kd", 0.25, layers=16), student("kd", 0.75, layers=28), student("teacher", 1.0, layers=30)],
}
RESULTS = {"06-ablations": {"grids": GRIDS}}


@pytest.mark.parametrize("number", list(beside.ABLATIONS))
def test_every_printed_number_stands_in_its_cell_and_the_chosen_ones_in_bold(number):
    table = beside.ablation({}, number)
    printed = beside.ABLATIONS[number][0]
    for value, cells in printed.items():
        for (teacher, task), number_printed in zip(paper.ABLATED, cells, strict=True):
            cell = table.loc[f"{value:g}", f"{teacher}, {task}"]
            assert cell.strip("*") == f"{number_printed:.2f}"
            assert cell.startswith("**") == (paper.CHOSEN[number][teacher] == value)
    assert (table.filter(like="ours") == "not run here").all().all()


def test_our_students_stand_at_their_value_and_have_rows_of_their_own_where_the_paper_has_none():
    table = beside.ablation(RESULTS, 5)
    assert table.loc["5", "ours, DSKD, same top token"] == "0.625\u00a0±\u00a00.002"
    assert table.loc["7", "Llama-3-8B, ARC"] == "-" and table.loc["20", "ours, DSKD, KL"] == "not run here"
    assert list(table.index) == ["1", "5", "7", "10", "15", "20"]


def test_a_grid_with_one_method_leaves_the_other_open():
    table = beside.ablation(RESULTS, 9)
    assert table.loc["1", "ours, KD, KL"] == "0.750\u00a0±\u00a00.010"
    assert table.loc["1", "ours, DSKD, KL"] == "not run here"


def test_figure_3_has_a_row_and_a_dot_a_depth_and_no_teacher():
    table, drawn = beside.figure_3(RESULTS, "a")
    assert list(table.index) == ["16", "28"] and "KD: 16: 0.250, 28: 0.750" in drawn.render()
    with pytest.raises(NotRunError):
        beside.figure_3(RESULTS, "b")


def test_a_student_that_failed_says_why_in_its_cell_and_has_no_point():
    lost = {"top1_agreement": float("nan"), "failed": "loss is nan"}
    grids = {"candidates": [student("dskd", 0.5, kappa=5), student("dskd", 0, kappa=20) | lost],
             "depth": [student("kd", 0.5, layers=8) | lost, *GRIDS["depth"]],
             "trained-layers": [student("dskd", 0.5, trainable_layers=2) | lost]}  # fmt: skip
    results = {"06-ablations": {"grids": grids}}
    assert beside.ablation(results, 5).loc["20", "ours, DSKD, KL"] == "failed: loss is nan"
    table, drawn = beside.figure_3(results, "a")
    assert table.loc["8", "KD, same top token"] == "failed: loss is nan" and " 8: " not in drawn.told
    with pytest.raises(NotRunError, match="DSKD, trainable_layers 2 failed: loss is nan"):
        beside.figure_3(results, "b")


def test_spans_and_dictionaries_have_the_papers_rows_without_results():
    assert beside.spans({}).loc["Mistral-7B, antonyms", "m = 3"] == "93.96"
    assert list(beside.dictionaries({}).columns) == ["Llama-3-8B", "Mistral-7B"]
    rows = [{"m": m, "synonym": 10.0 * m, "antonym": 5.0} for m in range(1, 6)]
    assert beside.spans({"01-lexicon": {"table_2": {"mine": rows}}}).loc["ours, mine, synonyms", "m = 3"] == "30.00"


def test_every_numbered_table_stands_without_results_with_the_papers_numbers():
    assert beside.negation({}).loc["unkind, friendly"].tolist() == [
        "antonym",
        "kind, friendly",
        "synonym",
        "not run here",
    ]
    assert beside.comparison({}).loc["Llama-3-8B KD", "PIQA"] == "81.78\u00a0±\u00a00.34"
    assert beside.chosen_settings({}).loc["kappa", "Mistral DSKD"] == "5"
    assert "5 h 17 min" in beside.training_cost({}).to_string() and len(beside.training_cost({})) == 6
    ours = {"method": "kd", "layers": 27, "parameters": 124e6, "gib": 0.23, "minutes": 3.2}
    shown = beside.training_cost({"08-costs": {"teacher": "tiny", "sizes": [ours]}})
    assert len(shown) == 7 and shown.loc["tiny", ["model", "layers", "parameters"]].tolist() == ["KD", "27", "124 M"]
    assert len(beside.answering_cost({})) == 6 and "45 min" in beside.answering_cost({}).to_string()


def test_ours_stand_below_or_beside_the_papers():
    row = {"original pair": "unkind, friendly", "ours": "as printed"}
    assert beside.negation({"01-lexicon": {"table_1": [row]}}).loc["unkind, friendly", "ours"] == "as printed"
    likelihood = [{"model": "kd", "task": "piqa", "protocol": "likelihood", "metric": "acc_norm", "value": 0.5,
                   "stderr": 0.01, "n": 10, "chance": 0.5}]  # fmt: skip
    table = beside.comparison({"05-evaluation": {"likelihood": likelihood}})
    assert table.loc["ours, by likelihood, KD", "PIQA"] == "50.0\u00a0±\u00a01.0"
    squad = {"model": "kd", "task": "squad2", "protocol": "paper", "metric": "f1", "value": 0.3, "stderr": 0.01,
             "n": 10, "chance": float("nan"), "split": "held-out"}  # fmt: skip
    table = beside.comparison({"05-evaluation": {"letters": [squad]}})
    assert table.loc["ours, by letter, KD", "SQuAD, held-out articles (F1)"] == "30.0\u00a0±\u00a01.0"
    assert table.loc["ours, by letter, KD", "SQuAD"] == "-"
    settings = {"student layers": "27 of 30", "trained": 2, "learning rate": 0.002, "kappa": 5, "alpha": 1.0,
                "beta": "1.0 and 0.5", "margin": 1.0}  # fmt: skip
    ours = beside.chosen_settings({"04-distillation": {"settings": settings, "profile": {"epochs": 1}}})["ours, DSKD"]
    assert (ours["layers"], ours["epochs"], ours["beta_p"], ours["beta_n"]) == ("27 of 30", "1", "1.0", "0.5")
    seconds = {"round": 0, "teacher, piqa": 2.0, "kd, piqa": 1.0, "dskd, piqa": 1.5}
    costs = {"answered": [seconds], "parameters": {"questions": 7}, "teacher": "mine"}
    table = beside.answering_cost({"08-costs": costs})
    assert table.loc["mine, 7 questions", "PIQA"].tolist() == ["2.0 s", "1.0 s (0.50)", "1.5 s (0.75)"]


def test_controls_stand_beside_dskd_with_their_intervals():
    gain = {"probe": "p", "value": 0.02, "low": -0.01, "high": 0.05}
    rows = [gain | {"method": "DSKD"}, gain | {"method": "rewired neighbours", "low": float("nan")}]
    table = beside.controls({"05-evaluation": {"forest": rows}})
    assert table.loc["DSKD", "p"] == "+0.020\u00a0[\N{MINUS SIGN}0.010,\u00a0+0.050]"
    assert table.loc["rewired neighbours", "p"] == "+0.020"
    with pytest.raises(NotRunError):
        beside.controls({"05-evaluation": {"forest": rows[:1]}})


def test_a_table_in_markdown_has_its_index_first():
    lines = beside.markdown(beside.spans({}))
    assert lines[0].startswith("| tokenizer | m = 1 |") and lines[2].startswith("| Llama-3-8B, synonyms | 48.11 |")


def evaluation(*intervals):
    tasks = ("arc_challenge", "commonsense_qa", "mmlu", "piqa")
    rows = [{"task": task, "pair": "DSKD - KD", "difference": (low + high) / 2, "low": low, "high": high, "n": 9}
            for task, (low, high) in zip(tasks, intervals, strict=False)]  # fmt: skip
    held_out = [{"model": m, "metric": "kl", "value": v, "stderr": 0.1} for m, v in (("kd", 1.0), ("dskd", 2.0))]
    return {"05-evaluation": {"differences": rows, "held_out": held_out}}


@pytest.mark.parametrize(
    ("intervals", "words"),
    [
        ([(0.1, 0.2)] * 2, ".*By the .* right answer, on 2 of 2 benchmarks is the DSKD student better than the KD"),
        ([(-0.1, 0.2)] * 2,
         ".*By the .*, on none of the 2 benchmarks is .* student; on all the questions do not tell them apart."),
        ([(0.1, 0.2), (-0.2, -0.1), (-0.01, 0.01), (-0.1, 0.2)],
         ".*By the .*, on 1 of 4 .*; on 1 it is worse; on 1 they are the same to within .*; on 1 the questions do not"),
    ],
)  # fmt: skip
def test_the_answer_counts_benchmarks_by_what_their_intervals_say(intervals, words):
    first, second, third = summary.answer(evaluation(*intervals))
    assert re.match(words, first)
    assert "KD 1.000\u00a0±\u00a00.100, DSKD 2.000\u00a0±\u00a00.100" in second
    assert third.startswith("**Claims.** Of 13 claims of the paper, ")


def test_the_answer_tells_paired_differences_on_text_and_of_the_probe_where_they_are():
    results = evaluation((0.1, 0.2))
    results["05-evaluation"] |= {
        "held_out_differences": [
            {"model": "dskd", "minus": "kd", "metric": metric, "difference": 0.5, "low": -0.25, "high": 1.25}
            for metric in ("nll", "kl")
        ],
        "probe_pairs": [{"subset": "all", "measure": "sum", "model": "dskd", "minus": minus, "value": 0.03, "low": 0.01,
                         "high": 0.05} for minus in ("", "kd")],
    }  # fmt: skip
    _, text, words, _ = summary.answer(results)
    assert "DSKD − KD +0.500\u00a0[\N{MINUS SIGN}0.250,\u00a0+1.250]" in text
    assert "DSKD − KD is +0.030\u00a0[+0.010,\u00a0+0.050] of the area under the curve, higher." in words


def test_what_notebooks_took_is_a_row_each_and_unknown_memory_is_said():
    origin = {"seconds": 90, "dtype": "float32", "commit": "0123456789ab"}
    record = {"profile": {"name": "quick", "scale": 0.75}, "provenance": origin | {"peak_memory_gb": 2.345}}
    older = {"profile": {"name": "full"}, "provenance": origin}
    table = beside.runs({"01-lexicon": record, "02-senses": older, "03-explored-words": []})
    assert list(table.index) == ["01-lexicon", "02-senses"] and set(table.profile) == {"quick, 75%", "full, 100%"}
    assert list(table["memory (GiB)"]) == ["2.3", "not noted"] and set(table.minutes) == {"1.5"}
    with pytest.raises(NotRunError):
        beside.runs({})


def test_the_picture_of_the_runs_has_a_bar_a_notebook_and_memory_where_it_is_known():
    origin = {"seconds": 600.0, "dtype": "float32", "commit": "0123456"}
    given = {"01-lexicon": {"peak_memory_gb": 1.5}, "02-senses": {"seconds": 1200.0}}
    records = {name: {"profile": {"name": "quick"}, "provenance": origin | more} for name, more in given.items()}
    drawn = beside.run_picture(records).render()
    assert "01-lexicon: 10.0, 10.0 min, 1.5 GiB" in drawn and "02-senses: 20.0, 20.0 min<" in drawn
    with pytest.raises(NotRunError):
        beside.run_picture({})
