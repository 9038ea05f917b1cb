"""Tests of profiles and of what a study says it will take."""

import re
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config

from dskd_utils import plan, preflight
from dskd_utils.profiles import ALL_CONTROLS, SCALES, STORES, count_controls, profile, profiles
from dskd_utils.sources.teachers import teacher_cost
from dskd_utils.stages import control_names

FAST, SLOW = {"float32": 5000.0, "bfloat16": 9000.0}, {"float32": 50.0, "bfloat16": 8.0}


def test_the_four_profiles_grow():
    names = ["smoke", "quick", "full", "paper"]
    assert list(profiles()) == names
    sizes = [profile(name).training_tokens for name in names]
    assert sizes == sorted(sizes) and sizes[1] == 300_000


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="profile 'huge' is not one of smoke, quick, full, paper"):
        profile("huge")


def test_the_papers_students_train_on_the_tasks_alone():
    paper = profile("paper")
    assert (paper.wikipedia_tokens, paper.training_tokens, paper.extra_tokens) == (0, 20_000_000, 2_000_000_000)
    assert paper.scaled(0.5).wikipedia_tokens == 0


def test_scaling_changes_tokens_and_questions_alone():
    small, whole = profile("quick").scaled(0.25), profile("quick")
    assert small.training_tokens == 75_000 and small.likelihood_questions == 75
    assert (small.block, small.batch_size, small.scale) == (whole.block, whole.batch_size, 0.25)


def test_a_fast_machine_gets_the_whole_budget_and_a_slow_one_a_part_that_fits():
    fast, slow = (plan.make_plan("smollm2-135m", "quick", speeds=speeds) for speeds in (FAST, SLOW))
    assert fast["scale"] == 1.0 and fast["dtype"] == "bfloat16"
    assert slow["scale"] in SCALES[1:] and slow["dtype"] == "float32"
    assert sum(slow["minutes"].values()) <= profile("quick").minutes


def test_a_fixed_profile_is_not_scaled():
    assert plan.make_plan("smollm2-135m", "smoke", speeds=SLOW)["scale"] == 1.0


def test_the_plan_is_kept_so_that_a_second_call_uses_the_same_budgets(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    measured = []
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: measured.append(seconds) or SLOW)
    first, second = plan.plan_of("smollm2-135m", "quick"), plan.plan_of("smollm2-135m", "quick")
    assert first == second and measured == [10.0]
    longer = plan.asked_plan("smollm2-135m", "quick", 60)
    assert longer["scale"] > first["scale"] and len(measured) == 2
    assert longer == plan.asked_plan("smollm2-135m", "quick", 60) == plan.plan_of("smollm2-135m", "quick"), "resumed"
    assert plan.asked_plan("smollm2-135m", "quick") == first and len(measured) == 3, "these minutes were that call's"


def test_a_plan_of_other_numbers_is_made_anew_and_one_of_another_machine_is_kept_and_both_say_why(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: SLOW)
    bounded = plan.asked_plan("smollm2-135m", "full", 60)
    assert bounded["scale"] < 1
    monkeypatch.setattr(plan, "profile", lambda name: replace(profile(name), squad_questions=7))
    assert plan.plan_of("smollm2-135m", "full")["bound"] == 60, "a notebook keeps the minutes that were asked for"
    monkeypatch.setattr(plan, "hardware", lambda: dict.fromkeys(bounded["made_from"]["machine"], "other"))
    assert plan.plan_of("smollm2-135m", "full")["made_from"]["machine"] == bounded["made_from"]["machine"]
    assert plan.asked_plan("smollm2-135m", "full", 60)["made_from"]["machine"] == bounded["made_from"]["machine"]
    assert "smollm2-135m at full is another machine's: delete" in caplog.text
    assert plan.asked_plan("smollm2-135m", "full")["scale"] == 1
    assert "smollm2-135m at full is made anew for other minutes" in caplog.text


def test_minutes_bound_any_profile():
    bounded = plan.make_plan("smollm2-135m", "full", speeds=SLOW, minutes=60)
    assert bounded["scale"] < 1 and sum(bounded["minutes"].values()) <= 60
    assert "of the profile's budget fits" in plan.describe(bounded)


