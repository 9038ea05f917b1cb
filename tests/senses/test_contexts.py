"""Tests of contexts of senses."""

import math

import pytest
import torch

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.contexts import explore_words, nearest_contexts, sense_use, words_of_many_senses
from dskd_utils.senses.dictionary import build_dictionary
from dskd_utils.senses.hidden_states import TeacherStates, teacher_states
from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.senses.maps import OFFSETS

PAIRS = [("happy", "glad"), ("river", "bank"), ("warm", "hot"), ("very", "was")]


@pytest.fixture(scope="module")
def stored(llama, tiny_text):
    """The states of a small text and a dictionary of three senses a token, for each key."""
    (final,) = teacher_states(llama, tiny_text.ids, tiny_text.positions, [])
    states = TeacherStates(tiny_text.ids, tiny_text.positions, tiny_text.targets, {}, final.detach().bfloat16())
    made = {}
    for key in OFFSETS:
        filed = (states.targets if key == "next" else states.ids).flatten()
        order = filed.argsort(stable=True)
        order = order[filed[order] >= 0]
        counts = filed[order].bincount(minlength=llama.vocab_size)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        clusters = batched_kmeans(states.final.flatten(0, 1)[order], offsets, 3)
        relations = Relations.from_pairs(PAIRS, [])
        made[key] = build_dictionary(
            clusters.centroids, clusters.offsets, relations, llama.tokenizer, header={"key": key}
        )
    return states, made


@pytest.mark.parametrize("key", OFFSETS)
def test_contexts_end_before_the_word_and_shares_add_up(llama, stored, key):
    states, dictionaries = stored
    found = nearest_contexts(states, dictionaries[key], llama.tokenizer, "river", per_sense=2)
    assert found.context.str.endswith("[river]").all()
    assert found.drop_duplicates("sense").share.sum() == pytest.approx(1)
    texts = [llama.tokenizer.decode(ids) for ids in states.ids]
    for context in found.context:
        assert any(context.removeprefix("… ").replace(" [river]", " river") in text for text in texts)
    with pytest.raises(ValueError, match="10 tokens"):
        nearest_contexts(states, dictionaries[key], llama.tokenizer, "zzzzzzzzz")


def test_the_first_context_of_a_sense_is_the_nearest_of_its_occurrences(llama, stored):
    states, dictionaries = stored
    (token,) = llama.tokenizer(" river")["input_ids"]
    senses = dictionaries["next"].token_senses(token).float()
    found = nearest_contexts(states, dictionaries["next"], llama.tokenizer, "river", per_sense=1, window=6)
    for row in found.itertuples():
        best = None
        for block, offset in (states.targets == token).nonzero().tolist():
            distance = (states.final[block, offset].float() - senses).norm(dim=1)
            if distance.argmin() == row.sense - 1 and (best is None or distance.min() < best[0]):
                best = (distance.min(), block, offset)
        _, block, offset = best
        start = max(offset + 1 - 6, offset - int(states.positions[block, offset]))
        before = llama.tokenizer.decode(states.ids[block, start : offset + 1]).strip()
        assert row.context == f"… {before} [river]"


@pytest.mark.parametrize("key", OFFSETS)
def test_a_context_reaches_back_to_the_start_of_its_document_and_no_further(llama, stored, key):
    states, dictionaries = stored
    (token,) = llama.tokenizer(" river")["input_ids"]
    filed, shift = (states.targets, 1) if key == "next" else (states.ids, 0)
    expected = set()
    for block, offset in (filed == token).nonzero().tolist():
        start = max(0, offset - int(states.positions[block, offset]))
        before = llama.tokenizer.decode(states.ids[block, start : offset + shift]).strip()
        expected.add(f"… {before} [river]")
    found = nearest_contexts(states, dictionaries[key], llama.tokenizer, "river", per_sense=999, window=999)
    assert set(found.context) == expected


def test_many_words_are_explored_as_each_alone(llama, stored):
    states, dictionaries = stored
    words = ["river", "zzzzzzzzz", "happy"]
    records = explore_words(states, dictionaries["next"], llama.tokenizer, words, per_sense=2, window=5)
    assert [record["word"] for record in records] == ["river", "happy"], "several tokens have no senses in the text"
    for record in records:
        alone = nearest_contexts(states, dictionaries["next"], llama.tokenizer, record["word"], per_sense=2, window=5)
        assert [c for sense in record["senses"] for c in sense["contexts"]] == alone.context.tolist()
        shares = [sense["share"] for sense in record["senses"]]
        assert sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True)
        assert record["effective_senses"] == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares)))
        (token,) = llama.tokenizer(f" {record['word']}")["input_ids"]
        assert record["occurrences"] == int((states.targets == token).sum())


def test_no_two_contexts_of_a_sense_are_the_same(llama, stored):
    states, dictionaries = stored
    found = nearest_contexts(states, dictionaries["next"], llama.tokenizer, "river", per_sense=99, window=1)
    assert not found.duplicated(["sense", "context"]).any() and len(found) > 3


def test_senses_in_even_use_count_fully_and_a_dominant_one_as_one():
    vectors = torch.tensor([[0.0], [10.0], [20.0], [30.0]])
    offsets = torch.tensor([0, 2, 4])
    relations = Relations.from_pairs([], [])
    dictionary = build_dictionary(vectors, offsets, relations, lambda texts, **_: {"input_ids": [[0] for _ in texts]})
    targets = torch.tensor([[0, 0, 0, 0, 1, 1, -100]])
    final = torch.tensor([0.0, 9.0, 1.0, 11.0, 19.0, 21.0, 0.0]).view(1, 7, 1)
    states = TeacherStates(targets.clamp(0), torch.arange(7)[None], targets, {}, final)
    found = sense_use(states, dictionary, [1, 0])
    assert found.token.tolist() == [1, 0] and found.occurrences.tolist() == [2, 4]
    assert found.effective_senses.tolist() == pytest.approx([1, 2])


def test_words_are_chosen_by_use_and_the_wished_ones_stand_first(llama, stored):
    states, dictionaries = stored
    wished = ["light", "zzzzzzzzz", "bank"]
    options = {"always": wished, "count": 5, "frequent": 4}
    words = words_of_many_senses(states, dictionaries["next"], llama.tokenizer, **options)
    assert words[:2] == ["light", "bank"] and len(words) == len(set(words)) == 5
    content = {word for pair in PAIRS[:-1] for word in pair}  # very and was are function words
    assert set(words[2:]) < content
    assert set(words_of_many_senses(states, dictionaries["next"], llama.tokenizer)) == content
    ids = {word: llama.tokenizer(f" {word}")["input_ids"][0] for word in words}
    use = sense_use(states, dictionaries["next"], list(ids.values())).set_index("token").effective_senses
    ranked = [use[ids[word]] for word in words[2:]]
    assert ranked == sorted(ranked, reverse=True)
    assert words == words_of_many_senses(states, dictionaries["next"], llama.tokenizer, **options)
