"""What senses look like in text, and how long words are in tokens (paper, section 3.3 and Table 2)."""

import numpy as np
import pandas as pd
import torch

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.dictionary import MIN_HEAD_LENGTH, SenseDictionary, word_spans
from dskd_utils.senses.hidden_states import TeacherStates


def nearest_contexts(
    states: TeacherStates, dictionary: SenseDictionary, tokenizer, word: str, *, per_sense: int = 2, window: int = 10
) -> pd.DataFrame:
    """The contexts of the training text nearest to each sense of a one-token word.

    Args:
        states: the store that the dictionary was built from, with key `next`.
        dictionary: the senses.
        tokenizer: the teacher's.
        word: a word that is one token behind a space.
        per_sense: contexts a sense.
        window: tokens shown before the word.

    Returns:
        a row a context: sense, share of the word's occurrences, and the text with the word in brackets.

    Raises:
        ValueError: the word has several tokens or no senses.
    """
    (span,) = word_spans([word], tokenizer).values()
    senses = dictionary.token_senses(span[0]).float()
    if len(span) != 1 or not len(senses):
        raise ValueError(f"{word!r} has {len(span)} tokens and {len(senses)} senses: choose a frequent one-token word")
    places = (states.targets == span[0]).nonzero()
    distance = torch.cdist(states.final[places[:, 0], places[:, 1]].float(), senses)
    labels = distance.argmin(1)
    rows = []
    for sense in labels.bincount(minlength=len(senses)).argsort(descending=True).tolist():
        members = (labels == sense).nonzero().flatten()
        for place in members[distance[members, sense].argsort()[:per_sense]].tolist():
            block, offset = places[place].tolist()
            start = max(0, offset + 1 - min(window, int(states.positions[block, offset]) + 1))
            before = tokenizer.decode(states.ids[block, start : offset + 1])
            share = len(members) / len(places)
            rows.append({"sense": sense + 1, "share": share, "context": f"… {before.strip()} [{word}]"})
    return pd.DataFrame(rows)


def keep_rates(relations: Relations, tokenizer, longest: int = 5) -> pd.DataFrame:
    """Table 2: percentage of relations of one-token heads whose neighbour has at most m tokens.

    Args:
        relations: synonyms and antonyms.
        tokenizer: of any model.
        longest: the largest m.

    Returns:
        a row an m, columns `m`, `synonym`, `antonym`, and the numbers of relations behind them.
    """
    spans = word_spans(relations.words, tokenizer)
    heads = [word for word, span in spans.items() if len(span) == 1 and len(word) >= MIN_HEAD_LENGTH]
    lengths = {
        "synonym": np.array([len(spans[other]) for word in heads for other in relations.synonyms(word)]),
        "antonym": np.array([len(spans[other]) for word in heads for other in relations.antonyms(word)]),
    }
    return pd.DataFrame(
        {"m": m}
        | {name: 100 * float((found <= m).mean()) if len(found) else np.nan for name, found in lengths.items()}
        | {f"{name} relations": len(found) for name, found in lengths.items()}
        for m in range(1, longest + 1)
    )
