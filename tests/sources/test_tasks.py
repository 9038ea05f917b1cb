"""Tasks: checked questions, what is missing said, seeded training text."""

from pathlib import Path

import pytest

from dskd_utils.sources.tasks import Question, load_task, training_questions, training_text

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
