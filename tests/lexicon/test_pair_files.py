"""Tests of `dskd_utils.lexicon.pair_files`."""

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dskd_utils.lexicon.pair_files import Pair, read_json_pairs, read_moby, read_pair_file, read_pairs, read_table

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "lexical" / "hg2vec"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_two_words_a_line_are_read_plain_and_packed(tmp_path):
    with gzip.open(tmp_path / "list.txt.gz", "wt") as stream:
        stream.write("happy glad\n\nfall down drop\n")
    expected = [Pair("happy", "glad", "synonym", "mine"), Pair("fall down", "drop", "synonym", "mine")]
    assert list(read_pairs(tmp_path / "list.txt.gz", "synonym", "mine")) == expected
    assert list(read_pair_file(tmp_path / "list.txt.gz", "synonym", "mine")) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("happy glad\nalone\n", r"p\.txt, line 2: expected two words"),
        ("happy\tglad\n", r"p\.txt, line 1: expected two words"),
        ("happy glad 0.9\n", r"p\.txt, line 1: expected two words"),
    ],
)
def test_a_line_that_is_not_two_words_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        list(read_pairs(write(tmp_path / "p.txt", content), "synonym", "mine"))


@pytest.mark.parametrize("read", [read_pairs, read_json_pairs])
def test_an_unknown_relation_is_refused(tmp_path, read):
    with pytest.raises(ValueError, match="relation is 'hypernym', expected 'synonym' or 'antonym'"):
        list(read(write(tmp_path / "p.txt", "happy glad\n"), "hypernym", "mine"))


def test_a_table_names_words_relation_and_source(tmp_path):
    text = 'Relation\tword\tscore\tother\tsource\nsynonym\thappy\t1\tglad\tA\n\nAntonym\thappy\t\t"fall down\tB\n'
    assert list(read_table(write(tmp_path / "t.tsv", text))) == [
        Pair("happy", "glad", "synonym", "A"), Pair("happy", '"fall down', "antonym", "B"),
    ]  # fmt: skip


def test_a_table_may_have_a_column_a_relation_with_empty_cells(tmp_path):
    path = write(tmp_path / "mine.csv", 'word,synonym,antonym\nhappy,"glad",sad\n"up, then on",,down\ntall,,\n')
    assert list(read_pair_file(path)) == [
        Pair("happy", "glad", "synonym", "mine"),
        Pair("happy", "sad", "antonym", "mine"),
        Pair("up, then on", "down", "antonym", "mine"),
    ]


def test_a_table_of_words_alone_takes_the_relation_given_or_that_of_its_name(tmp_path):
    path = write(tmp_path / "list.tsv", "word\tother\nhappy\tsad\n")
    assert list(read_pair_file(path, "antonym", "x")) == [Pair("happy", "sad", "antonym", "x")]
    with pytest.raises(ValueError, match=r"list\.tsv does not say what its pairs are: give relation="):
        list(read_pair_file(path))
    named = path.rename(tmp_path / "my-antonyms.tsv")
    assert list(read_pair_file(named)) == [Pair("happy", "sad", "antonym", "my-antonyms")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n", r"t\.csv, line 1: expected a header with the columns word, other"),
        ("\n\nword,meaning\nhappy,glad\n", r"t\.csv, line 3: expected a header"),
        ("word,other,synonym\nhappy,glad,x\n", r"t\.csv, line 1: expected a header"),
        ("word,other,relation\nhappy,glad\n", r"t\.csv, line 2: expected 3 cells as in the header, found 2"),
        ("word,other,relation\n\nhappy,glad,synonym,x\n", r"t\.csv, line 3: expected 3 cells"),
        ("word,other,relation\nhappy,glad,hypernym\n", r"t\.csv, line 2: the relation is 'hypernym'"),
        ("word,other,relation\nhappy,,synonym\n", r"t\.csv, line 2: a word is empty"),
        ("word,synonym\n,glad\n", r"t\.csv, line 2: a word is empty"),
        ('word,synonym\nhappy,"glad\nsad,x\n', r"t\.csv, line 3: not a row of the table"),
        ("word,other,relation\n", r"t\.csv, line 1: the file holds no pair of words"),
        ("\n \n", r"t\.csv, line 1: the file holds blank lines only"),
    ],
)
def test_a_malformed_table_is_refused_with_file_and_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        list(read_pair_file(write(tmp_path / "t.csv", text)))
    assert "\n" not in str(caught.value)


def test_a_table_must_agree_with_the_relation_given(tmp_path):
    path = write(tmp_path / "t.csv", "word,synonym,antonym\nhappy,glad,\nhappy,,sad\n")
    with pytest.raises(ValueError, match=r"t\.csv, line 3: the relation is 'antonym', expected 'synonym'"):
        list(read_pair_file(path, "synonym"))


