"""Teacher and students on ARC-Challenge, CommonsenseQA, MMLU, PIQA and SQuAD 2.0 (paper section 5, Tables 3 and 12).

Protocols of the choice tasks:

- `paper`: exemplars as turns of the chat template (plain text where the tokenizer has none), lettered choices; the
  answer is the letter of highest probability among the letters (`acc`). `exact_first` is the released code's
  stricter measure: the most probable token of the whole vocabulary has to be the letter. (That code labels PIQA's
  choices 0 and 1; here they are A and B as everywhere.)
- `likelihood`: the choices' TEXT is scored after "Question: ...\\nAnswer:", for all choice tasks. For ARC and PIQA
  these are lm-evaluation-harness 0.4's templates, `acc` (highest log-probability) and `acc_norm` (highest
  log-probability a character) are its measures, and at 0 shots the prompts are its prompts token for token where it
  adds no other start token. For CommonsenseQA and MMLU the harness scores letters; on letters a small teacher is at
  chance, so text it is here, and the numbers are not the harness's.

Exemplars: one seeded draw from the train split a task, the same for all its questions and models; the first dev rows
of the subject for MMLU; one question of the same paragraph for SQuAD, whose answer is generated greedily.
"""

import argparse
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import AutoModelForCausalLM

from dskd_utils.artefacts import atomic_path
from dskd_utils.distill.replicates import by_method
from dskd_utils.evaluate.answering import ANSWER_TOKENS, answer_passages, check_vocabularies, choose
from dskd_utils.evaluate.prompts import build_prompts, choose_exemplars, sample_questions
from dskd_utils.evaluate.significance import holm, mcnemar, paired_seeds, standard_error
from dskd_utils.sources.conversations import LETTERS
from dskd_utils.sources.tasks import SQUAD_PARTS, Question, judged_split, load_task
from dskd_utils.sources.teachers import hash_tokenizer
from dskd_utils.sources.tokenizers import load_tokenizer

logger = logging.getLogger(__name__)

TASKS = ("arc_challenge", "commonsense_qa", "mmlu", "piqa", "squad2")
PROTOCOLS = ("paper", "likelihood")
METRICS = ("acc", "acc_norm", "exact_first", "gold_logprob", "gold_nats", "exact", "f1")
METRICS += ("HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")
YES_NO = {"acc", "acc_norm", "exact_first", "exact", "HasAns_exact", "NoAns_exact", "NoAns_f1"}
MMLU_EXEMPLARS = 5  # rows a subject in its dev split
_DEFAULT_SPLIT = {"mmlu": "test"}
_SEEN = f"half of these articles are this study's training text: ask split={SQUAD_PARTS[1]!r} of its students"
_NO_LIKELIHOOD = "SQuAD 2.0: not run, its answers are generated, needs protocol 'paper'"


