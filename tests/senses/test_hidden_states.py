"""Tests of the teacher pass and its store (paper, section 3.1)."""

import dataclasses
import os

import pytest
import torch
from torch.testing import assert_close

from dskd_utils.senses import hidden_states, teacher_pass
from dskd_utils.senses.hidden_states import collect_states, load_states, predicted_tokens
from dskd_utils.senses.teacher_pass import Batches, Journal


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
    options = {"split_layers": [4], "batch_size": 2, "checkpoint_seconds": 0}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    collect_states(llama, tiny_text, whole, **options)
    seen, real = [], hidden_states.teacher_states

    def failing(*given):
        seen.append(given)
        if len(seen) > 5:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(hidden_states, "teacher_states", failing)
    with pytest.raises(KeyboardInterrupt):
        collect_states(llama, tiny_text, cut, **options)
    assert not cut.exists(), "a cut-off pass must not look finished"
    done, seen = seen[:5], []
    monkeypatch.setattr(hidden_states, "teacher_states", lambda *given: (seen.append(given), real(*given))[1])
    collect_states(llama, tiny_text, cut, **options)
    assert bytes_of(cut) == bytes_of(whole)
    assert len(done) + len(seen) == -(-len(tiny_text.ids) // 2), "finished batches are not computed again"


def test_a_pass_of_other_settings_does_not_go_on_from_another(llama, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(hidden_states, "kept_states", None)
    with pytest.raises(TypeError):
        collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4], batch_size=3)
    assert (tmp_path / ".states.partial/final.bf16").exists()
    monkeypatch.undo()
    collect_states(llama, tiny_text, tmp_path / "states", split_layers=[2], batch_size=2)
    assert {path.name for path in (tmp_path / "states").iterdir()} == {
        "final.bf16", "manifest.json", "plan.json", "text.pt", "trunk-2.bf16"
    }  # fmt: skip


def test_a_pass_cut_off_between_its_manifest_and_its_name_is_only_renamed(llama, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_pass, "replace_folder", None)
    with pytest.raises(TypeError):
        collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])
    monkeypatch.undo()
    monkeypatch.setattr(hidden_states, "teacher_states", None)
    states = collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])
    assert torch.isfinite(states.final).all() and states.final.float().abs().mean() > 0.1


def test_a_journal_leaves_out_a_record_that_a_kill_cut_short(tmp_path):
    journal = Journal(tmp_path)
    journal.add([3, 1])
    journal.path.write_bytes(journal.path.read_bytes() + b"\x07\x00")
    assert Journal(tmp_path).done.tolist() == [3, 1]
    journal.add([4])
    assert Journal(tmp_path).done.tolist() == [3, 1, 4]


def test_batches_are_fixed_groups_of_blocks_of_one_text():
    batches = Batches((torch.tensor([0, 2, 5]), torch.empty(0, dtype=torch.int64), torch.tensor([1])), 2)
    found = [(text, blocks.tolist()) for text, blocks in (batches[number] for number in range(len(batches)))]
    assert found == [(0, [0, 2]), (0, [5]), (2, [1])]


def test_a_full_disk_is_one_clear_sentence_and_leaves_no_store(llama, tiny_text, tmp_path, monkeypatch):
    full, real, calls = os.open("/dev/full", os.O_RDWR), os.pwrite, []

    def filling(descriptor, *given):
        calls.append(descriptor)
        return real(full if len(calls) > 3 else descriptor, *given)

    monkeypatch.setattr(os, "pwrite", filling)
    with pytest.raises(OSError, match="disk is full while writing .*bf16: free some space and run again"):
        collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])
    assert not (tmp_path / "states").exists()


def test_a_disk_too_small_is_found_before_the_teacher_runs(llama, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(hidden_states, "teacher_states", None)
    huge = dataclasses.replace(llama, hidden_size=10**12)
    with pytest.raises(OSError, match=r"disk is full: .*trunk-4.bf16 needs .* GB and .* GB are free; free some space"):
        collect_states(huge, tiny_text, tmp_path / "states", split_layers=[4])
    assert not list(tmp_path.rglob("*.bf16")), "what was set aside would keep the disk full"


def test_a_store_of_another_text_or_teacher_is_refused(llama, tiny_text, tmp_path):
    collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])
    with pytest.raises(ValueError, match="has text = .* this call needs 'other'"):
        load_states(tmp_path / "states", text="other")
    another = dataclasses.replace(llama, fingerprint="other")
    with pytest.raises(ValueError, match="states artefact .* has fingerprint = .* build it again for this teacher"):
        collect_states(another, tiny_text, tmp_path / "states", split_layers=[4])
    with pytest.raises(FileNotFoundError, match="no artefact"):
        load_states(tmp_path / "nowhere")


def test_states_that_are_not_finite_are_refused_by_block(llama, tiny_text, tmp_path, monkeypatch):
    real = hidden_states.teacher_states

    def broken(teacher, ids, *more):
        trunk, final = real(teacher, ids, *more)
        trunk[(ids == tiny_text.ids[7]).all(1), 3, 5] = torch.nan
        return [trunk, final]

    monkeypatch.setattr(hidden_states, "teacher_states", broken)
    with pytest.raises(ValueError, match=f"not finite in block 7 of text {tiny_text.digest}: load the teacher in fl"):
        collect_states(llama, tiny_text, tmp_path / "states", split_layers=[4])


def test_an_empty_text_is_refused(llama, tiny_text, tmp_path):
    empty = dataclasses.replace(tiny_text, **{name: tiny_text.ids[:0] for name in ("ids", "positions", "targets")})
    with pytest.raises(ValueError, match="corpus is empty"):
        collect_states(llama, empty, tmp_path / "states", split_layers=[4])


@pytest.fixture(scope="module")
def states(llama, tiny_text, tmp_path_factory):
    return collect_states(llama, tiny_text, tmp_path_factory.mktemp("store") / "states", split_layers=[4])


def test_predictions_are_the_models_own(states, llama):
    logits = llama.model(input_ids=states.ids, position_ids=states.positions, use_cache=False).logits
    agreement = (predicted_tokens(states, llama.model.lm_head.weight) == logits.argmax(-1)).float().mean()
    assert agreement > 0.97, "bf16 storage may flip near ties only"
