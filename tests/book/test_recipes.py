"""What the pages on doing it yourself tell a reader to type, and the messages that they explain, are real."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import yaml

from dskd_utils.grid import FOLDER, SETTINGS, read_grid
from dskd_utils.stage_grid import objective_of
from dskd_utils.study import assignments

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "book" / "run").glob("*.md"), ROOT / "book" / "run.md", ROOT / "book" / "decisions.md"])
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in [*PAGES, ROOT / "README.md"]}
COMMAND = re.compile(r"^papermill (notebooks/\S+\.ipynb) (\S+\.ipynb)(.*)$", re.M)
COMMANDS = [(page, *command.groups()) for page, text in TEXTS.items() for command in COMMAND.finditer(text)]


def parameters(notebook: str) -> dict:
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    return assignments(next(cell for cell in cells if "parameters" in cell.metadata.get("tags", [])).source)


def test_there_are_recipes_for_every_notebook_but_the_tables():
    named = {Path(notebook).stem for _, notebook, _, _ in COMMANDS}
    assert named == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - {"07-tables"}


@pytest.mark.parametrize(("page", "notebook", "out", "rest"), COMMANDS, ids=lambda value: str(value)[-40:])
def test_a_recipe_names_parameters_that_the_notebook_has_with_values_of_their_type(page, notebook, out, rest):
    declared = parameters(notebook)
    rest = rest.split(" # ")[0]
    given = re.findall(r'-p (\w+) ("[^"]*"|\S+)', rest)
    assert given and len(given) == rest.count("-p ")
    for name, value in given:
        assert name in declared, (page, name)
        value = yaml.safe_load(value) if not value.startswith('"') else value.strip('"')
        wanted = type(declared[name])
        assert isinstance(value, wanted) or (wanted is float and isinstance(value, int)), (page, name, value)


def test_a_misspelt_parameter_would_be_found():
    with pytest.raises(AssertionError):
        test_a_recipe_names_parameters_that_the_notebook_has_with_values_of_their_type(
            "", "notebooks/04-distillation.ipynb", "out.ipynb", " -p kapa 10"
        )


@pytest.mark.parametrize("page", list(TEXTS))
def test_inline_parameters_are_those_of_some_notebook(page):
    known = {name for path in (ROOT / "notebooks").glob("*.ipynb") for name in parameters(f"notebooks/{path.name}")}
    assert set(re.findall(r"`-p (\w+)", TEXTS[page])) <= known
    assert set(re.findall(r"`([a-z_]+)=(?:\"|\d)", TEXTS[page])) <= known | {"method"}


def test_the_grid_of_the_page_can_be_read_and_its_settings_are_all_there_are(tmp_path):
    page = TEXTS["book/run/grid.md"]
    path = tmp_path / "my-grid.yaml"
    path.write_text(re.search(r"```yaml\n(.*?)```", page, re.S)[1])
    grid = read_grid(str(path))
    preset = yaml.safe_load((ROOT / "dskd_utils" / "teachers.yaml").read_text())["defaults"]
    assert len(grid.cells) == 9 and all(objective_of(cell, preset) for cell in grid.cells.values())
    told = page[page.index("What else can vary") :].split("\n\n")[1]
    assert set(re.findall(r"`(\w+)`", told)) == set(SETTINGS) - {"method"}
    named = page[page.index("`method` is") :].split("What else")[0]
    for method in set(re.findall(r"`(\w+)`", named)) - {"method"}:
        assert objective_of({"method": method}, preset)
    assert {row for row in re.findall(r"^\| `([\w-]+)`", page, re.M)} == {path.stem for path in FOLDER.glob("*.yaml")}


def source() -> str:
    """All code of the package, the Makefile and the book's extensions, with strings that go over lines put together."""
    files = [*(ROOT / "dskd_utils").rglob("*.py"), ROOT / "Makefile", *(ROOT / "book" / "_ext").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


ELSEWHERE = ("No space left on device", "DeadKernelError: Kernel died")  # of the system and of nbclient
MESSAGES = re.findall(r"^`([^`]+)`[^\n]*\n: ", TEXTS["book/run/troubleshooting.md"], re.M)


@pytest.mark.parametrize("message", [message for message in MESSAGES if message not in ELSEWHERE])
def test_an_explained_message_is_one_that_the_code_gives(message):
    pattern = r".{0,120}?".join(re.escape(part) for part in message.split("…"))
    assert re.search(pattern, source()), message


def test_more_than_thirty_messages_are_explained_and_a_made_up_one_would_be_found():
    assert len(MESSAGES) > 30
    with pytest.raises(AssertionError):
        test_an_explained_message_is_one_that_the_code_gives("the moon is … blue today")


def test_the_page_on_a_corpus_of_ones_own_does_what_it_says(llama, tmp_path, monkeypatch):
    from dskd_utils.lexicon.relations import Relations

    monkeypatch.chdir(tmp_path)
    words = " the happy glad sad river bank was cold and the warm light is very happy"
    names = {
        "teacher": llama,
        "texts": [words[i:] + words for i in range(0, 30, 3)],
        "relations": Relations.from_pairs([("happy", "glad")], [("happy", "sad")]),
        "layers": 4,
        "block": 32,
    }
    code = re.search(r"```python\n(.*?)```", TEXTS["book/run/corpus.md"], re.S)[1]
    exec(compile(code, "corpus.md", "exec"), names)
    assert (names["folder"] / "model.safetensors").is_file() and len(names["index"].positions)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(1500)
def test_recipes_run(smoke_study, run, tmp_path):
    """One after another beside a finished study, each finding what those before it made."""
    shutil.copytree(smoke_study[0] / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns(".*"))
    for notebook, given in (
        ("01-lexicon", {"flips": "none"}),
        ("02-senses", {"key": "predicted"}),
        ("04-distillation", {"margin_quantile": "0.5"}),
        ("09-worked-example", {"sentence": "It was a light and happy day.", "word": "happy"}),
    ):
        told = [
            part
            for name, value in {"profile": "smoke", "run": "recipe", **given}.items()
            for part in ("-p", name, value)
        ]
        run("papermill", str(ROOT / f"notebooks/{notebook}.ipynb"), "out.ipynb", *told, home=tmp_path)
        assert (tmp_path / f"runs/smollm2-135m/smoke/results/run-recipe/{notebook}.json").is_file()
