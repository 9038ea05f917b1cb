"""The stages of a study in order, each built once and found again (paper, sections 3 and 4).

A notebook calls the stages it needs: one that is there is opened, one that is not is built, together with
those before it.
"""

from dataclasses import asdict
from pathlib import Path

from dskd_utils.artefacts import code_digest
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.students import Student, make_student
from dskd_utils.distill.trainee import Schedule
from dskd_utils.distill.training import distill
from dskd_utils.stage_adaptive import held_out, numbers_of_senses, unbounded_bic
from dskd_utils.stage_lexicon import Lexicon, lexicon
from dskd_utils.stage_senses import Candidates, Senses, candidates, sampled_states, senses
from dskd_utils.stage_text import Text, split_layer, states, text
from dskd_utils.study import Study

__all__ = [
    "Candidates",
    "Lexicon",
    "Senses",
    "Text",
    "candidates",
    "held_out",
    "lexicon",
    "new_student",
    "numbers_of_senses",
    "sampled_states",
    "senses",
    "split_layer",
    "states",
    "student",
    "text",
    "unbounded_bic",
]


def new_student(
    study: Study, init: str = "", layers: int = 0, trainable_layers: int = 0, dropout: float = 0.0
) -> Student:
    """A student at its starting point, before any training."""
    total, trainable = split_layer(study, layers, trainable_layers)
    init = init or study.preset["init"]
    return make_student(study.teacher, total, trainable, init, attention_dropout=dropout)


def student(
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
) -> Path:
    """The folder of a trained student (section 4): trained now, resumed, or found.

    Every student of a study starts from the same layers and reads the same blocks in the same order. `nearest` is
    needed where the objective uses senses.
    """
    store, store_folder = states(study, layers, trainable_layers)
    fresh = new_student(study, init, layers, trainable_layers, dropout)
    card = {
        "states": store_folder.name,
        "senses": nearest.folder.name if nearest else "none",
        "data": f"{study.profile.training_tokens:,} tokens of English Wikipedia (CC BY-SA) and of the training splits "
        "of ARC-Challenge, CommonsenseQA and PIQA",
        "licence": study.preset["licence"],
        "code": code_digest("distill"),
    }
    parameters = card | {"objective": asdict(objective), "schedule": asdict(schedule), "layers": fresh.layers}
    parameters |= {"trainable": fresh.trainable_layers, "dropout": dropout}
    folder = study.stage("students", alias, parameters)
    index = nearest.index if nearest else None
    return distill(fresh, store, folder, objective=objective, schedule=schedule, index=index, card=card)
