"""What a study will take, said before it starts: downloads, disk and minutes; no section of the paper.

Minutes come from a ten-second measurement of this machine's matrix products, in fp32 and in bf16, and from a
count of the floating-point operations of the stages. The faster format is used for the teacher.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dskd_utils.artefacts import digest, hardware, project_root, safe_name, write_json
from dskd_utils.profiles import SCALES, Profile, profile
from dskd_utils.sources.assets import download_plan
from dskd_utils.sources.teachers import preset, teacher_assets, teacher_cost

logger = logging.getLogger(__name__)

ASSETS = ("wikipedia-dump", "wikipedia-leads", "wordnet", "roget", "morphynet", "tasks")
# Share of the measured matrix speed that a whole stage reaches, and the fixed seconds of seven notebooks, maps
# and book; both fitted once to a run on two cores, so the forecast is a forecast.
EFFICIENCY = 0.75
CAP = 2000  # states of a token, as the notebooks have it
FIXED_SECONDS = 480
# Bytes that a step keeps for the gradient in each trained layer for every position and dimension of the state; fitted
# to passes of 6 and of 24 students.
KEPT = 150
BYTES = {"float32": 4, "bfloat16": 2}  # of a weight
QUESTION_TOKENS = {"likelihood": 130, "label": 130, "squad": 350}
PROBE_TOKENS = 120  # of a pair and of a question about a held-out word, all templates together
# What makes a plan anew, and how it is called. Another machine does not: what was computed there would be lost.
OTHER = {"minutes": "other minutes", "profile": "other numbers in the profile"}
BF16_GAIN = 1.3  # bf16 must be clearly faster than fp32 to be worth its rounding


def measure_machine(seconds: float = 10.0) -> dict[str, float]:
    """Matrix products of a small decoder's shape, in GFLOP/s, for fp32 and bf16, on the GPU where there is one."""
    gpu = torch.cuda.is_available()
    rows, device = (16_384, "cuda") if gpu else (1024, "cpu")
    speeds = {}
    for dtype in (torch.float32, torch.bfloat16):
        states, weights = (torch.randn(n, 576, dtype=dtype, device=device) for n in (rows, 1536))
        torch.nn.functional.linear(states, weights)
        started, products = time.perf_counter(), 0
        while time.perf_counter() - started < seconds / 2:
            torch.nn.functional.linear(states, weights)
            if gpu:
                torch.cuda.synchronize()  # else the products would be counted before they are made
            products += 1
        flops = 2 * states.shape[0] * states.shape[1] * weights.shape[0] * products
        speeds[str(dtype).removeprefix("torch.")] = round(flops / (time.perf_counter() - started) / 1e9, 1)
    return speeds


def study_flops(
    budget: Profile,
    cost: dict,
    trainable_layers: int,
    students: int = 2,
    grids: Sequence[tuple[int, int]] = (),
    seeds: int = 1,
) -> dict[str, float]:
    """Floating-point operations of each stage for a teacher of `cost` parameters, layers, hidden and vocab.

    The teacher pass leaves out the head. Students that train in one pass share the teacher's logits; each computes the
    head for its own and for the gradient. Of teacher and students the layers they share run once in the evaluation.

    Args:
        budget: scaled to the machine.
        cost: of the teacher, `teacher_cost`.
        trainable_layers: of a student.
        students: that are compared: KD, DSKD and controls, of every seed.
        grids: of each grid its students and the training tokens of one of them.
        seeds: training seeds; the students of one train in one pass.
    """
    head = 2 * cost["vocab"] * cost["hidden"]
    body = 2 * cost["parameters"] - head
    top = body / cost["layers"] * trainable_layers
    tokens = budget.training_tokens

    def trained(count: int, positions: int) -> float:
        return positions * (head + count * (2 * head + 3 * top))

    asked = 4 * (
        budget.likelihood_questions * QUESTION_TOKENS["likelihood"] + budget.label_questions * QUESTION_TOKENS["label"]
    )

    def passes(trainings: int) -> int:
        # Without a store the teacher runs for the sample, the search, the self-hits and in each epoch of a training.
        return 3 + trainings * budget.epochs if budget.store == "none" else 1

    flops = {
        "teacher pass": (passes(seeds) * tokens + budget.extra_tokens) * body,
        f"training of {students} students": budget.epochs * trained(students, tokens),
        "held-out text": budget.heldout_tokens * (body + head + 1.5 * students * (top + head)),
        "benchmarks and probes": (asked + PROBE_TOKENS * budget.probe_questions) * (body + students * top),
    }
    if grids:
        flops["grids"] = sum(
            passes(1) * min(each or tokens, tokens) * body
            + budget.epochs * trained(count, min(each or tokens, tokens))
            + budget.heldout_tokens * count * (top + head)
            for count, each in grids
        )
    return flops


