"""Tests of what the lexical probes ask: held-out pairs, questions, similarities (beyond the paper)."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from dskd_utils.evaluate.own_space import word_states, word_vectors
from dskd_utils.evaluate.probe_data import (
    NEAREST,
    build_questions,
    held_out_pairs,
    read_similarity,
    similarity_records,
    stated_pairs,
)
from dskd_utils.evaluate.probes import probe_table
from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.split import split_words, training_relations

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not (DATA / "lexical").is_dir(), reason="needs upstream files in ../shared/data")
SPLIT = {"a": "train", "b": "test", "c": "test", "d": "validation", "e": "train"}
PAIRS = pd.DataFrame(
    [
        ("adj", "a", "b", "synonym"),
        ("noun", "a", "b", "synonym"),
        ("adj", "a", "e", "antonym"),
        ("adj", "b", "c", "antonym"),
        ("adj", "c", "d", "synonym"),
        ("adj", "d", "e", "synonym"),
        ("adj", "c", "e", "synonym"),
        ("noun", "c", "e", "antonym"),
    ],
    columns=["set", "word", "other", "relation"],
)


def test_a_pair_is_asked_about_its_held_out_word_once_however_many_sets_hold_it():
    rows = held_out_pairs(PAIRS, SPLIT).itertuples(index=False, name=None)
    assert list(rows) == [
        ("b", "a", "synonym", "adj, noun", 1),
        ("b", "c", "antonym", "adj", 2),
        ("c", "d", "synonym", "adj", 2),  # the other word is held out for validation
    ]  # and c, e is labelled both ways


def test_settings_are_chosen_without_a_look_at_test_words():
    found = held_out_pairs(PAIRS, SPLIT, part="validation")
    assert found.values.tolist() == [["d", "e", "synonym", "adj", 1]]


def test_words_outside_the_split_and_unknown_parts_are_refused():
    with pytest.raises(ValueError, match=r"1 words have no part in the split \(e\): give them one with split_words"):
        held_out_pairs(PAIRS, {word: SPLIT[word] for word in "abcd"})
    with pytest.raises(ValueError, match="part 'train' is not held out: choose one of validation, test"):
        held_out_pairs(PAIRS, SPLIT, part="train")


def made_relations(pairs=400):
    """Synonyms and antonyms among words of two parts of speech, a few of another source and a few contradictions."""
    rng = np.random.default_rng(0)
    words = {pos: [f"{pos}{i}" for i in range(120)] for pos in ("noun", "adj")}
    rows = []
    for i in range(pairs):
        word, other = rng.choice(words["noun" if i % 2 else "adj"], 2, replace=False)
        relation = "synonym" if rng.random() < 0.7 else "antonym"
        rows.append(Pair(word, other, relation, "wordnet" if i % 8 else "roget"))
    rows += [Pair(p.word, p.other, "antonym", "roget") for p in rows[:6] if p.relation == "synonym"]
    senses = {(word, pos): ["x"] for pos, of in words.items() for word in of}
    counts = {word: int(c) for word, c in zip(words["noun"] + words["adj"], rng.zipf(1.5, 240), strict=True)}
    return Relations.from_stream(rows, policy="drop"), senses, counts


@pytest.fixture(scope="module")
def made():
    relations, senses, counts = made_relations()
    split = split_words(relations.words, {}, held_out=0.5)
    return relations, split, senses, counts, build_questions(relations, split, senses, counts)


def test_questions_ask_for_every_related_word_of_every_held_out_word(made):
    relations, split, _, _, questions = made
    expected = {
        (kind, word, other)
        for word in relations.words
        if split[word] == "test"
        for kind, others in (("synonym", relations.synonyms(word)), ("antonym", relations.antonyms(word)))
        for other in others
        if "wordnet" in relations.sources(word, other)
    }
    asked = [(q.relation, q.word, q.options[q.answer]) for q in questions.itertuples()]
    assert set(asked) == expected and len(asked) == len(expected) > 100
    assert questions["question_id"].is_unique and set(questions["relation"]) == {"synonym", "antonym"}
    assert [q.held_out for q in questions.itertuples()] == [1 + (split[other] != "train") for _, _, other in asked]


def test_no_wrong_option_is_related_to_the_word_or_to_the_answer(made):
    relations, _, _, _, questions = made
    dropped = relations.frame.query("relation == 'dropped'")
    assert len(dropped) > 1
    partners = {frozenset(pair) for pair in zip(dropped["word"], dropped["other"], strict=True)}
    for q in questions.itertuples():
        answer = q.options[q.answer]
        assert len(set(q.options) | {q.word}) == 5
        for option in set(q.options) - {answer}:
            for known in (q.word, answer):
                assert option not in relations.synonyms(known) | relations.antonyms(known)
                assert frozenset((option, known)) not in partners


def test_distractors_are_words_of_the_answers_kind_and_frequency(made):
    relations, _, senses, counts, questions = made
    pools = {
        (kind, pos): {
            word
            for word in relations.words
            if (word, pos) in senses
            for other in getattr(relations, f"{kind}s")(word)
            if "wordnet" in relations.sources(word, other)
        }
        for kind in ("synonym", "antonym")
        for pos in ("noun", "adj")
    }
    partners = relations.frame[["word", "other"]].values.tolist()
    for q in questions.itertuples():
        answer, pool = q.options[q.answer], pools[q.relation, q.pos]
        assert set(q.options) <= pool and q.counts == [counts[option] for option in q.options]
        related = {word for pair in partners if {q.word, answer} & set(pair) for word in pair}
        gaps = sorted(abs(np.log(counts[word] / counts[answer])) for word in pool - related)
        limit = gaps[min(NEAREST, len(gaps)) - 1]
        assert all(abs(np.log(c / counts[answer])) <= limit + 1e-9 for c in q.counts)


def test_questions_are_seeded_and_the_answers_place_is_by_chance(made):
    relations, split, senses, counts, questions = made
    pd.testing.assert_frame_equal(build_questions(relations, split, senses, counts), questions)
    other = build_questions(relations, split, senses, counts, seed=1)
    assert other["question_id"].tolist() == questions["question_id"].tolist()
    assert (other["options"] != questions["options"]).mean() > 0.9
    some = build_questions(relations, split, senses, counts, limit=3)
    assert len(some) == 6 and some.groupby("relation")["of"].first().to_dict() == Counter(questions["relation"])
    places = Counter(questions["answer"])
    assert set(places) == {0, 1, 2, 3} and max(places.values()) < 0.4 * len(questions)
    # Of many equally rare words not always the same ones are shown.
    rare = build_questions(relations, split, senses, dict.fromkeys(counts, 1))
    assert len({option for options in rare["options"] for option in options}) > 200


def test_what_is_asked_touches_no_training_relation_whatever_is_flipped(made):
    relations, split, _, _, questions = made
    negation = SimpleNamespace(base={f"noun{i}": f"noun{i + 1}" for i in range(0, 100, 3)}.get)
    assert len(relations.with_negation(negation)) != len(relations)
    training = training_relations(relations, negation, split)
    frame = relations.frame.query("relation != 'dropped'")[["word", "other", "relation"]].assign(set="made")
    asked = {*questions["word"], *held_out_pairs(frame.astype({"relation": str}), split)["word"]}
    assert asked and training.words and not asked & set(training.words)


def test_questions_for_validation_hold_no_test_word(made):
    relations, split, senses, counts, _ = made
    found = build_questions(relations, split, senses, counts, part="validation")
    shown = {option for options in found["options"] for option in options} | set(found["word"])
    assert len(found) > 20 and {split[word] for word in found["word"]} == {"validation"}
    assert {split[word] for word in shown} == {"train", "validation"}


def test_words_that_a_corpus_does_not_hold_are_neither_asked_nor_shown(made):
    relations, split, senses, counts, questions = made
    few = {word: count for word, count in counts.items() if int(word[-1]) % 3}
    found = build_questions(relations, split, senses, few)
    assert 0 < len(found) < len(questions)
    assert {*found["word"], *(o for options in found["options"] for o in options)} <= few.keys()
    assert not len(build_questions(relations, split, senses, {}))


def test_the_part_of_speech_is_the_one_shared_in_most_senses():
    relations = Relations.from_pairs([(f"w{i}", f"v{i}") for i in range(5)], source="wordnet")
    split = dict.fromkeys(relations.words, "train") | {"w0": "test"}
    senses = {(word, pos): ["x"] for word in relations.words for pos in ("noun", "verb")}
    senses |= {("w0", "verb"): ["x"] * 4, ("w0", "adj"): ["x"] * 9}
    found = build_questions(relations, split, senses, dict.fromkeys(relations.words, 2))
    assert found[["word", "pos", "held_out"]].values.tolist() == [["w0", "verb", 1]]
    # Words that are mostly nouns are no options for a verb, though they can be one.
    mostly = senses | {(word, "noun"): ["x"] * 2 for word in ("v1", "w1", "v2", "w2", "v3")}
    assert build_questions(relations, split, mostly, dict.fromkeys(relations.words, 2))["options"].map(
        set
    ).tolist() == [{"v0", "w3", "v4", "w4"}]
    assert not len(build_questions(relations, split, mostly, dict.fromkeys(relations.words, 2), options=5))
    nouns = senses | {(word, "noun"): ["x"] * 9 for word in relations.words if word != "w0"}
    nouns["w0", "verb"] = ["x"] * 99
    assert not len(build_questions(relations, split, nouns, dict.fromkeys(relations.words, 2)))
    del senses["v0", "noun"], senses["v0", "verb"]
    assert not len(build_questions(relations, split, senses, dict.fromkeys(relations.words, 2)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"part": "train"}, "part 'train' is not held out"),
        ({"options": 1}, "expected at least 2: one right and one wrong"),
        ({"source": "wikt"}, "no pair from the source 'wikt': build them with it"),
        ({"split": {}}, "have no part in the split"),
    ],
)
def test_questions_that_cannot_be_made_are_refused(made, options, reason):
    relations, split, senses, counts, _ = made
    with pytest.raises(ValueError, match=reason):
        build_questions(**{"relations": relations, "split": split, "senses": senses, "counts": counts} | options)


def write(folder, **files):
    (folder / "lexical" / "wordsim").mkdir(parents=True)
    for name, content in files.items():
        (folder / "lexical" / "wordsim" / f"{name.replace('__', '-')}.txt").write_text(content)
    return folder


def test_similarity_sets_are_read_whatever_sets_their_columns_apart(tmp_path):
    header = "word1\tword2\tPOS\tSimLex999\tmore\r\n"
    folder = write(
        tmp_path,
        SimLex__999=header + "old\tnew\tA\t1.58\t2\r\n",
        a_MEN="sun sunlight 50.0\n",
        j_Card="Pocket_Monsters\tPokemon\t3.81\n",
        g_SimLex999="old\tnew\t1.58\n",
    )
    assert read_similarity(folder).values.tolist() == [
        ["SimLex-999", "old", "new", 1.58],
        ["MEN", "sun", "sunlight", 50.0],
        ["Card", "pocket monsters", "pokemon", 3.81],
    ]


@pytest.mark.parametrize("line", ["sun sunlight", "sun sunlight much", "sun"])
def test_a_malformed_or_missing_similarity_file_is_named(tmp_path, line):
    with pytest.raises(FileNotFoundError, match="no word similarity set in .*: set data_dir"):
        read_similarity(tmp_path)
    with pytest.raises(ValueError, match=f"a_MEN.txt, line 2: expected two words and a score, found '{line}'"):
        read_similarity(write(tmp_path, a_MEN=f"a b 1\n{line}\n"))


@needs_data
def test_the_published_sets_have_their_published_sizes():
    sizes = read_similarity(DATA).groupby("set").size().to_dict()
    assert sizes == {
        "SimLex-999": 999, "MEN-TR-3k": 3000, "MTurk-287": 287, "MTurk-771": 771, "RG-65": 65, "WS-353-REL": 252,
        "YP-130": 130, "WS-353-SIM": 203, "Card-660": 660, "MC-30": 30, "WS-353-ALL": 353,
    }  # fmt: skip


CONTEXTS = pd.DataFrame(
    [("the Happy dog", 4, 9, "Happy"), ("was very happy", 9, 14, "happy"), ("the zebra bank", 4, 9, "zebra")],
    columns=["text", "start", "end", "word"],
)


def test_a_words_vector_is_its_mean_state_once_read(llama):
    attentions = [layer.self_attn for layer in llama.model.train().model.layers]
    try:
        for attention in attentions:
            attention.attention_dropout = 0.5
        contexts = CONTEXTS.set_index(pd.Index([7, 7, 9]))
        found = word_vectors(word_states({"llama": llama.model}, llama.tokenizer, contexts))["llama"]
        assert llama.model.training
    finally:
        llama.model.eval()
        for attention in attentions:
            attention.attention_dropout = 0.0
    states = []
    for text, start, end, _ in CONTEXTS.itertuples(index=False):
        before, whole = (llama.tokenizer(t)["input_ids"] for t in (text[: start - 1], text[:end]))
        ids = torch.tensor([[llama.tokenizer.eos_token_id, *whole]])
        with torch.inference_mode():
            states.append(llama.model.model(input_ids=ids).last_hidden_state[0, 1 + len(before) :].mean(0))
    assert list(found) == ["happy", "zebra"] and found["happy"].dtype == torch.float32
    assert_close(found["happy"], (states[0] + states[1]) / 2, atol=0.02, rtol=0.02)
    assert_close(found["zebra"], states[2], atol=0.02, rtol=0.02)
    assert (states[0] - states[1]).abs().max() > 0.5, "else one context would do"
    with pytest.raises(ValueError, match="no context: give at least one"):
        word_states({"llama": llama.model}, llama.tokenizer, CONTEXTS.head(0))


def test_similarities_are_cosines_raw_and_standardised_and_say_what_is_missing():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(6, 4, generator=generator) * torch.tensor([1.0, 1, 1, 50]) + torch.tensor([0.0, 0, 0, 200])
    vectors = dict(zip("abcdef", raw, strict=True))
    rows = [
        ("s", "a", "b", 1.0),
        ("s", "a", "x", 3.0),
        ("s", "c", "d", 2.0),
        ("t", "e", "f", 5.0),
        ("s", "e", "a", 4.0),
    ]
    pairs = pd.DataFrame(rows, columns=["set", "word", "other", "gold"]).assign(held_out=[1, 1, 1, 0, 2])
    records = similarity_records({"one": vectors, "two": dict(list(vectors.items())[:5])}, pairs)
    first = records[records["model"] == "one"]
    standard = (raw - raw.mean(0)) / raw.std(0, correction=0)
    for row, (i, j) in ((0, (0, 1)), (2, (2, 3)), (4, (4, 0))):
        assert first["cosine"][row] == pytest.approx(torch.cosine_similarity(raw[i], raw[j], dim=0).item(), abs=1e-5)
        cosine = torch.cosine_similarity(standard[i], standard[j], dim=0).item()
        assert first["standardised"][row] == pytest.approx(cosine, abs=1e-4)
    assert first["cosine"].isna().tolist() == [False, True, False, False, False]
    assert records["cosine"].isna().tolist()[5:] == [False, True, False, True, False]
    assert first["subset"].tolist() == [["held out", "all", "s"]] * 3 + [["all", "t"]] + [["held out", "all", "s"]]
    table = probe_table(records, resamples=20).set_index(["subset", "measure", "model"])
    row = table.loc[("s", "cosine", "one")]
    assert (row["n"], row["of"], row["words"]) == (3, 4, 5)
    assert (table.loc[("t", "cosine", "one"), ["n", "of"]] == [0, 1]).all()


def test_stated_pairs_are_each_pair_of_the_source_once():
    pairs = [("b", "a", "synonym", "wordnet"), ("a", "c", "antonym", "wordnet"), ("a", "d", "synonym", "roget")]
    relations = Relations.from_stream([Pair(*pair) for pair in pairs])
    found = stated_pairs(relations, "wordnet")
    assert sorted(map(tuple, found[["word", "other", "relation", "set"]].values)) == [
        ("a", "b", "synonym", "wordnet"),
        ("a", "c", "antonym", "wordnet"),
    ]
