"""Wikipedia: clean articles and leads, and one split by title."""

import bz2
import json

import pytest

from dskd_utils.sources.wikipedia import Document, normalise_title, split_articles, wikipedia_dump, wikipedia_leads


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
    keys = {part: {normalise_title(d.title) for d in documents} for part, documents in parts.items()}
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
