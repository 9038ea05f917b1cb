"""What the lexical probes ask: pairs, questions and similarities of held-out words; beyond section 5 of the paper.

Every pair and question asks about a word of one part of the split (`word`), which no training relation touches. The
words of `test` are read once, at the end: what is made for `validation` holds none of them, not even as an option.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from dskd_utils.evaluate.prompts import task_rng
from dskd_utils.lexicon.gold import RELATIONS, objects
from dskd_utils.lexicon.pair_table import normalise
from dskd_utils.lexicon.readers import read_lines
from dskd_utils.lexicon.relations import Relations

PARTS = ("validation", "test")
NEAREST = 30  # distractors are drawn among so many words whose counts are nearest to the answer's
COSINES = ("cosine", "standardised", "nearest")  # measures of `similarity_records`
_QUESTION = ["question_id", "word", "relation", "pos", "options", "answer", "counts", "held_out", "of"]


def held_out_pairs(pairs: pd.DataFrame, split: Mapping[str, str], *, part: str = "test") -> pd.DataFrame:
    """The pairs that have a word in a held-out part of the split, that word first.

    Args:
        pairs: set, word, other, relation, as `Gold.pairs` has them; choose AntSynNET's by their `set`.
        split: word -> part for every word of the pairs, by `split_words` with the study's seed.
        part: `"test"`, or `"validation"` for choosing settings: pairs without a test word.

    Returns:
        a row a pair: `word` (of the part; of two such words the first in the alphabet), `other`, `relation`, `set`
        (all that hold it, joined by commas), `held_out` (how many of its words are: 1, or 2 with either part).
        A pair that sets label both ways is left out.

    Raises:
        ValueError: an unknown part, or a word without one.
    """
    _check_split({*pairs["word"], *pairs["other"]}, split, part)
    keys = ["word", "other"]
    agreed = pairs[pairs.groupby(keys)["relation"].transform("nunique") == 1]
    once = agreed.groupby([*keys, "relation"], as_index=False)["set"].agg(lambda sets: ", ".join(dict.fromkeys(sets)))
    rows = []
    for word, other, relation, names in zip(*objects(once, *keys, "relation", "set"), strict=True):
        if split[word] != part:
            word, other = other, word
        if split[word] == part and (part == "test" or split[other] != "test"):
            rows.append((word, other, relation, names, 1 + (split[other] != "train")))
    return pd.DataFrame(rows, columns=[*keys, "relation", "set", "held_out"])


def _check_split(words: set[str], split: Mapping[str, str], part: str) -> None:
    if part not in PARTS:
        raise ValueError(f"part {part!r} is not held out: choose one of {', '.join(PARTS)}")
    if missing := sorted(words - split.keys()):
        raise ValueError(
            f"{len(missing)} words have no part in the split ({', '.join(missing[:3])}): give them one with "
            "split_words and the study's seed, it depends on the lemma alone"
        )


def build_questions(
    relations: Relations,
    split: Mapping[str, str],
    senses: Mapping[tuple[str, str], Sequence[str]],
    counts: Mapping[str, int],
    *,
    part: str = "test",
    source: str = "wordnet",
    options: int = 4,
    limit: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Multiple-choice questions for a synonym or an antonym of held-out words, as many as the split gives.

    A distractor is a word that the source states the same relation of, mostly of the same part of speech (by its
    number of senses), drawn among the `NEAREST` such words whose counts are nearest to the answer's. None is related
    to the word or to the answer, by any source and either relation.

    Args:
        relations: all that is known to be related, held-out words included; with flips, these exclude options too.
        split: word -> part for every word of `relations`.
        senses: sense keys of (lemma, part of speech), from `sources.sense_tasks.wordnet_senses`. Words that share
            several parts of speech are asked as the one in which they have most senses together.
        counts: occurrences in a corpus; words, answers and options have at least one.
        part: `"test"`, or `"validation"` for questions without a test word.
        source: whose relations are asked for.
        options: choices a question, the right one included.
        limit: most questions of each relation, drawn with `seed`; None takes all.
        seed: of the draws and of the order of the options.

    Returns:
        a row a question: `question_id`, `word`, `relation`, `pos`, `options` (list), `answer` (its place there),
        `counts` (of the options), `held_out` (1, or 2 where the answer is held out as well), `of` (how many related
        words of its relation could be asked about, without a limit). Those without enough distractors give no question.

    Raises:
        ValueError: an unknown part, fewer than two options, a word without a part, or no pair from the source.
    """
    _check_split(set(relations.words), split, part)
    if options < 2:
        raise ValueError(f"options is {options}, expected at least 2: one right and one wrong")
    related = defaultdict(set)  # contradictions that were dropped included
    for a, b in zip(*objects(relations.frame, "word", "other"), strict=True):
        related[a].add(b)
        related[b].add(a)
    kinds: dict[str, dict[str, int]] = defaultdict(dict)
    for (lemma, pos), keys in senses.items():
        kinds[lemma.replace("_", " ")][pos] = len(keys)
    stated = sorted(_stated(relations, source))
    if not stated:
        raise ValueError(f"the relations hold no pair from the source {source!r}: build them with it")
    usable = {word for _, word, _ in stated if counts.get(word, 0) > 0 and word in kinds}
    if part == "validation":
        usable = {word for word in usable if split[word] != "test"}
    members = defaultdict(set)
    for relation, word, _ in stated:
        for pos, number in kinds[word].items() if word in usable else ():
            if number == max(kinds[word].values()):  # `gentle` can be a verb, and is no sensible option for one
                members[relation, pos].add(word)
    pools = {key: np.array(sorted(words), dtype=object) for key, words in members.items()}
    logs = {key: np.log([counts[word] for word in pool]) for key, pool in pools.items()}
    rows, made, could = [], Counter(), Counter()
    order = np.random.default_rng(seed).permutation(len(stated)) if limit is not None else range(len(stated))
    for relation, word, answer in (stated[i] for i in order):
        shared = kinds[word].keys() & kinds[answer].keys() if {word, answer} <= usable else ()
        if split[word] != part or not shared:
            continue
        pos = max(sorted(shared), key=lambda p: kinds[word][p] + kinds[answer][p])
        if (relation, pos) not in pools:
            continue
        could[relation] += 1
        if made[relation] == limit:
            continue
        name, pool = f"{relation} {word} {answer}", pools[relation, pos]
        rng = task_rng(name, seed)
        # Equally distant ones in random order, or rare words would always stand beside the same ones.
        distance = np.abs(logs[relation, pos] - np.log(counts[answer]))
        barred = {word, answer} | related[word] | related[answer]
        ranked = pool[np.lexsort((rng.random(len(pool)), distance))]
        near = list(itertools.islice((other for other in ranked if other not in barred), NEAREST))
        if len(near) < options - 1:
            continue
        drawn = rng.choice(len(near), options - 1, replace=False)
        places = rng.permutation(options)
        shown = [[answer, *(near[i] for i in drawn)][i] for i in places]
        held = 1 + (split[answer] != "train")
        rows.append((name, word, relation, pos, shown, int(places.argmin()), [counts[o] for o in shown], held))
        made[relation] += 1
    return pd.DataFrame(sorted((*row, could[row[2]]) for row in rows), columns=_QUESTION)  # row[2]: the relation


