"""Is lexical knowledge inherited? Probes by prompt, by questions and in the model's own space; beyond section 5.

Nothing here reads the teacher's dictionary: whatever is measured is the probed model's. What is asked comes from
`probe_data`. Records hold one row a model and item; `probe_table` gives their statistics with bootstrap intervals in
which the items of one asked word are drawn together, and paired differences between models over the same draws.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dskd_utils.distill.replicates import by_method
from dskd_utils.evaluate.probe_data import COSINES
from dskd_utils.evaluate.resampling import (
    RESAMPLES,
    accuracy,
    area,
    check_draws,
    drawn_values,
    estimate,
    rank_correlation,
)
from dskd_utils.evaluate.scoring import continuation_logprobs
from dskd_utils.evaluate.significance import holm
from dskd_utils.lexicon.spans import word_spans

# What comes before a synonym and before an antonym of a word, in the same words as far as English allows.
TEMPLATES = (
    ("A synonym of {} is", "The opposite of {} is"),
    ("The word {} means the same as", "The word {} means the opposite of"),
    ("A word with the same meaning as {} is", "A word with the opposite meaning of {} is"),
)
MOST_FREQUENT = "most frequent option"  # a guesser that has only counted words
COLUMNS = ["probe", "subset", "measure", "model", "minus", "value", "stderr", "low", "high", "p", "p_holm"]
COLUMNS += ["n", "of", "words", "chance"]


def span_logprobs(
    models: Sequence[Any], tokenizer: Any, asked: Sequence[tuple[str, str]], *, plain: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability in nats of a word, all tokens of its span, after a prompt; equal prompts are computed once.

    Args:
        models, tokenizer: causal language models, and the tokenizer of all of them.
        asked: (prompt, word); the word follows behind a blank.
        plain: one request at a time, without any reuse.

    Returns:
        Sums float64 (m, n), a row a model, and tokens of the words int64 (n,).
    """
    prompts = list(dict.fromkeys(prompt for prompt, _ in asked))
    # The token that the tokenizer itself puts before plain text, if any.
    start = [i for i in tokenizer("a")["input_ids"][:1] if i == tokenizer.bos_token_id]
    encoded = tokenizer(prompts, add_special_tokens=False, verbose=False)["input_ids"] if prompts else []
    contexts = {prompt: [*start, *ids] for prompt, ids in zip(prompts, encoded, strict=True)}
    spans = word_spans(dict.fromkeys(word for _, word in asked), tokenizer)
    return continuation_logprobs(models, [((), contexts[p], spans[w]) for p, w in asked], plain=plain)


def pair_records(
    models: Mapping[str, Any],
    tokenizer: Any,
    pairs: pd.DataFrame,
    *,
    templates: Sequence[tuple[str, str]] = TEMPLATES,
    plain: bool = False,
) -> pd.DataFrame:
    """How much likelier the other word of a pair is as a synonym than as an antonym of the word asked about.

    Args:
        models, tokenizer: name -> causal language model, and the tokenizer of all of them.
        pairs: from `held_out_pairs`.
        templates: prompts for a synonym and for an antonym, the word's place as {}.
        plain: one request at a time, without any reuse.

    Returns:
        a row a model and pair: `probe`, `model`, the columns of `pairs`, `subset` (list: all, one or both held out,
        the sets), `gold` (1 synonym, 0 antonym), `tokens` (of the other word), `by_template` (list of log p(other |
        synonym prompt) - log p(other | antonym prompt), nats), `sum` (their mean, high for synonyms), `mean` (that
        divided by `tokens`).

    Raises:
        ValueError: no pair, or a template without a place for the word.
    """
    _check(pairs, templates)
    held = pairs["held_out"].map({1: "one held out", 2: "both held out"})
    subset = [["all", out, *names.split(", ")] for out, names in zip(held, pairs["set"], strict=True)]
    pairs = pairs.reset_index(drop=True).assign(subset=subset, gold=(pairs["relation"] == "synonym").to_numpy(float))
    rows = list(zip(pairs["word"], pairs["other"], strict=True))
    asked = [(template.format(word), other) for both in templates for template in both for word, other in rows]
    found = []
    by_model, counts = span_logprobs(list(models.values()), tokenizer, asked, plain=plain)
    for name, sums in zip(models, by_model, strict=True):
        sums = sums.reshape(len(templates), 2, len(rows))  # (templates, synonym and antonym, pairs)
        by_template, tokens = (sums[:, 0] - sums[:, 1]).T, counts[: len(rows)]
        scores = {"by_template": by_template.tolist(), "sum": by_template.mean(1), "mean": by_template.mean(1) / tokens}
        found.append(pairs.assign(probe="synonym or antonym", model=name, tokens=tokens, **scores))
    return pd.concat(found, ignore_index=True)


