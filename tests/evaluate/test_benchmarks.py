from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from dskd_utils.evaluate.benchmarks import compare, evaluate, evaluate_questions, main
from dskd_utils.evaluate.significance import mcnemar
from dskd_utils.sources.tasks import Question, load_task

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (DATA / "arc").is_dir(), reason="needs upstream files in ../shared/data")
COLUMNS = ["model", "task", "protocol", "metric", "value", "stderr", "n"]


def questions(count=20, task="commonsense_qa", split="validation", **more):
    return [
        Question(
            id=f"{split}-{i}",
            task=task,
            split=split,
            question=f"Where is {split} {i * 7 % 11}?",
            choices=("here", "over there", "nowhere at all", "up")[: 2 + i % 3],
            answer=i % 2,
            **more,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("protocol", ["paper", "likelihood"])
def test_the_fast_path_equals_the_plain_path(llamas, tokenizer, protocol):
    pool = questions(30, split="train")
    fast, records = evaluate_questions(llamas, tokenizer, questions(), pool, protocol, shots=3)
    slow, plain = evaluate_questions(llamas, tokenizer, questions(), pool, protocol, shots=3, plain=True)
    assert records["prediction"].tolist() == plain["prediction"].tolist()
    for mine, its in zip(records["scores"], plain["scores"], strict=True):
        np.testing.assert_allclose(mine, its, atol=2e-4)
    pd.testing.assert_frame_equal(fast, slow, atol=1e-4)


def test_the_table_is_the_mean_of_the_records_with_errors_and_chance(llamas, tokenizer):
    table, records = evaluate_questions(llamas, tokenizer, questions(), questions(30, split="train"), "likelihood")
    assert list(table.columns[:7]) == COLUMNS
    assert len(records) == 40
    row = table.query("model == 'student' and metric == 'acc'").iloc[0]
    p = records.query("model == 'student'")["correct"].mean()
    assert (row["value"], row["n"], row["of"], row["shots"]) == (p, 20, 20, 5)
    assert row["stderr"] == pytest.approx(np.sqrt(p * (1 - p) / 19))
    assert row["chance"] == pytest.approx(np.mean([1 / (2 + i % 3) for i in range(20)]))
    assert set(table["metric"]) == {"acc", "acc_norm", "gold_logprob", "gold_nats"}


def test_a_limit_is_a_seeded_sample_that_the_table_tells(llamas, tokenizer):
    def ids(seed):
        pool = questions(30, split="train")
        table, records = evaluate_questions(llamas, tokenizer, questions(), pool, "paper", limit=8, seed=seed)
        assert (table[["n", "limit", "of", "seed"]] == [8, 8, 20, seed]).all(axis=None)
        return records.query("model == 'teacher'")["question_id"].tolist()

    assert ids(0) == ids(0) != ids(1)


def test_prompts_longer_than_the_context_are_cut_and_counted(llamas, tokenizer, caplog):
    long = [*questions(5), Question("long", "commonsense_qa", "validation", "why " * 520, ("yes", "no"), 0)]
    table, records = evaluate_questions(llamas, tokenizer, long, questions(30, split="train"), "paper")
    assert (table["truncated"] == 1).all()
    assert "1 of 6 prompts" in caplog.text
    assert len(records) == 12


def test_questions_without_a_label_or_with_one_choice_are_refused(llamas, tokenizer):
    unlabelled = Question("1", "piqa", "test", "?", ("a", "b"), None)
    with pytest.raises(ValueError, match="labels"):
        evaluate_questions(llamas, tokenizer, [unlabelled], [], shots=0)
    with pytest.raises(ValueError, match="1 choices"):
        evaluate_questions(llamas, tokenizer, [Question("1", "piqa", "test", "?", ("a",), 0)], [], shots=0)
    with pytest.raises(ValueError, match="no questions"):
        evaluate_questions(llamas, tokenizer, [], [])


def test_a_comparison_pairs_the_questions_and_adjusts_over_the_tasks(llamas, tokenizer):
    parts = []
    for task in ("piqa", "commonsense_qa"):
        pool = questions(30, task, "train")
        parts.append(evaluate_questions(llamas, tokenizer, questions(24, task), pool, "likelihood", shots=1)[1])
    records = pd.concat(parts)
    table = compare(records, "student", "teacher", "acc", resamples=500)
    assert table["task"].tolist() == ["piqa", "commonsense_qa"]
    for row in table.itertuples():
        mine = records[records["task"] == row.task]
        a, b = (mine.loc[mine["model"] == name, "acc"] for name in ("student", "teacher"))
        assert row.difference == pytest.approx(a.mean() - b.mean())
        assert row.low <= row.difference <= row.high
        assert row.p_mcnemar == mcnemar(a, b) <= row.p_holm
    nats = compare(records, "student", "teacher", "gold_logprob", resamples=100)
    assert nats["p_mcnemar"].isna().all() and (nats["p_holm"] >= nats["p"]).all()


def test_a_comparison_of_different_questions_is_refused(llamas, tokenizer):
    _, records = evaluate_questions(llamas, tokenizer, questions(6), questions(9, split="train"), shots=1)
    with pytest.raises(ValueError, match="one call"):
        compare(records.iloc[1:], "student", "teacher")
    with pytest.raises(ValueError, match="'pupil' is not in the records"):
        compare(records, "pupil", "teacher")
    with pytest.raises(ValueError, match="'f1' is not in the records"):
        compare(records, "student", "teacher", "f1")


def test_unknown_names_are_refused_with_the_known_ones(llamas, tokenizer):
    with pytest.raises(ValueError, match="'arc' is unknown: choose from arc_challenge"):
        evaluate(llamas, tokenizer, ["arc"])
    with pytest.raises(ValueError, match="'letters' is unknown: choose from paper, likelihood"):
        evaluate(llamas, tokenizer, ["piqa"], "letters")
    with pytest.raises(ValueError, match="expected a list"):
        evaluate(llamas, tokenizer, "piqa")
    with pytest.raises(ValueError, match="limit is 0"):
        evaluate(llamas, tokenizer, ["piqa"], limit=0)
    with pytest.raises(ValueError, match="models is empty"):
        evaluate({}, tokenizer)


@pytest.mark.parametrize(
    ("protocol", "reason"), [("paper", "needs data_dir"), ("likelihood", "needs protocol 'paper'")]
)
def test_squad_that_cannot_run_is_a_row_that_says_so(llamas, tokenizer, protocol, reason):
    table, records = evaluate(llamas, tokenizer, ["squad2"], protocol, return_records=True)
    assert table["model"].tolist() == ["teacher", "student"]
    assert (table["metric"] == "not run").all() and table["value"].isna().all() and (table["n"] == 0).all()
    assert table["note"].str.startswith("SQuAD 2.0: not run").all() and table["note"].str.contains(reason).all()
    assert records.empty


@needs_data
def test_all_five_benchmarks_run_on_their_real_questions(llamas, tokenizer):
    models = {"teacher": llamas["teacher"]}
    table, records = evaluate(models, tokenizer, limit=3, shots=1, source="files", data_dir=DATA, return_records=True)
    assert list(table.columns[:7]) == COLUMNS
    held_out = len(load_task("squad2", "held-out", source="files", data_dir=DATA))
    assert dict(zip(table["task"], table["of"], strict=True)) == {
        "arc_challenge": 299, "commonsense_qa": 1221, "mmlu": 14042, "piqa": 1838, "squad2": held_out
    }  # fmt: skip
    assert dict(zip(table["task"], table["split"], strict=True)) == {
        **dict.fromkeys(("arc_challenge", "commonsense_qa", "piqa"), "validation"), "mmlu": "test", "squad2": "held-out"
    }  # fmt: skip
    assert table["note"].eq("").all()
    assert records.groupby("task").size().eq(3).all()
    assert {"exact", "f1"} <= set(table.query("task == 'squad2'")["metric"])


@needs_data
@pytest.mark.parametrize(("split", "part", "of"), [("held-out", "held-out", None), ("validation", "validation", 11873)])
def test_all_of_squads_validation_articles_are_asked_only_by_name_and_with_a_note(llamas, tokenizer, split, part, of):
    options = {"limit": 1, "shots": 0, "split": split, "source": "files", "data_dir": DATA}
    table = evaluate({"teacher": llamas["teacher"]}, tokenizer, ["piqa", "squad2"], **options).set_index("task")
    assert set(table["split"]["piqa"]) == {"validation"} and table["note"]["piqa"].eq("").all()
    assert set(table["split"]["squad2"]) == {part}
    if of:
        assert set(table["of"]["squad2"]) == {of} and table["note"]["squad2"].str.contains("training text").all()
    else:
        assert table["of"]["squad2"].max() < 11873 and table["note"]["squad2"].eq("").all()


def small(rows):
    """A model of one layer and so many embedding rows."""
    size = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=rows, **size))


