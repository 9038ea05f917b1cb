"""Grids of students: what varies, read from YAML (paper, sections 5.1 and 6, Tables 4, 5, 6 and 9, Figure 3a).

A grid is a title, a number of training tokens, or a share of the profile's such as `5%`, and blocks of settings; each
block stands for the product of its lists. Where `pairs` is given, its students are also asked about so many pairs of
synonyms and antonyms of validation words. A setting that a block does not name has the teacher's preset, or the paper's
value; a learning rate such as `0.5x` is that many times the preset's.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "grids"
# What can vary: type, least value and bound. `layers` at most 1 are a share of the teacher's; `beta` sets both weights.
SETTINGS = {
    "method": (str, None, ""),
    "layers": (float, 1e-6, ""),
    "trainable_layers": (int, 1, ""),
    "init": (str, None, ""),
    "lr": (float, 1e-12, ""),
    "alpha": (float, 0, ""),
    "temperature": (float, 1e-6, ""),
    "beta": (float, 0, ""),
    "beta_p": (float, 0, ""),
    "beta_n": (float, 0, ""),
    "beta_schedule": (str, None, ""),
    "margin": (float, 0, ""),
    "margin_quantile": (float, 0, "below 1"),
    "kappa": (int, 1, "at most 20"),  # candidates that are looked up, `distill.candidates.NEAREST`
    "share": (float, 0, "at most 1"),
    "weighting": (str, None, ""),
    "divergence": (str, None, ""),
    "dropout": (float, 0, "below 1"),
    "own_in_negatives": (bool, None, ""),
    # of the dictionary
    "k": (int, 1, ""),
    "key": (str, None, ""),
    "cap": (int, 1, ""),
    "adaptive": (str, None, ""),
    "dictionary_text": (str, None, ""),
    "max_span": (int, 1, ""),
    "neighbours": (int, 0, ""),
    "neighbour_tokens": (str, None, ""),
    # of the lexicon
    "sources": (str, None, ""),
    "flips": (str, None, ""),
}
# What a student without a sense loss reads.
WITHOUT_SENSES = ("layers", "trainable_layers", "init", "lr", "alpha", "temperature", "divergence", "dropout")
FIELDS = {"tokens": "training tokens, 0 for all of them or a share such as 5%", "pairs": "word pairs, or 0 for none"}
RELATIVE = re.compile(r"(\d+\.?\d*|\.\d+)x")
SHARE = re.compile(r"(\d+\.?\d*|\.\d+)%")


@dataclass(frozen=True)
class Grid:
    """Students that are trained on the same text and compared.

    Attributes:
        name: of its file.
        title: what it asks.
        tokens: of the training text that are read, its first; 0 for all; between 0 and 1 a share of the profile's.
        cells: the settings of each student, by a name made of them; `lr` may be a text such as `0.5x`.
        lines: the line of the file on which the block of each student starts.
        pairs: of validation words, that each student is asked about; 0 for none.
        path: of its file.
    """

    name: str
    title: str
    tokens: float
    cells: dict[str, dict[str, Any]]
    lines: dict[str, int]
    pairs: int = 0
    path: Path | None = None

    def made_for(self, preset: Mapping[str, Any], training_tokens: int) -> "Grid":
        """The grid in a teacher's learning rates and a profile's tokens: what is relative becomes a number.

        Args:
            preset: of the teacher, with `lr`.
            training_tokens: of the profile, scaled to the machine.

        Raises:
            ValueError: two students are equal with this teacher's learning rate; names the line.
        """
        cells: dict[str, dict[str, Any]] = {}
        lines: dict[str, int] = {}
        for written, settings in self.cells.items():
            name, rate = written, settings.get("lr")
            if isinstance(rate, str):
                settings = settings | {"lr": float(rate[:-1]) * preset["lr"]}
                name = cell_name(settings)
            if name in cells:
                raise ValueError(
                    f"grid {self.name}, line {self.lines[written]}: with this teacher's learning rate of "
                    f"{preset['lr']:g} the student {name!r} is there twice, leave one out"
                )
            cells[name] = settings
            if written in self.lines:
                lines[name] = self.lines[written]
        share = 0 < self.tokens < 1
        tokens = max(1, round(self.tokens * training_tokens)) if share else self.tokens
        return replace(self, cells=cells, lines=lines, tokens=tokens)


def cell_name(settings: Mapping[str, Any]) -> str:
    """A readable name that can be a folder's: the method, then what is set, such as `dskd-beta0.3-kappa10`."""
    rest = [f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}" for name, value in settings.items()
            if name != "method"]  # fmt: skip
    return re.sub(r"[^\w.+-]+", "_", "-".join([settings["method"], *rest]))


