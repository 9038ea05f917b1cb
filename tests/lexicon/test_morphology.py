"""Tests of `dskd_utils.lexicon.morphology`."""

import json
import lzma
from pathlib import Path

import pytest

from dskd_utils.lexicon.morphology import AFFIXES, Negation, Piece, parse_segmentation

MORPHOLOGY = Path(__file__).resolve().parents[3] / "shared" / "data" / "morphology"
needs_data = pytest.mark.skipif(not MORPHOLOGY.is_dir(), reason="needs the folder ../shared/data/morphology")

# Rows as MorphyNet has them: source, target, their parts of speech, affix, kind.
ROWS = """happy unhappy J J un prefix
happy happiness J N ness suffix
unhappy unhappiness J N ness suffix
happiness unhappiness N N un prefix
happy happily J R ly suffix
unhappy unhappily J R ly suffix
kind unkind N J un prefix
kind kindness N N ness suffix
possible impossible J J im prefix
possible possibly J R ly suffix
hope hopeless N J less suffix
hope hopeful N J ful suffix
hopeless hopelessness J N ness suffix
prison imprison N V im prefix
prison prisoner N N er suffix
cover discover V V dis prefix
cover coverage V N age suffix
discover rediscover V V re prefix
ruptive disruptive J J dis prefix
fathom unfathomable N J un prefix
fathom fathomless N J less suffix
zero non-zero N J non prefix
zero zeroness N N ness suffix"""


@pytest.fixture
def negation(tmp_path):
    (tmp_path / "eng.tsv").write_text(ROWS.replace(" ", "\t"))
    return Negation.load(tmp_path / "eng.tsv")


@pytest.mark.parametrize(
    ("word", "base"),
    [
        ("unhappy", "happy"),
        ("unhappiness", "happiness"),
        ("unhappily", "happily"),
        ("unkind", "kind"),  # filed as a noun, but kindness tells of the adjective
        ("impossible", "possible"),
        ("hopeless", "hope"),
        ("hopelessness", "hope"),
        ("non-zero", "zero"),
        ("imprison", None),  # in- before a verb is "into"
        ("discover", None),  # takes re- itself
        ("disruptive", None),  # ruptive is known from nothing else
        ("unfathomable", None),  # the base is not the rest of the word
        ("under", None),
        ("happy", None),
    ],
)
def test_base_follows_the_rule_and_not_the_letters(negation, word, base):
    assert negation.base(word) == base


def test_the_affix_list_is_a_parameter_and_every_affix_gives_a_reason(negation, tmp_path):
    narrow = Negation.load(tmp_path / "eng.tsv", affixes={"-less": AFFIXES["-less"]})
    assert (narrow.base("hopeless"), narrow.base("unhappy")) == ("hope", None)
    assert all(affix.reason for affix in AFFIXES.values())
    assert negation.affix_of("impossible") == "in-"


def test_json_and_tsv_of_morphynet_give_the_same_bases(negation, tmp_path):
    entries = {}
    for row in ROWS.splitlines():
        parent, word, parent_part, part, affix, kind = row.split()
        entry = entries.setdefault(parent, {"pos": parent_part, "derives_to": {}, "derived_from": {}})
        entry["derives_to"][word] = {"pos": part, "affix": affix, "affix_type": kind}
    (tmp_path / "eng.json").write_text(json.dumps(entries))
    with lzma.open(tmp_path / "eng.tsv.xz", "wt") as stream:
        stream.write(ROWS.replace(" ", "\t"))
    words = {word for row in ROWS.splitlines() for word in row.split()[:2]}
    for other in (Negation.load(tmp_path / "eng.json"), Negation.load(str(tmp_path / "eng.tsv.xz"))):
        assert {word: other.base(word) for word in words} == {word: negation.base(word) for word in words}


def test_morpholex_is_asked_first_and_morphynet_where_it_is_silent(tmp_path):
    (tmp_path / "eng.tsv").write_text(ROWS.replace(" ", "\t"))
    lines = ["Word\tMorphoLexSegm\tRoots", "happy\t{(happy)}\t['happy']", "unhappy\t{(unhappy)}\t['unhappy']"]
    lines += ["invent\t{<in<(vent)}\t['vent']", "vent\t{(vent)}\t['vent']", "faultless\t{(fault)}>less>\t['fault']"]
    lines += ["fault\t{(fault)}\t['fault']", "broken\t{(a)>b>)}\t[]"]
    (tmp_path / "lex.tsv").write_text("\n".join(lines) + "\n")
    both = Negation.load([tmp_path / "eng.tsv", tmp_path / "lex.tsv"])
    assert both.base("unhappy") is None  # one piece, says MorphoLEX here
    assert both.base("unkind") == "kind"
    assert both.base("invent") is None  # the prefix stands inside the braces
    assert both.base("faultless") == "fault"


def test_segmentations_are_parsed_into_typed_pieces():
    pieces = parse_segmentation("{<un<(change)>able>}")
    assert pieces == [Piece("prefix", "un", 1), Piece("root", "change", 1), Piece("suffix", "able", 1)]
    assert parse_segmentation("<dis<{(simil)>ar>}")[0] == Piece("prefix", "dis", 0)
    for bad in ("", "happy", "{(happy)", "{(happy)}}"):
        with pytest.raises(ValueError, match="not a MorphoLEX segmentation"):
            parse_segmentation(bad)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{\n'", r"a\.json, line 2: not valid JSON"),
        ("b.json", '{"happy": 3}', r"b\.json, line 1: not MorphyNet"),
        ("c.tsv", "happy\tunhappy\tJ\tJ\tun\tprefix\nhappy\n", r"c\.tsv, line 2: expected six MorphyNet columns"),
        ("d.tsv", "Word\tMorphoLexSegm\nhappy\n", r"d\.tsv, line 2: expected Word, MorphoLexSegm"),
        ("e.tsv", "", r"e\.tsv, line 1: the file is empty"),
    ],
)
def test_sources_that_are_malformed_name_file_and_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        Negation.load(tmp_path / name)


@needs_data
def test_real_sources_strip_negations_and_leave_look_alikes():
    morphynet = MORPHOLOGY / "morphynet.eng.derivational.tsv.xz"
    right = {"unhappiness": "happiness", "irregular": "regular", "illegal": "legal", "dissimilar": "similar"}
    for negation in (Negation.load(morphynet), Negation.load([MORPHOLOGY / "MorphoLEX_en.tsv.gz", morphynet])):
        assert {word: negation.base(word) for word in right} == right
        for word in ("invent", "under", "discover", "uncle", "imprison", "informed", "dispose", "bless", "income"):
            assert negation.base(word) is None, word
