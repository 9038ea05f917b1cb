"""Tests of the controls on the sense dictionary (paper, sections 3.2, 3.3 and 4.2)."""

import string
from collections import Counter
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from dskd_utils.distill.candidates import candidate_index
from dskd_utils.distill.controls import (
    CONTROLS,
    controlled,
    own_senses_only,
    rewired,
    shuffled_senses,
    swapped_labels,
    without_antonyms,
    without_flips,
    without_synonyms,
)
from dskd_utils.distill.objective import sampled
from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.spans import word_spans
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import SenseDictionary, build_dictionary
from dskd_utils.senses.hidden_states import TeacherStates

D = 4
HEADS = [
    "the", "happy", "glad", "merry", "sad", "unhappy", "gloomy", "warm", "cold", "hot", "chilly", "light", "dark",
    "bright", "river", "bank", "runs", "was", "very",
]  # fmt: skip
LONGER = ["gladmerry", "coldwarm", "warms", "darks", "suns", "hotbright", "happys", "lightx"]
WORDS = [*HEADS, *LONGER]
MANY = [word + letter for word in HEADS for letter in string.ascii_lowercase]  # of two or three tokens
RESULTS = [name for name in CONTROLS if name not in ("shuffled_senses", "rewired")]
DRAWN = ["shuffled_senses", "rewired"]
KINDS = ("synonym", "antonym")


def make(tokenizer, synonyms, antonyms, numbers, *, neighbours=None, header=None):
    """A dictionary over the tiny tokenizer; `numbers` of senses are repeated over the vocabulary."""
    counts = torch.tensor([numbers[i % len(numbers)] for i in range(len(tokenizer))])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    centroids = torch.randn(int(offsets[-1]), D, generator=torch.Generator().manual_seed(0))
    relations = Relations.from_pairs(synonyms, antonyms)
    return build_dictionary(centroids, offsets, relations, tokenizer, neighbours=neighbours, header=header)


PAIRS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)).filter(lambda p: p[0] != p[1]), max_size=50)
NUMBERS = st.lists(st.integers(0, 3), min_size=1, max_size=7).filter(lambda n: max(n) > 0)
SEEDS = st.integers(0, 2**31)


@st.composite
def parts(draw):
    """What `make` needs, and counts of a few frequencies."""
    neighbours = draw(st.sampled_from([None, None, 2]))
    counts = draw(st.lists(st.sampled_from([0, 1, 2, 3, 900]), min_size=1, max_size=5))
    return (draw(PAIRS), draw(PAIRS), draw(NUMBERS)), neighbours, counts


@pytest.fixture(scope="module")
def given_parts(tiny_tokenizer):
    """A function from the parts above to a dictionary and token counts."""

    def made(drawn):
        arguments, neighbours, counts = drawn
        dictionary = make(tiny_tokenizer, *arguments, neighbours=neighbours)
        return dictionary, torch.tensor([counts[i % len(counts)] for i in range(len(tiny_tokenizer))])

    return made


@pytest.fixture(scope="module")
def large(tiny_tokenizer):
    """Nineteen heads with fifty neighbours each out of 240 longer words, and four among the heads."""
    pairs = [(HEADS[(i + step) % len(HEADS)], MANY[i]) for i in range(240) for step in (0, 3, 7, 12)]
    pairs += [(HEADS[i], HEADS[(i + step) % len(HEADS)]) for i in range(len(HEADS)) for step in (1, 2)]
    header = {"teacher": "tiny", "tokenizer_hash": "abc"}
    dictionary = make(tiny_tokenizer, pairs[::2], pairs[1::2], [3, 2], header=header)
    return dictionary, torch.where(torch.arange(len(tiny_tokenizer)) % 3 > 0, 5, 700)


def lists(dictionary, kind):
    """The words of every head, in order."""
    offsets = getattr(dictionary, f"{kind}_offsets").tolist()
    words = getattr(dictionary, f"{kind}_words").tolist()
    return {head: words[a:b] for head, a, b in zip(dictionary.head_ids.tolist(), offsets, offsets[1:], strict=False)}


def pairs_of(dictionary, kind):
    return {(head, word) for head, words in lists(dictionary, kind).items() for word in words}


