"""The stages of a study in order, each built once and found again (paper, sections 3 and 4).

A notebook calls the stages it needs: one that is there is opened, one that is not is built, together with
those before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from dskd_utils.artefacts import code_digest
from dskd_utils.distill.controls import CONTROLS
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.replicates import replicate
from dskd_utils.distill.students import Student, make_student
from dskd_utils.distill.trainee import Cell, Schedule
from dskd_utils.distill.training import distill_together
from dskd_utils.stage_adaptive import held_out, numbers_of_senses
from dskd_utils.stage_lexicon import Lexicon, lexicon
from dskd_utils.stage_probes import Probes, own_space, probes
from dskd_utils.stage_senses import Candidates, Senses, candidates, sampled_states, senses
from dskd_utils.stage_text import Text, context_states, read_of, split_layer, states, text, wikitext
from dskd_utils.study import Study

__all__ = [
    "Candidates",
    "Lexicon",
    "Probes",
    "Senses",
    "Text",
    "candidates",
    "cell",
    "compared",
    "context_states",
    "control_cells",
    "held_out",
    "lexicon",
    "new_student",
    "numbers_of_senses",
    "own_space",
    "probes",
    "sampled_states",
    "senses",
    "split_layer",
    "states",
    "student",
    "students",
    "text",
    "wikitext",
]

LOSS_MEANINGS = {
    "state_error": "the mean squared error to the teacher's own state in place of the sense loss",
    "sense_prediction": "which sense is the teacher's nearest, as a classification, in place of the sense loss",
    "reverse_kl": "KD with the KL the other way round",
    "jensen_shannon": "KD with Jensen and Shannon's divergence in place of KL",
}
NO_SENSES = {"beta_p": 0.0, "beta_n": 0.0}
LOSS_CONTROLS = {  # what else could be asked of a student, in place of the sense loss or of KL
    "state_error": NO_SENSES | {"state_weight": 1.0},
    "sense_prediction": NO_SENSES | {"prediction_weight": 1.0},
    "reverse_kl": NO_SENSES | {"divergence": "reverse"},
    "jensen_shannon": NO_SENSES | {"divergence": "js"},
}


def control_names(asked: str) -> list[str]:
    """The controls that are asked for by name with commas between, or by `all` or `none`.

    Raises:
        ValueError: an unknown control.
    """
    known = [*CONTROLS, *LOSS_CONTROLS]
    if asked.strip() == "all":
        return known
    names = [name for part in asked.split(",") if (name := part.strip()) not in ("", "none")]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no control {name!r}: choose among {', '.join(known)}")
    return names


def new_student(
    study: Study, init: str = "", layers: int = 0, trainable_layers: int = 0, dropout: float = 0.0
) -> Student:
    """A student at its starting point, before any training."""
    total, trainable = split_layer(study, layers, trainable_layers)
    init = init or study.preset["init"]
    return make_student(study.teacher, total, trainable, init, attention_dropout=dropout)


def cell(
    study: Study,
    alias: str,
    *,
    objective: Objective,
    schedule: Schedule,
    nearest: Candidates | None = None,
    init: str = "",
    layers: int = 0,
    trainable_layers: int = 0,
    dropout: float = 0.0,
    store: Path | None = None,
) -> Cell:
    """A student at its start and all that its training needs (section 4).

    Every student of a study starts from the same layers and reads the same blocks in the same order. `nearest` is
    needed where the objective uses senses; `store` names other states than those of `states`.
    """
    store_folder = store or states(study, layers, trainable_layers)[1]
    fresh = new_student(study, init, layers, trainable_layers, dropout)
    card = {
        "states": store_folder.name,
        "senses": nearest.folder.name if nearest else "none",
        "data": read_of(text(study), study.source),
        "licence": study.preset["licence"],
        "code": code_digest("distill"),
    }
    parameters = card | {"objective": asdict(objective), "schedule": asdict(schedule), "layers": fresh.layers}
    parameters |= {"trainable": fresh.trainable_layers, "dropout": dropout}
    folder = study.stage("students", alias, parameters)
    return Cell(fresh, folder, objective, schedule, nearest.index if nearest else None, card)


def student(study: Study, alias: str, **options) -> Path:
    """The folder of one student: trained now, resumed, or found; `options` as in `cell`.

    Raises:
        FloatingPointError: its loss is not finite.
    """
    return _folder(students(study, {alias: cell(study, alias, **options)})[alias])


def students(study: Study, cells: Mapping[str, Cell]) -> dict[str, Path | FloatingPointError]:
    """The folders of several students of one split layer, trained in one pass over the store where they are not there.

    A student whose loss is not finite has its error in place of its folder.

    Raises:
        Exception: what else stopped a student, once the others are there.
    """
    if not cells:
        return {}
    one = next(iter(cells.values())).student
    store, _ = states(study, len(one.layers), one.trainable_layers)
    found = dict(zip(cells, distill_together(list(cells.values()), store), strict=True))
    for place in found.values():
        if isinstance(place, Exception) and not isinstance(place, FloatingPointError):
            raise place
    return found


def control_cells(
    study: Study,
    names: Iterable[str],
    found: Senses,
    *,
    objective: Objective,
    own_in_negatives: bool = False,
    **options,
) -> dict[str, Cell]:
    """Controls and ablations by name: of the dictionary (`distill.controls.CONTROLS`) or of the loss (`LOSS_CONTROLS`).

    Args:
        study: an open study.
        names: of the controls.
        found: the full dictionary.
        objective: DSKD's, which a control of the dictionary keeps.
        own_in_negatives: as in `candidates`.
        options: as in `cell`.

    Raises:
        ValueError: an unknown control.
    """
    layers = options.get("layers", 0), options.get("trainable_layers", 0)
    cells = {}
    for name in control_names(",".join(names)):
        control = name if name in CONTROLS else ""
        near = candidates(study, found, own_in_negatives=own_in_negatives, layers=layers, control=control)
        changed = replace(objective, **LOSS_CONTROLS.get(name, {}))
        cells[name] = cell(study, name, objective=changed, nearest=near, **options)
    return cells


def compared(
    study: Study,
    seeds: int,
    controls: Iterable[str],
    found: Senses,
    nearest: Candidates,
    *,
    kd: Objective,
    dskd: Objective,
    schedule: Schedule,
    own_in_negatives: bool = False,
    **options,
) -> dict[str, Path | FloatingPointError]:
    """The students of the main comparison: KD, DSKD and controls, all of one training seed in one pass over the store.

    Args:
        study: an open study.
        seeds: how many; the first is the schedule's, the others count on from it.
        controls: names, as in `control_cells`.
        found, nearest: the dictionary and its candidates.
        kd, dskd: what is minimised.
        schedule: the optimisation.
        own_in_negatives, options: as in `control_cells` and `cell`.

    Returns:
        folders by name (`kd`, `dskd`, the controls', and with `replicates.replicate` those of further seeds), or what
        stopped a student.

    Raises:
        ValueError: no seed, or an unknown control.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1: got {seeds}")
    made, names = {}, list(controls)
    for number in range(seeds):
        own = options | {"schedule": replace(schedule, seed=schedule.seed + number)}
        cells = {"kd": cell(study, "kd", objective=kd, **own)}
        cells["dskd"] = cell(study, "dskd", objective=dskd, nearest=nearest, **own)
        cells |= control_cells(study, names, found, objective=dskd, own_in_negatives=own_in_negatives, **own)
        made |= {replicate(name, number): place for name, place in students(study, cells).items()}
    return made


def _folder(found: Path | FloatingPointError) -> Path:
    if isinstance(found, FloatingPointError):
        raise found
    return found
