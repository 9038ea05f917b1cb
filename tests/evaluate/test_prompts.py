from dataclasses import replace

import pytest
from tokenizers import Regex, Tokenizer, normalizers, processors
from transformers import PreTrainedTokenizerFast

from dskd_utils.evaluate.prompts import build_prompts, choose_exemplars, requests, sample_questions
from dskd_utils.sources.conversations import label_tokens
from dskd_utils.sources.tasks import Question

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def questions(task="arc_challenge", count=12, split="validation", subjects=(None,)):
    return [
        Question(
            id=f"{split}-{i}",
            task=task,
            split=split,
            question=f"What is {split} {i}?",
            choices=("one", "two words", "three", "four")[: 3 + i % 2],
            answer=i % 3,
            subject=subjects[i % len(subjects)],
        )
        for i in range(count)
    ]


def passages():
    """Two paragraphs, three questions on the first and one on the second."""
    shared = {"task": "squad2", "split": "validation", "title": "T"}
    first = [
        Question(id=f"a{i}", question=f"Who {i}?", context="Ann met Bo.", answers=answers, **shared)
        for i, answers in enumerate([("Ann",), (), ("Bo", "Bo.")])
    ]
    return [*first, Question(id="b0", question="Where?", context="It was in Rome.", answers=("Rome",), **shared)]


def read(tokenizer, ids):
    return tokenizer.decode(ids)


def test_exemplars_are_one_seeded_draw_for_all_questions():
    asked, pool = questions(), questions(split="train", count=30)
    drawn = choose_exemplars("arc_challenge", asked, pool, 5, seed=1)
    assert all(group == drawn[0] and len(group) == 5 for group in drawn)
    assert drawn == choose_exemplars("arc_challenge", asked, pool, 5, seed=1)
    assert drawn != choose_exemplars("arc_challenge", asked, pool, 5, seed=2)


def test_no_question_is_its_own_exemplar():
    asked = questions(count=7)
    for question, group in zip(asked, choose_exemplars("arc_challenge", asked, asked, 5), strict=True):
        assert len(group) == 5
        assert question not in group
    asked = passages()
    for question, group in zip(asked, choose_exemplars("squad2", asked, asked, 5), strict=True):
        assert question not in group
        assert all(exemplar.context == question.context for exemplar in group)
        assert len(group) == (0 if question.id == "b0" else 1)


def test_mmlu_takes_the_first_dev_rows_of_the_subject():
    asked = questions("mmlu", 6, "test", subjects=("law", "art"))
    pool = questions("mmlu", 12, "dev", subjects=("art", "law"))
    for question, group in zip(asked, choose_exemplars("mmlu", asked, pool, 5), strict=True):
        assert group == [q for q in pool if q.subject == question.subject][:5]
    with pytest.raises(ValueError, match="'law'"):
        choose_exemplars("mmlu", asked, [q for q in pool if q.subject == "art"], 5)


def test_too_many_or_negative_shots_are_refused():
    with pytest.raises(ValueError, match="fewer shots"):
        choose_exemplars("piqa", questions("piqa"), questions("piqa", 5), 5)
    with pytest.raises(ValueError, match="0 or more"):
        choose_exemplars("piqa", questions("piqa"), questions("piqa", 5), -1)


def test_likelihood_prompts_are_the_harness_template_token_for_token(tokenizer):
    first, second = questions(count=2)
    (prompt,) = build_prompts(tokenizer, [second], [[first]], "likelihood", 2048)
    texts = {read(tokenizer, context) for context, _ in prompt.pairs}
    assert texts == {"Question: What is validation 0?\nAnswer: one\n\nQuestion: What is validation 1?\nAnswer:"}
    assert [read(tokenizer, ids) for _, ids in prompt.pairs] == [" one", " two words", " three", " four"]
    for (context, continuation), choice in zip(prompt.pairs, second.choices, strict=True):
        assert context + continuation == tokenizer(f"{texts.copy().pop()} {choice}")["input_ids"]


def test_paper_prompts_are_turns_of_the_chat_template(tokenizer):
    tokenizer.chat_template = TEMPLATE
    first, second = questions(count=2)
    (prompt,) = build_prompts(tokenizer, [second], [[first]], "paper", 2048)
    assert read(tokenizer, prompt.pairs[0][0]) == (
        "[user]Answer each question with the letter of the right choice.\n\n"
        "Question: What is validation 0?\nA. one\nB. two words\nC. three\nAnswer:</s>[assistant]A</s>"
        "[user]Question: What is validation 1?\nA. one\nB. two words\nC. three\nD. four\nAnswer:</s>[assistant]"
    )


