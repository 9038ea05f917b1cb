"""Tests of word-in-context scores and of the table over all sense tasks (beyond the paper)."""

import json
import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dskd_utils.evaluate.disambiguation import COLUMNS
from dskd_utils.evaluate.word_senses import best_threshold, pair_scores, sense_table
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses import in_context
from dskd_utils.senses.dictionary import build_dictionary
from dskd_utils.sources.sense_tasks import ALL_WORDS, WIC_FILES, word_in_context

KNOWN = ["bank", "light", "happy", "river"]


def made(tokenizer, width, scale=10.0):
    """Three far-apart senses a token, of which states take the first two; `merry` was never seen."""
    counts = torch.full((len(tokenizer),), 3)
    counts[tokenizer(" merry")["input_ids"][0]] = 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    centroids = scale * torch.randn(int(offsets[-1]), width, generator=torch.Generator().manual_seed(0))
    return build_dictionary(centroids, offsets, Relations.from_pairs(), tokenizer)


@pytest.fixture(scope="module")
def dictionary(tiny_tokenizer):
    return made(tiny_tokenizer, 16)


def pairs(dictionary, tokenizer, part, count, words=KNOWN, forms=None, noise=1.0):
    """Pairs whose states stand near the same or two different senses of the word."""
    draw = random.Random(part)
    generator = torch.Generator().manual_seed(len(part))
    rows, states = [], []
    for i in range(count):
        word = draw.choice(words)
        label = i % 3 > 0
        first = draw.randint(0, 1)
        for side, sense in ((1, first), (2, first if label else 1 - first)):
            form = forms[side - 1] if forms else word
            rows.append(("made", part, str(i), side, word, "noun", f"the {form}", 4, 4 + len(form), label))
            senses = dictionary.token_senses(tokenizer(" " + word)["input_ids"][0]).float()
            spread = noise * torch.randn(dictionary.vectors.shape[1], generator=generator)
            states.append((senses[sense] if len(senses) else 0) + spread)
    columns = ["task", "part", "item", "side", "lemma", "pos", "text", "start", "end", "label"]
    return pd.DataFrame(rows, columns=columns), torch.stack(states)


def scores(dictionary, tokenizer, train, dev, key="next"):
    parts, states = {"train": train[0], "dev": dev[0]}, {"train": train[1], "dev": dev[1]}
    return pair_scores(parts, states, dictionary, tokenizer, key=key)


def value(table, method, metric="accuracy", column="value"):
    (found,) = table[(table.method == method) & (table.metric == metric)][column]
    return found


def test_planted_senses_are_found_by_every_measure(dictionary, tiny_tokenizer):
    # Wide enough that a plane of any direction through the middle no longer parts the two senses.
    sets = [pairs(dictionary, tiny_tokenizer, part, 60, noise=7.0) for part in ("train", "dev")]
    table = scores(dictionary, tiny_tokenizer, *sets)
    assert value(table, "nearest sense") == value(table, "distance of senses") == 1
    assert value(table, "probability of one sense") > 0.9
    assert value(table, "one sense (k = 1)") == value(table, "majority class") == pytest.approx(2 / 3)
    assert value(table, "random centroids") < 0.85
    assert list(table.columns) == COLUMNS and set(table.n) == {60}
    assert value(table, "nearest sense", "accuracy, minus cosine of raw states") == pytest.approx(
        1 - value(table, "cosine of raw states")
    )


def test_thresholds_come_from_the_train_part_alone(dictionary, tiny_tokenizer):
    train, (dev, states) = [pairs(dictionary, tiny_tokenizer, part, 40) for part in ("train", "dev")]
    table = scores(dictionary, tiny_tokenizer, train, (dev, states))
    flipped = scores(dictionary, tiny_tokenizer, train, (dev.assign(label=~dev.label), states))
    for method in ("distance of senses", "probability of one sense", "cosine of raw states", "random centroids"):
        assert value(flipped, method) == pytest.approx(1 - value(table, method)), method
    swapped = scores(dictionary, tiny_tokenizer, (train[0].assign(label=~train[0].label), train[1]), (dev, states))
    assert value(swapped, "distance of senses") < 0.5 < value(table, "distance of senses")


def test_words_without_senses_count_as_the_same_sense(dictionary, tiny_tokenizer):
    train = pairs(dictionary, tiny_tokenizer, "train", 40)
    dev = pairs(dictionary, tiny_tokenizer, "dev", 40, words=["merry", "bank"])
    known = int((dev[0].lemma[::2] == "bank").sum())
    missed = int(((dev[0].lemma == "merry") & ~dev[0].label)[::2].sum())
    table = scores(dictionary, tiny_tokenizer, train, dev)
    for method in ("nearest sense", "distance of senses", "probability of one sense"):
        assert value(table, method) == pytest.approx(1 - missed / 40), method
        assert value(table, method, column="covered") == known
        assert value(table, method, "accuracy, covered", "n") == known
        assert value(table, method, "accuracy, covered") == 1
    assert value(table, "one sense (k = 1)", column="covered") == 40, "it needs no senses"


def test_a_dictionary_that_knows_no_word_says_the_same_throughout(dictionary, tiny_tokenizer):
    sets = [pairs(dictionary, tiny_tokenizer, part, 20, words=["merry"]) for part in ("train", "dev")]
    table = scores(dictionary, tiny_tokenizer, *sets)
    assert value(table, "distance of senses") == value(table, "random centroids") == 13 / 20, "as many are the same"
    assert value(table, "nearest sense", column="covered") == 0
    assert "accuracy, covered" not in set(table.metric)


