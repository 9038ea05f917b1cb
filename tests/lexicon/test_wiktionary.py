"""Tests of `dskd_utils.lexicon.wiktionary`."""

import gzip
import json
import logging
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dskd_utils.lexicon.wiktionary import Pair, read_wiktionary

# As wiktextract writes them, shortened: lists both of the word and of its senses, other languages, a redirect.
HAPPY = {
    "word": "happy",
    "lang": "English",
    "lang_code": "en",
    "pos": "adj",
    "senses": [
        {"glosses": ["content"], "synonyms": [{"word": "glad", "tags": ["formal"]}, {"word": "cheerful#English"}]},
        {
            "glosses": ["lucky"],
            "synonyms": [{"word": "fortunate"}, {"word": "glad"}],
            "antonyms": [{"word": "unlucky"}],
        },
    ],
    "synonyms": [{"word": "joyful", "sense": "content"}, {"word": "merry", "source": "Thesaurus:happy"}],
    "antonyms": [{"word": "sad"}],
    "translations": [{"lang": "German", "code": "de", "lang_code": "de", "word": "froh"}],
}
FROH = {
    "word": "froh",
    "lang_code": "de",
    "synonyms": [{"word": "glücklich"}],
    "translations": [{"lang_code": "en", "word": "happy"}],
}
REDIRECT = {"title": "Happy", "redirect": "happy"}


def write(path, entries, separators=None):
    text = "".join(json.dumps(entry, ensure_ascii=False, separators=separators) + "\n" for entry in entries)
    path.write_text(text, encoding="utf-8")
    return path


def found(path, **options):
    return {(pair.word, pair.other, pair.relation) for pair in read_wiktionary(path, **options)}


def test_lists_of_the_word_and_of_its_senses_are_read_for_english_only(tmp_path):
    path = write(tmp_path / "dump.jsonl", [REDIRECT, FROH, HAPPY])
    pairs = list(read_wiktionary(path))
    synonyms = ("joyful", "merry", "glad", "cheerful", "fortunate")
    assert [pair for pair in pairs if pair.relation == "synonym"] == [
        Pair("happy", other, "synonym", "wiktionary") for other in synonyms
    ]
    assert [pair.other for pair in pairs if pair.relation == "antonym"] == ["sad", "unlucky"]


def test_either_level_can_be_read_alone(tmp_path):
    path = write(tmp_path / "dump.jsonl", [HAPPY])
    word, sense = found(path, level="word"), found(path, level="sense")
    assert {other for _, other, _ in word} == {"joyful", "merry", "sad"}
    assert {other for _, other, _ in sense} == {"glad", "cheerful", "fortunate", "unlucky"}
    assert found(path) == word | sense
    with pytest.raises(ValueError, match="level is 'page', expected 'both', 'word' or 'sense'"):
        list(read_wiktionary(path, level="page"))


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":"), (" , ", " : ")])
def test_the_spacing_of_the_json_does_not_matter(tmp_path, separators):
    assert found(write(tmp_path / "dump.jsonl", [FROH, HAPPY], separators)) == found(
        write(tmp_path / "plain.jsonl", [HAPPY])
    )


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ("glad#English", "glad"),
        ("glad#Etymology 1", "glad"),
        ("glad#", "glad"),
        ("  glad ", "glad"),
        ("C#", "C#"),
        ("F# major", "F# major"),
        ("#Adjective", None),
        ("", None),
        ("   ", None),
        ("Thesaurus:happy", None),
        ("see also Thesaurus:happy", None),
    ],
)
def test_links_are_cleaned_and_empty_ones_and_those_to_a_thesaurus_page_are_dropped(tmp_path, link, word):
    path = write(tmp_path / "dump.jsonl", [{"word": "happy", "lang_code": "en", "synonyms": [{"word": link}]}])
    assert found(path) == ({("happy", word, "synonym")} if word else set())


def test_malformed_lines_are_counted_and_never_fatal(tmp_path, caplog):
    path = tmp_path / "dump.jsonl"
    lines = [
        json.dumps(FROH), "", '{"word": "cut", "lang_code": "en", "syno', "[1, 2]", '"text"', '{"lang_code": "en"}',
        '{"word": 3, "lang_code": "en"}', json.dumps(HAPPY),
    ]  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + b'\n{"word": "caf\xe9", "lang_code": "en"}\n')
    with caplog.at_level(logging.INFO):
        assert found(path) == found(write(tmp_path / "good.jsonl", [HAPPY]))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"{path}: 6 malformed lines passed over, the first is line 3"]


