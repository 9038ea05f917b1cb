"""Several training seeds of one method, told apart by name and put together in tables (paper, section 5, Table 3's ±).

A method's first seed has the method's name, its further ones the name, `@` and a number: `dskd`, `dskd@1`, `dskd@2`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

MARK = "@"


def replicate(method: str, number: int) -> str:
    """The name of a method's seed: the method's own for number 0."""
    return f"{method}{MARK}{number}" if number else method


def by_method(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of each method's seeds, methods and seeds in the order of the names."""
    found: dict[str, list[str]] = {}
    for name in names:
        method, _, number = name.rpartition(MARK)
        found.setdefault(method if method and number.isdigit() else name, []).append(name)
    return found


def common_seeds(students: Iterable[str], failed: Iterable[str]) -> tuple[list[str], list[str]]:
    """The students that can be compared, and those left out, where the training of some has failed.

    Seeds are compared in pairs, so a seed of which one student failed is left out for all methods; a method that failed
    in each of its seeds is left out alone.

    Raises:
        ValueError: no student of KD or of DSKD is left.
    """
    students, failed = list(students), list(failed)
    trained = by_method(students)
    gone = {_number(name) for method, names in by_method(failed).items() if method in trained for name in names}
    kept = [name for name in students if _number(name) not in gone]
    if missing := [method for method in ("kd", "dskd") if method not in by_method(kept)]:
        raise ValueError(
            f"no seed is left of which {' and '.join(missing)} and the controls were all trained to the end: lower the "
            "learning rate, or train fewer controls, by 04-distillation"
        )
    return kept, [*failed, *(name for name in students if name not in kept)]


def _number(name: str) -> int:
    method, _, number = name.rpartition(MARK)
    return int(number) if method and number.isdigit() else 0


def over_seeds(table: pd.DataFrame, of: Sequence[str]) -> pd.DataFrame:
    """A table of values with one row a method in place of one a seed.

    Args:
        table: with `model`, `value` and `stderr`, as `benchmarks.evaluate` and `text.text_measures` give it.
        of: columns that, with the method, name one value, such as task and metric.

    Returns:
        the first seed's rows with `value` the mean over seeds, `stderr` the mean of their standard errors (that of the
        questions; seeds answer the same ones), `deviation` the standard deviation over seeds (NaN for one seed) and
        `seeds`, how many.
    """
    if not len(table):
        return table.assign(deviation=np.nan, seeds=0)
    methods = {name: method for method, names in by_method(table["model"].unique()).items() for name in names}
    table = table.assign(model=table["model"].map(methods))
    groups = table.groupby(["model", *of], sort=False, dropna=False)
    found = groups.head(1).reset_index(drop=True)
    found["deviation"] = groups["value"].std().to_numpy()
    for column in ("value", "stderr"):
        found[column] = groups[column].mean().to_numpy()
    return found.assign(seeds=groups.size().to_numpy())
