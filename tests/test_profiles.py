"""Tests of profiles and of what a study says it will take."""

from dataclasses import replace

import pytest

from dskd_utils import plan
from dskd_utils.profiles import SCALES, STORES, profile, profiles

FAST, SLOW = {"float32": 5000.0, "bfloat16": 9000.0}, {"float32": 50.0, "bfloat16": 8.0}


def test_the_four_profiles_grow():
    names = ["smoke", "quick", "full", "paper"]
    assert list(profiles()) == names
    sizes = [profile(name).training_tokens for name in names]
    assert sizes == sorted(sizes) and sizes[1] == 300_000


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="profile 'huge' is not one of smoke, quick, full, paper"):
        profile("huge")


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
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: SLOW)
    assert plan.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_measuring_gives_positive_speeds():
    assert all(speed > 0 for speed in plan.measure_machine(0.05).values())


def test_without_a_store_the_teacher_runs_more_often_and_less_disk_is_needed(monkeypatch):
    big = {"parameters": 8e9, "layers": 32, "hidden": 4096, "vocab": 128256}
    chosen = {store: replace(profile("paper"), store=store) for store in STORES}
    flops = {store: plan.study_flops(budget, big, 2) for store, budget in chosen.items()}
    assert flops["none"]["teacher pass"] == pytest.approx(7 * flops["disk"]["teacher pass"])
    assert flops["memory"] == flops["disk"]
    needed = {}
    for store, budget in chosen.items():
        monkeypatch.setattr(plan, "profile", lambda name, budget=budget: budget)
        needed[store] = plan.make_plan("smollm2-135m", "paper", speeds=SLOW)["disk_gb"]
    # Two states of 576 numbers in two bytes at each of 2,020 million positions.
    assert needed["disk"] - needed["none"] == pytest.approx(2 * 576 * 2 * 2.02, rel=0.01)
    assert needed["memory"] == needed["none"]
