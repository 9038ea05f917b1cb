import functools

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SIZE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,  # as small as the default the models would be uniform and every test would pass
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def build(kind, seed=0, layers=2):
    torch.manual_seed(seed)
    size = SIZE | {"num_hidden_layers": layers}
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**size)).eval()
    if kind == "mistral":  # one window, narrower than the prompts
        return MistralForCausalLM(MistralConfig(**size, sliding_window=7, head_dim=8)).eval()
    kinds = ["sliding_attention", "full_attention"] * (layers // 2)
    if kind == "qwen2":  # one layer with a window and one without
        more = {"use_sliding_window": True, "sliding_window": 7, "layer_types": kinds}
        return Qwen2ForCausalLM(Qwen2Config(**size, **more)).eval()
    more = {"layer_types": kinds, "sliding_window": 7, "head_dim": 8}
    return Gemma3ForCausalLM(Gemma3TextConfig(**size, **more, final_logit_softcapping=5.0)).eval()


@pytest.fixture(scope="session", params=["llama", "mistral", "qwen2", "gemma3"])
def any_model(request):
    return build(request.param)


@pytest.fixture(scope="session")
def deep_model():
    """A model of four layers, by kind."""
    return functools.cache(lambda kind: build(kind, layers=4))


@pytest.fixture(scope="session")
def llamas():
    """A teacher and a student that differ in nothing but their random weights."""
    return {"teacher": build("llama"), "student": build("llama", seed=1)}


@pytest.fixture
def tokenizer():
    """Bytes as tokens, so that any text can be written and read back; 0 begins and 1 ends a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1} | {letter: i for i, letter in enumerate(alphabet, 2)}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
