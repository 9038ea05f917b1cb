"""Sphinx extension: the directive `room` documents the modules of one room of `dskd_utils` from their docstrings.

Only public names are listed. The package is imported with its heavy dependencies mocked, so that the book is built
without torch; signatures are read from the source, which says them as their authors wrote them.
"""

import ast
import copy
import re
import shutil
import sys
from functools import cache
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.ext.autodoc.mock import _MockObject
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

import dskd_utils

PACKAGE = Path(dskd_utils.__file__).parent
LIGHT = {"dskd_utils", "yaml"}  # what may be imported as it is; anything else that the package imports is mocked
RECORDS = {"dataclass", "NamedTuple"}


def modules(room: str) -> list[Path]:
    """Modules of a room that have public names, by name; `.` is the package itself, outside its rooms.

    Raises:
        ExtensionError: there is no such room.
    """
    folder = PACKAGE / room
    if not (folder / "__init__.py").is_file():
        raise ExtensionError(f"dskd_utils has no room {room!r}: see the folders beside {PACKAGE.name}/__init__.py")
    return [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")]


def heavy_imports() -> list[str]:
    """Top-level names of all third-party packages that `dskd_utils` imports anywhere, but for the light ones."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
    return sorted(found - LIGHT - set(sys.stdlib_module_names))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def summary(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    return " ".join((ast.get_docstring(_tree(path)) or "").split("\n\n")[0].split())


def signature(node: ast.AST) -> str | None:
    """A function's or a class's parameters as its source has them; None where there are none to show."""
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        bound = (arguments.posonlyargs or arguments.args)[:1]
        if bound and bound[0].arg in {"self", "cls"}:
            arguments = ast.arguments(**{f: getattr(arguments, f) for f in arguments._fields} | {
                "posonlyargs": [], "args": [*arguments.posonlyargs, *arguments.args][1:]})  # fmt: skip
        result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"({ast.unparse(arguments)}){result}"
    if not isinstance(node, ast.ClassDef):
        return None
    marks = {part.id for outer in [*node.decorator_list, *node.bases] for part in ast.walk(outer)
             if isinstance(part, ast.Name)}  # fmt: skip
    if marks & RECORDS:
        fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
        written = [re.sub(r"field\(default_factory=(\w+).*\)", r"\1()", ast.unparse(f)) for f in fields]
        return f"({', '.join(written)})"
    starts = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    return (signature(starts[0]) or "").removesuffix(" -> None") if starts else None


def sign(app, what, name, found, options, given, returned) -> tuple[str, str] | None:
    """Autodoc's hook for signatures: what the source says, in place of what the mocked import would."""
    place = next((module for module in _parents(name) if (PACKAGE.parent / _file(module)).is_file()), None)
    if place is None or place == name:
        return None
    node: ast.AST | None = _tree(PACKAGE.parent / _file(place))
    for part in name.removeprefix(f"{place}.").split("."):
        body = getattr(node, "body", [])
        node = next((each for each in body if getattr(each, "name", None) == part), None)
    written = signature(_Named(place).visit(copy.deepcopy(node))) if node else None
    return (written, "") if written else ("", "")


class _Named(ast.NodeTransformer):
    """Gives names that a module imports from this package their full form, so that each links to one entry."""

    def __init__(self, module: str):
        self.module = module

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802, the names that ast calls
        """A type given as a string, as a class gives itself, without its quotes."""
        if isinstance(node.returns, ast.Constant) and isinstance(node.returns.value, str):
            node.returns = ast.parse(node.returns.value, mode="eval").body
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
        return ast.copy_location(ast.Name(_origin(self.module, node.id) or node.id), node)


@cache
def _origin(module: str, name: str) -> str | None:
    """Where a name that a module of this package uses is defined, re-exports followed; None if not in this package."""
    for node in _tree(PACKAGE.parent / _file(module)).body:
        if getattr(node, "name", None) == name:
            return f"{module}.{name}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dskd_utils."):
            for imported in node.names:
                if (imported.asname or imported.name) == name and (PACKAGE.parent / _file(node.module)).is_file():
                    return _origin(node.module, imported.name)
    return None


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _file(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")


def spell(app, what, name, found, options, lines: list[str]) -> None:
    """Autodoc's hook for docstrings: single backticks are code, as in Markdown."""
    lines[:] = re.sub(r"(?<![`:\w])`([^`]+)`(?![`_])", r"``\1``", "\n".join(lines)).split("\n")


class Room(SphinxDirective):
    """All modules of a room: a table of them, then a section each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The parsed sections."""
        room = self.arguments[0]
        prefix = "dskd_utils" if room == "." else f"dskd_utils.{room}"
        found = modules(room)
        lines = [
            ".. list-table::",
            "   :widths: 25 75",
            "   :header-rows: 1",
            "",
            "   * - Module",
            "     - What it holds",
        ]
        for path in found:
            lines += [
                f"   * - :py:mod:`{path.stem} <{prefix}.{path.stem}>`",
                "     - " + summary(path).replace("`", "``"),
            ]
            self.env.note_dependency(str(path))
        for path in found:
            lines += ["", path.stem, "-" * len(path.stem), "", f".. automodule:: {prefix}.{path.stem}"]
            lines += ["   :members:", "   :ignore-module-all:"]
        holder = nodes.Element()
        nested_parse_with_titles(self.state, StringList([*lines, ""], f"{prefix}.rst"), holder)
        return holder.children


def settle(app, config) -> None:
    """What the directive needs of autodoc, whatever the book's configuration says."""
    config.autodoc_mock_imports = heavy_imports()
    config.autodoc_member_order = "bysource"
    config.napoleon_use_ivar = True
    config.add_module_names = False
    config.python_use_unqualified_type_names = True
    config.python_maximum_signature_line_length = 88
    config.viewcode_follow_imported_members = False  # a function with a mocked decorator would lose its source
    # Types of other packages and of the standard library: their documentation lies on other hosts.
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, (r"py:.*", r"(?!dskd_utils).*")]


def forget_sources(app) -> None:
    """Remove the pages of sources that an earlier build wrote: viewcode would keep them, with an old foot."""
    shutil.rmtree(Path(app.outdir) / "_modules", ignore_errors=True)


def setup(app) -> dict:
    """What Sphinx calls."""
    # `torch.Tensor | None` is evaluated when a module is imported, which a mocked `torch.Tensor` cannot do by itself.
    _MockObject.__or__ = _MockObject.__ror__ = lambda self, other: self
    for extension in ("autodoc", "napoleon", "viewcode"):
        app.setup_extension(f"sphinx.ext.{extension}")
    app.add_directive("room", Room)
    app.connect("config-inited", settle)
    app.connect("builder-inited", forget_sources)
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-process-docstring", spell)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
