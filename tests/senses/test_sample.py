"""Tests of the sample of states that the dictionary is made of (paper, section 3.1)."""

import dataclasses
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from dskd_utils.senses import hidden_states, sample_pass, teacher_pass
from dskd_utils.senses.hidden_states import collect_states, predicted_tokens, teacher_parameters, teacher_states
from dskd_utils.senses.sample import ROW, Reservoir, keyed_rows, load_sample, plan_sample, self_hits
from dskd_utils.senses.sample_pass import collect_predicted, collect_sample
from dskd_utils.senses.teacher_pass import RowFile
from dskd_utils.sources.corpora import Document, Packed, pack


def random_text(seed, blocks=5, width=16, vocabulary=6):
    """A text of random tokens, a fifth of its positions without a next token."""
    draw = torch.Generator().manual_seed(seed)
    ids, targets = torch.randint(vocabulary, (2, blocks, width), generator=draw)
    targets[torch.rand(blocks, width, generator=draw) < 0.2] = -100
    positions = torch.arange(width).expand(blocks, width).contiguous()
    return Packed(ids, positions, targets, torch.zeros(blocks), 1, ids.numel(), f"text {seed}")


def rows_of(plan):
    return [tuple(row) for row in torch.stack([plan.text.long(), plan.position], 1).tolist()]


@pytest.fixture(scope="module")
def texts(tiny_tokenizer, tiny_text):
    """Two texts of different width; the second is the training text."""
    draw = random.Random(1)
    words = ["the", "happy", "sad", "warm", "cold", "light", "river", "bank", "runs", "was"]
    documents = [
        Document("made", str(i), " " + " ".join(draw.choices(words, k=draw.randint(5, 40)))) for i in range(70)
    ]
    return [pack(documents, tiny_tokenizer, block=24), tiny_text]


@pytest.fixture(scope="module")
def store(llama, tiny_text, tmp_path_factory):
    return collect_states(llama, tiny_text, tmp_path_factory.mktemp("store") / "states", split_layers=[4])


