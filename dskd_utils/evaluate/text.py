"""Held-out text: perplexity, divergence from the teacher and agreement with it (paper section 4.1's KL, measured)."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from dskd_utils.distill.replicates import by_method
from dskd_utils.evaluate.relatives import Relatives, relatives
from dskd_utils.evaluate.scoring import head_logits, scoring_mode
from dskd_utils.evaluate.significance import holm, paired_seeds

MEASURES = ("nll", "kl", "top1_agreement", "top5_agreement", "accuracy")
ALL = "all"
BATCH_TOKENS = 2048  # tokens of a forward pass


def text_measures(
    models: Mapping[str, Any],
    packed: Any,
    teacher_name: str,
    *,
    tokenizer: Any = None,
    classes: Mapping[str, torch.Tensor] | None = None,
    chunk: int = 256,
    return_blocks: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]:
    """How well models predict held-out text and how far they are from the teacher, each on the same tokens.

    The logits exist for `chunk` positions of one model and of the teacher at a time.

    Args:
        models: name -> causal language model, the teacher among them; one tokenizer and vocabulary.
        packed: text with `ids`, `positions` and `targets`, int64 (B, T), -100 where there is no target, and `articles`,
            int64 (B,) (see `sources.corpora.Packed`).
        teacher_name: the teacher's name in `models`.
        tokenizer: the models', for `bits_per_byte`, which can be compared across tokenizers; without it there is none.
        classes: kinds of tokens by name, `(v,)` bool: which next tokens are of it (see `token_classes`).
        chunk: rows of logits at a time.
        return_blocks: also return what `compare_text` reads.

    Returns:
        model, tokens (`"all"` or a class), metric, value, stderr, n, articles: `perplexity`; `kl`, the mean
        KL(teacher || model) in nats a token at temperature 1; `top1_agreement`, the share of positions where model and
        teacher have the same most probable token; `top5_agreement`, how many of the teacher's five most probable tokens
        are among the model's, as a share; `accuracy`, the share where the most probable token is the text's own next
        one; `bits_per_byte` of all tokens. The n positions of an article depend on each other, so standard errors are
        clustered by article (NaN for one article); perplexity's by the delta method. `articles` counts those that
        have a position in n. With `return_blocks`, (table, blocks): a row a model and block with its `article`, its
        number of positions `n` and the sums over them of every measure.

    Raises:
        ValueError: the teacher is not in `models`; no position has a target; models with different vocabularies.
    """
    if teacher_name not in models:
        raise ValueError(f"teacher {teacher_name!r} is not among the models: choose from {', '.join(models)}")
    counts = (packed.targets != -100).sum(dim=1).numpy().astype(np.float64)
    if counts.sum() == 0:
        raise ValueError("the text has no position with a target: give at least one block of two tokens")
    widths = {name: model.get_output_embeddings().weight.shape[0] for name, model in models.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"the models' vocabularies differ ({widths}): compare models of one tokenizer")
    kinds = {ALL: torch.ones(next(iter(widths.values())), dtype=torch.bool), **(classes or {})}
    sums = {name: np.zeros((len(kinds), len(counts), len(MEASURES))) for name in models}
    rows = max(1, BATCH_TOKENS // packed.ids.shape[1])
    family = relatives(list(models.values()))
    with scoring_mode(*models.values()):
        for start in tqdm(range(0, len(counts), rows), desc="held-out text", delay=5, leave=False):
            _add_batch(
                models, family, packed, teacher_name, list(kinds.values()), slice(start, start + rows), chunk, sums
            )
    valid, articles = packed.targets != -100, packed.articles.numpy()
    found = []
    for number, (kind, members) in enumerate(kinds.items()):
        of_kind = (valid & members[packed.targets.clamp(min=0)]).sum(1).numpy().astype(np.float64)
        for name in models if of_kind.any() else ():
            row = {"model": name, "tokens": kind, "n": int(of_kind.sum())}
            row["articles"] = len(set(articles[of_kind > 0]))
            for column, metric in enumerate(MEASURES):
                value, stderr = _ratio(sums[name][number, :, column], of_kind, articles)
                if metric == "nll":
                    metric, value = "perplexity", np.exp(value)
                    stderr *= value
                found.append(row | {"metric": metric, "value": value, "stderr": stderr})
            if kind == ALL and tokenizer is not None:
                value, stderr = _ratio(sums[name][0, :, 0] / np.log(2), _bytes(packed.targets, tokenizer), articles)
                found.append(row | {"metric": "bits_per_byte", "value": value, "stderr": stderr})
    table = pd.DataFrame(found, columns=["model", "tokens", "metric", "value", "stderr", "n", "articles"])
    if not return_blocks:
        return table
    used = counts > 0
    blocks = [
        pd.DataFrame(of[0][used], columns=MEASURES).assign(model=name, n=counts[used], article=articles[used])
        for name, of in sums.items()
    ]
    return table, pd.concat(blocks).rename_axis("block").reset_index()


def compare_text(
    blocks: pd.DataFrame, pairs: Sequence[tuple[str, str]], *, resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Differences of two methods each on the same held-out text, with intervals over articles and, if any, seeds.

    Args:
        blocks: of `text_measures(..., return_blocks=True)`.
        pairs: names of two methods (`replicates`), the second taken from the first.
        resamples, seed: of the bootstrap.

    Returns:
        metric (`nll`, the logarithm of the perplexity in nats, `kl`, `top1_agreement`), difference, low, high, p, n
        (blocks), articles (which are drawn, each with all of its blocks), seeds, model, minus, p_holm (over the table).

    Raises:
        ValueError: an unknown method.
    """
    methods = by_method(dict.fromkeys(blocks["model"]))
    if missing := [name for pair in pairs for name in pair if name not in methods]:
        raise ValueError(f"model {missing[0]!r} is not in the blocks: choose from {', '.join(methods)}")
    articles = blocks.drop_duplicates("block").sort_values("block")["article"].to_numpy()
    drawn, rows = {"clusters": articles, "resamples": resamples, "seed": seed}, []
    for (a, b), metric in product(pairs, ("nll", "kl", "top1_agreement")):
        wide = blocks.pivot(index="model", columns="block", values=metric) / blocks["n"].mean()
        x, y = (wide.loc[methods[name]].to_numpy() for name in (a, b))
        found = paired_seeds(x, y, **drawn)._asdict() | {"articles": len(set(articles))}
        rows.append({"metric": metric} | found | {"seeds": max(len(x), len(y)), "model": a, "minus": b})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def _bytes(targets: torch.Tensor, tokenizer: Any) -> np.ndarray:
    """Bytes of UTF-8 of the next tokens in each block `(B, T)`, special tokens without any, `(B,)`."""
    rows = [row[row != -100].tolist() for row in targets]
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    return np.array([len(tokenizer.decode(row, **options).encode()) for row in rows], dtype=np.float64)


