"""A grid on a tiny teacher and the real text at profile `smoke`: one store, one pass, judged on validation text."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from dskd_utils import plan, stage_grid, stages
from dskd_utils.artefacts import read_manifest
from dskd_utils.distill.training import training_log
from dskd_utils.evaluate.text import text_measures
from dskd_utils.grid import Grid
from dskd_utils.lexicon.relations import Relations
from dskd_utils.report import grid_tables
from dskd_utils.senses.hidden_states import TeacherStates
from dskd_utils.study import open_study

pytestmark = pytest.mark.network
RELATIONS = Relations.from_pairs([("happy", "glad"), ("light", "bright")], [("happy", "sad"), ("light", "dark")])
CELLS = {
    "kd-layers3": {"method": "kd", "layers": 0.5},
    "kd-layers5": {"method": "kd", "layers": 5.0},
    "dskd-k3": {"method": "dskd", "layers": 5.0, "k": 3},
    "shuffled": {"method": "shuffled_senses", "beta": 0.5, "layers": 5.0},
    "kd-alpha": {"method": "kd", "layers": 5.0, "alpha": 1e39},
}


@pytest.fixture(scope="module")
def finished(llama, tmp_path_factory):
    """The study, its grid, the students and the judging."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("DSKD_HOME", str(home))
    patch.delenv("DSKD_DATA", raising=False)
    patch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    study = open_study("06-ablations", {"teacher": llama.name, "profile": "smoke", "run": "scratch", "seed": 0})
    study.__dict__["teacher"] = llama
    words = stages.Lexicon(RELATIONS, RELATIONS, {}, home / "relations", {})
    grid = Grid("mine", "t", 1024, CELLS, {})
    found = stage_grid.train_grid(study, grid, words)
    yield study, grid, words, found, stage_grid.judge_grid(study, grid, found, words)
    patch.undo()


def test_all_depths_read_one_store_of_the_first_tokens(finished):
    study, grid, *_ = finished
    (folder,) = [path for path in (study.folder / "states").iterdir() if path.name.startswith("after1-3")]
    store, same = stages.states(study, 3, 2, more={1, 3}, tokens=1024)
    assert same == folder and isinstance(store, TeacherStates)
    assert store.split_layers == (1, 3) and store.ids.numel() == 1024
    assert torch.equal(store.ids, stages.text(study).train.ids[: len(store.ids)])


def test_a_student_of_a_grid_is_the_one_that_trains_alone(finished):
    study, grid, words, found, _ = finished
    one = Grid("alone", "t", 1024, {"kd-layers5": CELLS["kd-layers5"], "x": CELLS["kd-layers3"] | {"lr": 1e-3}}, {})
    assert stage_grid.train_grid(study, one, words)["kd-layers5"] == found["kd-layers5"], "found, not trained again"
    logs = {name: training_log(found[name]) for name in list(CELLS)[:4]}
    assert logs["dskd-k3"].ce[0] == pytest.approx(logs["kd-layers5"].ce[0], rel=1e-5), "one start, one batch"
    assert logs["kd-layers3"].ce[0] != pytest.approx(logs["kd-layers5"].ce[0], rel=1e-3)
    assert "attraction" in logs["dskd-k3"] and "attraction" not in logs["kd-layers5"]
    senses = {name: read_manifest(found[name])["parameters"]["senses"] for name in logs}
    assert senses["kd-layers3"] == senses["kd-layers5"] == "none" and len(set(senses.values())) == 3


