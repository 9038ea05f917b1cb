"""MMLU-Pro's questions as a training split for MMLU: four choices, none that MMLU itself asks (paper, 5.1; NOTES 37).

Over half of MMLU-Pro's rows are MMLU test questions, named so in its field `src`; they are left out by that name and by
their text, as is whatever MMLU's other splits hold. What is left is mostly science and engineering; a
quarter is business, economics and psychology.
"""

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dskd_utils.sources.leaks import remove_leaks
from dskd_utils.sources.task_files import field, json_lines
from dskd_utils.sources.tasks import Question, evaluation_documents, load_task

logger = logging.getLogger(__name__)

FILE = Path("mmlu_pro") / "test.jsonl.xz"
CHOICES = 4
ROWS = 12_032
FROM_MMLU = "ori_mmlu"
LETTERS = "ABCDEFGHIJ"


class Filtered(NamedTuple):
    """Questions for training and how many rows went where: `read`, `named as MMLU's`, `like MMLU's`, `kept`."""

    questions: list[Question]
    facts: dict[str, int]


def mmlu_pro(path: str | Path, known: Sequence[Question], *, seed: int = 0, check_counts: bool = True) -> Filtered:
    """MMLU-Pro's questions that are not MMLU's, reduced to four choices.

    The right choice stays, three others are drawn and all are put in an order of their own, by the seed and the
    question's number. A question of three choices keeps them.

    Args:
        path: MMLU-Pro's test split as JSON lines, plain, `.gz` or `.xz`.
        known: MMLU's questions of all splits; those that share thirteen words or a short line with one are left out.
        seed: of the draws.
        check_counts: compare the number of rows with the published one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a broken row, or another number of rows.
    """
    rows = list(json_lines(Path(path)))
    if check_counts and len(rows) != ROWS:
        raise ValueError(f"{path} has {len(rows)} rows, published are {ROWS}: fetch it again")
    named = [FROM_MMLU in field(row, "src", str, where) for row, where in rows]
    own = [_question(row, where, seed) for (row, where), theirs in zip(rows, named, strict=True) if not theirs]
    documents = dict(zip(evaluation_documents(own), own, strict=True))
    kept, removed = remove_leaks(list(documents), [document.text for document in evaluation_documents(known)])
    facts = {"read": len(rows), "named as MMLU's": sum(named), "like MMLU's": len(removed), "kept": len(kept)}
    logger.info("MMLU-Pro: %s", facts)
    return Filtered([documents[document] for document in kept], facts)


def mmlu_training(data_dir: str | Path, *, source: str = "package", seed: int = 0) -> Filtered:
    """`mmlu_pro` of a data folder against MMLU's test, validation and dev splits from `source`; nothing without it."""
    path = Path(data_dir) / FILE
    if not path.is_file():
        return Filtered([], {})
    splits = ("test", "validation", "dev")
    known = [q for split in splits for q in load_task("mmlu", split, source=source, data_dir=data_dir)]
    return mmlu_pro(path, known, seed=seed)


def _question(row: dict[str, Any], where: str, seed: int) -> Question:
    number, options = field(row, "question_id", int, where), field(row, "options", list, where)
    # By the letter: the index of one published row is wrong.
    letter = field(row, "answer", str, where)
    if letter not in LETTERS[: len(options)]:
        raise ValueError(f"{where}: the field 'answer' is {letter!r}, expected a letter of the {len(options)} options")
    gold = options[LETTERS.index(letter)]
    rng = random.Random(f"{seed}/{number}")
    others = [option for place, option in enumerate(options) if place != LETTERS.index(letter)]
    choices = [gold, *rng.sample(others, min(CHOICES - 1, len(others)))]
    rng.shuffle(choices)
    text, subject = field(row, "question", str, where), field(row, "category", str, where)
    return Question(f"mmlu_pro-{number}", "mmlu", "train", text, tuple(choices), choices.index(gold), subject)