def _add_batch(
    models: Mapping[str, Any],
    family: Relatives,
    packed: Any,
    teacher_name: str,
    kinds: list[torch.Tensor],
    batch: slice,
    chunk: int,
    sums: dict[str, np.ndarray],
) -> None:
    """Add every model's sums a kind of tokens and a block, in the order of `MEASURES`, over the blocks of `batch`."""
    ids, positions, targets = packed.ids[batch], packed.positions[batch], packed.targets[batch]
    valid = targets != -100
    blocks = (torch.arange(batch.start, batch.start + len(ids))[:, None].expand_as(ids))[valid].numpy()
    targets = targets[valid]
    found = zip(models, family.states(ids, positions, [None] * len(models)), strict=True)
    states = {name: of_model[valid.to(of_model.device)] for name, of_model in found}  # (n, d)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        teacher = head_logits(models[teacher_name], states[teacher_name][part]).log_softmax(-1)  # (chunk, v)
        known = teacher.topk(5).indices
        for name, model in models.items():
            if name == teacher_name:
                logprobs, kl = teacher, torch.zeros(len(teacher))
            else:
                logprobs = head_logits(model, states[name][part]).log_softmax(-1).to(teacher.device)
                kl = torch.nn.functional.kl_div(logprobs, teacher, reduction="none", log_target=True).sum(-1)
            wanted = targets[part].to(teacher.device)
            top = logprobs.topk(5).indices
            nll = -logprobs.gather(1, wanted[:, None])[:, 0]
            shared = (top[:, :, None] == known[:, None, :]).any(-1).float().mean(-1)
            same = (top[:, 0] == known[:, 0]).float()
            found = [nll, kl.to(nll.device), same, shared, (top[:, 0] == wanted).float()]
            values = torch.stack(found, dim=1).double().cpu().numpy()
            for number, members in enumerate(kinds):
                mine = members[targets[part]].numpy()
                np.add.at(sums[name][number], blocks[part][mine], values[mine])


def _ratio(sums: np.ndarray, counts: np.ndarray, articles: np.ndarray) -> tuple[float, float]:
    """Mean a position and its standard error from sums and counts a block, for the ratio of two articles' totals."""
    _, member = np.unique(articles, return_inverse=True)
    sums, counts = (np.bincount(member, weights=each) for each in (sums, counts))
    mean = sums.sum() / counts.sum()
    used = counts > 0
    units = int(used.sum())
    if units < 2:
        return float(mean), float("nan")
    residuals = sums[used] - mean * counts[used]
    return float(mean), float(np.sqrt(units / (units - 1) * np.sum(residuals**2)) / counts.sum())
