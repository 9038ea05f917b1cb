"""Grids: products of settings with readable names, and a clear sentence for every mistake."""

import pytest

from dskd_utils.distill.controls import CONTROLS
from dskd_utils.distill.objective import Objective
from dskd_utils.grid import FOLDER, cell_name, read_grid
from dskd_utils.profiles import profiles
from dskd_utils.stage_grid import depth_of, objective_of

PRESET = {"alpha": 1.0, "temperature": 2.0, "beta": 1.5, "margin": 1.0, "kappa": 5, "depth": 0.8, "trainable_layers": 2}


def test_a_block_stands_for_the_product_of_its_lists(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: t\ntokens: 10\nvary:\n- {lr: [1.0e-3, 2.0e-3], kappa: [1, 2]}\n- {method: [kd], alpha: [2]}\n"
    )
    grid = read_grid(str(path))
    assert (grid.name, grid.title, grid.tokens) == ("mine", "t", 10)
    assert list(grid.cells) == [
        *("dskd-lr0.001-kappa1", "dskd-lr0.001-kappa2", "dskd-lr0.002-kappa1", "dskd-lr0.002-kappa2"),
        "kd-alpha2",
    ]
    assert grid.cells["kd-alpha2"] == {"method": "kd", "alpha": 2.0}
    assert cell_name({"method": "dskd", "init": "next", "beta": 0.3}) == "dskd-initnext-beta0.3"


def test_the_packaged_grids_can_be_trained_and_are_what_the_profiles_name():
    grids = {path.stem: read_grid(path.stem) for path in FOLDER.glob("*.yaml")}
    for budget in profiles().values():
        assert set(filter(None, budget.grids.split(","))) <= set(grids)
    for grid in grids.values():
        for settings in grid.cells.values():
            assert depth_of(settings, 30, PRESET)[0] <= 30 and objective_of(settings, PRESET)
    methods = [settings["method"] for settings in grids["tuning"].cells.values()]
    assert methods.count("kd") == methods.count("dskd") == 10, "equal trials"
    methods = [settings["method"] for settings in grids["search"].cells.values()]
    assert methods.count("kd") == methods.count("dskd") == 12 and grids["search"].pairs and not grids["tuning"].pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: t\nvary: []\n", "must have the fields title, tokens and vary"),
        ("title: t\ntokens: 1\nvary: []\n", "has no student"),
        ("title: t\ntokens: [1\nvary: []\n", "wrong.yaml is not YAML: while parsing"),
        ("title: t\ntokens: many\nvary: []\n", "tokens must be a number of training tokens"),
        ("title: t\ntokens: 1\npairs: -1\nvary: []\n", "pairs must be a number of word pairs"),
        ("title: t\ntokens: 1\nvary:\n- kappa: 3\n", "line 4: a block is settings with a list of values"),
        ("title: t\ntokens: 1\nvary:\n- gamma: [1]\n", "line 4: a grid cannot vary 'gamma', choose among method"),
        ("title: t\ntokens: 1\nvary:\n- kappa: [1]\n  lr: [1e-3]\n", "line 5: lr must be float, got '1e-3'.*1.0e-3"),
        ("title: t\ntokens: 1\nvary:\n- kappa: [true]\n", "line 4: kappa must be int, got True"),
        ("title: t\ntokens: 1\nvary:\n- k: [0]\n", "line 4: k must be at least 1, got 0"),
        ("title: t\ntokens: 1\nvary:\n- lr: [0.0]\n", "line 4: lr must be above 0, got 0.0"),
        (
            "title: t\ntokens: 1\nvary:\n- kappa: [1]\n- kappa: [1]\n",
            "line 5: the student .* is there twice",
        ),
    ],
)
def test_a_wrong_grid_is_refused_with_the_cure(text, message, tmp_path):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_grid(str(tmp_path / "wrong.yaml"))


def test_an_unknown_grid_names_those_that_exist():
    with pytest.raises(FileNotFoundError, match="no grid 'width': choose among candidates, depth, divergence"):
        read_grid("width")


def test_depths_are_shares_or_layers():
    assert depth_of({"layers": 0.8667}, 30, PRESET) == (26, 2)
    assert depth_of({"layers": 16.0, "trainable_layers": 4}, 30, PRESET) == (16, 4)
    assert depth_of({}, 10, PRESET) == (8, 2)
    with pytest.raises(ValueError, match="asks for 31 layers, the teacher has 30"):
        depth_of({"layers": 31.0}, 30, PRESET)


def test_methods_are_kd_dskd_and_the_controls():
    assert objective_of({"method": "kd", "alpha": 2.0}, PRESET) == Objective(alpha=2.0, beta_p=0.0, beta_n=0.0)
    assert objective_of({"method": "dskd"}, PRESET) == Objective(beta_p=1.5, beta_n=1.5)
    assert objective_of({"method": "dskd", "beta": 0.1, "beta_n": 0.0}, PRESET).beta_n == 0.0
    assert objective_of({"method": "reverse_kl"}, PRESET).divergence == "reverse"
    assert all(objective_of({"method": name}, PRESET).uses_senses for name in CONTROLS)
    with pytest.raises(ValueError, match="the method 'dpo': choose among kd, dskd"):
        objective_of({"method": "dpo"}, PRESET)
