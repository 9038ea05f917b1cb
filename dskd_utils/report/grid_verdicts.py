"""What grids of students make of a claim of the paper: what is seen and a verdict, by rules (paper, section 6).

Pure functions on loaded results. Students are judged by agreement with the teacher's top token on validation text.
"""

import math
from collections.abc import Mapping
from typing import Any

from dskd_utils.evaluate.significance import SMALLEST, verdict
from dskd_utils.report.paper import STATED
from dskd_utils.report.verdicts import (
    HELD,
    MEASURE,
    NORMAL,
    NOT,
    UNCLEAR,
    UNTESTED,
    NotRunError,
    Results,
    gap,
    interval,
    is_number,
    piece,
)
from dskd_utils.sources.presets import preset

WITH_BOTH = ("divergence", "trained-layers")  # grids that train both methods, the preset's settings among them
SETTINGS = ("k", "kappa", "beta", "alpha", "lr", "temperature", "trainable_layers", "init", "margin_quantile")


def cells(results: Results, grid: str, setting: str, method: str = "dskd") -> dict[float, Mapping[str, Any]]:
    """The students of a grid by the value of one setting.

    Raises:
        NotRunError: the grid or the method is not there, or all its students failed; says why.
    """
    rows = _of(results, grid, setting, method)
    found = {value: row for value, row in rows.items() if is_number(row.get(MEASURE))}
    if not found:
        raise NotRunError(_lost(results, grid, setting, method) or "not run here")
    return found


def failures(results: Results, grid: str, setting: str, method: str = "dskd") -> dict[float, str]:
    """`failed: <error>` of the students of a grid that were not trained to the end, by the value of one setting."""
    rows = _of(results, grid, setting, method)
    return {value: f"failed: {row['failed']}" for value, row in rows.items() if row.get("failed")}


def _of(results: Results, grid: str, setting: str, method: str) -> dict[float, Mapping[str, Any]]:
    rows = ((results.get("06-ablations") or {}).get("grids") or {}).get(grid) or []
    return {float(row[setting]): row for row in rows if row["method"] == method and is_number(row.get(setting))}


def _lost(results: Results, grid: str, setting: str, method: str = "dskd") -> str:
    return "; ".join(f"{setting} {value:g} {text}" for value, text in failures(results, grid, setting, method).items())


def no_room(results: Results, grid: str) -> str:
    """What the whole sense loss moves at the preset, `; DSKD - KD ...`: a setting of it can hardly move more.

    Of the grid itself where it has both methods, else of one that has; empty where none has.
    """
    record = results.get("06-ablations") or {}
    usual = preset(str(record.get("teacher", "")))
    for name in dict.fromkeys((grid, *WITH_BOTH)):
        rows = [row for row in record.get("grids", {}).get(name) or [] if is_number(row.get(MEASURE))]
        rows = [row for row in rows if all(row[key] == usual.get(key) for key in _set(row))]
        at = {
            (row["method"], row["layers"]): row for row in rows if row["layers"] == record.get("preset", row["layers"])
        }
        for (method, layers), row in at.items():
            if method == "dskd" and ("kd", layers) in at:
                moved = gap(row, at["kd", layers])
                reads = verdict(*moved[1:], SMALLEST[MEASURE])
                seen = "; the whole sense loss, DSKD \N{MINUS SIGN} KD at the preset"
                seen += "" if name == grid else f" in the grid `{name}`"
                seen += f": {interval(*moved)}, {reads}"
                return seen + (", so no setting of the sense loss had much room here" if reads == "the same" else "")
    return ""


def _set(row: Mapping[str, Any]) -> list[str]:
    """The settings that a student of a grid names."""
    return [name for name in SETTINGS if isinstance(row.get(name), str) or is_number(row.get(name))]


def settled(results: Results, grid: str, setting: str, first: float, enough: float) -> tuple[str, str]:
    """Tables 4 and 5: what `saturation` sees of DSKD in a grid, and what the whole sense loss moves."""
    rows, lost = cells(results, grid, setting), _lost(results, grid, setting)
    try:
        seen, ruling = saturation(rows, first, enough)
    except NotRunError:
        raise NotRunError(lost or "not run here") from None
    return "; ".join(filter(None, (seen, lost))) + no_room(results, grid), ruling


