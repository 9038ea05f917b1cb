"""Text: clean articles, one split by title, no leaks, and packing that a model reads as separate documents."""

import bz2
import json
import subprocess
import sys

import pytest
import tokenizers
import torch
import transformers

from dskd_utils.sources import corpora
from dskd_utils.sources.corpora import (
    Document,
    leak_report,
    ngram_hashes,
    pack,
    remove_leaks,
    split_articles,
    study_text,
    wikipedia_dump,
    wikipedia_leads,
)

WORDS = [f"w{number}" for number in range(90)]


def word_tokenizer(bos: bool = False) -> transformers.PreTrainedTokenizerFast:
    """One token a word; `bos` makes it start every text with `<s>`."""
    vocabulary = {token: number for number, token in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if bos:
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def texts(lengths: list[int]) -> list[str]:
    """Texts of the given numbers of words, each recognisable by its words."""
    generator = torch.Generator().manual_seed(0)
    return [" ".join(WORDS[i] for i in torch.randint(90, (n,), generator=generator).tolist()) for n in lengths]


def page(title: str, text: str, namespace: int = 0) -> str:
    return (
        f"<page><title>{title}</title><ns>{namespace}</ns><id>1</id><revision><id>2</id>"
        f'<text xml:space="preserve">{text}</text></revision></page>'
    )


WIKITEXT = """{{Infobox|name=x}}
[[File:Cat.jpg|thumb|A [[cat]] that sits on the mat and looks at us.]]
The '''cat''' ({{lang-la|felis}}; ) is a [[animal|pet]], ''tame'' , {{convert|4|kg}}.&lt;ref&gt;{{cite}}&lt;/ref&gt;

== Habits ==
{| class="wikitable"
|-
| a cell with quite a few words in it that ends like a sentence.
|}
Cats sleep for most of the day [http://example.org as everyone knows] and hunt in the evening.
The mass is &lt;math&gt;m = 2&lt;/math&gt; where the formula of this sentence is gone.
* Short item

== See also ==
* Dogs are another animal which many people like to keep in the house.
=== More ===
Nothing that stands in this part of the page should come out of it.
== After ==
The text goes on after the list of links with one more sentence."""


def write_dump(path, pages: list[str]):
    xml = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{"".join(pages)}</mediawiki>'
    path.write_bytes(bz2.compress(xml.encode()) if path.suffix == ".bz2" else xml.encode())
    return path


@pytest.mark.parametrize("name", ["dump.xml.bz2", "dump.xml"])
def test_a_dump_gives_the_prose_of_its_articles(tmp_path, name):
    pages = [
        page("Cat", WIKITEXT),
        page("Felis", "#REDIRECT [[Cat]] since nobody looks for cats by their Latin name."),
        page("Talk:Cat", "This page is a place to talk about the article on cats.", namespace=1),
    ]
    (cat,) = wikipedia_dump(write_dump(tmp_path / name, pages))
    assert (cat.source, cat.title) == ("wikipedia-dump", "Cat")
    assert cat.text.split("\n") == [
        "The cat is a pet, tame, 4 kg.",
        "Cats sleep for most of the day as everyone knows and hunt in the evening.",
        "The text goes on after the list of links with one more sentence.",
    ]


def test_a_broken_dump_or_lead_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.bz2"):
        list(wikipedia_dump(tmp_path / "nowhere.bz2"))
    whole = write_dump(tmp_path / "dump.xml.bz2", [page("Cat", WIKITEXT)])
    (tmp_path / "cut.xml.bz2").write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(ValueError, match="cut.xml.bz2 is not a whole MediaWiki XML dump"):
        list(wikipedia_dump(tmp_path / "cut.xml.bz2"))
    (tmp_path / "leads.json").write_text(json.dumps({"Cat": {"title": "Cat"}}))
    with pytest.raises(ValueError, match="leads.json.*extract"):
        list(wikipedia_leads(tmp_path / "leads.json"))


def test_leads_keep_their_order(tmp_path):
    leads = {"B": {"title": "B", "extract": "Bees ()\n fly."}, "A": {"title": "A", "extract": "Ants walk."}}
    (tmp_path / "leads.json").write_text(json.dumps(leads))
    assert [(d.title, d.text) for d in wikipedia_leads(tmp_path / "leads.json")] == [
        ("B", "Bees fly."),
        ("A", "Ants walk."),
    ]


def test_the_split_puts_an_article_on_one_side_and_keeps_its_longer_text():
    dump = [Document("wikipedia-dump", f"Article_{i}", "long text of the article") for i in range(400)]
    leads = [Document("wikipedia-leads", f"ARTICLE {i}", "short") for i in range(0, 800)]
    parts = split_articles([*leads, *dump], seed=3)
    keys = {part: {corpora.normalise_title(d.title) for d in documents} for part, documents in parts.items()}
    assert sum(map(len, keys.values())) == len(set.union(*keys.values())) == 800
    assert all(d.source == "wikipedia-dump" for d in sum(parts.values(), []) if int(d.title[8:]) < 400)
    assert 20 <= len(keys["validation"]) <= 60 and 20 <= len(keys["test"]) <= 60


def test_the_split_depends_on_title_and_seed_alone():
    documents = [Document("a", f"title {i}", "text") for i in range(300)]
    assert split_articles(documents, seed=1)["test"] == [
        d for d in documents if d in split_articles(documents[::-1], seed=1)["test"]
    ]
    assert split_articles(documents, seed=1)["test"] != split_articles(documents, seed=2)["test"]
    assert len(split_articles(documents, held_out=0)["train"]) == 300
    with pytest.raises(ValueError, match="held_out is 1"):
        split_articles(documents, held_out=1)


def test_ngram_hashes_count_every_run_of_words_once():
    (text,) = texts([40])
    assert len(ngram_hashes(text, 3)) == len({tuple(text.split()[i : i + 3]) for i in range(38)})
    assert ngram_hashes("one two three") == set()
    assert ngram_hashes("The CAT, sat!", 3) == ngram_hashes("the cat-sat", 3) != ngram_hashes("cat the sat", 3)


def test_ngram_hashes_are_the_same_in_another_process():
    code = "from dskd_utils.sources.corpora import ngram_hashes; print(sorted(ngram_hashes('a b c d', 2)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == sorted(ngram_hashes("a b c d", 2))


def test_a_shared_run_of_13_words_is_a_leak_and_12_are_not():
    words = texts([60])[0].split()
    evaluation = ["x1 " + " ".join(words[:20]) + " x2"]
    thirteen = Document("t", "a", "y1 " + " ".join(words[4:17]) + " y2")
    twelve = Document("t", "b", "y1 " + " ".join(words[4:16]) + " y2")
    assert remove_leaks([thirteen, twelve], evaluation) == ([twelve], [thirteen])
    assert leak_report([thirteen, twelve], evaluation) == {"titles": 0, "ngrams": 1}


def test_a_run_over_the_border_of_two_documents_is_no_leak():
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


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("block", [8, 16])
def test_packing_keeps_every_token_once_with_its_next_as_target(bos, block):
    documents = texts([3, 40, 1, 16, 9, 2, 7, 23, 8])
    packed = pack(documents, word_tokenizer(bos), block=block)
    width = block - bos
    expected = []
    for document in documents:
        ids = word_tokenizer()(document)["input_ids"]
        expected += [[1] * bos + ids[i : i + width] for i in range(0, len(ids), width)]
    expected = sorted(piece for piece in expected if len(piece) >= 2)
    found = []
    for row, positions, targets in zip(packed.ids, packed.positions, packed.targets, strict=True):
        starts = [*torch.nonzero(positions == 0)[:, 0].tolist(), block]
        for start, end in zip(starts, starts[1:], strict=False):
            piece = row[start:end].tolist()
            if len(piece) == 1:  # padding
                assert targets[start] == -100
                continue
            found.append(piece)
            assert positions[start:end].tolist() == list(range(len(piece)))
            assert targets[start:end].tolist() == [*piece[1:], -100]
    assert sorted(found) == expected
    assert packed.tokens == sum(map(len, expected))
    assert packed.documents == len(documents) - (not bos)  # the text of one token predicts nothing without a BOS


def test_packing_leaves_little_padding():
    packed = pack(texts([5, 7, 11, 30, 64, 3] * 40), word_tokenizer(), block=64)
    assert packed.tokens / packed.ids.numel() > 0.98


def test_a_budget_takes_a_sample_and_not_the_first_documents():
    documents = [f"w{number} w{number}" for number in range(80)]
    packed = pack(documents, word_tokenizer(), block=4, budget=40)
    assert packed.documents == 20 and packed.ids.max() > 3 + 40


def test_packing_stops_at_the_budget_and_is_the_same_for_a_seed():
    documents = [Document("t", str(i), text) for i, text in enumerate(texts([30] * 200))]
    before = list(documents)
    first, again = (pack(documents, word_tokenizer(), block=16, budget=500, seed=1) for _ in range(2))
    assert first.tokens == 500 and first.digest == again.digest
    assert pack(documents, word_tokenizer(), block=16, budget=500, seed=2).digest != first.digest
    assert documents == before


@pytest.mark.parametrize(("documents", "budget"), [([], None), ([""], None), (["w1"], None), (["w1 w2"], 1)])
def test_an_empty_corpus_is_refused(documents, budget):
    with pytest.raises(ValueError, match="the corpus is empty.*give documents"):
        pack(documents, word_tokenizer(), block=8, budget=budget)


SIZES = {
    "vocab_size": 93,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
CONFIGURATIONS = {
    "llama": transformers.LlamaConfig(**SIZES),
    "mistral": transformers.MistralConfig(**SIZES, sliding_window=5),
    "qwen2": transformers.Qwen2Config(**SIZES),
    "qwen3": transformers.Qwen3Config(**SIZES, head_dim=8),
    "phi3": transformers.Phi3Config(**SIZES),
    "gemma3": transformers.Gemma3TextConfig(
        **SIZES, head_dim=8, sliding_window=5, layer_types=["sliding_attention", "full_attention"]
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_model_reads_packed_documents_as_separate_ones(name):
    torch.manual_seed(0)
    configuration = CONFIGURATIONS[name]
    model = transformers.AutoModelForCausalLM.from_config(configuration, attn_implementation="sdpa").double().eval()
    packed = pack(texts([20, 9, 11, 4, 24, 7, 30]), word_tokenizer(), block=24)
    assert len(packed.ids) > 1
    with torch.no_grad():
        together = model(packed.ids, position_ids=packed.positions, attention_mask=None, use_cache=False).logits
        assert torch.isfinite(together).all()
        for row in range(len(packed.ids)):
            starts = [*torch.nonzero(packed.positions[row] == 0)[:, 0].tolist(), packed.ids.shape[1]]
            for start, end in zip(starts, starts[1:], strict=False):
                alone = model(packed.ids[row : row + 1, start:end], use_cache=False).logits[0]
                torch.testing.assert_close(together[row, start:end], alone, rtol=0, atol=1e-12)


@pytest.mark.network
def test_the_study_text_shares_nothing_with_what_judges_it():
    text = study_text(word_tokenizer(), budget_wiki=60_000, budget_tasks=20_000, budget_heldout=5_000)
    from dskd_utils.sources.tasks import evaluation_documents, evaluation_questions

    questions, missing = evaluation_questions()
    evaluation = [*text.documents["validation"], *text.documents["test"], *evaluation_documents(questions)]
    assert leak_report(text.documents["train"], evaluation) == {"titles": 0, "ngrams": 0}
    assert "needs data_dir" in missing["squad2"] and text.facts["not_compared"] == missing
    assert text.facts["removed"]["words"] > 0  # there is something to remove: the check is not empty
    assert text.train.tokens == 80_000 and text.validation.tokens == text.test.tokens == 5_000
    sources = {document.source for document in text.documents["train"]}
    assert sources == {"wikipedia-dump", "wikipedia-leads", "arc_challenge", "commonsense_qa", "piqa"}
    assert text.train.documents == len(text.documents["train"])
