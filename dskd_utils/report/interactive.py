"""The sense map as a picture and as a page to explore, and senses word by word (paper, Figure 1).

What is made here holds data and plain HTML only. In the book, `_static/interactive.js` turns it into a map with hover,
search and a switch, with plotly's script from the site itself; in JupyterLab plotly's own renderer draws the map.
Without scripts there are tables and lists to read.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure

# Okabe and Ito's palette without black and yellow, which a dark or a white page would swallow, and with a grey.
COLOURS = ("#D55E00", "#CC79A7", "#E69F00", "#0072B2", "#56B4E9", "#009E73", "#8C8C8C")
# Eight shapes and seven colours: no two of 56 words look alike, and neighbours in the list differ in both.
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X",
           "triangle-down": "v", "star": "*"}  # fmt: skip
METHODS = ("t-SNE", "UMAP")
PLOTLY_MIME = "application/vnd.plotly.v1+json"
BUDGET = 90_000  # characters of contexts in a map, so that a committed notebook stays small


def word_looks(words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker (plotly's name) of each word, in the order given."""
    symbols = list(MARKERS)
    return {word: (COLOURS[i % len(COLOURS)], symbols[i % len(symbols)]) for i, word in enumerate(words)}


def still_map(points: pd.DataFrame, scores: Mapping[str, float]) -> Figure:
    """Figure 1: senses (large, outlined) and contextual states (small) of words, both methods side by side.

    Args:
        points: of `senses.maps.SenseMap`.
        scores: trustworthiness of each method, shown under its panel.
    """
    looks = word_looks(list(dict.fromkeys(points.word)))
    figure, axes = plt.subplots(1, len(scores), figsize=(5.2 * len(scores), 5.6), squeeze=False)
    for axis, (method, score) in zip(axes[0], scores.items(), strict=True):
        for word, (colour, symbol) in looks.items():
            for kind, size, edge, alpha in (("context", 14, "none", 0.55), ("sense", 52, "black", 0.95)):
                here = points[(points.word == word) & (points.kind == kind)]
                x, y = here[f"{method}_x"], here[f"{method}_y"]
                marker = MARKERS[symbol]
                axis.scatter(x, y, s=size, alpha=alpha, color=colour, marker=marker, edgecolors=edge, linewidths=0.7)
        axis.set(title=method, xlabel=f"trustworthiness {score:.2f}", xticks=[], yticks=[])
        axis.grid(False)
    handles = [
        axis.scatter([], [], s=52, color=colour, marker=MARKERS[symbol], edgecolors="black", linewidths=0.7)
        for colour, symbol in looks.values()
    ]
    columns = min(7, len(looks))
    figure.legend(handles, list(looks), loc="lower center", ncols=columns, frameon=False)
    counts = points.kind.value_counts()
    figure.suptitle(
        f"{counts.get('sense', 0)} senses (outlined) and {counts.get('context', 0)} occurrences of {len(looks)} words"
    )
    figure.tight_layout(rect=(0, 0.03 + 0.05 * -(-len(looks) // columns), 1, 1))
    return figure


def moving_map(
    points: pd.DataFrame,
    scores: Mapping[str, float],
    explored: Sequence[Mapping[str, Any]] = (),
    *,
    per_sense: int = 3,
) -> dict[str, Any]:
    """The map to hover over and search in, for `IPython.display.display(..., raw=True)`.

    Args:
        points: of `senses.maps.SenseMap`.
        scores: trustworthiness of each method.
        explored: records of `senses.contexts.explore_words`; a word that is there takes its senses' shares and
            contexts from the whole text, any other (composed senses are not) from the contexts of the map.
        per_sense: contexts shown with a sense.

    Returns:
        a MIME bundle: `text/html` for the book, plotly's own type for JupyterLab, and plain text.
    """
    words = list(dict.fromkeys(points.word))
    share, texts = _hover_texts(points, explored, per_sense)
    page = {
        "scores": {method: round(score, 3) for method, score in scores.items()},
        "words": [[word, *look] for word, look in word_looks(words).items()],
        "word": [words.index(word) for word in points.word],
        "sense": points.sense.astype(int).tolist(),
        "kind": [int(kind == "sense") for kind in points.kind],
        "share": [None if pd.isna(value) else round(float(value), 3) for value in share],
        "text": texts,
        "xy": {m: [points[f"{m}_{axis}"].astype(float).round(2).tolist() for axis in "xy"] for m in scores},
    }
    data = json.dumps(page, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    body = (
        '<div class="dskd-map">\n<p class="dskd-wait">The map that answers to hover and search needs the book\'s '
        "scripts. The picture above and this table show the same words.</p>\n"
        f'{_summary(points, share, texts)}\n<script type="application/json">{data}</script>\n</div>'
    )
    about = f"sense map of {', '.join(words)}"
    return {"text/html": body, PLOTLY_MIME: _plotly(points, scores, share, texts), "text/plain": about}


def _hover_texts(
    points: pd.DataFrame, explored: Sequence[Mapping[str, Any]], per_sense: int
) -> tuple[pd.Series, list[list[str]]]:
    """Shares of the senses (NaN for contexts), and of each point its contexts, shortened to fit the budget."""
    known = {(r["word"], s["sense"]): s for r in explored for s in r["senses"]}
    whole = {record["word"] for record in explored}
    share, texts = points.share.astype(float).copy(), []
    own = points[points.kind == "context"].sort_values("distance")
    drawn = {key: [f"{t} [{key[0]}]" for t in here.text[:per_sense]] for key, here in own.groupby(["word", "sense"])}
    for place, point in zip(points.index, points.itertuples(), strict=True):
        key = (point.word, point.sense)
        if point.kind == "context":
            texts.append([f"{point.text} [{point.word}]"])
        elif point.word in whole:
            found = known.get(key, {"share": 0.0, "contexts": []})
            share[place] = found["share"]
            texts.append(list(found["contexts"][:per_sense]))
        else:
            texts.append(drawn.get(key, []))
    characters = max(40, min(110, BUDGET // max(1, sum(map(len, texts)))))
    return share, [[_shorten(text, characters) for text in found] for found in texts]


def _shorten(text: str, characters: int) -> str:
    """The end of a text on one line, cut between words."""
    text = " ".join(text.removeprefix("… ").split())
    if len(text) > characters:
        text = text[-characters:]
        text = text[text.find(" ") + 1 :]
    return f"… {text}"


def _summary(points: pd.DataFrame, share: pd.Series, texts: list[list[str]]) -> str:
    """A row a word: how many points, and its most used sense; what is read where no script runs."""
    rows = []
    for word, here in points.assign(share=share, texts=texts).groupby("word", sort=False):
        senses = here[here.kind == "sense"].sort_values("share", ascending=False, kind="stable")
        used = senses[senses.texts.map(len) > 0]
        cells = [word, (here.kind == "context").sum(), len(senses)]
        cells += [
            f"sense {used.sense.iloc[0]}, {used.share.iloc[0]:.0%}: {used.texts.iloc[0][0]}" if len(used) else "-"
        ]
        rows.append("".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells))
    head = "".join(f'<th scope="col">{t}</th>' for t in ("word", "contexts", "senses", "its most used sense"))
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table class="dskd-summary">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'


def _plotly(
    points: pd.DataFrame, scores: Mapping[str, float], share: pd.Series, texts: list[list[str]]
) -> dict[str, Any]:
    """The same map as a plotly figure, its hover texts cut shorter, with buttons for the methods."""
    figure = go.Figure(layout={"template": "none", "height": 560, "legend": {"itemsizing": "constant"}})
    groups = []
    for word, (colour, symbol) in word_looks(list(dict.fromkeys(points.word))).items():
        for kind, size, opacity in (("context", 6, 0.55), ("sense", 12, 0.95)):
            places = np.flatnonzero((points.word == word) & (points.kind == kind))
            groups.append(places)
            labels = []
            for place in places:
                sense, shown = points.sense.iloc[place], [_shorten(text, 48) for text in texts[place][:2]]
                title = f"sense {sense}, {share.iloc[place]:.0%}" if kind == "sense" else f"nearest sense: {sense}"
                labels.append("<br>".join([title, *map(html.escape, shown)]))
            figure.add_scatter(
                mode="markers",
                name=word,
                legendgroup=word,
                showlegend=kind == "sense" or not ((points.word == word) & (points.kind == "sense")).any(),
                text=labels,
                hovertemplate="<b>%{fullData.name}</b> %{text}<extra></extra>",
                marker={"size": size, "opacity": opacity, "color": colour, "symbol": symbol, "line": {"width": 0.7}},
            )
    packed = {
        method: {axis: [_packed(points[f"{method}_{axis}"].to_numpy()[places]) for places in groups] for axis in "xy"}
        for method in scores
    }
    for place, trace in enumerate(figure.data):
        trace.update({axis: places[place] for axis, places in packed[next(iter(scores))].items()})
    buttons = [
        {"label": f"{method} (trustworthiness {score:.2f})", "method": "restyle", "args": [packed[method]]}
        for method, score in scores.items()
    ]
    menu = {"type": "buttons", "direction": "right", "buttons": buttons, "x": 0, "xanchor": "left", "y": 1.12}
    figure.update_layout(updatemenus=[menu]).update_xaxes(visible=False).update_yaxes(visible=False)
    return json.loads(figure.to_json())


def _packed(values: np.ndarray) -> dict[str, str]:
    """Numbers as plotly reads them from one string: a notebook would put each number of a list on a line."""
    return {"dtype": "f4", "bdata": base64.b64encode(values.astype("<f4").tobytes()).decode()}


def word_explorer(explored: Sequence[Mapping[str, Any]]) -> str:
    """Senses word by word as HTML: lists that unfold; in the book with a box to choose and one to search.

    Args:
        explored: records of `senses.contexts.explore_words`.
    """
    parts = []
    for record in explored:
        word = html.escape(record["word"])
        senses = []
        for sense in record["senses"]:
            items = "\n".join(f"<li>{_marked(text, word)}</li>" for text in sense["contexts"])
            senses.append(f"<p><b>Sense {sense['sense']}</b>, {sense['share']:.0%}</p>\n<ul>\n{items}\n</ul>")
        head = (
            f"<b>{word}</b>: occurrences {record['occurrences']:,}, senses in use {len(record['senses'])}, "
            f"in effect {record['effective_senses']:.1f}"
        )
        joined = "\n".join(senses)
        parts.append(f'<details data-word="{word}"><summary>{head}</summary>\n{joined}\n</details>')
    return '<div class="dskd-words">\n' + "\n".join(parts) + "\n</div>"


def _marked(text: str, word: str) -> str:
    """A context, escaped, with the word behind it set off."""
    return html.escape(text, quote=False).removesuffix(f"[{word}]") + f"<b>{word}</b>"
