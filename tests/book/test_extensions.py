"""Tests of the book's extensions by what they make of small things; no site is built."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.core import publish_doctree

EXTENSIONS = Path(__file__).resolve().parents[2] / "book" / "_ext"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(str(EXTENSIONS))


@pytest.fixture
def foot():
    return importlib.import_module("page_foot")


def record(teacher="tiny", profile="quick", seed=0):
    """A results file as `Study.save` writes it."""
    hardware = {"cores": 2, "architecture": "x86_64", "vector_unit": "AVX2", "accelerators": [], "memory_gb": 23.6}
    return {
        "schema_version": 1,
        "teacher": teacher,
        "profile": {"name": profile, "scale": 0.25},
        "parameters": {"seed": seed},
        "provenance": {"commit": "0123456789ab", "hardware": hardware | {"python": "3.11"}, "seconds": 421.3,
                       "finished": "2026-11-24T10:00:00", "versions": {}, "dtype": "float32"},
        "numbers": {"a": 1.5, "text": "x" * 200, "words": ["one", "two"], "missing": float("nan")},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["study_blocks", "study_roles", "page_foot", "api_rooms"])
def test_an_extension_needs_nothing_that_a_light_installation_lacks(name):
    code = f"""import sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "matplotlib", "sklearn", "tqdm", "datasets"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Lacking())
sys.path.insert(0, {str(EXTENSIONS)!r})
import {name}"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=EXTENSIONS.parents[1])
    assert done.returncode == 0, done.stderr


class TestTheFootOfAPage:
    def test_takes_the_repository_from_the_nearest_who_names_it(self, foot, tmp_path, monkeypatch):
        monkeypatch.delenv("DSKD_REPOSITORY", raising=False)
        assert foot.repository(tmp_path, "") == ""
        (tmp_path / "CITATION.cff").write_text("repository-code: https://example.org/them/book.git/\n")
        assert foot.repository(tmp_path, "") == "https://example.org/them/book"
        assert foot.repository(tmp_path, "https://example.org/set") == "https://example.org/set"
        monkeypatch.setenv("DSKD_REPOSITORY", "https://example.org/fork/")
        assert foot.repository(tmp_path, "https://example.org/set") == "https://example.org/fork"

    def test_names_the_commit_and_marks_changes_since(self, foot, tmp_path):
        assert foot.commit(tmp_path) == "unknown"
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
        (tmp_path / "page.md").write_text("one")
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
            subprocess.run([*git, *command], check=True)
        clean = foot.commit(tmp_path)
        (tmp_path / "page.md").write_text("two")
        assert len(clean) == 12 and foot.commit(tmp_path) == f"{clean}+"

    def test_finds_the_results_that_a_page_glues_or_was_made_from(self, foot):
        results = {f"studies/tiny/{name}": record() for name in ("04-distillation", "05-evaluation", "06-ablations")}
        source = "{glue:text}`studies/tiny/06-ablations.ipynb::best` and 05-evaluation in words"
        read = ["/somewhere/book/studies/tiny/results/04-distillation.json", "variants.yaml"]
        found = foot.named_results(source, read, results)
        assert found == ["studies/tiny/04-distillation", "studies/tiny/06-ablations"]

    def test_reads_results_of_studies_and_nothing_else(self, foot, tmp_path):
        folder = tmp_path / "studies" / "tiny" / "results"
        folder.mkdir(parents=True)
        (folder / "04-distillation.json").write_text(json.dumps(record()))
        (folder / "03-explored-words.json").write_text("[]")
        search = tmp_path / "studies" / "tiny" / "search" / "results"
        search.mkdir(parents=True)
        (search / "06-ablations.json").write_text(json.dumps(record()))
        expected = ["studies/tiny/04-distillation", "studies/tiny/search/06-ablations"]
        assert sorted(foot.results_by_page(tmp_path)) == expected
        read = ["/somewhere/book/studies/tiny/search/results/06-ablations.json"]
        assert foot.named_results("", read, dict.fromkeys(expected)) == expected[1:]

    def test_a_run_beside_the_batch_is_run_again_by_its_own_notebook(self, foot):
        batch, search = record(profile="full"), record(profile="full")
        batch["parameters"]["run"] = "batch"
        search["parameters"] = {"seed": 0, "run": "search", "grids": "search", "flips": "add", "answers": "no space"}
        pages = {"studies/tiny/01-lexicon": batch, "studies/tiny/search/06-ablations": search}
        app = SimpleNamespace(study_results=pages)
        first, again, last = foot.commands(app, "plan", list(pages))
        assert first.startswith("make study TEACHER=tiny PROFILE=full") and "search" not in first
        assert again == (
            "papermill notebooks/06-ablations.ipynb out.ipynb "
            "-p teacher tiny -p profile full -p seed 0 -p run search -p grids search "
            "-p answers 'no space'"
        )
        assert last == "make book"
        assert foot.commands(app, "plan", list(pages)[1:]) == [again, last]

    def test_says_where_numbers_come_from_in_full(self, foot):
        said = foot.origin(record())
        for part in ("0123456789ab", "tiny", "quick", "25%", "seed 0", "2 cores", "AVX2", "no accelerator", "24 GB",
                     "421 s", "2026-11-24"):  # fmt: skip
            assert part in said

    @pytest.fixture
    def app(self):
        """As much of Sphinx's application as links need."""
        pages = {"studies/tiny/04-distillation": "studies/tiny/04-distillation.ipynb", "method": "method.md"}
        env = SimpleNamespace(all_docs=pages, doc2path=lambda page, base: pages[page])
        return SimpleNamespace(env=env, config=SimpleNamespace(study_branch="main"), study_repository="")

    def test_links_to_edit_and_launch_wait_for_the_repository(self, foot, app):
        notebook, prose = "studies/tiny/04-distillation", "method"
        lab = "http://localhost:8888/lab/tree/04-distillation.ipynb"
        without = " ".join(foot.ways(app, notebook, "../../"))
        assert 'href="../../_sources/studies/tiny/04-distillation.ipynb" download' in without and lab in without
        assert "binder" not in without and "notebooks/04-distillation.ipynb" in without
        app.study_repository = "https://example.org/them/book"
        launch = "https://mybinder.org/v2/gh/them/book/main?urlpath=lab/tree/notebooks/04-distillation.ipynb"
        assert launch in " ".join(foot.ways(app, notebook, "../../"))
        assert foot.ways(app, prose, "") == [
            '<a href="https://example.org/them/book/edit/main/book/method.md">Edit this page</a>'
        ]

    def test_ships_numbers_for_comparison_and_no_texts(self, foot):
        shipped = foot.comparable(record()["numbers"])
        assert shipped == {"a": 1.5, "missing": None}
        json.dumps(shipped, allow_nan=False)