def test_more_students_and_grids_take_longer_and_share_the_teachers_logits():
    cost = {"parameters": 1e8, "layers": 10, "hidden": 500, "vocab": 50_000}
    two, ten = (plan.study_flops(profile("quick"), cost, 2, students) for students in (2, 10))
    assert two["teacher pass"] == ten["teacher pass"] and two["held-out text"] < ten["held-out text"]
    assert two["training of 2 students"] < ten["training of 10 students"] < 5 * two["training of 2 students"]
    grids = [plan.study_flops(profile("quick"), cost, 2, 2, [(4, tokens)])["grids"] for tokens in (1000, 0, 300_000)]
    assert grids[0] < grids[1] == grids[2] and "grids" not in two


def test_the_plan_says_what_one_more_student_takes():
    made = plan.make_plan("smollm2-135m", "quick", speeds=SLOW)
    six = plan.forecast("smollm2-135m", profile("quick").scaled(made["scale"]), SLOW[made["dtype"]], 6)
    more = sum(six.values()) - sum(made["minutes"].values())
    assert more == pytest.approx(4 * made["student_minutes"], abs=1) and made["student_minutes"] > 0


def test_the_description_names_minutes_downloads_and_disk():
    text = plan.describe(plan.make_plan("smollm2-135m", "quick", speeds=SLOW))
    assert all(word in text for word in ("minutes", "downloads", "disk", "training tokens", "GFLOP/s"))
    assert "of the profile's budget fits this machine" in text
    unbounded = plan.describe(plan.make_plan("smollm2-135m", "full", speeds=SLOW))
    assert "a budget without a bound" in unbounded and "fits" not in unbounded


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "huge"], "profile 'huge' is not one of"),
        (["--teacher", "no-such-teacher"], "teacher 'no-such-teacher' is neither a preset"),
        (["--controls", "rewired,rewird"], "there is no control 'rewird': choose among"),
        (["--grids", "no-such-grid"], "there is no grid 'no-such-grid': choose among"),
        (["--processes", "0"], "the number of processes must be at least 1: got '0'"),
        (["--rounds", "five"], "the number of rounds must be at least 0: got 'five'"),
        (["--seeds", "many"], "the number of training seeds must be at least 1: got 'many'"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line_before_anything_runs(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: SLOW)
    assert preflight.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_teacher_that_no_student_can_be_made_of_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: SLOW)
    GPT2Config(architectures=["GPT2LMHeadModel"]).save_pretrained(tmp_path / "gpt2")
    assert preflight.main(["--teacher", str(tmp_path / "gpt2"), "--profile", "smoke"]) == 2
    error = capsys.readouterr().err
    assert "architecture 'gpt2' of teacher" in error and "use one of gemma3_text, llama" in error
    assert error.count("\n") == 1 and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("layers: [31]", "grid mine, line 3, student .*: a grid asks for 31 layers, the teacher has 30"),
        ("k: [0]", "mine.yaml, line 3: k must be at least 1, got 0"),
        ("kapa: [5]", "mine.yaml, line 3: a grid cannot vary 'kapa', choose among"),
    ],
)
def test_a_wrong_cell_of_a_grid_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys, wrong, message):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text(f"title: mine\ntokens: 0\nvary: [{{{wrong}}}]\n")
    assert preflight.main(["--grids", str(tmp_path / "mine.yaml")]) == 2
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "runs").exists()


def test_what_is_said_counts_the_students_that_are_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: SLOW)
    assert preflight.main(["--seeds", "3", "--controls", "rewired", "--grids", "depth"]) == 0
    told = capsys.readouterr().out
    assert "training of 9 students" in told and "grids " in told
    assert preflight.main([]) == 0
    assert "training of 2 students" in capsys.readouterr().out


