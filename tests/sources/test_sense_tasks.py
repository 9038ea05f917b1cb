"""Tests of the readers of word-in-context pairs and of sense-tagged text (beyond the paper)."""

import gzip
import json
from pathlib import Path

import pytest

from dskd_utils.sources.assets import cached
from dskd_utils.sources.sense_tasks import ALL_WORDS, WIC_FILES, all_words, holds, word_in_context, wordnet_senses

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (DATA / "wic").is_dir(), reason="needs upstream files in ../shared/data")

WIC = [
    "1-2\tbank\tN\t1-4\tThe bank lent money .\tWe sat on the banks .\tF",
    "3-4\trun\tV\t0-2\tRun !\tShe can run far .\tT",
]
MCL = [
    {"id": "training.en-en.0", "lemma": "seam", "pos": "ADJ", "sentence1": 'A "seamless" coat.', "start1": "3",
     "end1": "11", "sentence2": "Seamless.", "start2": "0", "end2": "8"},
    {"id": "training.en-en.1", "lemma": "well", "pos": "ADV", "sentence1": "All is well.", "start1": "7", "end1": "11",
     "sentence2": "Well done.", "start2": "0", "end2": "4"},
]  # fmt: skip
GOLD = [{"id": "training.en-en.0", "tag": "F"}, {"id": "training.en-en.1", "tag": "T"}]
XML = """<?xml version="1.0" encoding="UTF-8" ?>
<corpus lang="en" source="senseval2"><text id="d0">
<sentence id="d0.s0"><wf lemma="he" pos="PRON">He</wf>
<instance id="d0.s0.t0" lemma="look_away" pos="VERB">looked away</instance><wf lemma="&amp;" pos=".">&amp;</wf>
<instance id="d0.s0.t1" lemma="laugh" pos="VERB">laughed</instance></sentence>
<sentence id="d0.s1"><instance id="d0.s1.t0" lemma="laugh" pos="VERB">Laugh</instance></sentence>
</text></corpus>
"""
KEYS = "d0.s0.t0 look_away%2:39:00::\nd0.s0.t1 laugh%2:29:00:: laugh%2:32:00::\nd0.s1.t0 laugh%2:29:00::\n"


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path):
    write(tmp_path, WIC_FILES["wic", "train"], "\n".join(WIC) + "\n")
    write(tmp_path, WIC_FILES["mcl-wic", "train"], json.dumps(MCL))
    write(tmp_path, "wic/mcl-wic/training.en-en.gold", json.dumps(GOLD))
    write(tmp_path, "wsd/senseval2/senseval2.data.xml", XML)
    return write(tmp_path, "wsd/senseval2/senseval2.gold.key.txt", KEYS)


def targets(contexts):
    return [text[start:end] for text, start, end in zip(contexts.text, contexts.start, contexts.end, strict=True)]


def test_a_pair_is_two_rows_with_the_words_characters(data):
    found = word_in_context(data, "wic", "train")
    assert targets(found) == ["bank", "banks", "Run", "run"]
    assert found.label.tolist() == [False, False, True, True] and found.side.tolist() == [1, 2, 1, 2]
    assert found.lemma.tolist() == ["bank"] * 2 + ["run"] * 2 and found.pos.tolist() == ["noun"] * 2 + ["verb"] * 2


def test_the_second_set_gives_characters_itself(data):
    found = word_in_context(data, "mcl-wic", "train")
    assert targets(found) == ["seamless", "Seamless", "well", "Well"]
    assert found.label.tolist() == [False, False, True, True] and set(found.pos) == {"adj", "adv"}


def test_compressed_files_are_read_too(data):
    path = data / WIC_FILES["wic", "train"]
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(word_in_context(data, "wic", "train")) == 4


def test_tagged_words_keep_their_sentence_and_all_their_keys(data):
    found = all_words(data, ["senseval2"])
    assert targets(found) == ["looked away", "laughed", "Laugh"]
    assert found.text[0] == "He looked away & laughed" and found.lemma[0] == "look_away" and found.pos[0] == "verb"
    assert found.gold[1] == ("laugh%2:29:00::", "laugh%2:32:00::")


