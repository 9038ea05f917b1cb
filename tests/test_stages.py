"""Tests of the stages of a study on a tiny teacher and the real text at profile `smoke`."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from dskd_utils import plan, stage_senses, stage_text, stages
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.trainee import Schedule
from dskd_utils.evaluate.benchmarks import evaluate
from dskd_utils.evaluate.text import text_measures
from dskd_utils.lexicon.relations import Relations
from dskd_utils.profiles import STORES
from dskd_utils.senses import live_states
from dskd_utils.senses.hidden_states import TeacherStates
from dskd_utils.sources.teachers import load_teacher
from dskd_utils.study import Study, open_study

pytestmark = pytest.mark.network
RELATIONS = Relations.from_pairs(
    [("happy", "glad"), ("light", "bright"), ("river", "bank")], [("happy", "sad"), ("light", "dark"), ("hot", "cold")]
)


@pytest.fixture(scope="module")
def finished(llama, tmp_path_factory):
    """For each place of the states what a study's stages gave: states, candidates, student; one text for all."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("DSKD_HOME", str(home))
    patch.delenv("DSKD_DATA", raising=False)
    patch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    found, ran, compute = {}, [], live_states.teacher_states
    patch.setattr(live_states, "teacher_states", lambda *given: ran.append(len(given[1])) or compute(*given))
    # The disk last: a store that is there is read, whatever was asked for.
    for store in ("none", "memory", "disk", "bfloat16"):
        values = {"teacher": llama.name, "profile": "smoke", "run": "scratch", "seed": 0}
        study = open_study("04-distillation", values | ({"store": store} if store in STORES else {}))
        if store == "bfloat16":  # as where the plan finds it faster
            study = replace(study, dtype=store)
        study.__dict__["teacher"] = load_teacher(llama.name, dtype=study.dtype)
        lexicon = stages.Lexicon(RELATIONS, RELATIONS, {}, home / "relations", {})
        senses = stages.senses(study, lexicon, k=3)
        nearest = stages.candidates(study, senses)
        students = study.folder / "students"
        folder = stages.student(
            study, "dskd", objective=Objective(share=1.0), schedule=Schedule(batch_size=2), nearest=nearest
        )
        states, place = stages.states(study)
        context = stages.context_states(study)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=study.teacher.model.dtype).eval()
        found[store] = states, place, sum(ran), nearest, model, folder.name
        ran.clear()
        assert isinstance(context, TeacherStates) and len(context.ids) == len(states.ids)
        for each in (students, senses.folder.parent, senses.sample_folder.parent, nearest.folder.parent):
            each.rename(home / f"{store}-{each.name}")
        assert place.exists() == (store in ("disk", "bfloat16"))
    patch.undo()
    return found


def test_a_study_in_bf16_trains_and_measures_its_student(finished, llama):
    states, place, *_, student, name = finished["bfloat16"]
    assert place.name != finished["disk"][1].name and name != finished["disk"][-1]
    teacher = load_teacher(llama.name, dtype="bfloat16")
    models = {"teacher": teacher.model, "student": student}
    assert {parameter.dtype for parameter in student.parameters()} == {torch.bfloat16}
    text = SimpleNamespace(ids=states.ids, positions=states.positions, targets=states.targets)
    text.articles = torch.arange(len(text.ids))
    held_out = text_measures(models, text, "teacher", tokenizer=teacher.tokenizer)
    found, records = evaluate(models, teacher.tokenizer, ("piqa",), "likelihood", limit=2, return_records=True)
    assert held_out.value.notna().all() and found.value.notna().all() and len(records) == 4


def test_what_is_trained_does_not_depend_on_where_the_states_are_kept(finished):
    *_, start, name = finished["disk"]
    expected = start.state_dict()
    for store in ("none", "memory"):
        _, place, _, nearest, student, folder = finished[store]
        assert (place.name, folder) == (finished["disk"][1].name, name), "the results have one name"
        assert torch.equal(nearest.index.positions, finished["disk"][3].index.positions)
        same = (nearest.index.positive == finished["disk"][3].index.positive).float().mean()
        assert same > 0.99, "a tie may fall the other way"
        for tensor, value in student.state_dict().items():
            assert_close(value, expected[tensor], atol=2e-3, rtol=2e-2, msg=lambda m, t=tensor: f"{t}: {m}")


