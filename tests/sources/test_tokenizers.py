"""Tokenizers come by name, without their models, and give the ids of the libraries that they were made for."""

import base64
import random
import sys

import pytest
from transformers import AutoConfig, LlamaConfig

from dskd_utils.sources.assets import cached
from dskd_utils.sources.teachers import load_teacher, teacher_assets
from dskd_utils.sources.tokenizers import (
    LLAMA_3_PATTERN,
    LLAMA_3_SPECIAL,
    from_sentencepiece,
    from_tiktoken,
    load_tokenizer,
)

TEXTS = (
    "The quick brown fox isn't as HAPPY as 12345 dogs, or 6,789.01 cats?!",
    "Two  spaces,\tTABS,\r\nand\n\n  lines   ",
    "café naïve Ünïcödé — “quotes” … 你好，世界 здравствуй नमस्ते 🙂👩‍👩‍👧",
    "def f(x):\n    return x**2  # don't\n",
    "<0x0A> [INST] </ s>",
)


def made_up_texts(count: int = 200) -> list[str]:
    """Random mixtures of letters, digits, signs and spaces that start with a letter."""
    draw = random.Random(0)
    alphabet = "abcdefghistnrE  \n\t.,'\"-_0123456789éß你🙂"
    return ["x" + "".join(draw.choices(alphabet, k=draw.randint(1, 60))) for _ in range(count)]


def ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def asset(name: str):
    """The asset's file; skips where the cache does not hold it."""
    path = cached(name)
    if path is None:
        pytest.skip(f"needs the asset {name} in the cache: python -m dskd_utils.sources.assets --fetch {name}")
    return path


def write_ranks(path, merged: list[bytes]):
    """A file of ranked byte strings: all single bytes, then the given ones."""
    tokens = [bytes([b]) for b in range(256)] + merged
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % i for i, token in enumerate(tokens)))
    return path


def test_ranked_bytes_are_merged_in_the_order_of_their_ranks(tmp_path):
    path = write_ranks(tmp_path / "tokenizer.model", [b"bc", b"ab", b"abc", b" abc", b"34"])
    tokenizer = from_tiktoken(path, special=("<begin>", "<end>"))
    assert len(tokenizer) == 263
    assert ids(tokenizer, "abc abc") == [258, 259]
    assert ids(tokenizer, "abab") == [257, 257]
    assert ids(tokenizer, "1234") == [*b"1234"]  # numbers are cut after three digits
    assert ids(tokenizer, "é") == [0xC3, 0xA9]
    assert tokenizer("ab")["input_ids"] == [261, 257]
    assert tokenizer.bos_token_id == 261 and tokenizer.eos_token_id == 262
    assert tokenizer.decode(ids(tokenizer, " é abc\n12")) == " é abc\n12"


def test_a_file_of_another_format_is_refused_with_its_line(tmp_path):
    path = write_ranks(tmp_path / "tokenizer.model", [b"ab"])
    path.write_bytes(path.read_bytes() + b"!!!! 257\n")
    with pytest.raises(ValueError, match="line 258: expected a token in base64") as error:
        from_tiktoken(path)
    assert "\n" not in str(error.value)


def test_llama_3_has_its_published_size_special_tokens_and_ids():
    asset("llama-3")
    tokenizer = load_tokenizer("llama-3")
    assert len(tokenizer) == 128_256 and len(LLAMA_3_SPECIAL) == len(set(LLAMA_3_SPECIAL)) == 256
    special = {"<|begin_of_text|>": 128_000, "<|end_of_text|>": 128_001, "<|start_header_id|>": 128_006}
    special |= {"<|end_header_id|>": 128_007, "<|eot_id|>": 128_009, "<|reserved_special_token_250|>": 128_255}
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in special} == special
    assert tokenizer("Hello world")["input_ids"] == [128_000, 9906, 1917]
    assert ids(tokenizer, " happy") == [6380]
    for text in [*TEXTS, *made_up_texts(), " happy"]:
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_llama_3_cuts_texts_as_tiktoken_does():
    path = asset("llama-3")
    tiktoken = pytest.importorskip("tiktoken", reason="needs the package tiktoken, the reference")
    lines = [line.split() for line in path.read_bytes().splitlines()]
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    reference = tiktoken.Encoding("llama-3", pat_str=LLAMA_3_PATTERN, mergeable_ranks=ranks, special_tokens={})
    tokenizer = load_tokenizer("llama-3")
    for text in [*TEXTS, *made_up_texts(), " happy", " unbelievably"]:
        assert ids(tokenizer, text) == reference.encode_ordinary(text), text


