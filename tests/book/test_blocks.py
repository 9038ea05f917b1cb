"""The book's roles and blocks, built by Sphinx from a page and made-up results."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from dskd_utils.report.values import DEFAULT_TEACHER

BOOK = Path(__file__).resolve().parents[2] / "book"
CONF = f"""
import sys
sys.path.insert(0, {str(BOOK / "_ext")!r})
extensions = ["myst_parser", "study_roles", "study_blocks"]
myst_enable_extensions = ["deflist", "colon_fence"]
"""
MEASURED = {"perplexity": (10.0, 20.0, 30.0), "kl": (0.0, 1.5, 1.25)}
HELD_OUT = [
    {"model": model, "metric": metric, "value": value, "stderr": 0.125, "n": 10}
    for metric, row in MEASURED.items()
    for model, value in zip(("teacher", "kd", "dskd"), row, strict=True)
]
EVALUATION = {
    "teacher": "smollm2-135m",
    "profile": {"name": "smoke"},
    "held_out": HELD_OUT,
    "likelihood": [
        {"model": model, "task": "piqa", "metric": "acc_norm", "value": 0.6, "stderr": 0.05, "n": 75}
        for model in ("teacher", "kd", "dskd")
    ],
    "differences": [{"task": "piqa", "pair": "DSKD - KD", "difference": 0.3, "low": 0.2, "high": 0.4, "n": 75}],
    "accuracy_differences": [{"task": "piqa", "pair": "KD - teacher", "difference": 0, "low": -0.01, "high": 0.01}],
    "letters": [],
}
DISTILLATION = {"settings": {"student layers": "27 of 30", "training tokens": "1,234"}}


@pytest.fixture
def built(tmp_path):
    """A function that builds one page beside a study and gives its HTML and the warnings."""

    def build(page, results=None):
        source = tmp_path / "source"
        study = source / "studies" / DEFAULT_TEACHER
        (study / "results").mkdir(parents=True)
        found = {"05-evaluation": EVALUATION, "04-distillation": DISTILLATION} if results is None else results
        for name, record in found.items():
            (study / "results" / f"{name}.json").write_text(json.dumps(record))
        (study / "05-evaluation.md").write_text("# The evaluation\n")
        shutil.copytree(BOOK / "_static" / "diagrams", source / "_static" / "diagrams")
        (source / "conf.py").write_text(CONF)
        toc = f"```{{toctree}}\n:hidden:\nstudies/{DEFAULT_TEACHER}/05-evaluation\n```"
        (source / "index.md").write_text(f"# Page\n\n{page}\n\n{toc}\n")
        told = io.StringIO()
        out = tmp_path / "out"
        with docutils_namespace():
            Sphinx(source, source, out, tmp_path / "trees", "html", status=None, warning=told, freshenv=True).build()
        text = (out / "index.html").read_text(encoding="utf-8")
        return re.search(r'role="main">(.*?)<div class="sphinxsidebar', text, re.S)[1], told.getvalue()

    return build


def test_a_value_is_written_and_a_missing_one_has_its_text(built):
    html, told = built(
        "It is {value}`05-evaluation:held_out[model=kd,metric=kl].value|.2f` and {value}`08-costs:x|.2f|not run`."
    )
    assert 'It is <span class="value">1.50</span>' in html and "not run</span>." in html and not told


@pytest.mark.parametrize(
    "reference", ["05-evaluation:held_out[model=kd].value", "05-evaluation:nothing", "08-costs:x", "typo"]
)
def test_a_value_that_is_not_one_is_a_warning_with_its_place(built, reference):
    html, told = built(f"It is {{value}}`{reference}`.")
    assert "??" in html and "index.md:3: WARNING: value " in told and reference in told


def test_a_page_of_the_study_is_linked_where_the_book_has_it(built):
    html, told = built("See {page}`05-evaluation`, {page}`05-evaluation|how` and {page}`08-costs`.")
    href = f'href="studies/{DEFAULT_TEACHER}/05-evaluation.html"'
    assert html.count(href) >= 2 and "The evaluation" in html and ">how<" in html
    assert "notebook 08-costs" in html and not told


def test_the_short_answer_is_of_the_results(built):
    html, told = built("```{answer}\n```\n\n```{result-table}\n```\n\n```{setting}\n```\n\n```{result-picture}\n```")
    assert "on 1 of 1 benchmarks is the DSKD student better" in html
    assert "20.0\u00a0±\u00a00.1" in html and "1.250\u00a0±\u00a00.125" in html and "27 of 30 layers" in html
    assert "PIQA: +0.300, interval +0.200 to +0.400, higher" in html and not told


def test_claims_have_a_verdict_a_link_and_a_rule(built):
    html, told = built("```{claims}\n```\n\n```{claims}\n:rules:\n```")
    assert html.count('class="verdict ') == 13 and 'class="verdict not">did not hold up' in html
    assert f'href="studies/{DEFAULT_TEACHER}/05-evaluation.html"' in html and "Held up: higher on every" in html
    assert not told


def test_paper_and_ours_stand_side_by_side(built):
    row = {"method": "dskd", "layers": 27, "top1_agreement": 0.625, "top1_agreement_stderr": 0.01, "kl": 0.5,
           "kl_stderr": 0.02, "kappa": 5}  # fmt: skip
    html, told = built("```{beside} 5\n```\n\n```{beside} 3a\n```", {"06-ablations": {"grids": {"candidates": [row]}}})
    assert "<strong>79.66</strong>" in html and "0.625\u00a0±\u00a00.010" in html and "not run here" in html
    assert "Not run here" in html, "Figure 3a, of which there is no grid"
    assert not told


def test_without_results_every_block_says_that_it_was_not_run(built):
    blocks = ["{answer}", "{result-table}", "{setting}", "{result-picture}", "{claims}", "{beside} 4", "{beside} 3b"]
    html, told = built("\n\n".join(f"```{block}\n```" for block in blocks), {})
    assert html.count("Not run here") >= 5 and html.count("could not be tested here") == 13 and not told


def test_a_diagram_stands_in_the_page_with_its_caption_and_can_be_scrolled_by_keyboard(built):
    html, told = built("```{diagram} loss\n*What it shows, {page}`05-evaluation`.*\n```")
    assert "<svg" in html and 'tabindex="0"' in html and "What it shows" in html and not told


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("diagram} nothing", "there is no diagram nothing"),
        ("beside} 99", "nothing beside '99': choose among 3a, 3b, 4"),
    ],
)
def test_a_block_that_there_is_not_is_an_error_that_says_what_there_is(built, block, words):
    assert words in built(f"```{{{block}\n```")[1]


def test_roles_and_blocks_need_no_torch_so_that_a_light_environment_renders_the_book():
    script = (
        "import sys\n"
        "class Away:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'matplotlib', 'sklearn'):\n"
        "            raise ModuleNotFoundError(name)\n"
        f"sys.meta_path.insert(0, Away())\nsys.path.insert(0, {str(BOOK / '_ext')!r})\n"
        "import decisions, study_blocks, study_roles\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
