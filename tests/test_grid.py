"""Grids: products of settings with readable names, and a clear sentence for every mistake."""

import pytest

from dskd_utils.distill.candidates import NEAREST
from dskd_utils.distill.controls import CONTROLS
from dskd_utils.distill.objective import Objective
from dskd_utils.grid import FOLDER, SETTINGS, WITHOUT_SENSES, Grid, beside_kd, cell_name, read_grid
from dskd_utils.profiles import profile, profiles
from dskd_utils.sources.teachers import preset
from dskd_utils.stage_grid import checked, depth_of, objective_of

PRESET = {
    "lr": 2e-3,
    "alpha": 1.0,
    "temperature": 2.0,
    "beta": 1.5,
    "margin": 1.0,
    "kappa": 5,
    "depth": 0.8,
    "trainable_layers": 2,
}


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
        ("title: t\ntokens: many\nvary: []\n", "line 2: tokens must be a number of training tokens"),
        ("title: t\ntokens: 101%\nvary: []\n", "line 2: tokens must be .* or a share such as 5%"),
        ("title: t\ntokens: 1\npairs: -1\nvary: []\n", "line 3: pairs must be a number of word pairs"),
        ("title: t\ntokens: 1\nvary: 3\n", "wrong.yaml, line 3: vary must be a list of blocks"),
        ("title: t\ntokens: 1\nvary: {kappa: [1]}\n", "wrong.yaml, line 3: vary must be a list of blocks"),
        ("title: t\ntokens: 1\nvary:\n- k: [1]\n- kappa: [21]\n", "line 5: kappa must be at most 20, got 21"),
        ("title: t\ntokens: 1\nvary:\n- share: [1.5]\n", "line 4: share must be at most 1, got 1.5"),
        ("title: t\ntokens: 1\nvary:\n- dropout: [1.0]\n", "line 4: dropout must be below 1, got 1.0"),
        ("title: t\ntokens: 1\nvary:\n- margin_quantile: [1]\n", "line 4: margin_quantile must be below 1, got 1"),
        ("title: t\ntokens: 1\nvary:\n- alpha: [.inf]\n", "line 4: alpha must be a finite number, got inf"),
        (
            "title: t\ntokens: 1\nvary:\n- lr: [0x]\n",
            "line 4: lr must be float, got '0x'.*0.5x is half the teacher's own",
        ),
        ("title: t\ntokens: 1\nvary:\n- alpha: [2x]\n", "line 4: alpha must be float, got '2x'"),
        ("title: t\ntokens: 1\nvary:\n- kappa: 3\n", "line 4: a block is settings with a list of values"),
        ("title: t\ntokens: 1\nvary:\n- gamma: [1]\n", "line 4: a grid cannot vary 'gamma', choose among method"),
        ("title: t\ntokens: 1\nvary:\n- kappa: [1]\n  lr: [1e-3]\n", "line 5: lr must be float, got '1e-3'.*1.0e-3"),
        ("title: t\ntokens: 1\nvary:\n- kappa: [true]\n", "line 4: kappa must be int, got True"),
        ("title: t\ntokens: 1\nvary:\n- k: [0]\n", "line 4: k must be at least 1, got 0"),
        ("title: t\ntokens: 1\nvary:\n- own_in_negatives: [1]\n", "line 4: own_in_negatives must be bool, got 1"),
        ("title: t\ntokens: 1\nvary:\n- neighbours: [-1]\n", "line 4: neighbours must be at least 0, got -1"),
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


def test_no_more_candidates_can_be_asked_for_than_are_looked_up():
    assert SETTINGS["kappa"][2] == f"at most {NEAREST}"


@pytest.mark.parametrize(
    ("written", "read"), [("0", 0), ("10", 10), ("17%", 0.17), ("5%", 0.05), ("0.5%", 0.005), ("100%", 0)]
)
def test_tokens_are_a_number_or_a_share(tmp_path, written, read):
    path = tmp_path / "mine.yaml"
    path.write_text(f"title: t\ntokens: {written}\nvary: [{{kappa: [1]}}]\n")
    grid = read_grid(str(path))
    assert grid.tokens == pytest.approx(read)
    assert grid.made_for(PRESET, 1000).tokens == (read if read >= 1 else round(1000 * read))


