"""Tests of training on stored states (paper, section 4.2)."""

import dataclasses
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from dskd_utils.artefacts import read_manifest
from dskd_utils.distill import training
from dskd_utils.distill.candidates import CandidateIndex, candidate_index, gather_senses, sample_positions
from dskd_utils.distill.losses import nearest_candidates
from dskd_utils.distill.objective import Objective, automatic_margin, sense_prediction
from dskd_utils.distill.students import make_student
from dskd_utils.distill.trainee import Cell, Schedule
from dskd_utils.distill.training import distill, distill_together, training_log
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.dictionary import build_dictionary
from dskd_utils.senses.hidden_states import collect_states
from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.senses.sample import plan_sample
from dskd_utils.sources.teachers import load_teacher

RELATIONS = Relations.from_pairs(
    [("happy", "glad"), ("happy", "merry"), ("sad", "gloomy"), ("cold", "chilly"), ("light", "bright")],
    [("happy", "sad"), ("happy", "unhappy"), ("warm", "cold"), ("hot", "cold"), ("light", "dark")],
)
KD = Objective(beta_p=0, beta_n=0)
FAST = Schedule(lr=2e-2, epochs=2, batch_size=4, checkpoint_every=3)


@pytest.fixture(scope="module")
def store(llama, tiny_text, tmp_path_factory):
    return collect_states(llama, tiny_text, tmp_path_factory.mktemp("store") / "states", split_layers=[2])


@pytest.fixture(scope="module")
def dictionary(llama, store, tiny_text):
    plan = plan_sample([tiny_text], llama.vocab_size)
    clusters = batched_kmeans(store.final.flatten(0, 1)[plan.position], plan.offsets, 4)
    return build_dictionary(clusters.centroids, clusters.offsets, RELATIONS, llama.tokenizer)


@pytest.fixture(scope="module")
def index(store, dictionary):
    return candidate_index(store, dictionary)


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_the_index_holds_the_nearest_candidates_of_every_position(store, dictionary, index):
    targets, final = store.targets.flatten(), store.final.flatten(0, 1).float()
    for entry in range(0, len(index.positions), 17):
        place = int(index.positions[entry])
        sets = dictionary.candidates(targets[place : place + 1])
        for rows, found in ((sets.positive_rows, index.positive), (sets.negative_rows, index.negative)):
            senses, mask = gather_senses(found[entry : entry + 1], index.vectors, 5)
            assert mask.sum() == min(5, len(rows))
            if len(rows):
                vectors = dictionary.vectors[rows].float()[None]
                expected, _ = nearest_candidates(final[place][None], vectors, torch.ones(1, len(rows)) > 0, 5)
                assert_close(senses[mask], expected[mask], atol=1e-3, rtol=1e-3)
    assert index.related.any() and not index.related.all()


def test_the_released_reading_adds_own_senses_to_the_negatives(store, dictionary, index):
    released = candidate_index(store, dictionary, own_in_negatives=True)
    assert ((released.negative >= 0).sum(1) >= (index.negative >= 0).sum(1)).all()
    alone = ~index.related
    assert torch.equal(released.negative[alone], released.positive[alone])


def test_an_index_survives_a_trip_to_disk(index, dictionary, tmp_path):
    index.save(tmp_path / "index.pt")
    found = CandidateIndex.load(tmp_path / "index.pt", dictionary)
    assert torch.equal(found.positive, index.positive) and torch.equal(found.related, index.related)


def test_sampled_positions_are_a_share_with_relations_and_as_many_without(index):
    generator = torch.Generator().manual_seed(0)
    window = torch.arange(len(index.positions))
    related = int(index.related.sum())
    picked = sample_positions(index, window, share=0.4, generator=generator)
    wanted = max(25, int(0.4 * related))
    assert int(index.related[picked].sum()) == min(wanted, related)
    assert len(picked) == len(picked.unique()) <= 2 * wanted


