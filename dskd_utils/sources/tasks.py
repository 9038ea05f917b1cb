"""The five benchmarks as one kind of row, from packages, the hub or upstream files (paper, sections 5.1 and 5.2)."""

import hashlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from dskd_utils.sources.task_files import (
    PUBLISHED_COUNTS,
    SOURCES,
    WITHHELD,
    field,
    file_rows,
    hub_rows,
    package_rows,
)
from dskd_utils.sources.wikipedia import Document

logger = logging.getLogger(__name__)

TASKS = ("arc_challenge", "commonsense_qa", "piqa", "mmlu", "squad2")
TRAIN_TASKS = ("arc_challenge", "commonsense_qa", "piqa")
TRAIN_SHARE = 0.25  # of each train split, section 5.2
NO_ANSWER = "No answer"  # to a question of SQuAD 2.0 that its paragraph does not answer
PLAIN_TEMPLATE = "Question: {question}\nAnswer:"
SQUAD_MISSING = (
    "SQuAD 2.0: not run, needs data_dir (a folder that holds squad2/dev-v2.0.json.gz) or source='hub': "
    "no package has this data set"
)
EVALUATED = (  # the paper's evaluation splits, and ARC's test split, whose answers are public
    *(("arc_challenge", "validation"), ("arc_challenge", "test"), ("commonsense_qa", "validation")),
    *(("piqa", "validation"), ("mmlu", "test"), ("squad2", "validation")),
)
# No package and no folder has SQuAD 2.0's train split. Of its validation split, half of the articles then stand for it
# and the others are what is judged on: the part is a fixed hash of the article's title.
SQUAD_PARTS = ("train", "held-out")


@dataclass(frozen=True)
class Question:
    """One question of a benchmark.

    `answer` is the gold index into `choices`, None where upstream withholds it and for SQuAD. For SQuAD 2.0
    `choices` is empty, `context` is the paragraph, `title` its article, and `answers` are the gold texts (empty:
    the question has no answer).
    """

    id: str
    task: str
    split: str
    question: str
    choices: tuple[str, ...] = ()
    answer: int | None = None
    subject: str | None = None
    context: str | None = None
    answers: tuple[str, ...] = ()
    title: str | None = None


def load_task(
    task: str,
    split: str,
    *,
    source: str = "package",
    data_dir: str | Path | None = None,
    check_counts: bool = True,
) -> list[Question]:
    """The questions of one split, in upstream's order.

    Args:
        task: one of `TASKS`.
        split: `"train"`, `"validation"`, `"test"`, or `"dev"` (MMLU's five examples a subject; elsewhere another
            name of `"validation"`). From files, SQuAD's `"train"` and `"held-out"` are parts of its validation split by
            article (`SQUAD_PARTS`).
        source: `"package"` (the files that `assets.fetch("tasks")` brings), `"hub"` (`datasets`), or `"files"`.
        data_dir: folder with upstream's files, one folder a task; SQuAD 2.0 is read from it for `"package"` too.
        check_counts: compare the number of rows with `PUBLISHED_COUNTS`.

    Raises:
        ValueError: unknown task, source or split; a row that is broken (the message names file, row and field);
            another number of rows than published.
        FileNotFoundError: the source has no such file.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r} is unknown: choose from {', '.join(TASKS)}")
    if source not in SOURCES:
        raise ValueError(f"source {source!r} is unknown: choose from {', '.join(SOURCES)}")
    if task != "mmlu" and split == "dev":
        split = "validation"
    if task == "squad2" and source != "hub":
        if data_dir is None:
            raise FileNotFoundError(SQUAD_MISSING)
        source = "files"
    if task == "squad2" and source == "files" and split in SQUAD_PARTS:
        whole = load_task(task, "validation", source=source, data_dir=data_dir, check_counts=check_counts)
        return [replace(question, split=split) for question in whole if squad_part(question.title or "") == split]
    there = [name for known, name in SOURCES[source] if known == task]
    if split not in there:
        raise ValueError(f"{task} has no split {split!r} from source {source!r}: choose from {', '.join(there)}")
    if source == "files" and data_dir is None:
        raise ValueError("source 'files' needs data_dir, the folder with upstream's files (arc/, piqa/, mmlu/, ...)")
    rows = {"package": package_rows, "hub": hub_rows, "files": file_rows}[source](task, split, data_dir)
    questions = [_question(task, split, number, row, where) for number, (row, where) in enumerate(rows)]
    expected = PUBLISHED_COUNTS[task, split]
    if check_counts and len(questions) != expected:
        raise ValueError(
            f"{task} {split} from source {source!r} has {len(questions)} questions, published are {expected}: "
            "fetch the files again, or pass check_counts=False for a part of your own"
        )
    return questions


def is_there(task: str, *, source: str = "package", data_dir: str | Path | None = None) -> bool:
    """Whether a task can be asked from a source: all but SQuAD 2.0, which is in no package, always can."""
    try:
        return task != "squad2" or bool(load_task(task, "validation", source=source, data_dir=data_dir))
    except FileNotFoundError:
        return False


def squad_part(title: str) -> str:
    """Which of `SQUAD_PARTS` an article of SQuAD's validation split is in, the same for every seed."""
    return SQUAD_PARTS[hashlib.blake2b(f"squad2/{title}".encode(), digest_size=1).digest()[0] % 2]


