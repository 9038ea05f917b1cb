"""Choice questions as conversations in the benchmarks' own form, answered right or by the teacher (paper, section 5.2).

A conversation of several questions is few-shot for all but its first: each answer follows the questions and answers
before it. Every question is read once, where a prompt of its own for each would read its exemplars again.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from string import ascii_uppercase as LETTERS  # noqa: N812
from typing import Any

import torch
from tqdm.auto import tqdm

from dskd_utils.sources.packing import first_token
from dskd_utils.sources.tasks import NO_ANSWER, Question
from dskd_utils.sources.teachers import Teacher
from dskd_utils.sources.wikipedia import Document

INSTRUCTION = "Answer each question with the letter of the right choice."
PASSAGE_INSTRUCTION = f'Answer with the fewest words from the passage, or with "{NO_ANSWER}" where it does not say.'

Answers = Callable[[Sequence[Sequence[Question]]], list[list[str]]]


def choice_turn(question: Question) -> str:
    """A question and its lettered choices, up to where the letter is to stand."""
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=False)]
    return "\n".join([f"Question: {question.question}", *lines, "Answer:"])


def asked_turns(questions: Sequence[Question]) -> list[str]:
    """What is asked in a conversation of these questions, the instruction (and SQuAD's paragraph) in the first turn."""
    if questions[0].task == "squad2":
        asked = [f"Question: {question.question}\nAnswer:" for question in questions]
        return [f"{PASSAGE_INSTRUCTION}\n\nPassage: {questions[0].context}\n\n{asked[0]}", *asked[1:]]
    asked = [choice_turn(question) for question in questions]
    return [f"{INSTRUCTION}\n\n{asked[0]}", *asked[1:]]


def right_answer(question: Question) -> str:
    """The letter of the right choice, or the words of SQuAD's first answer.

    Raises:
        ValueError: the question has no gold choice.
    """
    if question.task == "squad2":
        return question.answers[0] if question.answers else NO_ANSWER
    if question.answer is None:
        raise ValueError(f"{question.task} {question.id} has no gold choice: take a split with published answers")
    return LETTERS[question.answer]


def conversation(tokenizer: Any, turns: Sequence[tuple[str, str]], last: str, answer: str | None = None) -> str:
    """A conversation as text up to where the model is to answer, or with its answer."""
    if not tokenizer.chat_template:
        parts = [f"{asked} {said}" for asked, said in turns] + [last if answer is None else f"{last} {answer}"]
        return "\n\n".join(parts)
    messages = []
    for asked, said in [*turns, (last, answer)]:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    if answer is None:
        messages.pop()
    # Templates of models that think aloud read `enable_thinking`; the others do not know it.
    return tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=answer is None, enable_thinking=False
    )


def encode(tokenizer: Any, texts: Sequence[str], start: Sequence[int]) -> list[list[int]]:
    """Token ids of each text behind those of `start`."""
    ids = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    return [[*start, *one] for one in ids]


def label_tokens(tokenizer: Any, count: int) -> list[int]:
    """Token ids of the first `count` letters where a model starts its answer.

    Raises:
        ValueError: the letters are not single, distinct tokens there.
    """
    start = [] if tokenizer.chat_template else first_token(tokenizer)
    asked = "Question: ?\nAnswer:"
    texts = [conversation(tokenizer, [], asked, answer) for answer in (None, *LETTERS[:count])]
    prompt, *answered = encode(tokenizer, texts, start)
    # Read off answered conversations, since some templates and tokenizers put the letter in a token with a space.
    inside = [ids[len(prompt)] for ids in answered if ids[: len(prompt)] == prompt and len(ids) > len(prompt)]
    alone = [ids[-1] for ids in encode(tokenizer, LETTERS[:count], [])]
    for labels in (inside, alone):
        if len(set(labels)) == count:
            return labels
    raise ValueError(f"the tokenizer does not write the letters A to {LETTERS[count - 1]} as distinct single tokens")


