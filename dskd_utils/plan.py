"""What a study will take, said before it starts: downloads, disk and minutes; no section of the paper.

Minutes come from a ten-second measurement of this machine's matrix products, in fp32 and in bf16, and from a
count of the floating-point operations of the stages. The faster format is used for the teacher.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from dskd_utils.artefacts import project_root, safe_name, write_json
from dskd_utils.profiles import SCALES, Profile, profile
from dskd_utils.sources.assets import download_plan
from dskd_utils.sources.teachers import check_access, preset, teacher_assets, teacher_cost

ASSETS = ("wikipedia-dump", "wikipedia-leads", "wordnet", "roget", "morphynet", "tasks")
# Share of the measured matrix speed that a whole stage reaches, and the fixed seconds of seven notebooks, maps
# and book; both fitted once to a run on two cores, so the forecast is a forecast.
EFFICIENCY = 0.75
CAP = 2000  # states of a token, as the notebooks have it
FIXED_SECONDS = 480
QUESTION_TOKENS = {"likelihood": 130, "label": 130, "squad": 350}
PROBE_TOKENS = 120  # of a pair and of a question about a held-out word, all templates together
BF16_GAIN = 1.3  # bf16 must be clearly faster than fp32 to be worth its rounding


def measure_machine(seconds: float = 10.0) -> dict[str, float]:
    """Matrix products of a small decoder's shape, in GFLOP/s, for fp32 and bf16."""
    speeds = {}
    for dtype in (torch.float32, torch.bfloat16):
        states, weights = torch.randn(1024, 576, dtype=dtype), torch.randn(1536, 576, dtype=dtype)
        started, products = time.perf_counter(), 0
        while time.perf_counter() - started < seconds / 2:
            torch.nn.functional.linear(states, weights)
            products += 1
        flops = 2 * states.shape[0] * states.shape[1] * weights.shape[0] * products
        speeds[str(dtype).removeprefix("torch.")] = round(flops / (time.perf_counter() - started) / 1e9, 1)
    return speeds


def study_flops(budget: Profile, cost: dict, trainable_layers: int) -> dict[str, float]:
    """Floating-point operations of each stage for a teacher of `cost` parameters, layers, hidden and vocab.

    The teacher pass leaves out the head; a training step computes the head for teacher, student and gradient;
    of teacher and students the layers they share run once in the evaluation.
    """
    head = 2 * cost["vocab"] * cost["hidden"]
    body = 2 * cost["parameters"] - head
    top = body / cost["layers"] * trainable_layers
    extra = 2 * top  # of teacher, KD and DSKD the shared layers run once
    tokens = budget.training_tokens
    asked = 4 * (
        budget.likelihood_questions * QUESTION_TOKENS["likelihood"] + budget.label_questions * QUESTION_TOKENS["label"]
    )
    # Without a store the teacher runs for the sample, the search, the self-hits and in each epoch of either student.
    passes = 3 + 2 * budget.epochs if budget.store == "none" else 1
    return {
        "teacher pass": (passes * tokens + budget.extra_tokens) * body,
        "training KD and DSKD": 2 * budget.epochs * tokens * (3 * head + 3 * top),
        "held-out text": budget.heldout_tokens * (body + 1.5 * extra + 4 * head),
        "benchmarks and probes": (asked + PROBE_TOKENS * budget.probe_questions) * (body + extra),
    }


def memory_gb(cost: dict) -> float:
    """Main memory that a notebook of a study takes at most, about: what is always there, then copies of the teacher.

    The copies are the teacher, students with what training them takes, and a plain loop to compare with; the constants
    are fitted to the page on costs.
    """
    return round(4 + 4 * 4 * cost["parameters"] / 1e9, 1)


