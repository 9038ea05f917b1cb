"""Tests of `dskd_utils.lexicon.spans`: lengths of words in tokens, Tables 2 and 8, related tokens of a corpus."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.spans import corpus_share, keep_rates, table_8, word_spans
from dskd_utils.sources.assets import cached

HG2VEC = Path(__file__).resolve().parents[3] / "shared" / "data" / "lexical" / "hg2vec"
# Tokens of the tiny tokenizer: happy 1, glad 1, sad 1, is 1 (but two letters), hotcold 3, zzzzzzzzz 10.
RELATIONS = Relations.from_pairs(
    [("happy", "glad"), ("happy", "hotcold"), ("hotcold", "zzzzzzzzz"), ("is", "was")],
    [("happy", "sad"), ("glad", "zzzzzzzzz")],
)


def metaspace_tokenizer(legacy: bool, prefix: bool = True) -> PreTrainedTokenizerFast:
    """Byte pairs over `▁`, as converted from sentencepiece, in either of the hub's two spellings."""
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "▁", "a", "b", "▁a", "▁ab", "ab", "▁▁"])}
    merges = [("▁", "a"), ("▁a", "b"), ("a", "b"), ("▁", "▁")]
    raw = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    if legacy:
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        scheme = "first" if prefix else "never"
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    raw.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def test_a_words_span_is_that_of_the_word_inside_a_sentence(tiny_tokenizer):
    spans = word_spans(RELATIONS.words, tiny_tokenizer)
    assert {word: len(span) for word, span in spans.items()} == {
        "glad": 1, "happy": 1, "hotcold": 3, "is": 1, "sad": 1, "was": 1, "zzzzzzzzz": 10,
    }  # fmt: skip
    for word, span in spans.items():
        sentence = tiny_tokenizer(f"the {word} river", add_special_tokens=False)["input_ids"]
        assert any(tuple(sentence[i : i + len(span)]) == span for i in range(len(sentence)))
    assert word_spans([], tiny_tokenizer) == {}


@pytest.mark.parametrize(("legacy", "prefix"), [(True, True), (False, True), (False, False)])
def test_a_space_that_the_tokenizer_adds_itself_is_no_token_of_the_word(legacy, prefix):
    assert word_spans(["ab", "ba"], metaspace_tokenizer(legacy, prefix)) == {"ab": (5,), "ba": (1, 3, 2)}


def test_keep_rates_of_heads_count_the_neighbours_of_one_token_words(tiny_tokenizer):
    rates = keep_rates(RELATIONS, tiny_tokenizer).set_index("m")
    # From happy to glad and hotcold, from glad to happy, from was to is (whose own two letters are no head).
    assert rates["synonym"].tolist() == pytest.approx([75, 75, 100, 100, 100])
    # From happy to sad and back, and from glad to zzzzzzzzz.
    assert rates["antonym"].tolist() == pytest.approx([200 / 3] * 5)
    assert (rates["synonym relations"].iloc[0], rates["antonym relations"].iloc[0]) == (4, 3)


def test_keep_rates_of_all_relations_go_by_the_longer_word_or_by_every_neighbour(tiny_tokenizer):
    longer = keep_rates(RELATIONS, tiny_tokenizer, of="all").set_index("m")
    assert longer["synonym"].tolist() == pytest.approx([50, 50, 75, 75, 75])
    assert longer["antonym"].tolist() == pytest.approx([50] * 5)
    assert longer["synonym relations"].iloc[0] == 4
    both = keep_rates(RELATIONS, tiny_tokenizer, longest=10, of="neighbours").set_index("m")
    assert both["synonym"].loc[[1, 3, 9, 10]].tolist() == pytest.approx([62.5, 87.5, 87.5, 100])
    assert both["synonym relations"].iloc[0] == 8


def test_keep_rates_refuse_what_they_cannot_count(tiny_tokenizer):
    with pytest.raises(ValueError, match="of is 'head', expected one of heads, neighbours, all"):
        keep_rates(RELATIONS, tiny_tokenizer, of="head")
    with pytest.raises(ValueError, match="at least 1 token: got 0"):
        keep_rates(RELATIONS, tiny_tokenizer, longest=0)
    none = keep_rates(Relations.from_pairs([("happy", "glad")], []), tiny_tokenizer)
    assert none["antonym"].isna().all() and (none["antonym relations"] == 0).all()


