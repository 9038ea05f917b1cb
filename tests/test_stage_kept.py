"""Tests of the measurements that a study keeps: what was asked once is read, whatever differs is measured anew."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from dskd_utils import stage_kept
from dskd_utils.artefacts import digest
from dskd_utils.evaluate import benchmarks
from dskd_utils.sources.packing import packed
from dskd_utils.stage_kept import content, kept


@pytest.fixture
def study(tmp_path):
    return SimpleNamespace(stage=lambda kind, alias, asked: tmp_path / kind / f"{alias}-{digest(asked)}")


@pytest.fixture
def calls():
    return []


@pytest.fixture
def measure(calls):
    def squares(values, *, several=False, stop=False):
        calls.append(values)
        if stop:
            raise KeyboardInterrupt
        table = pd.DataFrame(
            {"value": list(values), "scores": [[v, v * v] for v in values], "note": None}, index=values
        )
        return (table, pd.DataFrame()) if several else table

    return squares


def test_a_second_call_reads_what_the_first_one_measured(study, measure, calls):
    first = kept(study, measure, [1, 2])
    again = kept(study, measure, [1, 2])
    assert calls == [[1, 2]]
    assert_frame_equal(first, again)
    assert first.value.tolist() == [1, 2] and list(map(list, first.scores)) == [[1, 1], [2, 4]]
    assert first.index.tolist() == [1, 2], "an index is kept too"
    kept(study, measure, [1, 3])
    assert len(calls) == 2


def test_several_tables_come_back_as_several_also_where_one_is_empty(study, measure):
    for _ in range(2):
        table, empty = kept(study, measure, [1], several=True)
        assert len(table) == 1 and not len(empty)


def test_states_of_words_come_back_as_they_were(study, calls):
    def states(models):
        calls.append(1)
        return {model: {"light": torch.ones(2, 3) * i, "a": torch.zeros(1, 3)} for i, model in enumerate(models)}

    first, again = kept(study, states, ["kd", "dskd"]), kept(study, states, ["kd", "dskd"])
    assert calls == [1] and list(again) == ["kd", "dskd"] and list(again["kd"]) == ["light", "a"]
    assert all(
        torch.equal(first[m][w], again[m][w]) and first[m][w].dtype == torch.float32 for m in first for w in first[m]
    )
    assert again["dskd"]["light"].tolist() == torch.ones(2, 3).tolist()


def test_an_interrupted_measurement_leaves_nothing(study, measure, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        kept(study, measure, [1], stop=True)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_change_of_the_code_measures_anew(study, measure, calls, monkeypatch):
    kept(study, measure, [1])
    monkeypatch.setattr("dskd_utils.stage_kept.code_digest", lambda *rooms: "another")
    kept(study, measure, [1])
    assert len(calls) == 2


def test_all_code_that_a_measurement_runs_counts():
    package, seen = Path(stage_kept.__file__).parent, set()
    waiting = sorted((package / "evaluate").glob("*.py"))
    imported = re.compile(r"^ *from dskd_utils\.([\w.]+) import|^ *import dskd_utils\.(\S+)", re.M)
    while waiting:
        for name in imported.findall(waiting.pop().read_text()):
            path = package / (next(filter(None, name)).replace(".", "/") + ".py")
            if path.is_file() and path not in seen:
                seen.add(path)
                waiting.append(path)
    names = {str(path.relative_to(package)) for path in seen}
    assert "distill/students.py" in names, "what is searched for is found"
    missed = {name for name in names if name not in stage_kept.CODE and name.split("/")[0] not in stage_kept.CODE}
    assert missed == {"artefacts.py"}, "this one only reads and writes"


def test_a_model_is_told_by_its_weights_and_not_by_where_they_came_from(llama):
    model, before = llama.model, content(llama.model)
    path = model.config._name_or_path
    weight = next(model.parameters())
    try:
        model.config._name_or_path = "elsewhere"
        assert content(model) == before
        with torch.no_grad():
            weight.view(-1)[7] += 1e-3
        assert content(model) != before
        with torch.no_grad():
            weight.view(-1)[7] -= 1e-3
        model.config.rope_parameters["rope_theta"] *= 2
        assert content(model) != before
        model.config.rope_parameters["rope_theta"] /= 2
        assert content(model) != content(model.to(torch.bfloat16))
    finally:
        model.config._name_or_path = path
        model.to(torch.float32)


def text(*ids):
    row = torch.tensor([ids])
    return packed(row, torch.arange(len(ids))[None], row.roll(-1), torch.zeros(1, dtype=torch.int64), 1, len(ids))


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 1.5),
        ("a", "b"),
        (None, 0),
        ({"kd": 1, "dskd": 2}, {"dskd": 2, "kd": 1}),  # the order is that of the rows
        (torch.zeros(3), torch.zeros(3, dtype=torch.float64)),
        (torch.zeros(3), torch.zeros(1, 3)),
        (pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": [1.0, 2.0 + 1e-12]})),
        (pd.DataFrame({"a": [np.arange(2000)]}), pd.DataFrame({"a": [np.arange(2000) % 1999]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
        (text(1, 2, 3), text(1, 2, 4)),
    ],
    ids=str,
)
def test_values_that_differ_are_told_apart(one, other):
    assert content(one) != content(other)
    assert content(one) == content(one)
    json.dumps(content(one))


def test_files_of_the_data_folder_are_told_by_what_they_are(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "mmlu").mkdir(parents=True)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    (tmp_path / "two" / "mmlu" / "test.csv").write_text("a")
    assert content(tmp_path / "one") != content(tmp_path / "two")


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(TypeError, match="function cannot be told from another one: call the measure itself"):
        content(lambda: None)


@pytest.mark.network
def test_a_benchmark_comes_back_as_it_was_measured(study, llama, monkeypatch):
    asked = {"protocol": "likelihood", "shots": 1, "limit": 3, "return_records": True}
    models = {"teacher": llama.model}
    table, records = benchmarks.evaluate(models, llama.tokenizer, ("piqa",), **asked)
    for _ in range(2):
        read, read_records = kept(study, benchmarks.evaluate, models, llama.tokenizer, ("piqa",), **asked)
        assert_frame_equal(table, read, check_dtype=False)
        assert read_records.drop(columns="scores").equals(records.drop(columns="scores"))
        assert list(map(list, read_records.scores)) == records.scores.tolist()
        monkeypatch.setattr(benchmarks, "evaluate_questions", None)  # the second time nothing is asked
