"""Tests of the kinds of tokens that held-out text is measured by."""

import torch

from dskd_utils.evaluate.token_classes import SENSE_CLASSES, WORD_CLASSES, token_classes
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.dictionary import build_dictionary


def test_kinds_share_out_the_vocabulary_and_follow_dictionary_and_stop_words(tiny_tokenizer):
    size = len(tiny_tokenizer) + 3  # as where a head is padded
    number = {word: tiny_tokenizer.convert_tokens_to_ids("Ġ" + word) for word in ("happy", "sad", "the", "river")}
    counts = torch.zeros(size, dtype=torch.int64)
    counts[list(number.values())] = 2
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    relations = Relations.from_pairs([], [("happy", "sad")])
    dictionary = build_dictionary(torch.randn(int(offsets[-1]), 4), offsets, relations, tiny_tokenizer)
    classes = token_classes(dictionary, tiny_tokenizer)
    for names in (SENSE_CLASSES, WORD_CLASSES):
        assert torch.equal(sum(classes[name].int() for name in names), torch.ones(size, dtype=torch.int32))
    assert classes["with relations"].nonzero().flatten().tolist() == sorted([number["happy"], number["sad"]])
    assert classes["own senses only"].nonzero().flatten().tolist() == sorted([number["the"], number["river"]])
    assert classes["function words"][number["the"]] and classes["content words"][number["river"]]
    letter = tiny_tokenizer.convert_tokens_to_ids("x")
    assert classes["parts, digits, marks"][letter] and classes["parts, digits, marks"][size - 1]
