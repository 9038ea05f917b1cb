"""Results of a notebook: one schema, versioned, kept as strict JSON; no section of the paper.

A results file is a header, which is checked whenever it is written or read, and the notebook's own values: numbers, and
tables as lists of rows. JSON has no NaN, so a number that a row lacks is kept as null and read as NaN.
"""

import json
import math
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dskd_utils.artefacts import plain_json, read_json, write_json

VERSION = 1


class Hardware(BaseModel):
    """The machine that a notebook ran on; `memory_gb` in units of 2^30 bytes."""

    architecture: str
    vector_unit: str
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    accelerators: list[str]
    python: str


class Provenance(BaseModel):
    """Where the numbers come from.

    Attributes:
        commit: of the checkout, a `+` behind it where tracked files differed; `unknown` outside git.
        versions: of packages that numbers may depend on.
        hardware: the machine.
        seconds: from the notebook's first cell to the writing of the results.
        finished: when they were written.
        dtype: number format of the teacher.
        peak_memory_gb: the most main memory that the notebook's process held, in units of 2^30 bytes, where known.
        energy_wh: of the processors meanwhile in watt-hours, other programs included, where the machine tells it.
        processes: how many shared the work, as `torchrun` starts them; memory is that of the first.
        inputs: sha256 of every results file that the notebook read, by its name, where known.
        stages: sha256 of all that each stage depends on whose artefact the notebook used (texts, thesauri, the
            teacher's weights and tokenizer, settings, code, the stages before it), by its folder, where known.
    """

    commit: str = Field(min_length=7)
    versions: dict[str, str]
    hardware: Hardware
    seconds: float = Field(ge=0)
    finished: datetime
    dtype: str
    peak_memory_gb: float | None = None
    energy_wh: float | None = None
    processes: int = Field(default=1, ge=1)
    inputs: dict[str, str] | None = None
    stages: dict[str, str] | None = None


class Header(BaseModel):
    """What every results file holds beside the notebook's own values.

    Attributes:
        schema_version: of this schema.
        teacher: as the user named it.
        profile: the budgets, scaled to the machine.
        parameters: the notebook's.
        files: whether it ran with a folder of upstream files, where known.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(extra="allow")

    schema_version: int = Field(ge=1, le=VERSION)
    teacher: str = Field(min_length=1)
    profile: dict[str, Any]
    parameters: dict[str, Any]
    files: bool | None = None
    provenance: Provenance


def check(record: Mapping[str, Any], name: str) -> None:
    """Raise a ValueError unless the record has the schema's header.

    Args:
        record: the content of a results file.
        name: what the error calls it.
    """
    try:
        Header.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"{name} is not a results file of schema {VERSION}: {place}: {first['msg']}; run its notebook again, or "
            "take the version of this package that wrote it"
        ) from error


def write_results(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Write a results file, atomically; the schema's version is added.

    Raises:
        ValueError: the header is not the schema's.
    """
    whole = _without_nan(json.loads(json.dumps({"schema_version": VERSION, **record}, default=plain_json)))
    check(whole, Path(path).name)
    return write_json(path, whole)


def read_results(path: str | os.PathLike) -> Any:
    """The content of a results file; what a row of a table lacks is NaN.

    Other files below `results/`, without provenance, are read in the same way and not checked.

    Raises:
        ValueError: it is not JSON, or its header is not the schema's.
    """
    record = read_json(path)
    if isinstance(record, dict) and "provenance" in record:
        check(record, Path(path).name)
    return _with_nan(record)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(value: Any, in_row: bool = False) -> Any:
    if isinstance(value, dict):
        return {name: math.nan if part is None and in_row else _with_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_nan(part, isinstance(part, dict)) for part in value]
    return value
