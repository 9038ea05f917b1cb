"""Speed and memory of the Wiktionary reader on a made-up file of realistic entries; not collected by pytest.

    python tests/bench/bench_wiktionary.py [--megabytes 200] [--gzip] [--english]

The file goes into a temporary folder and is removed. It is written by a process of its own, so that the peak memory
is the reader's.
"""

import argparse
import gzip
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import orjson

from dskd_utils.lexicon.wiktionary import read_wiktionary

# In the whole dump about one entry in six is English.
NAMES = {"en": "English", "la": "Latin", "fi": "Finnish", "es": "Spanish", "zh": "Chinese", "de": "German"}
LETTERS = "aaabcdeeefghiiijklmnoooprrrssstttuuvwyäöñ漢字"


def made_up_entry(draw: random.Random, english: bool = False) -> dict:
    """An entry with the fields and roughly the size (2 to 3 KB) of wiktextract's."""

    def word() -> str:
        return "".join(draw.choices(LETTERS, k=draw.randint(3, 11)))

    def text(words: int) -> str:
        return " ".join(word() for _ in range(words))

    def links(most: int) -> list[dict]:
        return [{"word": word(), "sense": text(4), "_dis1": "0 32 68"} for _ in range(draw.randint(0, most))]

    code, language = draw.choice(list(NAMES.items())[: 1 if english else None])
    entry = {
        "senses": [
            {
                "glosses": [text(12)],
                "raw_glosses": [f"({word()}) {text(12)}"],
                "tags": ["transitive", "archaic"],
                "links": [[word(), f"{word()}#{language}"] for _ in range(4)],
                "examples": [{"text": text(15), "ref": text(8), "type": "quotation"}],
                "synonyms": links(3),
                "antonyms": links(1),
            }
            for _ in range(draw.randint(1, 4))
        ],
        "pos": draw.choice(["noun", "verb", "adj"]),
        "head_templates": [{"name": f"{code}-noun", "args": {"1": "-"}, "expansion": text(3)}],
        "forms": [{"form": word(), "tags": ["plural", "nominative"]} for _ in range(draw.randint(1, 12))],
        "etymology_text": text(20),
        "sounds": [
            {"ipa": f"/{word()}/", "tags": ["US"]},
            {"audio": f"{word()}.ogg", "mp3_url": f"https://upload.example.org/{word()}/{word()}.ogg.mp3"},
        ],
        "word": word(),
        "lang": language,
        "lang_code": code,
    }
    if code == "en":
        entry["synonyms"], entry["antonyms"] = links(4), links(1)
        entry["translations"] = [
            {"lang": name, "code": other, "lang_code": other, "sense": text(5), "word": word(), "roman": word()}
            for other, name in NAMES.items()
            if other != "en"
            for _ in range(draw.randint(0, 4))
        ]
    return entry


def write(path: Path, megabytes: float, english: bool) -> None:
    """Write about so many megabytes (before packing) of JSON lines with a space after each colon, as upstream."""
    draw = random.Random(0)
    block = b"".join(_spaced(made_up_entry(draw, english)) for _ in range(4000))
    with gzip.open(path, "wb", compresslevel=6) if path.suffix == ".gz" else open(path, "wb") as stream:
        for _ in range(max(1, round(megabytes * 1e6 / len(block)))):
            stream.write(block)


def _spaced(entry: dict) -> bytes:
    return orjson.dumps(entry).replace(b'":', b'": ').replace(b',"', b', "') + b"\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--english", action="store_true", help="English entries only, as in kaikki.org's English file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("made-up.jsonl.gz" if options.gzip else "made-up.jsonl")
        writer = multiprocessing.get_context("spawn").Process(
            target=write, args=(path, options.megabytes, options.english)
        )
        writer.start()
        writer.join()
        if writer.exitcode:
            sys.exit(f"the file could not be written to {folder}: see above")
        with gzip.open(path) if options.gzip else open(path, "rb") as stream:
            size = sum(len(line) for line in stream)
        start, busy = time.perf_counter(), time.process_time()
        counts = Counter(pair.relation for pair in read_wiktionary(path))
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    print(f"{path.name}: {size / 1e6:.0f} MB of JSON lines, {counts['synonym']} synonyms, {counts['antonym']} antonyms")
    print(f"{size / 1e6 / seconds:.0f} MB/s ({size / 1e6 / busy:.0f} per second of processor time), peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