def student_gb(budget: Profile, cost: dict, trainable_layers: int) -> float:
    """Main memory that one more student of a common pass takes, about: its weights and what training them takes.

    These are the trained layers in fp32 with their gradients and two moments, and what a step keeps for the gradient.
    """
    layer = (cost["parameters"] - cost["vocab"] * cost["hidden"]) / cost["layers"]
    positions = budget.batch_size * budget.block
    return round(trainable_layers * (16 * layer + KEPT * positions * cost["hidden"]) / 1e9, 2)


def copy_gb(cost: dict, depth: float, dtype: str = "float32") -> float:
    """Main memory of one student as a model of its own, in GB: embeddings, and its share `depth` of the layers."""
    embeddings = cost["vocab"] * cost["hidden"]
    return round(BYTES[dtype] * (embeddings + depth * (cost["parameters"] - embeddings)) / 1e9, 3)


def judging_gb(cost: dict, depth: float, students: int = 2, dtype: str = "float32") -> float:
    """Main memory of the page that judges: teacher, a student at its start and all trained students, each whole.

    Their common layers are computed once but loaded with each of them; about 3 GB are for text, questions and logits.
    """
    return round(3 + BYTES[dtype] * cost["parameters"] / 1e9 + (1 + students) * copy_gb(cost, depth, dtype), 1)


def memory_gb(cost: dict, each: float, students: int = 2, costs: bool = True, dtype: str = "float32") -> float:
    """Main memory that training takes at most, about; the constants are fitted to pages that have run.

    The most of two: the page on costs, with four copies of the teacher (itself, two students with what training them
    takes, and a plain loop to compare with), and a pass in which many students train.

    Args:
        cost: of the teacher, `teacher_cost`.
        each: of a student, `student_gb`.
        students: the most that train in one pass.
        costs: whether the page on costs counts.
        dtype: of the teacher.
    """
    copy = BYTES[dtype] * cost["parameters"] / 1e9
    return round(max(4 + 4 * copy if costs else 0, 2 + copy + students * each), 1)


def disk_gb(budget: Profile, cost: dict, depth: float, students: int = 2, dtype: str = "float32") -> float:
    """Disk that the teacher, the stored states and the folders of `students` of a share of its depth take, about."""
    # Trunk and final state of every training position; the dictionary's sampled rows are final states again.
    sampled = min(budget.training_tokens + budget.extra_tokens, CAP * cost["vocab"])
    stored = 2 * budget.training_tokens if budget.store == "disk" else 0
    weights = BYTES[dtype] * cost["parameters"] * (1 + students * depth)
    return round((weights + 2 * cost["hidden"] * (stored + sampled)) / 1e9 + 0.5, 1)


def forecast(teacher: str, budget: Profile, gflops: float, *asked: Any) -> dict[str, float]:
    """Minutes of each stage at a measured matrix speed in GFLOP/s; students, grids and seeds as in `study_flops`."""
    flops = study_flops(budget, teacher_cost(teacher), preset(teacher)["trainable_layers"], *asked)
    minutes = {stage: round(count / (gflops * 1e9 * EFFICIENCY) / 60, 1) for stage, count in flops.items()}
    return minutes | {"all else": FIXED_SECONDS / 60}


def make_plan(
    teacher: str, profile_name: str, *, speeds: dict[str, float] | None = None, minutes: float | None = None
) -> dict:
    """The plan of a study: the scale of its budgets, number format, minutes, downloads and disk.

    Args:
        teacher: as the user named it.
        profile_name: of the profile.
        speeds: of the machine in GFLOP/s by number format, measured where they are not given.
        minutes: bound on the forecast of one seed without controls; the profile's where it is not given.

    Raises:
        ValueError: an unknown profile, or a teacher that is neither preset, folder nor hub id.
    """
    budget, settings, cost = profile(profile_name), preset(teacher), teacher_cost(teacher)
    speeds = speeds or measure_machine()
    dtype = "bfloat16" if speeds["bfloat16"] > BF16_GAIN * speeds["float32"] else "float32"
    bound = _bound(profile_name, minutes)
    took = {scale: forecast(teacher, budget.scaled(scale), speeds[dtype]) for scale in SCALES}
    fits = [scale for scale in SCALES if bound is None or sum(took[scale].values()) <= bound]
    scale = fits[0] if fits else SCALES[-1]
    used = budget.scaled(scale)
    each = student_gb(used, cost, settings["trainable_layers"])
    three = forecast(teacher, used, speeds[dtype], 3)
    needed = [*ASSETS, *teacher_assets(teacher)]
    return {
        "teacher": teacher,
        "profile": profile_name,
        "bound": bound,
        "scale": scale,
        "dtype": dtype,
        "gflops": speeds,
        "minutes": took[scale],
        "student_minutes": round(sum(three.values()) - sum(took[scale].values()), 1),
        "downloads": [{"asset": name, "mb": round(size / 1e6, 1)} for name, size in download_plan(needed)],
        "memory_gb": max(memory_gb(cost, each, dtype=dtype), judging_gb(cost, settings["depth"], dtype=dtype)),
        "training_gb": memory_gb(cost, each, 0, costs=False, dtype=dtype),
        "student_gb": each,
        "judging_gb": judging_gb(cost, settings["depth"], 0, dtype),
        "copy_gb": copy_gb(cost, settings["depth"], dtype),
        "disk_gb": disk_gb(used, cost, settings["depth"], dtype=dtype),
        "training_tokens": used.training_tokens,
        "made_from": made_from(profile_name, minutes),
    }


