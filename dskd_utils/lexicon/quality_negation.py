"""How good the bases of negated words are, against words labelled by hand (section 3.2, Table 1)."""

from pathlib import Path

from scipy.stats import binomtest

from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.text_files import read_lines

NO_BASE = "-"


LABELS = Path(__file__).with_name("negation_labels.tsv")  # 300 random affixed words of WordNet and Roget


def read_labels(path: str | Path = LABELS) -> dict[str, str | None]:
    """Words with their bases from a file of lines `word<TAB>base`, where `-` stands for a word that is no negation.

    A prefix is taken off the whole word (unhappiness, happiness); the base of -less and -lessness is the noun.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a word and a label, or a word comes twice; the message names file and line.
    """
    labels: dict[str, str | None] = {}
    for number, line in read_lines(path):
        word, tab, base = line.partition("\t")
        if not (word and base) or "\t" in base:
            raise ValueError(f"{path}, line {number}: expected a word, a tab and its base or -, found {line[:60]!r}")
        if word in labels:
            raise ValueError(f"{path}, line {number}: {word!r} has a label already; keep one of the two")
        labels[word] = None if base == NO_BASE else base
    return labels


def score(negation: Negation, labels: dict[str, str | None]) -> dict:
    """Precision and recall of `Negation.base` on labelled words.

    Args:
        labels: word -> base, or None for a word that is no negation, as `read_labels` gives them.

    Returns:
        Counts: `words`, `negations` among them, `given` (words that got a base), `right` (the labelled one). Shares
        with the limits of Wilson's 95% interval: `precision` = right / given, `recall` = right / negations, with
        `precision_low`, `precision_high`, `recall_low`, `recall_high`; NaN where there is nothing to divide by.
        `wrong`: (word, given base, label) of every wrong base; `missed`: (word, label) of negations without one.
    """
    given = {word: base for word in labels if (base := negation.base(word))}
    wrong = [(word, base, labels[word]) for word, base in given.items() if base != labels[word]]
    negations = sum(base is not None for base in labels.values())
    right = len(given) - len(wrong)
    counts = {"words": len(labels), "negations": negations, "given": len(given), "right": right}
    missed = [(word, base) for word, base in labels.items() if base and word not in given]
    shares = _share("precision", right, len(given)) | _share("recall", right, negations)
    return counts | shares | {"wrong": wrong, "missed": missed}


def _share(name: str, successes: int, total: int) -> dict[str, float]:
    if not total:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    low, high = binomtest(successes, total).proportion_ci(0.95, method="wilson")
    return {name: successes / total, f"{name}_low": float(low), f"{name}_high": float(high)}
