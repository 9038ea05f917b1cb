"""The readers of the lexical resources of section 3.2, in one place.

Every reader is a generator of `Pair`, (word, other, relation, source): words as the file writes them, each
unordered pair of one group once. Normalising, merging and resolving contradictions is the business of
`relations.Relations`.
"""

from dskd_utils.lexicon.pair_files import read_json_pairs, read_moby, read_pair_file, read_pairs, read_table
from dskd_utils.lexicon.roget import parse_roget, read_roget
from dskd_utils.lexicon.text_files import RELATIONS, Pair, Relation, read_lines, read_text
from dskd_utils.lexicon.wiktionary import read_wiktionary
from dskd_utils.lexicon.wordnet import read_wordnet

__all__ = [
    "RELATIONS",
    "Pair",
    "Relation",
    "parse_roget",
    "read_json_pairs",
    "read_lines",
    "read_moby",
    "read_pair_file",
    "read_pairs",
    "read_roget",
    "read_table",
    "read_text",
    "read_wiktionary",
    "read_wordnet",
]
