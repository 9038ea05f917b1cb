"""What a model answers to benchmark prompts: a letter, a choice, words of a passage (paper, section 5.2)."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.special import log_softmax

from dskd_utils.evaluate.prompts import Prompt, requests
from dskd_utils.evaluate.scoring import continuation_logprobs, greedy, label_logprobs
from dskd_utils.evaluate.squad import exact_match, f1_score, read_answer
from dskd_utils.sources.conversations import LETTERS, label_tokens

ANSWER_TOKENS = 24  # most tokens of a generated answer
PADDING = 1024  # embedding rows by which models of one tokenizer may differ


def check_vocabularies(models: Mapping[str, Any], tokenizer: Any) -> None:
    """Refuse models that cannot all be of the tokenizer.

    Args:
        models: name -> causal language model.
        tokenizer: the one that all are to share.

    Raises:
        ValueError: a model has too few embedding rows, or two differ by more than padding.
    """
    rows = {name: model.get_input_embeddings().weight.shape[0] for name, model in models.items()}
    few, many = min(rows, key=rows.__getitem__), max(rows, key=rows.__getitem__)
    largest = max(tokenizer.get_vocab().values())
    if rows[few] < largest:  # Gemma 3's models of text alone have no row for their tokenizer's last token, of images
        raise ValueError(
            f"model {few!r} has {rows[few]} embedding rows and the tokenizer ids up to {largest}: give its tokenizer"
        )
    if rows[many] - rows[few] > PADDING:
        raise ValueError(
            f"models {few!r} and {many!r} have {rows[few]} and {rows[many]} embedding rows: "
            "evaluate models of one tokenizer together"
        )


def choose(
    models: Sequence[Any], tokenizer: Any, prompts: Sequence[Prompt], protocol: str, *, plain: bool = False
) -> list[list[dict[str, Any]]]:
    """What models choose: for each one record a prompt, its metrics (0.0 or 1.0, and nats) among them.

    Args:
        models: causal language models.
        tokenizer: the one the prompts were made with.
        prompts: of choice questions, from `build_prompts` with the same protocol.
        protocol: `"paper"`, the letter after the prompt, or `"likelihood"`, the choice's own words.
        plain: one request at a time, without any reuse.

    Raises:
        ValueError: `paper`, and the tokenizer does not write the letters as distinct single tokens.
    """
    made, owners = requests(prompts)
    if protocol == "paper":
        labels = label_tokens(tokenizer, max(len(p.question.choices) for p in prompts))
        scores, best = label_logprobs(models, [(prefix, ids) for prefix, ids, _ in made], labels, plain=plain)
    else:
        sums, _ = continuation_logprobs(models, made, plain=plain)
    found: list[list[dict[str, Any]]] = [[] for _ in models]
    for (m, of_model), (i, prompt) in product(enumerate(found), enumerate(prompts)):
        q = prompt.question
        own = scores[m, i, : len(q.choices)] if protocol == "paper" else sums[m, owners == i]
        chosen = int(own.argmax())
        record = {"prediction": LETTERS[chosen], "gold": LETTERS[q.answer], "correct": chosen == q.answer}
        record["acc"] = float(chosen == q.answer)
        if protocol == "paper":
            record["exact_first"] = float(best[m, i] == labels[q.answer])
        else:
            characters = [max(len(choice), 1) for choice in q.choices]
            record["acc_norm"] = float((own / characters).argmax() == q.answer)
        record |= {"gold_logprob": float(log_softmax(own)[q.answer]), "gold_nats": float(own[q.answer])}
        of_model.append(record | {"scores": own.tolist()})
    return found


def answer_passages(
    models: Sequence[Any], tokenizer: Any, prompts: Sequence[Prompt], *, plain: bool = False
) -> list[list[dict[str, Any]]]:
    """What models answer from SQuAD's paragraphs: for each a record a prompt, HasAns and NoAns NaN for the other kind.

    Greedy, up to the end of the turn, the end of the first line or `ANSWER_TOKENS` tokens.

    Args:
        models: causal language models.
        tokenizer: the one the prompts were made with.
        prompts: of SQuAD questions, from `build_prompts` with the protocol `paper`.
        plain: one prompt at a time, without any reuse.
    """
    ends = {tokenizer.eos_token_id}
    for model in models:
        own = getattr(model.generation_config, "eos_token_id", None)
        ends |= set(own if isinstance(own, list) else [own])

    def finished(ids: list[int]) -> bool:
        return ids[-1] in ends or "\n" in tokenizer.decode(ids, skip_special_tokens=True).lstrip()

    asked = [(prefix, context) for prefix, context, _ in requests(prompts)[0]]
    answers = greedy(models, asked, finished, max_new_tokens=ANSWER_TOKENS, plain=plain)
    return [[_read(tokenizer, p, ids, ends) for p, ids in zip(prompts, own, strict=True)] for own in answers]


def _read(tokenizer: Any, prompt: Prompt, ids: list[int], ends: set[int]) -> dict[str, Any]:
    """The record of one generated answer."""
    ids = ids[:-1] if ids[-1] in ends else ids
    text, gold = read_answer(tokenizer.decode(ids, skip_special_tokens=True)), prompt.question.answers
    exact, f1 = exact_match(text, gold), f1_score(text, gold)
    record = {"prediction": text, "gold": gold[0] if gold else "", "correct": bool(exact), "exact": exact, "f1": f1}
    for kind, here in (("HasAns", bool(gold)), ("NoAns", not gold)):
        record |= {f"{kind}_exact": exact if here else np.nan, f"{kind}_f1": f1 if here else np.nan}
    return record
