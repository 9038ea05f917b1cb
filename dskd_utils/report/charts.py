"""Charts of results that follow the page's theme: differences with intervals, and curves (paper, Table 3, Figure 3).

They are drawn where the book is built, from the results files alone, so they need no plotting library.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dskd_utils.report.svg import Drawing

COLOURS = ("blue", "orange", "green", "purple")


def _is_square(order: int) -> bool:
    """The mark of a series: with four colours, the first eight series look different."""
    return (order + order // len(COLOURS)) % 2 == 1


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`.

    Raises:
        ValueError: the range is empty.
    """
    if not high > low:
        raise ValueError(f"the range must have a length: got {low} to {high}")
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _label(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def forest(name: str, title: str, rows: Sequence[Mapping[str, Any]], unit: str, smallest: float) -> Drawing:
    """Differences as dots with their intervals, a row each, beside zero and the band of what would not matter.

    Args:
        name: for the ids inside, one word.
        title: what is to be seen.
        rows: `label`, `difference`, `low`, `high` and `reads` each, and `series` where several share their labels; an
            interval that is not known (NaN) is left out.
        unit: of the differences.
        smallest: the half width of the band.

    Raises:
        ValueError: no row.
    """
    if not rows:
        raise ValueError("there is no difference to draw: give at least one row")
    series = list(dict.fromkeys(row["series"] for row in rows if row.get("series")))
    longest = max(len(row["label"]) for row in rows)
    told_apart = max(len(row["reads"]) for row in rows)
    left, right = max(96, round(8.7 * longest + 16)), min(440, round(588 - 6.8 * told_apart))
    places, x_next, line = [], 6, 0
    for key in series:  # the legend, as many names a line as fit
        width = 36 + 7.8 * len(key)
        if places and x_next + width > 594:
            x_next, line = 6, line + 1
        places.append((x_next + 6, 18 + 24 * line))
        x_next += width
    top, step = (42 + 24 * line, 26) if series else (18, 34)
    bottom = top + step * len(rows) + 4
    ends = [row[end] for row in rows for end in ("difference", "low", "high") if not math.isnan(row[end])]
    reach = 1.08 * max([smallest, *map(abs, ends)])

    def x(value: float) -> float:
        return left + (right - left) * (value + reach) / (2 * reach)

    told = "; ".join(
        (f"{row['series']}, " if row.get("series") else "")
        + f"{row['label']}: {row['difference']:+.3f}, "
        + ("" if math.isnan(row["low"]) else f"interval {row['low']:+.3f} to {row['high']:+.3f}, ")
        + row["reads"]
        for row in rows
    )
    d = Drawing(name, 600, bottom + 46, title, told)
    d.parts.append(
        f'<rect x="{x(-smallest):g}" y="{top}" width="{x(smallest) - x(-smallest):g}" height="{bottom - top:g}" '
        'fill="var(--card)"/>'
    )
    d.line([(left, bottom), (right, bottom)])
    d.line([(x(0), top), (x(0), bottom)], colour="soft", dash="4 4")
    for value in ticks(-reach, reach, 4):
        d.line([(x(value), bottom), (x(value), bottom + 5)])
        d.text(x(value), bottom + 20, _label(value), anchor="middle", size=13, colour="soft")
    d.text((left + right) / 2, bottom + 39, unit, anchor="middle", size=13, colour="soft")
    for order, (key, (across, y)) in enumerate(zip(series, places, strict=True)):
        d.dot(across, y, 5, colour=COLOURS[order % len(COLOURS)], square=_is_square(order))
        d.text(across + 12, y + 5, key, size=13)
    for place, row in enumerate(rows):
        y, order = top + step * (place + 0.5), series.index(row["series"]) if row.get("series") else 0
        colour = COLOURS[order % len(COLOURS)]
        if not place or rows[place - 1]["label"] != row["label"]:
            d.text(left - 10, y + 5, row["label"], anchor="end")
        if not math.isnan(row["low"]):
            d.line([(x(row["low"]), y), (x(row["high"]), y)], colour=colour, width=2.5)
        d.dot(x(row["difference"]), y, 5.5, colour=colour, square=_is_square(order))
        d.text(right + 12, y + 5, row["reads"], size=13, colour="soft")
    return d


def _axes(
    d: Drawing,
    box: tuple[float, float, float],
    across: Mapping[float, float],
    up: Mapping[float, float],
    x_label: str,
    y_label: str,
) -> None:
    """Grid lines and numbers of both axes by their places; `box` is the left, right and bottom end."""
    left, right, bottom = box
    for y, value in up.items():
        d.line([(left, y), (right, y)], colour="card")
        d.text(left - 8, y + 4, _label(value), anchor="end", size=13, colour="soft")
    for x, value in across.items():
        d.line([(x, bottom), (x, bottom + 5)])
        d.text(x, bottom + 20, _label(value), anchor="middle", size=13, colour="soft")
    d.line([(left, bottom), (right, bottom)])
    d.text((left + right) / 2, bottom + 40, x_label, anchor="middle", size=13, colour="soft")
    d.text(8, 16, y_label, size=13, colour="soft")


def curves(
    name: str,
    title: str,
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    x_label: str,
    y_label: str,
) -> Drawing:
    """Lines with error bars over a common axis, a legend above.

    Args:
        name: for the ids inside, one word.
        title: what is to be seen.
        series: of each line its points `(x, y, standard error)`.
        x_label, y_label: with units.

    Raises:
        ValueError: no point.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        raise ValueError("there is no point to draw: give at least one series")
    left, right, top, bottom = 70, 580, 44, 250
    xs = sorted({point[0] for point in points})
    y_low, y_high = min(y - 2 * e for _, y, e in points), max(y + 2 * e for _, y, e in points)
    room = 0.06 * (y_high - y_low) or 0.01
    y_low, y_high = y_low - room, y_high + room
    span = xs[-1] - xs[0] or 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + 16 + (right - left - 32) * (x - xs[0]) / span
        return round(across, 1), round(bottom - (bottom - top) * (y - y_low) / (y_high - y_low), 1)

    told = ". ".join(f"{key}: " + ", ".join(f"{x:g}: {y:.3f}" for x, y, _ in line) for key, line in series.items())
    d = Drawing(name, 600, 296, title, told)
    across = {place(x, y_low)[0]: x for x in xs}
    _axes(d, (left, right, bottom), across, {place(xs[0], v)[1]: v for v in ticks(y_low, y_high)}, x_label, y_label)
    for order, (key, line) in enumerate(series.items()):
        colour, square = COLOURS[order % len(COLOURS)], _is_square(order)
        d.line([place(x, y) for x, y, _ in line], colour=colour, width=2, dash="6 4" if square else "")
        for x, y, error in line:
            d.line([place(x, y - error), place(x, y + error)], colour=colour, width=2)
            d.dot(*place(x, y), 5, colour=colour, square=square)
        d.dot(right - 150 + 90 * order, 12, 5, colour=colour, square=square)
        d.text(right - 138 + 90 * order, 17, key, size=13)
    return d


def scatter(name: str, title: str, rows: Sequence[Mapping[str, Any]], x_label: str, y_label: str) -> Drawing:
    """Points with vertical error bars, a ring around those that are marked, a legend above.

    Args:
        name: for the ids inside, one word.
        title: what is to be seen.
        rows: `label`, `series`, `x`, `y`, `error` and `marked` each.
        x_label, y_label: with units.

    Raises:
        ValueError: no row.
    """
    if not rows:
        raise ValueError("there is no point to draw: give at least one row")
    left, right, top, bottom = 70, 580, 44, 290
    ends = [row["y"] + sign * row["error"] for row in rows for sign in (-1, 1)]
    x_low, x_high = _widened(min(row["x"] for row in rows), max(row["x"] for row in rows))
    y_low, y_high = _widened(min(ends), max(ends))

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (right - left) * (x - x_low) / (x_high - x_low)
        return round(across, 1), round(bottom - (bottom - top) * (y - y_low) / (y_high - y_low), 1)

    told = "; ".join(
        f"{row['label']}: {row['x']:.4g}, {row['y']:.3f}" + (", chosen" if row["marked"] else "") for row in rows
    )
    d = Drawing(name, 600, 336, title, told)
    across = {place(value, y_low)[0]: value for value in ticks(x_low, x_high)}
    _axes(d, (left, right, bottom), across, {place(x_low, v)[1]: v for v in ticks(y_low, y_high)}, x_label, y_label)
    series = list(dict.fromkeys(row["series"] for row in rows))
    for order, key in enumerate(series):
        d.dot(right - 250 + 80 * order, 12, 5, colour=COLOURS[order % len(COLOURS)], square=_is_square(order))
        d.text(right - 238 + 80 * order, 17, key, size=13)
    d.ring(right - 250 + 80 * len(series), 12, 9, colour="ink", dash="")
    d.text(right - 236 + 80 * len(series), 17, "chosen", size=13)
    for row in rows:
        order = series.index(row["series"])
        colour = COLOURS[order % len(COLOURS)]
        low, high = (place(row["x"], row["y"] + sign * row["error"]) for sign in (-1, 1))
        d.line([low, high], colour=colour, width=1)
        d.dot(*place(row["x"], row["y"]), 5, colour=colour, square=_is_square(order))
        if row["marked"]:
            d.ring(*place(row["x"], row["y"]), 10, colour="ink", dash="")
    return d


def _widened(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.01 * abs(low) or 0.01
    return low - room, high + room


def bars(name: str, title: str, rows: Sequence[Mapping[str, Any]], unit: str) -> Drawing:
    """Amounts as horizontal bars, a row each, with what is said of each behind it.

    Args:
        name: for the ids inside, one word.
        title: what is to be seen.
        rows: `label`, `value` (not below 0) and `said` each.
        unit: of the values.

    Raises:
        ValueError: no row, or nothing above 0.
    """
    most = max((row["value"] for row in rows), default=0)
    if not most > 0:
        raise ValueError("there is no amount to draw: give at least one row above 0")
    left, top, step = round(8.7 * max(len(row["label"]) for row in rows) + 16), 8, 28
    right = round(588 - 6.8 * max(len(row["said"]) for row in rows))
    bottom = top + step * len(rows) + 2
    told = "; ".join(f"{row['label']}: {row['value']:.1f}, {row['said']}" for row in rows)
    d = Drawing(name, 600, bottom + 46, title, told)
    for value in ticks(0, most, 4):
        x = left + (right - left) * value / most
        d.line([(x, top), (x, bottom)], colour="card")
        d.text(x, bottom + 18, _label(value), anchor="middle", size=13, colour="soft")
    for place, row in enumerate(rows):
        y, end = top + step * place, left + (right - left) * row["value"] / most
        d.text(left - 10, y + 19, row["label"], anchor="end")
        d.parts.append(
            f'<rect x="{left}" y="{y + 5}" width="{max(1, end - left):.1f}" height="{step - 10}" fill="var(--blue)"/>'
        )
        d.text(end + 8, y + 19, row["said"], size=13, colour="soft")
    d.line([(left, top), (left, bottom)])
    d.text((left + right) / 2, bottom + 38, unit, anchor="middle", size=13, colour="soft")
    return d
