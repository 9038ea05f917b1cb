"""Sphinx extension: a picture that a notebook drew says in words what it shows, for who cannot see it.

A picture from a code cell has no alternative text of its own unless the cell's metadata gives one. It gets the heading
that it stands under and what is said about it: in the docstring of the function that drew it, in a caption in italics
just below, else in the first sentences above.
"""

import ast
import re
from functools import cache
from pathlib import Path

from docutils import nodes

import dskd_utils

LONGEST = 300  # characters


@cache
def drawings() -> dict[str, str]:
    """What each function that draws says of its picture: the first paragraph of its docstring, by `module.function`."""
    found = {}
    for path in (Path(dskd_utils.__file__).parent / "report").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "Figure":
                said = (ast.get_docstring(node) or "").split("\n\n")[0]
                found[f"{path.stem}.{node.name}"] = said.replace("`", "")
    return found


def _block(picture: nodes.Node) -> nodes.Node:
    """The outermost part of a section that holds the picture, such as its code cell."""
    while picture.parent is not None and not isinstance(picture.parent, nodes.section | nodes.document):
        picture = picture.parent
    return picture


def _sentences(text: str) -> str:
    """The first sentences of a text that fit, at least one."""
    kept = ""
    for sentence in re.split(r"(?<=[.:;?!])\s+", " ".join(text.split())):
        if kept and len(kept) + len(sentence) > LONGEST:
            break
        kept = f"{kept} {sentence}".strip()
    return kept


def described(picture: nodes.image) -> str:
    """What the page says about a picture."""
    block = _block(picture)
    section = block.parent
    if section is None:
        return ""
    heading = next((child.astext() for child in section.children if isinstance(child, nodes.title)), "")
    code = " ".join(part.astext() for part in block.findall(nodes.literal_block))
    drawn = [drawings()[name] for name in re.findall(r"\b\w+\.\w+(?=\()", code) if name in drawings()]
    place = section.index(block)
    below = section.children[place + 1] if place + 1 < len(section) else None
    if isinstance(below, nodes.paragraph) and isinstance(below.children[0], nodes.emphasis):
        said = below.astext()
    elif drawn:
        said = drawn[-1]
    else:
        above = [child for child in section.children[:place] if isinstance(child, nodes.paragraph)]
        said = above[-1].astext() if above else ""
    return f"Figure, {heading}. {_sentences(said)}".strip()


def describe(app, doctree: nodes.document, page: str) -> None:
    """Give every picture of a page a text."""
    for picture in doctree.findall(nodes.image):
        if not picture.get("alt"):
            picture["alt"] = described(picture)


def setup(app) -> dict:
    """What Sphinx calls."""
    app.connect("doctree-resolved", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
