"""Leaks: shared runs of words, titles and short questions are found in training text and taken out."""

import json
import subprocess
import sys

from dskd_utils.sources.leaks import leak_report, ngram_hashes, remove_leaks
from dskd_utils.sources.wikipedia import Document


def test_ngram_hashes_count_every_run_of_words_once(texts):
    (text,) = texts([40])
    assert len(ngram_hashes(text, 3)) == len({tuple(text.split()[i : i + 3]) for i in range(38)})
    assert ngram_hashes("one two three") == set()
    assert ngram_hashes("The CAT, sat!", 3) == ngram_hashes("the cat-sat", 3) != ngram_hashes("cat the sat", 3)


def test_ngram_hashes_are_the_same_in_another_process():
    code = "from dskd_utils.sources.leaks import ngram_hashes; print(sorted(ngram_hashes('a b c d', 2)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == sorted(ngram_hashes("a b c d", 2))


def test_a_shared_run_of_13_words_is_a_leak_and_12_are_not(texts):
    words = texts([60])[0].split()
    evaluation = ["x1 " + " ".join(words[:20]) + " x2"]
    thirteen = Document("t", "a", "y1 " + " ".join(words[4:17]) + " y2")
    twelve = Document("t", "b", "y1 " + " ".join(words[4:16]) + " y2")
    assert remove_leaks([thirteen, twelve], evaluation) == ([twelve], [thirteen])
    assert leak_report([thirteen, twelve], evaluation) == {"titles": 0, "ngrams": 1}


def test_a_run_over_the_border_of_two_documents_is_no_leak(texts):
    words = texts([26])[0].split()
    halves = [Document("t", str(i), " ".join(words[8 * i : 8 * i + 8])) for i in range(2)]
    assert remove_leaks(halves, [" ".join(words)]) == (halves, [])


def test_a_shared_title_is_a_leak_however_it_is_written():
    training = [Document("wiki", "Steam_engine", "one text"), Document("wiki", "Steam", "one text")]
    evaluation = [Document("squad2", "steam  Engine", "another text")]
    kept, removed = remove_leaks(training, evaluation)
    assert (kept, removed) == (training[1:], training[:1])
    assert leak_report(training, evaluation)["titles"] == 1
    assert leak_report(kept, evaluation) == {"titles": 0, "ngrams": 0}


def test_a_short_question_that_is_asked_again_is_a_leak():
    training = [
        Document("arc", "1", "Question: Where do bees like to live?\nAnswer: in a hive"),
        Document("arc", "2", "Question: Where do bees live?\nAnswer: in a hive"),
    ]
    kept, removed = remove_leaks(training, ["where do bees like to live\nin a tree", "Where do bees live?"])
    assert (kept, removed) == (training[1:], training[:1])  # four words say too little to call it the same question
