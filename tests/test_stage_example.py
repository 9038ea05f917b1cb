"""One token from the teacher's state to the loss, on a tiny teacher and a made-up dictionary."""

import pytest
import torch

from dskd_utils import stage_example as example
from dskd_utils.distill.losses import kd_loss, semantic_loss
from dskd_utils.distill.students import make_student
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.dictionary import build_dictionary

SENTENCE = "the river is cold and the happy light is warm"
SETTINGS = {"kappa": 2, "alpha": 0.5, "temperature": 3.0, "beta_p": 0.7, "beta_n": 0.3, "margin": 40.0}


@pytest.fixture(scope="module")
def scene(llama):
    """The reading of a sentence by a teacher and a student, and a dictionary of two senses for each word in it."""
    relations = Relations.from_pairs([("cold", "chilly"), ("happy", "glad")], [("cold", "warm"), ("cold", "hot")])
    draw = torch.Generator().manual_seed(0)
    ids = {word: llama.tokenizer(f" {word}")["input_ids"] for word in ("cold", "warm", "chilly", "happy", "glad")}
    counts = torch.zeros(llama.vocab_size, dtype=torch.int64)
    for (one,) in ids.values():
        counts[one] = 2
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    centroids = torch.randn(int(offsets[-1]), llama.hidden_size, generator=draw)
    dictionary = build_dictionary(centroids, offsets, relations, llama.tokenizer)
    torch.manual_seed(1)
    student = make_student(llama, 4).as_model().eval()
    reading = example.read({"teacher": llama.model, "kd": student}, llama.tokenizer, SENTENCE)
    return reading, dictionary, llama


def test_states_are_those_that_the_head_reads(scene):
    reading, _, teacher = scene
    for name in ("teacher", "kd"):
        torch.testing.assert_close(reading.hidden[name] @ teacher.model.lm_head.weight.T, reading.logits[name])


def test_every_position_shows_what_came_and_what_each_model_expected(scene):
    reading, _, teacher = scene
    table = example.expectations(reading, teacher.tokenizer)
    assert len(table) == len(reading.ids) - 1 and table.came.tolist() == reading.words[1:]
    assert table.probability.between(0, 1).all() and {"teacher", "kd"} <= set(table)
    best = reading.logits["kd"][3].argmax()
    assert table.kd[3] == teacher.tokenizer.decode([int(best)])


def test_the_word_asked_for_is_followed_or_one_with_antonyms(scene):
    reading, dictionary, _ = scene
    before_cold = reading.words.index(" cold") - 1
    assert example.place_of(reading, dictionary, "cold") == before_cold
    assert example.place_of(reading, dictionary, "happy") == before_cold, "happy has no antonym here"
    assert example.place_of(reading, dictionary, "nowhere") == before_cold


def test_a_sentence_without_senses_is_refused(scene):
    _, dictionary, teacher = scene
    reading = example.read({"teacher": teacher.model}, teacher.tokenizer, "the bank was")
    with pytest.raises(ValueError, match="no token of the sentence has senses"):
        example.place_of(reading, dictionary, "bank")
    with pytest.raises(ValueError, match="has 1 tokens: give one of two or more"):
        example.read({"teacher": teacher.model}, teacher.tokenizer, " the")
    with pytest.raises(ValueError, match="one of them must be called 'teacher'"):
        example.read({"kd": teacher.model}, teacher.tokenizer, SENTENCE)


def test_candidates_are_own_and_synonym_senses_and_those_of_antonyms_nearest_first(scene):
    reading, dictionary, _ = scene
    place = example.place_of(reading, dictionary, "cold")
    table = example.candidates(reading, dictionary, place, kappa=3)
    assert sorted(zip(table.side, table.of, table.word, table.sense, strict=True)) == sorted(
        [("positive", "own", "cold", i) for i in (1, 2)]
        + [("positive", "synonym", "chilly", i) for i in (1, 2)]
        + [("negative", "antonym", "warm", i) for i in (1, 2)]
    )  # hot has no senses
    near = table[table.side == "positive"]
    assert near.teacher.is_monotonic_increasing and near.chosen.tolist() == [True, True, True, False]
    row = near.iloc[0]
    error = (dictionary.vectors[row.row].float() - reading.hidden["kd"][place]).square().mean()
    assert row.kd == pytest.approx(float(error))


def test_the_parts_add_up_to_both_objectives(scene):
    reading, dictionary, _ = scene
    place = example.place_of(reading, dictionary, "cold")
    row = example.losses(reading, dictionary, place, **SETTINGS).loc["kd"]
    table = example.candidates(reading, dictionary, place, kappa=2)
    chosen = table[table.chosen]
    near, far = (chosen[chosen.side == side].kd for side in ("positive", "negative"))
    assert row.attraction == pytest.approx(near.mean()) and row.repulsion == pytest.approx((40 - far).clip(0).mean())
    assert row.repulsion > 0, "the margin must bite, or the test says nothing of it"
    assert row.sense_loss == pytest.approx(0.7 * row.attraction + 0.3 * row.repulsion)
    assert row.kd_loss == pytest.approx(row.ce + 0.5 * row.kl) and row.dskd_loss == pytest.approx(
        row.kd_loss + row.sense_loss
    )
    kd = kd_loss(reading.logits["kd"][place][None], reading.logits["teacher"][place][None],
                 reading.ids[place + 1][None], 0.5, 3.0)  # fmt: skip
    assert row.ce == pytest.approx(float(kd.ce)) and row.kl == pytest.approx(float(kd.kl))
    vectors = [dictionary.vectors[chosen[chosen.side == side].row.tolist()][None] for side in ("positive", "negative")]
    mask = torch.ones(1, 2, dtype=torch.bool)
    whole = semantic_loss(reading.hidden["kd"][place][None], vectors[0], mask, vectors[1], mask, 0.7, 0.3, 40.0)
    assert row.sense_loss == pytest.approx(float(whole))


def test_a_token_without_antonyms_is_only_drawn_near(scene):
    reading, dictionary, _ = scene
    place = reading.words.index(" happy") - 1
    row = example.losses(reading, dictionary, place).loc["kd"]
    assert row.repulsion == 0 and row.sense_loss == pytest.approx(row.attraction)
