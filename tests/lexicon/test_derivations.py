"""Tests of `dskd_utils.lexicon.derivations`."""

import gc
import gzip
import json
import lzma
import zipfile

import openpyxl
import pytest

from dskd_utils.lexicon.derivations import Edge, Piece, parse_segmentation, read_derivations

ROWS = [
    ("happy", "unhappy", "J", "J", "un", "prefix"),
    ("unhappy", "unhappiness", "J", "N", "ness", "suffix"),
    ("happiness", "unhappiness", "N", "N", "un", "prefix"),
    ("zero", "non-zero", "N", "J", "non", "prefix"),
]
SHEETS = {
    "Presentation": [["MorphoLEX, a derivational database"]],
    "0-1-0": [["happy", "{(happy)}"], [False, "{(false)}"], [None, None], ["DALY", "(D)A>"]],
    "1-1-0": [["Unhappy", "<un<{(happy)}"]],
    "All prefixes": [["morpheme", "count"], ["un", 1]],
}


def write_workbook(path, sheets):
    """A workbook in the layout of the published one: a sheet a shape, more columns than the two that are read."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        if name[0].isdigit():
            sheet.append(["ELP_ItemID", "Word", "POS", "Nmorph", "MorphoLexSegm", "ROOT1_Freq_HAL"])
            rows = [[1, word, "JJ", 1, segmentation, 3.5] for word, segmentation in rows]
        for row in rows:
            sheet.append(row)
    book.save(path)


def write_json(path, rows):
    entries = {}
    for parent, word, parent_part, part, affix, kind in rows:
        entry = entries.setdefault(parent, {"pos": parent_part, "derives_to": {}, "derived_from": {}})
        entry["derives_to"][word] = {"pos": part, "affix": affix, "affix_type": kind}
    path.write_text(json.dumps(entries, indent=2))


def test_segmentations_are_parsed_into_typed_pieces():
    pieces = parse_segmentation("{<un<(change)>able>}")
    assert pieces == [Piece("prefix", "un", 1), Piece("root", "change", 1), Piece("suffix", "able", 1)]
    assert parse_segmentation("<dis<{(simil)>ar>}")[0] == Piece("prefix", "dis", 0)
    for bad in ("", "happy", "{(happy)", "{(happy)}}"):
        with pytest.raises(ValueError, match="not a MorphoLEX segmentation"):
            parse_segmentation(bad)


def test_morphynet_is_the_same_from_json_and_tsv_plain_or_packed(tmp_path):
    text = "\n".join("\t".join(row) for row in ROWS) + "\n"
    write_json(tmp_path / "eng.json", ROWS)
    (tmp_path / "eng.json.gz").write_bytes(gzip.compress((tmp_path / "eng.json").read_bytes()))
    (tmp_path / "eng.tsv").write_text(text)
    (tmp_path / "eng.tsv.xz").write_bytes(lzma.compress(text.encode()))
    first, *others = [read_derivations(path) for path in sorted(tmp_path.iterdir())]
    assert all(other == first for other in others)
    assert first.parents["unhappiness"] == (Edge("unhappy", "ness", "suffix"), Edge("happiness", "un", "prefix"))
    assert first.parts == {
        **{"happy": "J", "unhappy": "J", "unhappiness": "N", "happiness": "N"},
        **{"zero": "N", "non-zero": "J"},
    }
    assert first.children["happy"] == {"un"}


def test_the_workbook_and_the_tsv_of_morpholex_give_the_same_segmentations(tmp_path, caplog):
    write_workbook(tmp_path / "MorphoLEX_en.xlsx", SHEETS)
    rows = [
        "happy\t{(happy)}\t['happy']",
        "false\t{(false)}\t['false']",
        "DALY\t(D)A>\t[]",
        "unhappy\t<un<{(happy)}\t[]",
    ]
    (tmp_path / "lex.tsv").write_text("Word\tMorphoLexSegm\tRoots\n" + "\n".join(rows) + "\n")
    with caplog.at_level("INFO"):
        book, table = (read_derivations(tmp_path / name) for name in ("MorphoLEX_en.xlsx", "lex.tsv"))
    assert book == table
    assert book.segments == {"happy": "{(happy)}", "false": "{(false)}", "unhappy": "<un<{(happy)}"}
    assert caplog.text.count("1 segmentations could not be read") == 2


def test_several_sources_are_read_into_one_and_garbage_collection_goes_on(tmp_path):
    write_workbook(tmp_path / "lex.xlsx", SHEETS)
    write_json(tmp_path / "eng.json", ROWS)
    both = read_derivations([tmp_path / "eng.json", str(tmp_path / "lex.xlsx")])
    assert "unhappiness" in both and "false" in both and "sad" not in both
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{\n'", r"a\.json, line 2: not valid JSON"),
        ("b.json", '{"happy": 3}', r"b\.json, line 1: not MorphyNet"),
        ("list.json", "[1]", r"list\.json, line 1: not MorphyNet"),
        ("c.tsv", "happy\tunhappy\tJ\tJ\tun\tprefix\nhappy\n", r"c\.tsv, line 2: expected six MorphyNet columns"),
        ("d.tsv", "Word\tMorphoLexSegm\nhappy\n", r"d\.tsv, line 2: expected Word, MorphoLexSegm"),
        ("e.tsv", "", r"e\.tsv, line 1: the file is empty"),
        ("f.xlsx", "Word,MorphoLexSegm", r"f\.xlsx: not a readable Excel workbook \(File is not a zip file\)"),
    ],
)
def test_sources_that_are_malformed_name_file_and_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_derivations(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert gc.isenabled()


def test_a_workbook_of_another_kind_is_named_with_its_sheet(tmp_path):
    write_workbook(tmp_path / "a.xlsx", {"Presentation": [["text"]], "All roots": [["root"]]})
    with pytest.raises(ValueError, match=r"a\.xlsx: no sheet is named .* 0-1-0 \(found Presentation, All roots\)"):
        read_derivations(tmp_path / "a.xlsx")
    book = openpyxl.Workbook()
    book.active.title = "0-1-0"
    book.active.append(["Word", "POS"])
    book.create_sheet("1-1-0")
    book.save(tmp_path / "b.xlsx")
    with pytest.raises(ValueError, match=r"b\.xlsx, sheet 0-1-0: no column MorphoLexSegm in its first row"):
        read_derivations(tmp_path / "b.xlsx")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.xlsx"):
        read_derivations(tmp_path / "none.xlsx")


def test_a_workbook_that_is_cut_off_or_damaged_is_one_clear_sentence(tmp_path):
    write_workbook(tmp_path / "whole.xlsx", SHEETS | {"0-1-1": [[f"word{n}", "{(word)}"] for n in range(400)]})
    content = (tmp_path / "whole.xlsx").read_bytes()
    (tmp_path / "cut.xlsx").write_bytes(content[: len(content) // 2])
    start = content.index(b"xl/worksheets/sheet5.xml") + 200
    (tmp_path / "damaged.xlsx").write_bytes(content[:start] + bytes(60) + content[start + 60 :])
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "part.xlsx", "w") as part,
        zipfile.ZipFile(tmp_path / "empty.xlsx", "w") as empty,
    ):
        for name in whole.namelist():
            part.writestr(name, whole.read(name)[: 300 if name.endswith("sheet5.xml") else None])
        empty.writestr("readme.txt", "no workbook")
    for name in ("cut", "damaged", "part", "empty"):
        with pytest.raises(
            ValueError, match=rf"{name}\.xlsx.*: not a readable Excel workbook .*; fetch the file again"
        ):
            read_derivations(tmp_path / f"{name}.xlsx")
