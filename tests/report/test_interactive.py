"""Tests of the sense map and the word explorer: their data, their size, and, where a browser is there, their use."""

import base64
import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from dskd_utils.report import interactive

matplotlib.use("Agg")
BOOK = Path(__file__).resolve().parents[2] / "book"
SCORES = {"t-SNE": 0.91, "UMAP": 0.84}
EXPLORED = [
    {
        "word": "red",
        "occurrences": 1234,
        "effective_senses": 1.9,
        "senses": [
            {"sense": 2, "share": 0.75, "contexts": ["… a </script> of [red]", "… the <b>sky</b> & [red]"]},
            {"sense": 1, "share": 0.25, "contexts": ["… wine that is [red]"]},
        ],
    },
    {
        "word": "bank",
        "occurrences": 7,
        "effective_senses": 1.0,
        "senses": [{"sense": 1, "share": 1.0, "contexts": ["… on the river [bank]"]}],
    },
]


def made_points(words=("red", "ruby"), contexts=3, senses=2, length=4):
    """Points as `senses.maps.sense_map` makes them: contexts of all words, then their senses."""
    draw = np.random.default_rng(0)
    rows = [
        {"kind": "context", "word": word, "sense": i % senses + 1, "distance": float(contexts - i),
         "text": f"{word} text {i} " + "say " * length}
        for word in words for i in range(contexts)
    ] + [
        {"kind": "sense", "word": word, "sense": i + 1, "share": (1 + i) / sum(range(senses + 1))}
        for word in words for i in range(senses)
    ]  # fmt: skip
    points = pd.DataFrame(rows)
    for method in SCORES:
        for axis in "xy":
            points[f"{method}_{axis}"] = draw.normal(size=len(points)).astype("f") * 20
    return points


def page_data(bundle):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', bundle["text/html"], re.S)[1])


def test_no_two_of_many_words_look_alike():
    looks = interactive.word_looks([f"word {i}" for i in range(56)])
    assert len(set(looks.values())) == 56
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in zip(looks.values(), list(looks.values())[1:], strict=False))


def test_the_picture_draws_every_point_once_and_names_each_word():
    points = made_points()
    figure = interactive.still_map(points, SCORES)
    for axis, (method, score) in zip(figure.axes, SCORES.items(), strict=True):
        drawn = np.concatenate([c.get_offsets() for c in axis.collections if len(c.get_offsets())])
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, points[[f"{method}_x", f"{method}_y"]].to_numpy()))
        assert axis.get_xlabel() == f"trustworthiness {score:.2f}"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["red", "ruby"]
    assert figure.get_suptitle().startswith("4 senses (outlined) and 6 occurrences of 2 words")
    plt.close(figure)


def test_the_page_holds_every_point_with_its_word_sense_share_and_places():
    points = made_points()
    data = page_data(interactive.moving_map(points, SCORES))
    assert [data["words"][i][0] for i in data["word"]] == points.word.tolist()
    assert data["sense"] == points.sense.tolist() and data["kind"] == [0] * 6 + [1] * 4
    assert data["share"][6:] == points.share[6:].round(3).tolist() and data["share"][:6] == [None] * 6
    for method in SCORES:
        for axis, values in zip("xy", data["xy"][method], strict=True):
            np.testing.assert_allclose(values, points[f"{method}_{axis}"], atol=0.006)


def test_a_sense_shows_its_nearest_contexts_first_and_a_context_its_own_text():
    data = page_data(interactive.moving_map(made_points(contexts=5), SCORES, per_sense=2))
    assert data["text"][0] == ["… red text 0 say say say say [red]"]
    # Contexts 0, 2 and 4 belong to sense 1, and the last is the nearest.
    assert [text.split(" say")[0] for text in data["text"][10]] == ["… red text 4", "… red text 2"]


def test_words_explored_in_the_whole_text_take_their_shares_and_contexts_from_there():
    data = page_data(interactive.moving_map(made_points(senses=3), SCORES, EXPLORED))
    senses = slice(6, 9)
    assert data["share"][senses] == [0.25, 0.75, 0], "the third sense is nearest to no occurrence"
    assert data["text"][senses] == [["… wine that is [red]"], EXPLORED[0]["senses"][0]["contexts"], []]
    assert data["share"][9:] == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=1e-3), "ruby was not explored"


