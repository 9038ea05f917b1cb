import numpy as np
import pytest
from scipy.special import logsumexp

from dskd_utils.evaluate.answering import ANSWER_TOKENS, answer_passages, choose
from dskd_utils.evaluate.prompts import build_prompts
from dskd_utils.evaluate.scoring import continuation_logprobs, label_logprobs
from dskd_utils.sources.conversations import label_tokens
from dskd_utils.sources.tasks import Question

ASKED = [
    Question(id=str(i), task="piqa", split="validation", question=f"Try {i}", choices=choices, answer=i % 2)
    for i, choices in enumerate([("go", "wait a long while"), ("a rather long way", "up"), ("x", "y")])
]


@pytest.fixture
def model(llamas):
    return llamas["teacher"]


def test_likelihood_takes_the_most_probable_text_raw_and_a_character(model, tokenizer):
    prompts = build_prompts(tokenizer, ASKED, [[]] * 3, "likelihood", 2048)
    for prompt, record in zip(prompts, choose([model], tokenizer, prompts, "likelihood")[0], strict=True):
        question = prompt.question
        (sums,), _ = continuation_logprobs([model], [([], *pair) for pair in prompt.pairs], plain=True)
        np.testing.assert_allclose(record["scores"], sums, atol=1e-4)
        assert record["acc"] == float(sums.argmax() == question.answer) == float(record["correct"])
        by_character = [total / len(choice) for total, choice in zip(sums, question.choices, strict=True)]
        assert record["acc_norm"] == float(np.argmax(by_character) == question.answer)
        assert record["gold_logprob"] == pytest.approx(sums[question.answer] - logsumexp(sums), abs=1e-4)
        assert record["gold_nats"] == pytest.approx(sums[question.answer], abs=1e-4)
        assert record["gold"] == "AB"[question.answer]


def test_paper_takes_the_most_probable_letter_and_the_stricter_measure_any_token(model, tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}|{% endfor %}"
    prompts = build_prompts(tokenizer, ASKED, [[]] * 3, "paper", 2048)
    labels = label_tokens(tokenizer, 2)
    (scores,), (best,) = label_logprobs([model], [([], prompt.pairs[0][0]) for prompt in prompts], labels, plain=True)
    for i, record in enumerate(choose([model], tokenizer, prompts, "paper")[0]):
        assert record["prediction"] == "AB"[scores[i].argmax()]
        assert record["exact_first"] == float(best[i] == labels[ASKED[i].answer])
        assert record["exact_first"] <= record["acc"]
        assert record["gold_logprob"] == pytest.approx(scores[i, ASKED[i].answer] - logsumexp(scores[i]), abs=1e-4)


def test_a_question_with_fewer_choices_cannot_choose_a_letter_it_lacks(model, tokenizer):
    more = Question(id="5", task="piqa", split="validation", question="?", choices=tuple("pqrst"), answer=0)
    prompts = build_prompts(tokenizer, [*ASKED, more], [[]] * 4, "paper", 2048)
    (records,) = choose([model], tokenizer, prompts, "paper")
    assert [len(record["scores"]) for record in records] == [2, 2, 2, 5]
    assert all(record["prediction"] in "AB" for record in records[:3])


def test_passages_are_answered_with_one_line_and_scored_by_kind(model, tokenizer):
    shared = {"task": "squad2", "split": "validation", "context": "Ann met Bo."}
    asked = [Question(id=str(i), question=f"Who {i}?", answers=("Ann",) * (i % 2), **shared) for i in range(6)]
    prompts = build_prompts(tokenizer, asked, [[]] * 6, "paper", 2048)
    (fast,) = answer_passages([model], tokenizer, prompts)
    for record, question in zip(fast, asked, strict=True):
        assert (
            len(tokenizer(record["prediction"])["input_ids"]) <= ANSWER_TOKENS * 3
        )  # bytes that are no text decode to 3
        assert "\n" not in record["prediction"]
        kind, other = ("HasAns", "NoAns") if question.answers else ("NoAns", "HasAns")
        assert record[f"{kind}_f1"] == record["f1"]
        assert np.isnan(record[f"{other}_f1"])
    (slow,) = answer_passages([model], tokenizer, prompts, plain=True)
    assert [record["prediction"] for record in fast] == [record["prediction"] for record in slow]
