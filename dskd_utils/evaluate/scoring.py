"""Log-probabilities and greedy answers of plain Hugging Face models (paper section 5, all tables).

The requests run through `packing`, which computes shared tokens once; the head is applied only at the positions
that are asked for. `plain=True` is the slow path, one request at a time, that the fast one is tested against.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from dskd_utils.evaluate.packing import PACK_TOKENS, Ids, additive_mask, can_pack, forward, run_packs

logger = logging.getLogger(__name__)

HEAD_ROWS = 256  # rows of logits at a time: 50 MB in fp32 at a vocabulary of 49,152
Request = tuple[Ids, Ids, Ids]


def head_logits(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """Logits (n, v) in fp32 of final hidden states (n, d), with the softcap or scale that the architecture applies."""
    logits = model.get_output_embeddings()(states)
    config = model.config.get_text_config()
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    logits = logits * getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)  # Cohere, Granite
    return logits.float()


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


def _use_plain(model: PreTrainedModel, plain: bool) -> bool:
    if not plain and not can_pack(model):
        logger.warning("%s cannot be packed: scored one request at a time, the slow way", type(model).__name__)
        return True
    return plain


def continuation_logprobs(
    model: PreTrainedModel, requests: Sequence[Request], *, tokens: int = PACK_TOKENS, plain: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability in nats of every continuation after its prefix and context, and its number of tokens.

    Args:
        model: any decoder of transformers.
        requests: (prefix ids, context ids, continuation ids); equal prefixes are computed once; context and
            continuation hold at least one token each.
        tokens: new tokens a forward pass.
        plain: one request at a time, all tokens, all logits: the slow path that the fast one is tested against.

    Returns:
        Sums float64 (r,) and counts int64 (r,), in the order of the requests.

    Raises:
        ValueError: an empty context or continuation.
    """
    if any(not len(context) or not len(continuation) for _, context, continuation in requests):
        raise ValueError("a request has an empty context or continuation: both need at least one token")
    sums = np.zeros(len(requests))
    counts = np.array([len(continuation) for _, _, continuation in requests], dtype=np.int64)
    with scoring_mode(model):
        if _use_plain(model, plain):
            for r, (prefix, context, continuation) in enumerate(requests):
                logits = _plain_logits(model, [*prefix, *context, *continuation])[-len(continuation) - 1 : -1]
                targets = torch.tensor(continuation, device=logits.device)
                sums[r] = logits.log_softmax(-1).gather(1, targets[:, None]).double().sum().item()
            return sums, counts
        sequences = [[*context, *continuation[:-1]] for _, context, continuation in requests]
        for pack, members, states, _, _ in run_packs(
            model, [r[0] for r in requests], sequences, tokens, "continuations"
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
                logprobs = head_logits(model, states[torch.from_numpy(chunk).to(states.device)]).log_softmax(-1)
                here = (row >= start) & (row < start + len(chunk))
                picked = logprobs[torch.from_numpy(row[here] - start), torch.from_numpy(targets[here])]
                np.add.at(sums, owners[here], picked.double().cpu().numpy())
    return sums, counts


def _plain_logits(model: PreTrainedModel, ids: Ids) -> torch.Tensor:
    return model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0].float()


def label_logprobs(
    model: PreTrainedModel,
    prompts: Sequence[tuple[Ids, Ids]],
    labels: Ids,
    *,
    tokens: int = PACK_TOKENS,
    plain: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability in nats of every label token after every prompt, and the most probable token of all.

    Args:
        model: any decoder of transformers.
        prompts: (prefix ids, context ids), the context not empty.
        labels: token ids of the l labels.
        tokens: new tokens a forward pass.
        plain: one prompt at a time, all logits.

    Returns:
        Log-probabilities over the whole vocabulary, float64 (r, l), and the argmax token ids, int64 (r,).
    """
    scores, best = np.zeros((len(prompts), len(labels))), np.zeros(len(prompts), dtype=np.int64)
    labels = torch.tensor(list(labels), device=model.device)

    def read(logits: torch.Tensor, rows) -> None:
        scores[rows] = logits.log_softmax(-1)[:, labels].double().cpu().numpy()
        best[rows] = logits.argmax(-1).cpu().numpy()

    with scoring_mode(model):
        if _use_plain(model, plain):
            for r, (prefix, context) in enumerate(prompts):
                read(_plain_logits(model, [*prefix, *context])[-1:], [r])
            return scores, best
        prefixes, contexts = [p[0] for p in prompts], [p[1] for p in prompts]
        for pack, members, states, _, _ in run_packs(model, prefixes, contexts, tokens, "labels"):
            last = torch.tensor([path[-1] for path in pack.paths], device=states.device)
            for start in range(0, len(last), HEAD_ROWS):
                logits = head_logits(model, states[last[start : start + HEAD_ROWS]])
                read(logits, members[start : start + HEAD_ROWS])
    return scores, best


def greedy(
    model: PreTrainedModel,
    prompts: Sequence[tuple[Ids, Ids]],
    stop: Callable[[list[int]], bool],
    *,
    max_new_tokens: int,
    tokens: int = PACK_TOKENS,
    plain: bool = False,
) -> list[list[int]]:
    """Most probable next token again and again, all prompts of a pack in step, until `stop` or the limit.

    Args:
        model: any decoder of transformers.
        prompts: (prefix ids, context ids), the context not empty.
        stop: told the tokens generated so far for a prompt, says whether it is finished.
        max_new_tokens: at most so many tokens a prompt, at least 1.
        tokens: new tokens a forward pass over the prompts.
        plain: one prompt at a time, the whole text again for every token.

    Returns:
        The generated token ids of every prompt, with the one that stopped it.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    with scoring_mode(model):
        if _use_plain(model, plain):
            for answer, (prefix, context) in zip(answers, prompts, strict=True):
                while len(answer) < max_new_tokens and not (answer and stop(answer)):
                    answer.append(_plain_logits(model, [*prefix, *context, *answer])[-1].argmax().item())
            return answers
        prefixes, contexts = [p[0] for p in prompts], [p[1] for p in prompts]
        for pack, members, states, cache, prefix_length in run_packs(model, prefixes, contexts, tokens, "answers"):
            leaves = np.array([path[-1] for path in pack.paths])
            seen = np.concatenate([np.ones((len(leaves), prefix_length), dtype=bool), pack.allowed[leaves]], axis=1)
            keys = np.concatenate([np.arange(prefix_length), prefix_length + pack.depth])
            states, active = states[torch.from_numpy(leaves).to(states.device)], np.arange(len(leaves))
            for step in range(max_new_tokens):
                chosen = head_logits(model, states).argmax(-1).cpu().numpy()
                for a, token in zip(active, chosen, strict=True):
                    answers[members[a]].append(int(token))
                going = np.array([not stop(answers[members[a]]) for a in active], dtype=bool)
                active = active[going]
                if step + 1 == max_new_tokens or not len(active):
                    break
                positions = prefix_length + pack.depth[leaves[active]] + 1 + step
                own = np.zeros((len(leaves), len(active)), dtype=bool)
                own[active, np.arange(len(active))] = True
                seen, keys = np.concatenate([seen, own], axis=1), np.concatenate([keys, positions])
                mask = additive_mask(model, seen[active], positions, keys)
                states = forward(model, chosen[going], positions, mask, cache)
    return answers
