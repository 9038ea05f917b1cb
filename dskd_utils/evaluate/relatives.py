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

from dskd_utils.distill.students import ARCHITECTURES, shallow_model
from dskd_utils.senses.hidden_states import layer_outputs

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
        found: dict[int, Tensor] = {}
        order = sorted(range(len(self.models)), key=lambda i: i != self.deepest)
        with layer_outputs(self.models[self.deepest].base_model, set(self.shared) - {0}) as kept:
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
    tops = [
        shallow_model(model.base_model, range(count, depth)) if count else None
        for model, count, depth in zip(models, shared, depths, strict=True)
    ]
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