class TestPlan:
    @settings(deadline=None, max_examples=60)
    @given(
        seeds=st.lists(st.integers(0, 50), min_size=1, max_size=3, unique=True),
        key=st.sampled_from(["next", "input"]),
        cap=st.integers(1, 30),
        chunk=st.integers(1, 200),
        seed=st.integers(0, 3),
    )
    def test_keeps_the_cap_positions_of_lowest_priority_whatever_the_chunks(self, seeds, key, cap, chunk, seed):
        texts = [random_text(s) for s in seeds]
        plan = plan_sample(texts, 8, key=key, cap=cap, seed=seed, chunk_size=chunk)
        found = rows_of(plan)
        for token in range(8):
            expected = []
            for number, text in enumerate(texts):
                keys = (text.targets if key == "next" else text.ids).flatten().numpy()
                places = np.arange(keys.size)
                rows = keyed_rows(keys, text.targets.flatten().numpy(), places, number, text.digest, seed)
                mine = rows[rows["token"] == token]
                expected += list(zip(mine["priority"].tolist(), mine["text"].tolist(), mine["position"].tolist()))  # noqa: B905
            expected = sorted((text, position) for _, text, position in sorted(expected)[:cap])
            assert found[plan.offsets[token] : plan.offsets[token + 1]] == expected

    def test_never_takes_a_position_without_a_next_token(self):
        text = random_text(0)
        for key in ("next", "input"):
            plan = plan_sample([text], 6, key=key)
            assert (text.targets.flatten()[plan.position] != -100).all()
            assert len(plan.position) == int((text.targets != -100).sum())

    def test_draws_every_occurrence_alike(self):
        text = random_text(0, blocks=4, width=50, vocabulary=1)
        text = dataclasses.replace(text, targets=torch.zeros_like(text.targets))
        drawn = torch.cat([plan_sample([text], 1, cap=40, seed=seed).position for seed in range(500)])
        counts = drawn.bincount(minlength=200).double()  # 500 draws of 40 of 200: 100 each expected, variance 80
        assert float((counts - 100).square().sum() / 80) < 270, "chi-square of 199 degrees is below 270 but for 0.05%"
        pairs = counts[:-1] - 100, counts[1:] - 100
        assert abs(float((pairs[0] * pairs[1]).mean())) < 25, "neighbours are drawn independently"

    def test_priorities_are_those_of_a_seed_and_a_text(self):
        zeros, places = np.zeros(64, np.int64), np.arange(64)
        drawn = [
            keyed_rows(zeros, zeros, places, 0, name, seed)["priority"] for name in ("one", "two") for seed in (0, 1)
        ]
        assert len(np.unique(np.concatenate(drawn))) == 4 * 64
        assert not any(np.array_equal(a.argsort(), b.argsort()) for a, b in itertools.combinations(drawn, 2))

    def test_an_added_text_changes_no_priority_of_the_others(self):
        one, two, three = (random_text(seed) for seed in range(3))
        small = plan_sample([two], 6, cap=5)
        large = plan_sample([one, two, three], 6, cap=5)
        still = {position for text, position in rows_of(large) if text == 1}
        assert still and still < {position for _, position in rows_of(small)}

    def test_another_seed_keeps_other_rows(self):
        text = random_text(0)
        assert rows_of(plan_sample([text], 6, cap=3)) != rows_of(plan_sample([text], 6, cap=3, seed=1))

    def test_a_text_given_twice_is_drawn_from_twice(self):
        text = random_text(0)
        plan = plan_sample([text, text], 6)
        assert len(rows_of(plan)) == len(set(rows_of(plan))) == 2 * int((text.targets != -100).sum())

    def test_memory_does_not_grow_with_the_corpus(self):
        def peak(blocks):
            text = random_text(0, blocks=blocks, width=1000, vocabulary=50)
            tracemalloc.start()
            plan_sample([text], 50, cap=20, chunk_size=10_000)
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return found

        small, large = peak(200), peak(1600)
        assert large < 1.1 * small and large < 8e6

    def test_memory_mapped_texts_are_planned_alike(self, tmp_path):
        text = random_text(0)
        torch.save(dataclasses.asdict(text), tmp_path / "text.pt")
        mapped = Packed(**torch.load(tmp_path / "text.pt", mmap=True, weights_only=True))
        assert rows_of(plan_sample([mapped], 6, cap=4)) == rows_of(plan_sample([text], 6, cap=4))

    def test_bad_calls_are_refused(self):
        text = random_text(0)
        with pytest.raises(ValueError, match="not one of next, predicted, input"):
            plan_sample([text], 6, key="previous")
        with pytest.raises(ValueError, match="known in the pass only: call collect_predicted"):
            plan_sample([text], 6, key="predicted")
        with pytest.raises(ValueError, match="holds token 5 and the vocabulary has 3: pack the text with the teacher"):
            plan_sample([text], 3)
        with pytest.raises(ValueError, match="cap is 0, expected at least 1"):
            plan_sample([text], 6, cap=0)
        nothing = dataclasses.replace(text, targets=torch.full_like(text.targets, -100))
        for empty in ([nothing], []):
            with pytest.raises(ValueError, match="corpus is empty, no position .* give a text of at least two tokens"):
                plan_sample(empty, 6)


def test_a_reservoir_that_drops_losers_on_the_way_keeps_the_lowest_and_shares_no_slot():
    reservoir, draw = Reservoir(5, 10, slack=50), np.random.default_rng(0)
    offered, file = [], {}
    for step in range(300):
        rows = np.zeros(40, ROW)
        rows["token"], rows["priority"] = draw.integers(5, size=40), draw.integers(2**60, size=40)
        rows["position"] = np.arange(40) + 40 * step
        offered.append(rows)
        taken, slots = reservoir.offer(rows)
        file |= dict(zip(slots.tolist(), rows["position"][taken].tolist(), strict=True))
    kept, offered = reservoir.kept(), np.concatenate(offered)
    for token in range(5):
        mine = offered[offered["token"] == token]
        lowest = np.sort(mine["position"][mine["priority"].argsort()[:10]])
        assert kept["position"][kept["token"] == token].tolist() == lowest.tolist()
    assert [file[slot] for slot in kept["slot"].tolist()] == kept["position"].tolist()
    assert reservoir.slots < 200, "of 12,000 rows offered"


def test_rows_of_a_file_may_be_written_in_any_order(tmp_path):
    values = torch.randn(6, 3).to(torch.bfloat16)
    rows = np.array([4, 5, 2, 1, 0, 3])
    with RowFile(tmp_path / "rows", 36) as file:
        file.write_rows(rows, values)
    written = torch.from_file(str(tmp_path / "rows"), size=18, dtype=torch.bfloat16).view(6, 3)
    assert torch.equal(written[torch.from_numpy(rows)], values)


