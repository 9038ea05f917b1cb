"""Tests of the lexical probes: scores by prompt, AUC with clustered intervals, tables (beyond the paper)."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tokenizers.processors import TemplateProcessing

from dskd_utils.evaluate.probes import (
    COLUMNS,
    MOST_FREQUENT,
    TEMPLATES,
    pair_records,
    probe_table,
    question_records,
    span_logprobs,
)
from dskd_utils.evaluate.resampling import bootstrap_auc
from dskd_utils.evaluate.significance import holm, paired_bootstrap

PAIRS = pd.DataFrame(
    [
        ("happy", "glad", "synonym", "adj", 1),
        ("happy", "sad", "antonym", "adj", 1),
        ("happy", "unhappy", "antonym", "adj, noun", 2),
        ("bank", "riverside", "synonym", "noun", 1),
        ("zebra", "cold", "antonym", "noun", 2),
    ],
    columns=["word", "other", "relation", "set", "held_out"],
)
QUESTIONS = pd.DataFrame(
    [
        ("a", "happy", "synonym", ["sad", "glad", "cold", "riverside"], 1, [3, 2, 9, 1], 1),
        ("b", "zebra", "synonym", ["light", "dark", "hot", "merry"], 2, [5, 6, 7, 4], 2),
        ("c", "happy", "antonym", ["sad", "glad", "cold", "riverside"], 0, [3, 2, 9, 1], 1),
    ],
    columns=["question_id", "word", "relation", "options", "answer", "counts", "held_out"],
)


def whole_logprob(model, tokenizer, prompt, word):
    """Of the word's tokens, from the text tokenised as a whole."""
    ids, start = tokenizer(f"{prompt} {word}")["input_ids"], len(tokenizer(prompt)["input_ids"])
    with torch.inference_mode():
        logprobs = model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return sum(logprobs[place - 1, ids[place]].item() for place in range(start, len(ids))), len(ids) - start


def test_a_words_span_is_scored_behind_its_prompt_on_every_architecture(any_teacher):
    model, tokenizer = any_teacher.model, any_teacher.tokenizer
    asked = [("A synonym of happy is", word) for word in ("glad", "unhappy", "zebra")] + [("the bank", "glad")] * 2
    (sums,), tokens = span_logprobs([model], tokenizer, asked)
    expected = [whole_logprob(model, tokenizer, *one) for one in asked]
    np.testing.assert_allclose(sums, [value for value, _ in expected], atol=2e-4)
    assert tokens.tolist() == [count for _, count in expected] and tokens[2] > 1 and sums.std() > 1


def test_a_tokenizers_own_first_token_stands_before_the_prompt_once(llama, tiny_tokenizer):
    with_bos = type(tiny_tokenizer)(tokenizer_object=tiny_tokenizer.backend_tokenizer, bos_token="<s>")
    with_bos.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    assert with_bos("a")["input_ids"][0] == 0 != tiny_tokenizer("a")["input_ids"][0]
    asked = [("the happy", "glad"), ("the happy", "zebra")]
    (found,), _ = span_logprobs([llama.model], with_bos, asked)
    np.testing.assert_allclose(found, [whole_logprob(llama.model, with_bos, *one)[0] for one in asked], atol=2e-4)
    assert np.abs(found - span_logprobs([llama.model], tiny_tokenizer, asked)[0][0]).min() > 1e-3


def test_nothing_asked_is_no_answer(llama):
    sums, tokens = span_logprobs([llama.model], llama.tokenizer, [])
    assert sums.shape == (1, 0) and len(tokens) == 0


def test_a_prompt_is_computed_once_for_all_that_follows_it(llama):
    read = []
    hook = llama.model.model.embed_tokens.register_forward_hook(lambda _m, args, _out: read.append(args[0].numel()))
    words = ["glad", "sad", "cold", "hot", "warm", "merry", "light", "dark"]  # of one token each
    try:
        span_logprobs([llama.model], llama.tokenizer, [("A synonym of happy is", word) for word in words])
    finally:
        hook.remove()
    assert sum(read) == len(llama.tokenizer("A synonym of happy is")["input_ids"])