def head_words(dictionary, tokenizer):
    """Word number of each head."""
    one_token = {span[0]: word for word, span in word_spans(dictionary.words, tokenizer).items() if len(span) == 1}
    return {head: dictionary.words.index(one_token[head]) for head in dictionary.head_ids.tolist()}


def related_pairs(dictionary, tokenizer):
    """Pairs (head, word) of either relation, and the same read from the word to the head."""
    number = head_words(dictionary, tokenizer)
    heads = {word: head for head, word in number.items()}
    forth = pairs_of(dictionary, "synonym") | pairs_of(dictionary, "antonym")
    return forth | {(heads[word], number[head]) for head, word in forth if word in heads}


def same(one, other, names=None):
    names = names or [field.name for field in fields(SenseDictionary)]
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def kept_in_place(one, other):
    """Names of the tensors that the two hold in common, not as copies."""
    names = [field.name for field in fields(SenseDictionary) if field.name not in ("words", "header")]
    return {name for name in names if getattr(one, name) is getattr(other, name)}


def control(name, dictionary, tokenizer, counts, seed=0):
    relations = partly_flipped(dictionary, tokenizer)
    return controlled(dictionary, name, tokenizer=tokenizer, counts=counts, relations=relations, seed=seed)


def partly_flipped(dictionary, tokenizer):
    """The relations of a dictionary as if a third of its pairs, by their words, came from negation alone."""
    number = head_words(dictionary, tokenizer)
    found = []
    for kind in KINDS:
        for head, word in pairs_of(dictionary, kind):
            pair = sorted((dictionary.words[number[head]], dictionary.words[word]))
            source = "negation" if sum(map(ord, "".join(pair))) % 3 == 0 else "wordnet"
            found.append(Pair(*pair, kind, source))
    return Relations.from_stream(found)


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_is_drawn_at_the_same_positions(name, large, tiny_tokenizer):
    dictionary, counts = large
    draw = torch.Generator().manual_seed(2)
    targets = torch.randint(len(tiny_tokenizer), (6, 40), generator=draw)
    targets[:, ::3] = dictionary.head_ids[torch.randint(len(dictionary.head_ids), (6, 14), generator=draw)]
    states = TeacherStates(targets, targets, targets, {}, torch.randn(6, 40, D, generator=draw).bfloat16())
    found = []
    for each in (dictionary, control(name, dictionary, tiny_tokenizer, counts)):
        index = candidate_index(states, each)
        positions = sampled(index, torch.tensor([1, 3, 4]), 40, 0.4, torch.Generator().manual_seed(5))
        found.append((index, positions))
    (full, drawn), (other, again) = found
    assert torch.equal(full.positions, other.positions) and torch.equal(full.related, other.related)
    assert torch.equal(drawn.entries, again.entries) and torch.equal(drawn.rows, again.rows) and len(drawn.rows) > 20
    assert (
        not torch.equal(full.positive, other.positive)
        or not torch.equal(full.negative, other.negative)
        or (not torch.equal(full.vectors, other.vectors))
    ), "the control must change what is near"


@pytest.mark.parametrize("name", CONTROLS)
def test_saved_and_loaded_unchanged_from_a_memory_map_too(name, large, tiny_tokenizer, tmp_path):
    dictionary, counts = large
    dictionary.save(tmp_path / "full")
    mapped = SenseDictionary.load(tmp_path / "full")
    made = control(name, mapped, tiny_tokenizer, counts, seed=3)
    assert same(made, control(name, dictionary, tiny_tokenizer, counts, seed=3))
    made.save(tmp_path / "control")
    found = SenseDictionary.load(tmp_path / "control")
    assert same(found, made) and found.table8() == dictionary.table8()
    (record,) = found.header["controls"]
    assert record["name"] == name and record["seed"] == (3 if name in DRAWN else None)
    assert found.header["teacher"] == "tiny" and "controls" not in dictionary.header


