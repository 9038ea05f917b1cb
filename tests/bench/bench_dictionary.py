"""Candidate sets of a batch against a plain loop, and opening a dictionary of any size (paper, sections 3.3 and 4.2).

`python tests/bench/bench_dictionary.py [--ids N] [--vocabulary V] [--heads H] [--rounds R]`. The dictionary is random:
H one-token heads with 0 to 25 synonyms and 0 to 25 antonyms among as many one-token words and twice as many composed
ones. The large file is one of 262,144 tokens with up to 10 senses of width 4,096 whose vectors are a hole in the file,
so it takes no disk where the file system has such files.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import torch

from dskd_utils.senses.dictionary import FILE, FORMAT, SenseDictionary

SENSES, NEIGHBOURS = 10, 25
LARGE_VOCABULARY, LARGE_WIDTH = 262_144, 4_096


def random_dictionary(vocabulary: int, heads: int, generator: torch.Generator, width: int = 1) -> SenseDictionary:
    """Relations at random; vectors without content, on the meta device where they would be large."""

    def draw(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=generator)

    counts = draw(SENSES + 1, vocabulary)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    head_ids = torch.randperm(vocabulary, generator=generator)[:heads].sort().values
    own = torch.stack([offsets[head_ids], offsets[head_ids + 1]], 1)
    ends = int(offsets[-1]) + torch.cat([torch.zeros(1, dtype=torch.int64), (draw(SENSES, 2 * heads) + 1).cumsum(0)])
    word_rows = torch.cat([own, torch.stack([ends[:-1], ends[1:]], 1)])
    lists = []
    for _ in range(2):
        bounds = torch.cat([torch.zeros(1, dtype=torch.int64), draw(NEIGHBOURS + 1, heads).cumsum(0)])
        lists += [draw(3 * heads, int(bounds[-1])), bounds]
    vectors = torch.empty(int(ends[-1]), width, dtype=torch.bfloat16, device="meta" if width > 1 else "cpu")
    words = [f"word{i}" for i in range(len(word_rows))]
    return SenseDictionary(vectors, offsets, words, word_rows, head_ids, *lists, header={"teacher": "random"})


def plain_loop(dictionary: SenseDictionary, ids: torch.Tensor) -> list[tuple[list[int], list[int]]]:
    """Section 4.2 id by id and neighbour by neighbour."""
    places = {token: i for i, token in enumerate(dictionary.head_ids.tolist())}
    rows, offsets = dictionary.word_rows.tolist(), dictionary.token_offsets.tolist()
    near, near_ends = dictionary.synonym_words.tolist(), dictionary.synonym_offsets.tolist()
    far, far_ends = dictionary.antonym_words.tolist(), dictionary.antonym_offsets.tolist()
    found = []
    for token in ids.tolist():
        positive, negative = set(range(offsets[token], offsets[token + 1])), set()
        if token in places:
            place = places[token]
            for word in near[near_ends[place] : near_ends[place + 1]]:
                positive.update(range(*rows[word]))
            for word in far[far_ends[place] : far_ends[place + 1]]:
                negative.update(range(*rows[word]))
        found.append((sorted(positive), sorted(negative)))
    return found


def write_with_hole(dictionary: SenseDictionary, folder: Path) -> int:
    """Write a dictionary whose vectors are on the meta device; returns the file's length."""
    names = ["token_offsets", "word_rows", "head_ids", "synonym_words", "synonym_offsets", "antonym_words"]
    parts = {name: getattr(dictionary, name) for name in [*names, "antonym_offsets", "vectors"]}
    parts["words"] = torch.frombuffer(
        bytearray("".join(f"{w}\n" for w in dictionary.words), "utf-8"), dtype=torch.uint8
    )
    kinds = {torch.int64: "I64", torch.bfloat16: "BF16", torch.uint8: "U8"}
    entries, end = {}, 0
    for name, tensor in parts.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    metadata = {"format": FORMAT, "header": json.dumps(dictionary.header)}
    header = json.dumps({"__metadata__": metadata, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with open(folder / FILE, "wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for tensor in parts.values():
            if tensor.is_meta:
                stream.seek(tensor.numel() * tensor.element_size(), 1)
            else:
                stream.write(tensor.numpy().tobytes())
    return (folder / FILE).stat().st_size


def seconds(work, *arguments, rounds: int) -> float:
    """Median duration of a call."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work(*arguments)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--heads", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)

    dictionary = random_dictionary(given.vocabulary, given.heads, generator)
    some = torch.randint(given.vocabulary, (given.ids // 2,), generator=generator)
    related = dictionary.head_ids[torch.randint(given.heads, (given.ids - len(some),), generator=generator)]
    ids = torch.cat([some, related])
    found, expected = dictionary.candidates(ids), plain_loop(dictionary, ids)
    sides = [found.positive_rows, found.positive_offsets], [found.negative_rows, found.negative_offsets]
    for side, (rows, offsets) in enumerate(sides):
        same = [part.tolist() for part in rows.tensor_split(offsets[1:-1])] == [pair[side] for pair in expected]
        print(f"{('positive', 'negative')[side]} rows: {len(rows):,}, the same sets as the plain loop: {same}")
    fast = seconds(dictionary.candidates, ids, rounds=given.rounds)
    slow = seconds(plain_loop, dictionary, ids, rounds=given.rounds)
    print(
        f"candidates of {given.ids:,} ids: {1e3 * fast:.1f} ms, plain loop {1e3 * slow:.0f} ms, {slow / fast:.1f} times"
    )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = random_dictionary(LARGE_VOCABULARY, given.heads, generator, LARGE_WIDTH)
        size = write_with_hole(large, folder)
        SenseDictionary.load(folder)
        process = psutil.Process()
        before = process.memory_info().rss
        opening = seconds(SenseDictionary.load, folder, rounds=given.rounds)
        opened = SenseDictionary.load(folder)
        table = opened.table8()
        opened.candidates(torch.randint(LARGE_VOCABULARY, (given.ids,), generator=generator))
        grown = process.memory_info().rss - before
        print(
            f"a dictionary of {size / 1e9:.1f} GB opens in {1e3 * opening:.1f} ms, memory grows by {grown / 1e6:.1f} MB"
        )
        print(table)


if __name__ == "__main__":
    main()
