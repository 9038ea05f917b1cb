"""Tasks: checked questions, what is missing said, seeded training text."""

from itertools import groupby
from pathlib import Path

import pytest

from dskd_utils.sources.tasks import (
    Question,
    evaluation_questions,
    judged_split,
    load_task,
    squad_part,
    training_questions,
    training_text,
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data is not here")


def test_what_is_not_there_is_said_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="SQuAD 2.0: not run, needs data_dir"):
        load_task("squad2", "validation")
    with pytest.raises(ValueError, match="no split 'test' from source 'package': choose from train, validation"):
        load_task("piqa", "test")
    with pytest.raises(ValueError, match="'boolq' is unknown: choose from arc_challenge"):
        load_task("boolq", "train")
    with pytest.raises(ValueError, match="source 'web' is unknown"):
        load_task("piqa", "train", source="web")
    with pytest.raises(ValueError, match="needs data_dir"):
        load_task("piqa", "train", source="files")
    with pytest.raises(FileNotFoundError, match="valid.jsonl"):
        load_task("piqa", "validation", source="files", data_dir=tmp_path)


def test_training_text_ends_with_the_gold_answer():
    question = Question("1", "arc_challenge", "train", "What is 2?", ("answer A", "answer C"), answer=1)
    assert training_text(question) == "Question: What is 2?\nAnswer: answer C"
    assert training_text(question, "Q: {question}\nA:") == "Q: What is 2?\nA: answer C"


def test_training_text_refuses_a_question_without_gold_choice():
    with pytest.raises(ValueError, match="has no gold choice"):
        training_text(Question("1", "piqa", "test", "How?", ("a", "b")))


@needs_shared
def test_training_questions_are_a_seeded_share_of_the_train_split():
    arguments = {"source": "files", "data_dir": SHARED}
    questions = training_questions(["arc_challenge", "mmlu"], seed=1, **arguments)
    assert len(questions) == round(1_119 * 0.25)
    assert questions == training_questions(["arc_challenge"], seed=1, **arguments)
    assert questions != training_questions(["arc_challenge"], seed=2, **arguments)
    assert {question.task for question in questions} == {"arc_challenge"}
    with pytest.raises(ValueError, match="share is 0"):
        training_questions(share=0)


@needs_shared
def test_squads_validation_articles_are_trained_on_or_judged_on_never_both():
    parts = {split: load_task("squad2", split, source="files", data_dir=SHARED) for split in ("train", "held-out")}
    whole = load_task("squad2", "validation", source="files", data_dir=SHARED)
    assert sum(map(len, parts.values())) == len(whole)
    titles = {split: {question.title for question in part} for split, part in parts.items()}
    assert not titles["train"] & titles["held-out"] and 12 < len(titles["train"]) < 23
    asked = training_questions(["squad2"], data_dir=SHARED)
    assert {question.title for question in asked} <= titles["train"]
    runs = [len(list(run)) for _, run in groupby(asked, key=lambda question: question.context)]
    assert len(runs) == len({question.context for question in asked}) and set(runs) <= {1, 2}, "side by side"
    judged, _ = evaluation_questions(["squad2"], data_dir=SHARED)
    assert {q.title for q in judged if q.task == "squad2"} == titles["held-out"]


def test_a_folder_without_squad_gives_none_of_its_questions(tmp_path):
    assert training_questions(["squad2"], data_dir=tmp_path) == training_questions(["squad2"]) == []


def test_squad_is_judged_on_its_held_out_articles_unless_it_has_a_train_split():
    assert (
        judged_split("squad2", "validation", "package") == judged_split("squad2", "validation", "files") == "held-out"
    )
    assert judged_split("squad2", "validation", "hub") == judged_split("piqa", "validation", "files") == "validation"
    assert {squad_part(str(i)) for i in range(20)} == {"train", "held-out"}


def test_training_text_of_squad_holds_its_paragraph():
    question = Question("1", "squad2", "train", "Who?", context="Ann met Bo.", answers=("Ann",))
    assert training_text(question) == "Passage: Ann met Bo.\nQuestion: Who?\nAnswer: Ann"
    assert training_text(Question("1", "squad2", "train", "Who?", context="X.")).endswith("Answer: No answer")
