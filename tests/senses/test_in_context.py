"""Tests of words' states in given contexts and of their senses (paper, sections 3.1 and 3.3)."""

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from dskd_utils.artefacts import read_manifest
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.spans import word_spans
from dskd_utils.senses import in_context
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import build_dictionary
from dskd_utils.senses.in_context import borrowed_senses, context_states, sense_distances, senses_of_words

TEXTS = [
    ("the happy dog was very sad", "happy"),
    ("the happy dog was very sad", "sad"),
    ("river banks", "river"),
    ("was it zebra cold ? is the cold river very cold , glad or not", "zebra"),
]


def contexts_of(pairs):
    rows = [(text, text.index(word), text.index(word) + len(word)) for text, word in pairs]
    return pd.DataFrame(rows, columns=["text", "start", "end"])


def model_states(teacher, ids):
    with torch.inference_mode():
        return teacher.model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]


def test_states_are_those_before_and_at_the_words_tokens(any_teacher):
    found = context_states(any_teacher, contexts_of(TEXTS), batch_tokens=40)
    tokenizer = any_teacher.tokenizer
    for i, (text, word) in enumerate(TEXTS):
        left = tokenizer(text[: text.index(word)].rstrip())["input_ids"]
        span = tokenizer(text[len(text[: text.index(word)].rstrip()) : text.index(word) + len(word)])["input_ids"]
        states = model_states(any_teacher, [tokenizer.eos_token_id, *left, *span])
        first, stop = len(left) + 1, len(left) + 1 + len(span)
        assert_close(found.after[i].float(), states[first:stop].mean(0), atol=0.02, rtol=0.02)
        assert_close(found.before[i].float(), states[first - 1 : stop - 1].mean(0), atol=0.02, rtol=0.02)
        head = any_teacher.model.get_output_embeddings().weight
        assert bool(found.expected[i]) == (int((states[first - 1] @ head.T).argmax()) == span[0])
    assert len(tokenizer(" zebra")["input_ids"]) > 2, "one of the words must have several tokens"


def test_a_word_that_the_teacher_expects_is_told_apart(llama):
    tokenizer = llama.tokenizer
    states = model_states(llama, [tokenizer.eos_token_id, *tokenizer("the")["input_ids"]])
    token = int((states[-1] @ llama.model.get_output_embeddings().weight.T).argmax())
    following = tokenizer.decode([token])
    text = "the" + following
    assert tokenizer(text)["input_ids"][-1] == token and following.strip()
    assert context_states(llama, contexts_of([(text, following.strip())])).expected.tolist() == [True]


def test_keys_choose_the_state(llama):
    found = context_states(llama, contexts_of(TEXTS))
    assert torch.equal(found.of("next"), found.before) and torch.equal(found.of("predicted"), found.before)
    assert torch.equal(found.of("input"), found.after) and not torch.equal(found.before, found.after)
    with pytest.raises(ValueError, match="'last' is not one of next, predicted, input"):
        found.of("last")


def test_only_so_much_left_context_is_read(llama):
    words = ["cold", "hot", "light", "dark", "bright", "warm", "glad", "merry", "happy", "sad"]
    text = " ".join(words)
    found = context_states(llama, contexts_of([(text, "sad")]), left=3)
    alone = llama.tokenizer(" " + " ".join(words[-4:]))["input_ids"]
    assert len(alone) == 4
    states = model_states(llama, [llama.tokenizer.eos_token_id, *alone])
    assert_close(found.after[0].float(), states[-1], atol=0.02, rtol=0.02)
    whole = context_states(llama, contexts_of([(text, "sad")]))
    assert not torch.allclose(whole.after[0].float(), states[-1], atol=0.02, rtol=0.02)


def test_batches_change_nothing(llama):
    alone = context_states(llama, contexts_of(TEXTS), batch_tokens=1)
    together = context_states(llama, contexts_of(TEXTS), batch_tokens=1000)
    assert_close(alone.before.float(), together.before.float(), atol=0.02, rtol=0.02)
    assert_close(alone.after.float(), together.after.float(), atol=0.02, rtol=0.02)