def test_students_are_judged_on_validation_text_and_a_failure_is_a_row(finished, llama):
    study, _, _, found, rows = finished
    rows = rows.set_index("model")
    assert list(rows.index) == [*CELLS, "teacher"] and rows.layers.tolist() == [3, 5, 5, 5, 5, 6]
    assert rows.seed.eq(0).all() and rows.tokens.tolist() == [1024] * len(CELLS) + [0]
    assert "not finite" in rows.failed["kd-alpha"] and pd.isna(rows.kl["kd-alpha"])
    assert isinstance(found["kd-alpha"], FloatingPointError) and (rows.failed.drop("kd-alpha") == "").all()
    models = {"a": AutoModelForCausalLM.from_pretrained(found["dskd-k3"]).eval(), "teacher": llama.model}
    alone = text_measures(models, stages.text(study).validation, "teacher").set_index(["model", "metric"])
    for metric in ("kl", "perplexity", "top1_agreement"):
        assert_close(rows[metric]["dskd-k3"], alone.value["a", metric], rtol=1e-4, atol=1e-4)
        assert_close(rows[metric]["teacher"], alone.value["teacher", metric], rtol=1e-4, atol=1e-4)
    assert rows.n["dskd-k3"] == alone.n.iloc[0]
    log = training_log(found["dskd-k3"])
    assert rows.active["dskd-k3"] == log.active.mean() and rows.margin_used["dskd-k3"] == 1
    assert rows.active.drop(["dskd-k3", "shuffled"]).isna().all()


def test_a_second_judging_reads_the_first(finished, monkeypatch):
    study, grid, words, found, rows = finished
    monkeypatch.setattr(stage_grid, "text_measures", None)
    pd.testing.assert_frame_equal(stage_grid.judge_grid(study, grid, found, words), rows)


def test_what_varies_in_the_dictionary_reaches_its_stages(finished, monkeypatch):
    study, _, words, _, _ = finished
    asked = {"senses": [], "candidates": [], "lexicon": []}
    senses, candidates = stages.senses, stages.candidates
    monkeypatch.setattr(stages, "senses", lambda *a, **k: asked["senses"].append((a[1], k)) or senses(study, words))
    monkeypatch.setattr(stages, "candidates", lambda *a, **k: asked["candidates"].append(k) or candidates(*a, **k))
    monkeypatch.setattr(stages, "lexicon", lambda study, **k: asked["lexicon"].append(k) or "another")
    cells = {"key": {"key": "input", "neighbours": 5}, "own": {"own_in_negatives": True}, "flips": {"flips": "none"}}
    cells = {name: {"method": "dskd", "layers": 5.0} | cell for name, cell in cells.items()}
    given = {"sources": "wordnet", "flips": "add"}
    found = stage_grid.train_grid(study, Grid("dictionary", "t", 1024, cells, {}), words, given)
    assert all(path.is_dir() for path in found.values())
    assert asked["senses"] == [(words, {"key": "input", "neighbours": 5}), (words, {}), ("another", {})]
    assert [one["own_in_negatives"] for one in asked["candidates"]] == [False, True, False]
    assert asked["lexicon"] == [{"sources": "wordnet", "flips": "none"}]


def test_what_a_student_has_over_the_kd_student_beside_it_is_of_the_same_pairs(finished, monkeypatch):
    study, grid, words, found, _ = finished
    asked = [("happy", "glad"), ("light", "bright"), ("river", "bank"), ("cold", "chilly"), ("happy", "sad"),
             ("light", "dark"), ("warm", "cold"), ("glad", "gloomy")]  # fmt: skip
    pairs = pd.DataFrame(asked, columns=["word", "other"]).assign(
        relation=["synonym"] * 4 + ["antonym"] * 4, held_out=1, set="made"
    )
    monkeypatch.setattr(stages, "probes", lambda *_, **__: SimpleNamespace(pairs=pairs))
    monkeypatch.setattr(stage_grid, "TOGETHER", 1)  # so that the two are never judged in one group
    found = found | {"kd-layers5": found["kd-layers3"]}  # after so little training the others are too alike
    rows = stage_grid.judge_grid(study, replace(grid, name="asked", pairs=8), found, words).set_index("model")
    judged = rows.drop("kd-alpha")
    assert judged.auc.between(0, 1).all() and (judged.pairs == 8).all() and rows.auc_over_kd["dskd-k3"] != 0
    assert rows.auc_over_kd["dskd-k3"] == pytest.approx(rows.auc["dskd-k3"] - rows.auc["kd-layers5"])
    assert rows.auc_over_kd_low["dskd-k3"] <= rows.auc_over_kd["dskd-k3"] <= rows.auc_over_kd_high["dskd-k3"]
    assert rows.auc_over_kd.drop(["dskd-k3", "shuffled"]).isna().all()
    shown = grid_tables.grid_table(rows.reset_index()).set_index(rows.index)["AUC over KD's"]
    assert shown["teacher"] == "-" and "[" in shown["dskd-k3"]