def test_states_in_memory_are_computed_once_a_run_and_those_nowhere_at_every_use(finished):
    blocks = len(finished["memory"][0].ids)
    ran = {store: found[2] for store, found in finished.items()}
    assert set(ran) > set(STORES) and ran["memory"] == blocks and ran["disk"] == 0
    assert ran["none"] >= 4 * blocks, "for the search, the self-hits, the training and the contexts"


def test_an_unknown_place_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="store must be empty .* or one of disk, memory, none: got 'ram'"):
        open_study("x", {"teacher": "smollm2-135m", "profile": "smoke", "run": "x", "seed": 0, "store": "ram"})


def test_states_of_a_teacher_that_no_student_can_be_made_of_are_refused():
    model = SimpleNamespace(config=SimpleNamespace(model_type="gpt2"))
    with pytest.raises(ValueError, match="architecture 'gpt2' of teacher 'x' is not supported: use one of gemma3_text"):
        stages.states(SimpleNamespace(teacher=SimpleNamespace(name="x", model=model)))


@pytest.fixture
def opened(llama, tmp_path, monkeypatch):
    """A study of which every stage raises what it would be named by."""
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    (tmp_path / "data").mkdir()
    values = {
        "teacher": llama.name,
        "profile": "smoke",
        "run": "scratch",
        "seed": 0,
        "data_dir": str(tmp_path / "data"),
    }
    study = open_study("04-distillation", values)
    study.__dict__["teacher"] = llama

    def named(self, kind, alias, parameters):
        raise LookupError(parameters)

    monkeypatch.setattr(Study, "stage", named)
    return study


def named_by(stage, *given):
    with pytest.raises(LookupError) as caught:
        stage(*given)
    return caught.value.args[0]


def test_other_files_in_the_data_folder_are_another_text_and_other_probes(opened):
    words = SimpleNamespace(folder=opened.data_dir)
    seen = [(named_by(stages.text, opened), named_by(stages.probes, opened, words))]
    for place in ("squad2/dev-v2.0.json", "lexical/antsynnet/noun-pairs.val"):
        (opened.data_dir / place).parent.mkdir(parents=True)
        (opened.data_dir / place).write_text("x")
        seen.append((named_by(stages.text, opened), named_by(stages.probes, opened, words)))
    (texts, probes) = zip(*seen, strict=True)
    assert texts[0] != texts[1] == texts[2] and probes[0] == probes[1] != probes[2]


def test_stored_states_are_named_by_the_weights_of_their_teacher(opened, llama, monkeypatch):
    part = SimpleNamespace(digest="t", first=lambda tokens: SimpleNamespace(digest="t"))
    read = SimpleNamespace(train=part, extra=part)
    monkeypatch.setattr(stage_text, "text", lambda study: read)
    monkeypatch.setattr(stage_senses, "text", lambda study: read)
    for stage in (stages.states, lambda study: stages.sampled_states(study, dictionary_text="extra")):
        assert named_by(stage, opened)["teacher"] == llama.fingerprint


def test_a_model_card_says_what_was_read():
    def said(read, wikipedia=10, tasks=5, source="package"):
        facts = {"train": {"wikipedia-leads": {"tokens": wikipedia}, "tasks": {"tokens": tasks}}, "read": read}
        train = SimpleNamespace(tokens=wikipedia + tasks)
        return stage_text.read_of(stages.Text(train, None, None, None, facts, None), source)

    three = {"wikipedia-leads": 9, "arc_challenge": 3, "commonsense_qa": 3, "piqa": 3}
    splits = "of the training splits of ARC-Challenge, CommonsenseQA and PIQA"
    assert said(three) == f"15 tokens of English Wikipedia (CC BY-SA) and {splits}"
    assert said(three, wikipedia=0) == f"5 tokens {splits}"
    assert said(three, tasks=0) == "10 tokens of English Wikipedia (CC BY-SA)"
    assert said(three | {"mmlu": 2}).endswith("PIQA and of MMLU-Pro")
    squad = three | {"squad2": 4}
    assert said(squad).endswith("of SQuAD 2.0's validation split, half of its articles")
    assert said(squad, source="hub").endswith("of SQuAD 2.0's training split")


