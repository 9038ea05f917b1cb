"""Tests of contexts of senses and of Table 2's keep rates."""

import pytest

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.contexts import keep_rates, nearest_contexts
from dskd_utils.senses.dictionary import build_dictionary, word_spans
from dskd_utils.senses.hidden_states import collect_states, rows_by_token
from dskd_utils.senses.kmeans import batched_kmeans


def test_keep_rates_count_the_neighbours_of_one_token_heads(tiny_tokenizer):
    relations = Relations.from_pairs(
        [("happy", "glad"), ("happy", "hotcold"), ("happy", "zzzzzzzzz")], [("happy", "sad")]
    )
    spans = {word: len(span) for word, span in word_spans(relations.words, tiny_tokenizer).items()}
    assert (spans["glad"], spans["hotcold"], spans["zzzzzzzzz"]) == (1, 3, 10)
    rates = keep_rates(relations, tiny_tokenizer).set_index("m")
    # Directed relations of one-token heads: happy to three words, and glad to happy.
    assert rates.synonym.tolist() == pytest.approx([50, 50, 75, 75, 75])
    assert rates.antonym.tolist() == [100] * 5 and rates["synonym relations"].iloc[0] == 4


def test_contexts_end_before_the_word_and_shares_add_up(llama, tiny_text, tmp_path):
    states = collect_states(llama, tiny_text, tmp_path / "states", split_layers=[2])
    rows, offsets = rows_by_token(states, llama.vocab_size)
    clusters = batched_kmeans(states.final.flatten(0, 1)[rows], offsets, 3)
    dictionary = build_dictionary(
        clusters.centroids, clusters.offsets, Relations.from_pairs([("happy", "glad")], []), llama.tokenizer
    )
    found = nearest_contexts(states, dictionary, llama.tokenizer, "river", per_sense=2)
    assert found.context.str.endswith("[river]").all()
    assert found.drop_duplicates("sense").share.sum() == pytest.approx(1)
    texts = [llama.tokenizer.decode(ids) for ids in states.ids]
    for context in found.context:
        assert any(context.removeprefix("… ").replace(" [river]", " river") in text for text in texts)
    with pytest.raises(ValueError, match="10 tokens"):
        nearest_contexts(states, dictionary, llama.tokenizer, "zzzzzzzzz")
