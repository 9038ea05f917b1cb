"""MMLU-Pro as training questions: none of MMLU's, four choices, the right one among them."""

import json
from pathlib import Path

import pytest

from dskd_utils.sources.mmlu_pro import mmlu_pro, mmlu_training
from dskd_utils.sources.tasks import Question

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
ROW = {"question_id": 1, "options": [f"option {letter}" for letter in "abcdefghij"], "answer": "G", "answer_index": 0,
       "category": "physics", "src": "stemez-Physics"}  # fmt: skip


def write(tmp_path, *rows):
    path = tmp_path / "pro.jsonl"
    path.write_text("".join(json.dumps(ROW | {"question": f"What is {i}, said in so many words?"} | row) + "\n"
                            for i, row in enumerate(rows)))  # fmt: skip
    return path


def test_choices_are_four_with_the_right_one_by_its_letter(tmp_path):
    rows = [{"question_id": i} for i in range(40)] + [{"question_id": 99, "options": ["x", "y", "z"], "answer": "B"}]
    found, facts = mmlu_pro(write(tmp_path, *rows), [], check_counts=False)
    assert facts == {"read": 41, "named as MMLU's": 0, "like MMLU's": 0, "kept": 41}
    assert all(q.choices[q.answer] == "option g" and len(set(q.choices)) == 4 for q in found[:-1])
    assert found[-1].choices[found[-1].answer] == "y" and len(found[-1].choices) == 3
    assert {q.answer for q in found} == {0, 1, 2, 3} and len({q.choices for q in found}) > 20
    assert found == mmlu_pro(tmp_path / "pro.jsonl", [], check_counts=False).questions
    assert found != mmlu_pro(tmp_path / "pro.jsonl", [], check_counts=False, seed=1).questions
    assert {(q.task, q.split, q.subject) for q in found} == {("mmlu", "train", "physics")}


def test_questions_of_mmlu_go_by_name_and_by_text(tmp_path):
    path = write(tmp_path, {"src": "ori_mmlu-physics"}, {"question_id": 2}, {"question_id": 3})
    known = [Question("m", "mmlu", "dev", "what IS 1, said in so many words", ("a", "b", "c", "d"), 0)]
    found, facts = mmlu_pro(path, known, check_counts=False)
    assert facts == {"read": 3, "named as MMLU's": 1, "like MMLU's": 1, "kept": 1}
    assert [q.id for q in found] == ["mmlu_pro-3"]


def test_a_wrong_letter_or_number_of_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'answer' is 'K', expected a letter of the 10 options"):
        mmlu_pro(write(tmp_path, {"answer": "K"}), [], check_counts=False)
    with pytest.raises(ValueError, match="has 1 rows, published are 12032"):
        mmlu_pro(write(tmp_path, {}), [])
    assert mmlu_training(tmp_path).questions == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data is not here")
def test_of_the_real_file_less_than_half_is_left():
    found, facts = mmlu_training(SHARED, source="files")
    assert facts["named as MMLU's"] == 6810 and facts["read"] == 12_032
    assert len(found) == facts["kept"] == 12_032 - 6810 - facts["like MMLU's"] > 4000
    assert all(2 < len(q.choices) <= 4 for q in found)
