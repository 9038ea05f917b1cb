"""WikiText-2: articles put together again, unknown words read but never asked for."""

import lzma

import pytest

from dskd_utils.sources.packing import pack
from dskd_utils.sources.wikitext import masked_pack, wikitext_articles

LINES = ["= First article =", 'The lobster , a <unk> ( 24 in ) , weighs 0 @.@ 7 kg and is " well @-@ known " .']
LINES += ["= = Description = =", "It 's large .", "= Second =", "Another one ."]
TEXT = "".join(f" \n {line} \n" for line in LINES)


def write(tmp_path, text=TEXT):
    path = tmp_path / "w.txt.xz"
    path.write_bytes(lzma.compress(text.encode()))
    return path


def test_articles_lose_their_headings_and_their_loose_punctuation(tmp_path):
    first, second = wikitext_articles(write(tmp_path))
    assert first.title == "First article" and second.title == "Second" and second.text == "Another one."
    assert first.text == 'The lobster, a <unk> (24 in), weighs 0.7 kg and is "well-known".\nIt\'s large.'


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="give data_dir"):
        wikitext_articles(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="has no article"):
        wikitext_articles(write(tmp_path, "no titles"))
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cannot be read"):
        wikitext_articles(path)


def test_no_token_of_an_unknown_word_is_a_target(tmp_path, llama):
    articles, tokenizer = wikitext_articles(write(tmp_path)), llama.tokenizer
    plain = pack(articles, tokenizer, block=256)
    masked = masked_pack(articles, tokenizer, block=256, budget=10_000)
    assert sorted(masked.ids.flatten().tolist()) == sorted(plain.ids.flatten().tolist())
    assert masked.tokens == plain.tokens and masked.digest != plain.digest
    row = next(row for row in range(len(masked.ids)) if "lobster" in tokenizer.decode(masked.ids[row]))
    hidden = (masked.targets[row] == -100) & (masked.positions[row] > 0)
    hidden[-1] = False
    read = tokenizer.decode(masked.ids[row, 1:][hidden[:-1]])
    assert "<unk>" in read.replace(" ", "") and "lobster" not in read
    seen = tokenizer.decode(masked.targets[row][masked.targets[row] != -100])
    assert "unk" not in seen and "weighs" in seen
    assert masked_pack(articles, tokenizer, block=256, budget=20).tokens <= 20


def test_a_part_of_the_text_is_of_all_articles(tmp_path, llama):
    lines = [f" = Article {i} = \n \n {'the happy river runs . ' * 40} \n" for i in range(4)]
    articles = wikitext_articles(write(tmp_path, "".join(lines)))
    part, whole = (masked_pack(articles, llama.tokenizer, block=16, budget=budget) for budget in (100, None))
    assert part.documents == whole.documents == len(part.articles.unique()) == 4
    assert part.tokens == 100 and whole.tokens > 4 * 100