@settings(max_examples=25, deadline=None)
@given(drawn=parts(), seed=SEEDS)
def test_controls_without_a_draw_share_all_that_they_do_not_change(drawn, seed, given_parts, tiny_tokenizer):
    dictionary, counts = given_parts(drawn)
    changed = {
        "without_antonyms": {"antonym"},
        "without_synonyms": {"synonym"},
        "without_flips": set(KINDS),
        "own_senses_only": set(KINDS),
        "swapped_labels": set(KINDS),
    }
    everything = kept_in_place(dictionary, dictionary)
    for name in RESULTS:
        made = control(name, dictionary, tiny_tokenizer, counts, seed)
        lost = {f"{kind}_{part}" for kind in changed[name] for part in ("words", "offsets")}
        assert kept_in_place(made, dictionary) == everything - lost
        assert made.words is dictionary.words
        made._check()
        ids = torch.arange(len(dictionary.token_offsets) - 1)
        made.candidates(ids)


def test_emptied_relations_leave_what_section_4_2_says(large):
    dictionary, _ = large
    ids = dictionary.head_ids
    full, own = dictionary.candidates(ids), dictionary.token_offsets
    own_rows = torch.cat([torch.arange(int(own[i]), int(own[i + 1])) for i in ids])
    no_antonyms = without_antonyms(dictionary).candidates(ids)
    assert torch.equal(no_antonyms.positive_rows, full.positive_rows) and not len(no_antonyms.negative_rows)
    no_synonyms = without_synonyms(dictionary).candidates(ids)
    assert torch.equal(no_synonyms.negative_rows, full.negative_rows)
    assert torch.equal(no_synonyms.positive_rows, own_rows)
    alone = own_senses_only(dictionary).candidates(ids)
    assert torch.equal(alone.positive_rows, own_rows) and not len(alone.negative_rows)
    assert len(full.negative_rows) and len(full.positive_rows) > len(own_rows)


def test_without_flips_keeps_all_that_a_source_states_and_nothing_else(large, tiny_tokenizer):
    dictionary, _ = large
    relations = partly_flipped(dictionary, tiny_tokenizer)
    made = without_flips(dictionary, relations, tokenizer=tiny_tokenizer)
    number = head_words(dictionary, tiny_tokenizer)
    for kind in KINDS:
        stated = {
            (head, word)
            for head, word in pairs_of(dictionary, kind)
            if relations.sources(dictionary.words[number[head]], dictionary.words[word]) != ("negation",)
        }
        assert pairs_of(made, kind) == stated and 0 < len(stated) < len(pairs_of(dictionary, kind))
        share = made.header["controls"][0][f"{kind}s"]["flips"]
        assert share == pytest.approx(1 - len(stated) / len(pairs_of(dictionary, kind)))


def test_swapped_labels_exchange_the_two_relations_and_twice_is_the_start(large):
    dictionary, _ = large
    swapped = swapped_labels(dictionary)
    assert lists(swapped, "synonym") == lists(dictionary, "antonym") != lists(dictionary, "synonym")
    assert lists(swapped, "antonym") == lists(dictionary, "synonym")
    twice = swapped_labels(swapped)
    assert kept_in_place(twice, dictionary) == kept_in_place(dictionary, dictionary)
    assert [record["name"] for record in twice.header["controls"]] == ["swapped_labels"] * 2


@settings(max_examples=25, deadline=None)
@given(drawn=parts(), seed=SEEDS)
def test_shuffled_senses_are_a_permutation_and_no_token_keeps_its_own(drawn, seed, given_parts, tiny_tokenizer):
    dictionary, _ = given_parts(drawn)
    made = shuffled_senses(dictionary, seed, tokenizer=tiny_tokenizer)
    assert kept_in_place(made, dictionary) == kept_in_place(dictionary, dictionary) - {"vectors"}
    tokens = range(len(dictionary.token_offsets) - 1)
    before = [tuple(dictionary.token_senses(i).flatten().tolist()) for i in tokens]
    after = [tuple(made.token_senses(i).flatten().tolist()) for i in tokens]
    assert Counter(before) == Counter(after), "whole blocks move"
    sharing = Counter(len(block) for block in before)
    keeps = [i for i in tokens if before[i] and before[i] == after[i]]
    assert all(sharing[len(before[i])] == 1 for i in keeps)
    filled = sum(bool(block) for block in before)
    assert made.header["controls"][0]["tokens moved"] == pytest.approx(1 - len(keeps) / filled)
    for word, span in word_spans(made.words, tiny_tokenizer).items():
        composed = compose_span([made.token_senses(i) for i in span])
        assert_close(made.word_senses(word).float(), composed.bfloat16().float(), atol=0, rtol=0)


