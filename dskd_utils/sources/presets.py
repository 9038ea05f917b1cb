"""Teachers that are known by name (section 5.1): their settings, the terms of some, and files that come in parts."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dskd_utils.sources.assets import cache_dir, fetch, find_asset


@cache
def _settings() -> dict[str, Any]:
    return yaml.safe_load((Path(__file__).parent.parent / "teachers.yaml").read_text(encoding="utf-8"))


def presets() -> dict[str, dict[str, Any]]:
    """The settings of every preset by its name, defaults filled in."""
    return {name: _settings()["defaults"] | fields for name, fields in _settings()["presets"].items()}


def preset(name: str) -> dict[str, Any]:
    """Settings for a teacher: of the preset with that name or hub id, else the defaults."""
    for key, fields in presets().items():
        if name in (key, fields["hub"]):
            return fields
    return dict(_settings()["defaults"])


def check_terms(name: str) -> None:
    """Refuse a teacher whose terms have to be accepted first, until `$DSKD_ACCEPT_TERMS` names it.

    Raises:
        PermissionError: says where the terms are and how to accept them.
    """
    fields = presets().get(name, {})
    terms = fields.get("terms")
    if terms and name not in re.split(r"[,\s]+", os.environ.get("DSKD_ACCEPT_TERMS", "")):
        raise PermissionError(
            f"the teacher {name} is used under the {fields['licence']}: read {fetch(terms)} (from "
            f"{find_asset(terms).stands_for}) and, if you accept them, add ACCEPT_TERMS={name} to `make study`, or "
            f"set DSKD_ACCEPT_TERMS={name} where you run a notebook"
        )


@contextlib.contextmanager
def joined(assets: Sequence[str]) -> Iterator[Path]:
    """The file whose parts the assets are, fetched and put together for as long as it is read."""
    parts = [fetch(asset) for asset in assets]
    if len(parts) == 1:
        yield parts[0]
        return
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".joined.", suffix=".partial") as work:
        file = Path(work) / parts[0].stem  # of `name.gguf.part00`
        with open(file, "wb") as target:
            for part in parts:
                with open(part, "rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
        yield file