def made_from(profile_name: str, minutes: float | None = None) -> dict[str, Any]:
    """What a plan depends on: the minutes asked for, the profile's numbers, this machine.

    A machine is told by its processors and accelerators and not by its name: the nodes of a cluster share a plan.
    """
    facts = hardware()
    machine = {name: facts[name] for name in ("architecture", "vector_unit", "cores", "accelerators")}
    return {"minutes": minutes, "profile": digest(asdict(profile(profile_name))), "machine": machine}


def plan_path(teacher: str, profile_name: str) -> Path:
    """Where the plan of a study is kept, so that a second call uses the same budgets."""
    return project_root() / "runs" / safe_name(teacher) / profile_name / "plan.json"


def plan_of(teacher: str, profile_name: str) -> dict:
    """The kept plan of a study, whoever asked for it with whatever minutes; made now if there is none.

    One of other numbers of the profile is made anew with its own minutes.
    """
    path = plan_path(teacher, profile_name)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    then = (kept or {}).get("made_from", {})
    if kept and then.get("profile") == made_from(profile_name)["profile"]:
        return kept
    return _made(teacher, profile_name, then.get("minutes"))


def asked_plan(teacher: str, profile_name: str, minutes: float | None = None) -> dict:
    """The plan of a study that is asked for: the kept one, or one made anew for other minutes or numbers, and says why.

    One of another machine is kept, so that a study goes on where it was moved to, and that is said.

    Args:
        teacher, profile_name: as in `make_plan`.
        minutes: as in `make_plan`; None also where an earlier call gave some.
    """
    path = plan_path(teacher, profile_name)
    if not path.is_file():
        return _made(teacher, profile_name, minutes)
    kept, now = json.loads(path.read_text(encoding="utf-8")), made_from(profile_name, minutes)
    then = kept.get("made_from", {})
    changed = [words for name, words in OTHER.items() if then.get(name) != now[name]]
    if not changed:
        if then["machine"] != now["machine"]:
            logger.warning(
                "the plan of %s at %s is another machine's: delete %s to fit this one", teacher, profile_name, path
            )
        return kept
    logger.warning("the plan of %s at %s is made anew for %s", teacher, profile_name, " and ".join(changed))
    return _made(teacher, profile_name, minutes)


def _bound(profile_name: str, minutes: float | None) -> float | None:
    return minutes or profile(profile_name).minutes


def _made(teacher: str, profile_name: str, minutes: float | None) -> dict:
    # A fixed budget needs no measurement; a short one still chooses the number format.
    speeds = measure_machine(1.0 if _bound(profile_name, minutes) is None else 10.0)
    made = make_plan(teacher, profile_name, speeds=speeds, minutes=minutes)
    write_json(plan_path(teacher, profile_name), made)
    return made


def describe(plan: dict) -> str:
    """The plan in a few lines for a person."""
    downloads = ", ".join(f"{d['asset']} {d['mb']:.0f} MB" for d in plan["downloads"]) or "none, all in the cache"
    minutes = plan["minutes"]
    stages = ", ".join(f"{stage} {value:.0f}" for stage, value in minutes.items())
    speeds = ", ".join(f"{name} {value:.0f}" for name, value in plan["gflops"].items())
    bounded = plan.get("bound") is not None
    budget = f"{plan['scale']:.0%} of the profile's budget fits this machine" if bounded else "a budget without a bound"
    return (
        f"{plan['teacher']} at profile {plan['profile']}: {plan['training_tokens']:,} training tokens "
        f"({budget})\n"
        f"  machine    {speeds} GFLOP/s, computing in {plan['dtype']}\n"
        f"  minutes    about {sum(minutes.values()):.0f} ({stages})\n"
        f"  downloads  {downloads}\n"
        f"  memory     about {plan['memory_gb']} GB\n"
        f"  disk       about {plan['disk_gb']} GB below runs/ and the cache, beside the environment"
    )