def stated_pairs(relations: Relations, source: str) -> pd.DataFrame:
    """The pairs whose relation a source states, as `held_out_pairs` takes them: `set`, `word`, `other`, `relation`."""
    rows = sorted((a, b, relation) for relation, a, b in _stated(relations, source) if a < b)
    return pd.DataFrame(rows, columns=["word", "other", "relation"]).assign(set=source)


def _stated(relations: Relations, source: str) -> Iterator[tuple[str, str, str]]:
    """(relation, word, other) in both directions of the pairs whose relation the source states."""
    frame = relations.frame
    for relation in RELATIONS:
        named = frame[f"{relation}_sources"]
        by_source = named.map({names: source in names.split(", ") for names in named.unique()}).astype(bool)
        for a, b in zip(*objects(frame[by_source & (frame["relation"] == relation)], "word", "other"), strict=True):
            yield relation, a, b
            yield relation, b, a


def read_similarity(data_dir: str | Path) -> pd.DataFrame:
    """Word similarity sets with people's scores: `set`, `word`, `other`, `gold`, words normalised.

    SimLex-999 is read from its authors' file, not from its copy among the other sets. WS-353-ALL holds the pairs of
    WS-353-SIM and WS-353-REL too. Nothing is left out: pairs of equal words and entries of several words stay.

    Args:
        data_dir: holds `lexical/wordsim`, files of two words and a number a line; the first line may be a header.

    Raises:
        FileNotFoundError: the folder holds no such file.
        ValueError: a line is not two words and a number (file and line are named).
    """
    folder = Path(data_dir) / "lexical" / "wordsim"
    paths = [path for path in sorted(folder.glob("*.txt")) if not path.name.endswith("_SimLex999.txt")]
    if not paths:
        raise FileNotFoundError(
            f"there is no word similarity set in {folder}: set data_dir to the folder that holds lexical/wordsim"
        )
    rows = []
    for path in paths:
        name, column = re.sub("^[a-z]_", "", path.stem), 2
        for number, line in read_lines(path):
            cells = line.split()
            if number == 1 and "SimLex999" in cells:
                column = cells.index("SimLex999")
                continue
            try:
                rows.append((name, normalise(cells[0]), normalise(cells[1]), float(cells[column])))
            except (ValueError, IndexError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected two words and a score, found {line[:60]!r}"
                ) from error
    return pd.DataFrame(rows, columns=["set", "word", "other", "gold"])


