"""Students that share their frozen trunk with the teacher (paper, sections 4.2 and 5.1; NOTES 18).

A student's first layers are the teacher's own, so its trainable part is a shallow model of the same
architecture that reads the trunk's states as `inputs_embeds`. Nothing of the modelling code is copied.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel

from dskd_utils.sources.teachers import Teacher

ARCHITECTURES = {"llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3"}
INITS = ("next", "last", "spaced")


@dataclass(frozen=True)
class Student:
    """A student in training.

    Attributes:
        teacher: whose trunk, embeddings, final norm and head it shares.
        layers: the teacher's layers that the student starts from, in order.
        trainable_layers: how many of them, at the end, are trained.
        top: a model of the teacher's architecture that holds the trainable layers and the final norm.
    """

    teacher: Teacher
    layers: tuple[int, ...]
    trainable_layers: int
    top: PreTrainedModel

    @property
    def frozen_layers(self) -> int:
        """Layers of the trunk."""
        return len(self.layers) - self.trainable_layers

    def hidden(self, trunk: Tensor, positions: Tensor) -> Tensor:
        """States n_t `(b, T, d)` after the final norm, from the trunk's states `(b, T, d)`."""
        return self.top(inputs_embeds=trunk, position_ids=positions, use_cache=False).last_hidden_state

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained: those of the top layers, not the final norm."""
        return list(self.top.layers.parameters())

    def as_model(self) -> PreTrainedModel:
        """A plain Hugging Face causal language model with the trunk and the top, in evaluation mode."""
        source = self.teacher.model
        config = cut_config(source.config, self.layers)
        config.tie_word_embeddings = source.config.tie_word_embeddings
        model = type(source)(config)
        state = {name: value for name, value in source.state_dict().items() if ".layers." not in name}
        for place, layer in enumerate(source.model.layers[: self.frozen_layers]):
            state |= {f"model.layers.{place}.{name}": value for name, value in layer.state_dict().items()}
        for place, layer in enumerate(self.top.layers, start=self.frozen_layers):
            state |= {f"model.layers.{place}.{name}": value for name, value in layer.state_dict().items()}
        model.load_state_dict(state)
        return model.to(source.device, source.dtype).eval().requires_grad_(False)

    def export(self, folder: Path, card: Mapping[str, Any]) -> None:
        """Write a folder that `AutoModelForCausalLM.from_pretrained` opens, with tokenizer and model card.

        Args:
            folder: an existing folder.
            card: what the card states beside the teacher: losses, data, licence.
        """
        model = self.as_model()
        source = self.teacher.model.generation_config
        model.generation_config = copy.deepcopy(source) if source is not None else GenerationConfig()
        model.save_pretrained(folder)
        self.teacher.tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(_model_card(self, card), encoding="utf-8")


def check_architecture(name: str, family: str) -> None:
    """Refuse a teacher of another architecture than students can be made of.

    Raises:
        ValueError: names those that they can be.
    """
    if family not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ValueError(f"architecture {family!r} of teacher {name!r} is not supported: use one of {known}")


def make_student(
    teacher: Teacher,
    num_layers: int,
    trainable_layers: int = 2,
    init: str = "last",
    *,
    attention_dropout: float = 0.0,
) -> Student:
    """A student of `num_layers` layers: the teacher's first ones frozen, the last `trainable_layers` trained.

    Args:
        teacher: Llama, Mistral, Qwen2, Qwen3, Gemma-3 or Phi-3 family.
        num_layers: layers in all, L of section 5.1.
        trainable_layers: layers trained at the end.
        init: where these start from: `"next"` the layers right after the trunk (the paper's and the released
            code's reading), `"last"` the teacher's last layers, `"spaced"` evenly between trunk and end.
        attention_dropout: the released code trains with 0.1, the paper says nothing.

    Raises:
        ValueError: more layers than the teacher has, no trainable layer, an unknown init or architecture.
    """
    check_architecture(teacher.name, teacher.model.config.model_type)
    if not 1 <= num_layers <= teacher.num_layers:
        raise ValueError(
            f"a student of {num_layers} layers was asked, but teacher {teacher.name!r} has {teacher.num_layers}: "
            f"choose 1 to {teacher.num_layers}"
        )
    if not 1 <= trainable_layers <= num_layers:
        raise ValueError(f"trainable_layers must be 1 to {num_layers} (the student's layers): got {trainable_layers}")
    layers = starting_layers(teacher.num_layers, num_layers, trainable_layers, init)
    source = teacher.model.model
    top = copy.deepcopy(shallow_model(source, layers[num_layers - trainable_layers :], attention_dropout))
    top = top.to(torch.float32).requires_grad_(False)
    top.layers.requires_grad_(True)
    return Student(teacher, layers, trainable_layers, top)


def shallow_model(source: PreTrainedModel, layers: Sequence[int], attention_dropout: float = 0.0) -> PreTrainedModel:
    """The named layers of a model without head and its final norm, which read states `(b, T, d)` as `inputs_embeds`.

    The weights are the model's own, not copies.
    """
    config = cut_config(source.config, tuple(layers))
    # It is fed states, not tokens: one row stands for its embedding until it is dropped.
    config.vocab_size, config.pad_token_id = 1, None
    config.attention_dropout = attention_dropout
    shallow = type(source)(config)
    shallow.embed_tokens = None
    for own, layer in zip(shallow.layers, layers, strict=True):
        own.load_state_dict(source.layers[layer].state_dict(), assign=True)
    shallow.norm.load_state_dict(source.norm.state_dict(), assign=True)
    return shallow.to(source.device).eval().requires_grad_(False)


def starting_layers(depth: int, num_layers: int, trainable_layers: int, init: str) -> tuple[int, ...]:
    """The teacher's layers, of `depth`, that a student starts from (NOTES 18)."""
    if init not in INITS:
        raise ValueError(f"init {init!r} is not one of {', '.join(INITS)}")
    frozen = num_layers - trainable_layers
    if init == "next":
        top = range(frozen, num_layers)
    elif init == "last":
        top = range(depth - trainable_layers, depth)
    else:
        step = (depth - frozen) / trainable_layers
        top = [frozen + int((i + 1) * step) - 1 for i in range(trainable_layers)]
    return (*range(frozen), *top)


def cut_config(config, layers: tuple[int, ...]):
    """A copy of a model's config with only the named layers, per-layer settings such as `layer_types` cut too."""
    cut = copy.deepcopy(config)
    cut.num_hidden_layers = len(layers)
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == config.num_hidden_layers and "layer" in name:
            setattr(cut, name, [value[layer] for layer in layers])
    cut._attn_implementation = config._attn_implementation
    return cut


def _model_card(student: Student, card: Mapping[str, Any]) -> str:
    """A model card in Markdown: what the student is, what it was trained on and with, its licence."""
    facts = {
        "teacher": student.teacher.name,
        "layers": f"{len(student.layers)} of {student.teacher.num_layers}, {student.trainable_layers} trained",
        "starting layers": ", ".join(str(layer) for layer in student.layers[student.frozen_layers :]),
        **card,
    }
    rows = "\n".join(
        f"| {name} | {json.dumps(value) if isinstance(value, dict) else value} |" for name, value in facts.items()
    )
    licence = str(card.get("licence", student.teacher.licence)).lower()
    return (
        f"---\nlicense: {licence}\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n"
        f"# A student of {student.teacher.name}\n\nDistilled with the code of this repository; see the paper "
        '"Decoder-based Sense Knowledge Distillation" for the method.\n\n'
        f"| what | value |\n| --- | --- |\n{rows}\n"
    )
