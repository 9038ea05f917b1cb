"""Token sequences packed as trees behind a cached prefix, for fast evaluation on a CPU (no section of the paper).

On a CPU the time goes with the number of tokens computed, so no token is computed twice and none is padding.
A few-shot prefix that many requests share is run once and its keys and values are kept. What follows is packed as
a tree into one row: requests that start alike (the choices of a question, the questions of a paragraph) share those
tokens, and a mask lets a token see its ancestors only.
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import DynamicCache, PreTrainedModel

from dskd_utils.evaluate.relatives import Relatives

PACK_TOKENS = 512  # new tokens a forward pass: enough to fill the matrix units, little attention to masked tokens
Ids = Sequence[int]


class Pack(NamedTuple):
    """A forest of token sequences in one row of n tokens.

    Attributes:
        ids: token of every node, int64 (n,).
        depth: position of every node in its own sequence, from 0, int64 (n,).
        allowed: `allowed[i, j]` where node j is node i or an ancestor of it, bool (n, n).
        paths: for every sequence the nodes of its tokens.
        members: for every sequence its place in the list that was packed.
    """

    ids: np.ndarray
    depth: np.ndarray
    allowed: np.ndarray
    paths: list[list[int]]
    members: list[int]


def pack_sequences(sequences: Sequence[Ids], tokens: int = PACK_TOKENS) -> Iterator[Pack]:
    """Merge token sequences into packs of at most `tokens` nodes, a longer sequence in a pack of its own.

    Sequences are taken in lexical order, so that those with a common start meet in one pack.
    """
    children: dict[tuple[int, int], int] = {}
    nodes: list[tuple[int, int, int]] = []  # token, parent, depth
    paths: list[list[int]] = []
    members: list[int] = []

    def finish() -> Pack:
        allowed = np.zeros((len(nodes), len(nodes)), dtype=bool)
        for i, (_, parent, _) in enumerate(nodes):
            if parent >= 0:
                allowed[i] = allowed[parent]
            allowed[i, i] = True
        ids = np.array([token for token, _, _ in nodes], dtype=np.int64)
        depth = np.array([d for _, _, d in nodes], dtype=np.int64)
        return Pack(ids, depth, allowed, paths, members)

    for member in sorted(range(len(sequences)), key=lambda i: list(sequences[i])):
        sequence = sequences[member]
        shared, parent = 0, -1
        while shared < len(sequence) and (parent, sequence[shared]) in children:
            parent = children[parent, sequence[shared]]
            shared += 1
        if nodes and len(nodes) + len(sequence) - shared > tokens:
            yield finish()
            children, nodes, paths, members = {}, [], [], []
        path, parent = [], -1
        for position, token in enumerate(sequence):
            node = children.get((parent, token))
            if node is None:
                node = children[parent, token] = len(nodes)
                nodes.append((token, parent, position))
            path.append(node)
            parent = node
        paths.append(path)
        members.append(member)
    if nodes:
        yield finish()


def _attention_kinds(model: PreTrainedModel) -> set[str]:
    config = model.config.get_text_config()
    if kinds := getattr(config, "layer_types", None):
        return set(kinds)
    return {"sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"}


def can_pack(model: PreTrainedModel) -> bool:
    """Whether packing is exact for the model: full or sliding attention through a kernel that takes any mask."""
    kernel = getattr(model.config.get_text_config(), "_attn_implementation", None)
    places = "position_ids" in inspect.signature(model.base_model.forward).parameters  # not so with ALiBi
    kinds = _attention_kinds(model)
    return places and kernel in {"sdpa", "eager"} and kinds <= {"full_attention", "sliding_attention"}


def additive_mask(model: PreTrainedModel, allowed: np.ndarray, queries: np.ndarray, keys: np.ndarray):
    """Additive masks (1, 1, q, k) for the model's kinds of layer, from who may see whom and the positions."""
    config = model.config.get_text_config()

    def additive(seen: np.ndarray) -> torch.Tensor:
        seen = torch.from_numpy(seen).to(model.device)
        mask = torch.zeros(seen.shape, dtype=model.dtype, device=model.device)
        return mask.masked_fill_(~seen, torch.finfo(model.dtype).min)[None, None]

    masks = {"full_attention": additive(allowed)}
    kinds = _attention_kinds(model)
    if "sliding_attention" in kinds:
        near = queries[:, None] - keys[None, :] < config.sliding_window
        masks["sliding_attention"] = additive(allowed & near)
    # One kind: the model's own mask function passes a 4-D mask on. Two: it takes a dict, one mask a kind.
    return masks[next(iter(kinds))] if len(kinds) == 1 else masks


