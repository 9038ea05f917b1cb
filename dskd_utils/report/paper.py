"""The paper's own numbers, to stand beside ours (paper, Tables 1 to 12, and what its text says in numbers).

Figures 1 and 3 are pictures without printed numbers; what they have in common with a table is in the table.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

TASKS = {"arc_challenge": "ARC", "commonsense_qa": "CSQA", "mmlu": "MMLU", "piqa": "PIQA", "squad2": "SQuAD"}

# Table 1: a pair, its relation, the new pair and its relation.
TABLE_1 = (
    (("quit", "discontinue"), "synonym", ("quit", "continue"), "antonym"),
    (("accurate", "faultless"), "synonym", ("accurate", "fault"), "antonym"),
    (("opposite", "dissimilar"), "synonym", ("opposite", "similar"), "antonym"),
    (("variable", "unchangeable"), "antonym", ("variable", "changeable"), "synonym"),
    (("unkind", "friendly"), "antonym", ("kind", "friendly"), "synonym"),
    (("disinterest", "zeal"), "antonym", ("interest", "zeal"), "synonym"),
)

# Table 3: accuracy in percent (F1 for SQuAD) with what the paper prints behind +-; it does not say what that is.
TABLE_3 = {
    ("Llama-3-8B", "teacher", 32): ((81.45, 1.07), (78.08, 0.41), (67.22, 0.20), (78.49, 1.33), (72.90, 0.13)),
    ("Llama-3-8B", "kd", 16): ((77.89, 0.42), (76.43, 0.45), (61.26, 0.59), (81.78, 0.34), (68.58, 0.13)),
    ("Llama-3-8B", "dskd", 16): ((79.66, 0.34), (76.70, 0.17), (64.38, 0.38), (82.63, 0.27), (69.11, 0.36)),
    ("Mistral-7B", "teacher", 32): ((70.33, 0.57), (68.34, 0.75), (55.37, 0.27), (73.72, 0.59), (66.26, 0.13)),
    ("Mistral-7B", "kd", 16): ((61.11, 0.31), (66.16, 0.78), (52.04, 0.43), (78.88, 0.22), (57.82, 0.25)),
    ("Mistral-7B", "dskd", 16): ((64.78, 0.43), (68.44, 0.70), (54.44, 0.37), (79.53, 0.45), (58.09, 0.18)),
}

# Table 2: percentage of tokenised relations whose span is at most m tokens.
TABLE_2 = {
    ("Llama-3-8B", "synonym"): (48.11, 82.22, 95.06, 98.54, 99.42),
    ("Llama-3-8B", "antonym"): (60.09, 87.03, 97.86, 99.61, 99.91),
    ("Mistral-7B", "synonym"): (34.97, 72.39, 91.21, 96.96, 98.65),
    ("Mistral-7B", "antonym"): (41.48, 74.38, 93.96, 98.99, 99.68),
}

# Tables 4, 5, 6 and 9: a row a value of what varies, accuracy in percent in the order of `ABLATED`. The row that the
# paper prints in bold for a teacher, and uses from there on, is named in `CHOSEN`.
ABLATED = (("Llama-3-8B", "ARC"), ("Llama-3-8B", "MMLU"), ("Mistral-7B", "ARC"), ("Mistral-7B", "MMLU"))
TABLE_4 = {  # clusters k
    5: (77.33, 62.18, 64.78, 54.44),
    10: (79.66, 64.38, 64.33, 54.25),
    15: (79.00, 64.57, 65.00, 54.91),
    20: (81.33, 64.68, 64.00, 53.68),
    25: (80.00, 65.23, 65.33, 54.99),
}
TABLE_5 = {  # candidates kappa
    1: (78.00, 63.93, 63.67, 53.60),
    5: (79.66, 64.38, 64.78, 54.44),
    10: (79.33, 64.20, 64.33, 54.35),
    15: (80.33, 64.76, 65.67, 54.53),
    20: (79.00, 64.71, 66.00, 53.68),
}
TABLE_6 = {  # both weights beta
    0.5: (77.67, 61.42, 64.00, 52.07),
    1.0: (79.66, 64.38, 63.33, 53.51),
    1.5: (79.33, 63.45, 64.78, 54.44),
    2.0: (78.33, 61.45, 61.33, 50.57),
}
TABLE_9 = {  # alpha, of KD
    0.0: (75.67, 61.25, 58.67, 51.75),
    0.5: (78.33, 62.03, 59.33, 49.27),
    1.0: (77.89, 61.26, 61.11, 52.04),
    2.0: (80.33, 64.76, 60.00, 51.28),
}
CHOSEN = {  # of table 4, 5, 6 and 9 for each teacher
    4: {"Llama-3-8B": 10, "Mistral-7B": 5},
    5: {"Llama-3-8B": 5, "Mistral-7B": 5},
    6: {"Llama-3-8B": 1.0, "Mistral-7B": 1.5},
    9: {"Llama-3-8B": 1.0, "Mistral-7B": 1.0},
}

# Table 8: the dictionaries; the size in gigabytes.
TABLE_8 = {
    "Llama-3-8B": {
        "vocabulary": 128_256,
        "token keys": 69_832,
        "word keys": 15_695,
        "GB": 7.08,
        "synonym pairs": 923_950,
        "antonym pairs": 75_949,
    },
    "Mistral-7B": {
        "vocabulary": 32_000,
        "token keys": 27_541,
        "word keys": 27_702,
        "GB": 2.06,
        "synonym pairs": 923_950,
        "antonym pairs": 75_949,
    },
}
RELATED_TOKENS = 14.0  # "approximately 14% of tokens have associated synonyms and antonyms", section 4.2

# Table 12: minutes of evaluation on each benchmark; Table 7's are those on MMLU, and its other columns are Table 11's.
TABLE_12 = {
    ("Llama-3-8B", "teacher"): (1, 2.5, 45, 4.5, 23),
    ("Llama-3-8B", "kd"): (1, 1.5, 23, 3, 15),
    ("Llama-3-8B", "dskd"): (1, 1.5, 22, 3, 15),
    ("Mistral-7B", "teacher"): (1, 2.5, 51, 5, 21),
    ("Mistral-7B", "kd"): (1, 1.5, 25, 3, 15.5),
    ("Mistral-7B", "dskd"): (1, 1.5, 26, 3, 15),
}

# Table 10: all settings; beta as printed there, which Section 6.3 and Table 6 have the other way round.
TABLE_10 = {
    "Llama-3 KD": (16, 2, "0.00005", 2, "N/A", 1.0, "N/A", "N/A", "N/A"),
    "Llama-3 DSKD": (16, 2, "0.00005", 2, "5", 1.0, "1.5", "1.5", "1.0"),
    "Mistral KD": (16, 2, "0.00002", 2, "N/A", 1.0, "N/A", "N/A", "N/A"),
    "Mistral DSKD": (16, 2, "0.00002", 2, "5", 1.0, "1.0", "1.0", "1.0"),
}
TABLE_10_ROWS = ("layers", "trained layers", "learning rate", "epochs", "kappa", "alpha", "beta_p", "beta_n", "gamma")

# Table 11: layers, parameters in thousand millions, memory in GB (of 2^30 bytes), minutes of training.
TABLE_11 = {
    ("Llama-3-8B", "teacher"): (32, 8.0, 15.0, None),
    ("Llama-3-8B", "kd"): (16, 4.5, 8.5, 5 * 60 + 2),
    ("Llama-3-8B", "dskd"): (16, 4.5, 8.5, 5 * 60 + 17),
    ("Mistral-7B", "teacher"): (32, 7.2, 13.5, None),
    ("Mistral-7B", "kd"): (16, 3.7, 6.9, 4 * 60 + 53),
    ("Mistral-7B", "dskd"): (16, 3.7, 6.9, 5 * 60 + 4),
}


# What the text says in numbers beside its tables, by where it says so.
STATED = {
    "related tokens": RELATED_TOKENS / 100,  # section 4.2
    "kept relations": 0.90,  # section 3.3, at m = 3
    "training overhead": 0.05,  # section 7, "around 5%"
    "kept by KD, low": 0.70,  # section 5.1, why 16 layers
    "kept by KD, high": 0.90,
    "teacher layers": 32,
    "student layers": 16,
    "trained layers": 2,  # section 5.1
    "training share": 0.25,  # section 5.2
    "cap": 2000,  # section 3.1
    "span": 3,  # section 3.3
    "kappa": 5,  # section 4.2
}


def sources() -> dict[str, Any]:
    """The numbers above as nested dictionaries, for prose that quotes one: `paper:table_3.Llama-3-8B.kd.PIQA`."""
    tables: dict[str, Any] = {f"table_{number}": {} for number in (2, 3, 4, 5, 6, 9, 11, 12)}
    for (teacher, kind), values in TABLE_2.items():
        tables["table_2"].setdefault(teacher, {})[kind] = dict(zip("12345", values, strict=True))
    for (teacher, method, _), cells in TABLE_3.items():
        values = dict(zip(TASKS.values(), (value for value, _ in cells), strict=True))
        tables["table_3"].setdefault(teacher, {})[method] = values
    for number, table in {4: TABLE_4, 5: TABLE_5, 6: TABLE_6, 9: TABLE_9}.items():
        for setting, cells in table.items():
            for (teacher, task), value in zip(ABLATED, cells, strict=True):
                by_setting = tables[f"table_{number}"].setdefault(teacher, {})
                by_setting.setdefault(f"{setting:g}", {})[task] = value
    for (teacher, method), values in TABLE_11.items():
        named = dict(zip(("layers", "parameters", "memory", "minutes"), values, strict=True))
        tables["table_11"].setdefault(teacher, {})[method] = named
    for (teacher, method), values in TABLE_12.items():
        tables["table_12"].setdefault(teacher, {})[method] = dict(zip(TASKS.values(), values, strict=True))
    return tables | {"table_8": TABLE_8, "stated": STATED}


def squad_name(rows: Iterable[Mapping[str, Any]], metric: str = "f1") -> str:
    """What our results on SQuAD 2.0 are called: as in the paper, unless they are of a part of its validation split."""
    if any(row["task"] == "squad2" and row.get("split") == "held-out" for row in rows):
        return f"SQuAD, held-out articles ({'F1' if metric == 'f1' else metric})"
    return TASKS["squad2"]


def table_3() -> pd.DataFrame:
    """Table 3 in long form: teacher, method, layers, task, value and plus_minus in percentage points."""
    return pd.DataFrame(
        {"teacher": teacher, "method": method, "layers": layers, "task": task, "value": value, "plus_minus": spread}
        for (teacher, method, layers), cells in TABLE_3.items()
        for task, (value, spread) in zip(TASKS, cells, strict=True)
    )
