import copy

import numpy as np
import pytest
import torch

from dskd_utils.evaluate.scoring import continuation_logprobs, greedy, head_logits, label_logprobs


@pytest.fixture
def requests():
    """Twelve requests over two prefixes and none, three continuations a context, ragged lengths."""
    rng = np.random.default_rng(0)

    def ids(n):
        return rng.integers(2, 300, n).tolist()

    prefixes = [ids(23), ids(11), []]
    made = []
    for prefix in prefixes:
        for _ in range(2):
            context = ids(rng.integers(3, 14))
            made += [(prefix, context, ids(rng.integers(1, 6))) for _ in range(3)]
    return made


@pytest.fixture
def half_model(any_model):
    return copy.deepcopy(any_model).to(torch.bfloat16)


@pytest.mark.parametrize("tokens", [8, 40, 512])
def test_continuations_behind_a_cached_prefix_equal_the_plain_path(any_model, requests, tokens):
    (fast,), counts = continuation_logprobs([any_model], requests, tokens=tokens)
    (slow,), same = continuation_logprobs([any_model], requests, plain=True)
    np.testing.assert_allclose(fast, slow, atol=1e-4)
    assert counts.tolist() == same.tolist() == [len(continuation) for _, _, continuation in requests]
    assert slow.std() > 1  # the models are far from uniform, so equality means something


def test_the_plain_path_equals_the_models_own_loss(any_model, requests):
    prefix, context, continuation = requests[0]
    ids = torch.tensor([prefix + context + continuation])
    labels = ids.clone()
    labels[:, : -len(continuation)] = -100
    loss = any_model(input_ids=ids, labels=labels).loss.item()
    sums, _ = continuation_logprobs([any_model], requests[:1])
    assert sums[0, 0] == pytest.approx(-loss * len(continuation), abs=1e-4)


def test_labels_behind_a_cached_prefix_equal_the_plain_path(any_model, requests):
    prompts = [(prefix, context) for prefix, context, _ in requests]
    (fast,), (best,) = label_logprobs([any_model], prompts, [7, 9, 30], tokens=40)
    (slow,), (same,) = label_logprobs([any_model], prompts, [7, 9, 30], plain=True)
    np.testing.assert_allclose(fast, slow, atol=1e-4)
    assert best.tolist() == same.tolist()
    assert fast.shape == (len(prompts), 3)


def test_greedy_answers_in_packs_equal_the_plain_path(any_model, requests):
    prompts = [(prefix, context) for prefix, context, _ in requests]
    stop = lambda answer: answer[-1] % 5 == 0  # noqa: E731
    (fast,) = greedy([any_model], prompts, stop, max_new_tokens=7, tokens=60)
    assert [fast] == greedy([any_model], prompts, stop, max_new_tokens=7, plain=True)
    assert all(len(answer) == 7 or stop(answer) for answer in fast)
    assert len({len(answer) for answer in fast}) > 1


def test_the_head_applies_the_softcap_of_gemma(any_model):
    ids = torch.arange(2, 12)[None]
    states = any_model.base_model(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(head_logits(any_model, states), any_model(input_ids=ids).logits[0])


def test_the_head_of_a_half_precision_model_is_computed_in_fp32(half_model):
    with torch.inference_mode():
        states = half_model.base_model(input_ids=torch.arange(2, 30)[None]).last_hidden_state[0]
    exact = head_logits(copy.deepcopy(half_model).float(), states.float())
    torch.testing.assert_close(head_logits(half_model, states), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("plain", [False, True])
def test_letters_that_bf16_would_tie_are_told_apart(half_model, requests, plain):
    head = half_model.get_output_embeddings().weight.data
    head[9] = head[7]
    head[9, 0] *= 1 + 2**-7  # the next number that bf16 knows
    prompts = [(prefix, context) for prefix, context, _ in requests]
    (found,), _ = label_logprobs([half_model], prompts, [7, 9], plain=plain)
    gaps = np.abs(found[:, 0] - found[:, 1])
    assert (gaps > 0).all() and gaps.max() < 0.05


def test_packs_in_bf16_equal_the_plain_path_to_the_rounding_of_its_layers(half_model, requests):
    (fast,), _ = continuation_logprobs([half_model], requests, tokens=40)
    (slow,), _ = continuation_logprobs([half_model], requests, plain=True)
    np.testing.assert_allclose(fast, slow, atol=0.05)  # sums over up to five tokens
    prompts = [(prefix, context) for prefix, context, _ in requests]
    (fast,), _ = label_logprobs([half_model], prompts, [7, 9, 30], tokens=40)
    (slow,), _ = label_logprobs([half_model], prompts, [7, 9, 30], plain=True)
    np.testing.assert_allclose(fast, slow, atol=0.05)


def test_dropout_is_off_while_scoring_and_on_again_afterwards(llamas, requests):
    model = llamas["teacher"].train()
    model.config.attention_dropout = 0.5
    first, second = (continuation_logprobs([model], requests)[0] for _ in range(2))
    assert model.training
    model.eval()
    model.config.attention_dropout = 0.0
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("request_", [([1], [], [2]), ([1], [2], [])])
def test_an_empty_part_is_refused(llamas, request_):
    with pytest.raises(ValueError, match="at least one token"):
        continuation_logprobs([llamas["teacher"]], [request_])
