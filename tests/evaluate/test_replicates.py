"""Seeds of one method: found by their names, averaged in tables, drawn anew in intervals."""

import numpy as np
import pandas as pd
import pytest

from dskd_utils.distill.replicates import by_method, common_seeds, over_seeds, replicate
from dskd_utils.evaluate.benchmarks import compare
from dskd_utils.evaluate.probes import probe_table
from dskd_utils.evaluate.significance import mcnemar, paired_bootstrap, paired_seeds
from dskd_utils.evaluate.text import compare_text


def made_records(values):
    """Records of one task from scores (models, questions)."""
    rows = [
        {"model": name, "task": "piqa", "protocol": "likelihood", "split": "validation", "question_id": str(i),
         "gold_logprob": value, "acc": float(value > 0)}
        for name, own in values.items() for i, value in enumerate(own)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_names_of_seeds_are_read_back():
    names = [replicate(method, number) for number in range(3) for method in ("kd", "dskd")]
    assert names == ["kd", "dskd", "kd@1", "dskd@1", "kd@2", "dskd@2"]
    assert by_method(["teacher", *names]) == {
        "teacher": ["teacher"],
        "kd": ["kd", "kd@1", "kd@2"],
        "dskd": ["dskd", "dskd@1", "dskd@2"],
    }
    assert by_method(["me@home", "@1"]) == {"me@home": ["me@home"], "@1": ["@1"]}


def test_a_seed_counts_where_all_methods_have_it():
    names = [replicate(method, number) for number in range(3) for method in ("kd", "dskd", "rewired")]
    assert common_seeds(names, []) == (names, [])
    left = [name for name in names if name != "dskd@1"]
    assert common_seeds(left, ["dskd@1"]) == (["kd", "dskd", "rewired", "kd@2", "dskd@2", "rewired@2"],
                                              ["dskd@1", "kd@1", "rewired@1"])  # fmt: skip
    both = [name for name in names if not name.startswith("rewired")]
    assert common_seeds(both, ["rewired", "rewired@1", "rewired@2"])[0] == both
    with pytest.raises(ValueError, match="no seed is left of which kd and dskd"):
        common_seeds(["kd", "dskd@1"], ["kd@1", "dskd"])


def test_a_table_over_seeds_has_means_and_the_deviation_of_the_seeds():
    rows = [("teacher", "a", 5.0), ("kd", "a", 1.0), ("kd@1", "a", 3.0), ("kd", "b", 0.0), ("kd@1", "b", 0.0)]
    table = pd.DataFrame(rows, columns=["model", "task", "value"]).assign(stderr=[0.1, 0.2, 0.4, 0.0, 0.0], n=7)
    found = over_seeds(table, ["task"]).set_index(["model", "task"])
    assert found.loc[("kd", "a"), ["value", "stderr", "deviation", "seeds"]].tolist() == pytest.approx(
        [2.0, 0.3, 2**0.5, 2]
    )
    assert found.loc[("teacher", "a"), "seeds"] == 1 and np.isnan(found.loc[("teacher", "a"), "deviation"])
    assert found.loc[("kd", "b"), "deviation"] == 0 and found["n"].eq(7).all()


def test_a_comparison_over_seeds_is_as_wide_as_the_seeds_ask():
    rng = np.random.default_rng(0)
    questions, shift = rng.normal(size=300), np.array([0.0, 0.3, 0.6])
    values = {replicate("kd", i): questions for i in range(3)}
    values |= {replicate("dskd", i): questions + shift[i] for i in range(3)}
    (row,) = compare(made_records(values | {"teacher": questions}), "dskd", "kd", "gold_logprob").itertuples()
    assert row.difference == pytest.approx(0.3) and row.seeds == 3 and row.n == 300
    # The questions alone would say 0.3 exactly; three seeds with a deviation of 0.3 say it to 4.3 standard errors.
    spread = 4.303 * 0.3 / 3**0.5
    assert (row.low, row.high) == pytest.approx((0.3 - spread, 0.3 + spread), abs=0.08)
    against_one = compare(made_records(values | {"teacher": questions}), "dskd", "teacher", "gold_logprob")
    assert against_one.difference[0] == pytest.approx(0.3) and against_one.low[0] == row.low
    alone = compare(made_records({"kd": questions, "dskd": questions + 0.6}), "dskd", "kd", "gold_logprob")
    assert alone.low[0] == pytest.approx(0.6) == alone.high[0] and alone.p_holm[0] >= alone.p[0] < 0.001


def test_holms_correction_over_seeds_is_of_the_p_that_the_interval_has():
    right = np.repeat([1.0, -1.0], 40)
    better = np.concatenate([right[:40], np.ones(12), right[52:]])  # right on twelve questions more
    values = {"kd": right, "kd@1": better, "dskd": better, "dskd@1": right}
    (row,) = compare(made_records(values), "dskd", "kd", "acc").itertuples()
    assert row.p_mcnemar == mcnemar(better > 0, right > 0) < 0.001, "the first seeds alone"
    assert row.difference == 0 and row.low < 0 < row.high and row.p_holm == row.p > 0.5
    (row,) = compare(made_records({"kd": right, "dskd": better}), "dskd", "kd", "acc").itertuples()
    assert row.p_holm == row.p_mcnemar < 0.001


def test_one_seed_is_paired_as_before():
    a, b = np.random.default_rng(1).normal(size=(2, 50))
    assert paired_seeds(a, b) == paired_bootstrap(a, b)
    assert paired_seeds(np.stack([a, a]), b[None]).difference == pytest.approx(paired_bootstrap(a, b).difference)


def probe_records(scores):
    """Pairs with a score from each model: the first half are synonyms."""
    half = len(next(iter(scores.values()))) // 2
    items = pd.DataFrame({"probe": "synonym or antonym", "word": [f"w{i}" for i in range(2 * half)], "other": "o"})
    items["subset"], items["gold"] = [["all"]] * len(items), [1.0] * half + [0.0] * half
    return pd.concat([items.assign(model=name, sum=own, mean=own) for name, own in scores.items()])


def test_a_probe_over_seeds_averages_their_areas_and_draws_them_anew():
    rng = np.random.default_rng(2)
    gold = np.repeat([1.0, 0.0], 200)
    scores = {"kd": rng.normal(size=400), "kd@1": gold + rng.normal(size=400), "teacher": gold}
    table = probe_table(probe_records(scores), [("teacher", "kd")], resamples=300)
    value = table[table.measure == "sum"].set_index(["model", "minus"])
    alone = probe_table(probe_records({name: scores[name] for name in ("kd", "kd@1")}).assign(
        model=lambda t: t.model.replace({"kd@1": "other"})), resamples=300)  # fmt: skip
    areas = alone[alone.measure == "sum"].set_index("model").value
    assert value.value["kd", ""] == pytest.approx(areas.mean())
    assert value.value["teacher", "kd"] == pytest.approx(1 - areas.mean())
    spread = areas["other"] - areas["kd"]
    assert value.high["kd", ""] - value.low["kd", ""] > 0.9 * spread, "the seeds differ more than the words"
    assert value.value["teacher", ""] == 1.0


def test_held_out_text_is_compared_over_articles_and_seeds():
    blocks = pd.DataFrame({"block": range(20), "article": range(20), "n": 100.0, "top1_agreement": 50.0})
    wave = 100 * np.sin(np.arange(20))
    made = [blocks.assign(model=name, nll=300 + wave + shift, kl=shift) for name, shift in
            (("kd", 0.0), ("kd@1", 0.0), ("dskd", 10.0), ("dskd@1", 30.0))]  # fmt: skip
    table = compare_text(pd.concat(made), [("dskd", "kd")]).set_index("metric")
    assert table.difference["nll"] == pytest.approx(0.2) and table.difference["top1_agreement"] == 0
    ends = table.low["nll"], table.high["nll"]
    assert ends == pytest.approx((0.2 - 12.7 * 0.1, 0.2 + 12.7 * 0.1), abs=0.2), "two seeds say very little"
    assert table.p["top1_agreement"] == 1.0 and (table.p_holm >= table.p).all() and table.seeds.eq(2).all()
    with pytest.raises(ValueError, match="'pupil' is not in the blocks: choose from kd, dskd"):
        compare_text(pd.concat(made), [("pupil", "kd")])


def test_blocks_of_one_article_are_drawn_together():
    rng = np.random.default_rng(4)
    blocks = pd.DataFrame({"block": range(60), "article": np.repeat(range(6), 10), "n": 100.0, "top1_agreement": 50.0})
    gains = 100 * np.repeat(rng.normal(size=6), 10)
    made = pd.concat([blocks.assign(model="kd", nll=0.0, kl=0.0), blocks.assign(model="dskd", nll=gains, kl=gains)])
    together, alone = (compare_text(one.sample(frac=1, random_state=0), [("dskd", "kd")]).set_index("metric").loc["kl"]
                       for one in (made, made.assign(article=made.block)))  # fmt: skip
    assert together.difference == pytest.approx(alone.difference) and (together.articles, alone.articles) == (6, 60)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_questions_about_one_article_are_drawn_together():
    rng = np.random.default_rng(3)
    of_article = np.repeat(rng.normal(size=10), 30)
    records = made_records({"kd": np.zeros(300), "dskd": of_article + 0.1 * rng.normal(size=300)})
    records = records.assign(task="squad2", f1=records["gold_logprob"], subject=[f"a{i // 30}" for i in range(300)] * 2)
    together, alone = (compare(one, "dskd", "kd", "f1") for one in (records, records.drop(columns="subject")))
    assert together.difference[0] == alone.difference[0]
    assert together.high[0] - together.low[0] > 3 * (alone.high[0] - alone.low[0])
