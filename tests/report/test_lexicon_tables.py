"""Tests of the lexicon's and the senses' tables."""

import numpy as np
import pandas as pd

from dskd_utils.lexicon.derivations import Derivations
from dskd_utils.lexicon.morphology import Negation
from dskd_utils.lexicon.relations import Relations
from dskd_utils.report import lexicon_tables


def test_table_1_says_which_rows_our_sources_state_and_what_the_rule_makes_of_them():
    derivations = Derivations()
    derivations.add("kind", "unkind", "J", "J", "un", "prefix")
    derivations.add("kind", "kindness", "J", "N", "ness", "suffix")
    stated = Relations.from_pairs([("quit", "discontinue")], [("unkind", "friendly")], source="mine")
    rows = lexicon_tables.our_table_1(stated, stated.with_negation(Negation(derivations)))
    ours = dict(zip(rows["original pair"], rows["ours"], strict=True))
    assert len(rows) == 6 and ours["unkind, friendly"] == "as printed"
    assert ours["quit, discontinue"] == "no relation, differs"  # the rule knows no base of discontinue here
    assert ours["disinterest, zeal"] == "-"
    assert set(rows["stated by"]) == {"mine", "no source here"}


def test_intervals_stand_in_one_cell_and_nothing_to_divide_by_is_a_dash():
    table = pd.DataFrame({"share": [0.5, np.nan], "share low": [0.4, np.nan], "share high": [0.61, np.nan]})
    shown = lexicon_tables.with_intervals(table, "share")
    assert list(shown.columns) == ["share"]
    assert shown.share.tolist() == ["0.50\u00a0[0.40,\u00a00.61]", "-"]


def test_table_2_puts_the_papers_numbers_beside_ours():
    rates = {"mistral-7b": pd.DataFrame({"m": range(1, 6), "synonym": [40.0] * 5, "antonym": [50.0] * 5})}
    table = lexicon_tables.our_table_2(rates)
    assert table.loc[("Mistral-7B", "synonyms", "ours"), "m = 3"] == "40.0"
    assert table.loc[("Mistral-7B", "synonyms", "paper"), "m = 3"] == "91.2"


def test_sources_stand_beside_each_other_for_every_list():
    row = {"part": "all", "flips": "none", "relation": "synonym", "set": "ppdb", "found": 5, "coverage": 0.25}
    row |= {"accuracy": 0.8, "accuracy low": 0.4, "accuracy high": 0.9}
    rows = pd.DataFrame(
        [row | {"sources": "a"}, row | {"sources": "a + b"}, row | {"sources": "b", "relation": "antonym"}]
    )
    table = lexicon_tables.agreement_table(rows)
    assert table.loc[0, "a"] == "25%:\u00a00.80\u00a0[0.40,\u00a00.90]" and table.loc[1, "a"] == "-"
    assert list(table.columns) == ["judged by", "relation", "a", "b", "a + b"]


def test_flips_are_shown_with_both_relations_pooled_so_that_a_constant_is_a_rival():
    row = {"affix": "any", "set": "any set", "kind": "flip", "found": 9, "found share": 0.1, "precision": 0.9}
    row |= {"reading": "add", "precision low": 0.6, "precision high": 1.0, "majority": 0.8, "dealt": 0.5}
    table = lexicon_tables.flip_table(pd.DataFrame([row | {"relation": r} for r in ("both", "synonym")]))
    assert len(table) == 1 and table["best constant"].tolist() == ["0.80"]
