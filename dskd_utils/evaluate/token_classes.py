"""Kinds of tokens that held-out text is measured by: what the senses and relations of section 3.2 say of each."""

import re

import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor

from dskd_utils.senses.dictionary import SenseDictionary

SENSE_CLASSES = ("with relations", "own senses only", "no senses")
WORD_CLASSES = ("content words", "function words", "parts, digits, marks")
_WORD = re.compile(r" ?[^\W\d_]+(?:['’][^\W\d_]+)?")


def token_classes(dictionary: SenseDictionary, tokenizer) -> dict[str, Tensor]:
    """For each class which tokens are in it, `(v,)` bool; the first three share out the vocabulary, the others too.

    Args:
        dictionary: of the training: a token `with relations` is a head, one with `own senses only` has senses and no
            synonym or antonym.
        tokenizer: the teacher's. `content words` are tokens that begin a word, are letters alone and no stop words,
            `function words` the stop words.
    """
    has, related = dictionary.token_offsets.diff() > 0, dictionary.has_relations()
    size = len(has)
    texts = tokenizer.batch_decode([[token] for token in range(min(size, len(tokenizer)))])
    texts += [""] * (size - len(texts))  # heads are padded beyond the vocabulary
    begins = torch.tensor([text.startswith(" ") and bool(_WORD.fullmatch(text)) for text in texts])
    stops = torch.tensor([text.strip().lower() in ENGLISH_STOP_WORDS for text in texts])
    classes = (related, has & ~related, ~has & ~related, begins & ~stops, begins & stops, ~begins)
    return dict(zip((*SENSE_CLASSES, *WORD_CLASSES), classes, strict=True))
