"""Task files: one form from three sources, broken files named."""

import gzip
import json
from pathlib import Path

import pytest

from dskd_utils.sources import task_files
from dskd_utils.sources.tasks import Question, load_task

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data is not here")


def arc_row(number: int, **changes) -> dict:
    choices = [{"text": f"answer {letter}", "label": letter} for letter in "ABCD"]
    question = {"stem": f"What is {number}?", "choices": choices}
    return {"id": f"arc-{number}", "question": question, "answerKey": "ABCD"[number % 4]} | changes


def write_arc(folder: Path, rows: list) -> Path:
    path = folder / "arc" / "ARC-Challenge-Dev.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return folder


def load_arc(folder: Path) -> list[Question]:
    return load_task("arc_challenge", "validation", source="files", data_dir=folder, check_counts=False)


def test_a_row_keeps_question_choices_and_gold_index(tmp_path):
    first, second = load_arc(write_arc(tmp_path, [arc_row(0), arc_row(2)]))
    assert first.question == "What is 0?"
    assert first.choices == ("answer A", "answer B", "answer C", "answer D")
    assert (first.answer, second.answer, second.id, second.split) == (0, 2, "arc-2", "validation")


def test_gold_labels_that_are_numbers_are_looked_up_not_counted(tmp_path):
    question = {"stem": "Which?", "choices": [{"text": text, "label": str(i + 1)} for i, text in enumerate("abcd")]}
    (row,) = load_arc(write_arc(tmp_path, [arc_row(0, question=question, answerKey="3")]))
    assert row.choices[row.answer] == "c"


def test_compressed_and_plain_files_read_the_same(tmp_path):
    plain = load_arc(write_arc(tmp_path, [arc_row(0), arc_row(1)]))
    path = tmp_path / "arc" / "ARC-Challenge-Dev.jsonl"
    with gzip.open(path.with_name(path.name + ".gz"), "wb") as stream:
        stream.write(path.read_bytes())
    path.unlink()
    assert load_arc(tmp_path) == plain


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = write_arc(tmp_path, [arc_row(number) for number in range(50)]) / "arc" / "ARC-Challenge-Dev.jsonl"
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()
    with pytest.raises(ValueError, match="ARC-Challenge-Dev.jsonl.gz cannot be read after row"):
        load_arc(tmp_path)


def labelled(texts, labels) -> dict:
    """ARC's question and choices."""
    return {"stem": "Who?", "choices": [{"text": t, "label": x} for t, x in zip(texts, labels, strict=True)]}


@pytest.mark.parametrize(
    ("second", "field"),
    [
        ({"id": "x", "answerKey": "A"}, "'question'"),
        (arc_row(1, question={"choices": []}), "'stem'"),
        (arc_row(1, question={"stem": "Who?", "choices": [{"label": "A"}]}), "'text'"),
        (arc_row(1, answerKey="E"), "'answerKey'"),
        (arc_row(1, answerKey=""), "'answerKey'"),
        (arc_row(1, id=None), "'id'"),
        (arc_row(1, id=7), "'id' is int"),
        ('{"id": "x", "question"', "is not JSON"),
        ("[1]", "is list"),
        (arc_row(1, answerKey="1"), "'answerKey' is '1', expected one of the choices A, B, C, D"),
        (arc_row(1, answerKey=1), "'answerKey' is 1"),
        (arc_row(1, question=labelled("xyz", "ABA")), "labelled A, B, A"),
        (arc_row(1, question=labelled("x", "A")), "at least two"),
        (arc_row(1, question=labelled(["x", " "], "AB")), "'text' is empty"),
        (arc_row(1, question=labelled("xy", "AB") | {"stem": ""}), "'stem' is empty"),
        ({"id": "x", "question": "?", "choices": ["x", None], "answer": 0}, "'choices 2' is missing"),
        ({"id": "x", "question": "?", "choices": ["x", 2], "answer": 0}, "'choices 2' is int"),
        ({"id": "x", "question": "?", "choices": ["x", ""], "answer": 0}, "'choices 2' is empty"),
        ({"id": "x", "question": "?", "choices": ["x", {"text": "y"}], "answer": 0}, "'text' is missing"),
        ({"id": "x", "question": "?", "choices": ["x", "y"], "answer": "1"}, "'answer' is '1'"),
        ({"id": "x", "question": "?", "choices": ["x", "y"], "answer": "AB"}, "'answer' is 'AB'"),
        ({"id": "x", "question": "?", "choices": {"text": ["x", "y"]}, "answerKey": "A"}, "'label' is missing"),
        ({"id": "x", "question": "?", "choices": {"text": ["x", "y"], "label": ["A"]}}, "2 choices and 1 labels"),
    ],
)
def test_a_broken_row_names_file_row_and_field(tmp_path, second, field):
    write_arc(tmp_path, [arc_row(0), second, arc_row(2)])
    with pytest.raises(ValueError, match="ARC-Challenge-Dev.jsonl, row 2") as caught:
        load_arc(tmp_path)
    assert field in str(caught.value)