def make_plan(teacher: str, profile_name: str, *, speeds: dict[str, float] | None = None) -> dict:
    """The plan of a study: the scale of its budgets, number format, minutes, downloads and disk.

    Raises:
        ValueError: an unknown profile, or a teacher that is neither preset, folder nor hub id.
    """
    budget, settings, cost = profile(profile_name), preset(teacher), teacher_cost(teacher)
    speeds = speeds or measure_machine()
    bf16 = speeds["bfloat16"] > BF16_GAIN * speeds["float32"]
    speed = speeds["bfloat16" if bf16 else "float32"] * 1e9 * EFFICIENCY

    def minutes(scale: float) -> dict[str, float]:
        flops = study_flops(budget.scaled(scale), cost, settings["trainable_layers"])
        return {stage: count / speed / 60 for stage, count in flops.items()} | {"all else": FIXED_SECONDS / 60}

    fits = [s for s in SCALES if budget.minutes is None or sum(minutes(s).values()) <= budget.minutes]
    scale = fits[0] if fits else SCALES[-1]
    used = budget.scaled(scale)
    weights = 4 * cost["parameters"] * (1 + 2 * settings["depth"])
    # Trunk and final state of every training position; the dictionary's sampled rows are final states again.
    sampled = min(used.training_tokens + used.extra_tokens, CAP * cost["vocab"])
    stored = 2 * used.training_tokens if used.store == "disk" else 0
    states = 2 * cost["hidden"] * (stored + sampled)
    needed = [*ASSETS, *teacher_assets(teacher)]
    return {
        "teacher": teacher,
        "profile": profile_name,
        "scale": scale,
        "dtype": "bfloat16" if bf16 else "float32",
        "gflops": speeds,
        "minutes": {stage: round(value, 1) for stage, value in minutes(scale).items()},
        "downloads": [{"asset": name, "mb": round(size / 1e6, 1)} for name, size in download_plan(needed)],
        "memory_gb": memory_gb(cost),
        "disk_gb": round((weights + states) / 1e9 + 0.5, 1),
        "training_tokens": used.training_tokens,
    }


def plan_path(teacher: str, profile_name: str) -> Path:
    """Where the plan of a study is kept, so that a second call uses the same budgets."""
    return project_root() / "runs" / safe_name(teacher) / profile_name / "plan.json"


def plan_of(teacher: str, profile_name: str) -> dict:
    """The kept plan of a study, made now if there is none."""
    path = plan_path(teacher, profile_name)
    if not path.is_file():
        fixed = profile(profile_name).minutes is None and not torch.cuda.is_available()
        # A fixed budget needs no measurement; a short one still chooses the number format.
        write_json(path, make_plan(teacher, profile_name, speeds=measure_machine(1.0 if fixed else 10.0)))
    return json.loads(path.read_text(encoding="utf-8"))


def describe(plan: dict) -> str:
    """The plan in a few lines for a person."""
    downloads = ", ".join(f"{d['asset']} {d['mb']:.0f} MB" for d in plan["downloads"]) or "none, all in the cache"
    minutes = sum(plan["minutes"].values())
    stages = ", ".join(f"{stage} {value:.0f}" for stage, value in plan["minutes"].items())
    speeds = ", ".join(f"{name} {value:.0f}" for name, value in plan["gflops"].items())
    bounded = profile(plan["profile"]).minutes is not None
    budget = f"{plan['scale']:.0%} of the profile's budget fits this machine" if bounded else "a budget without a bound"
    return (
        f"{plan['teacher']} at profile {plan['profile']}: {plan['training_tokens']:,} training tokens "
        f"({budget})\n"
        f"  machine    {speeds} GFLOP/s, computing in {plan['dtype']}\n"
        f"  minutes    about {minutes:.0f} ({stages})\n"
        f"  downloads  {downloads}\n"
        f"  memory     about {plan['memory_gb']} GB\n"
        f"  disk       about {plan['disk_gb']} GB below runs/ and the cache, beside the environment"
    )


def main(arguments: list[str] | None = None) -> int:
    """`python -m dskd_utils.plan`: say what each study will take and keep its plan."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--teacher", nargs="+", default=["smollm2-135m"])
    parser.add_argument("--profile", default="quick")
    options = parser.parse_args(arguments)
    try:
        for teacher in options.teacher:
            check_access(teacher)
        for teacher in options.teacher:
            print(describe(plan_of(teacher, options.profile)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