def test_no_context_can_end_the_script_that_holds_it():
    points = made_points().assign(text="</script><img src=x onerror=alert(1)>")
    body = interactive.moving_map(points, SCORES, EXPLORED)["text/html"]
    assert body.count("</script>") == 1 and "<img" not in body
    assert page_data({"text/html": body})["text"][0] == ["… </script><img src=x onerror=alert(1)> [red]"]


def test_the_figure_for_jupyterlab_is_valid_and_its_buttons_hold_every_place_of_their_method():
    points = made_points()
    figure = go.Figure(interactive.moving_map(points, SCORES)[interactive.PLOTLY_MIME])
    order = np.concatenate(
        [np.flatnonzero((points.word == w) & (points.kind == k)) for w in ("red", "ruby") for k in ("context", "sense")]
    )
    for button, method in zip(figure.layout.updatemenus[0].buttons, SCORES, strict=True):
        for axis in "xy":
            packed = [base64.b64decode(part["bdata"]) for part in button.args[0][axis]]
            found = np.frombuffer(b"".join(packed), "<f4")
            np.testing.assert_allclose(found, points[f"{method}_{axis}"].to_numpy()[order])
    assert sum(bool(trace.showlegend) for trace in figure.data) == 2
    assert "sense 2, 67%" in figure.data[1].text[1]


def test_a_map_of_the_largest_profile_keeps_its_notebook_small():
    words = ["red", "ruby", "crimson", "vermilion", "scarlet", "bus", "car", "bank", "bat", "light"]
    points = made_points(words, contexts=100, senses=10, length=40)
    bundle = interactive.moving_map(points, SCORES)
    cell = new_code_cell("1", outputs=[new_output("display_data", data=bundle)])
    assert len(nbformat.writes(new_notebook(cells=[cell]))) < 300_000
    texts = [text for found in page_data(bundle)["text"] for text in found]
    assert all(re.match(r"… (say )*say \[\w+\]$", text) for text in texts), "cut between words, the word kept"


def test_a_table_stands_in_for_the_map_where_no_script_runs():
    body = interactive.moving_map(made_points(), SCORES, EXPLORED)["text/html"]
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", body)[1:]]
    assert rows[0] == ["red", "3", "2", "sense 2, 75%: … a &lt;/script&gt; of [red]"]
    assert rows[1][:3] == ["ruby", "3", "2"] and rows[1][3].startswith("sense 2, 67%: … ruby text")


