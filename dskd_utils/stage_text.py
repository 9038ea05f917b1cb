"""The text of a study and the teacher's states over it as stages (paper, section 3.1)."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dskd_utils.artefacts import (
    MANIFEST,
    atomic_folder,
    code_digest,
    digest,
    files_digest,
    read_manifest,
    write_manifest,
)
from dskd_utils.distill.students import check_architecture
from dskd_utils.senses.hidden_states import TeacherStates, collect_states
from dskd_utils.senses.live_states import LiveStates, States
from dskd_utils.sources.conversations import teacher_answers
from dskd_utils.sources.corpora import Packed, study_text
from dskd_utils.sources.tasks import TASKS
from dskd_utils.sources.wikitext import FILE, masked_pack, wikitext_articles
from dskd_utils.study import Study

CONTEXT_TOKENS = 500_000  # that contexts are drawn from where there is no store
TEXT_PARTS = ("train", "validation", "test", "extra")
TEXT_CODE = (  # what decides which text comes out; the fetching code does not
    *("sources/corpora.py", "sources/wikipedia.py", "sources/leaks.py", "sources/packing.py"),
    *("sources/tasks.py", "sources/task_files.py", "sources/conversations.py", "sources/wikitext.py"),
    *("sources/mmlu_pro.py", "assets.yaml"),
)
TEXT_FILES = ("arc", "commonsenseqa", "piqa", "mmlu", "mmlu_pro", "squad2", "wikipedia")  # of a data folder
# Parameters of the notebooks that decide the training text, with the paper's reading: a share below 0 is the profile's.
TEXT_CHOICES = {"wikipedia_share": -1.0, "task_format": "chat", "train_shots": 5, "answers": "gold"}
ANSWERS = ("gold", "teacher")
SPLITS = {"arc_challenge": "ARC-Challenge", "commonsense_qa": "CommonsenseQA", "piqa": "PIQA"}


@dataclass(frozen=True)
class Text:
    """Packed training, validation and test text, more text for the dictionary, and where it all comes from."""

    train: Packed
    validation: Packed
    test: Packed
    extra: Packed | None
    facts: dict[str, Any]
    folder: Path


def text(study: Study, like: Mapping[str, Any] | None = None) -> Text:
    """The text that the study reads, split by article and free of leaks (section 3.1; NOTES 15, 22).

    Args:
        study: an open study.
        like: the parameters of the notebook that trained, where another one reads the same text; the study's own
            where None. Those of `TEXT_CHOICES` count.

    Raises:
        ValueError: a choice that there is not.
    """
    chosen = {name: (like or study.parameters).get(name, value) for name, value in TEXT_CHOICES.items()}
    share, answers = chosen["wikipedia_share"], chosen["answers"]
    if share > 1:
        raise ValueError(f"wikipedia_share must be at most 1, or below 0 for the profile's: got {share}")
    if answers not in ANSWERS:
        raise ValueError(f"answers must be one of {', '.join(ANSWERS)}: got {answers!r}")
    budget = study.profile
    wikipedia = budget.wikipedia_tokens if share < 0 else round(share * budget.training_tokens)
    settings = {
        "budget_wiki": wikipedia,
        "budget_tasks": budget.training_tokens - wikipedia,
        "budget_heldout": budget.heldout_tokens,
        "budget_extra": budget.extra_tokens,
        "seed": study.seed,
        "block": budget.block,
        "source": study.source,
        "task_format": chosen["task_format"],
        "shots": chosen["train_shots"],
    }
    parameters = settings | {
        "tokenizer": study.teacher.tokenizer_hash,
        "chat_template": digest({"template": study.teacher.tokenizer.chat_template}),
        "answers": study.teacher.fingerprint if answers == "teacher" else answers,
        "files": files_digest(study.data_dir, *TEXT_FILES),
        "code": code_digest(*TEXT_CODE),
    }
    folder = study.stage("text", f"seed{study.seed}", parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        settings["answers"] = partial(teacher_answers, study.teacher) if answers == "teacher" else None
        settings["judged"] = wikitext_articles(study.data_dir / FILE) if has_wikitext(study) else ()
        found = study_text(study.teacher.tokenizer, data_dir=study.data_dir, tasks=TASKS, **settings)
        with atomic_folder(folder) as temporary:
            parts = {name: asdict(part) for name in TEXT_PARTS if (part := getattr(found, name)) is not None}
            torch.save(parts, temporary / "text.pt")
            write_manifest(temporary, "text", parameters, started, **found.facts)
    parts = torch.load(folder / "text.pt", weights_only=True, mmap=True)
    packed = {name: Packed(**parts[name]) if name in parts else None for name in TEXT_PARTS}
    return Text(**packed, facts=read_manifest(folder)["facts"], folder=folder)


def read_of(found: Text, source: str) -> str:
    """What the training text is made of, in words for a model card.

    Args:
        found: the text.
        source: of the tasks, which decides what is read as SQuAD 2.0's training split.
    """
    tokens = {name: part["tokens"] for name, part in found.facts["train"].items()}
    read = found.facts["read"] if tokens["tasks"] else {}
    parts = ["of English Wikipedia (CC BY-SA)"] if sum(tokens.values()) > tokens["tasks"] else []
    if splits := [name for task, name in SPLITS.items() if read.get(task)]:
        parts.append(f"of the training splits of {_listed(splits)}")
    if read.get("mmlu"):
        parts.append("of MMLU-Pro")
    if read.get("squad2"):
        split = "training split" if source == "hub" else "validation split, half of its articles"
        parts.append(f"of SQuAD 2.0's {split}")
    return f"{found.train.tokens:,} tokens {_listed(parts)}"


def _listed(names: list[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def has_wikitext(study: Study) -> bool:
    """Whether the data folder holds WikiText-2's validation articles."""
    return study.data_dir is not None and (study.data_dir / FILE).is_file()


