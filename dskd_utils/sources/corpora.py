"""Training and held-out text: Wikipedia and task text, split by article, leak-free, packed (paper, section 3.1)."""

import bisect
import bz2
import hashlib
import itertools
import json
import logging
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

logger = logging.getLogger(__name__)

NO_TARGET = -100
NGRAM = 13  # words; the length that GPT-3 and later work use to find evaluation text in training text
SHORT = 5  # lines of 5 to 12 words are compared whole; shorter ones say too little to call a match a leak
_CHARACTERS_A_TOKEN = 8  # an upper estimate: how much text to read for a token budget
_MIN_CHARACTERS = 8_000_000  # read at least so much of a dump, so that small budgets sample many articles too
HELD_OUT = 0.1  # share of the articles that is never trained on, half validation, half test
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Document:
    """A text with its source (`"wikipedia-dump"`, `"wikipedia-leads"` or a task) and its title (a question's id)."""

    source: str
    title: str
    text: str


_INLINE = (  # templates whose words belong to the sentence; `filter_wiki` drops all others
    (re.compile(r"\{\{(?:convert|cvt)\|([^|{}]+)\|([^|{}]+)[^{}]*\}\}", re.I), r"\1 \2"),
    (re.compile(r"\{\{(?:lang|transl)\|[^|{}]+\|([^|{}]+)[^{}]*\}\}", re.I), r"\1"),
    (re.compile(r"\{\{(?:nowrap|nobr|small)\|([^{}]*)\}\}", re.I), r"\1"),
    (re.compile(r"\{\{(?:snd|spnd|[ns]?dash|endash|spaced ndash)\}\}", re.I), "–"),
)
_HOLE = "\ue000"  # a private character: stands where a formula was, so that its paragraph can be dropped
_FORMULA = re.compile(r"<math\b.*?(?:</math>|/>)|\{\{(?:math|mvar|chem)\b[^{}]*\}\}", re.S | re.I)
_BLOCK = re.compile(r"<(gallery|source|syntaxhighlight|pre|timeline|imagemap)\b.*?</\1>", re.S | re.I)
_FILE = re.compile(r"\[\[(?:File|Image):(?:[^\[\]]|\[\[[^\[\]]*\]\]|\[[^\[\]]*\])*\]\]", re.I)
_TABLE = re.compile(r"^[ :*]*\{\|(?:(?!^[ :*]*\{\|).)*?^\s*\|\}", re.S | re.M)
_HEADING = re.compile(r"^\s*(=+)\s*(.*?)\s*\1\s*$")
_NO_PROSE = re.compile(  # headings of sections that hold lists and notes
    r"(references|external links|further reading|see also|notes|bibliography|footnotes|sources|citations|gallery|"
    r"works cited|filmography|discography|reference)\b",
    re.I,
)
_TIDY = (
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"__[A-Z]+__|<[^<>]*>"), ""),
    (re.compile(r"\[?https?://\S+"), ""),
    (re.compile(r"[\s\u200b]+"), " "),
    (re.compile(r"\(\s*(?:(?:or|and|i\.e\.)?\s*[,;:]\s*)*"), "("),
    (re.compile(r"(?:\s*[,;:])*\s*\)"), ")"),
    (re.compile(r"\s*\(\)"), ""),
    (re.compile(r"([,;])(?:\s*[,;])+"), r"\1"),
    (re.compile(r"\s+([,;:.!?)](?:\s|$))"), r"\1"),
)
_SENTENCE_END = re.compile(r"[.!?][\"'”’)]*$")
_RESIDUE = re.compile(r"[|{}\[\]" + _HOLE + r"]|\bthumb\||\bISBN\b")


def _tidy(line: str) -> str:
    """A line without quote marks of wikitext and without the empty brackets that dropped templates leave."""
    for pattern, kept in _TIDY:
        line = pattern.sub(kept, line)
    return line.strip()