class TestTheReference:
    @pytest.fixture
    def rooms(self):
        return importlib.import_module("api_rooms")

    def test_needs_no_heavy_package(self, rooms):
        heavy = rooms.heavy_imports()
        assert {"torch", "transformers", "numpy"} <= set(heavy)
        assert not {"yaml", "dskd_utils", "json", "pathlib"} & set(heavy)

    @pytest.mark.parametrize(
        "source, written",
        [
            ("def f(a: int, *, b: float | None = None) -> str: ...", "(a: int, *, b: float | None=None) -> str"),
            ("def method(self, a=1): ...", "(a=1)"),
            ("class A:\n    def __init__(self, a: int) -> None: ...", "(a: int)"),
            ("@dataclass(frozen=True)\nclass A:\n    a: int\n    b: dict = field(default_factory=dict)",
             "(a: int, b: dict = dict())"),
            ("class A(NamedTuple):\n    a: int", "(a: int)"),
        ],
    )  # fmt: skip
    def test_signatures_are_those_of_the_source(self, rooms, source, written):
        assert rooms.signature(ast.parse(source).body[0]) == written

    def test_names_lead_to_where_they_are_defined(self, rooms):
        assert rooms._origin("dskd_utils.stages", "Candidates") == "dskd_utils.stage_senses.Candidates"
        assert rooms._origin("dskd_utils.stages", "nobody") is None

    def test_single_backticks_are_code(self, rooms):
        lines = ["takes `a` and ``b``, in `c", "d`; :py:mod:`e`"]
        rooms.spell(None, "", "", None, None, lines)
        assert lines == ["takes ``a`` and ``b``, in ``c", "d``; :py:mod:`e`"]

    def test_an_unknown_room_is_refused_with_where_to_look(self, rooms):
        with pytest.raises(Exception, match=r"no room 'cellar': see the folders beside dskd_utils/__init__\.py"):
            rooms.modules("cellar")


class TestPicturesSayWhatTheyShow:
    @pytest.fixture
    def described(self):
        return importlib.import_module("alt_text").described

    def picture(self, text):
        tree = publish_doctree(text, settings_overrides={"doctitle_xform": False, "report_level": 5})
        (found,) = tree.findall(nodes.image)
        return found

    def test_by_the_caption_below(self, described):
        found = self.picture("Heading\n=======\n\nAbove.\n\n.. image:: a.png\n\n*What is seen.*\n")
        assert described(found) == "Figure, Heading. What is seen."

    def test_by_the_function_that_drew_them(self, described):
        code = ".. container:: cell\n\n   ::\n\n     figures.benchmark_bars(rows)\n\n   .. image:: a.png\n"
        cell = f"Heading\n=======\n\nAbove.\n\n{code}"
        assert described(self.picture(cell)).startswith("Figure, Heading. Accuracy of each model on each benchmark")

    def test_by_the_sentences_above(self, described):
        found = self.picture("Heading\n=======\n\nFirst. " + "Second " * 60 + ".\n\n.. image:: a.png\n\nBelow.\n")
        assert described(found) == "Figure, Heading. First."


def test_signatures_and_bibliographies_are_sound_for_a_screen_reader():
    mended = importlib.import_module("accessible").mended
    body = '<dt>f(\n<dl>\n<dd><em>a</em>,</dd>\n<dd>b</dd>\n</dl>\n)</dt><dl class="x"><dt>t</dt><dd>d</dd></dl>'
    assert mended(body) == (
        '<dt>f(\n<span class="sig-lines">\n<span class="sig-line"><em>a</em>,</span>\n<span class="sig-line">b</span>\n'
        '</span>\n)</dt><dl class="x"><dt>t</dt><dd>d</dd></dl>'
    )
    cited = '<div role="list" class="citation-list"><div class="citation" role="doc-biblioentry">'
    assert mended(cited) == '<div class="citation-list"><div class="citation">'


def test_buttons_of_the_table_of_contents_have_names():
    name_toggles = importlib.import_module("accessible").name_toggles
    write = name_toggles(
        lambda: '<a class="x" href="y">The <em>method</em></a><details><summary><span></span></summary>'
    )
    assert '<summary aria-label="Pages of The method">' in write()


def test_live_cells_are_left_out_of_a_page():
    local_only = importlib.import_module("local_only")
    body = "a<script type=\"text/x-thebe-config\">{}</script>\n<script>kernelName = 'python3'</script>b"
    assert local_only.THEBE.sub("", body) == "ab"
