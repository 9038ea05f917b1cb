"""Are more senses where there are more meanings? Adaptive numbers of senses, judged (paper, section 8)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor

from dskd_utils.evaluate.significance import paired_bootstrap
from dskd_utils.lexicon.spans import MIN_HEAD_LENGTH, word_spans

RESAMPLES = 2000
LEAST_STATES = 30  # of a word whose number of senses is worth a look


def error_table(errors: pd.DataFrame, senses: Mapping[str, int], fixed: str = "fixed") -> pd.DataFrame:
    """Held-out squared distance to the nearest sense for every way to choose the number of senses.

    Args:
        errors: `token` and a column a way, a row a held-out state.
        senses: how many senses each way used.
        fixed: the way that the others are compared with.

    Returns:
        a row a way: `way, senses, error`, and the paired relative difference to `fixed` as `difference, low, high` with
        a 95% interval over resampled tokens, and `n`, the states.
    """
    reference = errors[fixed].to_numpy(float)
    rows = []
    for way, used in senses.items():
        values = errors[way].to_numpy(float)
        found = paired_bootstrap(values, reference, clusters=errors.token.to_numpy(), resamples=RESAMPLES)
        relative = [number / reference.mean() for number in found[:3]]
        rows.append([way, used, values.mean(), *relative, found.n])
    return pd.DataFrame(rows, columns=["way", "senses", "error", "difference", "low", "high", "n"])


def words_by_senses(
    numbers: Mapping[str, Tensor],
    counts: Tensor,
    tokenizer,
    wordnet: Mapping[tuple[str, str], Sequence[str]],
    *,
    least: int = LEAST_STATES,
) -> pd.DataFrame:
    """Words of one token with their numbers of senses, beside how many meanings WordNet lists.

    Args:
        numbers: for each criterion `(v,)` int64 senses of every token.
        counts: `(v,)` int64 states of every token.
        tokenizer: the teacher's.
        wordnet: sense keys of (lemma, part of speech).
        least: fewest states of a word that is taken.

    Returns:
        columns `word, states, wordnet` and one a criterion; lower-case lemmas of WordNet by the alphabet.

    Raises:
        ValueError: no word is one token with that many states.
    """
    meanings: dict[str, int] = defaultdict(int)
    for (lemma, _), senses in wordnet.items():
        if lemma.isalpha() and lemma.islower() and len(lemma) >= MIN_HEAD_LENGTH:
            meanings[lemma] += len(senses)
    spans = word_spans(sorted(meanings), tokenizer)
    tokens = {word: span[0] for word, span in spans.items() if len(span) == 1 and counts[span[0]] >= least}
    if not tokens:
        raise ValueError(
            f"no word of WordNet is one token of this vocabulary with {least} states or more: give the study more "
            "text, or a teacher whose vocabulary has whole words"
        )
    places = list(tokens.values())
    table = {"word": list(tokens), "states": counts[places].tolist(), "wordnet": [meanings[word] for word in tokens]}
    return pd.DataFrame(table | {name: k[places].tolist() for name, k in numbers.items()})


def extremes(words: pd.DataFrame, criterion: str, count: int = 12) -> pd.DataFrame:
    """The words of most and of fewest senses for their frequency, `count` each.

    Numbers of senses rise with the number of states, so a word is compared with what is typical: the median over words
    with as many states to a factor of two. Function words (scikit-learn's English stop words) are left out. Of equal
    ratios the word with more states comes first.

    Returns:
        columns `kind, word, states, senses, typical, wordnet`; `kind` is `"most"` or `"fewest"`.
    """
    octave = np.log2(words.states).astype(int)
    typical = words.groupby(octave)[criterion].transform("median")
    table = words.assign(senses=words[criterion], typical=typical, ratio=words[criterion] / typical)
    table = table[~table.word.isin(ENGLISH_STOP_WORDS)]
    most = table.sort_values(["ratio", "states", "word"], ascending=[False, False, True]).head(count)
    fewest = table.sort_values(["ratio", "states", "word"], ascending=[True, False, True]).head(count)
    found = pd.concat([most.assign(kind="most"), fewest.assign(kind="fewest")], ignore_index=True)
    return found[["kind", "word", "states", "senses", "typical", "wordnet"]]


def agreement(words: pd.DataFrame, criteria: Sequence[str], *, seed: int = 0) -> pd.DataFrame:
    """Spearman's correlation of a criterion's numbers of senses with WordNet's, alone and at equal frequency.

    The second is the partial rank correlation given the number of states: both counts rise with frequency. Intervals
    are 95% percentiles over resampled words.

    Returns:
        columns `criterion, measure, value, low, high, n`; `measure` is `"spearman"` or `"partial"`. NaN where a number
        is the same for all words.
    """
    draw = np.random.default_rng(seed)
    resampled = draw.integers(0, len(words), size=(RESAMPLES, len(words)))
    rows = []
    for criterion in criteria:
        columns = words[[criterion, "wordnet", "states"]].to_numpy(float)
        found = np.array([_correlations(columns[rows_of]) for rows_of in (np.arange(len(words)), *resampled)])
        for number, measure in enumerate(("spearman", "partial")):
            drawn = found[1:, number]
            low, high = np.quantile(drawn, [0.025, 0.975]) if np.isfinite(drawn).all() else (np.nan, np.nan)
            rows.append([criterion, measure, found[0, number], low, high, len(words)])
    return pd.DataFrame(rows, columns=["criterion", "measure", "value", "low", "high", "n"])


def _correlations(columns: np.ndarray) -> tuple[float, float]:
    """Rank correlation of the first two columns, and the partial one given the third."""
    ranks = rankdata(columns, axis=0)
    if not (ranks.std(axis=0)[:2] > 0).all():
        return np.nan, np.nan
    ab, ac, bc = np.corrcoef(ranks[:, :2].T)[0, 1], *_with_third(ranks)
    rest = np.sqrt((1 - ac**2) * (1 - bc**2))
    return ab, (ab - ac * bc) / rest if rest > 0 else np.nan


def _with_third(ranks: np.ndarray) -> tuple[float, float]:
    if ranks[:, 2].std() == 0:
        return 0.0, 0.0
    both = np.corrcoef(ranks.T)[2]
    return both[0], both[1]