def evaluate(
    models: Mapping[str, Any],
    tokenizer: Any,
    tasks: Sequence[str] = TASKS,
    protocol: str = "paper",
    shots: int = 5,
    limit: int | None = None,
    split: str | None = None,
    source: str = "package",
    data_dir: str | Path | None = None,
    seed: int = 0,
    return_records: bool = False,
    plain: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every model on every task, all on the same questions behind the same exemplars.

    Args:
        models: name -> Hugging Face causal language model; all share the tokenizer.
        tokenizer: theirs.
        tasks: names from `TASKS`.
        protocol: `"paper"` or `"likelihood"` (see the module's head).
        shots: exemplars before a question; at most 5 for MMLU and 1 for SQuAD.
        limit: so many questions a task, a seeded sample in proportion to MMLU's subjects; None for all.
        split: default validation, for MMLU test and for SQuAD 2.0 `"held-out"` (`judged_split`); the default too
            where a task has no split `"held-out"`.
        source: `"package"`, `"hub"` or `"files"` (see `sources.tasks.load_task`).
        data_dir: folder with upstream's files.
        seed: of the sample and the exemplars.
        return_records: also return one row a model and question.
        plain: score one request at a time without any reuse, the slow path that the fast one equals.

    Returns:
        A table with model, task, protocol, metric, value, stderr, n; and split, shots, limit, of (questions in the
        split), truncated (prompts cut to the model's context), chance, seed, note. Shares are between 0 and 1.
        `gold_logprob` is the mean log-probability in nats of the gold choice among the choices, `gold_nats` its raw
        one. SQuAD 2.0 without its file gives a row with the metric `"not run"`, the value NaN and the reason. The
        note says where half of the questions are about articles that students of this study are trained on.
        With `return_records`, (table, records): model, task, protocol, split, question_id, subject (of SQuAD the
        article), prediction, gold, correct, the metrics of the question, and the `scores` of its choices in nats.

    Raises:
        ValueError: no model, models of another tokenizer, an unknown task or protocol, a limit below 1, a split without
            labels.
        FileNotFoundError: a task's files are not there (SQuAD 2.0's excepted, but on the hub).
    """
    if not models:
        raise ValueError("models is empty: give at least one, as {'teacher': model}")
    if isinstance(tasks, str):
        raise ValueError(f"tasks is the string {tasks!r}, expected a list of names such as [{tasks!r}]")
    if unknown := [task for task in tasks if task not in TASKS]:
        raise ValueError(f"task {unknown[0]!r} is unknown: choose from {', '.join(TASKS)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is unknown: choose from {', '.join(PROTOCOLS)}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}, expected at least 1, or None for all questions")
    check_vocabularies(models, tokenizer)
    tables, all_records = [], []
    for task in tasks:
        judged = judged_split(task, _DEFAULT_SPLIT.get(task, "validation"), source)
        part = judged if split in (None, SQUAD_PARTS[1]) else split
        try:
            if task == "squad2" and protocol == "likelihood":
                raise FileNotFoundError(_NO_LIKELIHOOD)
            questions = load_task(task, part, source=source, data_dir=data_dir)
        except FileNotFoundError as reason:
            if task != "squad2" or (source == "hub" and protocol == "paper"):  # the hub has it: it fails for now
                raise
            logger.warning("%s", reason)
            rows = {"model": list(models), "task": task, "protocol": protocol, "metric": "not run", "value": np.nan}
            tables.append(pd.DataFrame(rows | {"n": 0, "split": part, "note": str(reason)}))
            continue
        if task == "squad2" or shots == 0:
            pool = questions
        else:
            pool = load_task(task, "dev" if task == "mmlu" else "train", source=source, data_dir=data_dir)
        table, records = evaluate_questions(
            models, tokenizer, questions, pool, protocol, shots=shots, limit=limit, seed=seed, plain=plain
        )
        seen = judged == SQUAD_PARTS[1] and part in ("validation", "dev")
        tables.append(table.assign(note=_SEEN) if seen else table)
        all_records.append(records)
    table = pd.concat(tables, ignore_index=True)
    first = ["model", "task", "protocol", "metric", "value", "stderr", "n", "split", "shots", "limit", "of"]
    table = table.reindex(columns=[*first, "truncated", "chance", "seed", "note"])
    if not return_records:
        return table
    return table, pd.concat(all_records, ignore_index=True) if all_records else pd.DataFrame()


def evaluate_questions(
    models: Mapping[str, Any],
    tokenizer: Any,
    questions: Sequence[Question],
    pool: Sequence[Question],
    protocol: str = "paper",
    *,
    shots: int = 5,
    limit: int | None = None,
    seed: int = 0,
    plain: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table and records, as `evaluate` returns them, of one task's questions.

    Args:
        questions: of one task and split.
        pool: where exemplars come from.

    Raises:
        ValueError: no question; a question without a label or with an impossible number of choices; models of another
            tokenizer.
    """
    if not questions:
        raise ValueError("there are no questions: give at least one")
    check_vocabularies(models, tokenizer)
    task, total = questions[0].task, len(questions)
    if task == "squad2":
        shots = min(shots, 1)
    elif task == "mmlu":
        shots = min(shots, MMLU_EXEMPLARS)
    for q in questions if task != "squad2" else ():
        if q.answer is None:
            raise ValueError(
                f"{task} {q.split} has no label for question {q.id}: take a split with labels (validation)"
            )
        if not 2 <= len(q.choices) <= len(LETTERS) or not 0 <= q.answer < len(q.choices):
            raise ValueError(f"{task} question {q.id} has {len(q.choices)} choices and the answer {q.answer}: mend it")
    asked = sample_questions(questions, limit, seed)
    exemplars = choose_exemplars(task, asked, pool, shots, seed)
    lengths = [getattr(m.config.get_text_config(), "max_position_embeddings", None) or 2**30 for m in models.values()]
    room = min(lengths) - (ANSWER_TOKENS if task == "squad2" else 0)
    prompts = build_prompts(tokenizer, asked, exemplars, protocol, room)
    truncated = sum(prompt.truncated for prompt in prompts)
    if truncated:
        logger.warning("%s: %d of %d prompts were cut to fit %d tokens", task, truncated, len(prompts), room)
    logger.info("%s: %s on %d questions", task, ", ".join(models), len(prompts))
    if task == "squad2":
        answers = answer_passages(list(models.values()), tokenizer, prompts, plain=plain)
    else:
        answers = choose(list(models.values()), tokenizer, prompts, protocol, plain=plain)
    records = []
    for name, of_model in zip(models, answers, strict=True):
        fixed = {"model": name, "task": task, "protocol": protocol}
        for prompt, found in zip(prompts, of_model, strict=True):
            q = prompt.question
            records.append(fixed | {"split": q.split, "question_id": q.id, "subject": q.subject or q.title} | found)
    records = pd.DataFrame(records)
    fixed = {"split": asked[0].split, "shots": shots, "limit": limit, "of": total, "truncated": truncated, "seed": seed}
    return _summarise(records, asked).assign(**fixed, note=""), records


def _summarise(records: pd.DataFrame, questions: Sequence[Question]) -> pd.DataFrame:
    """Mean, standard error and count of every metric of every model, beside the value of a guesser."""
    sizes = np.array([max(len(q.choices), 1) for q in questions])
    chance = {"acc": (1 / sizes).mean(), "acc_norm": (1 / sizes).mean(), "gold_logprob": -np.log(sizes).mean()}
    rows = []
    for (model, task, protocol), group in records.groupby(["model", "task", "protocol"], sort=False):
        for metric in METRICS:
            values = group[metric].dropna().to_numpy() if metric in group else np.array([])
            if values.size:
                row = {"model": model, "task": task, "protocol": protocol, "metric": metric}
                row |= {"value": values.mean(), "stderr": standard_error(values), "n": values.size}
                rows.append(row | {"chance": chance.get(metric, np.nan)})
    return pd.DataFrame(rows)


def compare(
    records: pd.DataFrame, a: str, b: str, metric: str = "acc", *, resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Difference `a - b` of two methods on the same questions, with a paired bootstrap interval (95%), task by task.

    Where a method has several training seeds (`replicates`) the interval holds for other seeds and other questions at
    once. Questions about one article of SQuAD are drawn together.

    Args:
        records: from `evaluate(..., return_records=True)`.
        a, b: names of the two methods.
        metric: a column of the records; McNemar's exact test is made where it is right or wrong, else it is NaN.

    Returns:
        task, protocol, difference, low, high, p (of the bootstrap), p_mcnemar (of the first seeds), p_holm (McNemar's
        where there is one seed and such a test, else the bootstrap's; the table is one family), n, seeds.

    Raises:
        ValueError: an unknown model or metric; models that were asked different questions; no question in common.
    """
    methods = by_method(dict.fromkeys(records["model"])) if "model" in records else {}
    for name in (a, b):
        if name not in methods:
            raise ValueError(f"model {name!r} is not in the records: choose from {', '.join(map(str, methods))}")
    if metric not in METRICS or metric not in records:
        there = [known for known in METRICS if known in records]
        raise ValueError(f"metric {metric!r} is not in the records: choose from {', '.join(there)}")
    keys = ["task", "protocol", "split", "question_id"]
    names = [*methods[a], *methods[b]]
    asked = records[records["model"].isin(names)].dropna(subset=[metric])
    if asked.duplicated(["model", *keys]).any():
        raise ValueError("a model has two records of one question: evaluate each model once")
    wide = asked.set_index([*keys, "model"])[metric].unstack("model").reindex(columns=names)
    if wide.empty or wide.isna().to_numpy().any():
        each = [wide[methods[name][0]].notna().sum() for name in (a, b)]
        counts = f"{each[0]} and {each[1]} questions, {len(wide.dropna())} in common"
        raise ValueError(f"{a!r} and {b!r} have {counts} for {metric!r}: evaluate them in one call")
    rows = []
    for task, protocol in dict.fromkeys(zip(asked["task"], asked["protocol"], strict=True)):
        x, y = (wide.loc[(task, protocol), methods[name]].to_numpy(float).T for name in (a, b))  # (seeds, questions)
        articles = _articles(asked, wide.loc[(task, protocol)].index) if task == "squad2" else None
        interval = paired_seeds(x, y, clusters=articles, resamples=resamples, seed=seed)._asdict()
        p = mcnemar(x[0], y[0]) if metric in YES_NO else np.nan
        rows.append({"task": task, "protocol": protocol} | interval | {"p_mcnemar": p, "seeds": max(len(x), len(y))})
    table = pd.DataFrame(rows)
    one_seed = table["seeds"].max() == 1  # McNemar's test knows no seeds, the interval beside it does
    table["p_holm"] = holm(table["p_mcnemar"] if metric in YES_NO and one_seed else table["p"])
    return table[["task", "protocol", "difference", "low", "high", "p", "p_mcnemar", "p_holm", "n", "seeds"]]


def _articles(asked: pd.DataFrame, questions: pd.MultiIndex) -> np.ndarray | None:
    """The article of each question, so that questions about one are drawn together; None where records name none."""
    if "subject" not in asked or asked["subject"].isna().any():
        return None
    return asked.drop_duplicates(["split", "question_id"]).set_index(["split", "question_id"])["subject"][questions]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: evaluate one or several Hugging Face model folders and write the table as CSV."""
    parser = argparse.ArgumentParser(prog="python -m dskd_utils.evaluate.benchmarks", description=main.__doc__)
    add = parser.add_argument
    add("--model", action="append", required=True, help="folder or hub id; again for more, all with one tokenizer")
    add("--tasks", nargs="+", default=list(TASKS), help=f"default: {' '.join(TASKS)}")
    add("--protocol", default="paper", help=" or ".join(PROTOCOLS))
    add("--shots", type=int, default=5)
    add("--limit", type=int, help="a seeded sample of so many questions a task")
    add("--split", help="default: validation, for MMLU test, for SQuAD 2.0 held-out, which no student is trained on")
    add("--source", help="package (default), hub, or files (default where --data-dir is given)")
    add("--data-dir", type=Path, help="folder with upstream's files")
    add("--seed", type=int, default=0)
    add("--dtype", default="float32", help="float32 (default), bfloat16 or auto")
    add("--out", type=Path, required=True, help="CSV file to write")
    add("--records", type=Path, help="Parquet file for one row a model and question")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for name in given.model:
            if not Path(name).is_dir() and not re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
                raise FileNotFoundError(f"there is no model folder {name}: give a folder with config.json, or a hub id")
        tokenizers = [load_tokenizer(name) for name in given.model]
        kinds = [(hash_tokenizer(t), given.protocol == "paper" and t.chat_template) for t in tokenizers]
        if others := [name for name, kind in zip(given.model, kinds, strict=True) if kind != kinds[0]]:
            raise ValueError(
                f"{others[0]} has another tokenizer or chat template than {given.model[0]}: evaluate it by itself"
            )
        models = {name: AutoModelForCausalLM.from_pretrained(name, dtype=given.dtype) for name in given.model}
        options = {"protocol": given.protocol, "shots": given.shots, "limit": given.limit, "split": given.split}
        options |= {"source": given.source or ("files" if given.data_dir else "package"), "data_dir": given.data_dir}
        table, records = evaluate(models, tokenizers[0], given.tasks, seed=given.seed, return_records=True, **options)
        with atomic_path(given.out) as temporary:
            table.to_csv(temporary, index=False)
        if given.records:
            with atomic_path(given.records) as temporary:
                records.to_parquet(temporary, index=False)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    print(table.dropna(axis="columns", how="all").to_string(index=False))


if __name__ == "__main__":
    main()
