"""Sphinx extension: mends what the writers and the theme put into pages that a screen reader cannot make sense of.

Each mend answers a fault that axe-core calls serious or critical; tests/book/ looks at every page again.
"""

import re

SIGNATURE = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>\n")


def _lines(match: re.Match) -> str:
    """A signature's parameters, a line each, as spans: a list of definitions without terms is none."""
    spans = match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">\n{spans}</span>\n'


def mended(body: str) -> str:
    """A page's text with sound signatures and bibliography."""
    body = SIGNATURE.sub(_lines, body)
    return body.replace('<div role="list" class="citation-list">', '<div class="citation-list">').replace(
        ' role="doc-biblioentry"', ""
    )


def name_toggles(write):
    """The theme's function that writes the table of contents, with a name for each button that unfolds a part."""

    def written(*given, **options):
        parts = re.split(r"(<summary>)", str(write(*given, **options)))
        for place in range(1, len(parts), 2):
            titles = re.findall(r'<a class="[^"]*" href="[^"]*">(.*?)</a>', parts[place - 1], flags=re.DOTALL)
            title = re.sub(r"<[^>]+>", "", titles[-1]).strip() if titles else "this part"
            parts[place] = f'<summary aria-label="Pages of {title}">'
        return "".join(parts)

    return written


def mend(app, page: str, template: str, context: dict, doctree) -> None:
    """Mend a page."""
    if "body" in context:
        context["body"] = mended(context["body"])
    if "generate_toctree_html" in context:
        context["generate_toctree_html"] = name_toggles(context["generate_toctree_html"])


def setup(app) -> dict:
    """What Sphinx calls."""
    app.connect("html-page-context", mend, priority=950)  # after the theme has put its functions there
    return {"parallel_read_safe": True, "parallel_write_safe": True}
