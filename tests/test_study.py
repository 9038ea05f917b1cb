"""Tests of opening a study from a notebook's parameters."""

import re

import pytest

from dskd_utils import plan, study
from dskd_utils.profiles import READS
from dskd_utils.study import assignments, check_parameters, declared_parameters, open_study

CELL = """teacher: str = "smollm2-135m"  # a preset
profile: str = "smoke"
run: str = "scratch"
seed: int = 0
beta: float = 1.0"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.delenv("DSKD_DATA", raising=False)
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    return tmp_path


def kernel(*cells, **values):
    """What `globals()` of a notebook kernel holds after these cells."""
    found = {}
    for cell in cells:
        found |= assignments(cell)
    return found | values | {"In": ["", *cells, "open_study(...)"]}


def test_names_and_values_of_a_cell_are_read():
    assert assignments(CELL) == {
        "teacher": "smollm2-135m",
        "profile": "smoke",
        "run": "scratch",
        "seed": 0,
        "beta": 1.0,
    }


def test_what_papermill_injected_is_told_from_what_is_declared():
    declared, injected = declared_parameters(["", CELL, "# Parameters\nseed = 3\nkappa = 5\n", "..."])
    assert "beta" in declared and injected == {"seed": 3, "kappa": 5}
    assert declared_parameters(["", CELL])[1] == {}


def test_an_unknown_parameter_is_an_error_that_lists_the_known_ones(home):
    with pytest.raises(ValueError, match="unknown parameter 'kappaa': this notebook has teacher, profile"):
        open_study("x", kernel(CELL, "# Parameters\nkappaa = 3"))


def test_a_parameter_of_another_type_is_an_error():
    declared = {"seed": 0, "beta": 1.0, "run": "x"}
    check_parameters(declared, {"seed": 2, "beta": 2})
    with pytest.raises(ValueError, match="'seed' must be int, like 0: got 'two'"):
        check_parameters(declared, {"seed": "two"})


def test_an_unknown_profile_is_refused(home):
    with pytest.raises(ValueError, match="profile 'huge' is not one of"):
        open_study("x", kernel(CELL, "# Parameters\nprofile = 'huge'"))


def test_an_interactive_run_keeps_its_results_apart_from_the_batchs(home):
    scratch = open_study("01-lexicon", kernel(CELL))
    batch = open_study("01-lexicon", kernel(CELL, '# Parameters\nrun = "batch"'))
    batch.save(value=1)
    assert scratch.result("01-lexicon")["value"] == 1, "without results of its own it reads the batch's"
    scratch.save(value=2)
    assert scratch.result("01-lexicon")["value"] == 2 and batch.result("01-lexicon")["value"] == 1


def test_a_missing_result_names_the_command_that_makes_it(home):
    with pytest.raises(FileNotFoundError, match="make study TEACHER=smollm2-135m PROFILE=smoke"):
        open_study("07-tables", kernel(CELL)).result("05-evaluation")


def test_long_notebooks_that_were_not_run_are_left_out_of_what_is_read_and_others_are_not(home):
    batch = [open_study(name, kernel(CELL, '# Parameters\nrun = "batch"')) for name in READS["07-tables"]]
    for one in batch[1:]:
        one.save(value=1)
    tables = open_study("07-tables", kernel(CELL))
    with pytest.raises(FileNotFoundError, match="01-lexicon has no results"):
        tables.results_there()
    batch[0].save(value=1)
    assert list(tables.results_there()) == READS["07-tables"]
    open_study("08-costs", kernel(CELL, '# Parameters\nrun = "batch"')).save(value=2)
    assert tables.results_there()["08-costs"]["value"] == 2 and "06-ablations" not in tables.results_there()


def test_stages_of_other_settings_get_other_folders(home):
    study = open_study("x", kernel(CELL))
    assert study.stage("students", "kd", {"kappa": 5}) != study.stage("students", "kd", {"kappa": 10})


def test_results_carry_their_provenance_and_no_data_folder(home, tmp_path):
    (tmp_path / "data").mkdir()
    cell = CELL + f'\ndata_dir: str = "{tmp_path / "data"}"'
    study = open_study("01-lexicon", kernel(cell))
    folder = study.stage("relations", "wordnet", {"flips": "add"})
    study.save(value=1)
    record = study.result("01-lexicon")
    (used,) = record["provenance"]["stages"].items()
    assert used[0] == f"relations/{folder.name}" and re.fullmatch("[0-9a-f]{64}", used[1])
    assert {"commit", "versions", "hardware", "seconds", "dtype"} <= set(record["provenance"])
    assert str(tmp_path) not in str(record) and record["parameters"]["seed"] == 0


def test_only_the_first_of_several_processes_keeps_its_results(home, monkeypatch):
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        study = open_study("01-lexicon", kernel(CELL, '# Parameters\nrun = "batch"'))
        (study.results / "figure.csv").parent.mkdir(parents=True, exist_ok=True)
        path = study.save(value=int(rank))
        assert study.result("01-lexicon")["value"] == int(rank)
        assert study.result("01-lexicon")["provenance"]["processes"] == 2
        assert (study.run_folder / "01-lexicon.json").is_file() == (rank == "0")
        assert path.is_file()
        del study
    assert sorted(p.name for p in home.rglob("*.json")) == ["01-lexicon.json", "plan.json"]
    other = open_study("02-senses", kernel(CELL, '# Parameters\nrun = "mine"'))
    other.save(value=5)
    monkeypatch.setenv("RANK", "1")
    second = open_study("04-distillation", kernel(CELL, '# Parameters\nrun = "mine"'))
    assert second.result("02-senses")["value"] == 5, "all processes read what the first one wrote"


def test_a_data_folder_that_is_not_there_is_refused(home):
    with pytest.raises(FileNotFoundError, match="data_dir '/no/such' is not a folder"):
        open_study("x", kernel(CELL + '\ndata_dir: str = "/no/such"'))


@pytest.mark.parametrize(("rank", "device"), [(None, "cuda:0"), ("1", "cuda:1")])
def test_each_process_of_a_launch_has_the_teacher_on_its_own_gpu(home, monkeypatch, rank, device):
    monkeypatch.setattr(study.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(study, "load_teacher", lambda name, dtype, device: device)
    monkeypatch.setenv("LOCAL_RANK", rank) if rank else monkeypatch.delenv("LOCAL_RANK", raising=False)
    opened, another = open_study("x", kernel(CELL)), open_study("x", kernel(CELL))
    monkeypatch.setattr(study.torch.cuda, "device_count", lambda: 2)
    assert opened.teacher == device
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 3 has no GPU, this machine has 2: set PROCESSES=2"):
        _ = another.teacher
