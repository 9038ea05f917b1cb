"""Morphological negation: the base of a word with a negating affix (section 3.2, Table 1).

`base("unkind")` is `kind`, `base("unhappiness")` is `happiness`, `base("invent")` is None. A word is stripped only
by a rule over a source of derivations, never because it begins with the letters of an affix.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dskd_utils.lexicon.derivations import Derivations, Piece, parse_segmentation, read_derivations


class Affix(NamedTuple):
    """A negating affix: how it is spelt, where it stands, what it negates and why it is in the list.

    `parts` are MorphyNet's letters (N, V, J adjective, R adverb) of the NEGATED word; `morph` is the label in
    MorphoLEX. `free` are the parts of speech to which any speaker may add the affix, so that no source needs to list
    the derivation. `quality` says that the base must be an adjective or a noun of quality.
    """

    spellings: tuple[str, ...]
    kind: str
    parts: str
    morph: str
    reason: str
    free: str = ""
    quality: bool = False


AFFIXES = {
    "un-": Affix(
        ("un",), "prefix", "NVJR", "un", "the productive negation of adjectives (unkind); reverses verbs (untie)", "JR"
    ),
    # Before a verb it is another prefix, "into" (inflame, invent, imprison), so verbs are not in its list.
    "in-": Affix(
        ("in", "im", "il", "ir"),
        "prefix",
        "NJR",
        "im",
        "the Latin negation of adjectives and of nouns made from them",
        quality=True,
    ),
    "dis-": Affix(("dis",), "prefix", "NVJR", "dis", "negates adjectives (dissimilar), reverses verbs (discontinue)"),
    "non-": Affix(("non",), "prefix", "NJR", "non", "plain contradiction of adjectives and nouns (nonexistent)", "NJR"),
    "-less": Affix(
        ("less",), "suffix", "J", "less", "lack of what the noun names (faultless); its base is the noun", "N"
    ),
}

# Suffixes that only attach to verbs tell that their base can be one: MorphyNet files `search` as a noun.
_OF_VERBS = {"able", "er", "ing", "ed", "ment", "ion", "ation", "eth", "est"}
# Suffixes of adjectives, likewise; of these it takes two, for nouns have some (landly, dogness).
_OF_ADJECTIVES = {"ly", "ness", "ity", "cy", "ence", "ance"}
# in- + noun is a negation only where the noun is one of quality, made from an adjective or a verb: injustice,
# inaction; it is "into, inside" in infield, income, insight.
_QUALITY = re.compile(r"(?:ness|ity|ty|[aei]nc[ey]|tice|tude|tion|sion|[aeiou]cy)$")
# Suffixes that any verb or adjective takes, and how they change its end (relied, rely; ably, able). What they make
# counts as a word though no source lists it.
_PARTICIPLES = {
    "ed": (("ed", ""), ("ed", "e"), ("ied", "y")),
    "ing": (("ing", ""), ("ing", "e")),
}
_REGULAR = _PARTICIPLES | {
    "ly": (("ly", ""), ("ly", "le"), ("ily", "y")),
    "ness": (("ness", ""), ("iness", "y")),
    "ity": (("ability", "able"), ("ibility", "ible")),
    "er": (("er", ""), ("er", "e")),
}
# English does not stack negations: a word that takes these on top (diseaseless, disease-free; undiscovered,
# rediscover) is felt as a simple one.
_STACKING = {"un", "in", "dis", "non", "re", "less", "free"}
_SHORTEST = 4  # letters of the base of a negated noun, or of any that no source gives: unto, until and nonce have less


class Negation:
    """Bases of negated words after MorphoLEX and MorphyNet.

    Example:
        >>> Negation.load("eng_derivations.json").base("unhappiness")
        'happiness'
    """

    def __init__(self, derivations: Derivations, affixes: dict[str, Affix] | None = None):
        self.affixes = dict(AFFIXES if affixes is None else affixes)
        self._known = derivations

    @classmethod
    def load(cls, source: str | Path | Sequence[str | Path], *, affixes: dict[str, Affix] | None = None) -> "Negation":
        """Read one source of derivations or several.

        Args:
            source: path of MorphyNet (JSON or TSV) or of MorphoLEX (workbook or TSV) as `read_derivations` takes it,
                or a list of such paths. In whatever order they are given, MorphoLEX is asked first and MorphyNet
                where it is silent.
            affixes: name -> `Affix`; by default `AFFIXES`. A subset such as `{"un-": AFFIXES["un-"]}` narrows it.

        Raises:
            FileNotFoundError, ValueError: no such file; or not one of the formats (file and line are named).
        """
        return cls(read_derivations(source), affixes)

    def base(self, word: str) -> str | None:
        """The word without its negation, or None where the rule finds none.

        MorphoLEX: the prefix must be the negative one and stand outside the braces that enclose an unanalysable
        stem (`<un<{(happy)}`, but `{<in<(vent)}`), and the rest must be a word. MorphyNet, for a word that MorphoLEX
        has not, or a rest that neither has: one of these must hold.

        1. The word is made by a suffix from a negated one (unhappiness from unhappy): the rest is the same
           formation on the base (happiness).
        2. MorphyNet has the derivation rest -> word by the affix, between parts of speech that the affix takes.
        3. Word and rest are adjectives of one pattern: both have two of the same derivations (indocile, docile).
        4. Anyone may add the affix to a word such as the rest (un-, non- and -less).

        None of them counts if the word is made from a verb with the same letters that is no negation (inheritable
        from inherit), or if it takes other negations on top (diseaseless, disease-free).
        """
        found = self._analyse(word)
        return found[0] if found else None

    def affix_of(self, word: str) -> str | None:
        """Name of the affix that `base` takes off (`"un-"`), or None."""
        found = self._analyse(word)
        return found[1] if found else None

    def _analyse(self, word: str, depth: int = 3) -> tuple[str, str] | None:
        """Base and name of the affix. Derivations can run in a circle, so they are followed `depth` steps."""
        segmentation = self._known.segments.get(word)
        pieces = parse_segmentation(segmentation) if segmentation else None
        for name, affix in self.affixes.items():
            if pieces and not _is_segmented(pieces, affix):
                continue  # what MorphoLEX analyses without a negation is not handed on: `discover` is one piece there
            for rest in _rests(word, affix):
                if (pieces and rest in self._known) or self._is_derived(word, rest, name, depth):
                    return rest, name
        return None

    def _is_derived(self, word: str, rest: str, name: str, depth: int) -> bool:
        """Whether MorphyNet gives evidence that `word` is the negation of `rest`, as `base` explains."""
        affix = self.affixes[name]
        parts = self._known.parts.get(word, affix.parts)
        for stem, suffix in self._stems(word) if depth else ():
            found = self._analyse(stem, depth - 1)
            if found and found[1] == name:
                if affix.kind == "suffix":
                    return found[0] == rest
                return rest in self._known or suffix in _REGULAR
            if affix.kind == "prefix" and stem.startswith(affix.spellings) and "V" in self._known.parts.get(stem, ""):
                return False
        if not set(parts) & set(affix.parts) or self._is_simple(word, parts, affix):
            return False
        edges = self._known.parents.get(word, ())
        if any(e.parent == rest and e.kind == affix.kind and e.affix in affix.spellings for e in edges):
            long_enough = len(rest) >= _SHORTEST or bool(set("VJR") & set(parts))
            return long_enough and (not affix.quality or self._is_quality(rest, parts))
        return self._is_free(rest, affix) or (affix.quality and self._is_parallel(word, rest))

    def _is_simple(self, word: str, parts: str, affix: Affix) -> bool:
        """Whether other negations stand on top of the word: two of them, or one where it has many look-alikes.

        Only dis- before verbs has enough fossils (dispose, dispute, disclose) for one to tell.
        """
        stacked = self._known.children.get(word, set()) & _STACKING
        return len(stacked) > 1 or (affix.morph == "dis" and "V" in parts and bool(stacked & {"un", "re"}))

    def _is_quality(self, rest: str, parts: str) -> bool:
        """Whether the base of a word of these parts of speech is an adjective, an adverb or a noun of quality."""
        if set("JR") & set(self._known.parts[rest]):
            return True
        if set("JR") & set(parts):
            return len(self._known.children[rest] & _OF_ADJECTIVES) > 1
        return bool(_QUALITY.search(rest))

    def _is_free(self, rest: str, affix: Affix) -> bool:
        """Whether the affix may be added to the rest by anyone; participles count as adjectives."""
        if len(rest) < _SHORTEST or not affix.free:
            return False
        if set(affix.free) & set(self._known.parts.get(rest, "")):
            return True
        stems = _regular_stems(rest) if "J" in affix.free else ()
        return any(suffix in _PARTICIPLES and self._can_be_verb(stem) for stem, suffix in stems)

    def _is_parallel(self, word: str, rest: str) -> bool:
        """Whether the derivations of the two are those of adjectives and two of them the same."""
        shared = self._known.children.get(word, set()) & self._known.children.get(rest, set())
        return len(shared & _OF_ADJECTIVES) > 1

    def _stems(self, word: str) -> Iterator[tuple[str, str]]:
        """What the word is made from by a suffix, with the suffix: by MorphyNet and by the rules of spelling."""
        for edge in self._known.parents.get(word, ()):
            if edge.kind == "suffix":
                yield edge.parent, edge.affix
        yield from ((stem, suffix) for stem, suffix in _regular_stems(word) if stem in self._known)

    def _can_be_verb(self, word: str) -> bool:
        return "V" in self._known.parts.get(word, "") or bool(_OF_VERBS & self._known.children.get(word, set()))


def _is_segmented(pieces: list[Piece], affix: Affix) -> bool:
    """Whether MorphoLEX sees the affix, outside the braces of an unanalysable stem."""
    if affix.kind == "prefix":
        return pieces[0] == ("prefix", affix.morph, 0)
    # The suffix is the last, or -ness makes the noun of it; some words are segmented as compounds: {(plan)}{(less)}.
    last = pieces[:-1] if pieces[-1].text == "ness" else pieces
    return len(last) > 1 and last[-1].text == affix.morph


def _rests(word: str, affix: Affix) -> Iterator[str]:
    """What is left of the word without the affix, with a hyphen or without; nothing if it is not spelt so."""
    for spelling in affix.spellings:
        if affix.kind == "prefix" and word.startswith(spelling):
            yield word.removeprefix(spelling).removeprefix("-")
        elif affix.kind == "suffix" and (stem := word.removesuffix("ness")).endswith(spelling):
            rest = stem.removesuffix(spelling).removesuffix("-")
            yield from (rest, rest[:-1] + "y") if rest.endswith("i") else (rest,)


def _regular_stems(word: str) -> Iterator[tuple[str, str]]:
    """What the word may be made from by a regular suffix, with that suffix, in all the ways to spell it."""
    for suffix, changes in _REGULAR.items():
        for ending, stem_ending in changes:
            if (stem := word.removesuffix(ending)) != word and len(stem) > 1:
                yield stem + stem_ending, suffix
                if suffix in _PARTICIPLES and stem[-1] == stem[-2]:
                    yield stem[:-1], suffix  # stopped, stop
