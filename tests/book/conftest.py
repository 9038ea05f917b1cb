"""The book, built once for all tests, served from this machine, and one browser that looks at it."""

import functools
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What an environment of the group `docs` does not hold; importing it must not be needed to render the book.
ABSENT = ("torch", "transformers", "accelerate", "datasets", "gensim", "matplotlib", "pyarrow", "safetensors", "umap")
BUILD = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

sys.meta_path.insert(0, Absent())
from jupyter_book.cli.main import main
main(sys.argv[1:])
"""


def build(sources: Path, out: Path) -> None:
    """Render the book as `make book` does, without the packages that only the study needs."""
    options = ["--path-output", str(out), "-W", "-n", "--keep-going", "--all", "--quiet"]
    command = [sys.executable, "-c", BUILD, "build", str(sources), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]


@pytest.fixture(scope="session")
def site(made_once) -> Path:
    """The built site."""
    return made_once("book", lambda out: build(ROOT / "book", out)) / "_build" / "html"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def opened(browser):
    """A function that opens an address and watches it: console errors, failed and foreign requests are faults."""
    contexts, faults = [], []

    def open_page(url, *, width=1200, dark=False):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(120_000)  # a busy machine is slow, not wrong
        page = context.new_page()
        own = tuple(url.split("/", 3)[:3]) if url.startswith("http") else ("file:", "", "")
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("console", lambda said: faults.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("requestfailed", lambda sent: faults.append(f"failed: {sent.url} {sent.failure}"))
        page.on("response", lambda got: faults.append(f"{got.status}: {got.url}") if got.status >= 400 else None)
        page.on("request", lambda sent: None if is_own(sent.url, own) else faults.append(f"foreign: {sent.url}"))
        page.goto(url)
        page.evaluate("window.MathJax?.startup?.promise ?? null")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults, faults


def is_own(url: str, own: tuple) -> bool:
    """Whether a request stays on the machine: the site's own server or disk, or data in the page."""
    return url.startswith(("data:", "blob:")) or tuple(url.split("/", 3)[:3]) == own