def test_a_limit_takes_whole_pairs_by_its_seed(data):
    write(data, WIC_FILES["wic", "train"], "\n".join(line.replace("-", f"{i}-", 1) for i in range(20) for line in WIC))
    found = word_in_context(data, "wic", "train", limit=7, seed=1)
    assert len(found) == 14
    assert (found.item[::2].to_numpy() == found.item[1::2].to_numpy()).all() and found.item.nunique() == 7
    assert found.equals(word_in_context(data, "wic", "train", limit=7, seed=1))
    assert not found.equals(word_in_context(data, "wic", "train", limit=7, seed=2))
    assert len(word_in_context(data, "wic", "train", limit=1000)) == 80


def test_a_limit_on_tagged_words_takes_whole_lemmas_that_occur_twice(data):
    for seed in range(5):
        assert all_words(data, ["senseval2"], limit=1, seed=seed).lemma.tolist() == ["laugh", "laugh"]
    assert len(all_words(data, ["senseval2"], limit=3)) == 3


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1-2\tbank\tN\t1-4\tThe bank .\tF", "line 3: 6 columns, expected 7"),
        ("1-2\tbank\tN\t1-9\tThe bank .\tThe bank .\tF", "line 3: no pair with"),
        ("1-2\tbank\tN\t1\tThe bank .\tThe bank .\tF", "line 3: no pair with"),
        ("1-2\tbank\tN\t1--1\tThe bank .\tThe bank .\tF", "line 3: no pair with"),
        ("1-2\tbank\tX\t1-1\tThe bank .\tThe bank .\tF", "line 3: no pair with"),
        ("1-2\tbank\tN\t1-1\tThe bank .\tThe bank .\tyes", "line 3: no pair with"),
        ("1-2\tbank\tN\t1-one\tThe bank .\tThe bank .\tT", "line 3: no pair with"),
    ],
)
def test_a_malformed_pair_names_file_and_line(data, line, says):
    write(data, WIC_FILES["wic", "train"], "\n".join([*WIC, line]))
    with pytest.raises(ValueError, match=f"train.data.ids.txt, {says}"):
        word_in_context(data, "wic", "train")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"end1": "200"}, "entry 1: no pair with"),
        ({"start1": "12"}, "entry 1: no pair with"),
        ({"start1": "one"}, "entry 1: no pair with"),
        ({"pos": "PRON"}, "entry 1: no pair with"),
        ({"lemma": None}, "entry 1: the field 'lemma' is missing"),
        ({"id": "other"}, "entry 1: training.en-en.gold has no tag for 'other'"),
    ],
)
def test_a_malformed_entry_names_file_and_entry(data, change, says):
    write(data, WIC_FILES["mcl-wic", "train"], json.dumps([MCL[0] | change, MCL[1]]))
    with pytest.raises(ValueError, match=f"training.en-en.data, {says}"):
        word_in_context(data, "mcl-wic", "train")


@pytest.mark.parametrize(
    ("text", "says"),
    [("[{", "line 1: not JSON"), ("{}", "line 1: expected a JSON list"), ("", "line 1: the file is empty")],
)
def test_a_file_that_is_no_json_list_is_named(data, text, says):
    write(data, WIC_FILES["mcl-wic", "train"], text)
    with pytest.raises(ValueError, match=f"training.en-en.data, {says}"):
        word_in_context(data, "mcl-wic", "train")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("data.xml", XML[:300], r"data.xml, line \d+: not XML"),
        ("data.xml", XML.replace('lemma="laugh"', ""), "instance 'd0.s0.t1': expected a lemma"),
        ("data.xml", XML.replace('pos="VERB"', 'pos="X"'), "instance 'd0.s0.t0': expected a lemma"),
        ("gold.key.txt", KEYS.replace("look_away%2:39:00::", ""), "gold.key.txt, line 1: expected an instance"),
        ("gold.key.txt", KEYS.splitlines()[0], "instance 'd0.s0.t1': .* a line in senseval2.gold.key.txt"),
    ],
)
def test_malformed_tagged_text_names_file_and_place(data, name, text, says):
    write(data, f"wsd/senseval2/senseval2.{name}", text)
    with pytest.raises(ValueError, match=says):
        all_words(data, ["senseval2"])


