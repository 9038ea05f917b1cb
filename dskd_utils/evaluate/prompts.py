"""Prompts of the benchmarks as token ids: 5-shot, and 1-shot from the same paragraph for SQuAD (paper, section 5.2).

Two protocols. `paper`: a conversation (the tokenizer's chat template, else plain text) in which every exemplar is a
turn, with lettered choices. `likelihood`: plain text, the choices' own words as continuations. A prompt is always
tokenised as one whole text and the prefix it shares with others is found on the ids, so sharing changes no token.
"""

import os.path
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dskd_utils.sources.conversations import asked_turns, conversation, encode, right_answer
from dskd_utils.sources.packing import first_token
from dskd_utils.sources.tasks import Question


@dataclass(frozen=True)
class Prompt:
    """A question ready to be scored.

    Attributes:
        question: what is asked.
        exemplars: ids of the questions shown before it; prompts with the same exemplars share a prefix.
        pairs: (context ids, continuation ids), one a choice for `likelihood`, else one with no continuation.
        truncated: whether exemplars, or the start of the question itself, were left out to fit the model's context.
    """

    question: Question
    exemplars: tuple[str, ...]
    pairs: list[tuple[list[int], list[int]]]
    truncated: bool


def task_rng(task: str, seed: int) -> np.random.Generator:
    """A generator of its own for every task and seed, the same on every machine."""
    return np.random.default_rng([seed, zlib.crc32(task.encode())])


def _same(a: Question, b: Question) -> bool:
    return (a.question, a.choices, a.context) == (b.question, b.choices, b.context)


def choose_exemplars(
    task: str, questions: Sequence[Question], pool: Sequence[Question], shots: int, seed: int = 0
) -> list[list[Question]]:
    """The exemplars of every question, never the question itself.

    MMLU takes the first `shots` rows of the subject in `pool` (its dev split, five a subject), SQuAD at most one
    question of the same paragraph, every other task one seeded draw for all its questions.

    Raises:
        ValueError: a negative number of shots; a pool too small; an MMLU subject without rows in the pool.
    """
    if shots < 0:
        raise ValueError(f"shots is {shots}, expected 0 or more")
    if shots == 0:
        return [[] for _ in questions]
    rng = task_rng(task, seed)
    if task in {"mmlu", "squad2"}:
        groups: dict[str | None, list[Question]] = {}
        for candidate in pool:
            groups.setdefault(candidate.subject if task == "mmlu" else candidate.context, []).append(candidate)
        if task == "squad2":
            shots = 1
            groups = {context: [group[i] for i in rng.permutation(len(group))] for context, group in groups.items()}
        keys = [q.subject if task == "mmlu" else q.context for q in questions]
        if missing := sorted({str(key)[:60] for key in keys if key not in groups}):
            raise ValueError(f"{task} has no exemplars for {missing[0]!r}: give the split that holds them or shots=0")
        candidates = [groups[key] for key in keys]
    else:
        if len(pool) <= shots:
            raise ValueError(f"{task} has {len(pool)} rows to draw {shots} exemplars from: use fewer shots")
        drawn = [pool[i] for i in rng.permutation(len(pool))[: shots + 1]]
        candidates = [drawn] * len(questions)
    return [[c for c in group if not _same(c, q)][:shots] for q, group in zip(questions, candidates, strict=True)]


def sample_questions(questions: Sequence[Question], limit: int | None, seed: int = 0) -> list[Question]:
    """A seeded sample of `limit` questions in their own order, each subject with its share; all where limit is None."""
    if limit is None or limit >= len(questions):
        return list(questions)
    rng = task_rng(questions[0].task, seed)
    subjects: dict[str | None, list[int]] = {}
    for place, question in enumerate(questions):
        subjects.setdefault(question.subject, []).append(place)
    ranks = np.empty(len(questions))
    for places in subjects.values():  # systematic sampling: a subject's questions stand evenly in [0, 1)
        ranks[rng.permutation(places)] = (np.arange(len(places)) + rng.random()) / len(places)
    return [questions[i] for i in np.sort(np.argsort(ranks, kind="stable")[:limit])]


def _paper_text(tokenizer: Any, question: Question, exemplars: Sequence[Question]) -> str:
    *before, last = asked_turns([*exemplars, question])
    return conversation(tokenizer, list(zip(before, map(right_answer, exemplars), strict=True)), last)


def _likelihood_text(question: Question, exemplars: Sequence[Question]) -> str:
    shown = [f"Question: {q.question}\nAnswer: {q.choices[q.answer]}" for q in exemplars]
    return "\n\n".join([*shown, f"Question: {question.question}\nAnswer:"])


def _pairs(
    tokenizer: Any, question: Question, exemplars: Sequence[Question], protocol: str
) -> list[tuple[list[int], list[int]]]:
    if protocol == "paper":
        start = [] if tokenizer.chat_template else first_token(tokenizer)  # a template writes its own start
        return [(encode(tokenizer, [_paper_text(tokenizer, question, exemplars)], start)[0], [])]
    text = _likelihood_text(question, exemplars)
    context, *whole = encode(tokenizer, [text, *(f"{text} {c}" for c in question.choices)], first_token(tokenizer))
    cuts = [min(len(context), len(ids) - 1) for ids in whole]  # a choice keeps a token where the boundary merges
    return [(ids[:cut], ids[cut:]) for ids, cut in zip(whole, cuts, strict=True)]


def build_prompts(
    tokenizer: Any,
    questions: Sequence[Question],
    exemplars: Sequence[Sequence[Question]],
    protocol: str,
    context_length: int,
) -> list[Prompt]:
    """Token ids of every question behind its exemplars.

    Args:
        tokenizer: the models' tokenizer.
        questions: what is asked.
        exemplars: for every question the ones shown before it, in order.
        protocol: `"paper"` or `"likelihood"`.
        context_length: most tokens a prompt may have, continuation included. A longer prompt loses its oldest
            exemplars; one that is too long without any loses the start of its own question.
    """
    prompts = []
    for question, shown in zip(questions, exemplars, strict=True):
        first = 0
        while True:
            pairs = _pairs(tokenizer, question, shown[first:], protocol)
            excess = max(len(context) + len(continuation) for context, continuation in pairs) - context_length
            if excess <= 0 or first == len(shown):
                break
            first += 1
        keys = tuple(e.id for e in shown[first:])
        if excess > 0:
            keys = ("cut", question.id)
            pairs = [(context[excess:] or context[-1:], continuation) for context, continuation in pairs]
        prompts.append(Prompt(question, keys, pairs, truncated=first > 0 or excess > 0))
    return prompts


def requests(prompts: Sequence[Prompt]) -> tuple[list[tuple[list[int], list[int], list[int]]], np.ndarray]:
    """(prefix, context, continuation) ids of all pairs, and the prompt (r,) that each belongs to.

    The prefix is what all prompts with the same exemplars begin with, short of each one's last token.
    """
    groups: dict[tuple[str, ...], list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.exemplars, []).append(prompt)
    lengths = {}
    for key, group in groups.items():
        contexts = [context for prompt in group for context, _ in prompt.pairs]
        shared = len(os.path.commonprefix(contexts)) if len(group) > 1 else 0
        lengths[key] = min(shared, min(map(len, contexts)) - 1)
    made, owners = [], []
    for owner, prompt in enumerate(prompts):
        cut = lengths[prompt.exemplars]
        made += [(context[:cut], context[cut:], continuation) for context, continuation in prompt.pairs]
        owners += [owner] * len(prompt.pairs)
    return made, np.array(owners, dtype=np.int64)