def test_training_lowers_the_loss(llama, store, index, tmp_path):
    for name, objective in (("kd", KD), ("dskd", Objective())):
        distill(make_student(llama, 4), store, tmp_path / name, objective=objective, schedule=FAST, index=index)
        log = training_log(tmp_path / name)
        assert log.loss.tail(3).mean() < 0.9 * log.loss.head(3).mean()
        assert len(log) == 2 * -(-len(store.ids) // 4)


def test_kd_and_dskd_share_start_and_order_and_differ_in_the_loss_alone(llama, store, index, tmp_path):
    distill(make_student(llama, 4), store, tmp_path / "kd", objective=KD, schedule=FAST)
    distill(make_student(llama, 4), store, tmp_path / "dskd", objective=Objective(), schedule=FAST, index=index)
    kd, dskd = training_log(tmp_path / "kd"), training_log(tmp_path / "dskd")
    assert kd.tokens.tolist() == dskd.tokens.tolist()
    assert kd.ce[0] == pytest.approx(dskd.ce[0], rel=1e-5) and kd.kl[0] == pytest.approx(dskd.kl[0], rel=1e-5)
    assert kd.loss[0] == pytest.approx(kd.ce[0] + kd.kl[0], rel=1e-5)
    sense = (dskd.attraction[0] + dskd.repulsion[0]) * dskd.positions[0] / dskd.tokens[0]
    assert dskd.loss[0] == pytest.approx(dskd.ce[0] + dskd.kl[0] + sense, rel=1e-4)


@pytest.mark.parametrize(("schedule", "ends"), [("constant", (1, 1)), ("rising", (0, 1)), ("falling", (1, 0))])
def test_the_weight_of_the_senses_goes_by_its_schedule(llama, store, index, tmp_path, schedule, ends):
    objective = Objective(beta_schedule=schedule)
    distill(make_student(llama, 4), store, tmp_path / "x", objective=objective, schedule=FAST, index=index)
    log = training_log(tmp_path / "x")
    sense = (log.attraction + log.repulsion) * log.positions / log.tokens
    shares = (log.loss - log.ce - log.kl) / sense
    steps = torch.linspace(*ends, len(log)).tolist()
    assert shares.tolist() == pytest.approx(steps, abs=1e-3)
    with pytest.raises(ValueError, match="beta_schedule must be one of constant, rising, falling: got 'cosine'"):
        Objective(beta_schedule="cosine")


def test_the_released_weighting_counts_sampled_positions_only(llama, store, index, tmp_path):
    released = Objective(weighting="sampled")
    distill(make_student(llama, 4), store, tmp_path / "x", objective=released, schedule=FAST, index=index)
    row = training_log(tmp_path / "x").iloc[0]
    assert row.loss == pytest.approx(row.ce + row.kl + row.attraction + row.repulsion, rel=1e-4)


@pytest.mark.parametrize("patience", [math.inf, 0.0])
def test_a_killed_run_resumes_to_the_same_weights(llama, store, index, tmp_path, monkeypatch, patience):
    monkeypatch.setattr(training, "LONGEST", patience)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = {"objective": Objective(), "schedule": FAST, "index": index}
    distill(make_student(llama, 4), store, whole, **arguments)
    step, calls = training.take_step, []

    def killed(*given):
        calls.append(given)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(training, "take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        distill(make_student(llama, 4), store, cut, **arguments)
    assert not cut.exists()
    monkeypatch.setattr(training, "take_step", lambda *given: (calls.append(given), step(*given))[1])
    calls.clear()
    load, places = torch.load, []
    monkeypatch.setattr(torch, "load", lambda *path, **how: places.append(how["map_location"]) or load(*path, **how))
    distill(make_student(llama, 4), store, cut, **arguments)
    assert places == ["cpu"], "a process of several must not load onto the device of the one that saved"
    made = 5 if patience == 0 else 3
    assert len(calls) == len(training_log(whole)) - made, "a checkpoint after three steps, or whenever one is overdue"
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(cut)[name]), name
    assert not list(tmp_path.glob(".*"))


def test_a_finished_student_is_left_as_it_is(llama, store, tmp_path):
    distill(make_student(llama, 4), store, tmp_path / "kd", objective=KD, schedule=FAST)
    before = (tmp_path / "kd" / "model.safetensors").stat().st_mtime_ns
    distill(make_student(llama, 4), store, tmp_path / "kd", objective=KD, schedule=FAST)
    assert (tmp_path / "kd" / "model.safetensors").stat().st_mtime_ns == before


def test_the_trunk_is_untouched_by_training(llama, store, tmp_path):
    distill(make_student(llama, 4), store, tmp_path / "kd", objective=KD, schedule=FAST)
    exported, teacher = weights(tmp_path / "kd"), llama.model.state_dict()
    assert torch.equal(exported["model.layers.1.mlp.up_proj.weight"], teacher["model.layers.1.mlp.up_proj.weight"])
    assert torch.equal(exported["model.norm.weight"], teacher["model.norm.weight"])
    start = teacher["model.layers.5.mlp.up_proj.weight"]
    assert not torch.equal(exported["model.layers.3.mlp.up_proj.weight"], start)


def test_a_loss_that_is_not_finite_stops_with_the_step(llama, store, tmp_path):
    wild = dataclasses.replace(FAST, lr=1e30, clip=1e30)
    with pytest.raises(FloatingPointError, match="not finite at step .* lower the learning rate"):
        distill(make_student(llama, 4), store, tmp_path / "kd", objective=KD, schedule=wild)
    assert not (tmp_path / "kd").exists()


def test_missing_parts_are_refused(llama, store, tmp_path):
    with pytest.raises(ValueError, match="3 frozen layers but the store holds the states after 2"):
        distill(make_student(llama, 5), store, tmp_path / "x", objective=KD, schedule=FAST)
    with pytest.raises(ValueError, match="needs a candidate index"):
        distill(make_student(llama, 4), store, tmp_path / "x", objective=Objective(), schedule=FAST)
    with pytest.raises(ValueError, match="weighting must be"):
        Objective(weighting="none")


OBJECTIVES = {
    "kd": KD,
    "dskd": Objective(),
    "hot": Objective(temperature=4.0, kappa=2, weighting="sampled"),
    "reverse": dataclasses.replace(KD, divergence="reverse"),
    "state": dataclasses.replace(KD, state_weight=1.0),
    "prediction": dataclasses.replace(KD, prediction_weight=1.0),
}


@pytest.fixture(scope="module")
def together(llama, store, index, tmp_path_factory):
    """Six students of one pass, one of them with another learning rate; and where they are."""
    folder = tmp_path_factory.mktemp("together")
    found = distill_together(cells(llama, index, folder), store)
    assert found == [folder / name for name in OBJECTIVES]
    return folder


def cells(llama, index, folder, names=tuple(OBJECTIVES)):
    schedules = {"hot": dataclasses.replace(FAST, lr=1e-2, checkpoint_every=2)}
    return [Cell(make_student(llama, 4), folder / name, OBJECTIVES[name], schedules.get(name, FAST), index)
            for name in names]  # fmt: skip


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_student_of_a_common_pass_is_the_one_it_would_be_alone(llama, store, index, together, tmp_path, name):
    distill_together(cells(llama, index, tmp_path, [name]), store)
    for part, value in weights(tmp_path / name).items():
        assert torch.equal(value, weights(together / name)[part]), part
    alone, common = training_log(tmp_path / name), training_log(together / name)
    assert alone.drop(columns="seconds").equals(common.drop(columns="seconds"))
    assert common.loss.tail(3).mean() < common.loss.head(3).mean()


def test_students_of_a_killed_pass_join_at_their_own_steps(llama, store, index, together, tmp_path, monkeypatch):
    step, taken = training.take_step, []

    def killed(trainees, states, number, run):
        taken.append((number, len(trainees)))
        if number == 5:
            raise KeyboardInterrupt
        return step(trainees, states, number, run)

    with monkeypatch.context() as first:
        first.setattr(training, "take_step", killed)
        with pytest.raises(KeyboardInterrupt):
            distill_together(cells(llama, index, tmp_path), store)
    taken.clear()
    monkeypatch.setattr(training, "take_step", lambda t, s, n, r: (taken.append((n, len(t))), step(t, s, n, r))[1])
    distill_together(cells(llama, index, tmp_path), store)
    assert taken[:3] == [(3, 5), (4, 6), (5, 6)], "one student has its checkpoints every second step"
    for name in OBJECTIVES:
        for part, value in weights(tmp_path / name).items():
            assert torch.equal(value, weights(together / name)[part]), (name, part)


def _interrupt():
    raise KeyboardInterrupt


def test_dropout_draws_the_same_when_resumed_and_in_company(llama, store, tmp_path, monkeypatch):
    def cell(name, dropout=0.3):
        return Cell(make_student(llama, 4, attention_dropout=dropout), tmp_path / name, KD, FAST)

    distill_together([cell("alone")], store)
    distill_together([cell("first"), cell("second"), cell("none", 0.0)], store)
    step = training.take_step
    with monkeypatch.context() as killed:
        killed.setattr(training, "take_step", lambda t, s, n, r: step(t, s, n, r) if n < 7 else _interrupt())
        with pytest.raises(KeyboardInterrupt):
            distill_together([cell("cut")], store)
    distill_together([cell("cut")], store)
    one = weights(tmp_path / "alone")["model.layers.3.mlp.up_proj.weight"]
    for name in ("first", "second", "cut"):
        assert torch.equal(weights(tmp_path / name)["model.layers.3.mlp.up_proj.weight"], one), name
    assert not torch.equal(weights(tmp_path / "none")["model.layers.3.mlp.up_proj.weight"], one)


def test_a_student_that_fails_does_not_stop_the_others(llama, store, index, together, tmp_path):
    wild = Cell(make_student(llama, 4), tmp_path / "wild", KD, dataclasses.replace(FAST, lr=1e30, clip=1e30))
    error, folder = distill_together([wild, *cells(llama, index, tmp_path, ["dskd"])], store)
    assert isinstance(error, FloatingPointError) and "lower the learning rate" in str(error)
    assert torch.equal(weights(folder)["model.layers.3.mlp.up_proj.weight"],
                       weights(together / "dskd")["model.layers.3.mlp.up_proj.weight"])  # fmt: skip
    assert not (tmp_path / "wild").exists()


@pytest.mark.parametrize("place", ["hidden", "step"])
def test_memory_that_runs_out_in_a_step_ends_the_student_that_it_is_of(
    llama, store, index, together, tmp_path, monkeypatch, place
):
    whole = getattr(training.Trainee, place)

    def short_of_memory(trainee, *given):
        if trainee.cell.folder.name == "kd" and len(trainee.rows) == 4:
            raise RuntimeError("not enough memory")
        return whole(trainee, *given)

    monkeypatch.setattr(training.Trainee, place, short_of_memory)
    error, folder = distill_together(cells(llama, index, tmp_path, ["kd", "dskd"]), store)
    assert isinstance(error, RuntimeError) and not (tmp_path / "kd").exists()
    for part, value in weights(folder).items():
        assert torch.equal(value, weights(together / "dskd")[part]), part
    monkeypatch.undo()
    (found,) = distill_together(cells(llama, index, tmp_path, ["kd"]), store)
    assert torch.equal(weights(found)["model.layers.3.mlp.up_proj.weight"],
                       weights(together / "kd")["model.layers.3.mlp.up_proj.weight"]), "it goes on"  # fmt: skip


def test_a_student_that_cannot_begin_does_not_stop_the_others(llama, store, index, together, tmp_path):
    none = dataclasses.replace(index, positions=index.positions[:0])
    measured = Cell(make_student(llama, 4), tmp_path / "none", Objective(margin_quantile=0.5), FAST, none)
    error, folder = distill_together([measured, *cells(llama, index, tmp_path, ["kd"])], store)
    assert isinstance(error, ValueError) and "no margin can be measured" in str(error)
    assert (folder / "model.safetensors").is_file() and not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="no margin can be measured"):
        distill(
            make_student(llama, 4), store, tmp_path / "none", objective=measured.objective, schedule=FAST, index=none
        )


