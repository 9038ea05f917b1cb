"""Grids of students: what varies, read from YAML (paper, sections 5.1 and 6, Tables 4, 5, 6 and 9, Figure 3a).

A grid is a title, a number of training tokens and blocks of settings; each block stands for the product of its lists.
A setting that a block does not name has the teacher's preset, or the paper's value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "grids"
# What can vary and of which type. `layers` at most 1 are a share of the teacher's; `beta` sets both weights.
SETTINGS = {
    "method": str,
    "layers": float,
    "trainable_layers": int,
    "init": str,
    "lr": float,
    "alpha": float,
    "temperature": float,
    "beta": float,
    "beta_p": float,
    "beta_n": float,
    "margin": float,
    "margin_quantile": float,
    "kappa": int,
    "share": float,
    "weighting": str,
    "dropout": float,
    "k": int,
}


@dataclass(frozen=True)
class Grid:
    """Students that are trained on the same text and compared.

    Attributes:
        name: of its file.
        title: what it asks.
        tokens: of the training text that are read, its first; 0 for all.
        cells: the settings of each student, by a name made of them.
    """

    name: str
    title: str
    tokens: int
    cells: dict[str, dict[str, Any]]


def cell_name(settings: Mapping[str, Any]) -> str:
    """A readable name: the method, then what is set, such as `dskd-beta0.3-kappa10`."""
    rest = [f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}" for name, value in settings.items()
            if name != "method"]  # fmt: skip
    return "-".join([settings["method"], *rest])


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
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or set(data) != {"title", "tokens", "vary"}:
        raise ValueError(f"grid {path.name} must have the fields title, tokens and vary, and no others")
    cells: dict[str, dict[str, Any]] = {}
    for block in data["vary"] or []:
        options = [[(setting, _value(path.name, setting, one)) for one in values] for setting, values in block.items()]
        for chosen in product(*options):
            settings = {"method": "dskd"} | dict(chosen)
            if (made := cell_name(settings)) in cells:
                raise ValueError(f"grid {path.name} has the student {made!r} twice: leave one out")
            cells[made] = settings
    if not cells:
        raise ValueError(f"grid {path.name} has no student: give vary at least one block")
    return Grid(path.stem, str(data["title"]), int(data["tokens"]), cells)


def _value(grid: str, setting: str, value: Any) -> Any:
    """A value in its setting's type."""
    if setting not in SETTINGS:
        raise ValueError(f"grid {grid} varies {setting!r}: choose among {', '.join(SETTINGS)}")
    wanted = SETTINGS[setting]
    if isinstance(value, bool) or not isinstance(value, (int, float) if wanted is float else wanted):
        raise ValueError(f"grid {grid}: {setting} must be {wanted.__name__}, got {value!r} (YAML reads 1e-3 as a word: "
                         "write 1.0e-3)")  # fmt: skip
    return wanted(value)