def test_a_pairs_score_is_the_mean_difference_of_its_prompts_summed_and_a_token(llama, tiny_teachers):
    models = {"llama": llama.model, "qwen": tiny_teachers("qwen2").model}
    records = pair_records(models, llama.tokenizer, PAIRS)
    assert records["model"].tolist() == ["llama"] * 5 + ["qwen"] * 5
    for (_, row), (name, model) in zip(records.iloc[[3, 8]].iterrows(), models.items(), strict=True):
        found = []
        for prompts in TEMPLATES:
            one, other = (
                whole_logprob(model, llama.tokenizer, p.format(row["word"]), row["other"])[0] for p in prompts
            )
            found.append(one - other)
        assert row["model"] == name and np.std(found) > 1e-2
        np.testing.assert_allclose(row["by_template"], found, atol=5e-4)
        assert row["sum"] == pytest.approx(np.mean(found), abs=5e-4)
        assert row["tokens"] > 1 and row["mean"] == pytest.approx(row["sum"] / row["tokens"])
    assert records["gold"].tolist() == [1, 0, 0, 1, 0] * 2
    assert records["subset"][2] == ["all", "both held out", "adj", "noun"]
    plain = pair_records(models, llama.tokenizer, PAIRS, plain=True)
    np.testing.assert_allclose(records["sum"], plain["sum"], atol=5e-4)


def test_the_option_likeliest_behind_the_relations_prompts_is_chosen(llama):
    records = question_records({"llama": llama.model}, llama.tokenizer, QUESTIONS, templates=TEMPLATES[:2])
    assert records["model"].tolist() == ["llama"] * 3 + [MOST_FREQUENT] * 3
    for kind, (_, row) in zip((0, 0, 1), records.head(3).iterrows(), strict=True):
        found = np.array(
            [
                [whole_logprob(llama.model, llama.tokenizer, p[kind].format(row["word"]), o) for o in row["options"]]
                for p in TEMPLATES[:2]
            ]
        )
        scores, tokens = found[..., 0].mean(0), found[0, :, 1]
        np.testing.assert_allclose(row["scores"], scores, atol=5e-4)
        assert row["chosen"] == scores.argmax() and row["acc"] == (scores.argmax() == row["answer"])
        assert row["acc_norm"] == ((scores / tokens).argmax() == row["answer"])
    # The two kinds of question about one word differ in their prompts alone.
    assert np.abs(np.subtract(records["scores"][0], records["scores"][2])).max() > 1e-2
    assert records["acc"].tolist()[3:] == [0, 1, 0]  # cold, hot, cold are the most frequent
    assert records["gold"].tolist() == [0.25] * 6


def test_a_long_option_may_win_a_token_though_not_as_a_whole(llama):
    asked = QUESTIONS.head(1).assign(options=[["dark", "quizzical"]], counts=[[1, 1]], answer=1)
    row = question_records({"llama": llama.model}, llama.tokenizer, asked).iloc[0]
    a_token = np.array(row["scores"]) / [len(llama.tokenizer(f" {o}")["input_ids"]) for o in row["options"]]
    assert np.argmax(row["scores"]) == row["chosen"] == 0 and a_token.argmax() == 1, "else this shows nothing"
    assert (row["acc"], row["acc_norm"], row["gold"]) == (0, 1, 0.5)


@pytest.mark.parametrize("templates", [(), [("no place", "The opposite of {} is")], [("{} or {} is", "{} is")]])
def test_templates_without_one_place_are_refused(llama, templates):
    for ask, items in ((pair_records, PAIRS), (question_records, QUESTIONS)):
        with pytest.raises(ValueError, match="each with one {} where the word stands"):
            ask({}, llama.tokenizer, items, templates=templates)
        with pytest.raises(ValueError, match="nothing to ask: the split holds out none"):
            ask({}, llama.tokenizer, items.head(0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 1)), min_size=3, max_size=40))
def test_the_auc_is_scikit_learns_ties_included(rows):
    scores, labels = np.array(rows).T
    if len(set(labels)) == 2:
        found = bootstrap_auc(scores / 3, labels, resamples=20)
        assert found.value == pytest.approx(roc_auc_score(labels, scores))
        assert found.n == len(rows)


def drawn(n=120, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    return rng, np.round(labels + rng.normal(size=n), 1), labels


def test_the_interval_is_that_of_scikit_learns_auc_over_resampled_clusters():
    rng, scores, labels = drawn()
    clusters = rng.integers(0, 30, len(scores))
    found = bootstrap_auc(scores, labels, clusters=clusters, resamples=4000)
    members = [np.flatnonzero(clusters == c) for c in np.unique(clusters)]
    plain = []
    for _ in range(600):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        plain.append(roc_auc_score(labels[rows], scores[rows]))
    assert found.stderr == pytest.approx(np.std(plain), rel=0.12)
    assert found[2:4] == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.025)
    assert np.isnan(found.p)


