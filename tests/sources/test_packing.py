"""Packing: every token once, little padding, and rows that a model reads as separate documents."""

import pytest
import torch
import transformers

from dskd_utils.sources.packing import cut_pieces, fill_rows, pack
from dskd_utils.sources.wikipedia import Document


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("block", [8, 16])
def test_packing_keeps_every_token_once_with_its_next_as_target(bos, block, word_tokenizer, texts):
    documents = texts([3, 40, 1, 16, 9, 2, 7, 23, 8])
    packed = pack(documents, word_tokenizer(bos), block=block)
    width = block - bos
    expected = []
    for document in documents:
        ids = word_tokenizer()(document)["input_ids"]
        expected += [[1] * bos + ids[i : i + width] for i in range(0, len(ids), width)]
    expected = sorted(piece for piece in expected if len(piece) >= 2)
    found = []
    for row, positions, targets in zip(packed.ids, packed.positions, packed.targets, strict=True):
        starts = [*torch.nonzero(positions == 0)[:, 0].tolist(), block]
        for start, end in zip(starts, starts[1:], strict=False):
            piece = row[start:end].tolist()
            if len(piece) == 1:  # padding
                assert targets[start] == -100
                continue
            found.append(piece)
            assert positions[start:end].tolist() == list(range(len(piece)))
            assert targets[start:end].tolist() == [*piece[1:], -100]
    assert sorted(found) == expected
    assert packed.tokens == sum(map(len, expected))
    assert packed.documents == len(documents) - (not bos)  # the text of one token predicts nothing without a BOS


def test_packing_leaves_little_padding(word_tokenizer, texts):
    packed = pack(texts([5, 7, 11, 30, 64, 3] * 40), word_tokenizer(), block=64)
    assert packed.tokens / packed.ids.numel() > 0.98


def test_a_budget_takes_a_sample_and_not_the_first_documents(word_tokenizer):
    documents = [f"w{number} w{number}" for number in range(80)]
    packed = pack(documents, word_tokenizer(), block=4, budget=40)
    assert packed.documents == 20 and packed.ids.max() > 3 + 40


def test_packing_stops_at_the_budget_and_is_the_same_for_a_seed(word_tokenizer, texts):
    documents = [Document("t", str(i), text) for i, text in enumerate(texts([30] * 200))]
    before = list(documents)
    first, again = (pack(documents, word_tokenizer(), block=16, budget=500, seed=1) for _ in range(2))
    assert first.tokens == 500 and first.digest == again.digest
    assert pack(documents, word_tokenizer(), block=16, budget=500, seed=2).digest != first.digest
    assert documents == before


@pytest.mark.parametrize(("documents", "budget"), [([], None), ([""], None), (["w1"], None), (["w1 w2"], 1)])
def test_an_empty_corpus_is_refused(documents, budget, word_tokenizer):
    with pytest.raises(ValueError, match="the corpus is empty.*give documents"):
        pack(documents, word_tokenizer(), block=8, budget=budget)


SIZES = {
    "vocab_size": 93,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


CONFIGURATIONS = {
    "llama": transformers.LlamaConfig(**SIZES),
    "mistral": transformers.MistralConfig(**SIZES, sliding_window=5),
    "qwen2": transformers.Qwen2Config(**SIZES),
    "qwen3": transformers.Qwen3Config(**SIZES, head_dim=8),
    "phi3": transformers.Phi3Config(**SIZES),
    "gemma3": transformers.Gemma3TextConfig(
        **SIZES, head_dim=8, sliding_window=5, layer_types=["sliding_attention", "full_attention"]
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_model_reads_packed_documents_as_separate_ones(name, word_tokenizer, texts):
    torch.manual_seed(0)
    configuration = CONFIGURATIONS[name]
    model = transformers.AutoModelForCausalLM.from_config(configuration, attn_implementation="sdpa").double().eval()
    packed = pack(texts([20, 9, 11, 4, 24, 7, 30]), word_tokenizer(), block=24)
    assert len(packed.ids) > 1
    with torch.no_grad():
        together = model(packed.ids, position_ids=packed.positions, attention_mask=None, use_cache=False).logits
        assert torch.isfinite(together).all()
        for row in range(len(packed.ids)):
            starts = [*torch.nonzero(packed.positions[row] == 0)[:, 0].tolist(), packed.ids.shape[1]]
            for start, end in zip(starts, starts[1:], strict=False):
                alone = model(packed.ids[row : row + 1, start:end], use_cache=False).logits[0]
                torch.testing.assert_close(together[row, start:end], alone, rtol=0, atol=1e-12)


def test_a_template_that_writes_the_first_token_itself_does_not_get_it_twice(word_tokenizer):
    packed = pack(["<s> w1 w2", "w3 w4"], word_tokenizer(bos=True), block=8)
    assert (packed.ids == 1).sum() == 2 and packed.tokens == 6


def test_the_first_rows_are_a_text_of_their_own(word_tokenizer, texts):
    packed = pack(texts([30, 9, 14, 40, 3, 22, 31]), word_tokenizer(), block=16)
    part = packed.first(40)
    assert len(part.ids) == 3 and torch.equal(part.targets, packed.targets[:3]) and part.digest != packed.digest
    sizes = [packed.first(16 * rows).tokens for rows in range(1, len(packed.ids) + 1)]
    assert sizes == sorted(sizes) and sizes[-1] == packed.tokens
    assert part.tokens == int((part.targets != -100).sum() + ((part.positions == 0) & (part.targets != -100)).sum())
    assert packed.first(10**6) is packed and packed.first(0) is packed
    assert torch.equal(part.articles, packed.articles[:3])


def test_a_row_names_the_document_that_most_of_it_is_of(word_tokenizer):
    words = {"a": ["w1"] * 32, "b": ["w2"] * 12, "c": ["w3"] * 4, "d": ["w4"] * 3}
    packed = pack([Document("t", title, " ".join(text)) for title, text in words.items()], word_tokenizer(), block=16)
    most = [word_tokenizer().decode(row[:1]) for row in packed.ids]  # the longest piece is the first
    assert sorted(most) == ["w1", "w1", "w2", "w4"] and packed.documents == 4
    assert len(set(zip(most, packed.articles.tolist(), strict=True))) == 3 == len(packed.articles.unique())


def test_a_document_gives_at_most_so_many_pieces(word_tokenizer, texts):
    documents = [Document("t", str(number), text) for number, text in enumerate(texts([40, 5, 33, 16]))]
    pieces = cut_pieces(documents, word_tokenizer(bos=True), 16, 60, 0, each=1)
    assert sorted(len(piece.ids) for piece in pieces) == [6, 16, 16, 16]
    for piece in pieces:
        text = word_tokenizer()(piece.document.text)["input_ids"]
        assert piece.ids.tolist() == [1, *text[:15]], "its first"
    assert fill_rows(pieces, word_tokenizer(), 16, 0).documents == 4
