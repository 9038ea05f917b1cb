"""The likelihood protocol beside lm-evaluation-harness: same questions, same numbers (paper, section 5.2)."""

import json

import pandas as pd
import pytest
import yaml

from dskd_utils.evaluate.benchmarks import evaluate_questions
from dskd_utils.evaluate.prompts import sample_questions
from dskd_utils.sources.tasks import load_task
from dskd_utils.sources.teachers import load_teacher

TASKS = ("arc_challenge", "piqa", "commonsense_qa")
QUESTIONS = 67  # of each task


def harness(teacher, questions, folder, monkeypatch) -> pd.DataFrame:
    """Right or wrong by `acc` and `acc_norm` of each question, by the harness at its own templates, 0-shot."""
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    for task, asked in questions.items():
        rows = [{"question": q.question, "choices": list(q.choices), "answer": q.answer} for q in asked]
        (folder / f"{task}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        settings = {
            "task": f"local_{task}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"validation": str(folder / f"{task}.jsonl")}},
            "validation_split": "validation",
            "output_type": "multiple_choice",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        }
        (folder / f"{task}.yaml").write_text(yaml.safe_dump(settings))
    model = HFLM(pretrained=teacher.model, tokenizer=teacher.tokenizer, batch_size=16)
    found = lm_eval.simple_evaluate(
        model=model, tasks=[f"local_{task}" for task in questions], num_fewshot=0, bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
    )  # fmt: skip
    rows = [
        {"task": task, "number": sample["doc_id"], "acc": sample["acc"], "acc_norm": sample["acc_norm"]}
        for task in questions
        for sample in found["samples"][f"local_{task}"]
    ]
    return pd.DataFrame(rows).sort_values(["task", "number"]).set_index(["task", "number"])


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(1500)
def test_likelihood_agrees_with_the_harness_on_the_same_questions(tmp_path, monkeypatch):
    teacher = load_teacher("smollm2-135m")
    questions = {task: sample_questions(load_task(task, "validation"), QUESTIONS, seed=0) for task in TASKS}
    theirs = harness(teacher, questions, tmp_path, monkeypatch)
    differ = {}
    for task, asked in questions.items():
        models = {"teacher": teacher.model}
        _, records = evaluate_questions(models, teacher.tokenizer, asked, asked, "likelihood", shots=0)
        for metric in ("acc", "acc_norm"):
            found, expected = records[metric].to_numpy(), theirs.loc[task][metric].to_numpy()
            assert len(found) == len(expected) == QUESTIONS and 0.1 < found.mean() < 0.95
            differ[task, metric] = int((found != expected).sum())
    assert not any(differ.values()), differ
