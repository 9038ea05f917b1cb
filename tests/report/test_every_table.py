"""Every table of the paper beside ours, from made-up results; the page that shows them, from the committed ones."""

import shutil
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest

from dskd_utils import plan
from dskd_utils.profiles import assignments
from dskd_utils.report import beside, every_table, figures, paper

ROOT = Path(__file__).resolve().parents[2]
OURS = "ours − paper [95% interval]"
matplotlib.use("Agg")


def test_every_table_of_beside_and_every_ablation_has_a_topic():
    names = {table.name for tables in every_table.TOPICS.values() for table in tables}
    numbers = {f"table-{number}" for number in (*beside.TABLES, *beside.ABLATIONS) if str(number).isdigit()}
    assert numbers | {"figure-3a", "figure-3b", "controls", "claims"} <= names
    with pytest.raises(ValueError, match="no topic 'costing': choose among words, comparison"):
        every_table.tables_of("costing", {})


@pytest.mark.parametrize("topic", list(every_table.TOPICS))
def test_without_results_every_table_stands_and_says_what_was_not_run(topic):
    for name, (_, table) in every_table.tables_of(topic, {}).items():
        assert len(table)
        if name.endswith(("difference", "kept", "3a", "3b", "controls", "claims")):
            assert "not run here" in table.to_string(), name


def test_a_difference_is_ours_minus_the_papers_with_our_interval():
    row = {"m": 3, "synonym": 98.0, "antonym": 90.0, "synonym relations": 2400, "antonym relations": 900}
    table = every_table.span_differences({"01-lexicon": {"table_2": {"llama-3": [row]}}})
    assert table.loc["Llama-3-8B, synonyms, m = 3"].tolist() == ["95.06", "98.00", "+2.94\u00a0[+2.38,\u00a0+3.50]"]
    assert table.loc["Mistral-7B, antonyms, m = 3", "ours"] == "not run here"
    counted = {"01-lexicon": {"corpus_share": {"related": 26.4, "both": 9.5}}}
    assert every_table.related_differences(counted)[OURS].tolist() == ["+12.4", "\N{MINUS SIGN}4.5"]
    rounds = [{"KD": 1.0, "DSKD": ratio} for ratio in (1.0, 1.21)]
    table = every_table.time_ratios({"08-costs": {"seconds": rounds}})
    assert table.loc["training, Llama-3-8B", "paper"] == "1.05" and table.loc["training, Mistral-7B", "ours"] == "1.10"
    assert table.loc["MMLU, Llama-3-8B", OURS] == "not run here"


def test_gains_are_by_the_papers_protocol_and_squad_has_its_own_name():
    gain = {"task": "piqa", "pair": "DSKD - KD", "difference": -0.01, "low": -0.03, "high": 0.01}
    letters = [{"task": "squad2", "metric": "f1", "model": m, "value": v, "stderr": 0.0, "split": "held-out"}
               for m, v in (("teacher", 0.5), ("kd", 0.4), ("dskd", 0.45))]  # fmt: skip
    results = {"05-evaluation": {"letter_differences": [gain], "letters": letters}}
    table = every_table.gains(results)
    minus = "\N{MINUS SIGN}"
    stated = paper.TABLE_3["Llama-3-8B", "dskd", 16][3][0] - paper.TABLE_3["Llama-3-8B", "kd", 16][3][0]
    assert table.loc["PIQA, Llama-3-8B"].tolist() == [
        f"{stated:.2f}", f"{minus}1.00", f"{minus}1.85\u00a0[{minus}3.85,\u00a0+0.15]"
    ]  # fmt: skip
    assert table.loc["SQuAD, held-out articles (F1), Mistral-7B", "ours"] == "5.00"
    kept = every_table.kept(results)
    assert kept.loc["ours, DSKD", "SQuAD, held-out articles (F1)"] == "90.0" and kept.loc["ours, KD", "SQuAD"] == "-"
    assert kept.loc["Llama-3-8B, KD", "PIQA"] == "104.2"


def test_what_was_not_run_or_failed_is_grey_and_what_was_chosen_bold():
    table = beside.ablation({}, 4).reset_index()
    html = figures.folded("a & b", table).data
    assert "<summary>a &amp; b</summary>" in html and "opacity" in html and "bold" in html and "**" not in html
    plain = figures.folded("t", table[["k"]]).data
    assert "opacity" not in plain and "bold" not in plain and "row_heading" not in plain


@pytest.mark.parametrize("teacher", sorted(path.name for path in (ROOT / "book/studies").iterdir()))
def test_the_page_shows_and_keeps_every_table_of_its_own_teacher(teacher, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.delenv("DSKD_DATA", raising=False)
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    results = tmp_path / "runs" / teacher / "quick" / "results"
    shutil.copytree(ROOT / "book/studies" / teacher / "results", results)
    cells = [c for c in nbformat.read(ROOT / "notebooks/07-tables.ipynb", as_version=4).cells if c.cell_type == "code"]
    given = f'# Parameters\nteacher = "{teacher}"'
    kernel = {"In": ["", cells[0].source, given, ""]} | assignments(cells[0].source) | assignments(given)
    for cell in cells[1:]:
        exec(cell.source, kernel)
    plt.close("all")
    for tables in every_table.TOPICS.values():
        for name, _, _ in tables:
            assert all((results / "run-scratch" / f"07-{name}.{end}").stat().st_size for end in ("csv", "md", "tex"))
    claims = (results / "run-scratch/07-claims.csv").read_text()
    assert claims.count("\n") == 14 and ("not run here" in claims) == ("gemma" in teacher)