def test_every_sense_of_every_word_stands_in_the_explorer_escaped():
    page = interactive.word_explorer(EXPLORED)
    assert re.findall(r'<details data-word="(\w+)">', page) == ["red", "bank"]
    assert "<b>Sense 2</b>, 75%" in page and "occurrences 1,234" in page and page.count("<li>") == 4
    assert "</script>" not in page and "… the &lt;b&gt;sky&lt;/b&gt; &amp; <b>red</b>" in page


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of two pages, one with a map and an explorer, built with the book's extension and static files."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    points = made_points(("red", "ruby", "bank"), contexts=4)
    parts = [interactive.moving_map(points, SCORES, EXPLORED)["text/html"], interactive.word_explorer(EXPLORED)]
    raw = "\n".join(".. raw:: html\n\n" + "\n".join(f"   {line}" for line in part.splitlines()) for part in parts)
    (source / "index.rst").write_text(f"Map\n===\n\n.. toctree::\n\n   plain\n\n{raw}\n", encoding="utf-8")
    (source / "plain.rst").write_text("Plain\n=====\n\nNo map.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BOOK / "_ext"))
        settings = {
            "extensions": ["plotly_pages"],
            "html_static_path": [str(BOOK / "_static")],
            "html_js_files": ["interactive.js"],  # what jupyter-book does with each script of `_static`
            "html_css_files": ["interactive.css"],
        }
        app = Sphinx(source, None, out, out / ".doctrees", "html", settings, status=None, warningiserror=True)
        app.build()
    return out


def test_only_a_page_with_a_map_names_plotlys_script_and_the_site_holds_it(site):
    assert (
        "plotly.min.js" in (site / "index.html").read_text() and (site / "_static/plotly.min.js").stat().st_size > 3e6
    )
    assert "plotly" not in (site / "plain.html").read_text()


def test_a_book_without_plotly_is_refused_with_the_cure(monkeypatch):
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    import plotly_pages

    assert plotly_pages.plotly_script().is_file()
    monkeypatch.setattr(plotly_pages.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExtensionError, match="pip install plotly"):
        plotly_pages.plotly_script()


CHROMIUM = shutil.which("chromium")
browser_needed = pytest.mark.skipif(
    not (CHROMIUM and find_spec("playwright")), reason="needs chromium and the playwright package"
)


@pytest.fixture(params=[1200, 390], ids=["desktop", "phone"])
def page(site, browser, request):
    """The page with the map, opened from disk; it must not fail, complain or ask another host."""
    context = browser.new_context(viewport={"width": request.param, "height": 1000})
    opened, faults = context.new_page(), []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("request", lambda sent: faults.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None)
    opened.goto((site / "index.html").as_uri())
    opened.wait_for_selector(".dskd-plot .legend")
    yield opened
    assert not faults
    context.close()


def hovered(page, word, sense):
    """The hover label of a sense's point."""
    place = page.evaluate(
        """([word, title]) => {
            const plot = document.querySelector(".dskd-plot"), layout = plot._fullLayout;
            const at = plot.getBoundingClientRect();
            const trace = plot.data.find((trace) => trace.name === word);
            const i = trace.text.findIndex((text) => text.includes(title));
            return [at.x + layout.xaxis._offset + layout.xaxis.d2p(trace.x[i]),
                    at.y + layout.yaxis._offset + layout.yaxis.d2p(trace.y[i])];
        }""",
        [word, f"</b> sense {sense},"],
    )
    page.mouse.move(place[0] + 40, place[1] + 40)
    page.mouse.move(*place, steps=4)
    page.wait_for_selector(".hoverlayer .hovertext")
    return page.locator(".hoverlayer .hovertext").text_content()


@browser_needed
def test_hover_shows_word_sense_share_and_contexts_on_both_maps(page):
    for method in ("t-SNE", "UMAP"):
        page.get_by_label(method).check()
        label = hovered(page, "red", 2)
        assert "red sense 2, 75%" in label and "the <b>sky</b> & [red]" in label
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


@browser_needed
def test_search_fades_all_but_the_matches_and_filters_the_table_by_keyboard_alone(page):
    page.locator(".dskd-map input[type=search]").focus()
    page.keyboard.type("SKY")
    assert page.locator(".dskd-map .dskd-status").text_content() == "1 of 18 points match."
    shown = page.evaluate(
        "document.querySelector('.dskd-plot').data.map((t) => t.marker.opacity.filter((o) => o > 0.1).length)"
    )
    assert shown == [1, 0, 0]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    page.wait_for_selector(".dskd-rows tbody tr")
    assert page.locator(".dskd-rows tbody tr").all_text_contents() == [
        "redsense 2, 75%… a </script> of [red] / … the <b>sky</b> & [red]"
    ]


@browser_needed
def test_contexts_can_be_left_out_of_the_map(page):
    page.get_by_label("contexts", exact=True).uncheck()
    assert page.locator(".dskd-map .dskd-status").text_content() == "6 of 6 points match."
    assert page.evaluate("document.querySelector('.dskd-plot').data.map((t) => t.x.length)") == [2, 2, 2]


@browser_needed
def test_the_explorer_shows_the_chosen_word_and_searches_all(page):
    words = page.locator(".dskd-words details")
    assert [words.nth(i).is_visible() for i in range(2)] == [True, False]
    page.locator(".dskd-words select").select_option("bank")
    assert page.locator(".dskd-words li:visible").all_text_contents() == ["… on the river bank"]
    page.locator(".dskd-words input").fill("wine")
    assert page.locator(".dskd-words li:visible").count() == 3 and page.get_by_text("1 of 2 words shown.").is_visible()


@browser_needed
def test_labels_take_the_colour_of_the_theme(page):
    page.add_style_tag(content="html[data-theme=dark] .dskd-map { color: rgb(220, 230, 240); }")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function("document.querySelector('.dskd-plot').layout.font.color === 'rgb(220, 230, 240)'")