def forward(
    model: PreTrainedModel, ids: np.ndarray, positions: np.ndarray, mask, cache: DynamicCache | None
) -> torch.Tensor:
    """Final hidden states (n, d) of one packed row; `cache`, where given, grows by the row's keys and values."""
    out = model.base_model(
        input_ids=torch.from_numpy(ids).to(model.device)[None],
        position_ids=torch.from_numpy(positions).to(model.device)[None],
        attention_mask=mask,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return out.last_hidden_state[0]


def _row(
    models: Relatives,
    ids: np.ndarray,
    positions: np.ndarray,
    allowed: np.ndarray,
    keys: np.ndarray,
    caches: list[DynamicCache],
) -> list[torch.Tensor]:
    """Final hidden states (n, d) of every model for one packed row; the caches grow by its keys and values."""
    own = [top or model for top, model in zip(models.tops, models.models, strict=True)]
    masks = [additive_mask(model, allowed, positions, keys) for model in own]
    row, places = torch.from_numpy(ids)[None], torch.from_numpy(positions)[None]
    return [states[0] for states in models.states(row, places, masks, caches)]


def _prefix_caches(models: Relatives, prefix: Ids) -> list[DynamicCache]:
    """Keys and values of a prefix, in layers that keep all positions whatever the window (the masks apply it)."""
    caches = [DynamicCache() for _ in models.models]
    if len(prefix):
        positions = np.arange(len(prefix))
        seen = positions[:, None] >= positions[None, :]
        _row(models, np.asarray(prefix, dtype=np.int64), positions, seen, positions, caches)
    return caches


def _run_pack(models: Relatives, pack: Pack, prefix_length: int, caches: list[DynamicCache]) -> list[torch.Tensor]:
    positions = prefix_length + pack.depth
    allowed = np.concatenate([np.ones((len(positions), prefix_length), dtype=bool), pack.allowed], axis=1)
    keys = np.concatenate([np.arange(prefix_length), positions])
    return _row(models, pack.ids, positions, allowed, keys, caches)


def _copy(cache: DynamicCache) -> DynamicCache:
    # Copied, so that the prefix's own tensors stay as they are while the copy grows.
    return DynamicCache([(layer.keys, layer.values) for layer in cache.layers])


def run_packs(
    models: Relatives, prefixes: Sequence[Ids], sequences: Sequence[Ids], tokens: int, desc: str
) -> Iterator[tuple[Pack, list[int], list[torch.Tensor], list[DynamicCache], int]]:
    """Run all sequences prefix by prefix, every pack through all models before the next.

    Yields:
        a pack, the requests in it, for every model its states (n, d) and its grown cache as `Relatives.states` has
        them, and the length of the prefix.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, (prefix, sequence) in enumerate(zip(prefixes, sequences, strict=True)):
        if not len(sequence):
            raise ValueError("a request has no token after its prefix: leave at least one token to the context")
        groups.setdefault(tuple(prefix), []).append(i)
    # Tokens, not requests: the longest questions come together, and a count of them would promise too early an end.
    tokens_of = {"total": sum(map(len, sequences)), "unit": "tok", "unit_scale": True}
    with tqdm(desc=desc, delay=5, leave=False, **tokens_of) as bar:
        for prefix, members in groups.items():
            caches = _prefix_caches(models, prefix)
            for pack in pack_sequences([sequences[i] for i in members], tokens):
                grown = [_copy(cache) for cache in caches]
                states = _run_pack(models, pack, len(prefix), grown)
                yield pack, [members[m] for m in pack.members], states, grown, len(prefix)
                bar.update(sum(map(len, pack.paths)))
