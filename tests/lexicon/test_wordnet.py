"""Tests of `dskd_utils.lexicon.wordnet`."""

import pytest

from dskd_utils.lexicon.wordnet import Pair, read_wordnet

LICENCE = "  1 the licence\n"


def _wordnet(folder, **changed):
    lines = {
        "noun": "00000001 00 n 02 being 0 existence 0 001 ! 00000002 n 0201 | the state\n"
        "00000002 00 n 01 nonexistence 0 001 ! 00000001 n 0102 | not so\n",
        "verb": "00000003 00 v 01 be 0 000 01 + 02 00 | exist\n",
        "adj": "00000004 00 a 02 galore(ip) 0 a_plenty 0 001 & 00000006 s 0000 | in plenty\n"
        "00000006 00 s 02 ample 0 rich 0 001 & 00000004 a 0000 | & ! 00000009 a 0000\n",
        "adv": "00000005 00 r 01 well 0 000 | so\n",
    } | changed
    for part, text in lines.items():
        (folder / f"data.{part}").write_text(LICENCE + text)
    return folder


def test_synset_members_are_synonyms_and_pointers_give_word_to_word_antonyms(tmp_path):
    assert list(read_wordnet(_wordnet(tmp_path))) == [
        Pair("being", "existence", "synonym", "wordnet"),
        Pair("galore", "a_plenty", "synonym", "wordnet"),
        Pair("ample", "rich", "synonym", "wordnet"),
        Pair("existence", "nonexistence", "antonym", "wordnet"),
        Pair("nonexistence", "existence", "antonym", "wordnet"),
    ]


def test_similar_synsets_are_joined_member_by_member_and_once_under_their_own_source(tmp_path):
    plain = list(read_wordnet(_wordnet(tmp_path)))
    found = list(read_wordnet(tmp_path, similar_to=True))
    similar = [pair for pair in found if pair.source == "wordnet-similar"]
    assert sorted(found) == sorted(plain + similar)
    assert {pair.relation for pair in similar} == {"synonym"}
    assert [pair[:2] for pair in similar] == [
        ("galore", "ample"), ("galore", "rich"), ("a_plenty", "ample"), ("a_plenty", "rich"),
    ]  # fmt: skip


@pytest.mark.parametrize("bad", ["nonsense\n", "00000003 00 v 02 be 0\n", "00000003 00 v 01 be 0 002 ! 0000\n"])
def test_what_is_no_synset_is_named_with_file_and_line(tmp_path, bad):
    with pytest.raises(ValueError, match=r"data\.verb, line 2: not a WordNet synset"):
        list(read_wordnet(_wordnet(tmp_path, verb=bad)))


@pytest.mark.parametrize(
    ("noun", "message"),
    [
        ("00000001 00 n 01 being 0 001 ! 00000002 n 0101 | cut\n", r"data\.noun, line 2: an antonym pointer"),
        ("00000001 00 n 01 being 0 001 & 00000002 n 0000 | cut\n", r"data\.noun, line 2: a similar-to pointer"),
        ("", r"data\.noun, line 1: the file holds no synset"),
    ],
)
def test_a_cut_off_file_is_refused(tmp_path, noun, message):
    with pytest.raises(ValueError, match=message):
        list(read_wordnet(_wordnet(tmp_path, noun=noun), similar_to=True))


def test_a_missing_file_is_named(tmp_path):
    (_wordnet(tmp_path) / "data.adv").unlink()
    with pytest.raises(FileNotFoundError, match=r"data\.adv"):
        list(read_wordnet(tmp_path))