def test_models_that_cannot_be_of_the_tokenizer_are_refused(llamas, tokenizer):
    with pytest.raises(ValueError, match="model 'small' has 200 embedding rows and the tokenizer ids up to 257"):
        evaluate(llamas | {"small": small(200)}, tokenizer, ["piqa"], limit=1, shots=0)
    with pytest.raises(ValueError, match="'teacher' and 'large' have 300 and 5000 embedding rows"):
        evaluate_questions(llamas | {"large": small(5000)}, tokenizer, questions(), [], shots=0)
    padded = {"teacher": llamas["teacher"], "padded": small(320)}
    assert len(evaluate_questions(padded, tokenizer, questions(), [], shots=0)[1]) == 40


@needs_data
def test_the_command_line_scores_any_model_folder(llamas, tokenizer, tmp_path, capsys):
    llamas["teacher"].save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    where = ["--data-dir", str(DATA), "--out", str(tmp_path / "out.csv"), "--records", str(tmp_path / "out.parquet")]
    what = ["--tasks", "arc_challenge", "--protocol", "likelihood", "--shots", "0", "--limit", "5"]
    main(["--model", str(tmp_path / "model"), *what, "--split", "validation", *where])
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns[:7]) == COLUMNS
    assert table["n"].tolist() == [5] * 4
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == 5
    with pytest.raises(SystemExit):
        main(["--model", str(tmp_path / "model"), "--tasks", "arc", *where])
    assert "error: task 'arc' is unknown" in capsys.readouterr().err


