"""Sphinx extension: the foot of every page, with where its numbers come from and how to run, get and change the page.

What a notebook's own last cell says is not said twice. A page of a notebook can also be compared with a reader's own
run: its results are put into the site as a script, which works where a page is opened from disk and nothing can be
fetched (`_static/compare.js`).
"""

import html
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import dskd_utils
from dskd_utils.profiles import BATCH, assignments
from dskd_utils.report.tables import study_command
from dskd_utils.results import read_results

TITLE = "Where these numbers come from"  # what dskd_utils.report.tables.provenance_box starts with
NUMBERS = re.compile(r"studies/[\w./-]+/\d\d-[a-z-]+")
RESULTS = re.compile(r"^.*?(studies/.+)/results/([^/]+)\.json$")
LONGEST = 80  # characters of a string that is shipped for comparison; texts are not compared
NOTEBOOKS = Path(dskd_utils.__file__).resolve().parents[1] / "notebooks"
LAB = "http://localhost:8888/lab/tree/"  # where `make lab` answers


def repository(root: Path, configured: str) -> str:
    """The repository's address: the environment's, the configuration's, that of CITATION.cff; empty if none names one.

    Args:
        root: the folder that may hold CITATION.cff.
        configured: `study_repository` of the configuration.
    """
    citation = root / "CITATION.cff"
    cited = yaml.safe_load(citation.read_text(encoding="utf-8")) if citation.is_file() else {}
    found = os.environ.get("DSKD_REPOSITORY") or configured or cited.get("repository-code") or ""
    return found.rstrip("/").removesuffix(".git")