def test_a_full_disk_is_no_students_fault(llama, store, index, tmp_path, monkeypatch):
    def full(*given):
        raise OSError("the disk is full")

    monkeypatch.setattr(training, "take_step", full)
    with pytest.raises(OSError, match="the disk is full"):
        distill_together(cells(llama, index, tmp_path, ["kd", "dskd"]), store)


def test_cells_of_one_pass_share_their_batches_and_no_folder(llama, store, tmp_path):
    one = Cell(make_student(llama, 4), tmp_path / "one", KD, FAST)
    with pytest.raises(ValueError, match="same epochs, batch_size and seed"):
        distill_together([one, Cell(one.student, tmp_path / "two", KD, dataclasses.replace(FAST, seed=1))], store)
    with pytest.raises(ValueError, match="a folder of its own"):
        distill_together([one, one], store)


def test_two_processes_reach_the_losses_of_one(llama, store, index, together, tmp_path):
    script = Path(__file__).parent / "run_together.py"
    torch.save({"states": vars(store), "index": vars(index), "teacher": llama.name}, tmp_path / "given.pt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment |= {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path / "given.pt"), str(tmp_path / "both")]
    both = [subprocess.Popen(command, env=environment | {"RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    for name in ("kd", "dskd", "hot"):
        alone, shared = training_log(together / name), training_log(tmp_path / "both" / name)
        for column in ("loss", "ce", "kl", "gradient"):
            assert shared[column].tolist() == pytest.approx(alone[column].tolist(), rel=2e-3), (name, column)
        assert shared.tokens.tolist() == alone.tokens.tolist()


def test_an_automatic_margin_is_a_quantile_of_the_positives_distance(llama, store, index, tmp_path):
    senses, mask = gather_senses(index.positive, index.vectors, 5)
    m = store.final.flatten(0, 1)[index.positions].float()
    distances = (senses - m[:, None]).square().mean(-1)[mask]
    found = automatic_margin(store, index, 5, 0.75)
    assert found == pytest.approx(float(distances.quantile(0.75)), rel=1e-5)
    cell = Cell(make_student(llama, 4), tmp_path / "x", Objective(margin_quantile=0.75), FAST, index)
    distill_together([cell], store)
    assert read_manifest(tmp_path / "x")["parameters"]["objective"]["margin"] == found


def test_the_log_says_how_far_the_negatives_are(together, store, index):
    log = training_log(together / "dskd")
    assert (log.far_10 <= log.far_50).all() and (log.far_50 <= log.far_90).all()
    assert ((log.active > 0.1) == (log.far_10 < 1)).mean() > 0.8  # within the margin of 1 counts as active


def test_sense_prediction_is_a_cross_entropy_over_the_candidates():
    generator = torch.Generator().manual_seed(0)
    hidden, senses = torch.randn(3, 4, generator=generator), torch.randn(3, 5, 4, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    expected = 0.0
    for n, s, real in zip(hidden, senses, mask, strict=True):
        logits = -((s[real] - n) ** 2).mean(1)
        expected -= torch.log_softmax(logits, 0)[0] / 3
    assert_close(sense_prediction(hidden, senses, mask), expected)


def test_a_teacher_in_bf16_trains_a_student_in_bf16_whose_weights_stay_in_fp32(llama, tiny_text, store, tmp_path):
    half = load_teacher(llama.name, dtype="bfloat16")
    states = collect_states(half, tiny_text, tmp_path / "states", split_layers=[2])
    student, seen = make_student(half, 4), set()
    student.top.layers[0].mlp.up_proj.register_forward_hook(lambda _m, _i, out: seen.add(out.dtype))
    moved = {parameter.dtype for parameter in student.parameters()}
    distill(student, states, tmp_path / "half", objective=KD, schedule=FAST)
    distill(make_student(llama, 4), store, tmp_path / "whole", objective=KD, schedule=FAST)
    assert seen == {torch.bfloat16} and moved == {parameter.dtype for parameter in student.parameters()}
    assert moved == {torch.float32}, "small steps would be lost in bf16"
    logs = [training_log(tmp_path / name) for name in ("half", "whole")]
    assert_close(*[torch.tensor(log.ce.to_numpy()) for log in logs], rtol=0.02, atol=0.02)
    assert {tensor.dtype for tensor in weights(tmp_path / "half").values()} == {torch.bfloat16}


def test_every_architecture_can_be_trained(any_teacher, tiny_text, tmp_path):
    states = collect_states(any_teacher, tiny_text, tmp_path / "states", split_layers=[2])
    distill(make_student(any_teacher, 4), states, tmp_path / "kd", objective=KD, schedule=FAST)
    log = training_log(tmp_path / "kd")
    assert log.loss.tail(3).mean() < log.loss.head(3).mean()
