"""Log-probabilities and greedy answers of plain Hugging Face models (paper section 5, all tables).

The requests run through `packing`, which computes shared tokens once, and through `relatives`, which computes shared
layers once; the head is applied only at the positions that are asked for. `plain=True` is the slow path, one model and
one request at a time, that the fast one is tested against.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from dskd_utils.evaluate.packing import PACK_TOKENS, Ids, Pack, additive_mask, can_pack, forward, run_packs
from dskd_utils.evaluate.relatives import relatives

logger = logging.getLogger(__name__)

HEAD_ROWS = 256  # rows of logits at a time: 50 MB in fp32 at a vocabulary of 49,152
HEAD_TOKENS = 4096  # tokens of a head that are cast to fp32 at a time: 9 MB at 576 dimensions, within a cache
HALF = (torch.bfloat16, torch.float16)
Request = tuple[Ids, Ids, Ids]


def _apply(head: torch.nn.Module, states: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """A head's logits (..., v) of states (..., d), in fp32 whatever the model is in.

    At logits of 16 bf16 knows steps of 1/8 alone: letters would tie, and the first of them would win.
    """
    if head.weight.dtype not in HALF:
        return head(states).float()
    states, weight = states.float(), head.weight if weight is None else weight
    logits = states.new_empty(*states.shape[:-1], len(weight))
    for start in range(0, len(weight), HEAD_TOKENS):
        part = slice(start, start + HEAD_TOKENS)
        logits[..., part] = states @ weight[part].float().T
    return logits if getattr(head, "bias", None) is None else logits + head.bias


def head_logits(model: PreTrainedModel, states: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Logits (n, v) in fp32 of final hidden states (n, d), with the softcap or scale that the architecture applies.

    Args:
        model: a decoder of transformers.
        states: behind its final norm, in its dtype.
        weight: the head's weights (v, d) in fp32, for many calls of few rows; else each casts a half-precision model's.
    """
    logits = _apply(model.get_output_embeddings(), states, weight)
    config = model.config.get_text_config()
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits * getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)  # Cohere, Granite


@contextlib.contextmanager
def scoring_mode(*models: PreTrainedModel) -> Iterator[None]:
    """No gradients, no dropout; the models' training flags are put back afterwards."""
    flags = [model.training for model in models]
    try:
        with torch.inference_mode():
            for model in models:
                model.eval()
            yield
    finally:
        for model, flag in zip(models, flags, strict=True):
            model.train(flag)


def _use_plain(models: Sequence[PreTrainedModel], plain: bool) -> bool:
    for model in models if not plain else ():
        if not can_pack(model):
            logger.warning("%s cannot be packed: scored one request at a time, the slow way", type(model).__name__)
            return True
    return plain


def continuation_logprobs(
    models: Sequence[PreTrainedModel], requests: Sequence[Request], *, tokens: int = PACK_TOKENS, plain: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability in nats of every continuation after its prefix and context, and its number of tokens.

    Args:
        models: decoders of transformers with one tokenizer; what they share is computed once.
        requests: (prefix ids, context ids, continuation ids); equal prefixes are computed once; context and
            continuation hold at least one token each.
        tokens: new tokens a forward pass.
        plain: one request at a time, all tokens, all logits: the slow path that the fast one is tested against.

    Returns:
        Sums float64 (m, r), a row a model, and counts int64 (r,), in the order of the requests.

    Raises:
        ValueError: an empty context or continuation.
    """
    if any(not len(context) or not len(continuation) for _, context, continuation in requests):
        raise ValueError("a request has an empty context or continuation: both need at least one token")
    sums = np.zeros((len(models), len(requests)))
    counts = np.array([len(continuation) for _, _, continuation in requests], dtype=np.int64)
    with scoring_mode(*models):
        if _use_plain(models, plain):
            for (m, model), (r, (prefix, context, continuation)) in product(enumerate(models), enumerate(requests)):
                logits = _plain_logits(model, [*prefix, *context, *continuation])[-len(continuation) - 1 : -1]
                targets = torch.tensor(continuation, device=logits.device)
                sums[m, r] = logits.log_softmax(-1).gather(1, targets[:, None]).double().sum().item()
            return sums, counts
        sequences = [[*context, *continuation[:-1]] for _, context, continuation in requests]
        for pack, members, states, _, _ in run_packs(
            relatives(models), [r[0] for r in requests], sequences, tokens, "continuations"
        ):
            # The last token of a context stands in several paths: its row of logits is computed once for all.
            wanted = [
                (node, target, r)
                for path, r in zip(pack.paths, members, strict=True)
                for node, target in zip(path[len(requests[r][1]) - 1 :], requests[r][2], strict=True)
            ]
            nodes, row = np.unique([node for node, _, _ in wanted], return_inverse=True)
            targets, owners = (np.array([w[i] for w in wanted]) for i in (1, 2))
            for start in range(0, len(nodes), HEAD_ROWS):
                chunk = nodes[start : start + HEAD_ROWS]
                here = (row >= start) & (row < start + len(chunk))
                wanted_rows, wanted_tokens = torch.from_numpy(row[here] - start), torch.from_numpy(targets[here])
                for model, of_model, own in zip(models, states, sums, strict=True):
                    logits = head_logits(model, of_model[torch.from_numpy(chunk).to(of_model.device)])
                    picked = logits.log_softmax(-1)[wanted_rows, wanted_tokens]
                    np.add.at(own, owners[here], picked.double().cpu().numpy())
    return sums, counts


def _plain_logits(model: PreTrainedModel, ids: Ids) -> torch.Tensor:
    """Logits (t, v) of a text by the model's own forward pass, but for a half-precision head, which is in fp32 too."""
    head = model.get_output_embeddings()
    with head.register_forward_hook(lambda _, args, out: _apply(head, *args) if head.weight.dtype in HALF else out):
        return model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0].float()