def test_a_folder_keeps_the_states_for_these_contexts_alone(llama, tiny_teachers, tmp_path, monkeypatch):
    first = context_states(llama, contexts_of(TEXTS), tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(in_context, "teacher_states", None)
        again = context_states(llama, contexts_of(TEXTS), tmp_path / "kept")
    assert torch.equal(first.before, again.before) and torch.equal(first.expected, again.expected)
    with pytest.raises(ValueError, match="has contexts = .* this call needs"):
        context_states(llama, contexts_of(TEXTS[1:]), tmp_path / "kept")
    with pytest.raises(ValueError, match="context states artefact .* has"):
        context_states(tiny_teachers("qwen2"), contexts_of(TEXTS), tmp_path / "kept")


def test_words_of_one_text_share_its_pass(llama, tmp_path):
    context_states(llama, contexts_of(TEXTS[:2]), tmp_path / "two")
    context_states(llama, contexts_of(TEXTS[1:2]), tmp_path / "one")
    facts = [read_manifest(tmp_path / name)["facts"] for name in ("two", "one")]
    assert facts[0]["tokens"] == facts[1]["tokens"] == len(llama.tokenizer(TEXTS[0][0])["input_ids"]) + 1


def test_a_span_without_a_token_is_refused(llama):
    with pytest.raises(ValueError, match="characters 5 to 5 of 'river .*' hold no token"):
        context_states(llama, pd.DataFrame([("river banks", 5, 5)], columns=["text", "start", "end"]))


def test_states_that_are_not_finite_are_refused(llama, monkeypatch):
    monkeypatch.setattr(in_context, "teacher_states", lambda _, ids, *__: [torch.full((*ids.shape, 32), torch.nan)])
    with pytest.raises(ValueError, match="not finite: load the teacher in float32"):
        context_states(llama, contexts_of(TEXTS))


@pytest.fixture(scope="module")
def dictionary(tiny_tokenizer):
    counts = torch.full((len(tiny_tokenizer),), 3)
    counts[:200] = 2
    counts[tiny_tokenizer(" merry")["input_ids"][0]] = 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    centroids = torch.randn(int(offsets[-1]), 32, generator=torch.Generator().manual_seed(0))
    return build_dictionary(centroids, offsets, Relations.from_pairs(), tiny_tokenizer)


def test_any_word_whose_tokens_were_seen_has_senses(dictionary, tiny_tokenizer):
    found = senses_of_words(dictionary, tiny_tokenizer, ["happy", "happysad", "merry", "zzzzzzzzz"])
    assert set(found) == {"happy", "happysad"}, "unseen or too long"
    assert set(senses_of_words(dictionary, tiny_tokenizer, found, max_span=1)) == {"happy"}
    assert not senses_of_words(dictionary, tiny_tokenizer, ["happysadss"]), "of four tokens, one more than the default"
    spans = word_spans([*found, "happysadss"], tiny_tokenizer)
    assert len(spans.pop("happysadss")) == 4
    assert len(spans["happy"]) == 1 and 1 < len(spans["happysad"]) <= 3
    for word, span in spans.items():
        assert_close(found[word], compose_span([dictionary.token_senses(token) for token in span]))


def test_distances_are_exact_far_from_the_origin():
    generator = torch.Generator().manual_seed(0)
    senses = 1000 + torch.randn(30, 8, generator=generator)
    assert_close(sense_distances(senses[:3], senses), torch.stack([(senses - s).norm(dim=1) for s in senses[:3]]))


def test_borrowed_senses_keep_mean_place_and_number_but_not_the_directions(dictionary, tiny_tokenizer):
    token = tiny_tokenizer(" happy")["input_ids"][0]
    own = dictionary.token_senses(token).float()
    found = [borrowed_senses(own, dictionary, torch.Generator().manual_seed(seed)) for seed in range(20)]
    every = dictionary.vectors.float()
    others = torch.stack([every[dictionary.token_offsets[i] :][:3] for i in range(200, 260)])
    deviations = (others - others.mean(1, keepdim=True)).flatten(0, 1)
    for senses in found:
        assert senses.shape == own.shape
        assert_close(senses.mean(0), own.mean(0), atol=1e-5, rtol=1e-5)
    assert any(float(torch.cdist(senses - own.mean(0), deviations).min()) < 1e-4 for senses in found)
    assert torch.stack(found).flatten(1).unique(dim=0).shape[0] > 10