def beside_kd(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """For each student with a sense loss, or a control, the KD student that differs from it in nothing else.

    A student without such a partner is left out.
    """

    def shared(settings: Mapping[str, Any]) -> tuple:
        return tuple(settings.get(name) for name in WITHOUT_SENSES)

    plain = {shared(cell): name for name, cell in cells.items() if cell["method"] == "kd"}
    return {
        name: plain[shared(cell)] for name, cell in cells.items() if cell["method"] != "kd" and shared(cell) in plain
    }


def read_grid(name: str) -> Grid:
    """The grid of a name in `dskd_utils/grids`, or of a path to a YAML file.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: a field, a setting or a value that a grid cannot have; two equal students; no student.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.yaml")))
        raise FileNotFoundError(f"there is no grid {name!r}: choose among {known}, or give the path of a YAML file")
    text = path.read_text(encoding="utf-8")
    try:
        data, marks = yaml.safe_load(text), yaml.compose(text)
    except yaml.YAMLError as error:
        raise ValueError(f"grid {path.name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or {*data, "pairs"} != {"title", "tokens", "pairs", "vary"}:
        raise ValueError(f"grid {path.name} must have the fields title, tokens and vary, may have pairs, and no others")
    fields = {key.value: node for key, node in marks.value}
    for field, meaning in FIELDS.items():
        value = data.setdefault(field, 0)
        if field == "tokens" and isinstance(value, str) and (share := SHARE.fullmatch(value)):
            value = data[field] = float(share[1]) / 100
            if 0 < value < 1:
                continue
            value = data[field] = 0 if value == 1 else -1
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            line = fields[field].start_mark.line + 1
            raise ValueError(f"{path.name}, line {line}: {field} must be a number of {meaning}")
    cells: dict[str, dict[str, Any]] = {}
    lines: dict[str, int] = {}
    if not isinstance(data["vary"], list | None):
        line = fields["vary"].start_mark.line + 1
        raise ValueError(
            f"{path.name}, line {line}: vary must be a list of blocks, each settings with a list of values"
        )
    blocks = fields["vary"].value
    for block, mark in zip(data["vary"] or [], blocks, strict=False):
        if not isinstance(block, dict) or not all(isinstance(values, list) for values in block.values()):
            raise ValueError(
                f"{path.name}, line {mark.start_mark.line + 1}: a block is settings with a list of values each"
            )
        at = {key.value: key.start_mark.line + 1 for key, _ in mark.value}
        options = [
            [(setting, _value(f"{path.name}, line {at[setting]}", setting, one)) for one in values]
            for setting, values in block.items()
        ]
        for chosen in product(*options):
            settings = {"method": "dskd"} | dict(chosen)
            made, line = cell_name(settings), mark.start_mark.line + 1
            if made in cells:
                raise ValueError(f"{path.name}, line {line}: the student {made!r} is there twice, leave one out")
            cells[made], lines[made] = settings, line
    if not cells:
        raise ValueError(f"grid {path.name} has no student: give vary at least one block")
    return Grid(path.stem, str(data["title"]), data["tokens"], cells, lines, data["pairs"], path)


def read_grids(names: str) -> list[Grid]:
    """The grids of names or paths with commas between; none where that is empty or `none`.

    Raises:
        FileNotFoundError, ValueError: as of `read_grid`.
    """
    return [read_grid(name) for part in names.split(",") if (name := part.strip()) not in ("", "none")]


def _value(where: str, setting: str, value: Any) -> Any:
    """A value in its setting's type."""
    if setting not in SETTINGS:
        raise ValueError(f"{where}: a grid cannot vary {setting!r}, choose among {', '.join(SETTINGS)}")
    wanted, least, most = SETTINGS[setting]
    if setting == "lr" and isinstance(value, str) and (times := RELATIVE.fullmatch(value)) and float(times[1]):
        return f"{float(times[1]):g}x"
    readable = (int, float) if wanted is float else wanted
    if isinstance(value, bool) != (wanted is bool) or not isinstance(value, readable):
        more = " (YAML reads 1e-3 as a word: write 1.0e-3)" if wanted is float else ""
        more += "; 0.5x is half the teacher's own" if setting == "lr" else ""
        raise ValueError(f"{where}: {setting} must be {wanted.__name__}, got {value!r}{more}")
    if wanted is float and not math.isfinite(value):
        raise ValueError(f"{where}: {setting} must be a finite number, got {value!r}")
    if least is not None and value < least:
        raise ValueError(
            f"{where}: {setting} must be {'above 0' if 0 < least < 1 else f'at least {least}'}, got {value!r}"
        )
    if most and (value >= int(most.split()[-1]) if most.startswith("below") else value > int(most.split()[-1])):
        raise ValueError(f"{where}: {setting} must be {most}, got {value!r}")
    return wanted(value)
