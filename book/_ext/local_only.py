"""Sphinx extension: pages ask no other host for anything, and work where they are opened from disk.

Live cells (thebe) would load their scripts from elsewhere, so their parts are left out of the pages. The search fetches
each page that it has found for an excerpt, which a browser refuses to a page from disk: there it lists titles alone.
"""

import re

THEBE = re.compile(
    r'<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName = .*?</script>\s*', flags=re.DOTALL
)
NO_EXCERPTS = 'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'


def _is_thebe(asset) -> bool:
    said = f"{getattr(asset, 'filename', '')} {getattr(asset, 'attributes', {}).get('body', '')}"
    return "thebe" in said.lower()


def clean(app, page: str, template: str, context: dict, doctree) -> None:
    """Take thebe out of a page, and excerpts out of the search of a site that is opened from disk."""
    if page == "search":
        app.add_js_file(None, body=NO_EXCERPTS)
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if not _is_thebe(asset)]
    if "body" in context:
        context["body"] = THEBE.sub("", context["body"])


def setup(app) -> dict:
    """What Sphinx calls."""
    app.connect("html-page-context", clean, priority=900)  # after thebe's own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
