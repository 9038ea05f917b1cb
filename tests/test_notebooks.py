"""The whole study at profile `smoke`, on the real default teacher, by the batch runner."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.dictionary import SenseDictionary

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.network, pytest.mark.timeout(1500)]


def result(home, notebook):
    return json.loads((home / f"runs/smollm2-135m/smoke/results/{notebook}.json").read_text())


def student_folders(home):
    names = result(home, "04-distillation")["students"]
    return {name: home / "runs/smollm2-135m/smoke/students" / folder for name, folder in names.items()}


def test_every_notebook_ran_and_wrote_its_results(smoke_study):
    home, _ = smoke_study
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - {"06-ablations", "08-costs"}  # none at smoke
    for name in names:
        record = result(home, name)
        assert record["teacher"] == "smollm2-135m" and record["provenance"]["seconds"] > 0


def test_a_second_call_has_nothing_to_do(smoke_study):
    assert "Nothing to be done" in smoke_study[1]


def test_the_book_was_built_with_the_runs_own_pages(smoke_study):
    home, _ = smoke_study
    page = (home / "_build/html/studies/smollm2-135m/05-evaluation.html").read_text()
    assert "profile <code" in page and "smoke" in page
    assert "not run, needs data_dir" in page


def test_the_kd_student_beats_its_untrained_start(smoke_study):
    held_out = pd.DataFrame(result(smoke_study[0], "05-evaluation")["held_out"]).set_index(["model", "metric"]).value
    for student in ("kd", "dskd"):
        assert held_out[student, "perplexity"] < held_out["initial", "perplexity"]
        assert held_out[student, "kl"] < held_out["initial", "kl"]


def test_dskd_used_synonyms_and_antonyms_of_the_next_token(smoke_study):
    home, _ = smoke_study
    log = pd.read_csv(student_folders(home)["dskd"] / "training.csv")
    assert (log.positions > 0).all() and (log.attraction > 0).all()
    facts = result(home, "02-senses")["facts"]
    assert 0 < facts["positions with relations"] < facts["positions with senses"]
    # Most tokens of so small a text keep their raw states; a share of them would be below one.
    assert facts["token keys"] / 2 < facts["raw-state keys"] < facts["token keys"]
    assert 0 < facts["self-hits"] < facts["own states"] <= 1


def test_numbers_of_senses_are_compared_at_one_size(smoke_study):
    record = result(smoke_study[0], "02-senses")
    senses = {row["way"]: row["senses"] for row in record["errors"]}
    assert set(senses) == {"fixed", "one", "bic", "square-root", "distortion", "bic-own"}
    assert senses["one"] < senses["fixed"] == senses["square-root"]
    assert max(senses["bic"], senses["distortion"]) <= senses["fixed"]
    assert all(row["error"] > 0 for row in record["errors"]) and len(record["extremes"]) == 24


def test_students_load_without_this_package_and_generate_text(smoke_study):
    home, _ = smoke_study
    for folder in student_folders(home).values():
        script = (
            "import sys\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
            f"m, t = (c.from_pretrained({str(folder)!r}) for c in (AutoModelForCausalLM, AutoTokenizer))\n"
            "out = m.generate(**t('The capital of', return_tensors='pt'), max_new_tokens=4, min_new_tokens=4)\n"
            "assert 'dskd_utils' not in sys.modules\nprint(len(t.decode(out[0])))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0 and int(done.stdout.split()[-1]) > 14, done.stderr


def test_no_relation_used_in_training_touches_a_held_out_word(smoke_study):
    home, _ = smoke_study
    folder = home / "runs/smollm2-135m/smoke/relations" / result(home, "01-lexicon")["folder"]
    split = json.loads((folder / "split.json").read_text())
    held_out = {word for word, part in split.items() if part != "train"}
    training, everything = (Relations.load(folder / f"{name}.parquet") for name in ("training", "relations"))
    assert not held_out & set(training.words) and held_out & set(everything.words)
    senses = home / "runs/smollm2-135m/smoke/senses" / result(home, "02-senses")["folder"]
    assert not held_out & set(SenseDictionary.load(senses).words)


def test_probes_ask_about_words_that_no_training_relation_touches(smoke_study):
    home, _ = smoke_study
    results = home / "runs/smollm2-135m/smoke/results"
    training = Relations.load(
        home / "runs/smollm2-135m/smoke/relations" / result(home, "01-lexicon")["folder"] / "training.parquet"
    )
    for name, limit in (("pairs", 8), ("questions", 8)):
        records = pd.read_parquet(results / f"05-probe-{name}.parquet")
        assert not set(records.word) & set(training.words)
        assert {"teacher", "kd", "dskd"} <= set(records.model) and (records.groupby("model").size() == limit).all()
        table = pd.DataFrame(result(home, "05-evaluation")[f"probe_{name}"])
        assert {("dskd", "kd"), ("kd", "teacher")} <= set(zip(table.model, table.minus, strict=True))


def test_no_artefact_was_left_half_written(smoke_study):
    assert not [str(p) for p in (smoke_study[0] / "runs").rglob(".*") if "partial" in p.name]


def test_an_unknown_parameter_is_an_error_in_bare_papermill(smoke_study, run):
    home, _ = smoke_study
    source = str(ROOT / "notebooks/01-lexicon.ipynb")
    done = run("papermill", source, "out.ipynb", "-p", "profile", "smoke", "-p", "kapa", "3", home=home, check=False)
    assert done.returncode != 0
    assert "unknown parameter 'kapa': this notebook has teacher, profile" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "given"),
    [
        ("06-ablations", ["-p", "grids", "smoke"]),
        (
            "08-costs",
            [
                "-p",
                "rounds",
                "1",
                "-p",
                "steps",
                "1",
                "-p",
                "many",
                "2",
                "-p",
                "compare_rows",
                "2",
                "-p",
                "questions",
                "2",
            ],
        ),
    ],
)
def test_a_long_notebook_runs_from_end_to_end(smoke_study, run, notebook, given):
    home, _ = smoke_study
    source = str(ROOT / f"notebooks/{notebook}.ipynb")
    run("papermill", source, "out.ipynb", "-p", "profile", "smoke", "-p", "run", "long", *given, home=home)
    record = json.loads((home / f"runs/smollm2-135m/smoke/results/run-long/{notebook}.json").read_text())
    if notebook == "06-ablations":
        rows = pd.DataFrame(record["grids"]["smoke"])
        assert len(rows) == 7 and (rows.failed == "").all() and rows[rows.method != "teacher"].kl.gt(0).all()
        assert rows.auc.between(0, 1).all(), "the grid asks about pairs of validation words"
    else:
        assert record["ratios"] and record["estimates"]
