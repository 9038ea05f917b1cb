"""Sphinx extension: roles that tie prose to the study, `value` for its numbers and `page` for its pages.

`value` puts a number from a results file into a sentence (`dskd_utils/report/values.py` has the form of a reference).
A reference that names no value, or more than one, is a warning, which the build treats as an error. `page` links to a
page of the default teacher, or of another one, where that page is part of the book, and is plain text where it is not.
"""

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from dskd_utils.report.values import DEFAULT_TEACHER, parse, results_path, written

logger = logging.getLogger(__name__)


def studies(env) -> Path:
    """The folder of studies in the sources that are built, the committed ones or the staged ones."""
    return Path(env.srcdir) / "studies"


class Value(SphinxRole):
    """A number from a results file."""

    def run(self) -> tuple[list[nodes.Node], list]:
        """The number as text, with its reference as a tooltip for who wants to know where it is from."""
        try:
            text = written(self.text, studies(self.env))
            self.env.note_dependency(str(results_path(parse(self.text)[0], studies(self.env))))
        except (LookupError, ValueError) as error:
            told = error.args[0] if error.args else error
            logger.warning("value %s: %s", self.text, told, location=self.get_location(), type="study")
            return [nodes.problematic(self.rawtext, "??")], []
        return [nodes.inline(self.rawtext, text, classes=["value"])], []


class Page(SphinxRole):
    """A link to a page of a study, `04-distillation` or `teacher/04-distillation`, with `|words` for other words."""

    def run(self) -> tuple[list[nodes.Node], list]:
        """The link, or the words where the page is not part of this book."""
        name, _, words = self.text.partition("|")
        return [page_link(self.env, name, words)], []


def page_link(env, name: str, words: str = "") -> nodes.Node:
    """A reference to a page of a study, or plain text that says which notebook makes it."""
    teacher, _, notebook = name.rpartition("/")
    target = f"studies/{teacher or DEFAULT_TEACHER}/{notebook}"
    if target not in env.found_docs:
        return nodes.inline("", words or f"notebook {notebook}")
    link = addnodes.pending_xref(
        "", refdomain="std", reftype="doc", reftarget=f"/{target}", refdoc=env.docname, refexplicit=bool(words)
    )
    link += nodes.inline("", words)
    return link


def setup(app) -> dict:
    """What Sphinx calls."""
    app.add_role("value", Value())
    app.add_role("page", Page())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