def test_items_of_one_cluster_are_drawn_together():
    _, scores, labels = drawn()
    once = bootstrap_auc(scores, labels, seed=3)
    ten = bootstrap_auc(np.repeat(scores, 10), np.repeat(labels, 10), clusters=np.repeat(range(120), 10), seed=3)
    assert ten[:4] == pytest.approx(once[:4])
    alone = bootstrap_auc(np.repeat(scores, 10), np.repeat(labels, 10))
    assert alone.stderr == pytest.approx(once.stderr / np.sqrt(10), rel=0.12)


def test_the_same_seed_gives_the_same_interval_also_in_slices(monkeypatch):
    _, scores, labels = drawn()
    whole = bootstrap_auc(scores, labels, resamples=300, seed=5)
    assert bootstrap_auc(scores, labels, resamples=300, seed=5) == pytest.approx(whole, nan_ok=True)
    assert bootstrap_auc(scores, labels, resamples=300, seed=6).low != whole.low
    monkeypatch.setattr("dskd_utils.evaluate.resampling._SLICE", 1000)
    assert bootstrap_auc(scores, labels, resamples=300, seed=5) == pytest.approx(whole, nan_ok=True)
    wide = bootstrap_auc(scores, labels, resamples=300, seed=5, level=0.99)
    assert wide.low < whole.low < whole.value < whole.high < wide.high


def test_two_models_are_compared_over_the_same_draws():
    rng, scores, labels = drawn(400)
    noisy = scores + rng.normal(0, 0.8, len(scores))
    found = bootstrap_auc(scores, labels, other=noisy)
    assert found.value == pytest.approx(roc_auc_score(labels, scores) - roc_auc_score(labels, noisy))
    assert 0 < found.low < found.high and found.p < 0.01
    alone = [bootstrap_auc(x, labels).stderr for x in (scores, noisy)]
    assert found.stderr < 0.8 * np.hypot(*alone)  # unpaired draws would give the whole
    back = bootstrap_auc(noisy, labels, other=scores)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert bootstrap_auc(scores, labels, other=scores)[:5] == (0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (([1.0], [0, 1]), "one finite value for each"),
        (([1.0, np.nan], [0, 1]), "one finite value for each"),
        (([1.0, 2.0], [1, 1]), "both labels, 0 and 1"),
        (([1.0, 2.0], [1, 2]), "both labels, 0 and 1"),
        (([], []), "both labels, 0 and 1"),
    ],
)
def test_what_has_no_auc_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        bootstrap_auc(*arguments)


@pytest.mark.parametrize("options", [{"level": 1.0}, {"resamples": 1}])
def test_impossible_draws_are_refused(options):
    with pytest.raises(ValueError, match="expected a level in"):
        bootstrap_auc([1.0, 2.0], [0, 1], **options)


def made_records(seed=0, n=300):
    """Three models' scores of pairs: of two the labels show, one of these with less noise."""
    rng = np.random.default_rng(seed)
    gold = (rng.random(n) < 0.5).astype(float)
    words = pd.Series(rng.integers(0, 60, n)).map("w{}".format)
    both = np.arange(n) % 5 == 0
    subset = [["all", "both held out" if b else "one held out"] for b in both]
    items = pd.DataFrame({"word": words, "other": "v", "subset": subset, "gold": gold})
    sums = {"blind": rng.normal(size=n), "good": gold + rng.normal(size=n), "best": 2 * gold + rng.normal(size=n)}
    return pd.concat(
        [items.assign(probe="synonym or antonym", model=name, sum=s, mean=s / 2) for name, s in sums.items()]
    )


def test_a_table_holds_every_models_auc_and_the_differences_asked_for():
    records = made_records()
    table = probe_table(records, [("best", "good"), ("good", "blind")], resamples=300, seed=1)
    assert list(table.columns) == COLUMNS and len(table) == 3 * 2 * 5
    best, good = (records[records["model"] == name].reset_index(drop=True) for name in ("best", "good"))
    one = table[(table["subset"] == "both held out") & (table["measure"] == "sum")].set_index(["model", "minus"])
    rows = np.arange(300) % 5 == 0
    areas = [roc_auc_score(of["gold"][rows], of["sum"][rows]) for of in (best, good)]
    assert one.loc[("best", ""), "value"] == pytest.approx(areas[0])
    assert one.loc[("best", "good"), "value"] == pytest.approx(areas[0] - areas[1])
    assert one["n"].eq(60).all() and one["of"].eq(60).all()
    assert one.loc[("best", ""), "words"] == best["word"][rows].nunique() + 1
    every = table[(table["subset"] == "all") & (table["measure"] == "mean")].set_index(["model", "minus"])
    expected = bootstrap_auc(
        best["mean"], best["gold"], other=good["mean"], clusters=best["word"], resamples=300, seed=1
    )
    assert tuple(every.loc[("best", "good"), ["value", "stderr", "low", "high", "p", "n"]]) == pytest.approx(expected)
    assert every["chance"].to_dict() == {("blind", ""): 0.5, ("good", ""): 0.5, ("best", ""): 0.5} | {
        ("best", "good"): 0, ("good", "blind"): 0
    }  # fmt: skip
    tested = table[table["minus"] != ""]
    assert tested["p"].notna().all() and table.loc[table["minus"] == "", "p"].isna().all()
    for _, rows in tested.groupby(["subset", "measure"]):
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p"]))