def _clean(wikitext: str) -> str:
    """Prose of an article: paragraphs of whole sentences, one a line, without headings, lists of works and markup."""
    from gensim.corpora.wikicorpus import filter_wiki

    text = _FORMULA.sub(_HOLE, _BLOCK.sub("", wikitext))
    for pattern, kept in _INLINE:
        text = pattern.sub(kept, text)
    text = filter_wiki(_TABLE.sub("\n", _FILE.sub("", text)))
    paragraphs, skipped = [], 0
    for line in text.split("\n"):
        if heading := _HEADING.match(line):
            level = len(heading[1])
            if not skipped or level <= skipped:
                skipped = level if _NO_PROSE.match(heading[2]) else 0
            continue
        if skipped:
            continue
        line = _tidy(line.lstrip(" *#:;"))
        if len(line.split()) >= 8 and _SENTENCE_END.search(line) and not _RESIDUE.search(line):
            paragraphs.append(line)
    return "\n".join(paragraphs)


def wikipedia_dump(path: str | Path) -> Iterator[Document]:
    """Articles of a MediaWiki XML dump (`.bz2` or plain), in its order; redirects and other namespaces are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a MediaWiki dump.
    """
    from gensim.corpora.wikicorpus import extract_pages

    path = _file(path)
    with (bz2.open if path.suffix == ".bz2" else open)(path, "rb") as stream:
        pages = extract_pages(stream, filter_namespaces=("0",))
        try:
            for title, wikitext, _ in pages:
                if not re.match(r"\s*#redirect", wikitext or "", re.I) and (text := _clean(wikitext or "")):
                    yield Document("wikipedia-dump", title, text)
        except (SyntaxError, OSError, EOFError, ValueError) as error:  # ParseError is a SyntaxError
            raise ValueError(f"{path} is not a whole MediaWiki XML dump ({error}): fetch it again") from error


def wikipedia_leads(path: str | Path) -> Iterator[Document]:
    """Article leads from a JSON object `{title: {"title", "extract", ...}}`, in its order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not such an object, or an article lacks a field.
    """
    path = _file(path)
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))
        for title, article in articles.items():
            text = _tidy(article["extract"])
            if text:
                yield Document("wikipedia-leads", article.get("title") or title, text)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a JSON object of articles with 'extract' ({error!r}): fetch it again"
        ) from error


def _file(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no text file {path}: fetch it with `python -m dskd_utils.sources.assets`")
    return Path(path)


def normalise_title(title: str) -> str:
    """A title's key: NFKC, case folded, underscores as spaces."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().replace("_", " ").split())


def split_articles(
    documents: Iterable[Document], *, seed: int = 0, held_out: float = HELD_OUT
) -> dict[str, list[Document]]:
    """Documents by part: `"train"`, `"validation"`, `"test"`, decided by a seeded hash of the normalised title.

    An article that two samples share falls on one side, and only its longest text is kept, in the place of the
    first. Validation and test get half of `held_out` each.

    Raises:
        ValueError: `held_out` outside [0, 1).
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out is {held_out}, expected a share of at least 0 and below 1")
    longest: dict[str, Document] = {}
    for document in documents:
        key = normalise_title(document.title)
        if key not in longest or len(document.text) > len(longest[key].text):
            longest[key] = document
    parts: dict[str, list[Document]] = {part: [] for part in _PARTS}
    for key, document in longest.items():
        place = int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()) / 2**64
        part = "validation" if place < held_out / 2 else "test" if place < held_out else "train"
        parts[part].append(document)
    return parts


_WORD = re.compile(r"[^\W_]+")
_LABELS = {"question", "goal"}  # prompt words that would hide that two short questions are the same