def test_what_is_dropped_is_counted(tmp_path, caplog):
    links = [{"word": "Thesaurus:happy"}, {"word": ""}, {"alt": "no word"}, {"word": None}, {"word": "glad"}]
    path = write(tmp_path / "dump.jsonl", [FROH, REDIRECT, HAPPY | {"senses": [], "antonyms": [], "synonyms": links}])
    with caplog.at_level(logging.INFO):
        assert found(path) == {("happy", "glad", "synonym")}
    assert "1 English entries, 2 others; 1 links to thesaurus pages and 3 empty words dropped" in caplog.text
    assert "malformed" not in caplog.text


@pytest.mark.parametrize("field", ["synonyms", "antonyms", "senses"])
@pytest.mark.parametrize("value", [None, "glad", 3, {"word": "glad"}, [None, 3, [], {}]])
def test_lists_of_another_shape_are_passed_over(tmp_path, field, value):
    assert found(write(tmp_path / "dump.jsonl", [{"word": "happy", "lang_code": "en", field: value}])) == set()


@pytest.mark.parametrize("text", ["happy glad\n" * 9, "{}\n[]\n", '{"happy": ["glad"]}\n', "\n\n"])
def test_a_file_without_an_entry_is_refused(tmp_path, text):
    (tmp_path / "other.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"other\.jsonl, line 1: no line is an entry with a word and a lang_code"):
        list(read_wiktionary(tmp_path / "other.jsonl"))


def test_a_file_without_english_gives_nothing_and_says_so(tmp_path, caplog):
    assert found(write(tmp_path / "de.jsonl", [FROH, FROH])) == set()
    assert "none of 2 entries is English" in caplog.text


def test_a_cut_off_archive_gives_what_comes_before_the_cut_and_names_the_line(tmp_path):
    entries = [HAPPY | {"word": f"word {i * 7919 % 100_003}"} for i in range(3000)]
    whole = write(tmp_path / "dump.jsonl", entries).read_bytes()
    path = tmp_path / "dump.jsonl.gz"
    path.write_bytes(gzip.compress(whole))
    assert found(path) == found(tmp_path / "dump.jsonl")
    path.write_bytes(gzip.compress(whole)[:-2000])
    words = []
    with pytest.raises(ValueError, match=r"dump\.jsonl\.gz, line (\d+): the compressed file is damaged") as caught:
        for pair in read_wiktionary(path):
            words.append(pair.word)
    assert "\n" not in str(caught.value)
    seen = len(dict.fromkeys(words))
    assert seen > 1000 and f"line {seen + 1}:" in str(caught.value)


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(copies):
        with gzip.open(tmp_path / "dump.jsonl.gz", "wb", compresslevel=1) as stream:
            for _ in range(copies):
                stream.write(json.dumps(HAPPY).encode() + b"\n")
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_wiktionary(tmp_path / "dump.jsonl.gz")) == 7 * copies
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # imports of the first read
    assert peak(4000) < peak(400) + 200_000


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="#:"), max_size=8)
links = st.lists(texts, max_size=4)
entries = st.lists(
    st.fixed_dictionaries(
        {
            "word": texts.filter(str.strip),
            "lang_code": st.sampled_from(["en", "de", "mul"]),
            "synonyms": links,
            "antonyms": links,
            "senses": st.lists(st.fixed_dictionaries({"synonyms": links, "antonyms": links}), max_size=3),
        }
    ),
    min_size=1,
    max_size=6,
)


@given(entries, st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_entries_written_as_json_lines_come_back_as_their_pairs(tmp_path, entries, ascii_only):
    expected = []
    with open(tmp_path / "dump.jsonl", "w", encoding="utf-8") as stream:
        for entry in entries:
            holders = [entry, *entry["senses"]]
            if entry["lang_code"] == "en":
                for kind in ("synonym", "antonym"):
                    others = [word.strip() for holder in holders for word in holder[kind + "s"]]
                    expected += [(entry["word"], other, kind) for other in dict.fromkeys(others) if other]
            linked = [
                {kind: [{"word": word} for word in holder[kind]] for kind in ("synonyms", "antonyms")}
                for holder in holders
            ]
            stream.write(json.dumps(entry | linked[0] | {"senses": linked[1:]}, ensure_ascii=ascii_only) + "\n")
    pairs = list(read_wiktionary(tmp_path / "dump.jsonl"))
    assert [pair[:3] for pair in pairs] == expected
    assert all(pair.source == "wiktionary" for pair in pairs)
