"""Tables of the senses' page, on rows written by hand."""

import pandas as pd

from dskd_utils.report import sense_tables


def test_errors_show_a_difference_but_for_the_reference():
    rows = pd.DataFrame({"way": ["fixed", "bic", "new"], "senses": [1200, 1100, 7], "error": [1234.5, 1000.0, 1.0],
                         "difference": [0.0, -0.19, 0.02], "low": [0.0, -0.2, -0.01], "high": [0.0, -0.1, 0.05],
                         "n": [5000, 5000, 5000]})  # fmt: skip
    shown = sense_tables.error_table(rows).data
    assert shown["number of senses"].tolist() == ["the same for all", "BIC", "new"]
    assert shown.iloc[:, 3].tolist() == ["-", "-19.0% [-20.0%, -10.0%]", "+2.0% [-1.0%, +5.0%]"]
    assert shown.senses.tolist() == ["1,200", "1,100", "7"]


def test_tests_of_senses_stand_beside_each_other_by_the_number_of_senses():
    row = {"task": "wic", "method": "nearest sense", "key": "next", "metric": "accuracy", "value": 0.5, "low": 0.4,
           "high": 0.6, "n": 10, "covered": 9}  # fmt: skip
    rows = pd.DataFrame([row | {"way": "fixed"}, row | {"way": "bic", "value": 0.55},
                         row | {"way": "bic", "method": "majority class"}])  # fmt: skip
    shown = sense_tables.numbers_table(rows)
    assert shown.columns.tolist() == ["the same for all", "BIC"] and shown.index.tolist() == ["WiC, nearest sense"]
    assert shown.iloc[0].tolist() == ["50.0\u00a0±\u00a010.0", "55.0\u00a0±\u00a010.0"]


def test_held_table_has_a_column_a_key_and_counts_the_words_with_senses():
    row = {
        "task": "wic",
        "method": "nearest sense",
        "metric": "accuracy",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 10,
    }
    rows = pd.DataFrame([row | {"key": "next", "covered": 9}, row | {"key": "input", "value": 0.6, "covered": 7},
                         row | {"key": "any", "method": "majority class", "covered": 10},
                         row | {"key": "next", "metric": "accuracy, covered", "covered": 9}])  # fmt: skip
    shown = sense_tables.held_table(rows).data
    assert shown.columns.tolist() == ["test", "method", "next", "input"]
    assert shown.method.tolist() == ["majority class", "nearest sense", "words with senses, of 10"]
    assert shown.next.tolist() == ["50.0\u00a0[40.0,\u00a060.0]"] * 2 + ["9"] and shown.input.tolist()[2] == "7"


def test_ends_of_the_list_stand_side_by_side():
    rows = pd.DataFrame({"kind": ["most", "most", "fewest"], "word": ["a", "b", "c"], "states": [1, 2, 3],
                         "senses": [9, 8, 1], "typical": [2.5, 3.0, 4.0], "wordnet": [4, 5, 6]})  # fmt: skip
    assert ">2.5<" in sense_tables.ambiguity_table(rows).to_html()
    assert "3.0" not in sense_tables.ambiguity_table(rows).to_html()
    shown = sense_tables.ambiguity_table(rows).data
    assert shown[("most", "word")].tolist() == ["a", "b"] and shown[("fewest", "WordNet")][0] == 6


def test_agreement_has_a_row_a_criterion():
    rows = pd.DataFrame({"criterion": ["bic", "bic", "x", "x"], "measure": ["spearman", "partial"] * 2,
                         "value": [0.5, 0.25, float("nan"), 0.1], "low": 0.0, "high": 1.0, "n": 3})  # fmt: skip
    shown = sense_tables.agreement_table(rows)
    assert shown.index.tolist() == ["BIC", "x"]
    assert shown.loc["BIC"].tolist() == ["0.50\u00a0[0.00,\u00a01.00]", "0.25\u00a0[0.00,\u00a01.00]"]
    assert shown.loc["x", "rank correlation"] == "-"


def test_findings_say_what_the_numbers_say():
    share = {"tokens with k states or fewer, of those with senses": 0.9}
    errors = pd.DataFrame({"way": ["fixed", "bic", "distortion"], "error": [10.0, 9.0, 9.5], "senses": 5, "n": 9,
                           "difference": [0, -0.1, -0.05], "low": [0, -0.2, -0.1],
                           "high": [0, 0.1, -0.01]})  # fmt: skip
    numbers = pd.DataFrame({"criterion": ["bic", "x"], "measure": "partial", "value": [0.1, float("nan")], "low": 0.0,
                            "high": 0.2, "n": 3})  # fmt: skip
    row = {"task": "wic", "key": "next", "metric": "accuracy", "low": 0.4, "high": 0.6, "n": 10, "covered": 9}
    held = pd.DataFrame([row | {"method": "nearest sense", "value": 0.5},
                         row | {"method": "cosine of raw states", "value": 0.6}])  # fmt: skip
    text = sense_tables.findings(share, errors, numbers, held)
    assert "90% of the tokens" in text and "BIC comes nearest to held-out states: -10.0%" in text
    assert "the interval holds zero" in text and "distortion: -5.0%" in text
    assert "0.10\u00a0[0.00,\u00a00.20] (BIC)" in text
    assert "WiC: the nearest sense is right on 50\u00a0[40,\u00a060]% at best (key `next`), the best baseline" in text
    assert text.count("\n- ") == 3 and "MCL-WiC" not in text
    assert "WiC" not in sense_tables.findings(share, errors, numbers, pd.DataFrame())
