"""Tests of the teacher pass and its store (paper, section 3.1)."""

import errno

import pytest
import torch
from torch.testing import assert_close

from dskd_utils.senses import hidden_states
from dskd_utils.senses.hidden_states import collect_states, load_states, predicted_tokens, rows_by_token


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bf16"))}


def test_the_store_holds_what_the_model_computes(any_teacher, tiny_text, tmp_path):
    states = collect_states(any_teacher, tiny_text, tmp_path / "states", split_layers=[0, 4], batch_size=3)
    plain = any_teacher.model.model(
        input_ids=tiny_text.ids, position_ids=tiny_text.positions, use_cache=False, output_hidden_states=True
    )
    for layer in (0, 4):
        assert_close(states.trunk[layer].float(), plain.hidden_states[layer], atol=0.1, rtol=0.02)
    assert_close(states.final.float(), plain.last_hidden_state, atol=0.1, rtol=0.02)
    assert torch.equal(states.targets, tiny_text.targets)


def test_an_interrupted_pass_goes_on_and_gives_the_same_bytes(llama, tiny_text, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    collect_states(llama, tiny_text, whole, split_layers=[4], batch_size=2)
    append, written = hidden_states._append, []

    def failing(path, state):
        written.append(path)
        if len(written) > 5:
            raise KeyboardInterrupt
        append(path, state)

    monkeypatch.setattr(hidden_states, "_append", failing)
    with pytest.raises(KeyboardInterrupt):
        collect_states(llama, tiny_text, cut, split_layers=[4], batch_size=2)
    assert not cut.exists(), "a cut-off pass must not look finished"
    monkeypatch.setattr(hidden_states, "_append", append)
    seen = []
    monkeypatch.setattr(hidden_states, "_append", lambda path, state: (seen.append(path), append(path, state)))
    collect_states(llama, tiny_text, cut, split_layers=[4], batch_size=2)
    assert bytes_of(cut) == bytes_of(whole)
    assert len(seen) < 2 * -(-len(tiny_text.ids) // 2), "finished batches are not computed again"


def test_a_full_disk_is_one_clear_sentence_and_leaves_no_store(llama, tiny_text, tmp_path, monkeypatch):
    class FullDisk:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    real_open = open
    fake = lambda path, mode="r", *a, **k: FullDisk() if mode == "ab" else real_open(path, mode, *a, **k)  # noqa: E731
    monkeypatch.setattr(hidden_states, "open", fake, raising=False)
    with pytest.raises(OSError, match="disk is full while writing .* free some space"):
        collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])
    assert not (tmp_path / "states").exists()


def test_a_store_of_another_text_or_teacher_is_refused(llama, tiny_text, tmp_path):
    collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])
    with pytest.raises(ValueError, match="has text = .* this call needs 'other'"):
        load_states(tmp_path / "states", text="other")
    with pytest.raises(FileNotFoundError, match="no artefact"):
        load_states(tmp_path / "nowhere")


def test_states_that_are_not_finite_are_refused(llama, tiny_text, tmp_path, monkeypatch):
    broken = [torch.full((2, 32, 32), torch.nan)] * 2
    monkeypatch.setattr(hidden_states, "teacher_states", lambda *_: broken)
    with pytest.raises(ValueError, match="not finite in block 0"):
        collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])


@pytest.fixture(scope="module")
def states(llama, tiny_text, tmp_path_factory):
    return collect_states(llama, tiny_text, tmp_path_factory.mktemp("store") / "states", split_layers=[4])


@pytest.mark.parametrize("key", ["next", "input", "predicted"])
def test_rows_are_filed_under_the_key_and_capped(states, llama, key):
    head = llama.model.get_output_embeddings().weight
    predicted = predicted_tokens(states, head)
    rows, offsets = rows_by_token(states, len(head), key=key, cap=20, seed=1, predicted=predicted)
    keys = {"next": states.targets, "input": states.ids, "predicted": predicted}[key].flatten()
    valid = states.targets.flatten() != -100
    for token in range(len(head)):
        filed = rows[offsets[token] : offsets[token + 1]]
        assert (keys[filed] == token).all() and valid[filed].all()
        assert len(filed.unique()) == len(filed) == min(20, int((keys[valid] == token).sum()))


def test_predictions_are_the_models_own(states, llama):
    logits = llama.model(input_ids=states.ids, position_ids=states.positions, use_cache=False).logits
    agreement = (predicted_tokens(states, llama.model.lm_head.weight) == logits.argmax(-1)).float().mean()
    assert agreement > 0.97, "bf16 storage may flip near ties only"


def test_another_seed_keeps_other_rows(states):
    first, _ = rows_by_token(states, 400, cap=5, seed=0)
    second, _ = rows_by_token(states, 400, cap=5, seed=1)
    assert not torch.equal(first, second)


def test_bad_keys_are_refused(states):
    with pytest.raises(ValueError, match="not one of next, predicted, input"):
        rows_by_token(states, 400, key="previous")
    with pytest.raises(ValueError, match="needs the teacher's predictions"):
        rows_by_token(states, 400, key="predicted")
