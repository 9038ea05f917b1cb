"""Composed senses of many words at once, against a plain loop over words and senses (paper, section 3.3).

`python tests/bench/bench_composition.py [--spans N] [--loop M]`; bar: 100 thousand spans in under 60 s at d = 576. The
senses are random, 1 to 10 a token, the spans of 2 and 3 tokens. The loop takes the first M spans of each length, and so
does the other side of the ratio.
"""

import argparse
import time

import torch
from torch import Tensor

from dskd_utils.senses.composition import compose_spans

MOST = 10


def plain_loop(vectors: Tensor, offsets: Tensor, spans: Tensor) -> Tensor:
    """Section 3.3 word by word, sense by sense, token by token."""
    found = []
    for span in spans.tolist():
        senses = [vectors[offsets[token] : offsets[token + 1]].float() for token in span]
        for start in senses[0]:
            aligned = [start]
            for following in senses[1:]:
                mean = sum(aligned) / len(aligned)
                aligned.append(following[(following - mean).square().sum(1).argmin()])
            found.append(sum(aligned) / len(aligned))
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--loop", type=int, default=1000)
    parser.add_argument("--vocabulary", type=int, default=49_152)
    parser.add_argument("--width", type=int, default=576)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    counts = 1 + torch.randint(MOST, (given.vocabulary,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    vectors = torch.randn(int(offsets[-1]), given.width, generator=generator).bfloat16()
    slow = fast = whole = 0.0
    for length in (2, 3):
        spans = torch.randint(given.vocabulary, (given.spans // 2, length), generator=generator)
        few = spans[: given.loop]
        compose_spans(vectors, offsets, few)
        began = time.perf_counter()
        expected = plain_loop(vectors, offsets, few)
        between = time.perf_counter()
        found, _ = compose_spans(vectors, offsets, few)
        ended = time.perf_counter()
        slow, fast = slow + between - began, fast + ended - between
        same = (found - expected).abs().amax(1) < 1e-4  # two senses equally near may be told apart by rounding
        print(f"spans of {length} tokens: {same.float().mean():.2%} of {len(found):,} senses equal to the loop's")
        began = time.perf_counter()
        compose_spans(vectors, offsets, spans)
        whole += time.perf_counter() - began
    print(f"{2 * given.loop:,} spans: loop {slow:.2f} s, at once {fast:.2f} s, {slow / fast:.1f} times faster")
    print(f"{2 * (given.spans // 2):,} spans at d = {given.width}: {whole:.1f} s, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