def test_a_tokenizer_without_a_template_gets_plain_text(tokenizer):
    first, second = questions(count=2)
    (prompt,) = build_prompts(tokenizer, [second], [[first]], "paper", 2048)
    text = read(tokenizer, prompt.pairs[0][0])
    assert "Answer: A\n\nQuestion: What is validation 1?" in text
    assert text.endswith("D. four\nAnswer:")


def test_squad_shows_the_paragraph_once_with_a_question_of_its_own(tokenizer):
    tokenizer.chat_template = TEMPLATE
    a0, a1, a2, _ = passages()
    prompts = build_prompts(tokenizer, [a0, a2], [[a1], [a0]], "paper", 2048)
    texts = [read(tokenizer, prompt.pairs[0][0]) for prompt in prompts]
    assert all(text.count("Ann met Bo.") == 1 for text in texts)
    assert texts[0].endswith("Question: Who 1?\nAnswer:</s>[assistant]No answer</s>[user]Question: Who 0?\nAnswer:"
                             "</s>[assistant]")  # fmt: skip
    assert "[assistant]Ann</s>[user]Question: Who 2?" in texts[1]


def test_a_long_prompt_loses_its_oldest_exemplars_first(tokenizer):
    asked = questions(count=1)
    shown = questions(split="train", count=3)
    whole = build_prompts(tokenizer, asked, [shown], "likelihood", 2048)[0]
    assert not whole.truncated
    longest = max(len(context) + len(continuation) for context, continuation in whole.pairs)
    cut = build_prompts(tokenizer, asked, [shown], "likelihood", longest - 1)[0]
    assert cut.truncated
    assert cut.exemplars == ("train-1", "train-2")
    assert cut.pairs == build_prompts(tokenizer, asked, [shown[1:]], "likelihood", 2048)[0].pairs


def test_a_question_longer_than_the_context_loses_its_own_start(tokenizer):
    asked = questions(count=2)
    alone = build_prompts(tokenizer, asked, [[], []], "likelihood", 2048)
    cut = build_prompts(tokenizer, asked, [[], []], "likelihood", 25)
    for before, after in zip(alone, cut, strict=True):
        assert after.truncated
        assert max(len(context) + len(continuation) for context, continuation in after.pairs) == 25
        for (context, continuation), (less, same) in zip(before.pairs, after.pairs, strict=True):
            assert context[-len(less) :] == less
            assert continuation == same


def test_the_shared_prefix_is_cut_off_without_changing_a_token(tokenizer):
    asked, pool = questions(), questions(split="train", count=30)
    prompts = build_prompts(tokenizer, asked, choose_exemplars("piqa", asked, pool, 5), "likelihood", 2048)
    made, owners = requests(prompts)
    assert len({tuple(prefix) for prefix, _, _ in made}) == 1
    assert read(tokenizer, made[0][0]).endswith("\n\nQuestion: What is validation ")
    whole = [(context, continuation) for prompt in prompts for context, continuation in prompt.pairs]
    assert [(prefix + context, continuation) for prefix, context, continuation in made] == whole
    assert [prompts[owner].question.id for owner in owners[:4]] == ["validation-0"] * 3 + ["validation-1"]


def test_label_tokens_are_the_letters_as_an_answer_begins(tokenizer):
    tokenizer.chat_template = TEMPLATE
    assert read(tokenizer, label_tokens(tokenizer, 5)) == "ABCDE"


def test_letters_that_are_no_tokens_of_their_own_are_refused(tokenizer):
    raw = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    raw.normalizer = normalizers.Replace(Regex("[A-Z]"), "x")
    with pytest.raises(ValueError, match="distinct single tokens"):
        label_tokens(PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>"), 4)


def test_a_sample_is_seeded_in_order_and_in_proportion_to_the_subjects():
    asked = questions("mmlu", 90, "test", subjects=("law", "law", "art"))
    sample = sample_questions(asked, 30, seed=4)
    assert sample == sample_questions(asked, 30, seed=4) != sample_questions(asked, 30, seed=5)
    assert [asked.index(q) for q in sample] == sorted(asked.index(q) for q in sample)
    assert abs(sum(q.subject == "law" for q in sample) - 20) <= 1
    assert sample_questions(asked, 500) == sample_questions(asked, None) == asked


def test_a_tokenizer_that_begins_texts_with_a_token_does_so_here(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    asked = [replace(questions(count=1)[0], choices=("x", "y"))]
    (prompt,) = build_prompts(tokenizer, asked, [[]], "likelihood", 2048)
    assert all(context[0] == 0 and context.count(0) == 1 for context, _ in prompt.pairs)