def test_a_share_of_the_tokens_grows_with_the_profile_and_is_what_it_was_at_full():
    tokens = {name: {grid: read_grid(grid).made_for(PRESET, profile(name).training_tokens).tokens
                     for grid in ("depth", "weights", "tuning")} for name in ("full", "paper")}  # fmt: skip
    assert tokens["full"] == {"depth": 100_000, "weights": 100_000, "tuning": 30_000}
    assert tokens["paper"]["tuning"] == 1_000_000 and tokens["paper"]["depth"] > 3_000_000


def test_learning_rates_are_multiples_of_the_teachers_own():
    rates = {}
    for teacher in ("smollm2-135m", "llama-3-8b-instruct"):
        made = checked(read_grid("tuning"), 32, preset(teacher), 600_000)
        rates[teacher] = [cell["lr"] for cell in made.cells.values() if cell["method"] == "kd" and "lr" in cell]
        assert made.made_for(preset(teacher), 600_000) == made, "numbers stay"
    assert rates["smollm2-135m"] == [1e-3, 2e-3, 4e-3, 5e-4]
    assert rates["llama-3-8b-instruct"] == pytest.approx([2.5e-5, 5e-5, 1e-4, 1.25e-5])
    assert {"kd-lr0.001", "dskd-lr0.0005"} <= set(checked(read_grid("tuning"), 30, PRESET, 1).cells), "as by numbers"


def test_the_papers_profile_tries_the_papers_learning_rates():
    assert "learning-rates" in profile("paper").grids.split(",")
    cells = read_grid("learning-rates").cells.values()
    assert {cell["lr"] for cell in cells if cell["method"] == "dskd"} == {5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4}


def test_a_rate_that_is_there_as_a_multiple_too_is_refused():
    twice = Grid("mine", "t", 0, {"a": {"method": "kd", "lr": "1x"}, "kd-lr0.002": {"method": "kd", "lr": 2e-3}},
                 {"a": 4, "kd-lr0.002": 5})  # fmt: skip
    with pytest.raises(ValueError, match="grid mine, line 5: with this teacher's learning rate of 0.002 the student"):
        twice.made_for(PRESET, 10)


def test_an_unknown_grid_names_those_that_exist():
    with pytest.raises(FileNotFoundError, match="no grid 'width': choose among candidates, depth, dictionary"):
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


def test_a_student_stands_beside_the_kd_student_that_differs_in_nothing_but_the_senses():
    cells = read_grid("search-margins").cells
    assert set(beside_kd(cells).values()) == {"kd-lr0.002-temperature4"} and len(beside_kd(cells)) == len(cells) - 1
    cells = {"a": {"method": "kd", "lr": 1e-3}, "b": {"method": "rewired", "lr": 2e-3, "beta": 0.5}}
    assert beside_kd(cells) == {}
    assert beside_kd(cells | {"c": {"method": "kd", "lr": 2e-3}}) == {"b": "c"}
    assert set(WITHOUT_SENSES) < SETTINGS.keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "last"}, "key must be one of next, predicted, input: got 'last'"),
        ({"adaptive": "aic"}, "adaptive must be one of bic, .*: got 'aic'"),
        ({"dictionary_text": "all"}, "dictionary_text must be one of training.extra, training, extra: got 'all'"),
        ({"neighbour_tokens": "one"}, "neighbour_tokens must be one of any, several"),
        ({"flips": "twice"}, "flips must be one of add, replace, none: got 'twice'"),
        ({"sources": "webster"}, "webster"),
        ({"sources": "mine=/nowhere.tsv"}, "nowhere.tsv"),
    ],
)
def test_a_dictionary_that_cannot_be_made_is_refused_before_anything_runs(settings, message):
    grid = Grid("mine", "t", 0, {"x": {"method": "dskd"} | settings}, {"x": 7})
    with pytest.raises(ValueError, match=f"grid mine, line 7, student x: .*{message}"):
        checked(grid, 30, PRESET, 10)


def test_a_name_made_of_a_path_can_be_a_folders():
    assert (
        cell_name({"method": "dskd", "sources": "wordnet,mine=/tmp/a b.tsv"}) == "dskd-sourceswordnet_mine_tmp_a_b.tsv"
    )
