"""Tests of `dskd_utils.lexicon.morphology`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dskd_utils.lexicon.derivations import Derivations
from dskd_utils.lexicon.morphology import AFFIXES, Affix, Negation

MORPHOLOGY = Path(__file__).resolve().parents[3] / "shared" / "data" / "morphology"
needs_data = pytest.mark.skipif(not MORPHOLOGY.is_dir(), reason="needs the folder ../shared/data/morphology")
TABLE_1 = {
    "discontinue": "continue",
    "faultless": "fault",
    "dissimilar": "similar",
    "unchangeable": "changeable",
    "unkind": "kind",
    "disinterest": "interest",
}

# Rows as MorphyNet has them: source, target, their parts of speech, affix, kind.
ROWS = """happy unhappy J J un prefix
happy happiness J N ness suffix
unhappy unhappiness J N ness suffix
happiness unhappiness N N un prefix
happy happily J R ly suffix
kind unkind N J un prefix
known unknown V J un prefix
possible impossible J J im prefix
material immaterial N J in prefix
material materially N R ly suffix
material materiality N N ity suffix
sight insight N N in prefix
just justice J N ice suffix
justice injustice N N in prefix
land inland N J in prefix
land landly N J ly suffix
hope hopeless N J less suffix
hopeless hopelessness J N ness suffix
hopeless hopelessly J R ly suffix
pity pitiless N J less suffix
prison imprison N V im prefix
form inform V V in prefix
form formal V J al suffix
informed informedly J R ly suffix
formed informed J J in prefix
cover discover V V dis prefix
cover coverage V N age suffix
discover rediscover V V re prefix
obey disobey V V dis prefix
disobey disobeyer V N er suffix
ease disease N N dis prefix
disease diseaseless N J less suffix
disease disease-free N J free suffix
inherit inheritable V J able suffix
heritable inheritable J J in prefix
union unionize N V ize suffix
unionize unionization V N ation suffix
ionization unionization N N un prefix
fathom unfathomable N J un prefix
docile docility J N ity suffix
docile docileness J N ness suffix
indocile indocility J N ity suffix
indocile indocileness J N ness suffix
tense tension J N ion suffix
tense tensely J R ly suffix
intense intensely J R ly suffix
search searcher N N er suffix
poison poisonous N J ous suffix
poison poisoner N N er suffix
body embody N V em prefix
to unto N N un prefix
plus nonplus N V non prefix
zero non-zero N J non prefix
age ageism N N ism suffix"""


@pytest.fixture
def negation(tmp_path):
    (tmp_path / "eng.tsv").write_text(ROWS.replace(" ", "\t"))
    return Negation.load(tmp_path / "eng.tsv")


def morpholex(*rows):
    """A `Negation` over MorphoLEX alone from pairs of word and segmentation, written `word=segmentation`."""
    return Negation(Derivations(segments=dict(row.split("=") for row in rows)))


@pytest.mark.parametrize(
    ("word", "base"),
    [
        ("unhappy", "happy"),
        ("unhappiness", "happiness"),
        ("unhappily", "happily"),  # in no row: unhappy with a regular suffix
        ("unkind", "kind"),  # MorphyNet files kind as a noun
        ("unknown", "known"),
        ("impossible", "possible"),
        ("immaterial", "material"),  # filed as a noun, but materially and materiality tell of the adjective
        ("injustice", "justice"),
        ("hopeless", "hope"),
        ("hopelessness", "hope"),
        ("pitiless", "pity"),
        ("pitilessness", "pity"),
        ("non-zero", "zero"),
        ("disobey", "obey"),
        ("disobeyed", "obeyed"),  # participle of a negated verb, in no row
        ("disobeyer", "obeyer"),
        ("indocile", "docile"),  # no derivation, but two of the same pattern
        ("unsearched", "searched"),  # anyone may negate a participle
        ("nonpoisonous", "poisonous"),
        ("non-poisonous", "poisonous"),
        ("bodyless", "body"),
    ],
)
def test_base_finds_negations_that_the_source_gives_or_implies(negation, word, base):
    assert negation.base(word) == base


@pytest.mark.parametrize(
    "word",
    [
        "imprison",  # in- before a verb is "into"
        "insight",  # and before a noun that is not one of quality
        "inland",
        "informed",  # made from inform
        "inheritable",  # made from inherit
        "unionization",  # made from unionize
        "unionized",
        "discover",  # takes re- itself
        "disease",  # takes -less and -free itself
        "intense",  # shares one pattern with tense, not two
        "unfathomable",  # the base is not the rest of the word
        "hopelessly",  # an adverb lacks nothing
        "unto",
        "nonage",  # too short to be read so unless a source says it
        "nonplus",
        "under",
        "less",
        "un",
        "happy",
    ],
)
def test_base_leaves_look_alikes_by_rule(negation, word):
    assert negation.base(word) is None
    assert negation.affix_of(word) is None


def test_the_affix_list_is_a_parameter_and_every_affix_gives_a_reason(negation, tmp_path):
    (tmp_path / "free.tsv").write_text("duty\tduty-free\tN\tJ\tfree\tsuffix\nhope\thopeless\tN\tJ\tless\tsuffix\n")
    free = Affix(("free",), "suffix", "J", "free", "is without it (duty-free)")
    narrow = Negation.load(tmp_path / "free.tsv", affixes={"-free": free})
    assert (narrow.base("duty-free"), narrow.affix_of("duty-free"), narrow.base("hopeless")) == ("duty", "-free", None)
    assert all(len(affix.reason) > 20 for affix in AFFIXES.values())
    assert negation.affix_of("impossible") == "in-"
    assert negation.affix_of("hopelessness") == "-less"


def test_morpholex_is_asked_first_and_morphynet_where_it_is_silent(tmp_path):
    (tmp_path / "eng.tsv").write_text(ROWS.replace(" ", "\t"))
    lines = ["Word\tMorphoLexSegm\tRoots", "happy\t{(happy)}\t['happy']", "unhappy\t{(unhappy)}\t['unhappy']"]
    (tmp_path / "lex.tsv").write_text("\n".join(lines) + "\n")
    both = Negation.load([tmp_path / "eng.tsv", tmp_path / "lex.tsv"])
    assert both.base("unhappy") is None  # one piece, says MorphoLEX here
    assert both.base("unkind") == "kind"


def test_morpholex_alone_strips_the_negative_prefix_outside_the_braces_only():
    lex = morpholex(
        *("vent={(vent)}", "invent={<in<(vent)}", "card={(card)}", "discard={<dis<(card)}"),
        *("legal={(leg)>al>}", "illegal=<im<{(leg)>al>}", "infield=<in<{(field)}", "field={(field)}"),
        *("plan={(plan)}", "planless={(plan)}{(less)}", "fault={(fault)}", "faultlessness={(fault)}>less>>ness>"),
        *("bless={(bless)}", "doubted={(doubt)}", "undoubted=<un<{(doubt)}", "undoubtedly=<un<{(doubt)}>ly>"),
    )
    bases = {word: base for word in lex._known.segments if (base := lex.base(word))}
    assert bases == {
        "illegal": "legal",
        "planless": "plan",
        "faultlessness": "fault",
        "undoubted": "doubted",
        "undoubtedly": "doubtedly",  # a word that MorphoLEX does not list, made as undoubted is
    }


def test_derivations_in_a_circle_come_to_an_end(tmp_path):
    rows = ["unable\tunably\tJ\tR\tly\tsuffix", "unably\tunable\tR\tJ\tle\tsuffix", "able\tunable\tJ\tJ\tun\tprefix"]
    (tmp_path / "eng.tsv").write_text("\n".join(rows) + "\n")
    assert Negation.load(tmp_path / "eng.tsv").base("unable") == "able"


STEMS = sorted({word for row in ROWS.splitlines() for word in row.split()[:2]})
MADE_UP = st.tuples(
    st.sampled_from(["", "un", "in", "im", "dis", "non", "non-"]),
    st.sampled_from(STEMS),
    st.sampled_from(["", "less", "lessness", "ness", "ly", "ed", "er"]),
).map("".join)


@given(word=MADE_UP)
def test_a_base_is_what_is_left_of_the_word_without_the_affix_and_needs_a_source(word):
    derivations = Derivations()
    for row in ROWS.splitlines():
        derivations.add(*row.split())
    negation = Negation(derivations)
    if base := negation.base(word):
        affix = AFFIXES[negation.affix_of(word)]
        if affix.kind == "prefix":
            assert word.endswith(base) and word[: -len(base)].rstrip("-") in affix.spellings
        else:
            assert word.removesuffix("ness").removesuffix("less") in (base, base[:-1] + "i")
    assert Negation(Derivations()).base(word) is None


@needs_data
@pytest.mark.parametrize("files", [["morphynet.eng.derivational.tsv.xz"], ["MorphoLEX_en.tsv.gz"], None])
def test_real_sources_give_the_bases_of_table_1_and_leave_look_alikes(files):
    files = files or ["MorphoLEX_en.tsv.gz", "morphynet.eng.derivational.tsv.xz"]
    negation = Negation.load([MORPHOLOGY / name for name in files])
    right = TABLE_1 | {"irregular": "regular", "illegal": "legal", "unhappiness": "happiness"}
    assert {word: negation.base(word) for word in right} == right
    look_alikes = [
        "invent",
        "under",
        "discover",
        "uncle",
        "imprison",
        "informed",
        "dispose",
        "bless",
        "income",
        "until",
    ]
    assert {word: negation.base(word) for word in look_alikes} == dict.fromkeys(look_alikes)
