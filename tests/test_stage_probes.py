"""Tests of the stage of probes where a data folder holds only some of the files that it can read."""

from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest

from dskd_utils import stage_probes
from dskd_utils.lexicon.gold import FILES
from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations
from dskd_utils.sources.wikipedia import Document

WORDS = SimpleNamespace(relations=Relations.from_stream([Pair("hot", "cold", "antonym", "wordnet")]))
PAIRS = pd.DataFrame({"word": ["hot"], "other": ["cold"], "relation": ["antonym"], "set": "s", "held_out": 1})


def study(data_dir):
    return SimpleNamespace(data_dir=data_dir, seed=0, profile=SimpleNamespace(sense_contexts=5))


@pytest.fixture
def leads(monkeypatch):
    monkeypatch.setattr(stage_probes, "fetch", lambda name: name)
    monkeypatch.setattr(stage_probes, "wikipedia_leads", lambda path: [Document("w", "t", "a hot day, a cold night")])
    monkeypatch.setattr(stage_probes, "lemmatise", lambda words, folder: {})
    parts = {"night": "test", "dark": "validation"}
    monkeypatch.setattr(stage_probes, "split_words", lambda words, *_, **__: {w: parts.get(w, "train") for w in words})


def test_pairs_are_wordnets_where_a_folder_lacks_antsynnet(tmp_path):
    counts = Counter(["hot", "cold"])
    assert set(stage_probes._gold(study(tmp_path), WORDS, counts)["set"]) == {"wordnet"}
    for file, _ in FILES["antsynnet noun"]:
        (tmp_path / "lexical" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lexical" / file).write_text("one\ttwo\t0\n")
    assert set(stage_probes._gold(study(tmp_path), WORDS, counts)["set"]) == {"antsynnet noun"}


def test_a_models_own_space_is_asked_about_the_similarity_sets_that_are_there(tmp_path, leads):
    asked = stage_probes.Probes(PAIRS, pd.DataFrame(), {"pairs": 7})
    assert stage_probes.own_space(study(tmp_path), asked).similar is None
    folder = tmp_path / "lexical" / "wordsim"
    folder.mkdir(parents=True)
    (folder / "a_WS-353-SIM.txt").write_text("hot night 3.0\n")
    found = stage_probes.own_space(study(tmp_path), asked)
    assert found.similar["other"].tolist() == ["night"] and set(found.contexts["word"]) == {"hot", "cold", "night"}
    (folder / "b_WS-353-ALL.txt").write_text("hot night 3.0\nday cold 2.0\n")
    (folder / "c_MEN.txt").write_text("night hot 40\n")
    found = stage_probes.own_space(study(tmp_path), asked)
    assert found.similar["set"].tolist() == ["WS-353-ALL"] * 2 + ["MEN"], "each pair of a set that is held twice once"
    assert found.of == {"pairs": 7, "similar": 3}


def test_half_of_a_similarity_set_has_a_word_of_the_test_part(tmp_path, leads):
    folder = tmp_path / "lexical" / "wordsim"
    folder.mkdir(parents=True)
    lines = [f"night w{i} {i}" for i in range(9)] + [f"dark w{i} {i}" for i in range(9)] + ["night night 9"]
    (folder / "a_MEN.txt").write_text("\n".join(lines))
    (folder / "b_Card.txt").write_text("\n".join(lines[8:]))
    asked = stage_probes.Probes(PAIRS, pd.DataFrame(), {"pairs": 1})
    found = stage_probes.own_space(study(tmp_path), asked, limit=6).similar
    held = {name: of["held_out"].tolist() for name, of in found.groupby("set")}
    assert sum(map(bool, held["MEN"])) == 3 and len(held["MEN"]) == 6, "words of validation are none"
    assert sum(map(bool, held["Card"])) == 2 and len(held["Card"]) == 6 and sum(held["Card"]) == 3
