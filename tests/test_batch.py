"""What the batch runner plans to do, by dry runs of the Snakefile."""

import json
import re
from pathlib import Path

import pytest
import yaml

from dskd_utils.artefacts import safe_name

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def planned(tmp_path, link_project, run):
    """A function from options of `make study` to what a dry run says."""
    link_project(tmp_path)
    plan = tmp_path / "runs/smollm2-135m/full/plan.json"
    plan.parent.mkdir(parents=True)
    sizes = {"memory_gb": 5.0, "training_gb": 3.0, "student_gb": 1.0, "judging_gb": 4.0, "copy_gb": 0.5}
    plan.write_text(json.dumps({"minutes": {"all": 100.0}, "student_minutes": 10.0} | sizes))

    def said(*asked):
        done = run("snakemake", "--dry-run", "--cores", "1", "--config", "profile=full", *asked, home=tmp_path)
        return done.stdout + done.stderr

    return said


def test_long_pages_are_left_out_where_none_is_asked_for(planned):
    told = planned("grids=none", "rounds=0")
    assert "notebook=05-evaluation" in told
    assert "notebook=06-ablations" not in told and "notebook=08-costs" not in told


def test_students_that_are_asked_for_add_time_and_an_own_grid_is_an_input(planned, tmp_path):
    grid = tmp_path / "mine.yaml"
    grid.write_text("title: mine\ntokens: 0\nvary: [{kappa: [1, 2, 3]}]\n")
    told = planned(f"grids={grid}", "seeds=2", "controls=rewired,state_error")
    (ablations,) = [job for job in told.split("\nrule ") if "notebook=06-ablations" in job]
    assert str(grid) in ablations.split("output:")[0]
    # Two seeds of four students and three of the grid, two of them in the plan's own minutes.
    assert f"runtime={3 * (100 + 9 * 10)}" in ablations


def test_memory_is_that_of_the_students_that_are_trained_or_loaded_together(planned, tmp_path):
    told = planned("grids=divergence", "seeds=3", "controls=rewired,state_error").split("\nrule ")
    asked = {name: int(re.search(r"mem_mb=(\d+)", job)[1]) for job in told if (name := _notebook(job))}
    assert asked["01-lexicon"] == 5000 and asked["04-distillation"] == 7000 and asked["06-ablations"] == 11_000
    assert asked["05-evaluation"] == 10_000, "twelve copies of a student"


def test_processes_share_what_is_trained_and_nothing_else(planned):
    told = planned("processes=4", "grids=divergence", "seeds=1", "controls=none", "--printshellcmds").split("\nrule ")
    jobs = {name: job for job in told if (name := _notebook(job))}
    shared = {name for name, job in jobs.items() if "torchrun --standalone --nproc-per-node=4 --no-python" in job}
    assert shared == {"02-senses", "04-distillation", "06-ablations"}
    memory = {name: int(re.search(r"mem_mb=(\d+)", job)[1]) for name, job in jobs.items()}
    assert memory["01-lexicon"] == 5000 and memory["04-distillation"] == 20_000, "each process has a teacher of its own"


def _notebook(job):
    found = re.search(r"notebook=([\w-]+)", job)
    return found[1] if found else ""


def test_new_weights_in_a_teachers_own_folder_run_its_notebooks_again(tmp_path, link_project, run):
    link_project(tmp_path)
    weights = tmp_path / "mine" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("old")
    study = tmp_path / "runs" / safe_name(str(weights.parent)) / "smoke"
    made = [study / "plan.json", study / "notebooks/01-lexicon.ipynb", study / "results/01-lexicon.json"]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    command = ["snakemake", str(made[-1].relative_to(tmp_path)), "--cores", "1"]
    config = ["--config", "profile=smoke", f"teacher={weights.parent}"]
    run(*command, "--touch", "--force", *config, home=tmp_path)  # as if it had run
    done = run(*command, "--dry-run", *config, home=tmp_path)
    assert "Nothing to be done" in done.stdout + done.stderr
    weights.write_text("new")
    done = run(*command, "--dry-run", *config, home=tmp_path)
    assert "Params have changed" in done.stdout + done.stderr


def test_on_slurm_what_is_timed_runs_alone(planned, tmp_path):
    told = planned("grids=none", "rounds=1", "--workflow-profile", "workflow/profiles/slurm").split("\nrule ")
    extra = {name: re.search(r"slurm_extra=(\S*)", job)[1] for job in told if (name := _notebook(job))}
    assert extra.pop("08-costs") == "--exclusive" and extra and set(extra.values()) == {""}


def test_the_log_of_an_attempt_that_failed_is_kept(planned):
    told = planned("grids=none", "--printshellcmds")
    commands = re.findall(r"papermill.sh notebooks/\S+ .*", told)
    assert commands and all(" >> runs/" in command for command in commands)


def test_the_kubernetes_job_makes_the_study_on_a_volume_that_is_claimed():
    claim, shell, job = yaml.safe_load_all((ROOT / "workflow/kubernetes.yaml").read_text(encoding="utf-8"))
    assert [claim["kind"], shell["kind"], job["kind"]] == ["PersistentVolumeClaim", "Pod", "Job"]
    for pod in (shell["spec"], job["spec"]["template"]["spec"]):
        (volume,), (container,) = pod["volumes"], pod["containers"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"]]
    place = container["volumeMounts"][0]["mountPath"]
    assert container["workingDir"].startswith(f"{place}/") and container["command"] == ["make", "study"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{option.split('=')[0]} ?=" in makefile for option in container["args"])
    variables = {one["name"] for one in container["env"]}
    assert variables == {"DSKD_CACHE", "HF_HOME", "DSKD_DATA", "DSKD_ACCEPT_TERMS", "HF_TOKEN"}
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
