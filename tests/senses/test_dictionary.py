"""Tests of the sense dictionary (paper, sections 3.1 to 3.3)."""

import json
import time
from dataclasses import replace

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.spans import word_spans
from dskd_utils.senses.build import mapped_rows
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import FILE, SenseDictionary, build_dictionary, main, rows_needed

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
    header = {"teacher": "tiny", "tokenizer_hash": "abc", "hidden_size": D, "corpus": "123"}
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


def test_tokens_may_differ_in_their_number_of_senses(tiny_tokenizer):
    words = ["gladmerry", "coldwarm", "warms", "happy", "warm"]
    relations = Relations.from_pairs([(words[0], words[1]), (words[1], words[2]), ("happy", words[0])], [])
    counts = torch.arange(len(tiny_tokenizer)) % 7 + 1
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    centroids = torch.randn(int(offsets[-1]), D, generator=torch.Generator().manual_seed(1))
    dictionary = build_dictionary(centroids, offsets, relations, tiny_tokenizer)
    assert {len(span) for span in word_spans(dictionary.words, tiny_tokenizer).values()} == {1, 2, 3}
    for word, span in word_spans(dictionary.words, tiny_tokenizer).items():
        expected = compose_span([centroids[offsets[i] : offsets[i + 1]] for i in span])
        assert len(expected) == counts[span[0]]
        assert_close(dictionary.word_senses(word).float(), expected, atol=0.05, rtol=0.01)


def test_a_memory_map_is_filled_in_place_and_gives_the_same_dictionary(relations, tiny_tokenizer, tmp_path):
    counts = 1 + torch.arange(len(tiny_tokenizer)) % 4
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    centroids = torch.randn(int(offsets[-1]), D, generator=torch.Generator().manual_seed(1)).bfloat16()
    vectors = mapped_rows(tmp_path / "vectors", rows_needed(relations, tiny_tokenizer, offsets), D)
    vectors[: len(centroids)] = centroids
    filled = build_dictionary(vectors, offsets, relations, tiny_tokenizer)
    assert filled.vectors.data_ptr() == vectors.data_ptr() and len(vectors) > len(centroids)
    plain = build_dictionary(centroids, offsets, relations, tiny_tokenizer)
    assert torch.equal(filled.vectors, plain.vectors) and torch.equal(filled.word_rows, plain.word_rows)
    filled.save(tmp_path / "filled")
    plain.save(tmp_path / "plain")
    assert (tmp_path / "filled" / FILE).read_bytes() == (tmp_path / "plain" / FILE).read_bytes()
    kept = torch.from_file(str(tmp_path / "vectors"), size=vectors.numel(), dtype=torch.bfloat16)
    assert torch.equal(kept.view_as(vectors), plain.vectors)


def test_words_beyond_the_span_limit_or_with_an_unseen_token_have_no_senses(built, relations, tiny_tokenizer):
    with pytest.raises(KeyError, match="no senses"):
        built[0].word_senses("zzzzzzzzz")
    counts = torch.full((len(tiny_tokenizer),), 2)
    counts[token(tiny_tokenizer, "glad")] = 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    dictionary = build_dictionary(torch.randn(int(offsets[-1]), D), offsets, relations, tiny_tokenizer)
    assert "glad" not in dictionary.words and "happy" in dictionary.words


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


def plain_candidates(dictionary, token_id):
    """Section 4.2 neighbour by neighbour."""
    sets = [set(range(int(dictionary.token_offsets[token_id]), int(dictionary.token_offsets[token_id + 1]))), set()]
    heads = dictionary.head_ids.tolist()
    if token_id in heads:
        place = heads.index(token_id)
        sides = [(dictionary.synonym_words, dictionary.synonym_offsets), (dictionary.antonym_words,
                 dictionary.antonym_offsets)]  # fmt: skip
        for rows, (words, offsets) in zip(sets, sides, strict=True):
            for word in words[offsets[place] : offsets[place + 1]].tolist():
                rows.update(range(*dictionary.word_rows[word].tolist()))
    return sets


