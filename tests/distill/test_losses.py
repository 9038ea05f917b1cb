"""Tests of the objective (paper, section 4)."""

import pytest
import torch
from torch.testing import assert_close

from dskd_utils.distill import losses
from dskd_utils.distill.losses import (
    KDSettings,
    fused_kd_loss,
    fused_kd_losses,
    kd_loss,
    nearest_candidates,
    semantic_loss,
    semantic_parts,
)

N, D, V = 17, 8, 31


def states(seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, D, generator=generator)
    teacher = torch.randn(N, D, generator=generator)
    head = torch.randn(V, D, generator=generator)
    targets = torch.randint(V, (N,), generator=generator)
    targets[[2, 9]] = -100
    return hidden.requires_grad_(), teacher, head, targets


def test_kl_is_zero_when_student_equals_teacher():
    _, teacher, head, targets = states()
    assert_close(kd_loss(teacher @ head.T, teacher @ head.T, targets).kl, torch.tensor(0.0), atol=1e-6, rtol=0)


def test_kd_loss_is_the_formula_written_position_by_position():
    hidden, teacher, head, targets = states()
    parts = kd_loss(hidden @ head.T, teacher @ head.T, targets, alpha=0.7, temperature=3.0)
    ce, kl, n = 0.0, 0.0, 0
    for h, m, y in zip(hidden, teacher, targets, strict=True):
        if y == -100:
            continue
        n += 1
        ce -= torch.log_softmax(head @ h, 0)[y]
        log_t, log_s = torch.log_softmax(head @ m / 3, 0), torch.log_softmax(head @ h / 3, 0)
        kl += 9 * (log_t.exp() * (log_t - log_s)).sum()
    assert_close(parts.ce, ce / n)
    assert_close(parts.kl, kl / n)
    assert_close(parts.total, ce / n + 0.7 * kl / n)