def saturation(rows: Mapping[float, Mapping[str, Any]], first: float, enough: float) -> tuple[str, str]:
    """Whether a setting gains up to `enough` and no further: what is seen, and the verdict.

    Held up: `enough` is above `first`, and nothing larger is above it by more than would matter. Did not: it is not
    above `first`, or something larger is. Else not told apart.

    Raises:
        NotRunError: one of the two, or everything larger, is missing.
    """
    larger = sorted(value for value in rows if value > enough)
    if first not in rows or enough not in rows or not larger:
        raise NotRunError("not run here")
    gain = gap(rows[enough], rows[first])
    gained = verdict(*gain[1:], SMALLEST[MEASURE])
    beyond = {value: gap(rows[value], rows[enough]) for value in larger}
    more = [verdict(*one[1:], SMALLEST[MEASURE]) for one in beyond.values()]
    best = max(beyond, key=lambda value: beyond[value][0])
    seen = f"{enough:g} against {first:g}: {interval(*gain)}, {gained}; {best:g}, the best of the larger, against "
    seen += f"{enough:g}: {interval(*beyond[best])}, {more[larger.index(best)]}"
    far = any(low > SMALLEST[MEASURE] for _, low, _ in beyond.values())
    settled = all(high < SMALLEST[MEASURE] for _, _, high in beyond.values())
    if far or gained == "the same" or gained.startswith("lower"):
        return seen, NOT
    return seen, HELD if gained.startswith("higher") and settled else UNCLEAR


def best_beta(results: Results) -> tuple[str, str]:
    """Table 6: a weight of 1 to 1.5 above all others."""
    rows, lost = cells(results, "weights", "beta"), _lost(results, "weights", "beta")
    inside, outside = [b for b in rows if 1 <= b <= 1.5], [b for b in rows if not 1 <= b <= 1.5]
    if not inside or not outside:
        raise NotRunError(lost or "not run here")
    best = max(inside, key=lambda beta: rows[beta][MEASURE])
    gaps = {beta: gap(rows[best], rows[beta]) for beta in sorted(outside)}
    read = [verdict(*one[1:], SMALLEST[MEASURE]) for one in gaps.values()]
    pairs = zip(gaps.items(), read, strict=True)
    told = [f"{best:g} against {beta:g}: {interval(*one)}, {said}" for (beta, one), said in pairs]
    seen = "; ".join(filter(None, (*told, lost))) + no_room(results, "weights")
    if any(one.startswith("lower") for one in read) or all(one == "the same" for one in read):
        return seen, NOT
    return seen, HELD if all(one.startswith("higher") for one in read) else UNCLEAR


def cliff(results: Results) -> tuple[str, str]:
    """Section 6.1, Figure 3a: half the layers keep much, fewer do not."""
    rows = piece(results, "06-ablations", "grids", "depth")
    whole = max(row["layers"] for row in rows if row["method"] == "teacher")
    by_layers = {layers: row for layers, row in cells(results, "depth", "layers", "kd").items() if layers < whole}
    depths = sorted(by_layers)
    half = next((layers for layers in depths if 0.45 <= layers / whole <= 0.6), None)
    if half is None:
        raise NotRunError("no student of about half the layers was trained")
    value, spread = by_layers[half][MEASURE], NORMAL * by_layers[half][f"{MEASURE}_stderr"]
    kept = interval(value, value - spread, value + spread, "{:.1%}")
    seen = f"{half:g} of {whole:g} layers agree with the teacher's top token at {kept} of the positions; "
    if depths[0] >= half:
        lost = _lost(results, "depth", "layers", "kd")
        return seen + (lost or "no student of fewer than half the layers was trained"), UNTESTED
    slopes = {
        (a, b): (by_layers[b][MEASURE] - by_layers[a][MEASURE]) / (b - a)
        for a, b in zip(depths, depths[1:], strict=False)
    }
    low, high = max(slopes, key=lambda pair: slopes[pair])
    seen += f"the fall is steepest between {high:g} and {low:g} layers"
    if math.isnan(spread):
        return seen, UNCLEAR
    if value + spread < STATED["kept by KD, low"]:
        return seen, NOT
    if value - spread < STATED["kept by KD, low"]:
        return seen, UNCLEAR
    return seen, HELD if high <= half else NOT


def trained_layers(results: Results) -> tuple[str, str]:
    """Section 6.1, Figure 3b: a second trained layer gains, a third does not."""
    found = {}
    for method, name in (("kd", "KD"), ("dskd", "DSKD")):
        found[name] = saturation(cells(results, "trained-layers", "trainable_layers", method), 1, 2)
    seen = ". ".join(f"{name}: {text}" for name, (text, _) in found.items())
    rulings = [ruling for _, ruling in found.values()]
    return seen, NOT if NOT in rulings else HELD if set(rulings) == {HELD} else UNCLEAR