def test_a_json_object_from_words_to_lists_is_read(tmp_path):
    path = write(tmp_path / "d.json", '{\n "happy": ["glad", "merry"],\n "café": []\n}\n')
    expected = [("happy", "glad", "synonym", "d"), ("happy", "merry", "synonym", "d")]
    assert list(read_pair_file(path, "synonym")) == expected
    assert list(read_pair_file(path.rename(tmp_path / "data.txt"), "synonym", "d")) == expected
    with pytest.raises(ValueError, match=r"data\.txt does not say what its pairs are"):
        list(read_pair_file(tmp_path / "data.txt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "happy": ["glad",\n}\n', r"d\.json, line 3: not valid JSON"),
        ('{\n "happy": ["glad"', r"d\.json, line 2: not valid JSON"),
        ('["happy", "glad"]\n', r"d\.json, line 1: expected a JSON object"),
        ('{\n "happy": ["glad"],\n "sad": "low"\n}', r"d\.json, line 3: expected a list of words for 'sad', found low"),
        ('{\n "happy": ["glad", null]\n}', r"d\.json, line 2: expected a list of words for 'happy'"),
        ("{}\n", r"d\.json, line 1: the file holds no pair of words"),
    ],
)
def test_malformed_json_is_refused_with_file_and_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        list(read_pair_file(write(tmp_path / "d.json", text), "synonym"))


def test_moby_has_the_root_first(tmp_path):
    path = write(tmp_path / "mthesaur.txt", "happy,glad,in luck,\nsad,blue\n")
    expected = [("happy", "glad"), ("happy", "in luck"), ("sad", "blue")]
    assert list(read_moby(path)) == [Pair(*pair, "synonym", "moby") for pair in expected]
    assert list(read_pair_file(path)) == list(read_moby(path))
    with pytest.raises(ValueError, match="a Moby thesaurus holds synonyms, but relation is 'antonym'"):
        list(read_pair_file(path, "antonym"))
    with pytest.raises(ValueError, match=r"mthesaur\.txt, line 2: expected a root and its synonyms after commas"):
        list(read_moby(write(path, "happy,glad\nlonely\n")))


def test_json_lines_are_sent_to_their_own_reader(tmp_path):
    with pytest.raises(ValueError, match=r"w\.jsonl, line 1: .* read_wiktionary"):
        list(read_pair_file(write(tmp_path / "w.jsonl", '{"word": "happy"}\n')))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs upstream files in ../shared/data")
def test_the_published_hg2vec_lists_are_read_by_name_alone():
    found = {name: list(read_pair_file(DATA / f"{name}-pairs.txt.gz")) for name in ("syn", "ant")}
    assert {name: len(pairs) for name, pairs in found.items()} == {"syn": 124_404, "ant": 17_379}
    assert {(name, pair.relation, pair.source) for name, pairs in found.items() for pair in pairs} == {
        ("syn", "synonym", "syn-pairs"), ("ant", "antonym", "ant-pairs"),
    }  # fmt: skip


word = st.text(st.characters(whitelist_categories=["L", "Nd"], whitelist_characters="-' "), min_size=1, max_size=9)
word = word.map(str.strip).filter(bool)
rows = st.lists(st.tuples(word, word, st.sampled_from(["synonym", "antonym"]), word), min_size=1, max_size=8)
fixed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(rows, st.sampled_from(["excel", "excel-tab"]), st.booleans())
@fixed
def test_any_pairs_written_as_a_table_come_back(tmp_path, rows, dialect, packed):
    path = tmp_path / ("t." + {"excel": "csv", "excel-tab": "tsv"}[dialect] + ".gz" * packed)
    with (gzip.open if packed else open)(path, "wt", encoding="utf-8", newline="") as stream:
        csv.writer(stream, dialect=dialect).writerows([("word", "other", "relation", "source"), *rows])
    assert list(read_pair_file(path)) == [Pair(*row) for row in rows]


@given(st.dictionaries(word, st.lists(word, max_size=4), max_size=5), st.booleans(), st.sampled_from([None, 1]))
@fixed
def test_any_dictionary_written_as_json_comes_back(tmp_path, words, ascii_only, indent):
    path = tmp_path / "d.json"
    path.write_text(json.dumps(words, ensure_ascii=ascii_only, indent=indent), encoding="utf-8")
    expected = [(a, b, "antonym", "x") for a, others in words.items() for b in others]
    assert list(read_json_pairs(path, "antonym", "x")) == expected
