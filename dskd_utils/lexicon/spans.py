"""How long words are in tokens, and what that leaves of the relations (paper, section 3.3, Tables 2 and 8).

Every function takes a tokenizer as an object or by a name that `sources.tokenizers.load_tokenizer` knows, so the
counts can be had for the paper's own teachers without their weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from dskd_utils.lexicon.relations import Relations
from dskd_utils.sources.tokenizers import load_tokenizer

MIN_HEAD_LENGTH = 3  # the released code drops heads of one or two letters (NOTES 7)
KINDS = ("synonym", "antonym")
READINGS = ("heads", "neighbours", "all")


def word_spans(words: Iterable[str], tokenizer: Any) -> dict[str, tuple[int, ...]]:
    """Token ids of each word with a leading space, as it stands inside a sentence (section 3.3; NOTES 7)."""
    words, tokenizer = list(words), _opened(tokenizer)
    if not words:
        return {}
    # A sentencepiece tokenizer may put a space of its own before a text; a second one would be a token by itself.
    has_space = "".join(tokenizer.tokenize("a", add_special_tokens=False)[:1]).startswith("▁")
    texts = words if has_space else [" " + word for word in words]
    return dict(zip(words, map(tuple, tokenizer(texts, add_special_tokens=False)["input_ids"]), strict=True))


def keep_rates(
    relations: Relations,
    tokenizer: Any,
    longest: int = 5,
    *,
    of: Literal["heads", "neighbours", "all"] = "heads",
) -> pd.DataFrame:
    """Table 2: percentage of relations that a limit of m tokens a word keeps.

    Args:
        relations: synonyms and antonyms.
        tokenizer: of any model, or its name.
        longest: the largest m.
        of: which relations are counted, as the paper does not say. `"heads"`: those from a word of one token to
            its neighbour, by the neighbour's length, as the released code keeps them; `"neighbours"`: all in both
            directions, by the neighbour's length; `"all"`: each pair once, by the longer of its two words.

    Returns:
        a row an m, columns `m`, `synonym`, `antonym`, and the numbers of relations behind them.

    Raises:
        ValueError: `of` is none of these, or `longest` is below 1.
    """
    if of not in READINGS:
        raise ValueError(f"of is {of!r}, expected one of {', '.join(READINGS)}")
    if longest < 1:
        raise ValueError(f"longest must be at least 1 token: got {longest}")
    pairs = _pairs(relations, word_spans(relations.words, tokenizer))
    if of == "all":
        counted = pairs.assign(length=pairs[["word_length", "other_length"]].max(axis=1))
    else:
        counted = _directed(pairs).rename(columns={"other_length": "length"})
        counted = counted[counted["is_head"]] if of == "heads" else counted
    lengths = {kind: counted["length"][counted["relation"] == kind] for kind in KINDS}
    return pd.DataFrame(
        {"m": m}
        | {kind: 100 * float((found <= m).mean()) if len(found) else np.nan for kind, found in lengths.items()}
        | {f"{kind} relations": len(found) for kind, found in lengths.items()}
        for m in range(1, longest + 1)
    )


def table_8(
    relations: Relations,
    tokenizers: Mapping[str, Any] | Iterable[str],
    *,
    k: int | Sequence[int],
    hidden_size: int | Sequence[int],
    max_span: int = 3,
) -> pd.DataFrame:
    """Table 8: what a sense dictionary of these relations can hold for several tokenizers, before any text is read.

    Args:
        relations: synonyms and antonyms.
        tokenizers: names, or name -> tokenizer.
        k: senses a token, of each teacher or one for all.
        hidden_size: d, of each teacher or one for all.
        max_span: most tokens a word may have, the paper's m.

    Returns:
        a row a tokenizer: `vocabulary` (an upper bound of the token keys: a corpus need not hold every token),
        `words`, `synonym pairs`, `antonym pairs`, `one-token heads`, `word keys` (words of at most m tokens),
        `word keys of several tokens` (the others have the senses of their token), of these the `neighbours of heads`
        (all that training reads), and `bytes at most`: (vocabulary + word keys of several tokens) * k * d * 2.

    Raises:
        ValueError: `k` or `hidden_size` is a list of another length than `tokenizers`.
    """
    named = tokenizers if isinstance(tokenizers, Mapping) else {name: name for name in tokenizers}
    rows = []
    for (name, tokenizer), senses, width in zip(
        named.items(), _each(k, len(named), "k"), _each(hidden_size, len(named), "hidden_size"), strict=True
    ):
        opened = _opened(tokenizer)
        spans = word_spans(relations.words, opened)
        pairs = _pairs(relations, spans)
        directed = _directed(pairs)
        several = {word for word, span in spans.items() if 1 < len(span) <= max_span}
        row = {"tokenizer": name, "vocabulary": len(opened), "words": len(spans)}
        row |= {f"{kind} pairs": int((pairs["relation"] == kind).sum()) for kind in KINDS}
        row["one-token heads"] = sum(_is_head(word, span) for word, span in spans.items())
        row["word keys"] = sum(1 <= len(span) <= max_span for span in spans.values())
        row["word keys of several tokens"] = len(several)
        row["neighbours of heads"] = len(several.intersection(directed["other"][directed["is_head"]]))
        row["bytes at most"] = (len(opened) + len(several)) * senses * width * 2
        rows.append(row)
    return pd.DataFrame(rows)


def corpus_share(ids: Any, relations: Relations, tokenizer: Any) -> dict[str, float]:
    """Percentage of a corpus's tokens that are words with relations.

    Section 4.2 says that about 14% "have associated synonyms and antonyms": `both`, if the "and" is meant.

    Args:
        ids: token ids of any shape, as a tensor on the CPU or an array; negative ones (no target) are left out.
        relations: synonyms and antonyms.
        tokenizer: the one that made the ids, or its name.

    Returns:
        `tokens` counted; of these, in percent, `related`, and its three parts `synonyms only`, `antonyms only`, `both`.

    Raises:
        ValueError: an id that the tokenizer does not have, or no id at all.
    """
    opened = _opened(tokenizer)
    flat = np.asarray(ids).reshape(-1)
    flat = flat[flat >= 0]
    if not flat.size:
        raise ValueError("there are no token ids to count: give those of a corpus")
    if flat.max() >= len(opened):
        raise ValueError(
            f"token id {flat.max()} is beyond the tokenizer's {len(opened)} tokens: "
            "give the tokenizer that made the ids"
        )
    counts = np.bincount(flat, minlength=len(opened))
    spans = word_spans(relations.words, opened)
    directed = _directed(_pairs(relations, spans))
    heads = directed[directed["is_head"]]
    related = {kind: np.zeros(len(opened), dtype=bool) for kind in KINDS}
    for kind, flags in related.items():
        flags[[spans[word][0] for word in heads["word"][heads["relation"] == kind].unique()]] = True
    synonym, antonym = related["synonym"], related["antonym"]
    parts = {
        "related": synonym | antonym,
        "synonyms only": synonym & ~antonym,
        "antonyms only": antonym & ~synonym,
        "both": synonym & antonym,
    }
    return {"tokens": int(counts.sum())} | {
        name: 100 * float(counts[flags].sum() / counts.sum()) for name, flags in parts.items()
    }


def _opened(tokenizer: Any) -> Any:
    return load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer


def _is_head(word: str, span: tuple[int, ...]) -> bool:
    return len(span) == 1 and len(word) >= MIN_HEAD_LENGTH


def _pairs(relations: Relations, spans: Mapping[str, tuple[int, ...]]) -> pd.DataFrame:
    """Each pair once: word, other, relation, and for both words the length in tokens and whether it is a head."""
    frame = relations.frame
    pairs = frame.loc[frame["relation"].isin(KINDS), ["word", "other", "relation"]].copy()
    lengths = {word: len(span) for word, span in spans.items()}
    heads = {word: _is_head(word, span) for word, span in spans.items()}
    for side in ("word", "other"):
        pairs[f"{side}_length"] = pairs[side].map(lengths)
        pairs[f"{side}_is_head"] = pairs[side].map(heads).astype(bool)
    return pairs


def _directed(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each pair from both of its ends: word, other, relation, is_head (of word) and other_length."""
    forth = pairs.rename(columns={"word_is_head": "is_head"})
    back = pairs.rename(
        columns={"word": "other", "other": "word", "other_is_head": "is_head", "word_length": "other_length"}
        | {"other_length": "word_length"}
    )
    columns = ["word", "other", "relation", "is_head", "other_length"]
    return pd.concat([forth[columns], back[columns]], ignore_index=True)


def _each(value: int | Sequence[int], count: int, name: str) -> list[int]:
    """The value of each of `count` tokenizers."""
    values = [value] * count if isinstance(value, int) else list(value)
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} values for {count} tokenizers: give one for each, or one for all")
    return values
