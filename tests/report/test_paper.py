"""The paper's numbers are those of its text, table by table, where that text is at hand."""

import re
from pathlib import Path

import pytest

from dskd_utils.report import paper

TEXT = Path(__file__).resolve().parents[3] / "shared" / "paper" / "dskd.md"
pytestmark = pytest.mark.skipif(not TEXT.is_file(), reason="the paper's text is not beside this project")
LLAMA, MISTRAL = "Llama-3-8B", "Mistral-7B"


def rows_of(number):
    """The cells of the rows of a table, numbers and words, without marks of bold; none of its head."""
    text = re.sub(r"</?b>|[±%]", "\t", TEXT.read_text(encoding="utf-8")).replace("\t\t", "\t")
    before, after = re.split(rf"\*?\*?Table {number}: ", text, maxsplit=1)
    block = [part for part in before.split("\n\n") if "\t" in part][-1]
    assert not re.search(r"Table \d+: ", before[before.rindex(block) :]), f"another table stands before {number}"
    return [[cell.strip() for cell in line.split("\t") if cell.strip()] for line in block.splitlines() if line.strip()]


def numbers(cells):
    return tuple(float(cell.replace(",", "").removesuffix("B").removesuffix(" G")) for cell in cells)


def test_table_1_has_the_printed_pairs():
    printed = [tuple(part.strip() for cell in row for part in cell.split(",")) for row in rows_of(1)[1:]]
    assert printed == [(*old, relation, *new, other) for old, relation, new, other in paper.TABLE_1]


def test_table_2_has_the_printed_rates():
    printed = [numbers(row) for row in rows_of(2)[2:]]
    assert [row[0] for row in printed] == [1, 2, 3, 4, 5]
    assert list(zip(*(row[1:] for row in printed), strict=True)) == list(paper.TABLE_2.values())
    assert list(paper.TABLE_2) == [(name, kind) for name in (LLAMA, MISTRAL) for kind in ("synonym", "antonym")]


def test_table_3_has_the_printed_values_and_spreads():
    printed = [numbers(row[1:]) for row in rows_of(3)[1:]]
    ours = [(layers, *(n for cell in cells for n in cell)) for (_, _, layers), cells in paper.TABLE_3.items()]
    assert printed == ours
    assert [row[0] for row in rows_of(3)[1:]] == ["LLaMA3-8B", "KD", "DSKD", "Mistral-7B", "KD", "DSKD"]


@pytest.mark.parametrize(
    ("number", "table"), [(4, paper.TABLE_4), (5, paper.TABLE_5), (6, paper.TABLE_6), (9, paper.TABLE_9)]
)
def test_an_ablation_has_the_printed_accuracies_and_its_bold_row(number, table):
    rows = [row for row in rows_of(number) if re.fullmatch(r"[\d.*]+", row[0])]
    printed = {numbers([cell.strip("*") for cell in row])[0]: numbers(c.strip("*") for c in row[1:]) for row in rows}
    assert printed == table
    whole = TEXT.read_text(encoding="utf-8")
    for place, (name, _) in enumerate(paper.ABLATED):
        value = table[paper.CHOSEN[number][name]][place]
        assert f"<b>{value:.2f}</b>" in whole, (number, name)
    main = {name: paper.TABLE_3[name, "kd" if number == 9 else "dskd", 16] for name in (LLAMA, MISTRAL)}
    chosen = [(table[paper.CHOSEN[number][name]][place], main[name]) for place, (name, _) in enumerate(paper.ABLATED)]
    for place, (value, cells) in enumerate(chosen):
        assert value == cells[(0, 2)[place % 2]][0], "bold cells are Table 3's numbers"


def test_table_7_repeats_tables_11_and_12():
    for row, method in zip(rows_of(7)[1:], ("teacher", "kd", "dskd"), strict=True):
        layers, parameters, memory, minutes = paper.TABLE_11[LLAMA, method]
        assert row[1] == str(layers) and row[2] == f"{parameters}B" and row[3] == f"{memory}GB"
        assert row[4] == printed_hours(minutes) and row[5] == f"{paper.TABLE_12[LLAMA, method][2]}min"


def printed_hours(minutes):
    return "N/A" if minutes is None else f"{minutes // 60}h{minutes % 60:02d}min"


def test_table_8_has_the_printed_counts_and_sizes():
    ours = [[paper.TABLE_8[name][key] for name in (LLAMA, MISTRAL)] for key in paper.TABLE_8[LLAMA]]
    printed = [[float(re.sub(r"[ ,GB]", "", cell)) for cell in row[1:]] for row in rows_of(8)[1:]]
    assert printed == ours


def test_table_10_has_the_printed_settings():
    printed = [row[1:] for row in rows_of(10)[1:]]
    ours = list(zip(*paper.TABLE_10.values(), strict=True))
    assert [[float(cell) if cell != "N/A" else cell for cell in row] for row in printed] == [
        [float(cell) if cell != "N/A" else cell for cell in row] for row in ours
    ]


def test_tables_11_and_12_have_the_printed_costs():
    for row, (layers, parameters, memory, minutes) in zip(rows_of(11)[1:], paper.TABLE_11.values(), strict=True):
        assert row[1:] == [str(layers), f"{parameters}B", f"{memory}GB", printed_hours(minutes)]
    for row, minutes in zip(rows_of(12)[1:], paper.TABLE_12.values(), strict=True):
        assert [cell.removesuffix("min") for cell in row[1:]] == [f"{minute:g}" for minute in minutes]


def test_what_the_text_says_in_numbers_is_in_it():
    text = TEXT.read_text(encoding="utf-8")
    for sentence in (
        "approximately 14% of tokens", "over 90% of synonym antonym relations", "overhead of around 5%",
        "approximately 70–90% of the teacher", "at most 2000 contextual embeddings", "we set  $m = 3$",
        "we use  $\\kappa = 5$", "we use 25% of the available training data",
    ):  # fmt: skip
        assert sentence in text, sentence
    assert paper.STATED["related tokens"] == 0.14 and paper.STATED["kept relations"] == 0.9
    assert paper.STATED["training overhead"] == 0.05 and paper.STATED["cap"] == 2000
    assert (paper.STATED["kept by KD, low"], paper.STATED["kept by KD, high"]) == (0.7, 0.9)
