"""Costs: the plain loop is the same training, timings take turns, sizes and operations are those counted by hand."""

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from dskd_utils import costs
from dskd_utils.distill.losses import kd_loss
from dskd_utils.distill.students import make_student
from dskd_utils.senses.live_states import LiveStates
from dskd_utils.sources.corpora import pack

TEXTS = ["the happy river runs", "warm light is very bright", "sad cold dark bank was the hot chilly"] * 8


@pytest.fixture(scope="module")
def states(llama):
    """Ten blocks of sixteen positions."""
    return LiveStates(llama, pack(TEXTS, llama.tokenizer, block=16)).held([2])


def test_the_plain_loop_takes_the_same_steps_as_the_store(llama, states, tmp_path):
    loop = costs.PlainLoop(llama, 4, lr=1e-3)
    plain = costs.plain_steps(loop, states, batch_size=len(states.ids))
    fast = costs.store_steps(states, tmp_path, costs.KD, [make_student(llama, 4)], lr=1e-3, batch_size=len(states.ids))
    first = plain(0), fast(0)[0]["loss"]
    assert first[0] == pytest.approx(first[1], rel=2e-3), "the store is bf16"
    assert plain(1) != first[0] and fast(1)[0]["tokens"] == int((states.targets != -100).sum())


def test_the_loss_with_masks_is_the_loss():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 9, 31, generator=generator)
    targets = torch.randint(31, (9,), generator=generator)
    targets[3] = -100
    assert_close(costs._whole_loss(student, teacher, targets), kd_loss(student, teacher, targets).total)


def test_kinds_take_turns_and_neither_warming_up_nor_the_first_step_of_a_turn_counts(monkeypatch):
    seen, now = [], [0.0]

    def kind(name, seconds):
        def take(number):
            seen.append((name, number))
            now[0] += 100 if number in (0, 1, 4) else seconds

        return take

    monkeypatch.setattr(costs.time, "perf_counter", lambda: now[0])
    found = costs.alternate({"b": kind("b", 2), "a": kind("a", 1)}, rounds=2, steps=2, warm_up=1)
    assert seen == [(k, n) for turn in ((0,), (1, 2, 3), (4, 5, 6)) for k in "ba" for n in turn]
    assert found.to_dict("list") == {"b": [4, 4], "a": [2, 2]} and found.index.name == "round"


def test_ratios_are_by_round_and_say_what_operations_allow():
    seconds = pd.DataFrame({"slow": [6.0, 8.0, 9.0], "fast": [1.0, 2.0, 3.0]})
    assert costs.ratio(seconds.slow, seconds.fast) == {"median": 4.0, "low": 3.0, "high": 6.0}
    pairs = [("x", "slow", "fast", 2, 0.0, 6.0, False), ("y", "slow", "fast", 1, 1.0, 4.5, False)]
    table = costs.times_faster(seconds, {"slow": 30, "fast": 10}, pairs).set_index("what")
    assert table["median"].tolist() == [8.0, pytest.approx(8 / 3)] and table["by operations"]["x"] == 6
    assert pd.isna(table["by operations"]["y"])


def test_operations_of_a_step_are_those_of_the_products(llama, states, tmp_path):
    fast = costs.store_steps(states, tmp_path, costs.KD, [make_student(llama, 4)], batch_size=2)
    found = costs.operations(fast)
    valid = int((states.targets[:2] != -100).sum())
    head = 2 * llama.vocab_size * llama.hidden_size
    weights = sum(p.numel() for p in make_student(llama, 4).parameters() if p.dim() == 2)
    by_hand = valid * 3 * head + 2 * 16 * 3 * 2 * weights
    assert by_hand <= found < 1.3 * by_hand, "attention comes on top"
    plain = costs.operations(costs.plain_steps(costs.PlainLoop(llama, 4), states, 2))
    assert plain > found


def test_sizes_are_the_papers():
    llama = {"parameters": 8_030_261_248, "layers": 32, "hidden": 4096, "vocab": 128_256}
    assert round(costs.size(llama["parameters"]), 1) == 15.0
    student = costs.student_parameters(llama, 16)
    assert round(student / 1e9, 1) == 4.5 and round(costs.size(student), 1) == 8.5
    mistral = {"parameters": 7_241_732_096, "layers": 32, "hidden": 4096, "vocab": 32_000}
    assert round(costs.size(costs.student_parameters(mistral, 16)), 1) in (6.9, 7.0)
    found = costs.estimate(llama, 16, 2, tokens=1e8, epochs=2)
    assert found["store GB"] == pytest.approx(1638.4) and 1 < found["times faster"] < 6
    assert found["training on the store, hours"] < found["plain loop, hours"]


def test_a_students_parameters_are_counted_right(llama):
    cost = {"parameters": sum(p.numel() for p in llama.model.parameters()), "layers": 6}
    cost |= {"hidden": llama.hidden_size, "vocab": llama.vocab_size}
    tied = llama.model.config.tie_word_embeddings
    found = sum(p.numel() for p in make_student(llama, 4).as_model().parameters())
    assert abs(costs.student_parameters(cost, 4, tied) - found) <= llama.hidden_size  # the final norm


def test_whole_rows_are_single_pieces(states):
    ids, positions, targets = costs.whole_rows(states.ids, torch.arange(16).expand(10, 16), states.targets, 4)
    assert torch.equal(ids, states.ids[:4]) and len(positions) == len(targets) == 4
    few = costs.whole_rows(states.ids[:4], torch.arange(16).expand(4, 16), states.targets[:4], 99)
    assert len(few[0]) == 4, "what there is, where there is less"
    with pytest.raises(ValueError, match="has no row of one piece"):
        costs.whole_rows(states.ids, torch.zeros(10, 16), states.targets, 1)


def test_a_fresh_process_measures_the_loss_alone():
    assert 0 <= costs.in_fresh_process("loss_memory(256, 1000, 16)") < 1


def test_counting_operations_leaves_what_is_compiled_compiled():
    runs = []

    def backend(graph, _):
        return lambda *inputs: runs.append(1) or graph(*inputs)

    product = torch.compile(lambda a: a @ a, backend=backend)
    a = torch.ones(4, 4)
    product(a)
    assert costs.operations(lambda _: product(a)) == 2 * 4**3 and len(runs) == 1
    product(a)
    assert len(runs) == 2, "met under the counter it would run uncompiled for good"


def test_a_fresh_process_does_not_count_the_memory_of_the_one_that_started_it():
    held = torch.ones(3 * 2**28)  # 3 GiB
    assert costs.peak_memory() > 3 and held.sum() > 0
    assert costs.in_fresh_process("peak_memory()") < 2
