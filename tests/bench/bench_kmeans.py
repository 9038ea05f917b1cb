"""k-means of all tokens against one scikit-learn call a token, on the teacher's own states (paper, section 3.1).

`python tests/bench/bench_kmeans.py [--tokens N] [--rounds R] [--folder DIR]`; bars: at least 8 times faster; mean
inertia within 1% of scikit-learn's with `n_init=1`; the 99th percentile over the tokens of inertia over the median of
5 scikit-learn seeds at most 1.10. Tokens with at most k states are no problem for either and are left out of the
ratios, but not of the time of `batched_kmeans`. The two alternate; the teacher pass is kept in `--folder`.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from dskd_utils.senses.kmeans import batched_kmeans
from dskd_utils.senses.sample import Sample, plan_sample
from dskd_utils.senses.sample_pass import collect_sample
from dskd_utils.sources.assets import fetch
from dskd_utils.sources.corpora import pack
from dskd_utils.sources.teachers import load_teacher
from dskd_utils.sources.wikipedia import wikipedia_leads

SEEDS = 5
NOTHING = 1e-6  # of the mean squared length: states that are all the same leave rounding alone


def states_of_tokens(name: str, tokens: int, folder: Path) -> Sample:
    """States of the teacher over Wikipedia's leads, filed by the next token."""
    teacher = load_teacher(name)
    text = pack(wikipedia_leads(fetch("wikipedia-leads")), teacher.tokenizer, budget=tokens)
    plan = plan_sample([text], teacher.vocab_size)
    return collect_sample(teacher, [text], plan, folder / f"{teacher.name}-{tokens}")


def one_call_a_token(rows: list[np.ndarray], k: int, seed: int) -> np.ndarray:
    return np.array([KMeans(k, n_init=1, random_state=seed).fit(group).inertia_ for group in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=SEEDS, help=f"at most {SEEDS}")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # duplicates: fewer clusters than k
    with tempfile.TemporaryDirectory() as temporary:
        sample = states_of_tokens(given.teacher, given.tokens, given.folder or Path(temporary))
        values, offsets = sample.values.clone(), sample.offsets
    counts = offsets.diff()
    places = (counts > given.k).nonzero().flatten()
    rows = [values[offsets[i] : offsets[i + 1]].float().numpy() for i in places.tolist()]
    print(
        f"{given.teacher}: {len(values):,} states of {int((counts > 0).sum()):,} tokens, {len(rows):,} with more than "
        f"{given.k} (most {int(counts.max()):,}), {torch.get_num_threads()} threads"
    )
    theirs, ours, times = [], [], []
    batched_kmeans(values[: offsets[200]], offsets[:201], given.k)  # both libraries start their threads
    one_call_a_token(rows[:3], given.k, 0)
    for seed in range(SEEDS):
        began = time.perf_counter()
        theirs.append(one_call_a_token(rows, given.k, seed))
        between = time.perf_counter()
        if seed < given.rounds:
            ours.append(batched_kmeans(values, offsets, given.k, seed=seed).inertia[places].double().numpy())
            times.append((between - began, time.perf_counter() - between))
    ratios = [slow / fast for slow, fast in times]
    print(
        f"seconds: scikit-learn {statistics.median(t[0] for t in times):.2f}, batched "
        f"{statistics.median(t[1] for t in times):.2f}; times faster: {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} rounds)"
    )
    scale = np.array([np.square(group - group.mean(0)).sum() + NOTHING * np.square(group).sum() for group in rows])
    median = np.median(theirs, 0)
    real = median > NOTHING * scale
    print(f"{int((~real).sum())} tokens whose states are all but {given.k} the same left out of the ratios of tokens")
    share = np.mean(ours) / np.mean(theirs)
    print(f"inertia summed over tokens and seeds, batched over scikit-learn's: {share:.4f}")
    for name, found in {"batched": ours, "scikit-learn": theirs}.items():
        each = [one[real] / median[real] for one in found]
        tails = ", ".join(f"{np.quantile(one, 0.99):.3f}" for one in each)
        print(
            f"inertia over the median of {SEEDS} scikit-learn seeds, {name}: "
            f"mean {np.mean(each):.4f}, 99th percentile by seed {tails}"
        )


if __name__ == "__main__":
    main()
