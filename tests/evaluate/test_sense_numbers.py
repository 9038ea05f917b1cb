"""Judging numbers of senses: differences, correlations and extremes against values found by hand or by SciPy."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from dskd_utils.evaluate.sense_numbers import agreement, error_table, extremes, words_by_senses


def test_errors_are_compared_state_by_state():
    errors = pd.DataFrame({"token": [1, 1, 2, 3], "fixed": [2.0, 4.0, 6.0, 8.0], "bic": [1.0, 2.0, 3.0, 4.0]})
    table = error_table(errors, {"fixed": 9, "bic": 8}).set_index("way")
    assert table.error.tolist() == [5.0, 2.5] and table.senses.tolist() == [9, 8]
    assert table.loc["fixed", ["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc["bic", "difference"] == pytest.approx(-0.5) and table.n.tolist() == [4, 4]
    assert table.loc["bic", "low"] <= -0.5 <= table.loc["bic", "high"] < 0


def test_intervals_resample_tokens_not_states():
    draw = np.random.default_rng(0)
    token = np.repeat(np.arange(20), 50)
    shift = draw.normal(size=20)[token]  # all states of a token go the same way
    errors = pd.DataFrame({"token": token, "fixed": np.ones(1000), "way": 1 + 0.1 * shift})
    row = error_table(errors, {"fixed": 1, "way": 1}).iloc[1]
    alone = error_table(errors.assign(token=np.arange(1000)), {"fixed": 1, "way": 1}).iloc[1]
    assert row.high - row.low > 4 * (alone.high - alone.low)


class Words:
    """A tokenizer to which words of four letters are one token and all others are two."""

    def tokenize(self, text, **_):
        return [text]

    def __call__(self, texts, **_):
        return {"input_ids": [[sum(map(ord, text.strip()))] if len(text.strip()) == 4 else [1, 2] for text in texts]}


def test_words_have_one_token_enough_states_and_a_place_in_wordnet():
    wordnet = {("bank", "n"): ["a", "b"], ("bank", "v"): ["c"], ("dull", "a"): ["d"], ("Rome", "n"): ["e"],
               ("river", "n"): ["f"]}  # fmt: skip
    tokens = {word: sum(map(ord, word)) for word in ("bank", "dull")}
    counts = torch.zeros(600, dtype=torch.int64)
    counts[tokens["bank"]], counts[tokens["dull"]] = 40, 5
    numbers = {"bic": torch.arange(600)}
    found = words_by_senses(numbers, counts, Words(), wordnet, least=30)
    assert found.to_dict("records") == [{"word": "bank", "states": 40, "wordnet": 3, "bic": tokens["bank"]}]
    assert words_by_senses(numbers, counts, Words(), wordnet, least=5).word.tolist() == ["bank", "dull"]
    with pytest.raises(ValueError, match="whole words"):
        words_by_senses(numbers, counts, Words(), wordnet, least=50)


@pytest.fixture
def words() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    states = draw.integers(30, 2000, 300)
    wordnet = 1 + draw.poisson(states / 300)
    return pd.DataFrame({"word": [f"w{i:03}" for i in range(300)], "states": states, "wordnet": wordnet,
                         "frequency": 1 + states // 100, "meaning": wordnet, "same": 10})  # fmt: skip


def test_correlation_is_spearmans_and_the_partial_one_takes_frequency_out(words):
    table = agreement(words, ["frequency", "meaning", "same"]).set_index(["criterion", "measure"])
    expected = spearmanr(words.frequency, words.wordnet).statistic
    assert table.loc[("frequency", "spearman"), "value"] == pytest.approx(expected)
    assert expected > 0.5 and abs(table.loc[("frequency", "partial"), "value"]) < 0.15
    assert table.loc[("meaning", "partial"), "value"] == pytest.approx(1)
    low, value, high = table.loc[("frequency", "spearman"), ["low", "value", "high"]]
    assert low < value < high
    assert table.loc["same"][["value", "low", "high"]].isna().to_numpy().all()


def test_words_are_ranked_among_those_of_their_frequency():
    words = pd.DataFrame({"word": ["rich", "poor", "usual", "plain", "the", "rare", "odd"],
                          "states": [500, 400, 300, 260, 500, 40, 50], "wordnet": 1,
                          "bic": [30, 5, 10, 10, 40, 4, 2]})  # fmt: skip
    found = extremes(words, "bic", count=2)
    assert found.kind.tolist() == ["most"] * 2 + ["fewest"] * 2
    assert found.word.tolist() == ["rich", "rare", "poor", "odd"]  # not "the", a function word
    assert found.typical.tolist() == [10, 3, 10, 3] and found.senses.tolist() == [30, 4, 5, 2]