@st.composite
def dictionaries(draw):
    """Ragged tokens, some without senses; words that are tokens or composed, two of them possibly one token."""
    counts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    offsets = torch.tensor([0, *counts]).cumsum(0)
    end = int(offsets[-1])
    words = []
    for number in draw(st.lists(st.integers(-3, len(counts) - 1), max_size=8)):
        if number >= 0:
            words.append([int(offsets[number]), int(offsets[number + 1])])
        else:
            words.append([end, end - number])
            end -= number
    heads = sorted(draw(st.sets(st.integers(0, len(counts) - 1), max_size=len(counts)))) if words else []
    lists = st.lists(
        st.lists(st.integers(0, max(len(words) - 1, 0)), max_size=6), min_size=len(heads), max_size=len(heads)
    )
    csr = []
    for groups in (draw(lists), draw(lists)):
        csr += [
            torch.tensor([w for g in groups for w in g], dtype=torch.int64),
            torch.tensor([0, *map(len, groups)]).cumsum(0),
        ]
    rows = torch.tensor(words, dtype=torch.int64).view(-1, 2)
    names = [f"w{i}" for i in range(len(words))]
    return SenseDictionary(torch.zeros(end, 2), offsets, names, rows, torch.tensor(heads, dtype=torch.int64), *csr)


@settings(max_examples=200, deadline=None)
@given(dictionaries(), st.data())
def test_candidates_are_those_of_the_plain_loop_each_once_and_ascending(dictionary, data):
    vocabulary = len(dictionary.token_offsets) - 1
    ids = data.draw(st.lists(st.integers(0, vocabulary - 1), max_size=10))
    found = dictionary.candidates(torch.tensor(ids, dtype=torch.int64))
    assert len(found.positive_offsets) == len(found.negative_offsets) == len(ids) + 1
    for i, token_id in enumerate(ids):
        positive, negative = plain_candidates(dictionary, token_id)
        assert found.positive_rows[found.positive_offsets[i] : found.positive_offsets[i + 1]].tolist() == sorted(
            positive
        )
        assert found.negative_rows[found.negative_offsets[i] : found.negative_offsets[i + 1]].tolist() == sorted(
            negative
        )


def test_ids_outside_the_vocabulary_are_refused(built):
    for wrong in (-100, 10**6):
        with pytest.raises(ValueError, match=f"{wrong}.*vocabulary has .* tokens: drop targets"):
            built[0].candidates(torch.tensor([wrong]))


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


def test_neighbours_of_one_token_can_be_left_out(built, relations, tiny_tokenizer):
    _, centroids, offsets = built
    several = build_dictionary(centroids, offsets, relations, tiny_tokenizer, neighbour_tokens="several")
    token_rows = int(offsets[-1])
    kept = several.word_rows[torch.cat([several.synonym_words, several.antonym_words])]
    assert len(kept) and (kept[:, 0] >= token_rows).all()
    assert several.header["neighbour_tokens"] == "several"
    with pytest.raises(ValueError, match="must be 'any' or 'several': got 'one'"):
        build_dictionary(centroids, offsets, relations, tiny_tokenizer, neighbour_tokens="one")


def test_saving_and_loading_loses_nothing(built, tmp_path):
    dictionary, _, _ = built
    dictionary.save(tmp_path / "senses")
    found = SenseDictionary.load(tmp_path / "senses")
    assert torch.equal(found.vectors, dictionary.vectors) and found.words == dictionary.words
    assert torch.equal(found.synonym_words, dictionary.synonym_words) and found.header == dictionary.header
    assert found.table8() == dictionary.table8()
    found.save(tmp_path / "senses")  # from the memory map, over itself
    for _ in range(8):  # chance must not decide the bytes
        found.save(tmp_path / "again")
        assert (tmp_path / "again" / FILE).read_bytes() == (tmp_path / "senses" / FILE).read_bytes()
    assert torch.equal(found.vectors, dictionary.vectors)
    assert [path.name for path in (tmp_path / "senses").iterdir()] == [FILE], (
        "one file that any safetensors reader opens"
    )


def test_a_dictionary_without_words_can_be_saved(tiny_tokenizer, tmp_path):
    offsets = torch.arange(len(tiny_tokenizer) + 1)
    build_dictionary(torch.randn(len(tiny_tokenizer), 4), offsets, Relations.from_pairs(), tiny_tokenizer).save(
        tmp_path / "senses"
    )
    found = SenseDictionary.load(tmp_path / "senses")
    assert found.words == [] and len(found.candidates(torch.tensor([3])).positive_rows) == 1