class TestPass:
    @pytest.mark.parametrize("key", ["next", "input"])
    def test_every_kept_state_is_the_models_own_at_its_place(self, llama, texts, tmp_path, key):
        plan = plan_sample(texts, llama.vocab_size, key=key, cap=6)
        sample = collect_sample(llama, texts, plan, tmp_path / "sample", batch_size=3)
        assert sample.values.dtype == torch.bfloat16 and torch.equal(sample.offsets, plan.offsets)
        finals = [teacher_states(llama, text.ids, text.positions, [])[0].flatten(0, 1) for text in texts]
        for row, (text, position) in enumerate(rows_of(plan)):
            assert_close(sample.values[row].float(), finals[text][position], atol=0.1, rtol=0.02)
            keys = texts[text].targets if key == "next" else texts[text].ids
            token = int(keys.flatten()[position])
            assert plan.offsets[token] <= row < plan.offsets[token + 1]
        assert (tmp_path / "sample/rows.bf16").stat().st_size == len(plan.position) * 32 * 2
        assert {path.name for path in (tmp_path / "sample").iterdir()} == {
            "manifest.json", "places.safetensors", "plan.json", "rows.bf16"
        }  # fmt: skip

    def test_blocks_without_a_kept_row_are_skipped(self, llama, texts, tmp_path, monkeypatch):
        plan = plan_sample(texts, llama.vocab_size, cap=1)
        needed = {(text, position // texts[text].ids.shape[1]) for text, position in rows_of(plan)}
        seen = []
        real = sample_pass.teacher_states
        monkeypatch.setattr(sample_pass, "teacher_states", lambda *a: (seen.extend(a[1].tolist()), real(*a))[1])
        collect_sample(llama, texts, plan, tmp_path / "sample")
        assert len(seen) == len(needed) < sum(len(text.ids) for text in texts)
        assert sorted(seen) == sorted(texts[text].ids[block].tolist() for text, block in needed)

    def test_stored_states_are_copied_and_no_teacher_runs(self, llama, texts, store, tmp_path, monkeypatch):
        plan = plan_sample(texts[1:], llama.vocab_size, cap=9)
        monkeypatch.setattr(sample_pass, "teacher_states", None)
        sample = collect_sample(llama, texts[1:], plan, tmp_path / "sample", stored={0: store})
        assert torch.equal(sample.values, store.final.flatten(0, 1)[plan.position])
        with pytest.raises(ValueError, match=r"stored\[0\] holds the states of another text"):
            collect_sample(llama, texts, plan, tmp_path / "other", stored={0: store})

    def test_predictions_keep_the_rows_of_a_plan_that_knew_them(self, llama, texts, store, tmp_path):
        head = llama.model.get_output_embeddings().weight
        other = collect_states(llama, texts[0], tmp_path / "states", split_layers=[], batch_size=3)
        predicted = [predicted_tokens(other, head), predicted_tokens(store, head)]
        plan = plan_sample(texts, llama.vocab_size, key="predicted", cap=5, predicted=predicted)
        known = collect_sample(llama, texts, plan, tmp_path / "known", stored={0: other, 1: store})
        # With a checkpoint a batch, losers are dropped and their slots used again.
        options = {"cap": 5, "batch_size": 3, "checkpoint_seconds": 0}
        found = collect_predicted(llama, texts, tmp_path / "found", stored={1: store}, **options)
        assert rows_of(found.plan) == rows_of(plan) and torch.equal(found.offsets, plan.offsets)
        assert torch.equal(found.values, known.values)
        assert (found.offsets.diff() == 5).any() and len(found.values) < texts[0].tokens, "the cap must have bitten"

    def test_a_finished_sample_opens_without_the_teacher_and_refuses_another(self, llama, texts, tmp_path, monkeypatch):
        plan = plan_sample(texts, llama.vocab_size, cap=2)
        first = collect_sample(llama, texts, plan, tmp_path / "sample")
        monkeypatch.setattr(sample_pass, "teacher_states", None)
        again = collect_sample(llama, texts, plan, tmp_path / "sample")
        assert torch.equal(first.values, again.values) and rows_of(again.plan) == rows_of(plan)
        assert again.plan.digests == plan.digests and (again.plan.key, again.plan.cap) == ("next", 2)
        load_sample(tmp_path / "sample", **teacher_parameters(llama))
        for name, value in (("tokenizer_hash", "other"), ("hidden_size", 64), ("fingerprint", "other")):
            another = dataclasses.replace(llama, **{name: value})
            for call in (
                lambda other=another: load_sample(tmp_path / "sample", **teacher_parameters(other)),
                lambda other=another: collect_sample(other, texts, plan, tmp_path / "sample"),
            ):
                with pytest.raises(ValueError, match=f"sample artefact .* has {name} = .* build it again for this"):
                    call()
        with pytest.raises(ValueError, match="has cap = 2"):
            collect_sample(llama, texts, plan_sample(texts, llama.vocab_size, cap=3), tmp_path / "sample")
        with pytest.raises(ValueError, match="plan was made for other texts"):
            collect_sample(llama, texts[::-1], plan, tmp_path / "sample")
        with pytest.raises(FileNotFoundError, match="no artefact"):
            load_sample(tmp_path / "nowhere")

    def test_states_that_are_not_finite_are_refused_by_text_and_block(self, llama, texts, tmp_path, monkeypatch):
        real = hidden_states.teacher_states

        def broken(teacher, ids, *more):
            states = real(teacher, ids, *more)
            states[0][(ids == texts[1].ids[5]).all(1) if ids.shape[1] == 32 else [], 3, 7] = torch.inf
            return states

        monkeypatch.setattr(sample_pass, "teacher_states", broken)
        wanted = f"not finite in block 5 of text {texts[1].digest}: load the teacher in float32"
        with pytest.raises(ValueError, match=wanted):
            collect_sample(llama, texts, plan_sample(texts, llama.vocab_size), tmp_path / "sample")
        with pytest.raises(ValueError, match=wanted):
            collect_predicted(llama, texts, tmp_path / "predicted")
        assert not (tmp_path / "sample").exists() and not (tmp_path / "predicted").exists()

    def test_an_empty_corpus_is_refused(self, llama, tmp_path):
        with pytest.raises(ValueError, match="corpus is empty"):
            collect_predicted(llama, [], tmp_path / "predicted")
        nothing = dataclasses.replace(random_text(0), targets=torch.full((5, 16), -100))
        with pytest.raises(ValueError, match="corpus is empty"):
            collect_predicted(llama, [nothing], tmp_path / "predicted")

    def test_a_disk_too_small_is_found_before_the_teacher_runs(self, llama, texts, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(teacher_pass.shutil, "disk_usage", lambda _: usage._replace(free=1000))
        monkeypatch.setattr(sample_pass, "teacher_states", None)
        with pytest.raises(OSError, match=r"disk is full: .*rows.bf16 needs .* GB and .* free; free some space"):
            collect_sample(llama, texts, plan_sample(texts, llama.vocab_size), tmp_path / "sample")
        assert not list(tmp_path.rglob("rows.bf16"))


@pytest.mark.parametrize("kind", ["planned", "predicted"])
def test_a_disk_that_fills_up_is_one_sentence_and_the_pass_goes_on(llama, texts, tmp_path, monkeypatch, kind):
    def run(name):
        options = {"batch_size": 2, "checkpoint_seconds": 0}
        if kind == "predicted":
            return collect_predicted(llama, texts, tmp_path / name, cap=8, **options)
        return collect_sample(llama, texts, plan_sample(texts, llama.vocab_size, cap=8), tmp_path / name, **options)

    run("whole")
    full, calls, real = os.open("/dev/full", os.O_RDWR), [], os.pwrite

    def filling(descriptor, *arguments):
        calls.append(descriptor)
        return real(full if len(calls) > 150 else descriptor, *arguments)

    monkeypatch.setattr(os, "pwrite", filling)
    with pytest.raises(OSError, match="disk is full while writing .*: free some space and run again"):
        run("cut")
    monkeypatch.setattr(os, "pwrite", real)
    assert not (tmp_path / "cut").exists()
    seen, states = [], sample_pass.teacher_states
    monkeypatch.setattr(sample_pass, "teacher_states", lambda *a: (seen.append(1), states(*a))[1])
    run("cut")
    assert (tmp_path / "cut/rows.bf16").read_bytes() == (tmp_path / "whole/rows.bf16").read_bytes()
    assert len(seen) < sum(-(-len(text.ids) // 2) for text in texts), "finished batches are not computed again"


def test_a_pass_that_another_process_left_half_done_is_finished_with_the_same_bytes(
    llama, texts, tmp_path, monkeypatch
):
    collect_predicted(llama, texts, tmp_path / "whole", cap=5)
    open_pass = sample_pass.open_pass

    def open_as_the_first(*given):
        with monkeypatch.context() as first:
            first.setattr(teacher_pass, "processes", lambda: (0, 1))
            return open_pass(*given)

    with monkeypatch.context() as second:
        second.setattr(sample_pass, "open_pass", open_as_the_first)
        second.setattr(sample_pass, "_merged_reservoirs", None)  # it gets no further
        for module in (teacher_pass, sample_pass):
            second.setattr(module, "processes", lambda: (1, 2))
            second.setattr(module, "wait_for_all", lambda: None)
        with pytest.raises(TypeError):
            collect_predicted(llama, texts, tmp_path / "cut", cap=5)
    partial = tmp_path / ".cut.partial"
    assert [path.name for path in partial.glob("*.npz")] == ["work-reservoir-00001.npz"]
    collect_predicted(llama, texts, tmp_path / "cut", cap=5)
    assert (tmp_path / "cut/rows.bf16").read_bytes() == (tmp_path / "whole/rows.bf16").read_bytes()


def command(llama, texts, folder, *more):
    short = [{name: value[:24] if torch.is_tensor(value) else value for name, value in vars(t).items()} for t in texts]
    torch.save(short, folder / "texts.pt")
    script = Path(__file__).parent / "run_passes.py"
    return [sys.executable, str(script), llama.name, str(folder / "texts.pt"), *more]


def files_of(folder):
    """Bytes of all that the passes wrote but the manifests, which hold times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


@pytest.fixture(scope="module")
def killed(llama, texts, tmp_path_factory):
    """Folders `whole` and `cut` of passes that were left alone and killed, and what the kills met."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        command(llama, texts, folder, str(folder), "--kills", "20"), stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    return folder, json.loads(done.stdout)["killed"]


def test_passes_that_are_killed_again_and_again_end_with_the_same_bytes(killed):
    folder, met = killed
    assert len({name.split("-")[1] for name in met}) == 2, "kills must meet both kinds of pass, planned and reservoir"
    whole = files_of(folder / "whole")
    assert {"states/final.bf16", "states/trunk-4.bf16", "sample/rows.bf16", "predicted/rows.bf16"} < set(whole)
    assert files_of(folder / "cut") == whole, "nothing else may be left behind either"


def test_two_processes_write_the_same_bytes_as_one(killed, llama, texts, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [
        subprocess.Popen(
            command(llama, texts, tmp_path, str(tmp_path / "shared")),
            env=environment | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    batches = [json.loads(process.communicate(timeout=300)[0])["batches"] for process in both]
    assert abs(batches[0] - batches[1]) <= 3 and min(batches) > 12
    assert files_of(tmp_path / "shared") == files_of(killed[0] / "whole")


def test_self_hits_are_the_states_that_judge_themselves(store, llama):
    articles = torch.arange(len(store.ids))
    text = Packed(store.ids, store.positions, store.targets, articles, 1, store.ids.numel(), "training")
    plan = plan_sample([text], llama.vocab_size)
    final = store.final.flatten(0, 1)
    vectors = final[plan.position].clone()
    positions = (store.targets.flatten() >= 0).nonzero().flatten()
    nearest = torch.empty(final.shape[0], dtype=torch.int32)
    nearest[plan.position] = torch.arange(len(plan.position), dtype=torch.int32)
    given = {"positions": positions, "nearest": nearest[positions], "rows": store.rows, "vectors": vectors}
    assert self_hits(plan, 10**6, **given) == {"raw-state keys": 1, "own states": 1, "self-hits": 1}
    counts = plan.offsets.diff()
    k = int(counts[counts > 0].median())
    shares = self_hits(plan, k, **given)
    assert shares["raw-state keys"] == pytest.approx(float((counts[counts > 0] <= k).float().mean()))
    assert 0 < shares["raw-state keys"] < 1
    vectors[::2] += 0.1 * vectors[::2].abs().mean()
    assert self_hits(plan, k, **given)["self-hits"] == pytest.approx(0.5, abs=0.01)
    apart = {"raw-state keys": shares["raw-state keys"], "own states": 0, "self-hits": 0}
    assert self_hits(plan, k, **given, text=None) == self_hits(plan, k, **given, text=1) == apart
