"""Clusters states and writes a dictionary in children that are killed; prints at what they were.

`run_clusters.py TOKENIZER FOLDER --kills N`: a whole run into FOLDER/whole, then at most N children that die by SIGKILL
at a random moment on the way to FOLDER/cut, then one that is left alone.
"""

import argparse
import json
import os
import random
import signal
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer

from dskd_utils.artefacts import atomic_folder
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.clustering import write_dictionary


def run(tokenizer, folder):
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1000, (len(tokenizer),), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    values = torch.randn(int(offsets[-1]), 48, generator=generator).bfloat16()
    relations = Relations.from_pairs([("happy", "glad"), ("happy", "gladmerry")], [("happy", "sad")])
    with atomic_folder(folder) as temporary:
        write_dictionary(temporary, values, offsets, 5, relations, tokenizer)


def child(*given):
    if (number := os.fork()) == 0:
        try:
            run(*given)
            os._exit(0)
        finally:
            os._exit(1)
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(given.tokenizer)
    assert os.waitpid(child(tokenizer, given.folder / "whole"), 0)[1] == 0
    draw, cut = random.Random(0), given.folder / "cut"
    met = []
    for _ in range(given.kills):
        number = child(tokenizer, cut)
        while not (begun := list(given.folder.glob(f".cut.*-{number}-*.partial/vectors.bf16"))) and not cut.exists():
            time.sleep(0.001)
        # The clock of a busy machine says little: the kill is measured from the first file of the clustering.
        time.sleep(draw.uniform(0, 0.05))
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        met += [path.name for path in begun]
        if cut.exists():
            break  # it was through already
    assert os.waitpid(child(tokenizer, cut), 0)[1] == 0
    print(json.dumps({"met": met, "left": sorted(path.name for path in given.folder.iterdir())}))


if __name__ == "__main__":
    main()
