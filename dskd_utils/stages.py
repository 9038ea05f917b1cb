"""The stages of a study in order, each built once and found again (paper, sections 3 and 4).

A notebook calls the stages it needs: one that is there is opened, one that is not is built, together with
those before it.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dskd_utils.artefacts import atomic_folder, code_digest, read_json, read_manifest, write_json, write_manifest
from dskd_utils.distill.candidates import CandidateIndex, candidate_index
from dskd_utils.distill.students import Student, make_student
from dskd_utils.distill.training import Objective, Schedule, distill
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.readers import read_roget, read_wordnet
from dskd_utils.lexicon.relations import Relations
from dskd_utils.lexicon.split import lemmatise, split_words, training_relations
from dskd_utils.senses.dictionary import SenseDictionary, build_dictionary
from dskd_utils.senses.hidden_states import TeacherStates, collect_states, predicted_tokens, rows_by_token
from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.sources.assets import fetch
from dskd_utils.sources.corpora import Packed, study_text
from dskd_utils.sources.tasks import TASKS
from dskd_utils.study import Study

READERS = {"wordnet": read_wordnet, "roget": read_roget}
TEXT_CODE = (  # what decides which text comes out; the fetching code does not
    *("sources/corpora.py", "sources/wikipedia.py", "sources/leaks.py", "sources/packing.py"),
    *("sources/tasks.py", "sources/task_files.py", "assets.yaml"),
)


@dataclass(frozen=True)
class Lexicon:
    """The relations of a study: all of them, those for training (flipped, held-out words removed), the split."""

    relations: Relations
    training: Relations
    split: dict[str, str]
    folder: Path
    facts: dict[str, Any]


def lexicon(study: Study, sources: str = "wordnet,roget", flips: str = "add") -> Lexicon:
    """Synonyms and antonyms of the named sources, the word split and the negation flips (section 3.2).

    Args:
        study: an open study.
        sources: names separated by commas.
        flips: `"add"` (the paper), `"replace"` (the released code) or `"none"`.

    Raises:
        ValueError: an unknown source or reading.
    """
    names = [name.strip() for name in sources.split(",") if name.strip()]
    if unknown := [name for name in names if name not in READERS]:
        raise ValueError(f"source {unknown[0]!r} is not one of {', '.join(READERS)}")
    if flips not in {"add", "replace", "none"}:
        raise ValueError(f"flips must be 'add', 'replace' or 'none': got {flips!r}")
    parameters = {"sources": names, "flips": flips, "seed": study.seed, "code": code_digest("lexicon", "assets.yaml")}
    folder = study.stage("relations", "+".join(names) + ("" if flips == "none" else f"-flips-{flips}"), parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        relations = Relations.from_stream(*(READERS[name](fetch(name)) for name in names))
        negation = None if flips == "none" else Negation.load(fetch("morphynet"))
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


@dataclass(frozen=True)
class Text:
    """Packed training, validation and test text, and where it comes from."""

    train: Packed
    validation: Packed
    test: Packed
    facts: dict[str, Any]
    folder: Path


def text(study: Study) -> Text:
    """The text that the study reads, split by article and free of leaks (section 3.1)."""
    budget = study.profile
    settings = {
        "budget_wiki": budget.wikipedia_tokens,
        "budget_tasks": budget.task_tokens,
        "budget_heldout": budget.heldout_tokens,
        "seed": study.seed,
        "block": budget.block,
        "source": study.source,
    }
    parameters = settings | {
        "tokenizer": study.teacher.tokenizer_hash,
        "files": study.data_dir is not None,
        "code": code_digest(*TEXT_CODE),
    }
    folder = study.stage("text", f"seed{study.seed}", parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        found = study_text(study.teacher.tokenizer, data_dir=study.data_dir, tasks=TASKS, **settings)
        with atomic_folder(folder) as temporary:
            parts = {name: asdict(getattr(found, name)) for name in ("train", "validation", "test")}
            torch.save(parts, temporary / "text.pt")
            write_manifest(temporary, "text", parameters, started, **found.facts)
    parts = torch.load(folder / "text.pt", weights_only=True)
    packed = {name: Packed(**part) for name, part in parts.items()}
    return Text(**packed, facts=read_manifest(folder)["facts"], folder=folder)


def split_layer(study: Study, layers: int = 0, trainable_layers: int = 0) -> tuple[int, int]:
    """Student layers and trainable layers: the given ones, or the preset's (depth is a fraction there).

    Raises:
        ValueError: more layers than the teacher has.
    """
    depth = study.teacher.num_layers
    layers = layers or max(1, round(study.preset["depth"] * depth))
    trainable = trainable_layers or study.preset["trainable_layers"]
    if layers > depth:
        raise ValueError(
            f"a student of {layers} layers was asked, but {study.teacher_name} has {depth}: use 1 to {depth}"
        )
    if trainable > layers:
        raise ValueError(f"{trainable} trainable layers do not fit a student of {layers} layers")
    return layers, trainable


def states(study: Study, layers: int = 0, trainable_layers: int = 0) -> tuple[TeacherStates, Path]:
    """One teacher pass over the training text (section 3.1), kept for every student of this split layer."""
    words = text(study)
    total, trainable = split_layer(study, layers, trainable_layers)
    frozen = total - trainable
    code = code_digest("senses/hidden_states.py")
    parameters = {"text": words.train.digest, "frozen": frozen, "dtype": study.dtype, "code": code}
    folder = study.stage("states", f"after{frozen}", parameters)
    more = {"dtype": study.dtype, "code": code}
    return collect_states(study.teacher, words.train, folder, split_layers=[frozen], parameters=more), folder


@dataclass(frozen=True)
class Senses:
    """The sense dictionary, the nearest senses of every training position, and where they are."""

    dictionary: SenseDictionary
    index: CandidateIndex
    folder: Path
    facts: dict[str, Any]


def senses(
    study: Study,
    *,
    sources: str = "wordnet,roget",
    flips: str = "add",
    k: int = 0,
    key: str = "next",
    cap: int = 2000,
    max_span: int = 3,
    neighbours: int = 0,
    own_in_negatives: bool = False,
    layers: int = 0,
    trainable_layers: int = 0,
) -> Senses:
    """Token senses by k-means, word senses by composition, and the candidate index (sections 3.1, 3.3, 4.2).

    `k` and `neighbours` are the preset's and "all" when 0; the other arguments are those of the stages.
    """
    words = lexicon(study, sources, flips)
    store, store_folder = states(study, layers, trainable_layers)
    k = k or study.preset["k"]
    parameters = {
        "states": store_folder.name,
        "relations": words.folder.name,
        "k": k,
        "key": key,
        "cap": cap,
        "max_span": max_span,
        "neighbours": neighbours or None,
        "own_in_negatives": own_in_negatives,
        "seed": study.seed,
        "code": code_digest("senses", "distill/candidates.py"),
    }
    folder = study.stage("senses", f"{key}-k{k}", parameters)
    if not (folder / "manifest.json").is_file():
        _build_senses(study, store, words, folder, parameters)
    dictionary = SenseDictionary.load(folder, study.teacher)
    index = CandidateIndex.load(folder / "index.pt", dictionary)
    return Senses(dictionary, index, folder, read_manifest(folder)["facts"])


def _build_senses(study: Study, store: TeacherStates, words: Lexicon, folder: Path, parameters: dict) -> None:
    started = time.monotonic()
    teacher = study.teacher
    head = teacher.model.get_output_embeddings().weight.detach()
    predicted = predicted_tokens(store, head) if parameters["key"] == "predicted" else None
    vocabulary = len(head)
    rows, offsets = rows_by_token(
        store, vocabulary, key=parameters["key"], cap=parameters["cap"], seed=study.seed, predicted=predicted
    )
    values = store.final.flatten(0, 1)[rows]
    began = time.monotonic()
    clusters = batched_kmeans(values, offsets, parameters["k"], seed=study.seed)
    seconds = time.monotonic() - began
    header = {name: value for name, value in parameters.items() if name != "code"}
    header |= {"teacher": teacher.name, "tokenizer_hash": teacher.tokenizer_hash, "hidden_size": teacher.hidden_size}
    dictionary = build_dictionary(
        clusters.centroids,
        clusters.offsets,
        words.training,
        teacher.tokenizer,
        max_span=parameters["max_span"],
        neighbours=parameters["neighbours"],
        seed=study.seed,
        header=header,
    )
    index = candidate_index(store, dictionary, own_in_negatives=parameters["own_in_negatives"])
    counts = offsets.diff()
    seen = counts > 0
    facts = dictionary.table8() | {
        "states": len(rows),
        "tokens at the cap": int((counts == parameters["cap"]).sum()),
        "raw-state keys": int((seen & (counts <= parameters["k"])).sum()),
        "positions with senses": len(index.positions),
        "positions with relations": int(index.related.sum()),
        "training positions": int((store.targets != -100).sum()),
        "k-means seconds": round(seconds, 2),
    }
    with atomic_folder(folder) as temporary:
        dictionary.write(temporary)
        index.save(temporary / "index.pt")
        write_manifest(temporary, "senses", parameters, started, **facts)


def new_student(study: Study, init: str = "", layers: int = 0, trainable_layers: int = 0) -> Student:
    """A student at its starting point, before any training."""
    total, trainable = split_layer(study, layers, trainable_layers)
    return make_student(study.teacher, total, trainable, init or study.preset["init"])


def student(
    study: Study,
    alias: str,
    *,
    objective: Objective,
    schedule: Schedule,
    senses: Senses | None = None,
    init: str = "",
    layers: int = 0,
    trainable_layers: int = 0,
) -> Path:
    """The folder of a trained student (section 4): trained now, resumed, or found.

    Every student of a study starts from the same layers and reads the same blocks in the same order.
    """
    store, store_folder = states(study, layers, trainable_layers)
    fresh = new_student(study, init, layers, trainable_layers)
    card = {
        "states": store_folder.name,
        "senses": senses.folder.name if senses else "none",
        "data": f"{study.profile.training_tokens:,} tokens of English Wikipedia (CC BY-SA) and of the training splits "
        "of ARC-Challenge, CommonsenseQA and PIQA",
        "licence": study.preset["licence"],
        "code": code_digest("distill"),
    }
    parameters = card | {"objective": asdict(objective), "schedule": asdict(schedule), "layers": fresh.layers}
    parameters["trainable"] = fresh.trainable_layers
    folder = study.stage("students", alias, parameters)
    index = senses.index if senses else None
    return distill(fresh, store, folder, objective=objective, schedule=schedule, index=index, card=card)
