"""How long 1.5 million pairs take to merge, in what memory, and what a lookup costs (paper, section 3.2).

`python tests/bench/bench_relations.py [--pairs N]`; bars: below 60 seconds, 1.5 GB, a lookup in microseconds.
"""

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

from dskd_utils.lexicon.readers import Pair
from dskd_utils.lexicon.relations import Relations


def pairs(count: int, seed: int = 0):
    """Random pairs over a vocabulary as large as Wiktionary's, a twelfth of them antonyms, some stated twice."""
    draw = random.Random(seed)
    vocabulary = [f"word{i:x}" for i in range(count // 5)]
    for _ in range(count):
        # Squaring makes some words frequent, as in a thesaurus.
        a, b = (vocabulary[int(draw.random() ** 2 * len(vocabulary))] for _ in range(2))
        relation = "antonym" if draw.random() < 1 / 12 else "synonym"
        yield Pair(a, b, relation, draw.choice(("wiktionary", "roget")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_500_000)
    count = parser.parse_args().pairs
    began = time.perf_counter()
    for _ in pairs(count):
        pass
    drawing = time.perf_counter() - began
    began = time.perf_counter()
    relations = Relations.from_stream(pairs(count))
    building = time.perf_counter() - began - drawing
    print(f"{count:,} pairs: {building:.1f} s to build (drawing them, {drawing:.1f} s, not counted)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relations.parquet"
        began = time.perf_counter()
        relations.save(path)
        again = Relations.load(path)
        print(f"saved and loaded in {time.perf_counter() - began:.1f} s, {path.stat().st_size / 1e6:.0f} MB")
    asked = random.Random(1).sample(again.words, 20_000)
    again.synonyms(asked[0])  # the first lookup sorts the neighbours
    began = time.perf_counter()
    found = sum(len(again.synonyms(word)) + len(again.antonyms(word)) for word in asked)
    each = (time.perf_counter() - began) / (2 * len(asked))
    print(f"a lookup takes {1e6 * each:.1f} microseconds ({found / 2 / len(asked):.1f} words)")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