vocabulary = st.sampled_from(["happy", "glad", "merry", "hotcold", "zz", "warm", "chillydark", "sad", "is"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(vocabulary, vocabulary), min_size=1, max_size=20), st.sampled_from(["heads", "all"]))
def test_keep_rates_are_those_of_a_plain_count(pairs, of):
    tokenizer = metaspace_tokenizer(legacy=True)
    relations = Relations.from_pairs([pair for pair in pairs if pair[0] != pair[1]], [])
    spans = word_spans(relations.words, tokenizer)
    expected = []
    for word in relations.words:
        for other in relations.synonyms(word):
            if of == "all" and word < other:
                expected.append(max(len(spans[word]), len(spans[other])))
            if of == "heads" and len(spans[word]) == 1 and len(word) > 2:
                expected.append(len(spans[other]))
    found = keep_rates(relations, tokenizer, longest=12, of=of)
    assert (found["synonym relations"] == len(expected)).all()
    if expected:
        assert found["synonym"].tolist() == pytest.approx(
            [100 * np.mean([n <= m for n in expected]) for m in found["m"]]
        )


def test_table_8_counts_words_pairs_heads_and_bytes(tiny_tokenizer):
    other = metaspace_tokenizer(legacy=False)
    table = table_8(RELATIONS, {"tiny": tiny_tokenizer, "piece": other}, k=[10, 5], hidden_size=8, max_span=3)
    tiny = table.set_index("tokenizer").loc["tiny"]
    size = len(tiny_tokenizer)
    assert (tiny["vocabulary"], tiny["words"], tiny["synonym pairs"], tiny["antonym pairs"]) == (size, 7, 4, 2)
    # happy, glad, sad and was; `is` is too short for a head and keeps its token's senses.
    assert (tiny["one-token heads"], tiny["word keys"], tiny["word keys of several tokens"]) == (4, 6, 1)
    assert tiny["neighbours of heads"] == 1
    assert tiny["bytes at most"] == (size + 1) * 10 * 8 * 2
    assert table["tokenizer"].tolist() == ["tiny", "piece"]
    assert table["bytes at most"][1] == (len(other) + table["word keys of several tokens"][1]) * 5 * 8 * 2
    shorter = table_8(RELATIONS, {"tiny": tiny_tokenizer}, k=10, hidden_size=8, max_span=2)
    assert shorter["word keys"][0] == 5 and shorter["word keys of several tokens"][0] == 0
    with pytest.raises(ValueError, match="k has 2 values for 1 tokenizers"):
        table_8(RELATIONS, {"tiny": tiny_tokenizer}, k=[10, 5], hidden_size=8)


def test_the_share_of_related_tokens_is_split_by_kind(tiny_tokenizer):
    text = " happy glad glad was is hotcold river sad"
    ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
    share = corpus_share(torch.tensor([ids + [-100], [-100] + ids]), RELATIONS, tiny_tokenizer)
    one = 100 / len(ids)
    assert share["tokens"] == 2 * len(ids)
    assert share["both"] == pytest.approx(3 * one)  # happy, glad, glad
    assert share["synonyms only"] == pytest.approx(one)  # was
    assert share["antonyms only"] == pytest.approx(one)  # sad
    assert share["related"] == pytest.approx(5 * one)
    assert corpus_share(np.array(ids * 2, dtype=np.uint16), RELATIONS, tiny_tokenizer) == share


def test_ids_of_another_tokenizer_are_refused(tiny_tokenizer):
    with pytest.raises(ValueError, match="token id 999 is beyond the tokenizer's"):
        corpus_share([1, 999], RELATIONS, tiny_tokenizer)
    with pytest.raises(ValueError, match="no token ids"):
        corpus_share(torch.tensor([-100]), RELATIONS, tiny_tokenizer)


@pytest.mark.skipif(not HG2VEC.is_dir(), reason="needs the folder ../shared/data/lexical/hg2vec")
@pytest.mark.skipif(cached("llama-3") is None, reason="needs the asset llama-3 in the cache")
def test_hg2vecs_antonyms_give_the_papers_keep_rates_for_llama_to_four_points():
    lines = gzip.decompress((HG2VEC / "ant-pairs.txt.gz").read_bytes()).decode().splitlines()
    rates = keep_rates(Relations.from_pairs([], [line.rsplit(" ", 1) for line in lines if " " in line]), "llama-3")
    assert rates["antonym"].tolist() == pytest.approx([60.09, 87.03, 97.86, 99.61, 99.91], abs=4)