@pytest.mark.parametrize("difference", ["vocabulary", "template"])
def test_models_of_two_tokenizers_are_refused_on_the_command_line(difference, tokenizer, tmp_path, capsys):
    small(300).save_pretrained(tmp_path / "one")
    small(300).save_pretrained(tmp_path / "two")
    tokenizer.save_pretrained(tmp_path / "one")
    if difference == "vocabulary":
        tokenizer.add_tokens(["somewhere"])
    else:
        tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(tmp_path / "two")
    models = ["--model", str(tmp_path / "one"), "--model", str(tmp_path / "two")]
    with pytest.raises(SystemExit) as stopped:
        main([*models, "--tasks", "piqa", "--limit", "1", "--shots", "0", "--out", str(tmp_path / "out.csv")])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and f"error: {tmp_path / 'two'} has another tokenizer or chat template" in error
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["/nothing", "./nothing", "nothing", "/a/longer/nothing"])
def test_a_model_folder_that_is_not_there_is_named(name, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--model", name, "--tasks", "piqa", "--out", str(tmp_path / "out.csv")])
    assert "there is no model folder" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_squad_that_the_hub_does_not_give_is_an_error_and_no_row(llamas, tokenizer, monkeypatch):
    def gone(*given, **settings):
        raise FileNotFoundError("the hub does not answer")

    monkeypatch.setattr("dskd_utils.evaluate.benchmarks.load_task", gone)
    with pytest.raises(FileNotFoundError, match="does not answer"):
        evaluate(llamas, tokenizer, ("squad2",), source="hub")
    table = evaluate(llamas, tokenizer, ("squad2",))
    assert set(table["metric"]) == {"not run"} and "does not answer" in table["note"][0]
