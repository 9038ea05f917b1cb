"""Tests of `dskd_utils.lexicon.readers`."""

import gzip

import pytest

from dskd_utils.lexicon.readers import Pair, parse_roget, read_pairs, read_roget, read_wordnet

ROGET = """<html><pre>
CLASS I

1. Existence -- N. existence, being, entity, ens [Lat.]; fact &amp;c 494, matter of fact.
     life, vitality [Science of
existence].
V. exist, be; have being &amp;c n.
Phr. to be or not to be [Hamlet].

    2. [Absence.] Inexistence -- N. {ant.
     1} inexistence, nonentity; nation-
    state.
\tAdj. absent &amp;c (away) 187, lacking1, the missing etc.

2. BEING, IN THE CONCRETE

3. Substantiality -- N. thing, object.
</pre></html>
"""


def _wordnet(folder, **changed):
    lines = {
        "noun": "00000001 00 n 02 being 0 existence 0 001 ! 00000002 n 0201 | the state\n"
        "00000002 00 n 01 nonexistence 0 001 ! 00000001 n 0102 | not so\n",
        "verb": "00000003 00 v 01 be 0 000 01 + 02 00 | exist\n",
        "adj": "00000004 00 a 02 galore(ip) 0 a_plenty 0 000 | in plenty\n",
        "adv": "00000005 00 r 01 well 0 000 | so\n",
    } | changed
    for part, text in lines.items():
        (folder / f"data.{part}").write_text("  1 the licence\n" + text)
    return folder


def test_wordnet_gives_synset_members_and_word_to_word_antonyms(tmp_path):
    assert list(read_wordnet(_wordnet(tmp_path))) == [
        Pair("being", "existence", "synonym", "wordnet"),
        Pair("galore", "a_plenty", "synonym", "wordnet"),
        Pair("existence", "nonexistence", "antonym", "wordnet"),
        Pair("nonexistence", "existence", "antonym", "wordnet"),
    ]


@pytest.mark.parametrize("bad", ["nonsense\n", "00000003 00 v 02 be 0\n", "00000003 00 v 01 be 0 002 ! 0000\n"])
def test_wordnet_names_file_and_line_of_what_is_no_synset(tmp_path, bad):
    with pytest.raises(ValueError, match=r"data\.verb, line 2: not a WordNet synset"):
        list(read_wordnet(_wordnet(tmp_path, verb=bad)))


def test_wordnet_refuses_a_cut_off_file_and_a_missing_one(tmp_path):
    first = "00000001 00 n 01 being 0 001 ! 00000002 n 0101 | cut\n"
    with pytest.raises(ValueError, match=r"data\.noun, line 2: an antonym pointer leads to no word"):
        list(read_wordnet(_wordnet(tmp_path, noun=first)))
    (tmp_path / "data.adv").unlink()
    with pytest.raises(FileNotFoundError, match=r"data\.adv"):
        list(read_wordnet(tmp_path))


def test_roget_is_parsed_into_heads_parts_and_clean_groups(tmp_path):
    path = tmp_path / "roget.txt"
    path.write_text(ROGET)
    first, second, third = parse_roget(path)
    assert first == (
        "1",
        "Existence",
        {
            "N": [[["existence", "being", "entity"], ["fact", "matter of fact"]], [["life", "vitality"]]],
            "V": [[["exist", "be"], ["have being"]]],
        },
    )
    assert second[:2] == ("2", "Inexistence")
    assert second[2] == {
        "N": [[["inexistence", "nonentity"], ["nation-state"]]],
        "Adj": [[["absent", "lacking", "missing"]]],
    }
    assert third == ("3", "Substantiality", {"N": [[["thing", "object"]]]})


def test_roget_opposes_leading_groups_of_facing_heads_up_to_the_cap(tmp_path):
    path = tmp_path / "roget.txt"
    path.write_text(ROGET)
    antonyms = [pair[:2] for pair in read_roget(path) if pair.relation == "antonym"]
    assert antonyms[0] == ("existence", "inexistence")
    assert len(antonyms) == 6  # 3 x 2 nouns; the parts that only one head has are left alone
    capped = [pair[:2] for pair in read_roget(path, antonym_cap=1) if pair.relation == "antonym"]
    assert capped == antonyms[:1]


def test_pair_files_are_read_plain_and_packed(tmp_path):
    with gzip.open(tmp_path / "syn.txt.gz", "wt") as stream:
        stream.write("happy glad\n\nfall down drop\n")
    found = list(read_pairs(tmp_path / "syn.txt.gz", "synonym", "mine"))
    assert found == [Pair("happy", "glad", "synonym", "mine"), Pair("fall down", "drop", "synonym", "mine")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"happy glad\nalone\n", r"p\.txt, line 2: expected two words"),
        (b"happy\tglad\n", r"p\.txt, line 1: expected two words"),
        (b"happy glad 0.9\n", r"p\.txt, line 1: expected two words"),
        (b"happy glad\ncaf\xe9 bar\n", r"p\.txt, line 2: not valid UTF-8"),
        (b"", r"p\.txt, line 1: the file is empty"),
    ],
)
def test_pair_files_that_are_malformed_name_file_and_line(tmp_path, content, message):
    (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_pairs(tmp_path / "p.txt", "synonym", "mine"))


def test_files_that_are_damaged_or_of_another_kind_are_refused(tmp_path):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"happy glad\n" * 1000)[:-20])
    with pytest.raises(ValueError, match=r"cut\.gz, line \d+: the compressed file is damaged"):
        list(read_pairs(tmp_path / "cut.gz", "synonym", "mine"))
    (tmp_path / "other.txt").write_text("just a text\n")
    with pytest.raises(ValueError, match=r"other\.txt, line 1: no heads"):
        parse_roget(tmp_path / "other.txt")
    (tmp_path / "latin.txt").write_bytes(ROGET.encode() + b"\n\xe9")
    with pytest.raises(ValueError, match=r"latin\.txt, line \d\d: not valid UTF-8"):
        parse_roget(tmp_path / "latin.txt")
    with pytest.raises(ValueError, match="expected 'synonym' or 'antonym'"):
        list(read_pairs(tmp_path / "other.txt", "hypernym", "mine"))
