import pytest

from dskd_utils.evaluate.squad import exact_match, f1_score, normalise, read_answer


def test_case_punctuation_articles_and_spaces_do_not_count():
    assert normalise("  The U.S.  Senate's an\tanswer ") == "us senates answer"
    assert exact_match("the Normans!", ["Normans"]) == 1.0
    assert exact_match("theory", ["ory"]) == 0.0


def test_f1_is_the_overlap_of_the_words_with_the_best_gold_answer():
    assert f1_score("winter of 1973", ["the winter"]) == pytest.approx(2 * (1 / 3) * 1 / (1 / 3 + 1))
    assert f1_score("winter", ["summer", "the winter"]) == 1.0
    assert f1_score("one one two", ["one two two"]) == pytest.approx(2 / 3)  # words count as often as they stand
    assert f1_score("autumn", ["winter"]) == 0.0


def test_an_unanswerable_question_is_won_by_abstaining_and_by_nothing_else():
    assert exact_match("", []) == f1_score("", []) == 1.0
    assert exact_match("Paris", []) == f1_score("Paris", []) == 0.0
    assert exact_match("", ["Paris"]) == f1_score("", ["Paris"]) == 0.0


def test_a_gold_answer_that_normalises_to_nothing_does_not_count():
    assert f1_score("", ["the", "Paris"]) == 0.0
    assert f1_score("", ["the"]) == 1.0


def test_the_answer_is_the_first_line_of_what_was_generated():
    assert read_answer("\n Paris \nQuestion: and") == "Paris"
    assert read_answer("") == read_answer(" \n ") == ""


@pytest.mark.parametrize(
    "text", ["No answer", "no answer.", "Unanswerable", '"Unanswerable"', "No answer is given", "."]
)
def test_abstentions_are_read_as_the_empty_answer(text):
    assert read_answer(text) == ""


@pytest.mark.parametrize("text", ["No answers", "nobody", "an answer", "The No"])
def test_other_answers_are_kept(text):
    assert read_answer(text) == text