@pytest.mark.parametrize("divergence", ["reverse", "js"])
def test_other_divergences_are_their_formulas(divergence):
    hidden, teacher, head, targets = states()
    parts = kd_loss(hidden @ head.T, teacher @ head.T, targets, 0.5, 2.0, divergence)
    expected = []
    for h, m, y in zip(hidden, teacher, targets, strict=True):
        if y != -100:
            t, s = torch.softmax(head @ m / 2, 0), torch.softmax(head @ h / 2, 0)
            middle = (t + s) / 2
            js = ((t * (t / middle).log()).sum() + (s * (s / middle).log()).sum()) / 2
            expected.append(4 * (js if divergence == "js" else (s * (s / t).log()).sum()))
    assert_close(parts.kl, torch.stack(expected).mean())
    assert_close(parts.total, parts.ce + 0.5 * parts.kl)
    same = kd_loss(teacher @ head.T, teacher @ head.T, targets, divergence=divergence)
    assert_close(same.kl, torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
@pytest.mark.parametrize("chunk_size", [1, 3, 16, 1000])
@pytest.mark.parametrize("softcap", [None, 5.0])
def test_fused_loss_has_the_value_and_gradient_of_the_plain_one(chunk_size, softcap, divergence):
    hidden, teacher, head, targets = states()

    def logits(x):
        return softcap * torch.tanh(x @ head.T / softcap) if softcap else x @ head.T

    plain = kd_loss(logits(hidden), logits(teacher), targets, 0.7, 2.5, divergence)
    (expected,) = torch.autograd.grad(3 * plain.total, hidden)
    fused = fused_kd_loss(hidden, teacher, targets, head, 0.7, 2.5, chunk_size, softcap, divergence)
    (found,) = torch.autograd.grad(3 * fused.total, hidden)
    assert_close(fused, plain)
    assert_close(found, expected)


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_a_head_in_bf16_gives_the_loss_to_its_rounding_and_a_gradient_in_the_students_format(softcap):
    hidden, teacher, head, targets = states()
    whole = fused_kd_loss(hidden, teacher, targets, head, softcap=softcap)
    half = fused_kd_loss(hidden, teacher, targets, head.bfloat16(), softcap=softcap)
    (expected,), (found,) = (torch.autograd.grad(each.total, hidden) for each in (whole, half))
    assert half.total.dtype == found.dtype == torch.float32
    assert_close(half, whole, rtol=0.03, atol=0.03)
    assert (found - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize(("divergence", "softcap"), [("forward", None), ("reverse", 5.0), ("js", None)])
def test_the_compiled_step_has_the_value_and_gradient_of_the_plain_one(monkeypatch, divergence, softcap):
    if losses.compiled_step("cpu") is None:
        pytest.skip("no working C++ compiler")
    hidden, teacher, head, targets = states()
    arguments = (hidden, teacher, targets, head, 0.7, 2.5, 6, softcap, divergence)  # chunks of 5 and of 5 rows
    plain = fused_kd_loss(*arguments)
    (expected,) = torch.autograd.grad(plain.total, hidden)
    monkeypatch.setattr(losses, "WORTH_COMPILING", 0)
    for rows in (slice(None), slice(12)):  # another number of rows, as the next batch has
        compiled = fused_kd_loss(hidden[rows], teacher[rows], targets[rows], head, *arguments[4:])
        (found,) = torch.autograd.grad(compiled.total, hidden)
        assert found.any()
        if rows == slice(None):
            assert_close(compiled, plain)
            assert_close(found, expected)


def test_without_a_compiler_the_loss_is_the_same_and_says_so(monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nand more")

    hidden, teacher, head, targets = states()
    plain = fused_kd_loss(hidden, teacher, targets, head)
    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(losses, "WORTH_COMPILING", 0)
    losses.compiled_step.cache_clear()
    assert_close(fused_kd_loss(hidden, teacher, targets, head), plain)
    losses.compiled_step.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "the loss runs uncompiled, same values but slower: no C++ compiler"
    ]


def test_several_students_get_what_each_gets_alone():
    _, teacher, head, targets = states()
    students = [torch.randn(N, D, generator=torch.Generator().manual_seed(i)).requires_grad_() for i in range(4)]
    settings = [KDSettings(), KDSettings(0.5), KDSettings(1.0, 3.0, "js"), KDSettings(0.0, 2.0, "reverse")]
    together = fused_kd_losses(students, teacher, targets, head, settings, chunk_size=5)
    gradients = torch.autograd.grad(sum((i + 1) * parts.total for i, parts in enumerate(together)), students)
    for i, (student, setting) in enumerate(zip(students, settings, strict=True)):
        alone = fused_kd_loss(student, teacher, targets, head, *setting[:2], divergence=setting.divergence)
        assert_close(together[i], alone)
        assert_close(gradients[i], torch.autograd.grad((i + 1) * alone.total, student)[0])


def test_accumulated_over_micro_batches_the_gradient_is_that_of_the_whole():
    hidden, teacher, head, targets = states()
    (whole,) = torch.autograd.grad(fused_kd_loss(hidden, teacher, targets, head).total, hidden)
    n = (targets != -100).sum()
    for part in torch.arange(N).split(6):
        loss = fused_kd_loss(hidden[part], teacher[part], targets[part], head).total
        (loss * (targets[part] != -100).sum() / n).backward()
    assert_close(hidden.grad, whole)


def test_masked_targets_give_zero_loss_and_zero_gradient():
    hidden, teacher, head, targets = states()
    nothing = torch.full_like(targets, -100)
    for parts in (kd_loss(hidden @ head.T, teacher @ head.T, nothing), fused_kd_loss(hidden, teacher, nothing, head)):
        (gradient,) = torch.autograd.grad(parts.total, hidden)
        assert parts.total == parts.ce == parts.kl == 0
        assert_close(gradient, torch.zeros_like(gradient))


def test_wrong_shapes_and_temperature_are_refused():
    with pytest.raises(ValueError, match="logits must both be"):
        kd_loss(torch.zeros(3, 4), torch.zeros(3, 5), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="temperature"):
        kd_loss(torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, dtype=torch.long), temperature=0)


def candidate_sets(seed=0, p=6, a=7, b=5):
    generator = torch.Generator().manual_seed(seed)
    n = torch.randn(p, D, generator=generator).requires_grad_()
    positives = torch.randn(p, a, D, generator=generator)
    negatives = torch.randn(p, b, D, generator=generator)
    positive_mask = torch.rand(p, a, generator=generator) > 0.3
    negative_mask = torch.rand(p, b, generator=generator) > 0.3
    negative_mask[1] = False
    positive_mask[2] = False
    return n, positives, positive_mask, negatives, negative_mask


def test_semantic_loss_is_the_formula_written_position_by_position():
    n, positives, positive_mask, negatives, negative_mask = candidate_sets()
    margin = 2.0
    expected = 0.0
    for i in range(len(n)):
        near = [((n[i] - p) ** 2).mean() for p in positives[i][positive_mask[i]]]
        far = [(margin - ((n[i] - a) ** 2).mean()).clamp(min=0) for a in negatives[i][negative_mask[i]]]
        expected += 0.5 * sum(near) / len(near) if near else 0.0
        expected += 1.5 * sum(far) / len(far) if far else 0.0
    found = semantic_loss(n, positives, positive_mask, negatives, negative_mask, 0.5, 1.5, margin)
    assert_close(found, expected / len(n))


def test_hinge_pushes_away_inside_the_margin_and_rests_outside():
    n = torch.zeros(1, D, requires_grad=True)
    mask = torch.ones(1, 1, dtype=torch.bool)
    none = torch.zeros(1, 1, dtype=torch.bool)
    near, far = torch.full((1, 1, D), 0.5), torch.full((1, 1, D), 2.0)
    (gradient,) = torch.autograd.grad(semantic_loss(n, near, none, near, mask), n)
    assert (gradient > 0).all(), "descending moves the state away from an antonym at +0.5"
    assert semantic_loss(n, far, none, far, mask) == 0
    assert semantic_parts(n, far, none, far, mask).active == 0
    assert semantic_parts(n, near, none, near, mask).active == 1


def test_empty_candidate_sets_give_no_nan():
    n, positives, positive_mask, negatives, negative_mask = candidate_sets()
    nothing_p, nothing_n = torch.zeros_like(positive_mask), torch.zeros_like(negative_mask)
    loss = semantic_loss(n, positives, nothing_p, negatives, nothing_n)
    (gradient,) = torch.autograd.grad(loss, n)
    assert loss == 0 and not gradient.any()
    empty = semantic_loss(n[:0], positives[:0], nothing_p[:0], negatives[:0], nothing_n[:0])
    assert empty == 0


def test_nearest_candidates_are_the_kappa_nearest_real_ones():
    generator = torch.Generator().manual_seed(1)
    m, candidates = torch.randn(4, D, generator=generator), torch.randn(4, 9, D, generator=generator)
    mask = torch.rand(4, 9, generator=generator) > 0.4
    mask[0] = False
    mask[0, :2] = True
    chosen, chosen_mask = nearest_candidates(m, candidates, mask, 3)
    assert chosen.shape == (4, 3, D) and chosen_mask.sum(1).tolist() == mask.sum(1).clamp(max=3).tolist()
    for i in range(4):
        real = candidates[i][mask[i]]
        order = (real - m[i]).norm(dim=1).argsort()[:3]
        assert_close(chosen[i][chosen_mask[i]], real[order])


def test_kappa_beyond_the_candidates_is_padded_and_masked():
    chosen, mask = nearest_candidates(torch.zeros(1, D), torch.ones(1, 2, D), torch.ones(1, 2, dtype=torch.bool), 5)
    assert chosen.shape == (1, 5, D) and mask.tolist() == [[True, True, False, False, False]]
    with pytest.raises(ValueError, match="kappa"):
        nearest_candidates(torch.zeros(1, D), torch.ones(1, 2, D), torch.ones(1, 2, dtype=torch.bool), 0)
