"""Where the pairs of a lexicon went, step by step from the sources to the dictionary (paper, section 3.2, Table 8)."""

from collections.abc import Mapping

import pandas as pd

from dskd_utils.lexicon.relations import Relations

KINDS = ("synonym", "antonym")


def waterfall(
    relations: Relations, training: Relations, held_out: set[str], spans: Mapping[str, tuple[int, ...]], max_span: int
) -> pd.DataFrame:
    """Pairs gained and lost at each step between the files and what a tokenizer can use (Table 8).

    Args:
        relations: merged from the sources, before any flip.
        training: with flips, held-out words removed.
        held_out: words that no training relation may touch.
        spans: tokens of every word of `training`, with a leading space.
        max_span: most tokens of a word, the paper's m.

    Returns:
        a row a step, columns `step`, `change` ("gain", "loss" or "total"), `synonym` and `antonym` (numbers of
        pairs, negative for a loss). The gains and losses above a total add up to it.

    Raises:
        KeyError: a word of `training` has no span.
    """
    facts, counts = relations.steps, relations.counts()
    rows = [(f"read: {source}", "gain", *_both(facts, "read", source)) for source in facts["synonym"]["read"]]
    several, selves = _both(facts, "multiword"), _both(facts, "self")
    rows.append(("entries of several words, and empty ones", "loss", *(-n for n in several)))
    rows.append(("a word with itself", "loss", *(-n for n in selves)))
    stated = relations.stated()
    said = [sum(facts[kind]["read"].values()) for kind in KINDS]
    repeats = [n - a - b - stated[kind] for n, a, b, kind in zip(said, several, selves, KINDS, strict=True)]
    rows.append(("the same pair again, in one source or in another", "loss", *(-n for n in repeats)))
    kept = [counts[f"{kind}_pairs"] for kind in KINDS]
    lost = [n - stated[kind] for n, kind in zip(kept, KINDS, strict=True)]
    rows.append(("said to be both, one side kept", "loss", *lost))
    rows.append(("merged", "total", *kept))

    plain = relations.without(held_out).counts()
    rows.append(
        ("words held out for tests", "loss", *(plain[f"{k}_pairs"] - n for k, n in zip(KINDS, kept, strict=True)))
    )
    final = training.counts()
    rows.append(("negation flips", "gain", *(final[f"{kind}_pairs"] - plain[f"{kind}_pairs"] for kind in KINDS)))
    rows.append(("for training", "total", *(final[f"{kind}_pairs"] for kind in KINDS)))

    frame = training.frame
    lengths = pd.DataFrame({side: frame[side].map(lambda word: len(spans[word])) for side in ("word", "other")})
    short = (lengths <= max_span).all(axis=1)
    usable = short & (lengths == 1).any(axis=1)
    rows.append((f"a word of more than {max_span} tokens", "loss", *_lost(frame[~short])))
    rows.append(("neither word is one token", "loss", *_lost(frame[short & ~usable])))
    rows.append(("a head and its neighbour", "total", *(-n for n in _lost(frame[usable]))))
    return pd.DataFrame(rows, columns=["step", "change", *KINDS])


def _both(facts: Mapping, *path: str) -> list[int]:
    """One number for synonyms and one for antonyms."""
    found = []
    for kind in KINDS:
        value = facts[kind]
        for name in path:
            value = value[name]
        found.append(value)
    return found


def _lost(frame: pd.DataFrame) -> list[int]:
    return [-int((frame["relation"] == kind).sum()) for kind in KINDS]
