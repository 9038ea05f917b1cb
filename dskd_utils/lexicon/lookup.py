"""What the sources say about a word, on the command line (paper, section 3.2).

`python -m dskd_utils.lexicon.relations happy` prints its synonyms and antonyms with their sources and derivations.
"""

import argparse
import sys
from collections.abc import Iterator

from dskd_utils.lexicon.pair_table import FLIP
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.thesauri import find_thesauri, load_negation


def lines(relations: Relations, word: str) -> Iterator[str]:
    """A word's synonyms and antonyms, a line each: the other word, its sources and the flip behind it, if any."""
    for title, found in (("synonyms", relations.synonyms(word)), ("antonyms", relations.antonyms(word))):
        yield f"{word}: {len(found)} {title}"
        for other in sorted(found):
            sources = relations.sources(word, other)
            derivation = relations.derivation(word, other) if FLIP in sources else None
            yield f"  {other:24} {', '.join(sources)}{f'  ({derivation})' if derivation else ''}"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dskd_utils.lexicon.relations", description="Synonyms and antonyms of words, with their sources."
    )
    parser.add_argument("words", nargs="+", metavar="WORD")
    parser.add_argument("--sources", default="wordnet,roget", help="thesauri separated by commas, files as NAME=PATH")
    parser.add_argument("--morphology", default="morphynet", help="derivations separated by commas, files as NAME=PATH")
    parser.add_argument("--flips", default="add", choices=("add", "replace", "none"))
    parser.add_argument("--multiword", action="store_true", help="keep entries of several words")
    parser.add_argument("--data-dir", help="folder of upstream files, for hg2vec and morpholex")
    options = parser.parse_args(arguments)
    try:
        streams = [thesaurus.pairs() for thesaurus in find_thesauri(options.sources, options.data_dir)]
        relations = Relations.from_stream(*streams, keep_multiword=options.multiword)
        if options.flips != "none":
            relations = relations.with_negation(load_negation(options.morphology, options.data_dir), options.flips)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for word in options.words:
        print("\n".join(lines(relations, word)))
    return 0