def test_piqa_labels_must_fit_the_rows(tmp_path):
    folder = tmp_path / "piqa"
    folder.mkdir()
    rows = [{"goal": f"goal {i}", "sol1": "left", "sol2": "right"} for i in range(2)]
    (folder / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "valid-labels.lst").write_text("1\n0\n")
    arguments = {"source": "files", "data_dir": tmp_path, "check_counts": False}
    assert [q.choices[q.answer] for q in load_task("piqa", "validation", **arguments)] == ["right", "left"]
    (folder / "valid-labels.lst").write_text("1\n2\n")
    with pytest.raises(ValueError, match="valid-labels.lst, line 2.*'label' is '2'"):
        load_task("piqa", "validation", **arguments)
    (folder / "valid-labels.lst").write_text("1\n")
    with pytest.raises(ValueError, match="1 labels for 2 rows"):
        load_task("piqa", "validation", **arguments)


@pytest.mark.parametrize("label", [0.9, True, 2, "A", None])
def test_a_label_of_piqa_is_0_or_1(label, monkeypatch):
    row = {"goal": "goal", "sol1": "left", "sol2": "right", "label": label}
    monkeypatch.setattr("dskd_utils.sources.tasks.hub_rows", lambda *_: [(row, "ybisk/piqa validation, row 1")])
    with pytest.raises(ValueError, match="ybisk/piqa validation, row 1: the field 'label' is"):
        load_task("piqa", "validation", source="hub", check_counts=False)


def test_mmlu_csv_files_are_read_by_subject(tmp_path):
    folder = tmp_path / "mmlu" / "data" / "dev"
    folder.mkdir(parents=True)
    (folder / "virology_dev.csv").write_text('"A, or ""B""?",1,2,3,4,D\n')
    (folder / "anatomy_dev.csv").write_text("Bones?,1,2,3,4,A\n")
    arguments = {"source": "files", "data_dir": tmp_path, "check_counts": False}
    bones, letters = load_task("mmlu", "dev", **arguments)
    assert (bones.subject, bones.answer) == ("anatomy", 0)
    assert (letters.question, letters.choices, letters.answer) == ('A, or "B"?', ("1", "2", "3", "4"), 3)
    (folder / "virology_dev.csv").write_text("only,three,columns\n")
    with pytest.raises(ValueError, match="virology_dev.csv, row 1 has 3 columns"):
        load_task("mmlu", "dev", **arguments)