def test_another_table_of_derivations_is_another_lexicon_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    study = open_study("01-lexicon", {"teacher": "smollm2-135m", "profile": "smoke", "run": "scratch", "seed": 0})
    (tmp_path / "mine.tsv").write_text("word\tother\trelation\nhappy\tglad\tsynonym\n")
    folders = set()
    for base in ("happy", "glad"):
        (tmp_path / "eng.tsv").write_text(f"{base}\tun{base}\tJ\tJ\tun\tprefix\n")
        named = {"sources": f"mine={tmp_path}/mine.tsv", "morphology": f"morphynet={tmp_path}/eng.tsv"}
        folders.add(stages.lexicon(study, **named).folder)
    assert len(folders) == 2


@pytest.mark.slow
def test_the_training_text_is_what_the_parameters_choose(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.delenv("DSKD_DATA", raising=False)
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    values = {"teacher": llama.name, "profile": "smoke", "run": "scratch", "seed": 0}

    def read(**choices):
        study = open_study("04-distillation", values | choices)
        study.__dict__["teacher"] = llama
        return stages.text(study), study

    papers, study = read()
    assert papers.facts["train"]["tasks"]["tokens"] == 1024 and "train answers" not in papers.facts
    teachers, _ = read(answers="teacher")
    assert teachers.facts["train answers"]["questions"] > 5 and teachers.folder != papers.folder
    assert teachers.train.tokens == papers.train.tokens and teachers.test.digest == papers.test.digest
    half, _ = read(wikipedia_share=0.5)
    assert half.facts["train"]["tasks"]["tokens"] == pytest.approx(2560, abs=2)
    assert stages.text(study, {"wikipedia_share": 0.5, "teacher": "x"}).folder == half.folder
    for choices, message in (
        ({"answers": "free"}, "answers must be one of gold, teacher: got 'free'"),
        ({"wikipedia_share": 1.5}, "wikipedia_share must be at most 1"),
        ({"task_format": "free"}, "task_format must be one of chat, plain"),
    ):
        with pytest.raises(ValueError, match=message):
            read(**choices)


def test_compared_students_of_two_seeds_are_those_that_each_would_be_alone(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_HOME", str(tmp_path))
    monkeypatch.delenv("DSKD_DATA", raising=False)
    monkeypatch.setattr(plan, "measure_machine", lambda seconds: {"float32": 50.0, "bfloat16": 8.0})
    study = open_study("04-distillation", {"teacher": llama.name, "profile": "smoke", "run": "scratch", "seed": 0})
    study.__dict__["teacher"] = llama
    lexicon = stages.Lexicon(RELATIONS, RELATIONS, {}, tmp_path / "relations", {})
    senses = stages.senses(study, lexicon, k=3)
    nearest = stages.candidates(study, senses)
    kd, dskd = Objective(beta_p=0.0, beta_n=0.0), Objective(share=1.0)
    asked = {"kd": kd, "dskd": dskd, "schedule": Schedule(batch_size=2)}
    made = stages.compared(study, 2, ["state_error"], senses, nearest, **asked)
    assert list(made) == ["kd", "dskd", "state_error", "kd@1", "dskd@1", "state_error@1"]
    assert len(set(made.values())) == 6 and all((place / "model.safetensors").is_file() for place in made.values())
    weights = {name: (place / "model.safetensors").read_bytes() for name, place in made.items()}
    assert len(set(weights.values())) == 6, "another seed is another order of the blocks"
    alone = stages.student(study, "dskd", objective=dskd, schedule=Schedule(batch_size=2, seed=1), nearest=nearest)
    assert alone == made["dskd@1"], "found by its settings"
    with pytest.raises(ValueError, match="seeds must be at least 1: got 0"):
        stages.compared(study, 0, [], senses, nearest, **asked)
    with pytest.raises(ValueError, match="there is no control 'magic'"):
        stages.compared(study, 1, ["magic"], senses, nearest, **asked)
