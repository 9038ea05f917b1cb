"""Tables of the grids say what was set, what failed, and what the depth sweep found."""

import numpy as np
import pandas as pd

from dskd_utils.report import figures
from dskd_utils.report.grid_tables import BAND, best, depth_finding, grid_table

ROWS = pd.DataFrame(
    {
        "model": ["kd-layers16", "kd-layers26", "dskd-lr1e+30", "teacher"],
        "method": ["kd", "kd", "dskd", "teacher"],
        "layers": [16, 26, 24, 30],
        "lr": [np.nan, np.nan, 1e30, np.nan],
        "failed": ["", "", "the loss is not finite", ""],
        "top1_agreement": [0.3, 0.62, np.nan, 1.0],
        "top1_agreement_stderr": [0.01, 0.01, np.nan, 0.0],
        "kl": [3.0, 0.5, np.nan, 0.0],
        "kl_stderr": [0.1, 0.1, np.nan, 0.0],
        "perplexity": [280.0, 30.0, np.nan, 16.8],
        "perplexity_stderr": [9.0, 1.0, np.nan, 1.0],
        "n": [100, 100, np.nan, 100],
    }
)


def test_a_row_says_what_was_set_and_how_near_the_student_is():
    table = grid_table(ROWS)
    assert table["set"].tolist() == ["as the preset", "as the preset", "lr 1e+30", ""]
    assert table["KL (nats)"].tolist()[:2] == ["3.000\u00a0±\u00a00.100", "0.500\u00a0±\u00a00.100"]
    assert table["same top token"].tolist()[2:] == ["failed: the loss is not finite", "1.000"]
    assert table.student.tolist() == ["KD", "KD", "DSKD", "teacher"]


def test_the_best_of_a_method_has_the_lowest_kl_and_a_failed_method_none():
    found = best(ROWS)
    assert list(found) == ["kd"] and found["kd"]["model"] == "kd-layers26" and found["kd"]["trials"] == 2


def test_the_finding_names_the_depths_in_the_band_and_the_presets_place():
    kd = ROWS[ROWS.method != "dskd"]
    assert "Students of **26** layers" in depth_finding(kd, 26) and "62.0%, inside that band" in depth_finding(kd, 26)
    assert "30.0%, below that band" in depth_finding(kd, 16)
    assert "20 layers are not among those tried" in depth_finding(kd, 20)
    assert "No depth tried" in depth_finding(kd[kd.layers != 26], 16)


def test_the_depth_curve_shows_the_students_and_names_the_finding():
    figure = figures.depth_curve(ROWS[(ROWS.method == "kd")], BAND, 26)
    assert "From 16 to 26 layers" in figure._suptitle.get_text()
    assert [axis.get_xlabel() for axis in figure.axes] == ["layers of the student"] * 2
