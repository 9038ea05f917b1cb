"""What senses look like in text: the contexts nearest to each, and how evenly a word uses them (paper, section 3.1)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.lexicon.spans import word_spans
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.hidden_states import TeacherStates


def nearest_contexts(
    states: TeacherStates, dictionary: SenseDictionary, tokenizer, word: str, *, per_sense: int = 2, window: int = 10
) -> pd.DataFrame:
    """The contexts of the training text nearest to each sense of a one-token word.

    Args:
        states: the store that the dictionary was built from.
        dictionary: the senses; a word's states are those that have read it where its key is `input`, and those that
            expect it otherwise.
        tokenizer: the teacher's.
        word: a word that is one token behind a space.
        per_sense: contexts a sense, no two with the same words.
        window: tokens shown before the word.

    Returns:
        a row a context: sense, share of the word's occurrences, and the text with the word in brackets; the most
        used sense first, within a sense the nearest context first.

    Raises:
        ValueError: the word has several tokens or no senses.
    """
    (span,) = word_spans([word], tokenizer).values()
    senses = len(dictionary.token_senses(span[0]))
    if len(span) != 1 or not senses:
        raise ValueError(f"{word!r} has {len(span)} tokens and {senses} senses: choose a frequent one-token word")
    ((_, places, distance),) = _distances(states, dictionary, [span[0]])
    labels = distance.argmin(1)
    rows = []
    for sense in labels.bincount(minlength=senses).argsort(descending=True, stable=True).tolist():
        members = (labels == sense).nonzero().flatten()
        nearest = places[members[distance[members, sense].argsort(stable=True)]]
        for text in _distinct(_texts(states, tokenizer, nearest, window, _reads_word(dictionary)), per_sense):
            share = len(members) / len(places)
            rows.append({"sense": sense + 1, "share": share, "context": f"… {text} [{word}]"})
    return pd.DataFrame(rows, columns=["sense", "share", "context"])


def explore_words(
    states: TeacherStates,
    dictionary: SenseDictionary,
    tokenizer,
    words: Sequence[str],
    *,
    per_sense: int = 5,
    window: int = 12,
) -> list[dict[str, Any]]:
    """Each sense of some one-token words with its share and its nearest contexts, ready to be written as JSON.

    Args:
        states, dictionary, tokenizer, per_sense, window: as for `nearest_contexts`.
        words: what to look up; a word of several tokens or without senses is left out.

    Returns:
        a record a word: `word`, `occurrences` in the text, `effective_senses` (of `sense_use`), and `senses`, each
        with `sense`, `share` and `contexts`; a sense that is nearest to no occurrence is left out.
    """
    spans = word_spans(words, tokenizer)
    known = {w: s[0] for w, s in spans.items() if len(s) == 1 and len(dictionary.token_senses(s[0]))}
    use = sense_use(states, dictionary, list(known.values())).set_index("token")
    records = []
    for word, token in tqdm(known.items(), desc="contexts of words", unit="word", disable=len(known) < 10):
        if token not in use.index:
            continue
        found = nearest_contexts(states, dictionary, tokenizer, word, per_sense=per_sense, window=window)
        senses = [
            {"sense": int(sense), "share": float(share), "contexts": here.context.tolist()}
            for (sense, share), here in found.groupby(["sense", "share"], sort=False)
        ]
        row = use.loc[token]
        records.append(
            {
                "word": word,
                "occurrences": int(row.occurrences),
                "effective_senses": float(row.effective_senses),
                "senses": senses,
            }
        )
    return records


def sense_use(states: TeacherStates, dictionary: SenseDictionary, tokens: Sequence[int]) -> pd.DataFrame:
    """How evenly the text uses the senses of some tokens.

    Returns:
        a row a token that occurs: `token`, `occurrences`, and `effective_senses`, the exponential of the entropy of
        the senses' shares: k for k senses used alike, 1 where one sense takes all.
    """
    rows = []
    for token, places, distance in _distances(states, dictionary, tokens):
        share = distance.argmin(1).bincount().double() / len(places)
        share = share[share > 0]
        rows.append((token, len(places), float((-(share * share.log()).sum()).exp())))
    return pd.DataFrame(rows, columns=["token", "occurrences", "effective_senses"])


def words_of_many_senses(
    states: TeacherStates,
    dictionary: SenseDictionary,
    tokenizer,
    *,
    count: int = 50,
    frequent: int = 300,
    always: Iterable[str] = (),
) -> list[str]:
    """Words worth a look, chosen by a rule that draws nothing.

    Of the lower-case words that are one token, have relations in the dictionary and are no function words
    (scikit-learn's English stop words), the `frequent` most frequent in the text are ranked by `effective_senses`
    (ties by the alphabet).

    Args:
        states: the store that the dictionary was built from.
        dictionary: the senses and the relations.
        tokenizer: the teacher's.
        count: words wanted in all.
        frequent: how many of the most frequent words compete.
        always: words that are taken first where the text has them as one token, relations or not.

    Returns:
        at most `count` words: those of `always`, then the best of the ranking.
    """
    heads = set(dictionary.head_ids.tolist())
    content = (word for word in dictionary.words if word not in ENGLISH_STOP_WORDS)
    spans = word_spans([word for word in content if word.isalpha() and word.islower()], tokenizer)
    named = {span[0]: word for word, span in spans.items() if len(span) == 1 and span[0] in heads}
    wanted = {s[0]: w for w, s in word_spans(always, tokenizer).items() if len(s) == 1}
    filed = _filed(states, dictionary)
    counts = filed[filed >= 0].bincount(minlength=len(dictionary.token_offsets) - 1)
    known = (counts > 0) & (dictionary.token_offsets.diff() > 0)
    first = [word for token, word in wanted.items() if known[token]][:count]
    rivals = sorted((t for t in named if known[t]), key=lambda token: (-int(counts[token]), named[token]))[:frequent]
    use = sense_use(states, dictionary, rivals)
    ranked = use.assign(word=use.token.map(named)).sort_values(["effective_senses", "word"], ascending=[False, True])
    return [*first, *(word for word in ranked.word if word not in first)][:count]


def _distances(
    states: TeacherStates, dictionary: SenseDictionary, tokens: Sequence[int]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Of each token that occurs: its places `(n,)` in the flattened text and their distances `(n, k)` to its senses."""
    filed = _filed(states, dictionary)
    # The text is searched once for all tokens.
    places = torch.isin(filed, torch.tensor(list(tokens), dtype=filed.dtype)).nonzero().flatten()
    order = filed[places].argsort(stable=True)
    found, counts = filed[places][order].unique_consecutive(return_counts=True)
    groups = dict(zip(found.tolist(), places[order].split(counts.tolist()), strict=True))
    for token in tokens:
        if token in groups:
            senses = dictionary.token_senses(token).float()
            yield token, groups[token], torch.cdist(states.rows(groups[token]).float(), senses)


def _reads_word(dictionary: SenseDictionary) -> bool:
    """Whether a state is filed under the token that it has read, not under the next one (NOTES 1)."""
    return dictionary.header.get("key") == "input"


def _filed(states: TeacherStates, dictionary: SenseDictionary) -> Tensor:
    """The token that each state is filed under, `(B * T,)`; -100 where there is none."""
    return (states.ids if _reads_word(dictionary) else states.targets).flatten()


def _texts(states: TeacherStates, tokenizer, places: Tensor, window: int, reads_word: bool) -> Iterator[str]:
    """What stands before the word of each state, within its document, on one line."""
    length = states.ids.shape[1]
    for place in places.tolist():
        block, offset = divmod(place, length)
        stop = offset if reads_word else offset + 1
        first = offset - int(states.positions[block, offset])
        start = max(0, first, stop - window)
        yield " ".join(tokenizer.decode(states.ids[block, start:stop]).split())


def _distinct(texts: Iterator[str], count: int) -> list[str]:
    """The first `count` different texts."""
    found: dict[str, None] = {}
    for text in texts:
        if len(found) == count:
            break
        found[text] = None
    return list(found)