def question_records(
    models: Mapping[str, Any],
    tokenizer: Any,
    questions: pd.DataFrame,
    *,
    templates: Sequence[tuple[str, str]] = TEMPLATES,
    plain: bool = False,
) -> pd.DataFrame:
    """What models choose as the synonym or antonym of a word: the option that is likeliest behind the prompts.

    Args:
        models, tokenizer, templates, plain: as in `pair_records`.
        questions: from `build_questions`.

    Returns:
        a row a model and question: `probe`, `model`, the columns of `questions`, `subset` (list: the relation, and a
        second name where the answer is held out too), `gold` (a guesser's accuracy), `scores` (list, an option's mean
        log-probability over the templates), `chosen`, `acc` (1.0 where that is the answer), `acc_norm` (the same
        with log-probabilities a token). The last model, `MOST_FREQUENT`, goes by the options' counts alone.

    Raises:
        ValueError: no question, or a template without a place for the word.
    """
    _check(questions, templates)
    named = zip(questions["relation"], questions["held_out"] == 2, strict=True)
    subset = [[relation] + [f"{relation}, both held out"] * both for relation, both in named]
    questions = questions.reset_index(drop=True).assign(probe="questions", subset=subset)
    questions["gold"] = 1 / questions["options"].map(len)
    shown = list(zip(questions["word"], questions["relation"] == "antonym", questions["options"], strict=True))
    asked = [(both[opposed].format(word), o) for both in templates for word, opposed, options in shown for o in options]
    ends = np.cumsum([len(options) for _, _, options in shown])[:-1]
    counted = [np.array(counts) for counts in questions["counts"]]
    chosen = {MOST_FREQUENT: (counted, counted)}
    by_model, counts = span_logprobs(list(models.values()), tokenizer, asked, plain=plain)
    for name, sums in zip(models, by_model, strict=True):
        scores, tokens = sums.reshape(len(templates), -1).mean(0), counts[: len(sums) // len(templates)]
        chosen[name] = np.split(scores, ends), np.split(scores / tokens, ends)
    found = []
    for name in [*models, MOST_FREQUENT]:
        best = np.array([[own.argmax() for own in way] for way in chosen[name]])  # (2, questions)
        acc, acc_norm = (best == questions["answer"].to_numpy()).astype(float)
        scores = [own.tolist() for own in chosen[name][0]]
        found.append(questions.assign(model=name, scores=scores, chosen=best[0], acc=acc, acc_norm=acc_norm))
    return pd.concat(found, ignore_index=True)


def _check(items: pd.DataFrame, templates: Sequence[tuple[str, str]]) -> None:
    if not len(items):
        raise ValueError("there is nothing to ask: the split holds out none of the words, take another part of it")
    if not templates or any(text.count("{}") != 1 for both in templates for text in both):
        raise ValueError("templates must be pairs of prompts, each with one {} where the word stands: see TEMPLATES")


# For each probe its measures, its statistic of (weights (r, n), scores (n,), gold (n,)), and a guesser's value.
_PROBES = {
    "synonym or antonym": (("sum", "mean"), area, lambda _: 0.5),
    "questions": (("acc", "acc_norm"), accuracy, np.mean),
    "similarity": (COSINES, rank_correlation, lambda _: 0.0),
    "synonym or antonym, own space": (COSINES, area, lambda _: 0.5),
}


def probe_table(
    records: pd.DataFrame,
    compare: Sequence[tuple[str, str]] = (),
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """AUC, accuracy or Spearman's correlation of every model on every subset, and differences between models.

    Args:
        records: of one probe: `pair_records`, `question_records`, `similarity_records`, `own_space.own_space_records`.
            Models whose names `replicates` tells to be seeds of one method make one row, the mean over them.
        compare: (model, model) whose difference, the first minus the second, is wanted.
        resamples, level, seed: as in `resampling.bootstrap_auc`; the clusters are the words asked about.

    Returns:
        columns `COLUMNS`: `measure` (pooling of the span, or kind of cosine), `minus` (the second model of a
        difference, else ""), `p` of a difference and `p_holm`, Holm's over those of its subset and measure; `n` items
        that every model has a score of, among `of`; `words` in these; `chance` a guesser's value.

    Raises:
        ValueError: models with different items, or a name in `compare` that is none of theirs.
    """
    check_draws(resamples, level)
    models = {name: own.reset_index(drop=True) for name, own in records.groupby("model", sort=False)}
    items = next(iter(models.values()))
    measures, statistic, chance = _PROBES[items["probe"].iloc[0]]
    columns = [column for column in ("set", "word", "other", "question_id") if column in items]
    if not all(own[columns].equals(items[columns]) for own in models.values()):
        raise ValueError("the models were not asked the same items: make the records of all of them in one call")
    methods = by_method(models)
    if unknown := {name for pair in compare for name in pair} - methods.keys():
        raise ValueError(f"model {min(unknown)!r} of compare has no records: choose from {', '.join(methods)}")
    rows = []
    for subset in dict.fromkeys(items["subset"].explode()):
        of = np.array([subset in names for names in items["subset"]])
        for measure in (name for name in measures if name in items):
            single = {name: own[measure].to_numpy(float) for name, own in models.items()}
            used = items[of & np.isfinite(list(single.values())).all(axis=0)]
            scores = {name: np.stack([single[one] for one in seeds]) for name, seeds in methods.items()}
            words, gold = set(used["word"]).union(used.get("other", ())), used["gold"].to_numpy(float)
            asked = used["word"].to_numpy(str)
            drawn = {name: drawn_values(statistic, own[:, used.index], gold, asked, resamples, seed)
                     for name, own in scores.items()}  # fmt: skip
            for name, minus in [*((name, "") for name in methods), *compare]:
                found = estimate(drawn[name], drawn[minus] if minus else None, len(used), level, seed)
                row = [items["probe"].iloc[0], subset, measure, name, minus, *found[:5], np.nan, found.n, int(of.sum())]
                rows.append([*row, len(words), 0.0 if minus else float(chance(gold))])
    table = pd.DataFrame(rows, columns=COLUMNS)
    for _, rows in table[table["p"].notna()].groupby(["subset", "measure"]):
        table.loc[rows.index, "p_holm"] = holm(rows["p"])
    return table