def test_squad_keeps_paragraph_title_and_answers(tmp_path):
    path = tmp_path / "squad2" / "dev-v2.0.json"
    path.parent.mkdir()
    answered = {"id": "a", "question": "Where?", "answers": [{"text": "Here", "answer_start": 0}]}
    open_question = {"id": "b", "question": "Why?", "answers": [], "is_impossible": True}
    article = {"title": "Place", "paragraphs": [{"context": "Here it is.", "qas": [answered, open_question]}]}
    path.write_text(json.dumps({"version": "v2.0", "data": [article]}))
    first, second = load_task("squad2", "dev", data_dir=tmp_path, check_counts=False)
    assert (first.answers, first.context, first.title, first.choices) == (("Here",), "Here it is.", "Place", ())
    assert second.answers == () and second.answer is None and second.split == "validation"
    del answered["question"]
    path.write_text(json.dumps({"data": [article]}))
    with pytest.raises(ValueError, match="dev-v2.0.json, question 1: the field 'question' is missing"):
        load_task("squad2", "dev", data_dir=tmp_path, check_counts=False)


@pytest.mark.parametrize(
    ("article", "message"),
    [
        ("Place", "article 1: the field 'paragraphs' is missing"),
        ({"title": "Place", "paragraphs": ["Here."]}, "article 1: the field 'qas' is missing"),
        ({"title": "Place", "paragraphs": [{"context": "Here.", "qas": ["Where?"]}]}, "question 1: .*'answers'"),
        (
            {"paragraphs": [{"context": "Here.", "qas": [{"answers": [{"answer_start": 0}]}]}]},
            "question 1: the field 'text' is missing",
        ),
    ],
)
def test_a_broken_article_of_squad_is_named(article, message, tmp_path):
    path = tmp_path / "squad2" / "dev-v2.0.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"data": [article]}))
    with pytest.raises(ValueError, match=f"dev-v2.0.json, {message}"):
        load_task("squad2", "dev", data_dir=tmp_path, check_counts=False)


def test_another_number_of_rows_than_published_is_refused(tmp_path):
    write_arc(tmp_path, [arc_row(0)])
    with pytest.raises(ValueError, match="has 1 questions, published are 299"):
        load_task("arc_challenge", "validation", source="files", data_dir=tmp_path)


def test_hub_rows_become_the_same_questions(tmp_path, monkeypatch):
    """`datasets` reads a folder of the hub id's name, so the hub's layout is tested without a hub."""
    for task, rows in {
        "arc_challenge": [
            {"id": "q", "question": "Which?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
        ],
        "mmlu": [{"question": "Which?", "subject": "anatomy", "choices": ["w", "x", "y", "z"], "answer": 1}],
        "squad2": [
            {"id": "s", "title": "T", "context": "C", "question": "Which?", "answers": {"text": [], "answer_start": []}}
        ],
    }.items():
        name, configuration, _ = task_files.HUB[task]
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data_files = [{"split": "validation", "path": "validation.jsonl"}]
        configs = [{"config_name": configuration or "default", "data_files": data_files}]
        (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    arc, mmlu, squad = (
        load_task(task, "validation", source="hub", check_counts=False)[0]
        for task in ("arc_challenge", "mmlu", "squad2")
    )
    assert (arc.id, arc.choices, arc.answer) == ("q", ("x", "y"), 1)
    assert (mmlu.subject, mmlu.answer, mmlu.choices) == ("anatomy", 1, ("w", "x", "y", "z"))
    assert (squad.title, squad.context, squad.answers) == ("T", "C", ())


@needs_shared
@pytest.mark.parametrize(("task", "split"), task_files.FILES)
def test_upstream_files_have_the_published_rows(task, split):
    questions = load_task(task, split, source="files", data_dir=SHARED)
    assert len({question.id for question in questions}) == task_files.PUBLISHED_COUNTS[task, split]
    withheld = (task, split) in task_files.WITHHELD or task == "squad2"
    assert all((question.answer is None) == withheld for question in questions)


@needs_shared
@pytest.mark.network
@pytest.mark.parametrize(("task", "split"), task_files.PACKAGE)
def test_package_rows_equal_upstream_rows(task, split):
    assert load_task(task, split) == load_task(task, split, source="files", data_dir=SHARED)
