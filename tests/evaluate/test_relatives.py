"""What models share is computed once, and nothing but the time changes."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dskd_utils.distill.students import cut_config
from dskd_utils.evaluate.relatives import relatives, shared_layers
from dskd_utils.evaluate.scoring import continuation_logprobs, greedy, label_logprobs
from dskd_utils.evaluate.text import text_measures


def student_of(teacher, layers, seed):
    """A plain model of some of a teacher's layers, the last of them changed."""
    config = cut_config(teacher.config, layers)
    model = type(teacher)(config).eval()
    own = {name: value for name, value in teacher.state_dict().items() if ".layers." not in name}
    for place, layer in enumerate(layers):
        state = teacher.model.layers[layer].state_dict()
        own |= {f"model.layers.{place}.{name}": value.clone() for name, value in state.items()}
    model.load_state_dict(own)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.model.layers[-1].parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@pytest.fixture(params=["llama", "mistral", "qwen2", "gemma3"])
def family(request, deep_model):
    """A teacher of four layers, two students that share its first two and one that shares the first."""
    teacher = deep_model(request.param)
    students = [student_of(teacher, layers, seed) for seed, layers in enumerate([(0, 1, 3), (0, 1, 2), (0, 3)])]
    return [teacher, *students]


@pytest.fixture
def requests():
    rng = np.random.default_rng(0)
    prefixes = [rng.integers(2, 300, n).tolist() for n in (23, 11, 0)]
    contexts = [rng.integers(2, 300, n).tolist() for n in (3, 9, 13)]
    return [(p, c, rng.integers(2, 300, 3).tolist()) for p in prefixes for c in contexts for _ in range(2)]


def test_shared_layers_are_found_by_their_weights(family):
    assert relatives(family).shared == [0, 2, 2, 1]
    assert relatives(family[::-1]).shared == [1, 2, 2, 0] and relatives(family[::-1]).deepest == 3
    assert relatives(family[:1]).shared == [0]


def test_one_changed_weight_or_setting_or_embedding_ends_what_is_shared(family):
    teacher, student = family[:2]
    assert shared_layers(teacher, student) == 2
    for change in ("layer", "embedding", "setting", "type"):
        other = copy.deepcopy(student)
        with torch.no_grad():
            if change == "layer":
                next(other.model.layers[1].parameters()).view(-1)[0] += 1
            elif change == "embedding":
                other.get_input_embeddings().weight[7, 0] += 1
            elif change == "setting":
                other.config.rms_norm_eps = 0.5
            else:
                other = other.double()
        assert shared_layers(teacher, other) == (1 if change == "layer" else 0), change


def test_the_fast_path_of_relatives_equals_each_model_alone(family, requests):
    together, _ = continuation_logprobs(family, requests, tokens=40)
    prompts = [(prefix, context) for prefix, context, _ in requests]
    letters, best = label_logprobs(family, prompts, [7, 9, 30], tokens=40)
    stop = lambda answer: answer[-1] % 5 == 0  # noqa: E731
    answers = greedy(family, prompts, stop, max_new_tokens=7, tokens=60)
    for m, model in enumerate(family):
        alone = continuation_logprobs([model], requests, plain=True)[0][0]
        np.testing.assert_allclose(together[m], alone, atol=1e-4)
        own, top = label_logprobs([model], prompts, [7, 9, 30], plain=True)
        np.testing.assert_allclose(letters[m], own[0], atol=1e-4)
        assert best[m].tolist() == top[0].tolist()
        assert answers[m] == greedy([model], prompts, stop, max_new_tokens=7, plain=True)[0]
    assert np.abs(np.diff(together, axis=0)).max() > 0.1  # the models do differ


def test_layers_that_are_shared_run_once(family, requests):
    calls = []
    hooks = [model.model.layers[0].register_forward_hook(lambda *_, m=m: calls.append(m)) for m, model in
             enumerate(family)]  # fmt: skip
    continuation_logprobs(family, requests, tokens=40)
    assert set(calls) == {0}
    for hook in hooks:
        hook.remove()


def test_measures_on_held_out_text_are_the_same_as_of_each_model_alone(family):
    rng = np.random.default_rng(2)
    ids = torch.from_numpy(rng.integers(2, 300, (3, 16)))
    positions = torch.cat([torch.arange(9), torch.arange(7)]).expand_as(ids)  # two documents a block
    targets = ids.roll(-1, 1).clone()
    targets[:, -1] = -100
    packed = SimpleNamespace(ids=ids, positions=positions, targets=targets, articles=torch.arange(3))
    names = ["teacher", "a", "b", "c"]
    together = text_measures(dict(zip(names, family, strict=True)), packed, "teacher")
    for name, model in zip(names[1:], family[1:], strict=True):
        # A second copy of the teacher that nothing is shared with: another class of object, the same weights.
        other = {"teacher": family[0], name: copy.deepcopy(model)}
        with torch.no_grad():
            for layer in (0, 1):  # as much as not to be the teacher's, as little as to change nothing
                weight = next(other[name].model.layers[layer].parameters())
                weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
        assert relatives(list(other.values())).shared[1] == 0
        alone = text_measures(other, packed, "teacher")
        ours = together[together.model == name].reset_index(drop=True)
        np.testing.assert_allclose(ours.value, alone[alone.model == name].value, rtol=1e-4)


def test_a_model_whose_layers_have_another_name_is_scored_alone(requests):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)).eval()
    fast, _ = continuation_logprobs([model, model], requests, tokens=40)
    slow, _ = continuation_logprobs([model, model], requests, plain=True)
    np.testing.assert_allclose(fast, slow, atol=1e-4)


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        relatives([])
