"""Training conversations: the benchmarks' own form, every question once, the teacher's answers where asked for."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dskd_utils.evaluate.prompts import build_prompts
from dskd_utils.sources.conversations import (
    answered_by,
    conversations,
    gold_answers,
    label_tokens,
    solved,
    teacher_answers,
)
from dskd_utils.sources.tasks import Question
from dskd_utils.sources.wikipedia import Document

KEEPS = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}</s>{% endfor %}"
KEEPS += "{% if add_generation_prompt %}[assistant]{% endif %}"
# Writes an empty thought before an answer that is to come, and drops it once the turn is past.
THINKS = KEEPS.replace("[assistant]{% endif %}", "[assistant](thought){% endif %}")


def questions(task="piqa", count=5, first=0):
    return [Question(f"{task}-{i}", task, "train", f"What is {i}?", ("one", "two"), i % 2) for i in range(first, count)]


class ByteTeacher:
    """A tiny model of random weights that reads bytes."""

    def __init__(self, template=None):
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        raw = Tokenizer(models.BPE(vocab={"<s>": 0, "</s>": 1} | {c: i for i, c in enumerate(alphabet, 2)}, merges=[]))
        raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
        self.tokenizer.chat_template = template
        torch.manual_seed(9)
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
        self.model = LlamaForCausalLM(LlamaConfig(vocab_size=300, initializer_range=0.3, **sizes)).eval()


@pytest.mark.parametrize("template", [None, KEEPS])
def test_a_conversation_is_the_benchmarks_prompt_with_its_answer(template):
    tokenizer, asked = ByteTeacher(template).tokenizer, questions(count=3)
    (document,) = conversations(tokenizer, asked, shots=2)
    (prompt,) = build_prompts(tokenizer, [asked[2]], [asked[:2]], "paper", 4096)
    start = tokenizer.decode(prompt.pairs[0][0])
    assert document.text.startswith(start)
    assert document.text[len(start) :].strip() == ("A</s>" if template else "A")
    assert (document.source, document.title) == ("piqa", "piqa-0")


def test_every_question_is_in_one_conversation_of_its_own_task():
    asked = [*questions("arc_challenge", 7), *questions("piqa", 4)]
    found = conversations(ByteTeacher().tokenizer, asked, shots=2)
    assert [len(group) for group in found.values()] == [3, 3, 1, 3, 1]
    assert [question for group in found.values() for question in group] == asked
    assert all(document.source == question.task for document, group in found.items() for question in group)
    assert [len(group) for group in conversations(ByteTeacher().tokenizer, asked, shots=0).values()] == [1] * 11
    with pytest.raises(ValueError, match="shots is -1"):
        conversations(ByteTeacher().tokenizer, asked, shots=-1)
    with pytest.raises(ValueError, match="piqa x has no gold choice"):
        gold_answers([[Question("x", "piqa", "test", "?", ("a", "b"))]])


@pytest.mark.parametrize("template", [None, KEEPS, THINKS])
def test_the_teachers_answers_are_its_best_letters_behind_the_right_ones(template):
    teacher, groups = ByteTeacher(template), [questions(count=4), questions(count=9, first=6)]
    found = teacher_answers(teacher, groups)
    labels = label_tokens(teacher.tokenizer, 2)
    expected = []
    for group in groups:
        prompts = build_prompts(teacher.tokenizer, group, [group[:i] for i in range(len(group))], "paper", 4096)
        logits = [teacher.model(torch.tensor([prompt.pairs[0][0]])).logits[0, -1, labels] for prompt in prompts]
        expected.append(["AB"[int(one.argmax())] for one in logits])
    assert found == expected and len({letter for letters in found for letter in letters}) == 2


def test_other_answers_change_only_the_conversations():
    tokenizer, asked = ByteTeacher().tokenizer, questions(count=4)
    made = conversations(tokenizer, asked, shots=1)
    article = Document("wikipedia-leads", "A", "Text.")
    changed, facts = answered_by(tokenizer, [article, *made], made, lambda groups: [["B", "B"] for _ in groups])
    assert changed[0] is article and facts == {"questions": 4, "right": 2}
    assert [one.text for one in changed[1:]] == [solved(tokenizer, group, ["B", "B"]) for group in made.values()]
    assert changed[1].text != next(iter(made)).text


def squad(count=5):
    shared = {"task": "squad2", "split": "train", "title": "T"}
    first = [Question(f"a{i}", question=f"Who {i}?", context="Ann met Bo.", answers=("Ann",)[: i % 2], **shared)
             for i in range(count)]  # fmt: skip
    return [*first, Question("b0", question="Where?", context="It was in Rome.", answers=("Rome",), **shared)]


def test_a_conversation_about_a_paragraph_has_two_of_its_questions_and_keeps_its_answers():
    tokenizer, asked = ByteTeacher().tokenizer, squad()
    found = conversations(tokenizer, asked, shots=5)
    assert [[q.id for q in group] for group in found.values()] == [["a0", "a1"], ["b0"]]
    document = next(iter(found))
    (prompt,) = build_prompts(tokenizer, [asked[1]], [[asked[0]]], "paper", 4096)
    assert document.text == tokenizer.decode(prompt.pairs[0][0]) + " Ann"
    assert "Passage: Ann met Bo." in document.text and "Answer: No answer" in document.text
    both = conversations(tokenizer, [*questions(count=2), *asked], shots=1)
    changed, facts = answered_by(tokenizer, list(both), both, lambda groups: [["B"] * len(group) for group in groups])
    assert facts["questions"] == 2 and [a == b for a, b in zip(changed, both, strict=True)] == [False, True, True]
