"""Sphinx extension: the directive `decisions` lists what the paper leaves open (`dskd_utils/variants.yaml`)."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from dskd_utils.variants import decisions


def sentences(number: int, row: dict) -> list[str]:
    """A decision in Markdown, one paragraph a line: the point, the readings, what is done here, what it changes."""
    lines = [f"**{number}. {row['point'][0].upper()}{row['point'][1:]}**"]
    labels = {"paper": "The paper", "released": "Its released code", "ours": "Here"}
    lines += [f": *{labels[kind]}*: {row[kind]}." for kind in labels if kind in row]
    if "changes" in row:
        lines.append(f": *What it changes*: {row['changes']}.")
    for name, values in row.get("options", {}).items():
        named = {"paper": "the default", "released": "with `variant` set to `released`"}
        said = ", ".join(f"`{value}` is {named[kind]}" for kind, value in values.items())
        lines.append(f": *Parameter* `{name}`: {said}.")
    return lines


class Decisions(SphinxDirective):
    """All decisions, one after another."""

    def run(self) -> list[nodes.Node]:
        """The parsed list."""
        lines = []
        for number, row in decisions().items():
            lines += ["", *sentences(number, row)]
        holder = nodes.container(classes=["decisions"])
        self.state.nested_parse(StringList(lines, "variants.yaml"), self.content_offset, holder)
        return [holder]


def setup(app) -> dict:
    """What Sphinx calls."""
    app.add_directive("decisions", Decisions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
