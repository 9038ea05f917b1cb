import numpy as np
import pytest

from dskd_utils.evaluate.significance import crossed_bootstrap, holm, mcnemar, paired_bootstrap, standard_error, verdict


def test_standard_error_of_zeros_and_ones_is_the_binomial_one():
    x = np.array([1] * 30 + [0] * 70)
    assert standard_error(x) == pytest.approx(np.sqrt(0.3 * 0.7 / 99))
    assert np.isnan(standard_error([1.0]))


def test_the_interval_of_a_difference_has_the_width_of_its_standard_error():
    rng = np.random.default_rng(0)
    b = rng.normal(size=400)
    a = b + rng.normal(0.1, 0.5, size=400)
    interval = paired_bootstrap(a, b, resamples=4000)
    assert interval.difference == pytest.approx((a - b).mean())
    assert interval.n == 400
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error(a - b), rel=0.06)
    wide = paired_bootstrap(a, b, resamples=4000, level=0.99)
    assert wide.low < interval.low < interval.high < wide.high


def test_equal_models_differ_by_nothing():
    x = np.random.default_rng(0).normal(size=50)
    assert paired_bootstrap(x, x, resamples=100)[:3] == (0, 0, 0)


def test_the_same_seed_gives_the_same_interval_also_in_slices(monkeypatch):
    x, y = np.random.default_rng(0).normal(size=(2, 60))
    assert paired_bootstrap(x, y, resamples=500, seed=3) == paired_bootstrap(x, y, resamples=500, seed=3)
    whole = paired_bootstrap(x, y, resamples=500, seed=3)
    monkeypatch.setattr("dskd_utils.evaluate.significance._SLICE", 600)
    assert paired_bootstrap(x, y, resamples=500, seed=3) == pytest.approx(whole)


def test_questions_of_one_cluster_are_drawn_together():
    rng = np.random.default_rng(0)
    effect = np.repeat(rng.normal(size=40), 10)  # ten questions a word say the same thing ten times
    words = np.repeat(np.arange(40), 10)
    alone = paired_bootstrap(effect, np.zeros(400), resamples=2000)
    together = paired_bootstrap(effect, np.zeros(400), resamples=2000, clusters=words)
    assert together.difference == alone.difference
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(10), rel=0.1)


def test_mcnemar_is_the_binomial_test_of_the_disagreements():
    a = [1] * 6 + [0] * 1 + [1] * 10
    b = [0] * 6 + [1] * 1 + [1] * 10
    assert mcnemar(a, b) == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(b, a) == mcnemar(a, b)
    assert mcnemar([1, 0], [1, 0]) == 1.0


def test_holm_steps_down_and_never_goes_below_an_earlier_value():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])


@pytest.mark.parametrize("function", [paired_bootstrap, mcnemar])
def test_empty_or_unequal_values_are_refused(function):
    with pytest.raises(ValueError, match="empty"):
        function([], [])
    with pytest.raises(ValueError, match="same questions"):
        function([1, 0], [1])


def test_other_bad_values_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        paired_bootstrap([np.nan, 1], [0, 1])
    with pytest.raises(ValueError, match="level"):
        paired_bootstrap([1], [0], level=95)
    with pytest.raises(ValueError, match="one label a question"):
        paired_bootstrap([1, 0], [0, 1], clusters=["w"])
    with pytest.raises(ValueError, match="paired_bootstrap"):
        mcnemar([0.5], [1])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([1.2])


def test_the_crossed_interval_covers_other_seeds_and_other_questions():
    rng, covered, narrow = np.random.default_rng(0), 0, 0
    for trial in range(200):
        by_seed, by_item = rng.normal(0, 0.3, (5, 1)), rng.normal(0, 1, (1, 60))
        a = 0.1 + by_seed + by_item + rng.normal(0, 0.5, (5, 60))
        found = crossed_bootstrap(a, np.zeros_like(a), resamples=400, seed=trial)
        items = paired_bootstrap(a.mean(0), np.zeros(60), resamples=400, seed=trial)
        covered += found.low <= 0.1 <= found.high
        narrow += items.low <= 0.1 <= items.high
        assert found.difference == pytest.approx(a.mean()) and found.n == 60
    assert covered > narrow and 170 <= covered <= 198


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_that_differ_more_than_the_questions_do_not_call_it_a_difference(seeds):
    rng, false = np.random.default_rng(1), 0
    for trial in range(200):
        a = rng.normal(0, 0.3, (seeds, 1)) + rng.normal(0, 1, (1, 100))
        found = crossed_bootstrap(a, np.zeros_like(a), resamples=400, seed=trial)
        false += not found.low <= 0 <= found.high
    assert false <= 18  # ten of two hundred are expected, more than eighteen once in a hundred times


def test_the_crossed_interval_of_equal_seeds_is_that_of_the_questions():
    values = np.random.default_rng(1).normal(0, 1, 200)
    crossed = crossed_bootstrap(np.tile(values, (3, 1)), np.zeros((3, 200)))
    alone = paired_bootstrap(values, np.zeros(200))
    assert crossed.low == pytest.approx(alone.low, abs=0.01) and crossed.high == pytest.approx(alone.high, abs=0.01)
    clustered = crossed_bootstrap(np.tile(values, (3, 1)), np.zeros((3, 200)), clusters=np.repeat(np.arange(50), 4))
    assert clustered.difference == crossed.difference
    with pytest.raises(ValueError, match="two seeds or more"):
        crossed_bootstrap(values, values)
    with pytest.raises(ValueError, match="1 labels for 200 questions"):
        crossed_bootstrap(np.zeros((2, 200)), np.zeros((2, 200)), clusters=[1])


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.3, "higher"),
        (-0.3, -0.1, "lower"),
        (0.001, 0.01, "higher, by less than matters"),
        (-0.01, 0.01, "the same"),
        (-0.01, 0.3, "not told apart"),
    ],
)
def test_an_interval_is_read_against_what_would_matter(low, high, said):
    assert verdict(low, high, 0.05) == said
