"""The study's text: what it trains on shares nothing with what judges it."""

from collections import Counter

import pytest

from dskd_utils.sources.corpora import HELD_OUT_PIECES, leak_report, remove_leaks, study_text, without_siblings
from dskd_utils.sources.tasks import Question, evaluation_documents, evaluation_questions


@pytest.mark.network
def test_the_study_text_shares_nothing_with_what_judges_it(word_tokenizer):
    text = study_text(word_tokenizer(), budget_wiki=60_000, budget_tasks=20_000, budget_heldout=5_000)
    questions, missing = evaluation_questions()
    evaluation = [*text.documents["validation"], *text.documents["test"], *evaluation_documents(questions)]
    assert leak_report(text.documents["train"], evaluation) == {"titles": 0, "ngrams": 0}
    assert "needs data_dir" in missing["squad2"] and text.facts["not_compared"] == missing
    assert text.facts["removed"]["words"] > 0  # there is something to remove: the check is not empty
    assert text.train.tokens == 80_000 and text.validation.tokens == text.test.tokens == 5_000
    sources = {document.source for document in text.documents["train"]}
    assert sources == {"wikipedia-dump", "wikipedia-leads", "arc_challenge", "commonsense_qa", "piqa"}
    assert text.train.documents == len(text.documents["train"])
    assert max(Counter(text.train.articles.tolist()).values()) > HELD_OUT_PIECES, "long articles are read whole"
    for part in (text.validation, text.test):
        assert max(Counter(part.articles.tolist()).values()) <= HELD_OUT_PIECES


@pytest.mark.network
def test_extra_text_has_its_budget_and_no_document_of_the_training_text(word_tokenizer):
    budgets = {"budget_wiki": 60_000, "budget_tasks": 20_000, "budget_heldout": 5_000}
    plain, more = study_text(word_tokenizer(), **budgets), study_text(word_tokenizer(), **budgets, budget_extra=40_000)
    assert plain.extra is None and more.extra.tokens == 40_000
    assert more.train.digest == plain.train.digest  # a larger dictionary changes nothing else
    titles = {name: {(d.source, d.title) for d in more.documents[name]} for name in more.documents}
    assert not titles["extra"] & (titles["train"] | titles["validation"] | titles["test"])
    questions, _ = evaluation_questions()
    evaluation = [*more.documents["validation"], *more.documents["test"], *evaluation_documents(questions)]
    assert leak_report(more.documents["extra"], evaluation) == {"titles": 0, "ngrams": 0}


@pytest.mark.slow
@pytest.mark.network
def test_tasks_fill_in_where_wikipedia_runs_out(word_tokenizer):
    text = study_text(word_tokenizer(), budget_wiki=5_000, budget_tasks=0, budget_heldout=5_000, budget_extra=3_000_000)
    tokens = {name: part["tokens"] for name, part in text.facts["extra"].items()}
    assert all(tokens.values()) and sum(tokens.values()) == text.extra.tokens


@pytest.mark.network
def test_students_may_train_on_the_tasks_alone_beside_a_dictionary_of_wikipedia(word_tokenizer):
    text = study_text(word_tokenizer(), budget_wiki=0, budget_tasks=5_000, budget_heldout=5_000, budget_extra=20_000)
    assert {name: part["tokens"] for name, part in text.facts["train"].items() if part["tokens"]} == {"tasks": 5_000}
    assert text.train.tokens == 5_000 and text.extra.tokens == 20_000 and text.facts["extra"]["tasks"]["tokens"] == 0


@pytest.mark.slow
@pytest.mark.network
def test_other_answers_change_the_letters_of_the_training_text_and_nothing_else(word_tokenizer):
    budgets = {"budget_wiki": 5_000, "budget_tasks": 20_000, "budget_heldout": 5_000}
    gold = study_text(word_tokenizer(), **budgets)
    always_b = study_text(word_tokenizer(), **budgets, answers=lambda groups: [["B"] * len(group) for group in groups])
    assert always_b.train.tokens == gold.train.tokens and always_b.documents == gold.documents
    assert always_b.validation.digest == gold.validation.digest
    found = always_b.facts["train answers"]
    assert 0.2 < found["right"] / found["questions"] < 0.6, "of two to five choices one is right"
    assert "train answers" not in gold.facts
    plain = study_text(word_tokenizer(), **budgets, task_format="plain")
    texts = {name: next(d.text for d in text.documents["train"] if d.source == "piqa")
             for name, text in {"chat": gold, "plain": plain}.items()}  # fmt: skip
    assert texts["chat"].count("Question:") == 6 and texts["plain"].count("Question:") == 1
    with pytest.raises(ValueError, match="set task_format to 'chat'"):
        study_text(word_tokenizer(), **budgets, task_format="plain", answers=gold)
    with pytest.raises(ValueError, match="must be one of chat, plain: got 'free'"):
        study_text(word_tokenizer(), **budgets, task_format="free")


def test_a_passage_that_leaks_goes_with_all_of_its_questions():
    shared = " ".join(f"word{i}" for i in range(20))
    asked = [Question(f"{c}{i}", "squad2", "train", f"Who {c}{i}?", context=text, title=c)
             for c, text in (("a", shared), ("b", "another passage")) for i in (1, 2)]  # fmt: skip
    asked.append(Question("p", "piqa", "train", "How?", ("x", "y"), 0))
    by_document = dict(zip(evaluation_documents(asked), asked, strict=True))
    found = remove_leaks(list(by_document), [shared])
    assert len(found[0]) == 4, "the passage stands in the document of its first question alone"
    kept, removed = without_siblings(*found, by_document)
    assert [by_document[one].id for one in kept] == ["b1", "b2", "p"]
    assert [by_document[one].id for one in removed] == ["a1", "a2"]
