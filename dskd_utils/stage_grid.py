"""A grid of students as a stage: one teacher pass, one pass over its store, one judging (paper, sections 5.1 and 6).

Students are judged on validation text, and on pairs of validation words where the grid asks for it, so that settings
can be chosen from what is seen here.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import AutoModelForCausalLM

from dskd_utils import stages
from dskd_utils.artefacts import atomic_folder, code_digest, digest, read_manifest, write_manifest
from dskd_utils.distill.controls import CONTROLS
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.students import INITS
from dskd_utils.distill.trainee import Cell, Schedule
from dskd_utils.distill.training import distill_together, training_log
from dskd_utils.evaluate.probes import pair_records, probe_table
from dskd_utils.evaluate.text import text_measures
from dskd_utils.grid import Grid, beside_kd
from dskd_utils.lexicon.thesauri import find_thesauri
from dskd_utils.senses.adaptive import CRITERIA, OWN_TOTAL
from dskd_utils.senses.sample import KEYS
from dskd_utils.senses.teacher_pass import processes
from dskd_utils.stage_lexicon import FLIPS, Lexicon
from dskd_utils.stage_senses import DICTIONARY_TEXTS
from dskd_utils.study import Study

logger = logging.getLogger(__name__)

TOGETHER = 4  # students that are judged in one pass with their teacher
DSKD = "dskd"
DICTIONARY = ("k", "key", "cap", "adaptive", "dictionary_text", "max_span", "neighbours", "neighbour_tokens")
LEXICON = ("sources", "flips")
CHOICES = {
    "init": INITS,
    "key": KEYS,
    "adaptive": (*CRITERIA, OWN_TOTAL),
    "dictionary_text": DICTIONARY_TEXTS,
    "neighbour_tokens": ("any", "several"),
    "flips": FLIPS,
}


def depth_of(settings: Mapping[str, Any], teacher_layers: int, preset: Mapping[str, Any]) -> tuple[int, int]:
    """Layers and trained layers of a cell; a depth of at most 1 is a share of the teacher's layers.

    Raises:
        ValueError: more layers than the teacher has, or none; more trained ones than the student has.
    """
    depth = settings.get("layers", preset["depth"])
    layers = round(depth * teacher_layers) if depth <= 1 else round(depth)
    if not 1 <= layers <= teacher_layers:
        raise ValueError(f"a grid asks for {depth:g} layers, the teacher has {teacher_layers}: give a share or fewer")
    trained = settings.get("trainable_layers", preset["trainable_layers"])
    if trained > layers:
        raise ValueError(f"{trained} trainable layers do not fit a student of {layers} layers")
    return layers, trained


def objective_of(settings: Mapping[str, Any], preset: Mapping[str, Any]) -> Objective:
    """What the student of a cell minimises.

    Raises:
        ValueError: an unknown method.
    """
    method = settings["method"]
    known = ("kd", DSKD, *CONTROLS, *stages.LOSS_CONTROLS)
    if method not in known:
        raise ValueError(f"a grid asks for the method {method!r}: choose among {', '.join(known)}")
    beta = settings.get("beta", preset["beta"])
    values = {name: preset[name] for name in ("alpha", "temperature", "margin", "kappa")}
    values |= {"beta_p": beta, "beta_n": beta}
    values |= {name: value for name, value in settings.items() if name in Objective.__dataclass_fields__}
    if method == "kd":
        return Objective(**values | stages.NO_SENSES)
    return replace(Objective(**values), **stages.LOSS_CONTROLS.get(method, {}))


def checked(
    grid: Grid,
    teacher_layers: int,
    preset: Mapping[str, Any],
    training_tokens: int,
    data_dir: str | Path | None = None,
) -> Grid:
    """The grid made for a teacher and a profile, once each of its students has been found possible.

    Args:
        grid: as it was read.
        teacher_layers, preset: of the teacher.
        training_tokens: of the profile.
        data_dir: folder of upstream files, where some thesauri are.

    Raises:
        ValueError: a student is not possible; names the line of the file.
    """
    grid = grid.made_for(preset, training_tokens)
    for name, settings in grid.cells.items():
        try:
            depth_of(settings, teacher_layers, preset)
            objective_of(settings, preset)
            for setting, known in CHOICES.items():
                if settings.get(setting, known[0]) not in known:
                    raise ValueError(f"{setting} must be one of {', '.join(known)}: got {settings[setting]!r}")
            if "sources" in settings:
                find_thesauri(settings["sources"], data_dir)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"grid {grid.name}, line {grid.lines.get(name, '?')}, student {name}: {error}") from error
    return grid


def train_grid(
    study: Study, grid: Grid, words: Lexicon, lexical: Mapping[str, Any] | None = None
) -> dict[str, Path | Exception]:
    """Train every student of a grid in one pass over one store; found where they are there.

    Args:
        study: an open study.
        grid: its students.
        words: the lexicon, for those that use senses.
        lexical: the parameters of `stage_lexicon.lexicon` that gave `words`, for students that change some of them.

    Returns:
        by name the student's folder, or the error that stopped it.

    Raises:
        ValueError: an impossible student, before anything runs.
        OSError: a disk or a network failed, which is no student's fault; a second call goes on.
    """
    grid = checked(grid, study.teacher.num_layers, study.preset, study.profile.training_tokens, study.data_dir)
    depths = {name: depth_of(one, study.teacher.num_layers, study.preset) for name, one in grid.cells.items()}
    first, *_ = depths.values()
    frozen = {layers - trained for layers, trained in depths.values()}
    store = stages.states(study, *first, more=frozen, tokens=grid.tokens)
    cells: dict[str, Cell] = {}
    errors: dict[str, Exception] = {}
    for name, settings in grid.cells.items():
        try:
            changed = {setting: settings[setting] for setting in LEXICON if setting in settings}
            own = stages.lexicon(study, **{**(lexical or {}), **changed}) if changed else words
            cells[name] = _cell(study, name, settings, depths[name], own, store)
        except OSError:
            raise
        except Exception as error:
            if processes()[1] > 1:  # the other processes would train it, and this one other students than they
                raise
            logger.warning("%s failed: %s: %s", name, type(error).__name__, error)
            errors[name] = error.with_traceback(None)
    found = dict(zip(cells, distill_together(list(cells.values()), store[0]), strict=True)) | errors
    return {name: found[name] for name in grid.cells}


def _cell(study: Study, name: str, settings: dict, depth: tuple[int, int], words: Lexicon, store: tuple) -> Cell:
    objective, nearest = objective_of(settings, study.preset), None
    if objective.uses_senses:
        found = stages.senses(study, words, **{name: settings[name] for name in DICTIONARY if name in settings})
        control = settings["method"] if settings["method"] in CONTROLS else ""
        own = settings.get("own_in_negatives", False)
        nearest = stages.candidates(study, found, own_in_negatives=own, control=control, store=store)
    budget = study.profile
    schedule = Schedule(lr=settings.get("lr", study.preset["lr"]), epochs=budget.epochs, batch_size=budget.batch_size,
                        seed=study.seed)  # fmt: skip
    options = {"init": settings.get("init", ""), "dropout": settings.get("dropout", 0.0)}
    options |= dict(zip(("layers", "trainable_layers"), depth, strict=True))
    return stages.cell(study, name, objective=objective, schedule=schedule, nearest=nearest, store=store[1], **options)


def judge_grid(study: Study, grid: Grid, found: Mapping[str, Path | Exception], words: Lexicon) -> pd.DataFrame:
    """How near each student of a grid is to its teacher on the validation text, which settings are chosen on.

    Where the grid asks for pairs, also whether a student tells synonyms of validation words from antonyms: `auc`, the
    area under the curve of `pair_records`, with its bootstrap error over the words asked about, and of a student that
    has a KD student beside it, `grid.beside_kd`, what it has over that one's area, over the same draws of words.

    Each group of students is judged in one pass with its teacher and kept, so that a second call goes on.

    Args:
        study: an open study.
        grid: its students.
        found: of `train_grid`.
        words: the lexicon, whose split says which words are for validation.

    Returns:
        a row a student and one of the teacher: the cell's settings, `model`, `layers`, its `seed` and its budget of
        training `tokens` (0 of the teacher), the measures of `text_measures` and `auc` with `_stderr` of each,
        `auc_over_kd` with `_low` and `_high` of its interval at 95%, `n` positions, `pairs` of words that were asked
        about, of those with a sense loss `margin_used` and the mean share `active` of the antonym senses that lay
        within it in training, and `failed`, why a student is not there.
    """
    grid = grid.made_for(study.preset, study.profile.training_tokens)
    validation = stages.text(study).validation
    pairs = stages.probes(study, words, part="validation", limit=grid.pairs).pairs if grid.pairs else None
    folders = {name: place for name, place in found.items() if isinstance(place, Path)}
    code = code_digest(*(f"evaluate/{name}.py" for name in ("text", "relatives", "scoring", "packing")))
    measured, asked, names = [], [], list(folders)
    # Where every student failed, the teacher is judged alone.
    for group in [names[i : i + TOGETHER] for i in range(0, len(names), TOGETHER)] or [[]]:
        shown = {"students": {name: folders[name].name for name in group}, "text": validation.digest, "code": code}
        if pairs is not None:
            shown |= {
                "pairs": digest(pairs.to_dict("list"), 16),
                "words": words.folder.name,
                "probes": code_digest("evaluate/probes.py"),
            }
        folder = study.stage("judged", grid.name, shown)
        if not (folder / "manifest.json").is_file():
            started, teacher = time.monotonic(), study.teacher.model
            read = {name: AutoModelForCausalLM.from_pretrained(folders[name], dtype=teacher.dtype) for name in group}
            models = {name: model.to(teacher.device).eval() for name, model in read.items()} | {"teacher": teacher}
            with atomic_folder(folder) as temporary:
                text_measures(models, validation, "teacher").to_parquet(temporary / "text.parquet", index=False)
                if pairs is not None:
                    records = pair_records(models, study.teacher.tokenizer, pairs)
                    records.to_parquet(temporary / "pairs.parquet", index=False)
                write_manifest(temporary, "judged", shown, started)
        measured.append(pd.read_parquet(folder / "text.parquet"))
        if pairs is not None:
            asked.append(pd.read_parquet(folder / "pairs.parquet"))
    rows = pd.concat(measured)[["model", "metric", "value", "stderr", "n"]].drop_duplicates(["model", "metric"])
    over = pd.DataFrame()
    if asked:
        areas = _areas(pd.concat(asked), beside_kd({name: grid.cells[name] for name in names}), study.seed)
        rows = pd.concat([rows, areas[areas.minus == ""].assign(metric="auc")[rows.columns]])
        over = areas[areas.minus != ""].set_index("model")[["value", "low", "high"]]
        over.columns = ["auc_over_kd", "auc_over_kd_low", "auc_over_kd_high"]
    wide = rows.pivot(index="model", columns="metric", values="value")
    wide = wide.join(rows.pivot(index="model", columns="metric", values="stderr").add_suffix("_stderr"))
    wide["n"] = rows.groupby("model").n.first()
    wide["pairs"] = rows[rows.metric == "auc"].set_index("model").n
    settings = pd.DataFrame.from_dict({**grid.cells, "teacher": {"method": "teacher"}}, orient="index")
    settings["layers"] = [depth_of(cell, study.teacher.num_layers, study.preset)[0] for cell in grid.cells.values()] + [
        study.teacher.num_layers
    ]
    settings["seed"] = study.seed
    most = study.profile.training_tokens
    settings["tokens"] = [min(grid.tokens or most, most)] * len(grid.cells) + [0]
    errors = {name: f"{type(place).__name__}: {place}" for name, place in found.items() if not isinstance(place, Path)}
    settings["failed"] = [errors.get(name, "") for name in settings.index]
    hinges = pd.DataFrame.from_dict({name: _hinge(place) for name, place in folders.items()}, orient="index")
    return settings.join(wide).join(over).join(hinges).rename_axis("model").reset_index()


def _hinge(folder: Path) -> dict[str, float]:
    """A student's margin, in the square of the states' unit, and how much of the antonym senses lay within it."""
    log = training_log(folder)
    if "active" not in log:
        return {}
    return {"margin_used": read_manifest(folder)["parameters"]["objective"]["margin"], "active": log.active.mean()}


def _areas(records: pd.DataFrame, beside: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Areas under the curve over all pairs, of each model and of each student minus the one beside it."""
    records = records.drop_duplicates(["model", "word", "other", "set"])  # the teacher is in every group
    records = records.assign(subset=[["all"]] * len(records))
    table = probe_table(records, list(beside.items()), seed=seed)
    return table[table.measure == "sum"]
