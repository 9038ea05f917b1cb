"""Word-in-context pairs and sense-tagged text, to ask whether the senses are senses; beyond the paper (section 3.1).

WiC and MCL-WiC may not be used commercially and the tagged texts state no licence, so nothing here is ever
downloaded: all is read from `data_dir`. A target word is a span of characters of its text, which is kept as the
file has it.
"""

import gzip
import json
import lzma
import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from dskd_utils.sources.task_files import field

WIC_FILES = {
    ("wic", "train"): "wic/wic/train.data.ids.txt",
    ("wic", "dev"): "wic/wic/dev.data.ids.txt",
    ("mcl-wic", "train"): "wic/mcl-wic/training.en-en.data",
    ("mcl-wic", "dev"): "wic/mcl-wic/dev.en-en.data",
}
ALL_WORDS = ("senseval2", "senseval3", "semeval2007")
PARTS_OF_SPEECH = {"N": "noun", "V": "verb", "NOUN": "noun", "VERB": "verb", "ADJ": "adj", "ADV": "adv"}
# Of a WordNet sense key: the digit behind the lemma; 5 is a satellite adjective.
_KEY_PARTS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
_LABELS = {"T": True, "F": False}


def holds(data_dir: Path | None) -> bool:
    """Whether a folder of upstream files has the folders of all that is read here."""
    places = ["wic/wic", "wic/mcl-wic", *(f"wsd/{name}" for name in ALL_WORDS)]
    return data_dir is not None and all((data_dir / place).is_dir() for place in places)


def word_in_context(
    data_dir: str | Path, name: str, part: str, *, limit: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Pairs of contexts of a word that are about the same sense of it or not.

    Args:
        data_dir: a folder that holds `wic/wic` and `wic/mcl-wic` as published, plain, `.gz` or `.xz`.
        name: `"wic"` (Pilehvar and Camacho-Collados 2019) or `"mcl-wic"` (SemEval-2021 task 2, English).
        part: `"train"` or `"dev"`.
        limit: most pairs, drawn with `seed`; None takes all.
        seed: of that draw.

    Returns:
        a row a context, the two of a pair one after the other: `task`, `part`, `item`, `side` (1 or 2), `lemma`,
        `pos` (noun, verb, adj, adv), `text`, `start` and `end` (characters of the target word), `label` (whether
        the pair has one sense).

    Raises:
        ValueError: an unknown name or part, or a malformed file (it and the line or entry are named).
        FileNotFoundError: the files are not in `data_dir`.
    """
    if (name, part) not in WIC_FILES:
        raise ValueError(
            f"there is no part {part!r} of {name!r}: choose from {', '.join(' '.join(k) for k in WIC_FILES)}"
        )
    path = _existing(Path(data_dir), WIC_FILES[name, part])
    pairs = list(_wic_pairs(path) if name == "wic" else _mcl_wic_pairs(path, Path(data_dir)))
    if limit is not None and limit < len(pairs):
        pairs = [pairs[i] for i in sorted(random.Random(seed).sample(range(len(pairs)), limit))]
    columns = ["item", "side", "lemma", "pos", "text", "start", "end", "label"]
    found = pd.DataFrame([row for pair in pairs for row in pair], columns=columns)
    return found.assign(task=name, part=part)[["task", "part", *columns]]


def all_words(
    data_dir: str | Path, names: Sequence[str] = ALL_WORDS, *, limit: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Words of running text tagged with WordNet 3.0 senses, in the layout of Raganato et al. (2017).

    Args:
        data_dir: a folder that holds `wsd/<name>/<name>.data.xml` and `<name>.gold.key.txt`.
        names: of the texts.
        limit: stop once there are so many instances, by whole lemmas that occur at least twice, drawn with `seed`
            (a lemma that occurs once can be in one half only); None takes all instances.
        seed: of that draw.

    Returns:
        a row an instance: `task`, `item`, `lemma` (words joined by `_`), `pos`, `text` (the sentence, its tokens
        with blanks between), `start` and `end` (characters of the target), `gold` (a tuple of sense keys).

    Raises:
        ValueError: an unknown name, or a malformed file (it and the line or instance are named).
        FileNotFoundError: the files are not in `data_dir`.
    """
    if unknown := [name for name in names if name not in ALL_WORDS]:
        raise ValueError(f"text {unknown[0]!r} is not one of {', '.join(ALL_WORDS)}")
    rows = [row for name in names for row in _instances(Path(data_dir), name)]
    found = pd.DataFrame(rows, columns=["task", "item", "lemma", "pos", "text", "start", "end", "gold"])
    if limit is None or limit >= len(found):
        return found
    groups = [places for places in found.groupby(["lemma", "pos"]).indices.values() if len(places) > 1]
    random.Random(seed).shuffle(groups)
    chosen: list[int] = []
    for group in groups:
        if len(chosen) >= limit:
            break
        chosen += list(group)
    return found.iloc[sorted(chosen)].reset_index(drop=True)


def wordnet_senses(folder: str | Path) -> dict[tuple[str, str], list[str]]:
    """Sense keys of every (lemma, part of speech) in WordNet's order, most frequent first.

    Args:
        folder: holds `index.sense`; `sources.assets.fetch("wordnet")` gives it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a sense; file and line are named.
    """
    path = Path(folder) / "index.sense"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: give the folder of WordNet's database files")
    numbered = defaultdict(list)
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            key, _, sense, _ = line.split()
            lemma, _, rest = key.partition("%")
            numbered[lemma, _KEY_PARTS[rest[:1]]].append((int(sense), key))
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: expected a sense, found {line[:60]!r}") from error
    return {word: [key for _, key in sorted(senses)] for word, senses in numbered.items()}


def _wic_pairs(path: Path) -> Iterator[list[tuple]]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        where = f"{path}, line {number}"
        cells = line.split("\t")
        if len(cells) != 7:
            raise ValueError(
                f"{where}: {len(cells)} columns, expected 7: id, word, N or V, positions, two contexts, T or F"
            )
        item, lemma, pos, places, *texts, label = cells
        try:
            spans = [
                _word_span(text, int(place)) for text, place in zip(texts, places.split("-", maxsplit=1), strict=True)
            ]
            yield _pair(item, lemma, pos, texts, spans, label)
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f"{where}: no pair with N or V, two word positions inside the contexts and T or F: {line[:60]!r}"
            ) from error