def test_what_is_said_counts_the_memory_of_one_pass_and_the_folders_of_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: SLOW)

    def told(*arguments):
        assert preflight.main(list(arguments)) == 0
        lines = capsys.readouterr().out.splitlines()
        return [float(line.split("about")[1].split()[0]) for line in lines[-2:]]

    two, three_seeds, search = told(), told("--seeds", "3"), told("--grids", "search")
    assert two[0] < three_seeds[0] < search[0] and two[1] < three_seeds[1] < search[1]
    kept = plan.plan_of("smollm2-135m", "quick")
    assert three_seeds[0] == pytest.approx(kept["judging_gb"] + 6 * kept["copy_gb"], abs=0.11)
    assert kept["memory_gb"] == two[0]
    assert search[0] == pytest.approx(kept["training_gb"] + 24 * kept["student_gb"], abs=0.06)


def test_thirty_students_are_judged_within_the_memory_that_is_asked_for():
    cost = teacher_cost("smollm2-135m")
    # The search's page on evaluation held 9.99 GiB, gemma3-270m's with three students 4.71, both in bf16.
    assert 9.99 * 2**30 / 1e9 < plan.judging_gb(cost, 0.9, 30, "bfloat16") < 12
    assert 4.71 * 2**30 / 1e9 < plan.judging_gb(teacher_cost("gemma3-270m"), 0.9, 3, "bfloat16") < 6


def test_controls_are_counted_without_the_packages_that_train_them():
    assert count_controls("all") == ALL_CONTROLS == len(control_names("all"))
    assert (count_controls("none"), count_controls(""), count_controls("rewired, state_error")) == (0, 0, 2)


def test_measuring_gives_positive_speeds():
    assert all(speed > 0 for speed in plan.measure_machine(0.05).values())


def test_a_gpu_is_measured_where_there_is_one(monkeypatch):
    devices, waited, randn = [], [], torch.randn
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    made = lambda rows, width, dtype, device: devices.append(device) or randn(256, width, dtype=dtype)  # noqa: E731
    monkeypatch.setattr(torch, "randn", made)
    assert all(speed > 0 for speed in plan.measure_machine(0.05).values())
    assert devices == ["cuda"] * 4 and len(waited) > 1


def test_a_teacher_in_bf16_takes_half_the_memory_of_one_in_fp32():
    half, full = (plan.make_plan("mistral-7b-instruct", "full", speeds=speeds) for speeds in (FAST, SLOW))
    assert (half["dtype"], full["dtype"]) == ("bfloat16", "float32")
    parameters = teacher_cost("mistral-7b-instruct")["parameters"] / 1e9
    assert full["memory_gb"] - half["memory_gb"] == pytest.approx(4 * 2 * parameters, abs=0.11)
    assert full["training_gb"] - half["training_gb"] == pytest.approx(2 * parameters, abs=0.11)


def test_without_a_store_the_teacher_runs_more_often_and_less_disk_is_needed(monkeypatch):
    big = {"parameters": 8e9, "layers": 32, "hidden": 4096, "vocab": 128256}
    chosen = {store: replace(profile("paper"), store=store) for store in STORES}
    flops = {store: plan.study_flops(budget, big, 2) for store, budget in chosen.items()}
    once = plan.study_flops(replace(chosen["disk"], extra_tokens=0), big, 2)["teacher pass"]
    # The sample, the search, the self-hits and two epochs, which the students of a seed share.
    assert flops["none"]["teacher pass"] - flops["disk"]["teacher pass"] == pytest.approx(4 * once)
    assert plan.study_flops(chosen["none"], big, 2, 6)["teacher pass"] == flops["none"]["teacher pass"]
    seeds = plan.study_flops(chosen["none"], big, 2, 6, seeds=3)["teacher pass"]
    assert seeds - flops["disk"]["teacher pass"] == pytest.approx(8 * once)
    assert flops["memory"] == flops["disk"]
    needed = {}
    for store, budget in chosen.items():
        monkeypatch.setattr(plan, "profile", lambda name, budget=budget: budget)
        needed[store] = plan.make_plan("smollm2-135m", "paper", speeds=SLOW)["disk_gb"]
    # Two states of 576 numbers in two bytes at each of 20 million positions.
    assert needed["disk"] - needed["none"] == pytest.approx(2 * 576 * 2 * 0.02, abs=0.1)
    assert needed["memory"] == needed["none"]
