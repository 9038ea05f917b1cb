"""Texts of known words, and a tokenizer that makes one token of each."""

import pytest
import tokenizers
import torch
import transformers

WORDS = [f"w{number}" for number in range(90)]


def word_tokenizer(bos: bool = False) -> transformers.PreTrainedTokenizerFast:
    """One token a word; `bos` makes it start every text with `<s>`."""
    vocabulary = {token: number for number, token in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if bos:
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def texts(lengths: list[int]) -> list[str]:
    """Texts of the given numbers of words, each recognisable by its words."""
    generator = torch.Generator().manual_seed(0)
    return [" ".join(WORDS[i] for i in torch.randint(90, (n,), generator=generator).tolist()) for n in lengths]


@pytest.fixture(name="word_tokenizer")
def word_tokenizer_fixture():
    return word_tokenizer


@pytest.fixture(name="texts")
def texts_fixture():
    return texts
