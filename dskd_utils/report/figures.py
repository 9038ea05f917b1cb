"""Figures of the book that stand still (paper, section 4, Tables 2, 3 and 8)."""

import math
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from dskd_utils.artefacts import atomic_path

# Okabe and Ito's palette: distinct for the colour-blind; white ground keeps a figure readable on a dark page.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000")
BOLD = re.compile(r"\*\*(.+?)\*\*")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def style() -> None:
    """Set the book's look for all figures of a notebook; in its tables a model's words are text, never markup."""
    pd.set_option("styler.format.escape", "html")
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 110,
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.prop_cycle": plt.cycler(color=COLOURS),
        }
    )


def save_data(data: pd.DataFrame, path: Path) -> Path:
    """Keep a figure's data beside the results, as CSV."""
    with atomic_path(path) as temporary:
        data.to_csv(temporary, index=False)
    return path


def save_table(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Keep a table beside the results as CSV, Markdown and LaTeX (booktabs), and give it back to be shown.

    Args:
        table: as it is shown; an index that only counts is left out. `**bold**` cells are bold in Markdown and LaTeX.
        path: without an ending, such as `results/07-table-3`.
    """
    if table.index.name is not None or not isinstance(table.index, pd.RangeIndex):
        table = table.rename_axis(table.index.name or "").reset_index()
    latex = table.style.hide().format(escape="latex").format_index(escape="latex", axis=1).to_latex(hrules=True)
    # Cells that look like numbers stay as they are written, with their signs and last zeros.
    texts = {"csv": BOLD.sub(r"\1", table.to_csv(index=False)), "tex": BOLD.sub(r"\\textbf{\1}", latex)}
    texts["md"] = table.to_markdown(index=False, disable_numparse=True) + "\n"
    for ending, text in texts.items():
        with atomic_path(path.with_name(f"{path.name}.{ending}")) as temporary:
            temporary.write_text(text.replace("\u00a0", "~" if ending == "tex" else " "), encoding="utf-8")
    return table


def folded(title: str, table: pd.DataFrame) -> HTML:
    """A table below a title that opens it; cells that were not run, or failed, are grey, and `**bold**` ones bold."""
    look = table.style.format(lambda cell: BOLD.sub(r"\1", str(cell)), escape="html").map(_look)
    body = (look.hide() if isinstance(table.index, pd.RangeIndex) else look).to_html()
    return HTML(f'<details class="dskd-folded"><summary>{escape(title)}</summary>{body}</details>')


def _look(cell: str) -> str:
    if str(cell).startswith(("not run", "failed")):
        return "opacity: 0.65"  # grey on light and on dark pages
    return "font-weight: bold" if BOLD.search(str(cell)) else ""


def training_curves(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss parts over training tokens, one line a student: CE, KL, and the sense parts where there are any.

    Each line is a running mean over a tenth of the steps.
    """
    panels = {"ce": "cross-entropy (nats)", "kl": "KL to the teacher × T² (nats)"}
    if any("attraction" in log for log in logs.values()):
        panels |= {"attraction": "MSE to the positive senses", "active": "active share of the hinge"}
    smooth = {name: log.rolling(max(1, len(log) // 10), min_periods=1).mean() for name, log in logs.items()}
    rows = len(panels) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(9, 3.2 * rows))
    for axis, (part, label) in zip(np.ravel(axes), panels.items(), strict=True):
        for place, (name, log) in enumerate(smooth.items()):
            if part in log:
                dash = ("-", "--", ":")[place % 3]
                axis.plot(logs[name].tokens.cumsum() / 1e3, log[part], dash, label=name, color=COLOURS[place])
        axis.set(xlabel="training tokens (thousands)", ylabel=label)
        if part == "active":
            axis.set_ylim(0, max(0.1, 1.1 * axis.get_ylim()[1]))
    first, last = next(iter(smooth.values())).ce.iloc[[0, -1]]
    figure.suptitle(f"Training lowers the cross-entropy from {first:.1f} to {last:.1f} nats a token")
    np.ravel(axes)[0].legend(frameon=False)
    figure.tight_layout()
    return figure


def benchmark_bars(rows: pd.DataFrame, names: Mapping[str, str], title: str) -> Figure:
    """Accuracy of each model on each benchmark with standard errors and the chance level.

    Args:
        rows: columns `task`, `model`, `value`, `stderr`, `chance`, shares.
        names: how tasks are shown.
        title: the finding.
    """
    figure, axis = plt.subplots(figsize=(9, 3.6))
    tasks, models = list(dict.fromkeys(rows.task)), list(dict.fromkeys(rows.model))
    width = 0.8 / len(models)
    for place, model in enumerate(models):
        here = rows[rows.model == model].set_index("task").reindex(tasks)
        x = np.arange(len(tasks)) + (place - (len(models) - 1) / 2) * width
        axis.bar(
            x, 100 * here.value, width * 0.92, yerr=100 * here.stderr, label=model, color=COLOURS[place], capsize=2
        )
    for x, task in enumerate(tasks):
        chance = 100 * rows[rows.task == task].chance.iloc[0]
        label = "chance" if x == 0 else None
        axis.hlines(chance, x - 0.45, x + 0.45, colors="black", linestyles="dashed", linewidth=1, label=label)
    axis.set(xticks=range(len(tasks)), xticklabels=[names[t] for t in tasks], ylabel="accuracy (%)", title=title)
    axis.grid(axis="x", visible=False)
    axis.legend(frameon=False, ncols=len(models) + 1, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.tight_layout()
    return figure


def forest(rows: pd.DataFrame, smallest: float) -> Figure:
    """Gains over KD with their 95% intervals, a panel a probe, a line a method; the band is what would not matter.

    Args:
        rows: of `readings.gains_over`.
        smallest: the smallest difference that would matter.
    """
    probes, methods = list(dict.fromkeys(rows.probe)), list(dict.fromkeys(rows.method))
    figure, axes = plt.subplots(
        1, len(probes), figsize=(2.6 * len(probes) + 1.2, 0.34 * len(methods) + 1.7), sharey=True, squeeze=False
    )
    for axis, probe in zip(axes[0], probes, strict=True):
        here = rows[rows.probe == probe].set_index("method").reindex(methods)
        axis.axvspan(-smallest, smallest, color=COLOURS[6], alpha=0.2, linewidth=0)
        axis.axvline(0, color="black", linewidth=0.8)
        for place, row in enumerate(here.itertuples()):
            colour = COLOURS[1] if row.Index == "DSKD" else COLOURS[0]
            if pd.notna(row.value):
                spread = [[max(0.0, row.value - row.low)], [max(0.0, row.high - row.value)]]
                axis.errorbar(row.value, place, xerr=None if pd.isna(row.low) else spread, fmt="o", color=colour,
                              capsize=3)  # fmt: skip
        axis.set_title(probe, fontsize=10)
        axis.set(
            xlabel="gain over KD", yticks=range(len(methods)), yticklabels=methods, ylim=(len(methods) - 0.5, -0.5)
        )
        axis.grid(axis="y", visible=False)
    clear = rows[(rows.method == "DSKD") & (rows.low > 0)]
    figure.suptitle(f"DSKD gains over KD beyond its interval on {len(clear)} of {len(probes)} probes of held-out words")
    figure.tight_layout()
    return figure


def span_lengths(rates: Mapping[str, list[float]]) -> Figure:
    """Table 2 as a picture: share of relations kept for each maximum span length, ours beside the paper's.

    Args:
        rates: percentages for m = 1 to 5 by name; the paper's names start with "paper".
    """
    figure, axis = plt.subplots(figsize=(6.5, 3.4))
    for place, (name, values) in enumerate(rates.items()):
        dash = "--" if name.startswith("paper") else "-"
        axis.plot(range(1, len(values) + 1), values, dash, marker=MARKERS[place], color=COLOURS[place], label=name)
    axis.set(xlabel="longest span m (tokens)", ylabel="relations kept (%)", xticks=range(1, 6), ylim=(0, 102))
    least = min(values[2] for name, values in rates.items() if not name.startswith("paper"))
    axis.set_title(f"Spans of up to three tokens keep {math.floor(least)}% of the relations or more")
    axis.legend(frameon=False)
    figure.tight_layout()
    return figure


def waterfall_chart(steps: pd.DataFrame) -> Figure:
    """Where the pairs went: gains and losses from the sources to what a tokenizer can use, totals in between.

    Args:
        steps: of `lexicon.waterfall.waterfall`: columns `step`, `change`, `synonym`, `antonym`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.36 * len(steps) + 1.2), sharey=True)
    shade = {"gain": COLOURS[0], "loss": COLOURS[1], "total": COLOURS[6]}
    place = np.arange(len(steps))
    is_total = (steps.change == "total").to_numpy()
    for axis, kind in zip(axes, ("synonym", "antonym"), strict=True):
        value = steps[kind].to_numpy()
        after = np.where(is_total, value, np.cumsum(np.where(is_total, 0, value)))
        start = np.where(is_total, 0, after - value)
        axis.barh(place, value / 1e3, left=start / 1e3, color=[shade[change] for change in steps.change])
        right = np.maximum(start, after) / 1e3
        for y, x, number, total in zip(place, right, value, is_total, strict=True):
            axis.annotate(f"{number:,}" if total else f"{number:+,}", (x, y), xytext=(4, 0), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
        axis.set(title=f"{kind}s", xlabel="pairs (thousands)", xlim=(0, 1.25 * right.max()))
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(place, steps.step)
    axes[0].invert_yaxis()
    first, last = steps.loc[steps.step == "merged"].iloc[0], steps.iloc[-1]
    figure.suptitle(
        f"{first.synonym:,} synonym and {first.antonym:,} antonym pairs become {last.synonym:,} and {last.antonym:,} "
        "in the dictionary"
    )
    figure.tight_layout()
    return figure


def depth_curve(rows: pd.DataFrame, band: tuple[float, float], preset: int) -> Figure:
    """Agreement and KL by the student's depth, with standard errors, the band that is sought and the preset's depth.

    Args:
        rows: columns `layers`, `top1_agreement`, `kl` and their `_stderr`.
        band: lowest and highest agreement.
        preset: layers of the preset.
    """
    rows = rows.sort_values("layers")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    labels = {"top1_agreement": "same top token as the teacher (share)", "kl": "KL to the teacher (nats)"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        for order, (_, own) in enumerate(rows.groupby("method") if "method" in rows else [("", rows)]):
            axis.errorbar(own.layers, own[name], yerr=own[f"{name}_stderr"], marker="os"[order % 2],
                          color=COLOURS[order % 6], capsize=3)  # fmt: skip
        axis.axvline(preset, color=COLOURS[6], linestyle="--", linewidth=1, label=f"the preset, {preset} layers")
        axis.set(xlabel="layers of the student", ylabel=label, xticks=rows.layers)
    axes[0].axhspan(*band, color=COLOURS[2], alpha=0.15, label="the band sought")
    axes[0].legend(frameon=False, loc="upper left")
    first, last = rows.iloc[0], rows.iloc[-1]
    goes = "rises" if last.top1_agreement > first.top1_agreement else "goes"
    figure.suptitle(f"From {first.layers} to {last.layers} layers the agreement {goes} from "
                    f"{first.top1_agreement:.0%} to {last.top1_agreement:.0%}")  # fmt: skip
    figure.tight_layout()
    return figure


def candidate_strip(candidates: pd.DataFrame, models: Mapping[str, str], margin: float) -> Figure:
    """How far the candidates of one position lie from the state of each model, the chosen ones filled (section 4.2).

    Args:
        candidates: of `stage_example.candidates`.
        models: columns of it by the names that are shown.
        margin: the paper's gamma.
    """
    figure, axis = plt.subplots(figsize=(9, 1.1 + 0.75 * len(models)))
    looks = {"own": (0, "o"), "synonym": (2, "^"), "antonym": (1, "s")}
    for row, model in enumerate(models):
        for kind, (colour, marker) in looks.items():
            here = candidates[candidates.of == kind]
            y = np.full(len(here), row) + {"own": -0.2, "synonym": 0.0, "antonym": 0.2}[kind]
            for chosen in (False, True):
                part = (here.chosen == chosen).to_numpy()
                axis.scatter(
                    here[model][part], y[part], 34, marker=marker, edgecolors=COLOURS[colour],
                    facecolors=COLOURS[colour] if chosen else "none",
                    label=f"{kind} senses" if row == 0 and chosen and part.any() else None,
                )  # fmt: skip
    axis.axvline(margin, color=COLOURS[6], linestyle="--", linewidth=1, label=f"margin {margin:.3g}")
    axis.set(yticks=range(len(models)), yticklabels=models.values(), xlabel="mean squared error to the model's state")
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    near = candidates[candidates.side == "positive"].iloc[0]
    axis.set_title(f"Nearest to the teacher: sense {near.sense} of {near.word}; filled: chosen by its state")
    axis.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.28))
    figure.tight_layout()
    return figure