@settings(max_examples=40, deadline=None)
@given(drawn=parts(), seed=SEEDS, bins=st.sampled_from([(), (2,), (1, 3, 100)]))
def test_rewiring_keeps_degrees_frequencies_and_own_senses(drawn, seed, bins, given_parts, tiny_tokenizer):
    dictionary, counts = given_parts(drawn)
    made = rewired(dictionary, counts, seed, tokenizer=tiny_tokenizer, bins=bins)
    everything = kept_in_place(dictionary, dictionary)
    assert kept_in_place(made, dictionary) == everything - {"synonym_words", "antonym_words"}
    spans = word_spans(dictionary.words, tiny_tokenizer)
    kind_of = [(len(s) > 1, sum(int(counts[s[0]]) >= bound for bound in bins)) for s in spans.values()]
    own, known = head_words(dictionary, tiny_tokenizer), related_pairs(dictionary, tiny_tokenizer)
    (record,) = made.header["controls"]
    synonyms = pairs_of(made, "synonym")
    for kind in KINDS:
        before, after = lists(dictionary, kind), lists(made, kind)
        for head in before:
            assert Counter(kind_of[w] for w in before[head]) == Counter(kind_of[w] for w in after[head])
            assert own[head] not in after[head]
            assert after[head] == sorted(set(after[head])), "ascending, each once"
        words = [Counter(w for group in each.values() for w in group) for each in (before, after)]
        assert words[0] == words[1]
        old, new = pairs_of(dictionary, kind), pairs_of(made, kind)
        changed = record[f"{kind}s"]["changed"]
        assert changed is None if not old else changed == pytest.approx(len(new - old) / len(old))
        unwanted = known | synonyms if kind == "antonym" else known
        assert record[f"{kind}s"]["still related"] == len(new & unwanted)


@pytest.mark.parametrize("seed", range(4))
def test_rewiring_leaves_no_related_pair_where_there_is_room(seed, large, tiny_tokenizer):
    dictionary, counts = large
    known = related_pairs(dictionary, tiny_tokenizer)
    made = rewired(dictionary, counts, seed, tokenizer=tiny_tokenizer)
    (record,) = made.header["controls"]
    longer = {i for i, span in enumerate(word_spans(dictionary.words, tiny_tokenizer).values()) if len(span) > 1}
    for kind in KINDS:
        assert len(pairs_of(made, kind)) == len(getattr(made, f"{kind}_words")), "none twice"
        assert record[f"{kind}s"]["changed"] > 0.98, "of the few one-token words some may stay"
    synonyms, antonyms = ({pair for pair in pairs_of(made, kind) if pair[1] in longer} for kind in KINDS)
    assert min(len(synonyms), len(antonyms)) > 300
    assert not synonyms & known and not antonyms & known and not synonyms & antonyms


def test_rewiring_avoids_a_relation_that_only_the_other_word_lists(tiny_tokenizer):
    # Each head keeps one neighbour, so most relations are listed from one side alone.
    pairs = [(a, b) for i, a in enumerate(HEADS) for b in HEADS[i + 1 : i + 4]]
    dictionary = make(tiny_tokenizer, pairs, [], [2], neighbours=1)
    known = related_pairs(dictionary, tiny_tokenizer)
    assert len(known) > len(pairs_of(dictionary, "synonym"))
    for seed in range(30):
        made = rewired(dictionary, torch.ones(len(tiny_tokenizer), dtype=torch.int64), seed, tokenizer=tiny_tokenizer)
        assert not pairs_of(made, "synonym") & known


def test_what_cannot_be_rewired_stays_and_the_header_says_so(tiny_tokenizer):
    dictionary = make(tiny_tokenizer, [("happy", "glad"), ("cold", "coldwarm")], [], [2])
    counts = torch.ones(len(tiny_tokenizer), dtype=torch.int64)
    made = rewired(dictionary, counts, 0, tokenizer=tiny_tokenizer)
    assert lists(made, "synonym") == lists(dictionary, "synonym")
    (record,) = made.header["controls"]
    assert record["synonyms"] == {"changed": 0.0, "still related": 3}
    assert record["antonyms"] == {"changed": None, "still related": 0}


