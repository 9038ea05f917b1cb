"""Tests of what a reader does with the book: searches it, hovers over the map, compares a run, opens it from disk."""

import json
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
STUDY = "studies/smollm2-135m"


def found_titles(page, words):
    """Titles that the site's search finds for some words."""
    page.keyboard.press("Control+k")
    page.locator("dialog[open] input[name=q], .search-button__search-container input[name=q]").first.fill(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html*")
    page.wait_for_selector("#search-results ul.search li")
    page.wait_for_function("document.querySelector('#search-results p').textContent.includes('found')")
    return page.locator("#search-results ul.search li > a").all_text_contents()


@pytest.mark.parametrize("place", ["served", "from disk"])
def test_the_search_finds_antonym(opened, site, address, place):
    page = opened(f"{address}/index.html" if place == "served" else (site / "index.html").as_uri())
    titles = found_titles(page, "antonym")
    assert any("method" in title.lower() for title in titles) and any("Lexicon" in title for title in titles)


@pytest.mark.parametrize("place", ["served", "from disk"])
def test_the_map_answers_to_search_and_hover(opened, site, address, place):
    name = f"{STUDY}/03-sense-maps.html"
    page = opened(f"{address}/{name}" if place == "served" else (site / name).as_uri())
    page.wait_for_selector(".dskd-plot .legend")
    status = page.locator(".dskd-map .dskd-status")
    everything = status.text_content()
    page.locator(".dskd-map input[type=search]").fill("river")
    assert status.text_content() != everything and not status.text_content().startswith("0 of")
    page.locator(".dskd-map input[type=search]").fill("")
    place = page.evaluate(
        """() => {
          const plot = document.querySelector(".dskd-plot"), layout = plot._fullLayout, trace = plot.data[0];
          plot.scrollIntoView({ block: "center", behavior: "instant" });
          const at = plot.getBoundingClientRect();
          return [at.x + layout.xaxis._offset + layout.xaxis.d2p(trace.x[0]),
                  at.y + layout.yaxis._offset + layout.yaxis.d2p(trace.y[0])];
        }"""
    )
    page.mouse.move(place[0] + 40, place[1] + 40)
    page.mouse.move(*place, steps=4)
    page.wait_for_selector(".hoverlayer .hovertext")


class TestCompareWithYourRun:
    """The box at the end of a notebook's page, from disk, where nothing can be fetched."""

    @pytest.fixture
    def page(self, opened, site):
        page = opened((site / STUDY / "05-evaluation.html").as_uri())
        page.locator(".dskd-compare summary").focus()
        page.keyboard.press("Enter")
        return page

    @pytest.fixture
    def record(self):
        """The results that the page shows, as a run of a reader's would write them."""
        return json.loads((BOOK / STUDY / "results" / "05-evaluation.json").read_text())

    def rows(self, page):
        rows = page.evaluate(
            "[...document.querySelectorAll('.dskd-compare tbody tr')].map((r) => [...r.cells].map((c) => c.innerText))"
        )
        return [row for row in rows if len(row) == 5]  # a last row may tell how many more there are

    def test_a_run_like_the_one_here_is_equal(self, page, record, tmp_path):
        path = tmp_path / "05-evaluation.json"
        path.write_text(json.dumps(record))
        page.locator(".dskd-compare input[type=file]").set_input_files(path)
        page.wait_for_selector(".dskd-compare tbody tr")
        told = page.locator(".dskd-compare .dskd-status").text_content()
        assert "All settings are the same." in told and "different" not in told and "apart" not in told
        assert {row[4] for row in self.rows(page)} == {"equal"}

    def test_what_differs_comes_first_with_its_intervals(self, page, record):
        (row,) = [r for r in record["held_out"] if (r["model"], r["metric"]) == ("kd", "perplexity")]
        value, error = row["value"], row["stderr"]
        row["value"] = value + 100 * error
        (close,) = [r for r in record["held_out"] if (r["model"], r["metric"]) == ("dskd", "perplexity")]
        close["value"] += 0.1 * close["stderr"]
        record["parameters"]["seed"] = 7
        page.locator(".dskd-compare textarea").fill(json.dumps(record))
        page.get_by_role("button", name="Compare").click()
        page.wait_for_selector(".dskd-compare tbody tr")
        first, second = self.rows(page)[:2]
        assert first[0] == "held_out / kd, all, perplexity / value" and first[4] == "intervals apart"
        assert first[3].startswith("+") and "[" in first[1] and "[" in first[2]
        assert second[0] == "held_out / dskd, all, perplexity / value" and second[4] == "intervals overlap"
        assert "seed (here 0, yours 7)" in page.locator(".dskd-compare .dskd-status").text_content()

    @pytest.mark.parametrize(
        "given, told",
        [("", "choose a results file"), ("{]", "no JSON"), ('{"a": 1}', "choose results/05-evaluation.json")],
    )
    def test_what_cannot_be_compared_is_said(self, page, given, told):
        page.locator(".dskd-compare textarea").fill(given)
        page.get_by_role("button", name="Compare").click()
        page.wait_for_function("document.querySelector('.dskd-compare .dskd-status').textContent")
        assert told in page.locator(".dskd-compare .dskd-status").text_content()
        assert not page.locator(".dskd-compare table").is_visible()

    def test_cells_with_an_error_are_read_too(self, opened, site):
        page = opened((site / STUDY / "07-tables.html").as_uri())
        page.locator(".dskd-compare summary").click()
        yours = {"table3": [{"index": "teacher", "ARC": "90.7\u00a0±\u00a01.0"}], "numbers": {"tokens": "1,000"}}
        page.locator(".dskd-compare textarea").fill(json.dumps(yours))
        page.get_by_role("button", name="Compare").click()
        page.wait_for_selector(".dskd-compare tbody tr")
        rows = {row[0]: row for row in self.rows(page)}
        assert rows["table3 / teacher / ARC"][4] == "intervals apart"
        assert rows["table3 / teacher / ARC"][2] == "90.7 [88.74, 92.66]" and rows["numbers / tokens"][2] == "1,000"


def test_a_long_command_can_be_copied(opened, address):
    page = opened(f"{address}/{STUDY}/04-distillation.html")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    block = page.locator(".dskd-foot .highlight")
    block.hover()
    block.locator("button.copybtn").click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.startsWith('papermill notebooks/04'))")


def test_a_notebook_can_be_downloaded(opened, address):
    page = opened(f"{address}/{STUDY}/04-distillation.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download this notebook").click()
    assert download.value.suggested_filename == "04-distillation.ipynb"
    notebook = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and len(notebook["cells"]) > 5
