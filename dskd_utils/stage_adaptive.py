"""Numbers of senses a token as stages, and what they are worth on text that was not clustered (paper, section 8)."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dskd_utils.artefacts import atomic_folder, code_digest, read_manifest, write_manifest
from dskd_utils.senses.adaptive import (
    CRITERIA,
    OWN_TOTAL,
    held_out_errors,
    inertia_curves,
    sense_counts,
    split_by_block,
)
from dskd_utils.senses.kmeans import centroid_offsets
from dskd_utils.senses.sample import Sample
from dskd_utils.study import Study

CODE = ("senses/adaptive.py", "senses/kmeans.py")
FIXED = "fixed"


def numbers_of_senses(study: Study, sample: Sample, sample_folder: Path, criterion: str, k: int) -> Tensor:
    """Senses of every token by a criterion, all together no more than with `k` for each token, but for `"bic-own"`.

    Args:
        study: an open study.
        sample, sample_folder: of `sampled_states`.
        criterion: as in `sense_counts`.
        k: of the dictionary with a fixed number whose size is kept.

    Returns:
        `(v,)` int64.
    """
    curves = _curves(study, sample, sample_folder)
    total = int(centroid_offsets(sample.offsets, k)[-1])
    return sense_counts(criterion, curves, sample.offsets.diff(), sample.values.shape[1], total=total)


def _curves(study: Study, sample: Sample, sample_folder: Path) -> Tensor:
    parameters = {"sample": sample_folder.name, "seed": study.seed, "code": code_digest(*CODE)}
    folder = study.stage("senses", "curves", parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        curves = inertia_curves(sample.values, sample.offsets, seed=study.seed)
        with atomic_folder(folder) as temporary:
            save_file({"curves": curves}, temporary / "curves.safetensors")
            write_manifest(temporary, "inertia curves", parameters, started)
    return load_file(folder / "curves.safetensors")["curves"]


@dataclass(frozen=True)
class HeldOut:
    """Errors of ways to choose the number of senses.

    Attributes:
        errors: a row a held-out state whose token was seen elsewhere: `token`, and a column fp32 for each way.
        senses: how many senses each way used.
    """

    errors: pd.DataFrame
    senses: dict[str, int]


def held_out(study: Study, sample: Sample, sample_folder: Path, k: int, *, share: float = 0.2) -> HeldOut:
    """Squared distance of held-out states to their token's nearest sense, for every way to choose the number of senses.

    A part of the blocks of text is held out; numbers and senses come from the rest alone, at the same total for all
    but `one`, a single sense a token, and `bic-own`.

    Args:
        study: an open study.
        sample, sample_folder: of `sampled_states`.
        k: senses a token of the way `fixed`, which sets the total.
        share: of the blocks held out.

    Returns:
        the errors, and how many senses each way used.
    """
    parameters = {"sample": sample_folder.name, "k": k, "share": share, "seed": study.seed, "code": code_digest(*CODE)}
    parameters["block"] = study.profile.block
    folder = study.stage("senses", f"held-out-k{k}", parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        held = split_by_block(sample.plan, study.profile.block, share=share, seed=study.seed)
        width = sample.values.shape[1]

        def chosen(criterion: str, curves: Tensor, counts: Tensor) -> Tensor:
            total = int(counts.clamp(max=k).sum())
            return sense_counts(criterion, curves, counts, width, total=total)

        ways = {FIXED: lambda _, counts: torch.full_like(counts, k), "one": lambda _, counts: torch.ones_like(counts)}
        ways |= {criterion: partial(chosen, criterion) for criterion in (*CRITERIA, OWN_TOTAL)}
        errors, sizes, tokens = held_out_errors(sample.values, sample.offsets, held, ways, seed=study.seed)
        with atomic_folder(folder) as temporary:
            found = pd.DataFrame({"token": tokens.int().numpy()} | {name: e.numpy() for name, e in errors.items()})
            found.to_parquet(temporary / "errors.parquet", index=False)
            write_manifest(temporary, "held-out errors", parameters, started, senses=sizes, states=len(found))
    return HeldOut(pd.read_parquet(folder / "errors.parquet"), read_manifest(folder)["facts"]["senses"])
