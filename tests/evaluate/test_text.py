from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from dskd_utils.evaluate.text import compare_text, text_measures


@pytest.fixture
def packed():
    """Three blocks of two pieces each, with targets inside a piece and none at its end or on the padding."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, 300, (3, 20), generator=generator)
    positions = torch.cat([torch.arange(12), torch.arange(8)]).expand(3, 20).clone()
    targets = torch.full_like(ids, -100)
    targets[:, :11], targets[:, 12:19] = ids[:, 1:12], ids[:, 13:]
    targets[2, 15:] = -100
    return SimpleNamespace(ids=ids, positions=positions, targets=targets, articles=torch.arange(3))


def but(packed, **changes):
    return SimpleNamespace(**vars(packed) | changes)


def by_hand(model, packed):
    """Log-probabilities (n, v) of all positions with a target, each piece run alone, and the targets (n,)."""
    logprobs, wanted = [], []
    for row, targets in zip(packed.ids, packed.targets, strict=True):
        for piece in (slice(0, 12), slice(12, 20)):
            with torch.no_grad():
                out = model(input_ids=row[None, piece]).logits[0].log_softmax(-1)
            keep = targets[piece] != -100
            logprobs.append(out[keep])
            wanted.append(targets[piece][keep])
    return torch.cat(logprobs), torch.cat(wanted)


@pytest.mark.parametrize("chunk", [7, 256])
def test_measures_equal_those_of_full_logits(llamas, packed, chunk):
    table = text_measures(llamas, packed, "teacher", chunk=chunk).set_index(["model", "metric"])
    teacher, targets = by_hand(llamas["teacher"], packed)
    student, _ = by_hand(llamas["student"], packed)
    assert (table["n"] == len(targets)).all() and (table["tokens"] == "all").all()
    value = table["value"]["student"]
    nll = -student.gather(1, targets[:, None]).mean().item()
    assert value["perplexity"] == pytest.approx(np.exp(nll), rel=1e-4)
    assert value["kl"] == pytest.approx((teacher.exp() * (teacher - student)).sum(-1).mean().item(), rel=1e-4)
    assert value["top1_agreement"] == pytest.approx((teacher.argmax(-1) == student.argmax(-1)).float().mean().item())
    five = [[set(row.topk(5).indices.tolist()) for row in each] for each in (student, teacher)]
    shared = [len(one & other) / 5 for one, other in zip(*five, strict=True)]
    assert value["top5_agreement"] == pytest.approx(np.mean(shared))
    assert value["accuracy"] == pytest.approx((student.argmax(-1) == targets).float().mean().item())


def test_the_teacher_agrees_with_itself(llamas, packed):
    twins = {"teacher": llamas["teacher"], "twin": llamas["teacher"]}
    value = text_measures(twins, packed, "teacher").set_index(["model", "metric"])["value"]
    for name in twins:
        assert value[name, "kl"] == pytest.approx(0, abs=1e-6)
        assert value[name, "top1_agreement"] == 1.0


def test_every_architecture_reads_the_pieces_apart(any_model, packed):
    table = text_measures({"model": any_model}, packed, "model").set_index("metric")
    logprobs, targets = by_hand(any_model, packed)
    nll = -logprobs.gather(1, targets[:, None]).mean().item()
    assert np.log(table["value"]["perplexity"]) == pytest.approx(nll, rel=1e-4)


def test_standard_errors_see_articles_not_positions(llamas, packed):
    table = text_measures(llamas, packed, "teacher").set_index(["model", "metric"])
    logprobs, targets = by_hand(llamas["student"], packed)
    nll = -logprobs.gather(1, targets[:, None])[:, 0].numpy()
    sizes = [18, 18, 14]
    means = np.array([part.sum() for part in np.split(nll, np.cumsum(sizes)[:-1])]) - nll.mean() * np.array(sizes)
    by_block = np.sqrt(3 / 2 * (means**2).sum()) / nll.size
    assert table["stderr"]["student", "perplexity"] == pytest.approx(by_block * np.exp(nll.mean()), rel=1e-3)
    assert text_measures(llamas, but(packed, articles=torch.zeros(3)), "teacher")["stderr"].isna().all()
    halves, blocks = text_measures(llamas, but(packed, articles=torch.tensor([7, 2, 7])), "teacher", return_blocks=True)
    pair = np.array([means[0] + means[2], means[1]])
    by_article = np.sqrt(2 / 1 * (pair**2).sum()) / nll.size
    found = halves.set_index(["model", "metric"])["stderr"]["student", "perplexity"]
    assert found == pytest.approx(by_article * np.exp(nll.mean()), rel=1e-3)
    assert (halves["articles"] == 2).all() and (table["articles"] == 3).all()
    assert blocks[blocks.model == "student"].article.tolist() == [7, 2, 7]
    assert (compare_text(blocks, [("student", "teacher")], resamples=20).articles == 2).all()


def test_a_missing_teacher_and_a_text_without_targets_are_refused(llamas, packed):
    with pytest.raises(ValueError, match="'master' is not among"):
        text_measures(llamas, packed, "master")
    empty = but(packed, targets=torch.full_like(packed.ids, -100))
    with pytest.raises(ValueError, match="no position with a target"):
        text_measures(llamas, empty, "teacher")


def test_a_class_of_tokens_is_measured_as_a_text_of_its_targets_alone(llamas, packed):
    classes = {"even": torch.arange(400) % 2 == 0, "odd": torch.arange(400) % 2 == 1, "none": torch.zeros(400) > 0}
    table = text_measures(llamas, packed, "teacher", classes=classes)
    assert set(table.tokens) == {"all", "even", "odd"}, "a class that does not occur is left out"
    for parity, name in enumerate(("even", "odd")):
        kept = torch.where(packed.targets % 2 == parity, packed.targets, -100)
        expected = text_measures(llamas, but(packed, targets=kept), "teacher").drop(columns="tokens")
        found = table[table.tokens == name].drop(columns="tokens").reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)


def test_bits_a_byte_count_the_bytes_of_what_is_predicted(llamas, packed, tiny_tokenizer):
    table = text_measures(llamas, packed, "teacher", tokenizer=tiny_tokenizer).set_index(["model", "metric"])
    logprobs, targets = by_hand(llamas["student"], packed)
    nats = -logprobs.gather(1, targets[:, None]).sum().item()
    pieces = [row[row != -100] for row in packed.targets]
    size = sum(len(tiny_tokenizer.decode(piece).encode()) for piece in pieces)
    assert table["value"]["student", "bits_per_byte"] == pytest.approx(nats / np.log(2) / size, rel=1e-4)
    assert size > len(targets), "some tokens are longer than a byte"
