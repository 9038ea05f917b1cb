"""Diagrams are those of the code, told to who cannot see them, in the page's theme; charts show the data."""

import re
from xml.etree import ElementTree

import pytest

from dskd_utils.report import charts, diagrams, summary
from dskd_utils.report.verdicts import NotRunError

NAMES = list(diagrams.DIAGRAMS)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_file_is_what_the_code_draws(name):
    committed = (diagrams.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert committed == diagrams.DIAGRAMS[name]().render(), "run `python -m dskd_utils.report.diagrams`"
    assert len(committed) < 20_000


def test_every_notebook_stands_below_all_that_it_reads_and_in_a_place_of_its_own():
    places = diagrams._PLACES
    assert set(places) == {*diagrams.READS, "the book"} and len(set(places.values())) == len(places)
    for name, sources in diagrams.READS.items():
        assert all(places[source][1] < places[name][1] < places["the book"][1] for source in sources)


def test_no_other_file_lies_beside_them():
    assert {path.stem for path in diagrams.FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_diagram_is_sound_and_says_what_is_to_be_seen(name):
    root = ElementTree.fromstring(diagrams.DIAGRAMS[name]().render())
    space = "{http://www.w3.org/2000/svg}"
    title, told = root.find(f"{space}title"), root.find(f"{space}desc")
    assert len(title.text) > 15 and len(told.text) > 80
    assert root.get("aria-labelledby") == f"{title.get('id')} {told.get('id')}"
    width, height = map(float, root.get("viewBox").split()[2:])
    for text in root.iter(f"{space}text"):
        words = "".join(text.itertext())
        size, x = float(text.get("font-size")), float(text.get("x"))
        half = {"start": (0, 1), "middle": (0.5, 0.5), "end": (1, 0)}[text.get("text-anchor")]
        long = 0.56 * size * len(words)
        assert x - half[0] * long > -6 and x + half[1] * long < width + 6, words
        assert 0 < float(text.get("y")) <= height, words


@pytest.mark.parametrize("name", NAMES)
def test_all_colours_are_variables_that_both_themes_set(name):
    text = diagrams.DIAGRAMS[name]().render()
    drawn = text[text.index("</style>") :]
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', drawn)) <= {"none", *(f"var(--{c})" for c in COLOURS)}
    for theme in ("light", "dark"):
        block = re.search(rf'html\[data-theme="{theme}"\] \.dskd-svg\{{([^}}]*)\}}', text)[1]
        assert {name for name in re.findall(r"--(\w+):", block)} == set(COLOURS)


COLOURS = ("ink", "soft", "rule", "card", "blue", "orange", "green", "purple")
ROWS = [
    {"label": "ARC", "difference": 0.02, "low": -0.01, "high": 0.05, "reads": "not told apart"},
    {"label": "PIQA", "difference": -0.1, "low": -0.2, "high": -0.01, "reads": "lower"},
]


def test_a_forest_puts_each_dot_on_its_side_of_zero():
    text = charts.forest("f", "two", ROWS, "nats", 0.05).render()
    (zero,) = re.findall(r'points="([\d.]+),18 \1,\d+" fill="none" stroke="var\(--soft\)"', text)
    first, second = (float(x) for x in re.findall(r'circle cx="([\d.]+)"', text))
    assert second < float(zero) < first
    assert "PIQA: -0.100, interval -0.200 to -0.010, lower" in text, "told to who cannot see it"


def test_curves_rise_where_the_numbers_do():
    drawn = charts.curves("c", "t", {"KD": [(1, 0.2, 0.01), (2, 0.4, 0.01)]}, "layers", "share").render()
    ys = [float(y) for y in re.findall(r'circle cx="[\d.]+" cy="([\d.]+)"', drawn)][:2]
    assert ys[1] < ys[0], "y goes down in SVG"


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="no difference to draw"):
        charts.forest("f", "t", [], "nats", 0.05)
    with pytest.raises(ValueError, match="no point to draw"):
        charts.curves("c", "t", {}, "x", "y")
    with pytest.raises(NotRunError):
        summary.picture({})


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.21, 0.21), (3, 40), (0.29, 0.71)])
def test_ticks_are_few_round_and_inside(low, high):
    found = charts.ticks(low, high)
    assert 3 <= len(found) <= 9 and low <= found[0] and found[-1] <= high + 1e-9
    assert all(len(f"{value:g}") <= 5 for value in found)