def commit(folder: Path) -> str:
    """The commit that is built, with a plus sign where files have been changed since; `unknown` outside of git."""
    asked = ["git", "-C", str(folder), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def root_of(folder: Path) -> Path:
    """The repository that a folder of the book's sources lies in: the nearest one above it with a `pyproject.toml`."""
    return next((place for place in folder.parents if (place / "pyproject.toml").is_file()), folder.parent)


def results_by_page(sources: Path) -> dict[str, dict[str, Any]]:
    """Results of all studies in the book's sources, by page (`studies/<teacher>/<notebook>`, or with a run between)."""
    found = {}
    for path in sorted((sources / "studies").rglob("results/*.json")):
        record = read_results(path)
        if isinstance(record, dict) and "provenance" in record:
            found[(path.parents[1].relative_to(sources) / path.stem).as_posix()] = record
    return found


def origin(record: dict[str, Any]) -> str:
    """Commit, teacher, profile, machine and duration of a results file as HTML, as in a notebook's own box."""
    run, profile = record["provenance"], record["profile"]
    machine = run["hardware"]
    return (
        f"Commit {_code(run['commit'])}, teacher {_code(record['teacher'])}, profile {_code(profile['name'])} at "
        f"{profile['scale']:.0%} of its budget, seed {record['parameters']['seed']}, {machine['cores']} cores "
        f"({html.escape(machine['architecture'])}, {html.escape(machine['vector_unit'])}), "
        f"{html.escape(', '.join(machine['accelerators']) or 'no accelerator')}, {machine['memory_gb']:.0f} GB, "
        f"{run['seconds']:.0f} s on {run['finished'][:10]}"
    )


def _code(text: str) -> str:
    return f"<code>{html.escape(str(text))}</code>"


def named_results(source: str, read: Iterable[str], results: Mapping[str, Any]) -> list[str]:
    """Pages whose results a prose page shows.

    Args:
        source: the page's text, which may name a notebook's page, as `glue` does.
        read: files that the page was made from, as the roles and blocks for numbers note them.
        results: all results by page.
    """
    named = {match[0] for match in NUMBERS.finditer(source)} | {RESULTS.sub(r"\1/\2", path) for path in read}
    return [page for page in results if page in named]


def shown_results(app, page: str) -> list[str]:
    """Pages whose results a page shows: a notebook's own, or those that a prose page names."""
    if page in app.study_results:
        return [page]
    source = Path(app.env.doc2path(page)) if page in app.env.all_docs else None
    if source is None or source.suffix != ".md":
        return []
    return named_results(source.read_text(encoding="utf-8"), app.env.dependencies.get(page, ()), app.study_results)


def papermill(page: str, record: Mapping[str, Any], notebooks: Path = NOTEBOOKS) -> str:
    """The command that runs the notebook of a page again: every parameter that is not the notebook's own default.

    A batch's run is not named, so that nobody writes into a batch by hand.
    """
    name, values = page.rsplit("/", 1)[1], record["parameters"]
    cells = json.loads((notebooks / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    default = assignments(next(cell for cell in code if cell.startswith("teacher")))
    asked = {"teacher": record["teacher"], "profile": record["profile"]["name"], "seed": values["seed"]}
    asked |= {key: value for key, value in values.items() if key in default and value != default[key]}
    if asked.get("run") == BATCH:
        del asked["run"]
    asked |= {"data_dir": "..."} if record.get("files") else {}
    given = " ".join(f"-p {key} {shlex.quote(str(value))}" for key, value in asked.items())
    return f"papermill notebooks/{name}.ipynb out.ipynb {given}"


def commands(app, page: str, shown: list[str]) -> list[str]:
    """What to type to run a page again: its notebook with the same parameters, or the studies and the book."""
    results = app.study_results
    if shown == [page]:
        return [papermill(page, results[page])]
    batch = {name: record for name, record in results.items() if record["parameters"].get("run", BATCH) == BATCH}
    studies: dict[tuple[str, str], list] = {}
    for record in batch.values():
        studies.setdefault((record["teacher"], record["profile"]["name"]), []).append(record)
    named = dict.fromkeys((batch[name]["teacher"], batch[name]["profile"]["name"]) for name in shown if name in batch)
    single = [papermill(name, results[name]) for name in shown if name not in batch]
    return [*(study_command(*studies[name]) for name in named), *single, "make book"]


def where_from(app, page: str, shown: list[str], body: str) -> str:
    """The paragraph on where a page's numbers come from; empty where its notebook says so itself."""
    if shown == [page]:
        return "" if TITLE in body else f"<p><strong>{TITLE}.</strong> {origin(app.study_results[page])}.</p>"
    changed = ", with changes" if app.study_commit.endswith("+") else ""
    built = f"This page was built from commit {_code(app.study_commit.rstrip('+'))}{changed}"
    if not shown:
        return f"<p><strong>{TITLE}.</strong> {built}; it shows no measurement of this study.</p>"
    rows = "".join(
        f'<li><a href="{app.builder.get_relative_uri(page, name)}">{html.escape(name.split("/", 1)[1])}</a>: '
        f"{origin(app.study_results[name])}</li>"
        for name in shown
    )
    return f"<p><strong>{TITLE}.</strong> {built}. Its numbers were measured by</p><ul>{rows}</ul>"


def ways(app, page: str, link: str) -> list[str]:
    """Links to get, open and change a page, as HTML; some need the repository's address and wait until it is known."""
    path = app.env.doc2path(page, base=False) if page in app.env.all_docs else None
    if path is None:
        return []
    name, notebook = page.rsplit("/", 1)[-1], page.startswith("studies/")
    origin_path = f"notebooks/{name}.ipynb" if notebook else f"book/{path}"
    found = []
    if notebook:
        found += [
            f'<a href="{link}_sources/{path}" download>Download this notebook</a>',
            f'<a href="{LAB}{name}.ipynb">Open in JupyterLab</a> (after {_code("make lab")})',
        ]
    if address := app.study_repository:
        branch = app.config.study_branch
        if notebook:
            owner = "/".join(address.split("/")[-2:])
            launch = f"https://mybinder.org/v2/gh/{owner}/{branch}?urlpath=lab/tree/{origin_path}"
            found.append(f'<a href="{launch}">Launch on Binder</a>')
        found.append(f'<a href="{address}/edit/{branch}/{origin_path}">Edit this page</a>')
    else:
        found.append(f"To edit: {_code(origin_path)}")
    return found


def compare_box(page: str, link: str) -> str:
    """The part that `_static/compare.js` brings to life: a reader's own results beside those of the page."""
    name = page.rsplit("/", 1)[1]
    return (
        f'<details class="dskd-compare" data-name="{name}" data-results="{link}_static/results/{page}.js">'
        "<summary>Compare with your run</summary><p>Choose or paste your "
        f"{_code(f'runs/TEACHER/PROFILE/results/{name}.json')}. It is read here, in your browser, and sent nowhere.</p>"
        "<noscript>This needs JavaScript.</noscript></details>"
    )


def add_foot(app, page: str, template: str, context: dict, doctree) -> None:
    """Put the foot under a page's text."""
    if "body" not in context or template == "search.html":
        return
    link = "../" * page.count("/")
    shown = shown_results(app, page)
    typed = html.escape("\n".join(commands(app, page, shown)))
    parts = [where_from(app, page, shown, context["body"])]
    parts += [f'<p>Run again:</p><div class="highlight"><pre>{typed}</pre></div>']
    if found := ways(app, page, link):
        parts.append(f'<ul class="dskd-ways">{"".join(f"<li>{way}</li>" for way in found)}</ul>')
    if page in app.study_results:
        parts.append(compare_box(page, link))
    context["body"] += f'<section class="dskd-foot" aria-label="About this page">{"".join(parts)}</section>'


def comparable(value: Any) -> Any:
    """A results file's content without long texts and without lists of plain strings, which nobody compares."""
    if isinstance(value, dict):
        return {name: comparable(part) for name, part in value.items() if not _is_text(part)}
    if isinstance(value, list):
        return [comparable(part) for part in value if not _is_text(part)]
    return None if value != value else value  # NaN is not JSON


def _is_text(value: Any) -> bool:
    return (isinstance(value, str) and len(value) > LONGEST) or (
        isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)
    )


def prepare(app) -> None:
    """Read the results once, and put into the site what pages are compared with."""
    root = root_of(Path(app.srcdir))
    app.study_results = results_by_page(Path(app.srcdir))
    app.study_commit = commit(root)
    app.study_repository = repository(root, app.config.study_repository)
    if app.builder.format != "html":
        return
    for page, record in app.study_results.items():
        path = Path(app.outdir) / "_static" / "results" / f"{page}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        shipped = json.dumps(comparable(record), ensure_ascii=False, separators=(",", ":"))
        path.write_text(f"window.dskdResults={shipped};\n", encoding="utf-8")


def setup(app) -> dict:
    """What Sphinx calls."""
    app.add_config_value("study_repository", "", "html")
    app.add_config_value("study_branch", "main", "html")
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", add_foot)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
