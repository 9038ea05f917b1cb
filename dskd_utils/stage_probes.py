"""What a study asks about words whose relations were held out, as a stage (beyond section 5 of the paper)."""

import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dskd_utils.artefacts import atomic_folder, code_digest, files_digest, read_manifest, write_manifest
from dskd_utils.evaluate.own_space import word_contexts
from dskd_utils.evaluate.probe_data import build_questions, held_out_pairs, read_similarity, stated_pairs
from dskd_utils.lexicon.gold import FILES, load_gold
from dskd_utils.lexicon.pair_table import normalise
from dskd_utils.lexicon.split import lemmatise, split_words
from dskd_utils.sources.assets import fetch
from dskd_utils.sources.sense_tasks import wordnet_senses
from dskd_utils.sources.wikipedia import wikipedia_leads
from dskd_utils.stage_lexicon import Lexicon
from dskd_utils.study import Study

# Similarity sets whose pairs another set holds too, all of them but one.
REPEATED = {"WS-353-SIM": "WS-353-ALL", "WS-353-REL": "WS-353-ALL", "MC-30": "RG-65"}
CODE = ("evaluate/probe_data.py", "lexicon", "sources/wikipedia.py", "stage_probes.py", "assets.yaml")


@dataclass(frozen=True)
class Probes:
    """Pairs and questions about words of one part of the split, and how many of both there were before the draw."""

    pairs: pd.DataFrame
    questions: pd.DataFrame
    facts: dict[str, Any]


def probes(study: Study, words: Lexicon, *, part: str = "test", limit: int = 0) -> Probes:
    """Pairs (is the other word a synonym or an antonym?) and WordNet questions about held-out words.

    Pairs are those of AntSynNET where a data folder holds it, else WordNet's own; half are antonyms where there are
    enough. Words are counted in a Wikipedia package.

    Args:
        study: an open study.
        words: the lexicon, whose split decides.
        part: `"test"`, or `"validation"` for choosing settings.
        limit: most pairs and most questions, drawn with the study's seed; the profile's when 0.

    Raises:
        ValueError: an unknown part.
    """
    limit = limit or study.profile.probe_questions
    parameters = {"relations": words.folder.name, "part": part, "limit": limit, "seed": study.seed}
    parameters |= {"files": files_digest(study.data_dir, "lexical/antsynnet"), "code": code_digest(*CODE)}
    folder = study.stage("probes", part, parameters)
    if not (folder / "manifest.json").is_file():
        started = time.monotonic()
        counts, wordnet, each = word_counts(), fetch("wordnet"), max(1, limit // 2)
        gold = _gold(study, words, counts)
        everything = sorted({*words.split, *words.relations.words, *gold["word"], *gold["other"]})
        # A word's part depends on its lemma and the seed alone: those of the lexicon keep theirs.
        split = split_words(everything, lemmatise(everything, wordnet), seed=study.seed)
        senses = wordnet_senses(wordnet)
        found = held_out_pairs(gold, split, part=part)
        # As many synonyms as antonyms where there are enough: the area under the curve does not depend on the shares.
        pairs = [of.sample(min(each, len(of)), random_state=study.seed) for _, of in found.groupby("relation")]
        drawn = pd.concat([found.iloc[:0], *pairs]).sort_index().reset_index(drop=True)
        questions = build_questions(words.relations, split, senses, counts, part=part, limit=each, seed=study.seed)
        with atomic_folder(folder) as temporary:
            drawn.to_parquet(temporary / "pairs.parquet", index=False)
            questions.to_parquet(temporary / "questions.parquet", index=False)
            of = int(questions.groupby("relation")["of"].first().sum())
            write_manifest(temporary, "probes", parameters, started, pairs=len(found), questions=of)
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("pairs", "questions")}
    return Probes(**tables, facts=read_manifest(folder)["facts"])


@dataclass(frozen=True)
class OwnSpace:
    """Pairs of synonyms and antonyms, pairs with people's scores (None where no folder has them), words in context.

    `of` is how many pairs of either kind there were before the draw.
    """

    pairs: pd.DataFrame
    similar: pd.DataFrame | None
    contexts: pd.DataFrame
    of: dict[str, int]


def own_space(study: Study, asked: Probes, *, limit: int = 0) -> OwnSpace:
    """What is asked in each model's own space, with occurrences of its words in Wikipedia's leads.

    Args:
        study: an open study.
        asked: the probes, whose pairs are drawn from.
        limit: most pairs of either relation, and of a similarity set, there half of them with a word of the split's
            test part where there are so many, drawn with the study's seed; the profile's `sense_contexts` when 0.
    """
    limit = limit or study.profile.sense_contexts
    drawn = [of.sample(min(limit, len(of)), random_state=study.seed) for _, of in asked.pairs.groupby("relation")]
    pairs, similar, of = pd.concat(drawn).sort_index(), None, {"pairs": asked.facts["pairs"], "similar": 0}
    if study.data_dir is not None and any((study.data_dir / "lexical" / "wordsim").glob("*.txt")):
        found = _scored(study)
        similar = pd.concat(_half_held_out(one, limit, study.seed) for _, one in found.groupby("set", sort=False))
        of["similar"] = len(found)
    words = {word for frame in (pairs, similar) if frame is not None for word in (*frame["word"], *frame["other"])}
    contexts = word_contexts(wikipedia_leads(fetch("wikipedia-leads")), words, seed=study.seed)
    return OwnSpace(pairs, similar, contexts, of)


def _scored(study: Study) -> pd.DataFrame:
    """Pairs with people's scores, each set's once, and in `held_out` how many words are of the split's test part."""
    found = read_similarity(study.data_dir)
    found = found[~found["set"].map(REPEATED).isin(found["set"])]
    words = sorted({*found["word"], *found["other"]})
    split = split_words(words, lemmatise(words, fetch("wordnet")), seed=study.seed)
    return found.assign(held_out=sum((found[side].map(split) == "test").astype(int) for side in ("word", "other")))


def _half_held_out(pairs: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """At most `limit` pairs, half of them with a held-out word where there are so many."""
    held, others = pairs[pairs["held_out"] > 0], pairs[pairs["held_out"] == 0]
    held = held.sample(min(-(-limit // 2), len(held)), random_state=seed)
    return pd.concat([held, others.sample(min(limit - len(held), len(others)), random_state=seed)])


def _gold(study: Study, words: Lexicon, counts: Counter[str]) -> pd.DataFrame:
    """AntSynNET's pairs, or those of WordNet that are words of the text."""
    gold = load_gold(study.data_dir, sets=[name for name in FILES if name.startswith("antsynnet")]).pairs
    if len(gold):
        return gold
    pairs = stated_pairs(words.relations, "wordnet")
    return pairs[pairs["word"].isin(counts) & pairs["other"].isin(counts)]


def word_counts() -> Counter[str]:
    """Occurrences of normalised words in the larger of the two Wikipedia packages."""
    counts: Counter[str] = Counter()
    for document in wikipedia_leads(fetch("wikipedia-leads")):
        counts.update(re.findall(r"[^\W\d_]+", document.text))
    total: Counter[str] = Counter()
    for word, count in counts.items():
        total[normalise(word)] += count
    return total