def test_rewired_neighbours_are_spread_over_seeds(tiny_tokenizer):
    # Four heads with one word each: all nine ways to give every head another's word are found.
    pairs = [(head, MANY[60 + i]) for i, head in enumerate(HEADS[1:5])]
    dictionary = make(tiny_tokenizer, pairs, [], [2])
    counts = torch.ones(len(tiny_tokenizer), dtype=torch.int64)
    ways = Counter(
        tuple(rewired(dictionary, counts, seed, tokenizer=tiny_tokenizer).synonym_words.tolist()) for seed in range(120)
    )
    assert len(ways) == 9 and max(ways.values()) < 40


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_decides_everything(name, large, tiny_tokenizer):
    dictionary, counts = large
    one, again, other = (control(name, dictionary, tiny_tokenizer, counts, seed) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other, ["vectors", "synonym_words"])
    state = torch.random.get_rng_state()
    control(name, dictionary, tiny_tokenizer, counts, 1)
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's draws are touched"


@settings(max_examples=10, deadline=None)
@given(drawn=parts(), seed=SEEDS)
def test_the_given_dictionary_is_left_alone(drawn, seed, given_parts, tiny_tokenizer):
    dictionary, counts = given_parts(drawn)
    copy, _ = given_parts(drawn)
    for name in CONTROLS:
        control(name, dictionary, tiny_tokenizer, counts, seed)
    assert same(dictionary, copy)


def test_a_dictionary_without_words_has_its_controls_too(tiny_tokenizer, tmp_path):
    dictionary = make(tiny_tokenizer, [], [], [1])
    for name in CONTROLS:
        made = control(name, dictionary, tiny_tokenizer, torch.ones(len(tiny_tokenizer), dtype=torch.int64))
        made.save(tmp_path / name)
        assert same(SenseDictionary.load(tmp_path / name), made)


def test_controls_add_up_in_the_header(large, tiny_tokenizer):
    dictionary, counts = large
    made = without_antonyms(rewired(dictionary, counts, 4, tokenizer=tiny_tokenizer))
    assert [(each["name"], each["seed"]) for each in made.header["controls"]] == [
        ("rewired", 4),
        ("without_antonyms", None),
    ]


def test_an_unknown_name_is_one_sentence(large, tiny_tokenizer):
    with pytest.raises(ValueError, match="no control 'shuffle': choose one of without_antonyms, .*rewired") as caught:
        control("shuffle", large[0], tiny_tokenizer, large[1])
    assert "\n" not in str(caught.value)


def test_counts_of_another_vocabulary_and_bins_out_of_order_are_refused(large, tiny_tokenizer):
    dictionary, counts = large
    for wrong in (counts[:-1], counts.float(), -counts):
        with pytest.raises(ValueError, match="counts must be .* one for each token"):
            rewired(dictionary, wrong, 0, tokenizer=tiny_tokenizer)
    with pytest.raises(ValueError, match=r"bins must be ascending .* got \[4, 2\]"):
        rewired(dictionary, counts, 0, tokenizer=tiny_tokenizer, bins=[4, 2])


@pytest.mark.parametrize("name", [*DRAWN, "without_flips"])
def test_another_tokenizer_is_refused(name, large, tiny_tokenizer):
    class Other:
        """Cuts every word one token further down the vocabulary."""

        def tokenize(self, text, **options):
            return tiny_tokenizer.tokenize(text, **options)

        def __call__(self, texts, **options):
            cut = tiny_tokenizer(texts, **options)["input_ids"]
            return {"input_ids": [[(i + 1) % len(tiny_tokenizer) for i in ids] for ids in cut]}

    relations = partly_flipped(large[0], tiny_tokenizer)
    with pytest.raises(ValueError, match="tokenizer does not cut the words .* tokenizer of its teacher"):
        controlled(large[0], name, tokenizer=Other(), counts=large[1], relations=relations, seed=0)