def solved(tokenizer: Any, questions: Sequence[Question], letters: Sequence[str]) -> str:
    """A conversation in which every question is answered with its letter."""
    *before, last = zip(asked_turns(questions), letters, strict=True)
    return conversation(tokenizer, before, *last)


def gold_answers(groups: Sequence[Sequence[Question]]) -> list[list[str]]:
    """The right answers; raises as `right_answer`."""
    return [[right_answer(question) for question in group] for group in groups]


def conversations(tokenizer: Any, questions: Sequence[Question], shots: int) -> dict[Document, list[Question]]:
    """Conversations of `shots + 1` questions of one task in the given order, answered right, and what each asks.

    For SQuAD two questions of one paragraph, whose context is equal; more of a paragraph's are left out.

    Raises:
        ValueError: a negative number of shots; a question without a gold choice.
    """
    if shots < 0:
        raise ValueError(f"shots is {shots}, expected 0 or more")
    runs = [list(run) for _, run in groupby(questions, key=lambda question: (question.task, question.context))]
    groups = []
    for run in runs:
        squad = run[0].task == "squad2"
        size, last = (min(shots, 1) + 1, 1) if squad else (shots + 1, len(run))
        groups += [run[i : i + size] for i in range(0, last, size)]
    return {
        Document(group[0].task, group[0].id, solved(tokenizer, group, letters)): group
        for group, letters in zip(groups, gold_answers(groups), strict=True)
    }


def answered_by(
    tokenizer: Any, documents: Sequence[Document], asked: dict[Document, list[Question]], answers: Answers
) -> tuple[list[Document], dict[str, int]]:
    """The documents with other letters in their conversations; how many questions there are and how many are right.

    SQuAD's answers, which are words, stay as they are.
    """
    asked = {document: group for document, group in asked.items() if group[0].choices}
    groups = [asked[document] for document in documents if document in asked]
    letters = answers(groups)
    again = iter(zip(groups, letters, strict=True))
    changed = [
        Document(document.source, document.title, solved(tokenizer, *next(again))) if document in asked else document
        for document in documents
    ]
    said, right = ([one for group in each for one in group] for each in (letters, gold_answers(groups)))
    return changed, {"questions": len(said), "right": sum(map(str.__eq__, said, right))}


@torch.no_grad()
def teacher_answers(teacher: Teacher, groups: Sequence[Sequence[Question]]) -> list[list[str]]:
    """The letter that the teacher finds most probable for each question, the right ones before it shown (NOTES 15).

    One forward pass a conversation; where a template writes a turn in another way once it is past, one a question.
    """
    tokenizer, head = teacher.tokenizer, teacher.model.get_output_embeddings()
    start = [] if tokenizer.chat_template else first_token(tokenizer)
    labels = torch.tensor(label_tokens(tokenizer, max((len(q.choices) for group in groups for q in group), default=1)))
    found = []
    for group, letters in zip(tqdm(groups, desc="teacher's answers"), gold_answers(groups), strict=True):
        turns = list(zip(asked_turns(group), letters, strict=True))
        prompts = encode(tokenizer, [conversation(tokenizer, turns[:i], turns[i][0]) for i in range(len(turns))], start)
        nested = all(prompts[-1][: len(prompt)] == prompt for prompt in prompts)
        rows = [prompts[-1]] if nested else prompts
        places = [[len(prompt) - 1 for prompt in prompts]] if nested else [[-1] for _ in prompts]
        states = []
        for row, at in zip(rows, places, strict=True):
            ids = torch.tensor([row], device=head.weight.device)
            states.append(teacher.model.model(ids, use_cache=False).last_hidden_state[0, at])
        scores = torch.cat(states).float() @ head.weight[labels].float().T  # in bf16 letters would tie
        best = [int(score[: len(question.choices)].argmax()) for score, question in zip(scores, group, strict=True)]
        found.append([LETTERS[place] for place in best])
    return found
