"""The batch: for every teacher, its notebooks by papermill, then the book."""

import json
import os
import sys
from pathlib import Path

from dskd_utils.artefacts import files_digest, local_files, safe_name
from dskd_utils.grid import read_grids
from dskd_utils.profiles import ASKED, READS, READS_IF_THERE, count_controls, profile

# Jobs use the environment that snakemake runs in, activated or not.
shell.prefix(f"set -euo pipefail; export PATH={Path(sys.executable).parent}:$PATH; ")

TEACHERS = {safe_name(name): name for name in str(config.get("teacher", "smollm2-135m")).split()}
PROFILE = config.get("profile", "quick")
SEED = config.get("seed", 0)
SOURCE = config.get("source", "package")
GIVEN = {name: config[name] for name in ASKED if config.get(name) not in (None, "")}

# The rooms of the package that each notebook runs; whose results it reads is in `profiles`.
BASE = ["sources", "lexicon", "senses", "report"]
ROOMS = {
    "01-lexicon": BASE,
    "02-senses": [*BASE, "distill", "evaluate"],
    "03-sense-maps": [*BASE, "distill"],
    "04-distillation": [*BASE, "distill"],
    "05-evaluation": [*BASE, "distill", "evaluate"],
    "06-ablations": [*BASE, "distill", "evaluate"],
    "07-tables": ["evaluate", "report"],
    "08-costs": [*BASE, "distill", "evaluate"],
    "09-worked-example": [*BASE, "distill"],
}
BUDGET = profile(PROFILE)
# Only where some are asked for, by name or by the profile.
GRIDS = read_grids(str(GIVEN.get("grids", BUDGET.grids)))
LONG = {"06-ablations": GRIDS, "08-costs": GIVEN.get("rounds", BUDGET.cost_rounds)}
NOTEBOOKS = [name for name in READS if LONG.get(name, True)]


def before(notebook):
    """The notebooks whose results one reads, of those that this study runs."""
    return [*READS[notebook], *(name for name in READS_IF_THERE.get(notebook, []) if name in NOTEBOOKS)]


SEEDS = int(GIVEN.get("seeds", BUDGET.seeds))
COMPARED = 2 + count_controls(GIVEN.get("controls", BUDGET.controls))  # students of a seed
PROCESSES = int(config.get("processes") or 1)
SHARED = ("02-senses", "04-distillation", "06-ablations")  # whose teacher passes and training several processes share
FOLDER = "runs/{teacher}/{profile}"
DATA_FILES = files_digest(os.environ.get("DSKD_DATA"))


def processes(wildcards):
    """How many processes run a notebook, one a GPU."""
    return PROCESSES if wildcards.notebook in SHARED else 1


def launch(wildcards):
    """What starts a notebook's processes."""
    count = processes(wildcards)
    return f"torchrun --standalone --nproc-per-node={count} --no-python" if count > 1 else ""


def code(wildcards):
    """Sources whose change makes a notebook's results stale."""
    package = Path("dskd_utils")
    places = [package, *(package / room for room in ROOMS[wildcards.notebook])]
    sources = [path for place in places for kind in ("*.py", "*.tsv") for path in place.glob(kind)]
    return sorted(map(str, [*sources, *package.rglob("*.yaml")]))


def planned(wildcards):
    """The plan of a study, which `make study` makes before anything runs; empty before it is there."""
    path = Path(FOLDER.format(**wildcards), "plan.json")
    return json.loads(path.read_text()) if path.is_file() else {}


def memory(wildcards, attempt):
    """Main memory of a notebook in MB: students trained in one pass, or judged, add up; half more at every attempt."""
    plan, notebook, together = planned(wildcards), wildcards.notebook, 0
    if notebook == "05-evaluation":
        needed = plan.get("judging_gb", 0) + SEEDS * COMPARED * plan.get("copy_gb", 0)
    else:
        if notebook == "04-distillation":
            together = COMPARED
        if notebook == "06-ablations":
            together = max((len(grid.cells) for grid in GRIDS), default=0)
        needed = plan.get("training_gb", 0) + together * plan.get("student_gb", 0)
    return int(500 * (1 + attempt) * processes(wildcards) * max(plan.get("memory_gb", 8), needed))