def test_the_header_says_what_the_dictionary_was_built_with(built, tmp_path):
    built[0].save(tmp_path / "senses")
    with safe_open(tmp_path / "senses" / FILE, "pt") as store:
        header = json.loads(store.metadata()["header"])
    assert header["teacher"] == "tiny" and header["corpus"] == "123" and header["max_span"] == 3
    assert header["counts"] == built[0].table8()


def test_the_command_prints_header_and_table_8(built, tmp_path, capsys):
    built[0].save(tmp_path / "senses")
    assert main([str(tmp_path / "senses")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["tokenizer_hash"] == "abc" and shown["counts"]["token keys"] == len(built[0].token_offsets) - 1
    assert main([str(tmp_path / "nothing")]) == 1 and "no sense dictionary" in capsys.readouterr().err


def test_a_large_dictionary_opens_at_once_and_stays_on_disk(tmp_path):
    rows, width, words = 100_000, 1_000, 20_000
    numbers = torch.arange(words)
    SenseDictionary(
        torch.zeros(rows, width, dtype=torch.bfloat16),
        torch.arange(0, rows + 1, 2),
        [f"word{i}" for i in range(words)],
        torch.stack([2 * numbers, 2 * numbers + 2], 1),
        numbers,
        *(t.clone() for t in [numbers.flip(0), torch.arange(words + 1)] * 2),
    ).save(tmp_path / "senses")
    process = psutil.Process()
    SenseDictionary.load(tmp_path / "senses")
    before, started = process.memory_info().rss, time.perf_counter()
    found = SenseDictionary.load(tmp_path / "senses")
    table, sets = found.table8(), found.candidates(torch.arange(1000))
    assert time.perf_counter() - started < 0.5
    assert process.memory_info().rss - before < 20e6, "of 200 MB of vectors nothing is read"
    assert table["bytes"] == 2 * rows * width and len(sets.positive_rows) == 4000


def test_a_dictionary_of_another_teacher_is_refused(built, llama, tmp_path):
    built[0].save(tmp_path / "senses")
    with pytest.raises(ValueError, match="was built for tiny .* build one for this teacher"):
        SenseDictionary.load(tmp_path / "senses", llama)
    with pytest.raises(FileNotFoundError, match="no sense dictionary"):
        SenseDictionary.load(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["tokenizer_hash", "hidden_size"])
def test_tokenizer_and_width_are_both_compared(built, llama, tmp_path, name):
    fits = {"teacher": "tiny", "tokenizer_hash": llama.tokenizer_hash, "hidden_size": llama.hidden_size}
    replace(built[0], header=fits).save(tmp_path / "senses")
    SenseDictionary.load(tmp_path / "senses", llama)
    replace(built[0], header=fits | {name: 0}).save(tmp_path / "senses")
    with pytest.raises(ValueError, match=f"was built for tiny .*{name} = 0"):
        SenseDictionary.load(tmp_path / "senses", llama)


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "lengths", "format", "tensor"])
def test_a_damaged_file_is_one_sentence(built, tmp_path, damage):
    built[0].save(tmp_path / "senses")
    file = tmp_path / "senses" / FILE
    raw, tensors = file.read_bytes(), load_file(file)
    with safe_open(file, "pt") as store:
        metadata = store.metadata()
    if damage == "lengths":
        save_file(tensors | {"synonym_offsets": tensors["synonym_offsets"] + 1}, file, metadata=metadata)
    elif damage == "format":
        save_file(tensors, file, metadata={"header": json.dumps(json.loads(metadata["header"]) | {"format": 2})})
    elif damage == "tensor":
        del tensors["head_ids"]
        save_file(tensors, file, metadata=metadata)
    else:
        file.write_bytes({"cut": raw[:-40], "empty": b"", "header": raw[:50] + b"\0\0" + raw[52:]}[damage])
    with pytest.raises(ValueError, match="is damaged, cut off or of another version .* build it again") as caught:
        SenseDictionary.load(tmp_path / "senses")
    assert "\n" not in str(caught.value)


def test_a_span_limit_below_one_is_refused(built, relations, tiny_tokenizer):
    _, centroids, offsets = built
    with pytest.raises(ValueError, match="max_span"):
        build_dictionary(centroids, offsets, relations, tiny_tokenizer, max_span=0)
