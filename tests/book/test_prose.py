"""No number in the book's prose is typed: each comes from a results file, or is a name, a reference or a setting."""

import re
from pathlib import Path

import pytest

from dskd_utils.report import values
from dskd_utils.variants import decisions

BOOK = Path(__file__).resolve().parents[2] / "book"
PAGES = sorted(path for path in BOOK.rglob("*.md") if not {"studies", "_build", "api"} & set(path.parts))
PROSE = ("diagram", "glossary", "note", "tip", "warning", "margin")  # directives whose content is prose
REFERENCES = re.compile(
    r"\b(?:[Tt]ables?|[Ff]igures?|[Ss]ections?|[Rr]ows?|[Nn]otebooks?)\s+"
    r"\d+(?:\.\d+)*[ab]?(?:(?:, | and | to )\d+[ab]?)*"
)
NAMES = (  # that hold a digit
    "Llama-3-8B", "Llama-3", "Gemma-3", "Phi-3", "Qwen2", "Qwen3", "SQuAD 2.0", "WikiText-2", "HG2Vec", "SmolLM2-135M",
    "WordNet 3.0", "Apache-2.0", "AFL-3.0", "Python 3.11, 3.12 or 3.13", "thesaurus of 1911", "Thesaurus of 1911",
    "Roget 1911", "thesaurus\nof 1911", "Meta Llama 3", "Mistral-7B", "F1", "sha256", "fp32",
)  # fmt: skip
SETTINGS = {  # what is chosen and not measured, with the page that says it
    "claims.md": ("0.05 nats", "95%"),
    "index.md": ("95%",),
    "method/distillation.md": ("\nhas 2, and",),  # the released code's temperature
    "method/notation.md": ("above 1 it",),
    "run/grid.md": ("at most 1:",),
}


def prose(text: str) -> str:
    """A page's sentences: no code, no mathematics, no roles, no addresses."""
    kept, fence, told = [], "", ""  # the fence of a block that is left out, and of one whose content is prose
    for line in text.splitlines():
        mark = re.match(r"\s*(`{3,}|~{3,}|:{3,})\s*(?:\{([\w-]+)\})?", line)
        if mark and fence:
            fence = "" if line.strip() == fence else fence
        elif mark and told and line.strip() == told:
            told = ""
        elif mark and mark[2] in PROSE:
            told = mark[1]
        elif mark:
            fence = mark[1]
        elif not fence and not re.match(r":[\w-]+:", line):
            kept.append(line)
    text = "\n".join(kept)
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", "", text, flags=re.S)
    text = re.sub(r"(?:\{[\w:-]+\})?(`+)(?:(?!\1).)*\1", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->|https?://\S+|\]\([^)]*\)|^\([\w-]+\)=$", "", text, flags=re.S | re.M)
    return text


def typed_numbers(text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Digits of a page that are no reference, no name and no setting, with what stands around them."""
    left = prose(text)
    for known in (*NAMES, *allowed):
        left = left.replace(known, "")
    left = re.sub(r"^(\s*)\d+\. ", r"\1", REFERENCES.sub("", left), flags=re.M)  # numbered lists
    return [left[max(0, m.start() - 30) : m.end() + 30].strip() for m in re.finditer(r"\d[\d.,]*", left)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(BOOK)))
def test_a_page_types_no_number(page):
    allowed = SETTINGS.get(str(page.relative_to(BOOK)), ())
    assert not typed_numbers(page.read_text(encoding="utf-8"), allowed)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(BOOK)))
def test_every_reference_of_a_page_names_one_value_or_says_what_stands_in_its_place(page):
    for reference in re.findall(r"\{value\}`([^`]+)`", page.read_text(encoding="utf-8")):
        assert values.written(reference.replace("\\|", "|"), BOOK / "studies")


@pytest.mark.parametrize("page", sorted(SETTINGS))
def test_no_setting_is_allowed_that_a_page_does_not_have(page):
    text = (BOOK / page).read_text(encoding="utf-8")
    assert all(setting in text for setting in SETTINGS[page])


@pytest.mark.parametrize(
    "text",
    [
        "Perplexity fell to 77.2.",
        "Of 41 tokens",
        "It took 5 minutes (Table 3).",
        "```{note}\nabout 60%\n```",
        "```{diagram} loss\n*about 7 senses*\n```",
        "| a | 12 |",
        "at 0.05 nats",
    ],
)
def test_a_typed_number_is_found(text):
    assert typed_numbers(text)


@pytest.mark.parametrize(
    "text",
    [
        "{value}`05-evaluation:held_out.0.value|.2f` is a number",
        "Table 3, Figure 3a, section 4.1, Tables 11 and 12",
        "SQuAD 2.0 and Llama-3-8B",
        "$k = 10$ and\n\n$$x = 2$$",
        "`-p kappa 10`",
        "```bash\nmake -p 3\n```",
        "```{math}\n:label: eq-1\nx_2\n```",
        "1. first\n2. second",
        "[page](https://example.org/2024)",
    ],
)
def test_what_is_no_result_is_left_alone(text):
    assert not typed_numbers(text)


def test_what_a_decision_changes_is_measured_by_references_that_hold():
    measured = {number: row["changes"] for number, row in decisions().items() if "changes" in row}
    assert len(measured) > 12
    for number, text in measured.items():
        references = re.findall(r"\{value\}`([^`]+)`", text)
        assert references, number
        assert all(values.written(reference, BOOK / "studies") for reference in references)
