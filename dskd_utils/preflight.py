"""What is checked and said before a batch starts; no section of the paper.

`python -m dskd_utils.preflight --teacher NAME [NAME ...] --profile PROFILE`: whether the teachers may be read, whether
the grids and controls that are asked for can be made of them, and what each study takes in downloads, minutes, memory
and disk. The plan of each study is kept, so that the same call uses the same budgets again.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from dskd_utils import plan
from dskd_utils.distill.students import check_architecture
from dskd_utils.grid import Grid, read_grids
from dskd_utils.profiles import Profile, profile
from dskd_utils.sources.teachers import check_access, preset, teacher_config, teacher_cost
from dskd_utils.stage_grid import checked
from dskd_utils.stages import control_names


def said(
    teacher: str,
    budget: Profile,
    seeds: int,
    controls: Sequence[str],
    grids: Sequence[Grid],
    bound: float | None = None,
    processes: int = 1,
) -> str:
    """What a study takes, in a few lines; makes its plan where there is none of what is asked for."""
    kept = plan.asked_plan(teacher, budget.name, bound)
    scaled, cost, settings = budget.scaled(kept["scale"]), teacher_cost(teacher), preset(teacher)
    made = [grid.made_for(settings, scaled.training_tokens) for grid in grids]
    together, sizes = 2 + len(controls), [(len(grid.cells), grid.tokens) for grid in made]
    students, counts = seeds * together, [count for count, _ in sizes]
    each = plan.student_gb(scaled, cost, settings["trainable_layers"])
    training = plan.memory_gb(cost, each, max(together, *counts, 0), dtype=kept["dtype"])
    asked = {
        "minutes": plan.forecast(teacher, scaled, kept["gflops"][kept["dtype"]], students, sizes, seeds),
        "memory_gb": max(processes * training, plan.judging_gb(cost, settings["depth"], students, kept["dtype"])),
        "disk_gb": plan.disk_gb(scaled, cost, settings["depth"], students + sum(counts), kept["dtype"]),
    }
    return plan.describe(kept | asked)


def _number(name: str, given: str | int, least: int = 1) -> int:
    if not str(given).isdecimal() or int(given) < least:
        raise ValueError(f"the number of {name} must be at least {least}: got {given!r}")
    return int(given)


def main(arguments: list[str] | None = None) -> int:
    """Check what is asked, then say what each study will take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", nargs="+", default=["smollm2-135m"])
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--seeds", default="", help="training seeds of what is compared; the profile's where not given")
    parser.add_argument("--controls", default="", help="by name with commas between, all or none")
    parser.add_argument("--grids", default="", help="names or paths with commas between, or none")
    parser.add_argument("--rounds", default="", help="of the timings; the profile's where not given, 0 for none")
    parser.add_argument("--processes", default="", help="that share teacher passes and training, one a GPU; else 1")
    parser.add_argument("--minutes", type=float, help="bound on the forecast, in place of the profile's")
    given = parser.parse_args(arguments)
    try:
        budget = profile(given.profile)
        names = control_names(given.controls or budget.controls)
        grids = read_grids(given.grids or budget.grids)
        for teacher in given.teacher:
            check_access(teacher)
            if family := teacher_config(teacher).get("model_type"):  # of a preset it is known to be supported
                check_architecture(teacher, family)
            for grid in grids:
                most, files = budget.training_tokens, os.environ.get("DSKD_DATA")
                checked(grid, teacher_cost(teacher)["layers"], preset(teacher), most, files)
        seeds = _number("training seeds", given.seeds or budget.seeds)
        _number("rounds", given.rounds or budget.cost_rounds, 0)
        processes = _number("processes", given.processes or 1)
        for teacher in given.teacher:
            print(said(teacher, budget, seeds, names, grids, given.minutes, processes))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
