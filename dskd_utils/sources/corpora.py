"""Training and held-out text: Wikipedia and task text, split by article, leak-free, packed (paper, section 3.1)."""

import itertools
import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dskd_utils.sources.assets import fetch
from dskd_utils.sources.conversations import Answers, answered_by, conversations
from dskd_utils.sources.leaks import leak_report, remove_leaks
from dskd_utils.sources.mmlu_pro import Filtered, mmlu_training
from dskd_utils.sources.packing import Packed, Piece, cut_pieces, fill_rows, pack, token_count
from dskd_utils.sources.tasks import (
    TRAIN_SHARE,
    Question,
    evaluation_documents,
    evaluation_questions,
    training_questions,
    training_text,
)
from dskd_utils.sources.wikipedia import (
    HELD_OUT,
    PARTS,
    Document,
    normalise_title,
    split_articles,
    wikipedia_dump,
    wikipedia_leads,
)

__all__ = [
    "Document",
    "Packed",
    "StudyText",
    "leak_report",
    "pack",
    "remove_leaks",
    "split_articles",
    "study_text",
    "wikipedia_dump",
    "wikipedia_leads",
]

logger = logging.getLogger(__name__)

_CHARACTERS_A_TOKEN = 8  # an upper estimate: how much text to read for a token budget
_MIN_CHARACTERS = 8_000_000  # read at least so much of a dump, so that small budgets sample many articles too
# Of an article validation and test take so many blocks, its first: positions of one article depend on each other, so
# many articles say more than as many tokens of a few long ones. Training text has its articles whole.
HELD_OUT_PIECES = 1
TASK_FORMATS = ("chat", "plain")
NO_MMLU = Filtered([], {})


@dataclass(frozen=True)
class StudyText:
    """What a study trains on and is judged on.

    `extra` is more text for the sense dictionary: documents like those of `train`, none of them in it. `facts` holds
    documents and tokens by part and source, what leak removal took away and why, and what could not be compared;
    `documents` the documents behind each part (those that were packed).
    """

    train: Packed
    validation: Packed
    test: Packed
    extra: Packed | None
    facts: dict[str, Any]
    documents: dict[str, list[Document]]