def runtime(wildcards, attempt):
    """Minutes after which a cluster may stop a notebook: ample, and more at every attempt, which goes on."""
    plan = planned(wildcards)
    students = SEEDS * COMPARED + sum(len(grid.cells) for grid in GRIDS)
    # The plan's own minutes are those of two students.
    minutes = sum(plan.get("minutes", {}).values()) + (students - 2) * plan.get("student_minutes", 0)
    return attempt * max(60, int(3 * minutes))


wildcard_constraints:
    teacher="[^/]+",
    profile="[^/]+",
    notebook="[^/]+",


localrules: all, plan


rule all:
    input:
        "_build/html/index.html",


rule plan:
    output:
        f"{FOLDER}/plan.json",
    params:
        teacher=lambda w: TEACHERS[w.teacher],
    shell:
        "python -m dskd_utils.preflight --teacher {params.teacher:q} --profile {wildcards.profile}"


rule notebook:
    input:
        source="notebooks/{notebook}.ipynb",
        code=code,
        plan=f"{FOLDER}/plan.json",  # written anew for other MINUTES or numbers of the profile
        grids=lambda w: [str(grid.path) for grid in GRIDS if w.notebook == "06-ablations"],
        before=lambda w: [f"{FOLDER}/results/{name}.json".format(**w) for name in before(w.notebook)],
    output:
        executed=f"{FOLDER}/notebooks/{{notebook}}.ipynb",
        result=f"{FOLDER}/results/{{notebook}}.json",
    log:
        f"{FOLDER}/logs/{{notebook}}.log",
    params:
        teacher=lambda w: TEACHERS[w.teacher],
        # Not in the command: with other files in DATA_DIR or in a teacher's own folder all must run again.
        data=DATA_FILES,
        weights=lambda w: local_files(TEACHERS[w.teacher]),
        asked=lambda w: " ".join(f"-p {name} {value}" for name, value in GIVEN.items() if ASKED[name] == w.notebook),
    # All cores of this machine, so that notebooks take turns and timings are not disturbed; on a cluster a share.
    threads: workflow.resource_settings.cores or 8
    resources:
        mem_mb=memory,
        runtime=runtime,
        # Not parameters: with another number of processes nothing has to run again.
        processes=processes,
        launch=launch,
    shell:
        # Appended, so that what a failed attempt said is still there.
        "(echo \"== $(date) on $(hostname)\"; "
        "OMP_NUM_THREADS=$(({threads} > {resources.processes} ? {threads} / {resources.processes} : 1))"
        " {resources.launch} workflow/papermill.sh {input.source} {output.executed} --no-progress-bar --log-output"
        " -p teacher {params.teacher:q} -p profile {wildcards.profile} -p run batch"
        f" -p seed {SEED} -p source {SOURCE}"
        " {params.asked}) >> {log} 2>&1 || (tail -n $(({resources.processes} > 1 ? 80 : 15)) {log} >&2; exit 1)"


rule book:
    input:
        [
            f"runs/{teacher}/{PROFILE}/notebooks/{notebook}.ipynb"
            for teacher in TEACHERS
            for notebook in NOTEBOOKS
        ],
        [str(path) for path in Path("book").rglob("*") if path.is_file()],
    output:
        "_build/html/index.html",
    params:
        studies=[f"{teacher}/{PROFILE}" for teacher in TEACHERS],
    log:
        "_build/book.log",
    shell:
        "(rm -rf _build/source && python -m dskd_utils.report.site stage {params.studies} --out _build/source"
        " && jupyter-book build _build/source --path-output . -W -n --keep-going --all --quiet)"
        " > {log} 2>&1 || (tail -n 30 {log} >&2; exit 1)"
