"""The sense dictionary of a study and its candidate index as stages (paper, sections 3.1, 3.3 and 4.2)."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dskd_utils.artefacts import atomic_folder, code_digest, digest, read_manifest, write_manifest
from dskd_utils.distill.candidates import CandidateIndex, candidate_index
from dskd_utils.distill.controls import controlled
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.adaptive import CRITERIA, OWN_TOTAL
from dskd_utils.senses.clustering import write_dictionary
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.hidden_states import TeacherStates
from dskd_utils.senses.live_states import States
from dskd_utils.senses.sample import Sample, plan_sample, self_hits
from dskd_utils.senses.sample_pass import collect_predicted, collect_sample
from dskd_utils.stage_adaptive import numbers_of_senses
from dskd_utils.stage_lexicon import Lexicon
from dskd_utils.stage_text import states, text
from dskd_utils.study import Study

DICTIONARY_TEXTS = ("training+extra", "training", "extra")
SAMPLE_CODE = ("senses/sample.py", "senses/sample_pass.py", "senses/teacher_pass.py", "senses/hidden_states.py")


def sampled_states(
    study: Study,
    key: str = "next",
    cap: int = 2000,
    dictionary_text: str = "training+extra",
    layers: tuple[int, int] = (0, 0),
) -> tuple[Sample, Path]:
    """At most `cap` states a token, grouped by token, from the dictionary's text (section 3.1; NOTES 1, 3, 32).

    The training text's states are copied from its store; the teacher runs over the extra text only.

    Args:
        study: an open study.
        key: which token a state is filed under: `next`, `input` or `predicted`.
        cap: most states a token.
        dictionary_text: `"training+extra"` (the paper's: the training text is part of the corpus), `"training"`, or
            `"extra"`, with which no training position's own state is among the senses that judge it.
        layers: of the store whose final states are read, as in `states`.

    Raises:
        ValueError: an unknown key or text, or `"extra"` at a profile that has none.
    """
    if dictionary_text not in DICTIONARY_TEXTS:
        raise ValueError(f"dictionary_text must be one of {', '.join(DICTIONARY_TEXTS)}: got {dictionary_text!r}")
    words = text(study)
    parts = [part for part in dictionary_text.split("+") if part == "training" or words.extra is not None]
    if not parts:
        raise ValueError(f"profile {study.profile.name} has no extra text: set dictionary_text to 'training'")
    texts = [words.train if part == "training" else words.extra for part in parts]
    store = states(study, *layers)[0] if parts[0] == "training" else None
    stored = {0: store} if isinstance(store, TeacherStates) else {}
    code = code_digest(*SAMPLE_CODE)
    parameters = {"texts": [packed.digest for packed in texts], "key": key, "cap": cap, "seed": study.seed}
    parameters |= {"dtype": study.dtype, "teacher": study.teacher.fingerprint, "code": code}
    folder = study.stage("samples", f"{key}-{dictionary_text}", parameters)
    more = {"stored": stored, "parameters": {"dtype": study.dtype, "code": code}}
    if key == "predicted":
        return collect_predicted(study.teacher, texts, folder, cap=cap, seed=study.seed, **more), folder
    plan = plan_sample(texts, study.teacher.vocab_size, key=key, cap=cap, seed=study.seed)
    return collect_sample(study.teacher, texts, plan, folder, **more), folder


@dataclass(frozen=True)
class Senses:
    """A sense dictionary, the relations in it, where it is and what was counted; the sample it was clustered from."""

    dictionary: SenseDictionary
    relations: Relations
    sample: Sample
    sample_folder: Path
    folder: Path
    facts: dict[str, Any]


def senses(
    study: Study,
    words: Lexicon,
    *,
    k: int = 0,
    key: str = "next",
    cap: int = 2000,
    max_span: int = 3,
    neighbours: int = 0,
    dictionary_text: str = "training+extra",
    layers: tuple[int, int] = (0, 0),
    adaptive: str = "",
    neighbour_tokens: str = "any",
) -> Senses:
    """Token senses by k-means and word senses by composition (sections 3.1 and 3.3).

    Args:
        study: an open study.
        words: the lexicon.
        k: clusters a token; the preset's when 0.
        key, cap, dictionary_text, layers: as in `sampled_states`.
        max_span: most tokens of a word, the paper's m.
        neighbours: most synonyms and antonyms of a head, all when 0.
        adaptive: a criterion, `"bic"`, `"square-root"` or `"distortion"`, that shares out the centroids which `k` gives
            all tokens together (the paper's future work, section 8), or `"bic-own"`, as many as BIC asks for; `k` for
            every token when empty.
        neighbour_tokens: as in `build_dictionary`.

    Raises:
        ValueError: an unknown key, text or criterion.
    """
    ways = (*CRITERIA, OWN_TOTAL)
    if adaptive and adaptive not in ways:
        raise ValueError(f"adaptive must be empty or one of {', '.join(ways)}: got {adaptive!r}")
    sample, sample_folder = sampled_states(study, key, cap, dictionary_text, layers)
    k = k or study.preset["k"]
    parameters = {
        "sample": sample_folder.name,
        "relations": words.folder.name,
        "k": k,
        "key": key,
        "cap": cap,
        "max_span": max_span,
        "neighbours": neighbours or None,
        "neighbour_tokens": neighbour_tokens,
        "dictionary_text": dictionary_text,
        "seed": study.seed,
        "code": code_digest("senses"),
    }
    if adaptive:
        parameters["adaptive"] = adaptive
    folder = study.stage("senses", "-".join([key, *([adaptive] if adaptive else []), f"k{k}"]), parameters)
    if not (folder / "manifest.json").is_file():
        numbers = numbers_of_senses(study, sample, sample_folder, adaptive, k) if adaptive else k
        _build_senses(study, sample, words, folder, parameters, numbers)
    dictionary = SenseDictionary.load(folder, study.teacher)
    return Senses(dictionary, words.training, sample, sample_folder, folder, read_manifest(folder)["facts"])


def _build_senses(
    study: Study, sample: Sample, words: Lexicon, folder: Path, parameters: dict, numbers: int | Tensor
) -> None:
    started = time.monotonic()
    teacher = study.teacher
    header = {name: value for name, value in parameters.items() if name != "code"}
    header |= {"teacher": teacher.name, "tokenizer_hash": teacher.tokenizer_hash, "hidden_size": teacher.hidden_size}
    header["corpus"] = digest(sample.plan.digests, 16)
    counts = sample.offsets.diff()
    with atomic_folder(folder) as temporary:
        began = time.monotonic()
        dictionary, inertia = write_dictionary(
            temporary,
            sample.values,
            sample.offsets,
            numbers,
            words.training,
            teacher.tokenizer,
            max_span=parameters["max_span"],
            neighbours=parameters["neighbours"],
            neighbour_tokens=parameters["neighbour_tokens"],
            seed=study.seed,
            header=header,
        )
        facts = dictionary.table8() | {
            "states": len(sample.values),
            "tokens at the cap": int((counts == parameters["cap"]).sum()),
            "raw-state keys": int(((counts > 0) & (counts <= torch.as_tensor(numbers))).sum()),
            "inertia": float(inertia.sum() / max(len(sample.values), 1)),
            "seconds": round(time.monotonic() - began, 2),
        }
        write_manifest(temporary, "senses", parameters, started, **facts)


@dataclass(frozen=True)
class Candidates:
    """The nearest senses of every training position, where they are, and how often a state judges itself."""

    index: CandidateIndex
    folder: Path
    facts: dict[str, Any]


def candidates(
    study: Study,
    found: Senses,
    *,
    own_in_negatives: bool = False,
    layers: tuple[int, int] = (0, 0),
    control: str = "",
    store: tuple[States, Path] | None = None,
) -> Candidates:
    """The 20 nearest positive and negative senses of every training position (section 4.2), beside their dictionary.

    Args:
        study: an open study.
        found: the dictionary.
        own_in_negatives: the released code's reading, a token's own senses are negatives too (NOTES 10).
        layers: of the training store, as in `states`.
        control: one of `distill.controls.CONTROLS`, to take the place of the dictionary, or empty.
        store: other states than those of `layers`, and their folder.
    """
    store, store_folder = store or states(study, *layers)
    dictionary = found.dictionary
    if control:
        counts = store.targets[store.targets >= 0].bincount(minlength=study.teacher.vocab_size)
        more = {"tokenizer": study.teacher.tokenizer, "relations": found.relations, "seed": study.seed}
        dictionary = controlled(dictionary, control, counts=counts, **more)
    parameters = {
        "senses": found.folder.name,
        "states": store_folder.name,
        "own_in_negatives": own_in_negatives,
        "code": code_digest("distill/candidates.py", "senses/dictionary.py"),
    }
    if control:
        parameters |= {
            "control": control,
            "seed": study.seed,
            "controls": code_digest("distill/controls.py", "distill/rewiring.py"),
        }
    alias = control or ("own-negatives" if own_in_negatives else "paper")
    folder = study.stage("candidates", alias, parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        index = candidate_index(store, dictionary, own_in_negatives=own_in_negatives)
        digests = found.sample.plan.digests
        train = text(study).train.digest  # a first part of it has the same positions
        hits = self_hits(
            found.sample.plan,
            dictionary.token_offsets.diff(),
            positions=index.positions,
            nearest=index.positive[:, 0],
            rows=store.rows,
            vectors=dictionary.vectors,
            text=digests.index(train) if train in digests else None,
        )
        facts = {
            "positions with senses": len(index.positions),
            "positions with relations": int(index.related.sum()),
            "training positions": int((store.targets != -100).sum()),
            "own states": hits["own states"],
            "self-hits": hits["self-hits"],
        }
        with atomic_folder(folder) as temporary:
            index.save(temporary / "index.pt")
            write_manifest(temporary, "candidates", parameters, started, **facts)
    index = CandidateIndex.load(folder / "index.pt", dictionary)
    return Candidates(index, folder, read_manifest(folder)["facts"])
