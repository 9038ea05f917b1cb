"""Numbers of the book's prose, looked up where they were measured (or printed in the paper) by a short path.

`05-evaluation:held_out[model=kd,metric=perplexity].value|,.1f` is the value of the one row of the table `held_out` in
`05-evaluation.json` whose columns are as given, written with one digit. Sources beside the results of notebooks are
`paper` (what the paper prints or states), `profiles` and `teachers` (this repository's settings).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dskd_utils.report.paper import sources as paper_sources
from dskd_utils.results import read_results

DEFAULT_TEACHER = "smollm2-135m"
SETTINGS = {"profiles": "profiles.yaml", "teachers": "teachers.yaml"}
_STEP = re.compile(r"""\[((?:[^\]"]|"[^"]*")*)\]|"([^"]*)"|([^.\["]+)|\.""")
_CONDITION = re.compile(r"""([^=,]+)=("[^"]*"|[^,]*)(?:,|$)""")


def steps(path: str) -> Iterator[str | dict[str, str]]:
    """The keys of a path and, as dictionaries, its conditions; a quoted value may hold commas.

    Raises:
        ValueError: the path cannot be read.
    """
    place = 0
    while place < len(path):
        found = _STEP.match(path, place)
        if found is None:
            raise ValueError(f"the path {path!r} cannot be read from {path[place:]!r} on")
        place = found.end()
        if found[1] is not None:
            pairs = _CONDITION.findall(found[1])
            if not pairs:
                raise ValueError(f"the condition [{found[1]}] must be column=value, several with commas")
            yield {name.strip(): value.strip('"') for name, value in pairs}
        elif key := found[2] or found[3]:
            yield key


def look_up(data: Any, path: str) -> Any:
    """The one value that a path names in loaded results.

    Args:
        data: dictionaries, and lists of rows, as JSON gives them.
        path: keys with dots between, one that holds a dot in double quotes; `[column=value,...]` picks the row of a
            table, whose values are compared as text and as numbers; a number picks an entry of a plain list.

    Raises:
        LookupError: nothing is there, more than one row fits, or what is there is no single value; says which.
        ValueError: the path cannot be read.
    """
    here, walked = data, ""
    for step in steps(path):
        if isinstance(step, dict):
            if not isinstance(here, list):
                raise LookupError(f"{walked or 'the file'} is no table, so {step} cannot pick a row")
            rows = [row for row in here if all(_same(row.get(name), value) for name, value in step.items())]
            if len(rows) != 1:
                raise LookupError(f"{len(rows)} rows of {walked} fit {step}, one is needed")
            here, walked = rows[0], f"{walked}[...]"
        elif isinstance(here, Mapping) and step in here:
            here, walked = here[step], f"{walked}.{step}".lstrip(".")
        elif isinstance(here, list) and step.isdigit() and int(step) < len(here):
            here, walked = here[int(step)], f"{walked}.{step}"
        else:
            known = ", ".join(map(str, here)) if isinstance(here, Mapping) else "no keys"
            raise LookupError(f"there is no {step!r} in {walked or 'the file'}: it has {known[:200]}")
    if here is None or isinstance(here, Mapping | list):
        raise LookupError(f"{walked} is {'empty' if here is None else 'a table'}, a single value is needed")
    return here


def _same(found: Any, asked: str) -> bool:
    if str("" if found is None else found) == asked:
        return True
    try:
        return not isinstance(found, str) and found is not None and float(found) == float(asked)
    except ValueError:
        return False


def load(file: str, studies: Path) -> Any:
    """The results file `teacher/notebook` (the default teacher where none is named), or another source by its name.

    Raises:
        LookupError: there is no such file; names those that there are.
    """
    if file == "paper":
        return paper_sources()
    if file in SETTINGS:
        return yaml.safe_load((Path(__file__).parents[1] / SETTINGS[file]).read_text(encoding="utf-8"))
    path = results_path(file, studies)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
        raise LookupError(f"there are no results {path.stem} in {path.parent.name} of {path.parents[1].name}: {known}")
    return read_results(path)


def results_path(file: str, studies: Path) -> Path:
    """Where the results of `teacher/notebook` lie below the book's folder of studies."""
    teacher, _, notebook = file.rpartition("/")
    return studies / (teacher or DEFAULT_TEACHER) / "results" / f"{notebook}.json"


def parse(reference: str) -> tuple[str, str, str, str | None]:
    """File, path, format and what stands where the value is missing (None: it must be there) of a reference.

    Raises:
        ValueError: it has not the form `file:path|format|text`.
    """
    place, *rest = reference.split("|")
    file, colon, path = place.partition(":")
    if not colon or not path or len(rest) > 2:
        raise ValueError(f"{reference!r} must be file:path|format, and |text where the value may be missing")
    return file.strip(), path.strip(), rest[0].strip() if rest else "", rest[1].strip() if len(rest) == 2 else None


def written(reference: str, studies: Path) -> str:
    """What a reference stands for in prose.

    Args:
        reference: `file:path|format`; a third part is written where the value is missing.
        studies: the book's folder with a folder a teacher.

    Raises:
        LookupError: no value, or more than one, and no text in its place.
        ValueError: the reference cannot be read, or its format does not fit the value.
    """
    file, path, form, missing = parse(reference)
    try:
        value = look_up(load(file, studies), path)
        if value != value:
            raise LookupError(f"{path} is not a number")
    except LookupError:
        if missing is None:
            raise
        return missing
    text = format(value, form)
    return re.sub("^-", "\N{MINUS SIGN}", text) if _is_number(value) else text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
