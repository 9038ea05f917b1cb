"""Tests of the benches' bars: what is missed ends them with an error; models, questions and clock are made up."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

MODEL = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=64))
TEACHER = SimpleNamespace(model=MODEL, tokenizer=None)
STUDENT = SimpleNamespace(as_model=lambda: MODEL)


@pytest.fixture
def bench(monkeypatch):
    """A function that loads a bench by name with a teacher and a clock that are no real ones."""
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", ModuleType("huggingface"))
    sys.modules["lm_eval.models.huggingface"].HFLM = None

    def loaded(name):
        spec = spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.load_teacher, module.make_student = lambda *_, **__: TEACHER, lambda *_, **__: STUDENT
        module.clock = 0.0
        module.time = SimpleNamespace(perf_counter=lambda: module.clock)
        return module

    return loaded


@pytest.mark.parametrize(
    ("seconds", "theirs", "dtype", "error"),
    [
        (2.0, 1, "float32", None),
        (1.6, 1, "float32", "4.80 times faster, expected at least 5"),
        (2.0, 0, "float32", "same choices in 0.00% of the questions"),
        (2.0, 0, "bfloat16", None),
    ],
)
def test_the_bench_against_the_harness_fails_below_its_bar(bench, monkeypatch, seconds, theirs, dtype, error):
    module = bench("bench_evaluation")
    prompt = SimpleNamespace(pairs=[([1], [2]), ([1], [3])])
    for name in ("load_task", "choose_exemplars", "sample_questions"):
        monkeypatch.setattr(module, name, lambda *_: [])
    monkeypatch.setattr(module, "build_prompts", lambda *_: [prompt] * 2)

    def choose(models, _, prompts, protocol):
        module.clock += 1.0
        return [[{"scores": [0.0, 1.0]} for _ in prompts] for _ in models]

    def harness(**_):
        def score(requests, **_):
            module.clock += seconds
            return [(float(place % 2 == theirs), True) for place in range(len(requests))]

        return SimpleNamespace(_loglikelihood_tokens=score)

    module.choose, module.HFLM = choose, harness
    monkeypatch.setattr(sys, "argv", ["bench", "--parts", "2", "--tasks", "piqa", "--dtype", dtype])
    if error is None:
        return module.main()
    with pytest.raises(SystemExit, match=error):
        module.main()


@pytest.mark.parametrize(
    ("minutes", "options", "units", "said"),
    [
        (19, [], True, None),
        (21, [], True, "paper took 21.0 minutes, expected at most 20"),
        (21, ["--limit", "5"], True, "does not apply to a part"),
        (21, [], False, "does not apply to this machine"),
    ],
)
def test_the_bench_of_mmlu_fails_above_its_bar(bench, monkeypatch, capsys, minutes, options, units, said):
    module = bench("bench_mmlu")

    def evaluate(*_, **__):
        module.clock += 60 * minutes
        row = dict.fromkeys(("shots", "n", "of", "truncated", "model", "metric", "value", "stderr", "chance"), 1)
        return pd.DataFrame([row])

    module.evaluate, module.matrix_units = evaluate, lambda: units
    monkeypatch.setattr(sys, "argv", ["bench", "--protocols", "paper", *options])
    if said and units and not options:
        with pytest.raises(SystemExit, match=said):
            module.main()
    else:
        module.main()
        assert (said or "19.0 minutes") in capsys.readouterr().out
