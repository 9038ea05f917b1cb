"""The sources that a study names: thesauri, pair files and tables of derivations (paper, section 3.2).

A list such as `"wordnet, roget, wiktionary=enwiktionary.jsonl.gz, mine=pairs.tsv"` is all that a notebook's
parameter needs; `hg2vec` and `morpholex` are read from the folder of upstream files.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.pair_files import read_moby, read_pair_file, read_pairs
from dskd_utils.lexicon.readers import Pair, read_wordnet
from dskd_utils.lexicon.roget import read_roget
from dskd_utils.lexicon.wiktionary import read_wiktionary
from dskd_utils.sources.assets import fetch

HG2VEC = {"synonym": "lexical/hg2vec/syn-pairs.txt.gz", "antonym": "lexical/hg2vec/ant-pairs.txt.gz"}
MORPHOLEX = "morphology/MorphoLEX_en.tsv.gz"
PACKAGED = ("wordnet", "roget")
READERS = {"wiktionary": read_wiktionary, "moby": read_moby}  # by name where a path is given; else a pair file


@dataclass(frozen=True)
class Thesaurus:
    """One source: how it is called, the user's files behind it, and a function that reads it from the start."""

    name: str
    files: tuple[Path, ...]
    pairs: Callable[[], Iterator[Pair]]


def find_thesauri(sources: str, data_dir: str | Path | None = None) -> list[Thesaurus]:
    """The named sources, none of them read yet.

    Args:
        sources: names separated by commas: `wordnet` and `roget` come as packages, `hg2vec` from `data_dir`;
            `wiktionary=PATH` is wiktextract's JSON lines, `moby=PATH` the Moby thesaurus, any other `NAME=PATH` a
            pair file (see `read_pair_file`).
        data_dir: folder of upstream files.

    Raises:
        ValueError: a name that is none of these, or the same name twice.
        FileNotFoundError: a file is not there.
    """
    found = []
    for entry in filter(None, (part.strip() for part in sources.split(","))):
        name, equals, given = (part.strip() for part in entry.partition("="))
        if equals:
            path = _existing(Path(given).expanduser(), name)
            reader = READERS.get(name)
            read = (lambda p=path, r=reader: r(p)) if reader else (lambda p=path, n=name: read_pair_file(p, source=n))
            found.append(Thesaurus(name, (path,), read))
        elif name == "wordnet":
            found.append(Thesaurus(name, (), lambda: read_wordnet(fetch("wordnet"))))
        elif name == "roget":
            found.append(Thesaurus(name, (), lambda: read_roget(fetch("roget"))))
        elif name == "hg2vec":
            files = {kind: _existing(_inside(data_dir, path, name), name) for kind, path in HG2VEC.items()}
            found.append(Thesaurus(name, tuple(files.values()), lambda f=files: _hg2vec(f)))
        else:
            raise ValueError(
                f"source {name!r} is not one of {', '.join((*PACKAGED, 'hg2vec'))}: give a file as {name}=PATH"
            )
    names = [thesaurus.name for thesaurus in found]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"sources must name at least one thesaurus and each once: got {sources!r}")
    return found


def find_negation(morphology: str, data_dir: str | Path | None = None) -> dict[str, Path]:
    """The files of derivations behind `Negation.load`, by name.

    Args:
        morphology: names separated by commas: `morphynet` comes as a package, `morpholex` from `data_dir`
            (its licence is non-commercial, so nothing downloads it); `NAME=PATH` is a file of either kind.
        data_dir: folder of upstream files.

    Raises:
        ValueError: an unknown name, or none.
        FileNotFoundError: a file is not there.
    """
    found: dict[str, Path] = {}
    for entry in filter(None, (part.strip() for part in morphology.split(","))):
        name, equals, given = (part.strip() for part in entry.partition("="))
        if equals:
            found[name] = _existing(Path(given).expanduser(), name)
        elif name == "morphynet":
            found[name] = fetch("morphynet")
        elif name == "morpholex":
            found[name] = _existing(_inside(data_dir, MORPHOLEX, name), name)
        else:
            raise ValueError(f"morphology {name!r} is not one of morphynet, morpholex: give a file as {name}=PATH")
    if not found:
        raise ValueError("morphology must name at least one source of derivations, such as 'morphynet'")
    return found


def holds(data_dir: Path | None, name: str) -> bool:
    """Whether a folder of upstream files holds `hg2vec` or `morpholex`."""
    paths = HG2VEC.values() if name == "hg2vec" else [MORPHOLEX]
    return data_dir is not None and all((data_dir / path).is_file() for path in paths)


def load_negation(morphology: str, data_dir: str | Path | None = None) -> Negation:
    """`Negation.load` of the named sources; the same errors as `find_negation`."""
    return Negation.load(list(find_negation(morphology, data_dir).values()))


def _hg2vec(files: dict[str, Path]) -> Iterator[Pair]:
    return itertools.chain.from_iterable(read_pairs(path, kind, "hg2vec") for kind, path in files.items())


def _inside(data_dir: str | Path | None, path: str, name: str) -> Path:
    if data_dir is None:
        raise FileNotFoundError(f"{name!r} is read from a folder of upstream files: set data_dir, it holds {path}")
    return Path(data_dir) / path


def _existing(path: Path, name: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} for {name!r}: give the path of an existing file")
    return path