def _word_span(text: str, place: int) -> tuple[int, int]:
    """Characters of the word at a place of a text whose words are set apart by single blanks."""
    words = text.split(" ")
    if place < 0:
        raise IndexError(place)
    start = sum(len(word) + 1 for word in words[:place])
    return start, start + len(words[place])


def _mcl_wic_pairs(path: Path, data_dir: Path) -> Iterator[list[tuple]]:
    gold_path = _existing(data_dir, WIC_FILES["mcl-wic", "train" if "training" in path.name else "dev"][:-4] + "gold")
    tags = {}
    for number, row in enumerate(_json_list(gold_path), 1):
        where = f"{gold_path}, entry {number}"
        tags[field(row, "id", str, where)] = field(row, "tag", str, where)
    for number, row in enumerate(_json_list(path), 1):
        where = f"{path}, entry {number}"
        names = ("id", "lemma", "pos", "sentence1", "sentence2", "start1", "start2", "end1", "end2")
        values = {name: field(row, name, str, where) for name in names}
        texts = [values["sentence1"], values["sentence2"]]
        if values["id"] not in tags:
            raise ValueError(f"{where}: {gold_path.name} has no tag for {values['id']!r}: fetch both files again")
        try:
            spans = [(int(values[f"start{side}"]), int(values[f"end{side}"])) for side in (1, 2)]
            yield _pair(values["id"], values["lemma"], values["pos"], texts, spans, tags[values["id"]])
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f"{where}: no pair with a known part of speech, spans inside the sentences and a tag T or F"
            ) from error


def _pair(item: str, lemma: str, pos: str, texts: list[str], spans: list[tuple[int, int]], label: str) -> list[tuple]:
    rows = []
    for side, (text, (start, end)) in enumerate(zip(texts, spans, strict=True), 1):
        if not (0 <= start < end <= len(text) and text[start:end].strip()):
            raise IndexError((start, end))
        rows.append((item, side, lemma, PARTS_OF_SPEECH[pos], text, start, end, _LABELS[label]))
    return rows


def _instances(data_dir: Path, name: str) -> Iterator[tuple]:
    path = _existing(data_dir, f"wsd/{name}/{name}.data.xml")
    gold_path = _existing(data_dir, f"wsd/{name}/{name}.gold.key.txt")
    gold = {}
    for number, line in enumerate(_text(gold_path).splitlines(), 1):
        item, *keys = line.split() or [""]
        if not keys or not all("%" in key for key in keys):
            raise ValueError(f"{gold_path}, line {number}: expected an instance and its sense keys: {line[:60]!r}")
        gold[item] = tuple(keys)
    try:
        root = ElementTree.fromstring(_text(path))
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}, line {error.position[0]}: not XML ({error}): fetch the file again") from error
    for sentence in root.iter("sentence"):
        tokens = [token.text or "" for token in sentence]
        text, start = " ".join(tokens), 0
        for token, word in zip(sentence, tokens, strict=True):
            if token.tag == "instance":
                item, lemma, pos = token.get("id", ""), token.get("lemma", ""), token.get("pos", "")
                if item not in gold or pos not in PARTS_OF_SPEECH or not lemma or not word:
                    raise ValueError(
                        f"{path}, instance {item!r}: expected a lemma, a part of speech (NOUN, VERB, ADJ, ADV), a word "
                        f"and a line in {gold_path.name}"
                    )
                yield name, item, lemma, PARTS_OF_SPEECH[pos], text, start, start + len(word), gold[item]
            start += len(word) + 1


def _existing(data_dir: Path, name: str) -> Path:
    for ending in ("", ".gz", ".xz"):
        if (data_dir / (name + ending)).is_file():
            return data_dir / (name + ending)
    raise FileNotFoundError(
        f"there is no {data_dir / name} (nor .gz, .xz): these data are not downloaded because of their licence, "
        "so set data_dir to a folder that holds wic/ and wsd/ as published"
    )


def _text(path: Path) -> str:
    """A text file, plain, `.gz` or `.xz`, never empty."""
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    try:
        with opener(path, "rt", encoding="utf-8", newline="\n") as stream:
            text = stream.read()
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): fetch the file again") from error
    if not text.strip():
        raise ValueError(f"{path}, line 1: the file is empty: fetch it again")
    return text


def _json_list(path: Path) -> list[Any]:
    try:
        rows = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not JSON ({error.msg}): fetch the file again") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path}, line 1: expected a JSON list of objects, found {type(rows).__name__}")
    return rows
