"""What the intervals of the page on the evaluation say, in words (paper, section 5, which gives none)."""

from collections.abc import Mapping, Sequence

import pandas as pd

from dskd_utils.evaluate.significance import SMALLEST
from dskd_utils.report.tables import METHODS
from dskd_utils.report.verdicts import NORMAL

UNITS = {  # of the measures with a smallest difference that would matter
    "gold_logprob": "nats of the right answer's log-probability",
    "acc": "of an accuracy",
    "acc_norm": "of an accuracy by likelihood",
    "f1": "of an F1",
    "area": "of an area under the curve",
    "correlation": "of a rank correlation",
    "nll": "nats of nll on held-out text",
    "kl": "nats of KL there",
    "top1_agreement": "of an agreement with the teacher there",
}


def reads() -> str:
    """What a table's column *reads* means, with the smallest difference that would matter of every measure."""
    told = [f"{SMALLEST[measure]:g} {unit}" for measure, unit in UNITS.items()]
    return (
        "*Reads* says what an interval means, given the smallest difference that would matter: "
        f"{', '.join(told[:-1])}, and {told[-1]}. An interval that leaves out zero reads *higher* or *lower*, with *by "
        "less than matters* where it lies within that difference too. One that holds zero reads *the same* where it is "
        "so narrow that it lies within that difference, and *not told apart* where it is wider: then what was asked "
        "does not tell the two models apart."
    )


def like_a_guesser(rows: pd.DataFrame, parts: Mapping[str, str]) -> str:
    """A sentence on where the teacher's own 95% interval does not lie above a guesser's level.

    Args:
        rows: one measure of `evaluate(...)`, whose intervals are made of standard errors, or of `probe_table`.
        parts: the tasks or subsets that are shown, and what they are called; one without a guesser's level is left out.
    """
    own = rows[(rows.model == "teacher") & rows.chance.notna()]
    own = own[own.minus == ""] if "minus" in own else own
    low = own.low if "low" in own else own.value - NORMAL * own.stderr
    above = dict(zip(own["task" if "task" in own else "subset"], low > own.chance, strict=True))
    asked = {name: above[part] for part, name in parts.items() if part in above}
    if not asked:
        return ""
    lost = [name for name, known in asked.items() if not known]
    if not lost:
        return f"The teacher stands above a guesser in all of this: {', '.join(asked)}."
    return (
        f"The teacher itself cannot be told from a guesser here: {', '.join(lost)}. Its interval does not lie above "
        "chance, so this says nothing about any student."
    )


def gains_over(probed: Mapping[str, tuple[pd.DataFrame, str, str]], base: str, methods: Sequence[str]) -> pd.DataFrame:
    """What methods gain over another on several probes, for a forest plot.

    Args:
        probed: name -> the probe's `probe_table`, which of its measures, which of its subsets.
        base: the method that is taken away.
        methods: the others.

    Returns:
        probe, method (as shown), value, low, high, p_holm, n.
    """
    found = []
    for name, (table, measure, subset) in probed.items():
        own = table[(table.measure == measure) & (table.subset == subset) & (table.minus == base)]
        found.append(own[own.model.isin(list(methods))].assign(probe=name))
    rows = pd.concat(found).assign(method=lambda t: t.model.map(lambda name: METHODS.get(name, name)))
    return rows[["probe", "method", "value", "low", "high", "p_holm", "n"]].reset_index(drop=True)
