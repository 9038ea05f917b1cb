"""Tests of states that are computed where they are needed (paper, section 3.1)."""

import pytest
import torch
from torch.testing import assert_close

from dskd_utils.senses import live_states
from dskd_utils.senses.hidden_states import collect_states
from dskd_utils.senses.live_states import LiveStates

CLOSE = {"atol": 0.02, "rtol": 0.02}  # two bf16 roundings of numbers that differ in the last bits


@pytest.fixture(scope="module")
def store(llama, tiny_text, tmp_path_factory):
    return collect_states(llama, tiny_text, tmp_path_factory.mktemp("store") / "states", split_layers=[2, 4])


@pytest.fixture
def live(llama, tiny_text):
    return LiveStates(llama, tiny_text, batch_size=3, window=5)


def test_blocks_are_those_of_the_store(store, live):
    numbers = torch.tensor([0, 3, 4, 9, 11])
    for found in (live, store):
        trunk, final = found.blocks(numbers, [4, 2])
        assert list(trunk) == [4, 2] and final.dtype == torch.bfloat16
        assert_close(final, store.final[numbers], **CLOSE)
        for layer in trunk:
            assert_close(trunk[layer], store.trunk[layer][numbers], **CLOSE)
    assert store.split_layers == (2, 4) and {0, 2, 4, 6} <= set(live.split_layers)


def test_rows_come_in_the_order_asked_for_and_each_block_is_run_once(store, live, monkeypatch):
    draw = torch.Generator().manual_seed(0)
    positions = torch.randperm(store.ids.numel(), generator=draw)[:100]
    positions[7] = positions[50]
    ran, compute = [], live_states.teacher_states
    monkeypatch.setattr(live_states, "teacher_states", lambda *a: ran.append(len(a[1])) or compute(*a))
    assert_close(live.rows(positions), store.rows(positions), **CLOSE)
    assert_close(live.rows(positions), store.final.flatten(0, 1)[positions], **CLOSE)
    assert sum(ran) == 2 * len((positions // store.ids.shape[1]).unique())
    assert live.rows(positions[:0]).shape == (0, store.final.shape[2])


def test_windows_hold_every_position_once(store, live):
    for found in (live, store):
        firsts, parts = zip(*found.windows(), strict=True)
        assert list(firsts) == torch.tensor([0, *map(len, parts)]).cumsum(0)[:-1].tolist()
        assert_close(torch.cat(parts), store.final.flatten(0, 1), **CLOSE)
    assert len(list(live.windows())) > 1


def test_held_states_are_the_stores_to_the_bit_where_the_batches_are(store, llama, tiny_text):
    held = LiveStates(llama, tiny_text, batch_size=4).held([2, 4])
    assert torch.equal(held.final, store.final) and torch.equal(held.ids, store.ids)
    assert all(torch.equal(held.trunk[layer], store.trunk[layer]) for layer in (2, 4))
    part = LiveStates(llama, tiny_text).held(blocks=6)
    assert len(part.ids) == len(part.targets) == 6 and torch.equal(part.final, store.final[:6])
    assert part.split_layers == ()
