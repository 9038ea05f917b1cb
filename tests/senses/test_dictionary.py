"""Tests of the sense dictionary (paper, sections 3.1 to 3.3)."""

import pytest
import torch
from torch.testing import assert_close

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import SenseDictionary, build_dictionary, word_spans

D = 32


@pytest.fixture(scope="module")
def relations():
    return Relations.from_pairs(
        [("happy", "glad"), ("happy", "merry"), ("happy", "gladmerry"), ("warm", "hot"), ("light", "zzzzzzzzz")],
        [("happy", "sad"), ("warm", "cold")],
    )


@pytest.fixture(scope="module")
def built(relations, tiny_tokenizer):
    counts = torch.full((len(tiny_tokenizer),), 3)
    counts[tiny_tokenizer(" light")["input_ids"][0]] = 1
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    centroids = torch.randn(int(offsets[-1]), D, generator=torch.Generator().manual_seed(0))
    header = {"teacher": "tiny", "tokenizer_hash": "abc", "hidden_size": D}
    dictionary = build_dictionary(centroids, offsets, relations, tiny_tokenizer, header=header)
    return dictionary, centroids, offsets


def token(tokenizer, word):
    (span,) = word_spans([word], tokenizer).values()
    assert len(span) == 1
    return span[0]


def test_a_one_token_word_has_its_tokens_senses(built, tiny_tokenizer):
    dictionary, centroids, offsets = built
    i = token(tiny_tokenizer, "happy")
    assert_close(dictionary.word_senses("happy"), dictionary.token_senses(i))
    assert_close(dictionary.token_senses(i).float(), centroids[offsets[i] : offsets[i + 1]], atol=0.05, rtol=0.01)


def test_a_longer_word_has_composed_senses(built, tiny_tokenizer):
    dictionary, centroids, offsets = built
    (span,) = word_spans(["gladmerry"], tiny_tokenizer).values()
    assert len(span) == 3
    expected = compose_span([centroids[offsets[i] : offsets[i + 1]] for i in span])
    assert_close(dictionary.word_senses("gladmerry").float(), expected, atol=0.05, rtol=0.01)


def test_words_beyond_the_span_limit_have_no_senses(built):
    with pytest.raises(KeyError, match="no senses"):
        built[0].word_senses("zzzzzzzzz")


def test_positives_are_own_and_synonym_senses_and_negatives_antonym_senses(built, relations, tiny_tokenizer):
    dictionary, _, _ = built
    head, plain = token(tiny_tokenizer, "happy"), token(tiny_tokenizer, "river")
    found = dictionary.candidates(torch.tensor([head, plain]))
    positives = found.positive_rows[: found.positive_offsets[1]].tolist()
    negatives = found.negative_rows[: found.negative_offsets[1]].tolist()
    words = {word: set(range(*dictionary.word_rows[i].tolist())) for i, word in enumerate(dictionary.words)}
    near = [words[w] for w in {"happy"} | relations.synonyms("happy") if w in words]
    assert set(positives) == set().union(*near) and len(positives) == len(set(positives))
    assert set(negatives) == words["sad"]
    own = list(range(int(dictionary.token_offsets[plain]), int(dictionary.token_offsets[plain + 1])))
    assert found.positive_rows[found.positive_offsets[1] :].tolist() == own
    assert found.negative_offsets.tolist() == [0, 3, 3]


def test_heads_are_the_tokens_that_are_words_with_relations(built, tiny_tokenizer):
    flags = built[0].has_relations()
    assert flags[token(tiny_tokenizer, "happy")] and flags[token(tiny_tokenizer, "warm")]
    assert not flags[token(tiny_tokenizer, "river")]
    assert not flags[token(tiny_tokenizer, "light")], "its only neighbour is beyond the span limit"


def test_neighbours_can_be_limited(relations, tiny_tokenizer):
    offsets = torch.arange(len(tiny_tokenizer) + 1) * 2
    centroids = torch.randn(int(offsets[-1]), D)
    dictionary = build_dictionary(centroids, offsets, relations, tiny_tokenizer, neighbours=1)
    assert dictionary.synonym_offsets.diff().max() == 1


def test_saving_and_loading_loses_nothing(built, tmp_path):
    dictionary, _, _ = built
    dictionary.save(tmp_path / "senses")
    found = SenseDictionary.load(tmp_path / "senses")
    assert torch.equal(found.vectors, dictionary.vectors) and found.words == dictionary.words
    assert torch.equal(found.synonym_words, dictionary.synonym_words) and found.header == dictionary.header
    assert found.table8() == dictionary.table8()


def test_a_dictionary_of_another_teacher_is_refused(built, llama, tmp_path):
    built[0].save(tmp_path / "senses")
    with pytest.raises(ValueError, match="was built for tiny .* build one for this teacher"):
        SenseDictionary.load(tmp_path / "senses", llama)
    with pytest.raises(FileNotFoundError, match="no sense dictionary"):
        SenseDictionary.load(tmp_path / "nothing")


def test_a_span_limit_below_one_is_refused(built, relations, tiny_tokenizer):
    _, centroids, offsets = built
    with pytest.raises(ValueError, match="max_span"):
        build_dictionary(centroids, offsets, relations, tiny_tokenizer, max_span=0)
