"""The lexicon of a study as a stage, built once and found again (paper, section 3.2)."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dskd_utils.artefacts import (
    atomic_folder,
    code_digest,
    file_sha256,
    read_json,
    read_manifest,
    write_json,
    write_manifest,
)
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.split import lemmatise, split_words, training_relations
from dskd_utils.lexicon.thesauri import find_negation, find_thesauri
from dskd_utils.sources.assets import fetch
from dskd_utils.study import Study

FLIPS = ("add", "replace", "none")


@dataclass(frozen=True)
class Lexicon:
    """The relations of a study: all of them, those for training (flipped, held-out words removed), the split."""

    relations: Relations
    training: Relations
    split: dict[str, str]
    folder: Path
    facts: dict[str, Any]

    @property
    def held_out(self) -> set[str]:
        """Words that no training relation touches."""
        return {word for word, part in self.split.items() if part != "train"}


def lexicon(
    study: Study,
    sources: str = "wordnet,roget",
    flips: str = "add",
    morphology: str = "morphynet",
    multiword: bool = False,
) -> Lexicon:
    """Synonyms and antonyms of the named sources, the word split and the negation flips (section 3.2).

    Args:
        study: an open study.
        sources: thesauri separated by commas, as `find_thesauri` reads them.
        flips: `"add"` (the paper), `"replace"` (the released code) or `"none"`.
        morphology: tables of derivations separated by commas, as `find_negation` reads them.
        multiword: keep entries of several words (`fall down`).

    Raises:
        ValueError, FileNotFoundError: an unknown source or reading, or a file that is not there.
    """
    thesauri = find_thesauri(sources, study.data_dir)
    if flips not in FLIPS:
        raise ValueError(f"flips must be one of {', '.join(FLIPS)}: got {flips!r}")
    derivations = {} if flips == "none" else find_negation(morphology, study.data_dir)
    parameters = {
        "sources": {thesaurus.name: [file_sha256(path) for path in thesaurus.files] for thesaurus in thesauri},
        "flips": flips,
        "morphology": {name: file_sha256(path) for name, path in derivations.items()},
        "multiword": multiword,
        "seed": study.seed,
        "code": code_digest("lexicon", "assets.yaml"),
    }
    alias = "+".join(parameters["sources"]) + ("" if flips == "none" else f"-flips-{flips}")
    folder = study.stage("relations", alias, parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        relations = Relations.from_stream(*(thesaurus.pairs() for thesaurus in thesauri), keep_multiword=multiword)
        negation = Negation.load(list(derivations.values())) if derivations else None
        # The split covers the words that flips bring in; a word's part depends on its lemma and the seed alone.
        flipped = relations.with_negation(negation, flips) if negation else relations
        words = sorted({*relations.words, *flipped.words})
        split = split_words(words, lemmatise(words, fetch("wordnet")), seed=study.seed)
        training = training_relations(relations, negation, split, "add" if negation is None else flips)
        with atomic_folder(folder) as temporary:
            relations.save(temporary / "relations.parquet")
            training.save(temporary / "training.parquet")
            write_json(temporary / "split.json", split)
            facts = {"all": relations.counts(), "training": training.counts()}
            write_manifest(temporary, "relations", parameters, started, **facts)
    facts = read_manifest(folder)["facts"]
    return Lexicon(
        Relations.load(folder / "relations.parquet"),
        Relations.load(folder / "training.parquet"),
        read_json(folder / "split.json"),
        folder,
        facts,
    )