def similarity_records(
    vectors: Mapping[str, Mapping[str, Tensor]],
    pairs: pd.DataFrame,
    senses: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> pd.DataFrame:
    """Cosines of two words' representations in each model's own space, beside people's scores.

    Args:
        vectors: name of the model -> word -> `(d,)`, from `own_space.word_vectors`.
        pairs: `set`, `word`, `other`, `gold`, from `read_similarity`, and `held_out`, how many of the two words are.
        senses: name of the model -> word -> `(s, d)`, from `own_space.word_senses`.

    Returns:
        a row a model and pair: `probe`, `model`, the columns of `pairs`, `subset` (list: held out where a word is, all,
        the set), `cosine`, and `standardised`, the cosine after every dimension has mean 0 and deviation 1
        over the model's words (a few dimensions are much larger than the rest); with `senses` also `nearest`, the
        standardised cosine of the two senses that lie nearest. NaN where a word has no vector.
    """
    held = pairs["held_out"] > 0
    subset = [["held out"] * out + ["all", name] for out, name in zip(held, pairs["set"], strict=True)]
    found = []
    for name, of in vectors.items():
        place = {word: i for i, word in enumerate(of)}
        ends = [pairs[side].map(place) for side in ("word", "other")]
        known = (ends[0].notna() & ends[1].notna()).to_numpy()
        a, b = (torch.tensor(end[known].to_numpy(dtype=np.int64)) for end in ends)
        records = pairs.reset_index(drop=True).assign(probe="similarity", model=name, subset=subset)
        raw = torch.stack([vector.float() for vector in of.values()])  # (words, d)
        centre, scale = raw.mean(0), raw.std(0, correction=0).clamp_min(1e-6)
        for measure, rows in (("cosine", raw), ("standardised", (raw - centre) / scale)):
            records[measure] = np.nan
            records.loc[known, measure] = cosine_similarity(rows[a], rows[b]).double().numpy()
        if senses is not None:
            own = [normalize((senses[name][word].float() - centre) / scale, dim=1) for word in of]
            records["nearest"] = np.nan
            records.loc[known, "nearest"] = [
                float((own[i] @ own[j].T).max()) for i, j in zip(a.tolist(), b.tolist(), strict=True)
            ]
        found.append(records)
    return pd.concat(found, ignore_index=True)
