"""The paper's reading and the released code's as one switch: where the paper is silent or differs from its code."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

VARIANTS = ("paper", "released")


@cache
def decisions() -> dict[int, dict[str, Any]]:
    """What had to be decided, by number: `point`, `paper`, `released`, `options`, `ours` (see `variants.yaml`)."""
    return yaml.safe_load((Path(__file__).parent / "variants.yaml").read_text(encoding="utf-8"))


def settings(variant: str) -> dict[str, Any]:
    """Notebook parameters that a variant sets; none for the paper's, which are the defaults.

    Raises:
        ValueError: an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}: got {variant!r}")
    if variant == "paper":
        return {}
    options = [option for row in decisions().values() for option in row.get("options", {}).items()]
    return {name: values[variant] for name, values in options if variant in values}