def study_text(
    tokenizer: Any,
    *,
    budget_wiki: int,
    budget_tasks: int,
    budget_heldout: int,
    budget_extra: int = 0,
    seed: int = 0,
    block: int = 512,
    source: str = "package",
    data_dir: str | Path | None = None,
    tasks: Sequence[str] = ("arc_challenge", "commonsense_qa", "piqa", "mmlu", "squad2"),
    dump: str | Path | None = None,
    leads: str | Path | None = None,
    task_format: str = "chat",
    shots: int = 5,
    answers: Answers | None = None,
    judged: Sequence[Document] = (),
) -> StudyText:
    """Wikipedia and task text for training, Wikipedia text for validation and test, none of it shared.

    Half of each Wikipedia budget is for the dump's articles, half for the leads; where one runs out the other fills
    in. Validation and test take at most `HELD_OUT_PIECES` blocks of an article. Training text is compared with the
    whole held-out articles and with the evaluation questions of ALL tasks that the source has, so that the choice of
    `tasks` never changes what is removed.

    Args:
        tokenizer: a Hugging Face tokenizer.
        budget_wiki: training tokens from Wikipedia.
        budget_tasks: training tokens from the tasks' train splits.
        budget_heldout: tokens of validation, and of test.
        budget_extra: tokens for the sense dictionary beside the training text: Wikipedia's, and where these run out
            the tasks'; none gives no extra text.
        seed: split, sample of the tasks, order.
        block: tokens a row.
        source, data_dir: as in `tasks.load_task`.
        tasks: the study's tasks; those with a train split are trained on, for MMLU what of MMLU-Pro is not MMLU's,
            where `data_dir` holds it.
        dump, leads: other files than those of `assets`.
        task_format: `"chat"`, conversations in the form in which the paper asks the benchmarks, or `"plain"`,
            a question and the words of its answer.
        shots: questions that stand before the last one of a conversation.
        answers: of the conversations that are trained on, the answers where they are not to be the right ones, such as
            `conversations.teacher_answers` of a teacher (NOTES 15).
        judged: further texts that students are judged on, which training text must not share either.

    Raises:
        ValueError: no text is left for a part; an unknown format; other answers in plain text.
        FileNotFoundError: a file of the sources is missing.
    """
    if task_format not in TASK_FORMATS:
        raise ValueError(f"task_format must be one of {', '.join(TASK_FORMATS)}: got {task_format!r}")
    if answers and task_format == "plain":
        raise ValueError("the teacher answers with a letter, in a conversation: set task_format to 'chat'")
    need = _CHARACTERS_A_TOKEN * (budget_wiki + budget_extra + round(2 * budget_heldout / HELD_OUT))
    articles = [
        *_until(wikipedia_dump(dump or fetch("wikipedia-dump")), max(need, _MIN_CHARACTERS)),
        *wikipedia_leads(leads or fetch("wikipedia-leads")),
    ]
    parts = split_articles(articles, seed=seed, held_out=HELD_OUT)
    questions, missing = evaluation_questions(tasks, source=source, data_dir=data_dir)
    evaluation = [*parts["validation"], *parts["test"], *evaluation_documents(questions), *judged]
    wanted = budget_tasks or budget_extra
    asked = training_questions(tasks, seed=seed, source=source, data_dir=data_dir) if wanted else []
    pro = mmlu_training(data_dir, source=source, seed=seed) if wanted and data_dir and "mmlu" in tasks else NO_MMLU
    asked += random.Random(f"{seed}/mmlu").sample(pro.questions, round(TRAIN_SHARE * len(pro.questions)))
    by_document = dict(zip(evaluation_documents(asked), asked, strict=True))
    kept, removed = without_siblings(*remove_leaks([*parts["train"], *by_document], evaluation), by_document)
    wikipedia = [document for document in kept if document not in by_document]
    clean = [by_document[document] for document in kept if document in by_document]
    task_texts = _task_texts(tokenizer, clean, task_format, shots)
    titles = {normalise_title(document.title) for document in evaluation}
    by_reason = Counter("title" if normalise_title(document.title) in titles else "words" for document in removed)

    facts: dict[str, Any] = {
        "read": dict(Counter(one.source for one in [*articles, *by_document])),
        "removed": {"title": by_reason["title"], "words": by_reason["words"]},
        "removed_by_source": dict(Counter(document.source for document in removed)),
        "not_compared": missing,
        "mmlu_pro": pro.facts,
    }
    packed: dict[str, Packed | None] = {}
    documents: dict[str, list[Document]] = {}
    for part in [*PARTS, "extra"]:
        budget = {"train": budget_wiki, "extra": budget_extra}.get(part, budget_heldout)
        if not budget and not (part == "train" and budget_tasks):
            packed[part], documents[part] = None, []
            continue
        seen = set(map(id, documents["train"])) if part == "extra" else set()
        found = [one for one in (wikipedia if part in ("train", "extra") else parts[part]) if id(one) not in seen]
        each = None if part in ("train", "extra") else HELD_OUT_PIECES
        chosen = _wikipedia_pieces(found, tokenizer, block, budget, seed, each)
        if part in ("train", "extra"):
            limit = budget_tasks if part == "train" else budget - sum(map(token_count, chosen.values()))
            others = [one for one in task_texts if id(one) not in seen]
            chosen["tasks"] = cut_pieces(others, tokenizer, block, limit, seed)
        used = {name: list(dict.fromkeys(piece.document for piece in pieces)) for name, pieces in chosen.items()}
        if answers and part == "train":
            again, facts["train answers"] = answered_by(tokenizer, used["tasks"], task_texts, answers)
            chosen["tasks"] = cut_pieces(again, tokenizer, block, limit, None)
        documents[part] = list(itertools.chain(*used.values()))
        pieces = list(itertools.chain(*chosen.values()))
        random.Random(seed).shuffle(pieces)
        packed[part] = fill_rows(pieces, tokenizer, block, seed)
        facts[part] = {
            name: {"documents": len(used[name]), "tokens": token_count(pieces)} for name, pieces in chosen.items()
        }
    logger.info("study text: %s", facts)
    return StudyText(**packed, facts=facts, documents=documents)


def without_siblings(
    kept: Sequence[Document], removed: Sequence[Document], questions: Mapping[Document, Question]
) -> tuple[list[Document], list[Document]]:
    """What `remove_leaks` gives, with all questions of a removed one's passage removed.

    A passage is compared once, in the document of its first question (`evaluation_documents`).
    """
    passages = {questions[one].context for one in removed if one in questions} - {None}
    siblings = {one for one in kept if one in questions and questions[one].context in passages}
    return [one for one in kept if one not in siblings], [*removed, *siblings]


def _task_texts(
    tokenizer: Any, questions: Sequence[Question], task_format: str, shots: int
) -> dict[Document, list[Question]]:
    """Training documents of the tasks and the questions of each."""
    if task_format == "chat":
        return conversations(tokenizer, questions, shots)
    return {Document(one.task, one.id, training_text(one)): [one] for one in questions}


def _until(documents: Iterable[Document], characters: int) -> Iterator[Document]:
    """Documents in order until they hold so many characters: a whole dump is never read for a small budget."""
    for document in documents:
        if characters <= 0:
            return
        characters -= len(document.text)
        yield document


def _wikipedia_pieces(
    documents: Sequence[Document], tokenizer: Any, block: int, budget: int, seed: int, each: int | None
) -> dict[str, list[Piece]]:
    """Pieces by sample, half of the budget each as far as there is text, at most `each` of a document."""
    samples = {name: [d for d in documents if d.source == name] for name in ("wikipedia-leads", "wikipedia-dump")}
    chosen = {
        name: cut_pieces(found, tokenizer, block, budget // 2, seed, each=each) for name, found in samples.items()
    }
    spent = {name: token_count(pieces) for name, pieces in chosen.items()}
    for name, other in itertools.permutations(samples):
        if spent[other] < budget // 2 - 1:
            chosen[name] = cut_pieces(samples[name], tokenizer, block, budget - spent[other], seed, each=each)
    return chosen