def test_two_forms_are_judged_by_the_lemma_and_one_form_by_itself(dictionary, tiny_tokenizer):
    train = pairs(dictionary, tiny_tokenizer, "train", 40)
    two = pairs(dictionary, tiny_tokenizer, "dev", 40, words=["bank"], forms=["merry", "bank"])
    assert value(scores(dictionary, tiny_tokenizer, train, two), "nearest sense", column="covered") == 40
    one = pairs(dictionary, tiny_tokenizer, "dev", 40, words=["bank"], forms=["Merry", "merry"])
    assert value(scores(dictionary, tiny_tokenizer, train, one), "nearest sense", column="covered") == 0


def test_the_key_is_named_where_states_are_read(dictionary, tiny_tokenizer):
    sets = [pairs(dictionary, tiny_tokenizer, part, 20) for part in ("train", "dev")]
    table = scores(dictionary, tiny_tokenizer, *sets, key="input")
    alone = table[table.metric == "accuracy"].set_index("method").key
    assert alone["nearest sense"] == alone["cosine of raw states"] == alone["random centroids"] == "input"
    assert alone["one sense (k = 1)"] == alone["majority class"] == "any"


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=12))
def test_the_threshold_is_the_best_there_is(items):
    scores, labels = np.array([s for s, _ in items], float), np.array([label for _, label in items])
    right = lambda threshold: int(((scores >= threshold) == labels).sum())  # noqa: E731
    best = max(right(t) for t in [-np.inf, *(scores + 0.5), np.inf])
    assert right(best_threshold(scores, labels)) == best
    withheld = np.append(scores, np.nan), np.append(labels, False)
    assert best_threshold(*withheld) == best_threshold(scores, labels)


def write_tasks(folder):
    """A miniature of all five data sets over the tiny tokenizer's words."""
    draw = random.Random(0)
    words = ["the", "happy", "sad", "warm", "cold", "river", "bank", "was", "very"]

    def sentence(word):
        before, after = (draw.choices(words, k=draw.randint(1, 4)) for _ in range(2))
        return [*before, word, *after], len(before)

    for (name, _), file in WIC_FILES.items():
        lines, entries, gold = [], [], []
        for i in range(24):
            word = draw.choice(["bank", "light", "merry"])
            (one, at), (two, other) = sentence(word), sentence(word)
            texts, tag = [" ".join(one), " ".join(two)], draw.choice("TF")
            lines.append("\t".join([f"p{i}", word, "N", f"{at}-{other}", *texts, tag]))
            spans = [sum(len(w) + 1 for w in found[:place]) for found, place in ((one, at), (two, other))]
            entries.append(
                {"id": str(i), "lemma": word, "pos": "NOUN"}
                | {f"sentence{s}": texts[s - 1] for s in (1, 2)}
                | {f"start{s}": str(spans[s - 1]) for s in (1, 2)}
                | {f"end{s}": str(spans[s - 1] + len(word)) for s in (1, 2)}
            )
            gold.append({"id": str(i), "tag": tag})
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) if name == "wic" else json.dumps(entries))
        if name == "mcl-wic":
            path.with_name(path.name[:-4] + "gold").write_text(json.dumps(gold))
    for name in ALL_WORDS:
        path = folder / "wsd" / name / f"{name}.data.xml"
        path.parent.mkdir(parents=True)
        body, keys = [], []
        for i in range(12):
            word = draw.choice(["bank", "light"])
            found, at = sentence(word)
            tags = [f'<wf lemma="{w}" pos="X">{w}</wf>' for w in found]
            tags[at] = f'<instance id="{name}.{i}" lemma="{word}" pos="NOUN">{word}</instance>'
            body.append(f"<sentence>{''.join(tags)}</sentence>")
            keys.append(f"{name}.{i} {word}%1:0{draw.randint(1, 2)}:00::")
        path.write_text(f"<corpus>{''.join(body)}</corpus>")
        path.with_name(f"{name}.gold.key.txt").write_text("\n".join(keys))
    return folder


def test_the_table_covers_all_tasks_and_reads_each_context_once(llama, tmp_path, monkeypatch):
    data, dictionary = write_tasks(tmp_path / "data"), made(llama.tokenizer, llama.hidden_size, 1.0)
    wordnet = {(word, "noun"): [f"{word}%1:01:00::", f"{word}%1:02:00::"] for word in ("bank", "light")}
    options = {"data_dir": data, "folder": tmp_path / "states", "wordnet": wordnet, "limit": 20}
    tables = {"next": sense_table(llama, dictionary, "next", **options)}
    assert len(list((tmp_path / "states").iterdir())) == 5
    monkeypatch.setattr(in_context, "teacher_states", None)
    tables |= {key: sense_table(llama, dictionary, key, **options) for key in ("input", "predicted")}
    for key, table in tables.items():
        assert list(table.columns) == COLUMNS and set(table.key) == {key, "any"}
        assert set(table.task) == {"wic", "mcl-wic", "all-words"}
        judged = table[table.metric == "accuracy"]
        assert judged.value.between(judged.low - 1e-9, judged.high + 1e-9).all() and judged.value.between(0, 1).all()
        assert set(judged[judged.task != "all-words"].n) == {20}
    shared = [table[table.key == "any"].reset_index(drop=True) for table in tables.values()]
    assert shared[0].equals(shared[1]) and shared[0].equals(shared[2])
    own = [table[table.method == "cosine of raw states"].value.tolist() for table in tables.values()]
    assert own[0] == own[2] != own[1], "predicted asks with the state of next"
    assert tables["predicted"][tables["predicted"].metric == "share"].value.between(0, 1).all()


def test_the_miniature_is_read_as_the_real_files_are(tmp_path):
    found = word_in_context(write_tasks(tmp_path), "mcl-wic", "train")
    assert [t[s:e] for t, s, e in zip(found.text, found.start, found.end, strict=True)] == found.lemma.tolist()