def test_a_damaged_archive_is_named(data):
    path = data / WIC_FILES["wic", "train"]
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(packed[:-12])
    with pytest.raises(ValueError, match="train.data.ids.txt.gz cannot be read"):
        word_in_context(data, "wic", "train")


def test_missing_data_name_the_cure(tmp_path):
    for read in (lambda: word_in_context(tmp_path, "wic", "dev"), lambda: all_words(tmp_path)):
        with pytest.raises(FileNotFoundError, match="not downloaded because of their licence, so set data_dir"):
            read()


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no part 'test' of 'wic': choose from wic train"):
        word_in_context(tmp_path, "wic", "test")
    with pytest.raises(ValueError, match="'semcor' is not one of senseval2"):
        all_words(tmp_path, ["semcor"])


def test_wordnets_senses_come_in_its_order(tmp_path):
    lines = ["bank%1:14:00:: 08420278 2 20", "bank%1:17:01:: 09213565 1 25", "bank%2:38:00:: 02039413 1 2",
             "good%3:00:01:: 01123148 1 190", "good%5:00:00:near:00 00452883 2 10"]  # fmt: skip
    senses = wordnet_senses(write(tmp_path, "index.sense", "\n".join(lines)))
    assert senses["bank", "noun"] == ["bank%1:17:01::", "bank%1:14:00::"] and senses["bank", "verb"] == [
        "bank%2:38:00::"
    ]
    assert senses["good", "adj"] == ["good%3:00:01::", "good%5:00:00:near:00"]
    with pytest.raises(ValueError, match="index.sense, line 2: expected a sense, found 'bank 1'"):
        wordnet_senses(write(tmp_path, "index.sense", lines[0] + "\nbank 1"))
    with pytest.raises(FileNotFoundError, match="WordNet's database files"):
        wordnet_senses(tmp_path / "nothing")


@needs_data
@pytest.mark.parametrize(
    ("name", "part", "pairs"),
    [("wic", "train", 5428), ("wic", "dev", 638), ("mcl-wic", "train", 8000), ("mcl-wic", "dev", 1000)],
)
def test_the_published_pairs_are_whole_and_balanced(name, part, pairs):
    found = word_in_context(DATA, name, part)
    assert len(found) == 2 * pairs and found.label.mean() == 0.5 and found.item.nunique() == pairs
    alike = [word[:2].lower() == lemma[:2].lower() for word, lemma in zip(targets(found), found.lemma, strict=True)]
    assert sum(alike) > 0.97 * len(found), "but for irregular forms a target starts as its lemma does"


@needs_data
@pytest.mark.skipif(cached("wordnet") is None, reason="needs WordNet in the cache")
def test_the_published_texts_fit_wordnet():
    found = all_words(DATA)
    assert found.groupby("task").size().to_dict() == dict(zip(ALL_WORDS, (2282, 1850, 455), strict=True))
    senses = wordnet_senses(cached("wordnet"))
    assert all(set(row.gold) & set(senses[row.lemma, row.pos]) for row in found.itertuples())
    first = sum(senses[row.lemma, row.pos][0] in row.gold for row in found.itertuples()) / len(found)
    assert 0.63 < first < 0.68, "Raganato et al. (2017) report 65 to 67% on the two larger texts"


def test_a_folder_holds_these_texts_when_it_has_all_their_folders(tmp_path):
    assert not holds(None) and not holds(tmp_path)
    for place in ("wic/wic", "wic/mcl-wic", "wsd/senseval2", "wsd/senseval3"):
        (tmp_path / place).mkdir(parents=True)
    assert not holds(tmp_path)
    (tmp_path / "wsd/semeval2007").mkdir()
    assert holds(tmp_path)