class _WordHashes(dict):
    """Word -> 64-bit hash, the same in every process; computed once a word."""

    def __missing__(self, word: str) -> int:
        self[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
        return self[word]


_word_hashes = _WordHashes()


def _words(text: str) -> list[str]:
    return _WORD.findall((text if text.isascii() else unicodedata.normalize("NFKC", text)).lower())


def _combine(values: np.ndarray, starts: np.ndarray, n: int) -> np.ndarray:
    """Hashes of the n words from each of `starts` on: a polynomial in an odd base, modulo 2^64, (len(starts),)."""
    total = np.full(len(starts), n, np.uint64)
    for place in range(n):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[starts + place]
    return total


def ngram_hashes(text: str, n: int = NGRAM) -> set[int]:
    """64-bit hashes of the word n-grams of a text (lower case, letters and digits only), equal in every process."""
    values = np.array([_word_hashes[word] for word in _words(text)], np.uint64)
    return set(_combine(values, np.arange(max(len(values) - n + 1, 0)), n).tolist())


def _keys(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What two texts must not share, as hashes (m,) uint64 with the text each is from (m,) int64.

    Those are the runs of 13 words, and the lines of 5 to 12 words as a whole.
    """
    words: list[str] = []
    short: list[tuple[int, int, int]] = []  # (first word, words, text)
    lengths = []
    for index, text in enumerate(texts):
        before = len(words)
        for line in text.split("\n"):
            found = _words(line)
            label = len(found) > 0 and found[0] in _LABELS
            if SHORT <= len(found) - label < NGRAM:
                short.append((len(words) + label, len(found) - label, index))
            words += found
        lengths.append(len(words) - before)
    values = np.fromiter(map(_word_hashes.__getitem__, words), np.uint64, len(words))
    owner = np.repeat(np.arange(len(texts)), lengths)
    starts = np.arange(max(len(words) - NGRAM + 1, 0))
    starts = starts[owner[starts] == owner[starts + NGRAM - 1]]
    keys, owners = [_combine(values, starts, NGRAM)], [owner[starts]]
    lines = np.array(short, np.int64).reshape(-1, 3)
    for n in range(SHORT, NGRAM):
        chosen = lines[lines[:, 1] == n]
        keys.append(_combine(values, chosen[:, 0], n))
        owners.append(chosen[:, 2])
    return np.concatenate(keys), np.concatenate(owners)


def _evaluation_keys(evaluation: Iterable[str | Document]) -> tuple[np.ndarray, set[str]]:
    """Sorted hashes and normalised titles of what training text must not hold."""
    evaluation = list(evaluation)
    titles = {normalise_title(item.title) for item in evaluation if isinstance(item, Document)}
    return np.sort(_keys([item if isinstance(item, str) else item.text for item in evaluation])[0]), titles


def _among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of `keys` (n,) are in the sorted `known` (m,), as (n,) bool."""
    if not len(known):
        return np.zeros(len(keys), bool)
    return known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys


def remove_leaks(
    training: Sequence[Document], evaluation: Iterable[str | Document]
) -> tuple[list[Document], list[Document]]:
    """Training documents without and with a leak: `(kept, removed)`, both in the given order.

    A leak is a title that an evaluation document has, a shared run of 13 words, or a shared line of 5 to 12 words.
    """
    known, titles = _evaluation_keys(evaluation)
    kept: list[Document] = []
    removed: list[Document] = []
    for start in tqdm(range(0, len(training), 1000), desc="comparing texts", disable=len(training) < 50_000):
        batch = training[start : start + 1000]
        keys, owners = _keys([document.text for document in batch])
        leaking = set(owners[_among(keys, known)].tolist())
        for index, document in enumerate(batch):
            leak = index in leaking or normalise_title(document.title) in titles
            (removed if leak else kept).append(document)
    return kept, removed


def leak_report(training: Iterable[Document], evaluation: Iterable[str | Document]) -> dict[str, int]:
    """How much the two share: `{"titles": ..., "ngrams": ...}`; both are 0 after `remove_leaks`.

    `ngrams` counts the distinct runs of 13 words, and lines of 5 to 12, of the training text.
    """
    training = list(training)
    known, titles = _evaluation_keys(evaluation)
    keys, _ = _keys([document.text for document in training])
    shared = titles & {normalise_title(document.title) for document in training}
    return {"titles": len(shared), "ngrams": len(set(keys[_among(keys, known)].tolist()))}


@dataclass(frozen=True)
class Packed:
    """Documents packed into B rows of T tokens.

    `ids`, `positions`, `targets` are (B, T) int64. `positions` restart at 0 at each piece of a document; `targets`
    hold the next token of the same piece, -100 at its last token and on padding. `tokens` counts ids without
    padding. A causal model called with `position_ids=positions, attention_mask=None, use_cache=False` keeps the
    pieces apart. `digest` is a hash of ids and targets.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    documents: int
    tokens: int
    digest: str


def pack(
    documents: Iterable[Document | str], tokenizer: Any, *, block: int = 512, budget: int | None = None, seed: int = 0
) -> Packed:
    """Shuffle, tokenise, cut and pack documents.

    A document is cut into pieces of at most `block` tokens; each piece starts with the BOS token where the tokenizer
    adds one, for a model reads a piece as a text of its own.

    Args:
        documents: texts or documents.
        tokenizer: a Hugging Face tokenizer.
        block: T, the length of a row in tokens.
        budget: stop at so many tokens (BOS counted); the last piece is cut short.
        seed: order of the documents and of the rows.

    Raises:
        ValueError: `block` below 2, or no token at all.
    """
    texts = [document if isinstance(document, Document) else Document("text", "", document) for document in documents]
    pieces, used = _pieces(texts, tokenizer, block, budget, seed)
    return _fill(pieces, len(used), tokenizer, block, seed)


def _pieces(
    documents: Sequence[Document], tokenizer: Any, block: int, budget: int | None, seed: int
) -> tuple[list[np.ndarray], list[Document]]:
    """Pieces of 2 to `block` tokens of the shuffled documents, at most `budget` tokens in all, and their documents."""
    if block < 2:
        raise ValueError(f"block is {block}, expected at least 2 tokens: a token needs a next one to predict")
    first = tokenizer("a")["input_ids"][:1]
    bos = first if tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id] else []
    width = block - len(bos)
    order = list(documents)
    random.Random(seed).shuffle(order)
    left = sum(len(document.text) + 1 for document in order) * block if budget is None else budget
    pieces: list[np.ndarray] = []
    used: list[Document] = []
    for start in range(0, len(order), 64):
        if left < 2:
            break
        batch = order[start : start + 64]
        encoded = tokenizer([document.text for document in batch], add_special_tokens=False, verbose=False)
        for document, ids in zip(batch, encoded["input_ids"], strict=True):
            before = len(pieces)
            for cut in range(0, len(ids), width):
                piece = (bos + ids[cut : cut + width])[: min(left, block)]
                if len(piece) >= 2:
                    pieces.append(np.asarray(piece, np.int64))
                    left -= len(piece)
            if len(pieces) > before:
                used.append(document)
    return pieces, used


def _fill(pieces: Sequence[np.ndarray], documents: int, tokenizer: Any, block: int, seed: int) -> Packed:
    """Pieces into rows, longest first, each into the fullest row that has room; then the rows in seeded order."""
    if not pieces:
        raise ValueError(
            "the corpus is empty, not one piece of 2 tokens is left to pack: give documents with text, "
            "a budget of at least 2 tokens, and a source that leak removal leaves something of"
        )
    rows: list[list[np.ndarray]] = []
    room: list[tuple[int, int]] = []  # (free places, row), sorted
    for piece in sorted(pieces, key=len, reverse=True):
        place = bisect.bisect_left(room, (len(piece), -1))
        free, row = room.pop(place) if place < len(room) else (block, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(piece)
        if free - len(piece) >= 2:
            bisect.insort(room, (free - len(piece), row))
    random.Random(seed).shuffle(rows)
    padding = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
    ids = np.full((len(rows), block), padding, np.int64)
    positions = np.zeros_like(ids)  # a padding token is a piece of its own: it attends to itself, no row is all masked
    targets = np.full_like(ids, NO_TARGET)
    for row, parts in enumerate(rows):
        start = 0
        for piece in parts:
            end = start + len(piece)
            ids[row, start:end] = piece
            positions[row, start:end] = np.arange(len(piece))
            targets[row, start : end - 1] = piece[1:]
            start = end
    digest = hashlib.sha256(ids.tobytes() + targets.tobytes()).hexdigest()[:16]
    tensors = [torch.from_numpy(array) for array in (ids, positions, targets)]
    return Packed(*tensors, documents, sum(map(len, pieces)), digest)


@dataclass(frozen=True)
class StudyText:
    """What a study trains on and is judged on.

    `facts` holds documents and tokens by part and source, what leak removal took away and why, and what could not be
    compared; `documents` the documents behind each part (those that were packed).
    """

    train: Packed
    validation: Packed
    test: Packed
    facts: dict[str, Any]
    documents: dict[str, list[Document]]


def study_text(
    tokenizer: Any,
    *,
    budget_wiki: int,
    budget_tasks: int,
    budget_heldout: int,
    seed: int = 0,
    block: int = 512,
    source: str = "package",
    data_dir: str | Path | None = None,
    tasks: Sequence[str] = ("arc_challenge", "commonsense_qa", "piqa", "mmlu", "squad2"),
    dump: str | Path | None = None,
    leads: str | Path | None = None,
) -> StudyText:
    """Wikipedia and task text for training, Wikipedia text for validation and test, none of it shared.

    Half of each Wikipedia budget is for the dump's articles, half for the leads; where one runs out the other fills
    in. Training text is compared with the held-out articles and with the evaluation questions of ALL tasks that the
    source has, so that the choice of `tasks` never changes what is removed.

    Args:
        tokenizer: a Hugging Face tokenizer.
        budget_wiki: training tokens from Wikipedia.
        budget_tasks: training tokens from the tasks' train splits.
        budget_heldout: tokens of validation, and of test.
        seed: split, sample of the tasks, order.
        block: tokens a row.
        source, data_dir: as in `tasks.load_task`.
        tasks: the study's tasks; those with a train split are trained on.
        dump, leads: other files than those of `assets`.

    Raises:
        ValueError: no text is left for a part.
        FileNotFoundError: a file of the sources is missing.
    """
    from dskd_utils.sources.assets import fetch
    from dskd_utils.sources.tasks import evaluation_documents, evaluation_questions, task_documents  # it imports us

    need = _CHARACTERS_A_TOKEN * (budget_wiki + round(2 * budget_heldout / HELD_OUT))
    articles = [
        *_until(wikipedia_dump(dump or fetch("wikipedia-dump")), max(need, _MIN_CHARACTERS)),
        *wikipedia_leads(leads or fetch("wikipedia-leads")),
    ]
    parts = split_articles(articles, seed=seed, held_out=HELD_OUT)
    questions, missing = evaluation_questions(tasks, source=source, data_dir=data_dir)
    evaluation = [*parts["validation"], *parts["test"], *evaluation_documents(questions)]
    asked = task_documents(tasks, seed=seed, source=source, data_dir=data_dir) if budget_tasks else []
    kept, removed = remove_leaks([*parts["train"], *asked], evaluation)
    titles = {normalise_title(document.title) for document in evaluation}
    by_reason = Counter("title" if normalise_title(document.title) in titles else "words" for document in removed)

    facts: dict[str, Any] = {
        "read": dict(Counter(document.source for document in [*articles, *asked])),
        "removed": {"title": by_reason["title"], "words": by_reason["words"]},
        "removed_by_source": dict(Counter(document.source for document in removed)),
        "not_compared": missing,
    }
    packed, documents = {}, {}
    for part in _PARTS:
        found = kept if part == "train" else parts[part]
        budget = budget_wiki if part == "train" else budget_heldout
        chosen = _wikipedia_pieces(found, tokenizer, block, budget, seed)
        if part == "train":
            others = [document for document in found if not document.source.startswith("wikipedia")]
            chosen["tasks"] = _pieces(others, tokenizer, block, budget_tasks, seed)
        documents[part] = [document for _, used in chosen.values() for document in used]
        pieces = [piece for some, _ in chosen.values() for piece in some]
        random.Random(seed).shuffle(pieces)
        packed[part] = _fill(pieces, len(documents[part]), tokenizer, block, seed)
        facts[part] = {
            name: {"documents": len(used), "tokens": sum(map(len, some))} for name, (some, used) in chosen.items()
        }
    logger.info("study text: %s", facts)
    return StudyText(**packed, facts=facts, documents=documents)


def _until(documents: Iterable[Document], characters: int) -> Iterator[Document]:
    """Documents in order until they hold so many characters: a whole dump is never read for a small budget."""
    for document in documents:
        if characters <= 0:
            return
        characters -= len(document.text)
        yield document


def _wikipedia_pieces(
    documents: Sequence[Document], tokenizer: Any, block: int, budget: int, seed: int
) -> dict[str, tuple[list[np.ndarray], list[Document]]]:
    """Pieces and documents by sample, half of the budget each as far as there is text."""
    samples = {name: [d for d in documents if d.source == name] for name in ("wikipedia-leads", "wikipedia-dump")}
    chosen = {name: _pieces(found, tokenizer, block, budget // 2, seed) for name, found in samples.items()}
    spent = {name: sum(map(len, pieces)) for name, (pieces, _) in chosen.items()}
    for name, other in itertools.permutations(samples):
        if spent[other] < budget // 2 - 1:
            chosen[name] = _pieces(samples[name], tokenizer, block, budget - spent[other], seed)
    return chosen