def test_mistral_has_its_published_size_and_ids():
    asset("mistral-7b")
    pytest.importorskip("sentencepiece", reason="needs the package sentencepiece")
    tokenizer = load_tokenizer("mistral-7b")
    assert len(tokenizer) == 32_000
    assert (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer("Hello world")["input_ids"] == [1, 22557, 1526]
    assert ids(tokenizer, " happy") == ids(tokenizer, "happy") == [4610]
    for text in [*TEXTS, *made_up_texts()]:
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_mistral_cuts_texts_as_sentencepiece_does():
    path = asset("mistral-7b")
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs the package sentencepiece, the reference")
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tokenizer = load_tokenizer("mistral-7b")
    for text in [*TEXTS, *made_up_texts(), "happy", "a  happy   day"]:
        assert ids(tokenizer, text) == reference.encode(text), text
        # A text with a space in front gets no second one.
        assert ids(tokenizer, " " + text) == reference.encode(text), text


def test_sentencepiece_models_of_runs_of_spaces_are_merged_by_score(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs the package sentencepiece, the reference")
    (tmp_path / "text.txt").write_text("\n".join(["happy days and happier nights in the old house"] * 50))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "small"), vocab_size=330, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "small.model"))
    tokenizer = from_sentencepiece(tmp_path / "small.model")
    assert len(tokenizer) == len(reference)
    for text in ["happy nights", "the  old   house", "unhappy 12 é\n", "</ s> <0x41>"]:
        assert ids(tokenizer, text) == reference.encode(text), text


def test_a_file_that_is_no_sentencepiece_model_is_refused(tmp_path):
    pytest.importorskip("sentencepiece", reason="needs the package sentencepiece")
    (tmp_path / "tokenizer.model").write_text("nothing of the kind")
    with pytest.raises(ValueError, match="is not a sentencepiece model"):
        from_sentencepiece(tmp_path / "tokenizer.model")


def test_a_missing_sentencepiece_is_named_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ModuleNotFoundError, match="pip install sentencepiece"):
        from_sentencepiece(tmp_path / "tokenizer.model")


def test_a_folder_needs_no_weights(tmp_path, tiny_tokenizer):
    tiny_tokenizer.save_pretrained(tmp_path)
    LlamaConfig(vocab_size=len(tiny_tokenizer)).save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).model_type == "llama"
    loaded = load_tokenizer(str(tmp_path))
    assert ids(loaded, " happy sad unseen") == ids(tiny_tokenizer, " happy sad unseen")


def test_a_preset_gives_the_teachers_own_tokenizer():
    if teacher_assets("smollm2-135m"):
        pytest.skip("needs the default teacher in the cache")
    tokenizer = load_tokenizer("smollm2-135m")
    assert tokenizer.get_vocab() == load_teacher("smollm2-135m", dtype="bfloat16").tokenizer.get_vocab()


@pytest.mark.slow
def test_a_gguf_file_is_read_without_its_weights():
    tokenizer = load_tokenizer(str(asset("smollm2-135m")))
    assert len(tokenizer) == 49_152 and ids(tokenizer, " happy") == [5587]


def test_what_is_no_tokenizer_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"'nobody knows' is not one of llama-3, mistral-7b; and .* preset") as error:
        load_tokenizer("nobody knows")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="cannot be read from"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no file"):
        load_tokenizer(str(tmp_path / "missing.gguf"))