def test_accuracies_and_rank_correlations_have_the_same_table():
    records = made_records()
    right = records.assign(probe="questions", acc=(records["sum"] > 0).astype(float), acc_norm=1.0, gold=0.25)
    table = probe_table(right, [("best", "blind")], resamples=2000).set_index(["subset", "measure", "model", "minus"])
    best, blind = (right.loc[right["model"] == name, "acc"].to_numpy() for name in ("best", "blind"))
    words = right.loc[right["model"] == "best", "word"].to_numpy(str)
    expected = paired_bootstrap(best, blind, clusters=words)
    row = table.loc[("all", "acc", "best", "blind")]
    assert row["value"] == pytest.approx(expected.difference)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=0.01)
    assert table.loc[("all", "acc", "best", ""), "value"] == pytest.approx(best.mean())
    assert table.loc[("all", "acc", "best", ""), "chance"] == 0.25
    assert table.loc[("all", "acc_norm", "best", ""), "stderr"] == 0

    gold = records["gold"] + np.tile(np.arange(300) % 7, 3)
    similar = records.assign(probe="similarity", cosine=records["sum"].round(1), standardised=records["sum"], gold=gold)
    similar["cosine"] = similar["cosine"].mask(np.tile(np.arange(300) % 10 == 0, 3) & (similar["model"] == "good"))
    table = probe_table(similar, resamples=50).set_index(["subset", "measure", "model"])
    left = np.arange(300) % 10 > 0  # what one model has no vector of counts for none
    best = similar[similar["model"] == "best"]
    row = table.loc[("all", "cosine", "best")]
    assert row["value"] == pytest.approx(spearmanr(best["cosine"][left], best["gold"][left]).statistic)
    assert (row["n"], row["of"], row["chance"]) == (270, 300, 0)
    assert row["low"] < row["value"] < row["high"]
    assert table.loc[("all", "standardised", "best"), "n"] == 300


def test_a_spearman_interval_is_that_of_resampled_words():
    records = made_records().query("model == 'best'").reset_index(drop=True)
    gold = records["gold"] + np.arange(300) % 3
    similar = records.assign(probe="similarity", cosine=records["sum"].round(1), standardised=0.0, gold=gold)
    row = probe_table(similar, resamples=3000).iloc[0]
    rng, members = np.random.default_rng(1), list(similar.groupby("word").indices.values())
    plain = []
    for _ in range(600):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        plain.append(spearmanr(similar["cosine"][rows], gold[rows]).statistic)
    assert row["stderr"] == pytest.approx(np.std(plain), rel=0.12)
    constant = probe_table(similar, resamples=50).iloc[1]
    assert constant["measure"] == "standardised" and np.isnan(constant["value"]) and np.isnan(constant["stderr"])


def test_a_subset_of_one_label_or_of_no_scores_has_no_value_but_a_row():
    records = made_records(n=20)
    records["subset"] = [["all", "synonyms"] if gold else ["all"] for gold in records["gold"]]
    table = probe_table(records.assign(mean=np.nan), [("best", "good")], resamples=20).set_index(["subset", "measure"])
    assert table.loc[("synonyms", "sum"), "value"].isna().all() and table.loc[("all", "sum"), "value"].notna().all()
    assert table.loc[("all", "mean"), "value"].isna().all() and (table.loc[("all", "mean"), "n"] == 0).all()


def test_models_that_cannot_be_compared_are_refused():
    records = made_records()
    with pytest.raises(ValueError, match="model 'worst' of compare has no records: choose from blind, good, best"):
        probe_table(records, [("best", "worst")])
    with pytest.raises(ValueError, match="not asked the same items"):
        probe_table(records.iloc[:-1])