def judged_split(task: str, split: str, source: str) -> str:
    """The part of a split that is judged on: of SQuAD from files the articles that are not trained on."""
    return SQUAD_PARTS[1] if (task, split) == ("squad2", "validation") and source != "hub" else split


def training_text(question: Question, template: str = PLAIN_TEMPLATE) -> str:
    """A choice question with the words of its gold answer as plain training text.

    Raises:
        ValueError: the question has no gold choice (a withheld test split).
    """
    asked = template.format(question=question.question)
    if question.task == "squad2":
        return f"Passage: {question.context}\n{asked} {question.answers[0] if question.answers else NO_ANSWER}"
    if question.answer is None:
        raise ValueError(f"{question.task} {question.id} has no gold choice: take a split whose answers are published")
    return f"{asked} {question.choices[question.answer]}"


def training_questions(
    tasks: Sequence[str] = TRAIN_TASKS,
    *,
    share: float = TRAIN_SHARE,
    seed: int = 0,
    source: str = "package",
    data_dir: str | Path | None = None,
) -> list[Question]:
    """A seeded sample of the train splits, task by task (the paper trains on 25% of each task, section 5.2).

    Of SQuAD 2.0 a share of the paragraphs is drawn, with two questions each, where `data_dir` or the hub has it. MMLU
    is passed over, it has no train split (see `mmlu_pro`).

    Args:
        tasks: names from `TASKS`.
        share: share of each train split, in (0, 1].

    Raises:
        ValueError: `share` outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected a number above 0 and at most 1")
    chosen = []
    for task in tasks:
        if task in TRAIN_TASKS:
            questions = load_task(task, "train", source=source, data_dir=data_dir)
            chosen += random.Random(f"{seed}/{task}").sample(questions, round(share * len(questions)))
        elif task == "squad2":
            try:
                chosen += _squad_pairs(load_task(task, "train", source=source, data_dir=data_dir), share, seed)
            except FileNotFoundError as error:  # no package has it
                if source == "hub":
                    raise
                logger.info("%s", error)
    return chosen


def _squad_pairs(questions: Sequence[Question], share: float, seed: int) -> list[Question]:
    """Two questions of each of a share of the paragraphs, the two side by side."""
    paragraphs: dict[str | None, list[Question]] = {}
    for question in questions:
        paragraphs.setdefault(question.context, []).append(question)
    rng = random.Random(f"{seed}/squad2")
    drawn = rng.sample(list(paragraphs.values()), round(share * len(paragraphs)))
    return [question for group in drawn for question in rng.sample(group, min(2, len(group)))]


def evaluation_questions(
    tasks: Sequence[str] = TASKS, *, source: str = "package", data_dir: str | Path | None = None
) -> tuple[list[Question], dict[str, str]]:
    """All questions of the evaluation splits that the source has, and by task why it has none.

    A missing file is an error for the named tasks, save for SQuAD 2.0, which no package has.
    """
    questions, missing = [], {}
    for task, split in EVALUATED:
        try:
            judged = judged_split(task, split, source)
            questions += load_task(task, judged, source=source, data_dir=data_dir)
        except FileNotFoundError as error:
            if task in tasks and task != "squad2":
                raise
            missing[task] = str(error)
    return questions, missing


def evaluation_documents(questions: Sequence[Question]) -> list[Document]:
    """Questions as documents to compare training text with: question, choices and paragraph, one a line.

    The title is the SQuAD article where there is one, else the question's id; a paragraph comes once.
    """
    documents, contexts = [], set()
    for question in questions:
        lines = [question.question, *question.choices]
        if question.context is not None and question.context not in contexts:
            contexts.add(question.context)
            lines.append(question.context)
        documents.append(Document(question.task, question.title or question.id, "\n".join(lines)))
    return documents


def _question(task: str, split: str, number: int, row: dict[str, Any], where: str) -> Question:
    """One checked question from a row in any of the upstream shapes."""
    if not isinstance(row, dict):
        raise ValueError(f"{where} is {type(row).__name__}, expected an object: fetch the file again")
    common = {"task": task, "split": split}
    if task == "squad2":
        texts = {name: field(row, name, str, where) for name in ("id", "question", "context", "title")}
        answers = _texts(field(row, "answers", dict, where), "text", where)
        return Question(**common, **texts, answers=answers)
    if task == "piqa":
        texts = [field(row, name, str, where) for name in ("goal", "sol1", "sol2")]
        answer = _answer(row, "label", "01", (task, split), where)
        return Question(f"piqa-{split}-{number}", **common, question=texts[0], choices=tuple(texts[1:]), answer=answer)
    stem, choices, subject = row.get("question"), row.get("choices"), None
    if isinstance(stem, dict):  # AllenAI's own layout nests the choices in the question
        stem, choices = field(stem, "stem", str, where), field(stem, "choices", list, where)
    parts = {"question": stem, "choices": choices}
    stem, labels = field(parts, "question", str, where), None
    if isinstance(choices, dict):  # the hub keeps texts and labels as two lists
        choices, labels = _texts(choices, "text", where), _texts(choices, "label", where)
        if len(choices) != len(labels):
            raise ValueError(f"{where}: there are {len(choices)} choices and {len(labels)} labels: fetch them again")
    elif isinstance(choices, list) and any(isinstance(choice, dict) for choice in choices):
        choices, labels = (tuple(field(one, name, str, where) for one in choices) for name in ("text", "label"))
    else:
        choices = _texts(parts, "choices", where)
    if len(choices) < 2 or (labels and len(set(labels)) < len(labels)):
        found = f"labelled {', '.join(labels)}" if labels else len(choices)
        raise ValueError(f"{where}: the choices are {found}, expected at least two with labels that differ")
    name = "answerKey" if isinstance(row.get("question"), dict) or "answerKey" in row else "answer"
    answer = _answer(row, name, labels or ascii_uppercase[: len(choices)], (task, split), where, labelled=bool(labels))
    if task == "mmlu":
        subject = field(row, "subject", str, where)
    identifier = f"mmlu-{split}-{number}" if task == "mmlu" else field(row, "id", str, where)
    return Question(identifier, **common, question=stem, choices=choices, answer=answer, subject=subject)


def _texts(row: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    """The named list of a row, each of its members a text."""
    numbered = {f"{name} {number}": text for number, text in enumerate(field(row, name, list, where), 1)}
    return tuple(field(numbered, each, str, where) for each in numbered)


def _answer(
    row: dict[str, Any], name: str, labels: Sequence[str], key: tuple[str, str], where: str, labelled: bool = False
) -> int | None:
    """Gold index from a choice's label or, where rows bring no labels, its place; None where upstream withholds it."""
    value = row.get(name)
    if key in WITHHELD and value in (None, "", -1):
        return None
    if value is None or value == "":
        raise ValueError(f"{where}: the field {name!r} is missing or empty")
    if isinstance(value, str) and value in tuple(labels):
        return labels.index(value)
    if type(value) is int and 0 <= value < len(labels) and not labelled:  # no bool, which is an int too
        return value
    raise ValueError(f"{where}: the field {name!r} is {value!r}, expected one of the choices {', '.join(labels)}")
