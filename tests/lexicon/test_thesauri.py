"""Tests of `dskd_utils.lexicon.thesauri` and of the command line in `lookup`."""

import gzip
import json
from pathlib import Path

import pytest

from dskd_utils.lexicon.lookup import main
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.thesauri import HG2VEC, MORPHOLEX, find_negation, find_thesauri, holds, load_negation

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "mine.tsv").write_text("word\tother\trelation\nhappy\tmerry\tsynonym\nunhappy\tmerry\tantonym\n")
    (tmp_path / "mthesaur.txt").write_text("happy,glad,cheerful\n")
    entry = {"word": "happy", "lang_code": "en", "pos": "adj", "antonyms": [{"word": "sad"}]}
    with gzip.open(tmp_path / "wiktionary.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(entry) + "\n")
    (tmp_path / "eng.tsv").write_text("happy\tunhappy\tJ\tJ\tun\tprefix\nhappy\thappily\tJ\tR\tly\tsuffix\n")
    return tmp_path


def test_files_of_every_kind_are_named_beside_each_other(files):
    sources = f"mine={files}/mine.tsv, moby={files}/mthesaur.txt,wiktionary={files}/wiktionary.jsonl.gz"
    found = find_thesauri(sources)
    assert [thesaurus.name for thesaurus in found] == ["mine", "moby", "wiktionary"]
    relations = Relations.from_stream(*(thesaurus.pairs() for thesaurus in found))
    assert relations.synonyms("happy") == {"merry", "glad", "cheerful"}
    assert relations.sources("happy", "sad") == ("wiktionary",)
    assert relations.sources("happy", "merry") == ("mine",)
    again = Relations.from_stream(*(thesaurus.pairs() for thesaurus in found))
    assert again == relations, "a source can be read from the start again"


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        ("wordnet,ppdb", ValueError, "source 'ppdb' is not one of wordnet, roget, hg2vec: give a file as ppdb=PATH"),
        ("roget,roget", ValueError, "each once"),
        (" , ", ValueError, "at least one thesaurus"),
        ("hg2vec", FileNotFoundError, "'hg2vec' is read from a folder of upstream files: set data_dir"),
        ("mine=no-such.tsv", FileNotFoundError, "there is no file no-such.tsv for 'mine'"),
    ],
)
def test_a_source_that_is_not_there_is_one_clear_sentence(sources, error, message):
    with pytest.raises(error, match=message):
        find_thesauri(sources)


def test_derivations_are_found_by_name_or_by_path(files):
    assert load_negation(f"mine={files}/eng.tsv").base("unhappy") == "happy"
    with pytest.raises(ValueError, match="morphology 'celex' is not one of morphynet, morpholex"):
        find_negation("celex")
    with pytest.raises(FileNotFoundError, match="set data_dir, it holds morphology/MorphoLEX_en.tsv.gz"):
        find_negation("morpholex")
    with pytest.raises(ValueError, match="at least one source of derivations"):
        find_negation("")


def test_a_folder_holds_a_source_when_all_its_files_are_there(tmp_path):
    assert not holds(None, "hg2vec") and not holds(tmp_path, "morpholex")
    for path in (HG2VEC["synonym"], MORPHOLEX):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    assert holds(tmp_path, "morpholex") and not holds(tmp_path, "hg2vec")
    (tmp_path / HG2VEC["antonym"]).touch()
    assert holds(tmp_path, "hg2vec")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder ../shared/data")
def test_upstream_files_are_found_in_the_data_folder():
    (thesaurus,) = find_thesauri("hg2vec", DATA)
    relations = Relations.from_stream(thesaurus.pairs())
    assert "discontinue" in relations.synonyms("quit") and len(thesaurus.files) == 2
    assert find_negation("morpholex", DATA)["morpholex"].is_file()


def test_the_command_prints_sources_and_derivations(files, capsys):
    options = ["--sources", f"mine={files}/mine.tsv", "--morphology", f"mine={files}/eng.tsv"]
    assert main(["merry", *options]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    # A pair that the source states keeps the source; its flip is the same pair here.
    assert lines == ["merry: 1 synonyms", "happy mine, negation (merry/unhappy antonym -> merry/happy synonym)",
                     "merry: 1 antonyms", "unhappy mine"]  # fmt: skip


def test_the_command_says_what_is_wrong_in_one_line(capsys):
    assert main(["happy", "--sources", "hg2vec"]) == 2
    assert capsys.readouterr().err == (
        "error: 'hg2vec' is read from a folder of upstream files: "
        "set data_dir, it holds lexical/hg2vec/syn-pairs.txt.gz\n"
    )