def test_where_every_student_failed_the_teacher_is_judged_alone(finished):
    study, _, words, found, _ = finished
    none = Grid("failed", "t", 1024, {"kd-alpha": CELLS["kd-alpha"]}, {})
    rows = stage_grid.judge_grid(study, none, {"kd-alpha": found["kd-alpha"]}, words).set_index("model")
    assert "not finite" in rows.failed["kd-alpha"] and rows.kl["teacher"] == 0 and rows.n["teacher"] > 0


def test_a_student_whose_senses_cannot_be_made_is_a_row_of_its_own(finished, monkeypatch):
    study, grid, words, found, _ = finished
    senses = stages.senses

    def short(study, words, *, k):
        if k == 4:
            raise MemoryError
        return senses(study, words, k=k)

    monkeypatch.setattr(stages, "senses", short)
    names = ("kd-layers3", "kd-layers5")
    cells = {"dskd-k4": {"method": "dskd", "layers": 5.0, "k": 4}} | {name: CELLS[name] for name in names}
    three = Grid("three", "t", 1024, cells, {})
    trained = stage_grid.train_grid(study, three, words)
    assert list(trained) == list(cells) and all(trained[name] == found[name] for name in names)
    rows = stage_grid.judge_grid(study, three, trained, words).set_index("model")
    assert rows.failed["dskd-k4"] == "MemoryError: " and rows.kl["kd-layers5"] > 0


def test_students_are_judged_on_the_teachers_device(finished, llama, monkeypatch):
    study, grid, words, found, _ = finished
    elsewhere, judged = replace(study), {}
    elsewhere.__dict__["teacher"] = replace(llama, model=SimpleNamespace(device="meta", dtype=torch.float32))
    measures = pd.DataFrame({"model": ["teacher"], "metric": ["kl"], "value": [0.0], "stderr": [0.0], "n": [1]})
    monkeypatch.setattr(stage_grid, "text_measures", lambda models, *rest: judged.update(models) or measures)
    stage_grid.judge_grid(elsewhere, replace(grid, name="elsewhere"), found, words)
    assert {judged[name].device.type for name in list(CELLS)[:4]} == {"meta"}


@pytest.mark.parametrize("name", ["text", "relatives", "scoring", "packing"])
def test_a_judging_is_done_again_when_its_code_changes(finished, monkeypatch, name):
    study, grid, words, found, _ = finished
    asked = []
    monkeypatch.setattr(stage_grid, "code_digest", lambda *places: asked.extend(places) or "another")
    monkeypatch.setattr(stage_grid, "text_measures", None)
    with pytest.raises(TypeError):
        stage_grid.judge_grid(study, grid, found, words)
    assert f"evaluate/{name}.py" in asked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "kd", "layers": 7.0}, "line 9, student x: a grid asks for 7 layers, the teacher has 6"),
        ({"method": "dpo"}, "the method 'dpo': choose among kd, dskd"),
        ({"method": "kd", "layers": 1.0, "trainable_layers": 9}, "9 trainable layers do not fit a student of 6"),
        ({"method": "kd", "init": "first"}, "init must be one of next, last, spaced: got 'first'"),
        ({"method": "dskd", "weighting": "all"}, "weighting must be"),
    ],
)
def test_an_impossible_student_is_refused_before_anything_runs(finished, settings, message):
    study, _, words, *_ = finished
    with pytest.raises(ValueError, match=message):
        stage_grid.train_grid(study, Grid("mine", "t", 0, {"x": settings}, {"x": 9}), words)
