"""Tests of students that share their trunk with the teacher (paper, sections 4.2 and 5.1)."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from dskd_utils.distill.students import make_student, starting_layers
from dskd_utils.senses.hidden_states import teacher_states


def batch(teacher):
    ids = torch.randint(2, teacher.vocab_size, (2, 24), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(10), torch.arange(14)]).expand(2, -1)
    return ids, positions


@pytest.mark.parametrize("init", ["next", "last", "spaced"])
def test_trunk_and_top_give_the_exported_students_logits(any_teacher, init):
    student = make_student(any_teacher, 4, 2, init)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        ids, positions = batch(any_teacher)
        (trunk, _) = teacher_states(any_teacher, ids, positions, [2])
        model = student.as_model()
        expected = model.model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        assert_close(student.hidden(trunk, positions), expected, atol=1e-4, rtol=1e-4)
    assert model.config.num_hidden_layers == 4


def test_a_student_of_all_layers_is_the_teacher(any_teacher):
    student = make_student(any_teacher, 6, 2, "last")
    ids, _ = batch(any_teacher)
    assert_close(student.as_model()(ids).logits, any_teacher.model(ids).logits, atol=1e-4, rtol=1e-4)


def test_only_the_top_layers_are_trained(llama):
    student = make_student(llama, 4, 2)
    trained = {name for name, p in student.top.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("layers.") for name in trained)
    assert not any(p.requires_grad for p in llama.model.parameters())


def test_a_students_model_goes_to_the_teachers_device(llama, monkeypatch):
    moved, kind = [], type(llama.model)
    move = kind.to
    monkeypatch.setattr(kind, "to", lambda self, *where: moved.append(where) or move(self, *where))
    make_student(llama, 4).as_model()
    assert moved == [(llama.model.device, llama.model.dtype)]


@pytest.mark.parametrize(
    ("init", "layers"), [("next", (0, 1, 2, 3)), ("last", (0, 1, 28, 29)), ("spaced", (0, 1, 15, 29))]
)
def test_the_starting_layers_are_those_of_the_init(init, layers):
    assert starting_layers(30, 4, 2, init) == layers


def test_settings_that_do_not_fit_are_refused(llama):
    with pytest.raises(ValueError, match="40 layers was asked, but teacher .* has 6: choose 1 to 6"):
        make_student(llama, 40)
    with pytest.raises(ValueError, match="trainable_layers must be 1 to 4"):
        make_student(llama, 4, 5)
    with pytest.raises(ValueError, match="init 'first' is not one of"):
        make_student(llama, 4, 2, "first")


def test_an_unsupported_architecture_is_refused(llama):
    import transformers

    config = transformers.GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=50)
    other = dataclasses.replace(llama, model=transformers.GPT2LMHeadModel(config), num_layers=2)
    with pytest.raises(ValueError, match="architecture 'gpt2' .* is not supported: use one of"):
        make_student(other, 1, 1)


def test_an_exported_student_loads_and_generates_without_this_package(llama, tmp_path):
    make_student(llama, 4, 2).export(tmp_path, {"losses": {"alpha": 1.0}, "licence": "Apache-2.0"})
    script = (
        "import sys\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"m, t = (c.from_pretrained({str(tmp_path)!r}) for c in (AutoModelForCausalLM, AutoTokenizer))\n"
        "given = t(' the happy', return_tensors='pt')\n"
        "out = m.generate(**given, max_new_tokens=3, min_new_tokens=3, do_sample=False)\n"
        "assert 'dskd_utils' not in sys.modules\nprint(out.shape[1] - given['input_ids'].shape[1])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and run.stdout.strip().endswith("3"), run.stderr
    card = (tmp_path / "README.md").read_text()
    assert "license: apache-2.0" in card and "4 of 6, 2 trained" in card and "alpha" in card
