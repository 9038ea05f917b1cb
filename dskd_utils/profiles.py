"""Profiles: how much text and how many questions a study uses; no section of the paper."""

import ast
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

STORES = {
    "disk": "a memory-mapped file, found again by later runs",
    "memory": "main memory, computed anew by every run",
    "none": "nowhere, the teacher runs at every step and search",
}
# Whose results each notebook of a study reads.
READS = {
    "01-lexicon": [],
    "02-senses": ["01-lexicon"],
    "03-sense-maps": ["02-senses"],
    "04-distillation": ["02-senses"],
    "05-evaluation": ["04-distillation"],
    "06-ablations": ["02-senses"],
    "07-tables": ["01-lexicon", "02-senses", "03-sense-maps", "04-distillation", "05-evaluation"],
    "08-costs": ["04-distillation"],
    "09-worked-example": ["04-distillation"],
}
# Whose it reads too where they are there: of long notebooks that not every study runs.
READS_IF_THERE = {"07-tables": ["06-ablations", "08-costs"]}
# Options of `make study` for single notebooks, by notebook; where one is empty the profile decides.
ASKED = {"seeds": "04-distillation", "controls": "04-distillation", "grids": "06-ablations", "rounds": "08-costs"}
ALL_CONTROLS = 11
BATCH = "batch"  # the run of a study by `make study`; any other keeps its results apart
SCALES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)


@dataclass(frozen=True)
class Profile:
    """Budgets of a study.

    Attributes:
        name: `smoke`, `quick`, `full` or `paper`.
        purpose: one line.
        wikipedia_tokens: training tokens from Wikipedia.
        task_tokens: training tokens from the benchmarks' training splits.
        extra_tokens: tokens for the sense dictionary beside the training text.
        heldout_tokens: tokens of each of validation and test text.
        block: positions a block.
        batch_size: blocks a training step.
        epochs: passes over the training tokens.
        likelihood_questions: questions a benchmark, answer text scored.
        label_questions: questions a benchmark, answer label scored.
        squad_questions: questions of SQuAD 2.0, generated.
        probe_questions: pairs, and as many questions, about held-out words.
        map_states: contextual states a word in the sense maps.
        sense_contexts: pairs of contexts of each part of the tests of word senses.
        store: where the teacher's states over the training text are kept, one of `STORES`.
        grids: grids of students that are trained, by name with commas between; none where empty.
        cost_rounds: rounds of the timings of the cost page; none where 0.
        seeds: training seeds of the students that are compared.
        controls: further students that are trained with every seed, by name with commas between.
        minutes: bound on the predicted time; None for a fixed budget.
        scale: share of the profile's budgets that is used.
    """

    name: str
    purpose: str
    wikipedia_tokens: int
    task_tokens: int
    extra_tokens: int
    heldout_tokens: int
    block: int
    batch_size: int
    epochs: int
    likelihood_questions: int
    label_questions: int
    squad_questions: int
    probe_questions: int
    map_states: int
    sense_contexts: int
    store: str = "disk"
    grids: str = ""
    cost_rounds: int = 0
    seeds: int = 1
    controls: str = ""
    minutes: float | None = None
    scale: float = 1.0

    @property
    def training_tokens(self) -> int:
        """Tokens that the students train on."""
        return self.wikipedia_tokens + self.task_tokens

    def scaled(self, scale: float) -> "Profile":
        """The same profile with token and question budgets multiplied by `scale`."""
        budgets = [f.name for f in fields(self) if f.name.endswith(("_tokens", "_questions"))]
        return replace(
            self,
            scale=scale,
            **{name: round(getattr(self, name) * scale) or min(1, getattr(self, name)) for name in budgets},
        )


@cache
def profiles() -> dict[str, Profile]:
    """All profiles by name, at scale 1."""
    data = yaml.safe_load((Path(__file__).parent / "profiles.yaml").read_text(encoding="utf-8"))
    return {name: Profile(name=name, **values) for name, values in data.items()}


def profile(name: str) -> Profile:
    """The profile of a name.

    Raises:
        ValueError: there is no such profile.
    """
    if name not in profiles():
        raise ValueError(f"profile {name!r} is not one of {', '.join(profiles())}")
    return profiles()[name]


def count_controls(asked: str) -> int:
    """How many controls are asked for, by name with commas between, or by `all` or `none`."""
    names = [name for part in asked.split(",") if (name := part.strip()) not in ("", "none")]
    return ALL_CONTROLS if names == ["all"] else len(names)


def assignments(cell: str) -> dict[str, Any]:
    """Names and literal values that a cell assigns."""
    found = {}
    for node in ast.parse(cell).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name):
            found[target.id] = ast.literal_eval(node.value)
    return found
