"""Models that begin alike, run together: the layers they share are computed once (paper, section 4.2).

A student keeps its teacher's first layers, so teacher, KD and DSKD differ in their last ones only. One pass of the
deepest model gives the state at which each of the others goes its own way; the rest of each reads it as
`inputs_embeds`. Models that do not begin alike are run one by one, with the same results.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from dskd_utils.distill.students import ARCHITECTURES, cut_config

# Settings in which models that compute the same layers may differ.
_OTHER = {"num_hidden_layers", "layer_types", "max_window_layers", "_name_or_path", "architectures", "dtype"}
_OTHER |= {"transformers_version", "tie_word_embeddings", "attention_dropout"}


class Relatives(NamedTuple):
    """Models of one tokenizer that are always run on the same tokens.

    Attributes:
        models: the models, in evaluation mode.
        deepest: which of them is run whole.
        shared: for each how many of its first layers are the deepest one's own, 0 for one that is run whole.
        tops: for each the layers behind these and the final norm as a shallow model, None for one that is run whole.
    """

    models: list[PreTrainedModel]
    deepest: int
    shared: list[int]
    tops: list[PreTrainedModel | None]

    def states(
        self, ids: Tensor, positions: Tensor, masks: Sequence[Any], caches: Sequence[DynamicCache | None] | None = None
    ) -> list[Tensor]:
        """States `(b, T, d)` after each model's final norm.

        Args:
            ids, positions: `(b, T)` int64.
            masks: for each model its attention mask, as the model takes it.
            caches: for each model what `own_cache` completes: keys and values of the layers that are run for it, which
                grow by those of `ids`. None keeps none.
        """
        caches = caches or [None] * len(self.models)
        deepest, kept = self.models[self.deepest], {}
        hooks = [
            deepest.base_model.layers[shared - 1].register_forward_hook(
                lambda _module, _inputs, output, shared=shared: kept.__setitem__(
                    shared, output[0] if isinstance(output, tuple) else output
                )
            )
            for shared in set(self.shared) - {0}
        ]
        found: dict[int, Tensor] = {}
        try:
            order = sorted(range(len(self.models)), key=lambda i: i != self.deepest)
            for i in order:
                top, device = self.tops[i], self.models[i].device
                read = {"input_ids": ids.to(device)} if top is None else {"inputs_embeds": kept[self.shared[i]]}
                out = (top or self.models[i].base_model)(
                    **read,
                    position_ids=positions.to(device),
                    attention_mask=masks[i],
                    past_key_values=caches[i],
                    use_cache=caches[i] is not None,
                )
                found[i] = out.last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        return [found[i] for i in range(len(self.models))]

    def own_cache(self, i: int, caches: Sequence[DynamicCache]) -> DynamicCache:
        """All of model i's keys and values: those of the shared layers are the deepest model's."""
        layers = [*caches[self.deepest].layers[: self.shared[i]], *caches[i].layers]
        return DynamicCache([(layer.keys, layer.values) for layer in layers])


def relatives(models: Sequence[PreTrainedModel]) -> Relatives:
    """Find what the models share, by comparing weights and settings.

    Raises:
        ValueError: no model.
    """
    if not models:
        raise ValueError("there is no model: give at least one")
    depths = [model.config.get_text_config().num_hidden_layers for model in models]
    deepest = depths.index(max(depths))
    shared = [0 if i == deepest else shared_layers(models[deepest], model) for i, model in enumerate(models)]
    tops = [_top(model, count) if count else None for model, count in zip(models, shared, strict=True)]
    return Relatives(list(models), deepest, shared, tops)


def shared_layers(deeper: PreTrainedModel, model: PreTrainedModel) -> int:
    """How many of a model's first layers are the deeper one's own, weight by weight; its last layer never counts.

    0 for architectures that no student can be made of, other settings, another device or data type, or other
    embeddings.
    """
    configs = [m.config.to_dict() for m in (deeper, model)]
    settings = [{name: value for name, value in c.items() if name not in _OTHER} for c in configs]
    same = type(deeper) is type(model) and deeper.dtype == model.dtype and deeper.device == model.device
    if not same or settings[0] != settings[1] or model.config.model_type not in ARCHITECTURES:
        return 0
    if not torch.equal(deeper.get_input_embeddings().weight, model.get_input_embeddings().weight):
        return 0
    kinds = [getattr(m.config, "layer_types", None) or [] for m in (deeper, model)]
    count = 0
    for ours, theirs in zip(deeper.base_model.layers, model.base_model.layers[:-1], strict=False):
        alike = [kind[count : count + 1] for kind in kinds]
        pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
        if alike[0] != alike[1] or not all(torch.equal(a, b) for a, b in pairs):
            break
        count += 1
    return count


def _top(model: PreTrainedModel, shared: int) -> PreTrainedModel:
    """A model's layers behind the shared ones and its final norm, which read states; the weights are the model's."""
    config = cut_config(model.config, tuple(range(shared, model.config.num_hidden_layers)))
    config.vocab_size, config.pad_token_id = 1, None  # it is fed states, not tokens
    top = type(model.base_model)(config)
    top.embed_tokens = None
    for own, layer in zip(top.layers, model.base_model.layers[shared:], strict=True):
        own.load_state_dict(layer.state_dict(), assign=True)
    top.norm.load_state_dict(model.base_model.norm.state_dict(), assign=True)
    return top.to(model.device).eval().requires_grad_(False)
