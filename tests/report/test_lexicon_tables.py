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
    assert table.loc[3, ("Mistral-7B", "synonyms, ours")] == "40.0"
    assert table.loc[3, ("Mistral-7B", "synonyms, paper")] == "91.2"
