"""The paper's own numbers, to stand beside ours (paper, Tables 1, 2, 3, 7, 8, 10, 11 and 12)."""

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


def table_3() -> pd.DataFrame:
    """Table 3 in long form: teacher, method, layers, task, value and plus_minus in percentage points."""
    return pd.DataFrame(
        {"teacher": teacher, "method": method, "layers": layers, "task": task, "value": value, "plus_minus": spread}
        for (teacher, method, layers), cells in TABLE_3.items()
        for task, (value, spread) in zip(TASKS, cells, strict=True)
    )
