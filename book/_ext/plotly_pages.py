"""Sphinx extension: a page with a sense map (paper, Figure 1) gets plotly's script, from the site itself.

The script has 4.8 MB, so it is not kept in the repository: it comes from the installed `plotly` package and is put into
the site's `_static` when the site is built. The site asks no other host for anything.
"""

import importlib.util
import shutil
from pathlib import Path

from sphinx.errors import ExtensionError

MARK = 'class="dskd-map"'  # of what `_static/interactive.js` brings to life


def plotly_script() -> Path:
    """Where the installed plotly package keeps its script.

    Raises:
        ExtensionError: plotly is not installed, or keeps no script.
    """
    found = importlib.util.find_spec("plotly")
    script = Path(found.origin).parent / "package_data" / "plotly.min.js" if found and found.origin else None
    if script is None or not script.is_file():
        raise ExtensionError("the sense map needs plotly's script: `pip install plotly` and build the book again")
    return script


def accept_plotly_outputs(app, config) -> None:
    """An output for JupyterLab in plotly's own type is no fault: the page takes the HTML that stands beside it."""
    config.suppress_warnings = [*config.suppress_warnings, "mystnb.unknown_mime_type"]


def copy_script(app) -> None:
    """Put plotly's script into the site before the pages are written, so that they carry its checksum."""
    if app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "plotly.min.js"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(plotly_script(), target)


def name_script(app, pagename, templatename, context, doctree) -> None:
    """Name the script in a page that holds a map; other pages need not load it."""
    if MARK in context.get("body", ""):
        app.add_js_file("plotly.min.js", loading_method="defer")


def setup(app) -> dict:
    """What Sphinx calls."""
    app.connect("config-inited", accept_plotly_outputs)
    app.connect("builder-inited", copy_script)
    app.connect("html-page-context", name_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