def wikitext(study: Study) -> tuple[Packed, Packed] | None:
    """WikiText-2's validation articles, as many tokens as the held-out text has and all; None without a data folder.

    Training text shares none of them: `text` takes them among what is judged on.
    """
    if not has_wikitext(study):
        return None
    articles, options = wikitext_articles(study.data_dir / FILE), {"block": study.profile.block, "seed": study.seed}
    part, whole = (
        masked_pack(articles, study.teacher.tokenizer, budget=budget, **options)
        for budget in (study.profile.heldout_tokens, None)
    )
    return part, whole


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


def states(
    study: Study, layers: int = 0, trainable_layers: int = 0, *, more: Iterable[int] = (), tokens: int = 0
) -> tuple[States, Path]:
    """The teacher's states over the training text (section 3.1), for every student of this split layer.

    One pass, kept in the folder; with the study's `store` at `"memory"` one pass a run, at `"none"` computed whenever
    they are asked for. The folder names them in all three cases, and one that is there is read.

    Args:
        study: an open study.
        layers, trainable_layers: of the student, as in `split_layer`.
        more: further numbers of frozen layers whose output is kept, for a grid over the depth.
        tokens: of the text that are read, its first; 0 for all.

    Raises:
        ValueError: a teacher of another architecture than students can be made of.
    """
    check_architecture(study.teacher.name, study.teacher.model.config.model_type)
    train = text(study).train.first(tokens)
    total, trainable = split_layer(study, layers, trainable_layers)
    frozen = sorted({total - trainable, *more})
    code = code_digest("senses/hidden_states.py")
    parameters = {"text": train.digest, "frozen": frozen, "dtype": study.dtype, "code": code}
    parameters["teacher"] = study.teacher.fingerprint
    folder = study.stage("states", "after" + "-".join(map(str, frozen)), parameters)
    if study.store == "disk" or (folder / MANIFEST).is_file():
        stated = {"dtype": study.dtype, "code": code}
        return collect_states(study.teacher, train, folder, split_layers=frozen, parameters=stated), folder
    live = LiveStates(study.teacher, train)
    if study.store == "memory":
        live = study.in_memory[folder.name] = study.in_memory.get(folder.name) or live.held(frozen)
    return live, folder


def context_states(study: Study, layers: int = 0, trainable_layers: int = 0) -> TeacherStates:
    """The states whose contexts are shown: those of the store, or of a first part of the text held in memory."""
    found, _ = states(study, layers, trainable_layers)
    if isinstance(found, TeacherStates):
        return found
    return found.held(blocks=max(1, CONTEXT_TOKENS // study.profile.block))
