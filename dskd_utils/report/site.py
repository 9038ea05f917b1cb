"""From executed notebooks to the book's sources; no section of the paper."""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
import yaml

from dskd_utils.artefacts import atomic_path, project_root, safe_name
from dskd_utils.results import read_results


def collect(teacher: str, profile: str, target: Path, run: str = "") -> list[Path]:
    """Copy a run's executed notebooks and results into `target`, papermill's paths of this machine left out.

    Args:
        teacher, profile: as folder names below `runs/`.
        target: a folder, made where it is not there.
        run: the name of a run beside the batch, whose notebooks and results are in `run-<name>/`.

    Raises:
        FileNotFoundError: the study has not been run.
        ValueError: its results are not of this version's schema.
    """
    folder, part = project_root() / "runs" / teacher / profile, f"run-{run}" if run else ""
    notebooks = sorted((folder / "notebooks" / part).glob("*.ipynb"))
    if not notebooks:
        make = f"make study TEACHER={teacher} PROFILE={profile}"
        first = f"write them to {folder / 'notebooks' / part}/" if run else f"run `{make}` first"
        raise FileNotFoundError(f"there are no executed notebooks of {teacher} at profile {profile}: {first}")
    (target / "results").mkdir(parents=True, exist_ok=True)
    copies = []
    for path in notebooks:
        with atomic_path(target / path.name) as temporary:
            temporary.write_text(nbformat.writes(cleaned(nbformat.read(path, as_version=4))) + "\n", encoding="utf-8")
        copies.append(target / path.name)
    for path in sorted((folder / "results" / part).glob("*.json")):
        read_results(path)  # refuses what is not of the schema
        shutil.copyfile(path, target / "results" / path.name)
    return copies


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without log lines, progress bars and papermill's record of paths and times."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if not _is_noise(out)]
    return notebook


def _is_noise(output: nbformat.NotebookNode) -> bool:
    if output.output_type == "stream":
        return output.name == "stderr" or bool(re.match(r"(INFO|WARNING) ", output.text))
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def stage(studies: Sequence[str], out: Path) -> None:
    """Lay out the book's sources in `out`: the committed book, with the given runs in place of its studies.

    Nothing of a committed study of the same teacher is left but the runs beside the batch, which stand under their own
    names: what another commit, machine or profile has measured decides nothing in this run's book.

    Args:
        studies: `<teacher>/<profile>` of each run, as folder names below `runs/`.
        out: a folder that does not exist yet.
    """
    shutil.copytree(project_root() / "book", out, ignore=shutil.ignore_patterns("_build"))
    names = []
    for study in studies:
        teacher, profile = study.split("/")
        own = out / "studies" / teacher
        for page in own.glob("*.ipynb"):
            page.unlink()
        shutil.rmtree(own / "results", ignore_errors=True)
        collect(teacher, profile, own)
        names.append(teacher)
    committed = sorted(p.name for p in (out / "studies").iterdir() if p.is_dir() and p.name not in names)
    toc = yaml.safe_load((out / "_toc.yml").read_text(encoding="utf-8"))
    toc["parts"] = with_studies(toc["parts"], out / "studies", [*names, *committed])
    (out / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")


def adopt(teacher: str, profile: str, run: str = "") -> None:
    """Copy a run into `book/studies`, to be committed, and list its pages in the book's table of contents.

    Pages that the run does not have stay as they are: a study can come from several runs, and the foot of every page
    names its own.
    A run beside the batch goes to a folder of its name below the teacher's; which page it belongs under is not known
    here, so its pages are listed by hand.
    """
    book = project_root() / "book"
    collect(teacher, profile, book / "studies" / teacher / run, run)
    if run:
        return
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    present = [part["chapters"][0]["file"].split("/")[1] for part in toc["parts"] if _is_study(part)]
    toc["parts"] = with_studies(toc["parts"], book / "studies", list(dict.fromkeys([*present, teacher])))
    (book / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")


def _is_study(part: dict) -> bool:
    return any(str(chapter.get("file", "")).startswith("studies/") for chapter in part["chapters"])


def with_studies(parts: list[dict], studies: Path, names: Sequence[str]) -> list[dict]:
    """The parts of a table of contents with one part a study, where the first one stood."""
    is_study = [_is_study(part) for part in parts]
    place = is_study.index(True) if True in is_study else len(parts)
    kept = [part for part, study in zip(parts, is_study, strict=True) if not study]
    made = [
        {
            "caption": f"The study: {name}",
            "chapters": [{"file": f"studies/{name}/{path.stem}"} for path in sorted((studies / name).glob("*.ipynb"))],
        }
        for name in names
    ]
    return [*kept[:place], *made, *kept[place:]]


def main(arguments: list[str] | None = None) -> int:
    """`python -m dskd_utils.report.site stage|adopt`: the book's sources from runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    staging = commands.add_parser("stage", help="lay out the book with the given runs")
    staging.add_argument("studies", nargs="+", help="teacher/profile, as below runs/")
    staging.add_argument("--out", type=Path, required=True)
    adopting = commands.add_parser("adopt", help="copy a run into book/studies, to be committed")
    adopting.add_argument("--teacher", required=True)
    adopting.add_argument("--profile", required=True)
    adopting.add_argument("--run", default="", help="of a run beside the batch, such as search")
    options = parser.parse_args(arguments)
    try:
        if options.command == "stage":
            stage(options.studies, options.out)
        else:
            adopt(safe_name(options.teacher), options.profile, options.run)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
