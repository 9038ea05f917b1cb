"""Students and controls trained in a notebook that two processes share, as the batch starts it for several GPUs."""

import json
import shutil
from pathlib import Path

import pytest
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from dskd_utils.distill.training import training_log

ROOT = Path(__file__).resolve().parent.parent
STUDY = "runs/smollm2-135m/smoke"
CONTROLS = "rewired,swapped_labels,without_flips,state_error"
LEFT_OUT = (".*", "run-*", "states", "students")
pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(2400)]


def results(home, run=""):
    return json.loads((home / STUDY / "results" / run / "04-distillation.json").read_text())


@pytest.fixture(scope="module")
def shared(smoke_study, tmp_path_factory, run):
    """The smoke study once more without its teacher pass and students, which two processes have made anew."""
    home = tmp_path_factory.mktemp("together")
    shutil.copytree(smoke_study[0] / "runs", home / "runs", ignore=shutil.ignore_patterns(*LEFT_OUT))
    launch = ["torchrun", "--standalone", "--nproc-per-node=2", "--no-python", str(ROOT / "workflow/papermill.sh")]
    given = {"profile": "smoke", "run": "shared", "controls": CONTROLS}
    told = [part for name, value in given.items() for part in ("-p", name, value)]
    run(*launch, str(ROOT / "notebooks/04-distillation.ipynb"), "out.ipynb", *told, home=home)
    return home


def test_two_processes_make_the_students_of_one(smoke_study, shared):
    one, two = results(smoke_study[0]), results(shared, "run-shared")
    assert (one["provenance"]["processes"], two["provenance"]["processes"]) == (1, 2)
    for name, folder in one["students"].items():
        assert two["students"][name] == folder, "what a student depends on is the same"
        alone, both = (home / STUDY / "students" / folder for home in (smoke_study[0], shared))
        for column in ("loss", "ce", "kl"):
            expected = training_log(alone)[column].tolist()
            assert training_log(both)[column].tolist() == pytest.approx(expected, rel=2e-3)
        weights = [dict(AutoModelForCausalLM.from_pretrained(place).named_parameters()) for place in (alone, both)]
        assert_close(weights[0], weights[1], rtol=0, atol=2e-3)


def test_one_set_of_results_is_left_and_nothing_half_written(shared):
    runs = {path.name for path in (shared / STUDY / "results").glob("run-*")}
    assert runs == {"run-shared"} and (shared / "out.ipynb").is_file()
    assert not [path for path in (shared / "runs").rglob(".*") if "partial" in path.name]
    used = [stage for stage in results(shared, "run-shared")["provenance"]["stages"] if stage.startswith("states/")]
    assert used == [str(path.relative_to(shared / STUDY)) for path in (shared / STUDY / "states").iterdir()]


def test_controls_are_trained_from_the_same_start_on_the_same_positions(shared):
    record = results(shared, "run-shared")
    places = {name: shared / STUDY / "students" / folder for name, folder in record["students"].items()}
    logs = {name: training_log(place) for name, place in places.items()}
    assert set(logs) == {"kd", "dskd", *CONTROLS.split(",")} and record["failed"] == {}
    for name, log in logs.items():
        assert log.ce[0] == pytest.approx(logs["kd"].ce[0], rel=1e-5), name
        assert name == "kd" or log.positions.tolist() == logs["dskd"].positions.tolist(), name
    first = {name: log.attraction[0] for name, log in logs.items() if name != "kd"}
    # The plain error's positives are DSKD's, those of the other two are other words' senses.
    assert first["state_error"] == pytest.approx(first["dskd"], rel=1e-5) and logs["state_error"].state[0] > 0
    assert len({round(first[name], 5) for name in ("dskd", "rewired", "swapped_labels")}) == 3
