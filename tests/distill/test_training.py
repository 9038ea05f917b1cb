"""Tests of training on stored states (paper, section 4.2)."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from dskd_utils.distill import training
from dskd_utils.distill.candidates import CandidateIndex, candidate_index, gather_senses, sample_positions
from dskd_utils.distill.losses import nearest_candidates
from dskd_utils.distill.students import make_student
from dskd_utils.distill.training import Objective, Schedule, distill, training_log
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.dictionary import build_dictionary
from dskd_utils.senses.hidden_states import collect_states
from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.senses.sample import plan_sample

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


def test_the_released_weighting_counts_sampled_positions_only(llama, store, index, tmp_path):
    released = Objective(weighting="sampled")
    distill(make_student(llama, 4), store, tmp_path / "x", objective=released, schedule=FAST, index=index)
    row = training_log(tmp_path / "x").iloc[0]
    assert row.loss == pytest.approx(row.ce + row.kl + row.attraction + row.repulsion, rel=1e-4)


def test_a_killed_run_resumes_to_the_same_weights(llama, store, index, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = {"objective": Objective(), "schedule": FAST, "index": index}
    distill(make_student(llama, 4), store, whole, **arguments)
    losses, calls = training._losses, []

    def killed(*given):
        calls.append(given)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return losses(*given)

    monkeypatch.setattr(training, "_losses", killed)
    with pytest.raises(KeyboardInterrupt):
        distill(make_student(llama, 4), store, cut, **arguments)
    assert not cut.exists()
    monkeypatch.setattr(training, "_losses", lambda *given: (calls.append(given), losses(*given))[1])
    calls.clear()
    distill(make_student(llama, 4), store, cut, **arguments)
    assert len(calls) == len(training_log(whole)) - 3, "the first checkpoint was made after three steps"
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


def test_every_architecture_can_be_trained(any_teacher, tiny_text, tmp_path):
    states = collect_states(any_teacher, tiny_text, tmp_path / "states", split_layers=[2])
    distill(make_student(any_teacher, 4), states, tmp_path / "kd", objective=KD, schedule=FAST)
    log = training_log(tmp_path / "kd")
    assert log.loss.tail(3).mean() < log.loss.head(3).mean()
