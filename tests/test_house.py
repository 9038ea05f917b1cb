"""Tests of the house: layers, lengths, pins, notebook sources."""

import ast
import re
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dskd_utils"
ROOMS = ["sources", "lexicon", "senses", "distill", "evaluate", "report"]
FREE = {"artefacts", "profiles", "results"}  # what every room may use
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dskd_utils."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != PACKAGE], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_room_uses_only_the_rooms_before_it(path):
    room = path.parent.name
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) | FREE
    assert set(imported(path)) <= allowed


@pytest.mark.parametrize("name", ["losses", "kmeans", "composition", "significance"])
def test_pure_modules_import_no_sibling(name):
    (path,) = PACKAGE.rglob(f"{name}.py")
    assert not set(imported(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_modules_are_short_and_say_what_of_the_paper_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 320
    first = ast.get_docstring(ast.parse(text)).split("\n\n")[0]
    assert re.search(r"paper|section", first), first


def test_conda_users_get_the_same_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert sorted(pin for pin in conda if not pin.startswith("-")) == sorted(pins)
    assert all("==" in pin for pin in pins) and "torch==2.13.0" in pins


def test_the_group_that_renders_the_book_has_the_same_pins_and_no_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    docs = project["dependency-groups"]["docs"]
    assert set(docs) <= {*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["test"]}
    assert not any(pin.startswith(("torch", "transformers")) for pin in docs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebookSources:
    def test_have_no_outputs_and_short_cells_without_definitions(self, path):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            assert not cell.outputs and cell.execution_count is None
            nodes = ast.walk(ast.parse(cell.source.replace("%", "#%") if cell.source.startswith("%") else cell.source))
            assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in nodes)
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= 15 or "parameters" in cell.metadata.get("tags", [])

    def test_every_parameter_is_seen_by_papermill(self, path):
        cells = nbformat.read(path, as_version=4).cells
        (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        declared = {node.target.id for node in ast.parse(cell.source).body}
        assert set(papermill.inspect_notebook(str(path))) == declared
        assert {"teacher", "profile", "run", "seed", "source", "data_dir"} <= declared
        assert cell is next(c for c in cells if c.cell_type == "code"), "it must be the first code cell"

    def test_import_only_rooms_that_the_batch_watches_for_changes(self, path):
        text = (ROOT / "Snakefile").read_text(encoding="utf-8")
        rules = ast.parse(text[text.index("BASE = [") : text.index("BUDGET = profile")])
        namespace = {}
        exec(compile(rules, "Snakefile", "exec"), namespace)
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        rooms = set(re.findall(r"from dskd_utils\.(\w+)", "\n".join(cells))) & set(ROOMS)
        assert rooms <= set(namespace["ROOMS"][path.stem])

    def test_open_the_study_of_their_own_name(self, path):
        source = path.read_text(encoding="utf-8")
        assert f'open_study(\\"{path.stem}\\", globals())' in source


def test_files_name_no_machine_and_no_registry():
    # Assembled here so that this file does not hold what it looks for.
    words = ["/" + "work/", "/" + "root/", "pypi" + ".org", "files.python" + "hosted"]
    listed = [p for pattern in ("*.py", "*.md", "*.yml", "*.yaml", "*.toml", "*.ipynb", "Makefile", "Snakefile", "run")
              for p in ROOT.rglob(pattern)]  # fmt: skip
    made = {".venv", ".venv-docs", "runs", "_build", ".git"}
    own = [p for p in listed if p.is_file() and not set(p.relative_to(ROOT).parts) & made]
    found = [(str(p.relative_to(ROOT)), word) for p in own for word in words if word in p.read_text(encoding="utf-8")]
    assert not found


def test_no_file_is_over_three_megabytes():
    committed = [p for p in (ROOT / "book").rglob("*") if p.is_file()]
    assert all(path.stat().st_size < 3e6 for path in committed)