def label_logprobs(
    models: Sequence[PreTrainedModel],
    prompts: Sequence[tuple[Ids, Ids]],
    labels: Ids,
    *,
    tokens: int = PACK_TOKENS,
    plain: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability in nats of every label token after every prompt, and the most probable token of all.

    Args:
        models: decoders of transformers with one tokenizer; what they share is computed once.
        prompts: (prefix ids, context ids), the context not empty.
        labels: token ids of the l labels.
        tokens: new tokens a forward pass.
        plain: one prompt at a time, all logits.

    Returns:
        Log-probabilities over the whole vocabulary, float64 (m, r, l), a row a model, and the argmax token ids, int64
        (m, r).
    """
    shape = len(models), len(prompts)
    scores, best = np.zeros((*shape, len(labels))), np.zeros(shape, dtype=np.int64)
    labels = list(labels)

    def read(m: int, logits: torch.Tensor, rows) -> None:
        scores[m, rows] = logits.log_softmax(-1)[:, labels].double().cpu().numpy()
        best[m, rows] = logits.argmax(-1).cpu().numpy()

    with scoring_mode(*models):
        if _use_plain(models, plain):
            for (m, model), (r, (prefix, context)) in product(enumerate(models), enumerate(prompts)):
                read(m, _plain_logits(model, [*prefix, *context])[-1:], [r])
            return scores, best
        prefixes, contexts = [p[0] for p in prompts], [p[1] for p in prompts]
        for pack, members, states, _, _ in run_packs(relatives(models), prefixes, contexts, tokens, "labels"):
            last = torch.tensor([path[-1] for path in pack.paths])
            for start, (m, model) in product(range(0, len(last), HEAD_ROWS), enumerate(models)):
                rows = slice(start, start + HEAD_ROWS)
                read(m, head_logits(model, states[m][last[rows].to(states[m].device)]), members[rows])
    return scores, best


def greedy(
    models: Sequence[PreTrainedModel],
    prompts: Sequence[tuple[Ids, Ids]],
    stop: Callable[[list[int]], bool],
    *,
    max_new_tokens: int,
    tokens: int = PACK_TOKENS,
    plain: bool = False,
) -> list[list[int]]:
    """Most probable next token again and again, all prompts of a pack in step, until `stop` or the limit.

    Args:
        models: decoders of transformers with one tokenizer; what they share is computed once.
        prompts: (prefix ids, context ids), the context not empty.
        stop: told the tokens generated so far for a prompt, says whether it is finished.
        max_new_tokens: at most so many tokens a prompt, at least 1.
        tokens: new tokens a forward pass over the prompts.
        plain: one prompt at a time, the whole text again for every token.

    Returns:
        For every model the generated token ids of every prompt, with the one that stopped it.
    """
    answers: list[list[list[int]]] = [[[] for _ in prompts] for _ in models]
    with scoring_mode(*models):
        if _use_plain(models, plain):
            for model, own in zip(models, answers, strict=True):
                for answer, (prefix, context) in zip(own, prompts, strict=True):
                    while len(answer) < max_new_tokens and not (answer and stop(answer)):
                        answer.append(_plain_logits(model, [*prefix, *context, *answer])[-1].argmax().item())
            return answers
        family = relatives(models)
        prefixes, contexts = [p[0] for p in prompts], [p[1] for p in prompts]
        for pack, members, states, caches, prefix_length in run_packs(family, prefixes, contexts, tokens, "answers"):
            for m, model in enumerate(models):
                own = [answers[m][member] for member in members]
                cache = family.own_cache(m, caches)
                _continue(model, pack, states[m], cache, prefix_length, own, stop, max_new_tokens)
    return answers


def _continue(
    model: PreTrainedModel,
    pack: Pack,
    states: torch.Tensor,
    cache: DynamicCache,
    prefix_length: int,
    answers: list[list[int]],
    stop: Callable[[list[int]], bool],
    max_new_tokens: int,
) -> None:
    """Extend the answers to a pack's prompts, all in step; a finished one leaves the row."""
    leaves = np.array([path[-1] for path in pack.paths])
    seen = np.concatenate([np.ones((len(leaves), prefix_length), dtype=bool), pack.allowed[leaves]], axis=1)
    keys = np.concatenate([np.arange(prefix_length), prefix_length + pack.depth])
    states, active = states[torch.from_numpy(leaves).to(states.device)], np.arange(len(leaves))
    weight = model.get_output_embeddings().weight.float()  # cast once for all steps
    for step in range(max_new_tokens):
        chosen = head_logits(model, states, weight).argmax(-1).cpu().numpy()
        for a, token in zip(active, chosen, strict=True):
            answers[a].append(int(token))
        going = np.array([not stop(answers[a]) for a in active], dtype=bool)
        active = active[going]
        if step + 1 == max_new_tokens or not len(active):
            return
        positions = prefix_length + pack.depth[leaves[active]] + 1 + step
        own = np.zeros((len(leaves), len(active)), dtype=bool)
        own[active, np.arange(len(active))] = True
        seen, keys = np.concatenate([seen, own], axis=1), np.concatenate([keys, positions])
        mask = additive_mask(model, seen[active], positions, keys)
        states = forward(model, chosen[going], positions, mask, cache)
