"""Tables of the cost page stand beside the paper's, with aims that are met or not."""

import pandas as pd

from dskd_utils.report import cost_tables
from dskd_utils.report.paper import TABLE_11

RATIOS = pd.DataFrame(
    {
        "what": ["KD", "DSKD"],
        "median": [3.0, 1.02],
        "low": [2.9, 1.0],
        "high": [3.2, 1.1],
        "by operations": [2.76, float("nan")],
        "bar": [6.0, 1.05],
        "at most": [False, True],
    }
)


def test_an_aim_is_met_or_not():
    table = cost_tables.ratio_table(RATIOS)
    assert table.met.tolist() == ["no", "median yes, range no"]
    assert cost_tables.ratio_table(RATIOS.assign(high=[3.2, 1.04])).met.tolist() == ["no", "yes"]
    assert cost_tables.ratio_table(RATIOS.assign(bar=[2.95, 1.05])).met[0] == "median yes, range no"
    assert table.aim.tolist() == ["at least 6", "at most 1.05"]
    assert table.measured[0] == "3.00 (2.90 to 3.20)" and table["by operations"].tolist() == ["2.76", "-"]


def test_table_11_is_the_papers_then_ours():
    ours = pd.DataFrame([{"method": "kd", "layers": 26, "parameters": 120e6, "gib": 0.45, "minutes": 9.5}])
    table = cost_tables.table_11(ours, "small")
    assert len(table) == len(TABLE_11) + 1 and table.training[1] == "5 h 02 min"
    assert table.iloc[-1].tolist() == ["small", "KD", "26", "120 M", "0.45", "570 s"]


def test_table_12_and_10_have_both_sides():
    seconds = pd.DataFrame({"teacher, mmlu": [4.0, 6.0], "kd, mmlu": [2.0, 3.0], "dskd, mmlu": [3.0, 3.0]})
    table = cost_tables.table_12(seconds, 20, "small")
    assert table.MMLU.tolist()[:3] == ["45 min", "23 min", "22 min"]
    assert table.MMLU.tolist()[-3:] == ["5.0 s", "2.5 s (0.50)", "3.0 s (0.62)"]
    assert table.SQuAD.tolist()[-1] == "not run" and table.teacher.tolist()[-1] == "small, 20 questions"
    names = ("layers", "trained layers", "learning rate", "epochs", "kappa", "alpha", "beta_p", "beta_n", "gamma")
    table = cost_tables.table_10(dict.fromkeys(names, 2.0), "small")
    assert table.shape == (9, 6) and table["small KD"]["kappa"] == "N/A" and table["small DSKD"]["kappa"] == "2"
    assert table["Llama-3 DSKD"]["learning rate"] == "0.00005"


def test_the_other_trainer_stands_beside_ours():
    one = {"positions a second": 100.0, "seconds": 10.0, "steps": 20, "teacher pass, seconds": 0.0, "peak, GiB": 3.0,
           "last KL": 1.0}  # fmt: skip
    found = {"ours": one | {"teacher pass, seconds": 10.0}, "gkd": one}
    table = cost_tables.side_by_side(found, {"ours": (0.5, 0.01), "gkd": (0.6, 0.01)})
    ours, other = (table[name] for name in table)
    assert other["with the teacher pass"] == "100" and 50 < int(ours["with the teacher pass"]) < 60
    assert ours["KL on validation text"] == "0.500\u00a0±\u00a00.010"
