"""The sense dictionary: token senses, word senses and who neighbours whom (paper, sections 3.1 to 3.3)."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dskd_utils.artefacts import atomic_folder, atomic_path
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.composition import compose_spans
from dskd_utils.sources.teachers import Teacher

FILE = "senses.safetensors"
MIN_HEAD_LENGTH = 3  # the released code drops heads of one or two letters (NOTES 7)


@dataclass(frozen=True)
class Candidates:
    """Senses of a batch of `b` token ids as rows of `SenseDictionary.vectors`, in CSR form.

    Positives are the token's own senses and its synonyms' (P), negatives its antonyms' (A), section 4.2.
    """

    positive_rows: Tensor
    positive_offsets: Tensor
    negative_rows: Tensor
    negative_offsets: Tensor


@dataclass(frozen=True)
class SenseDictionary:
    """Senses of a teacher's tokens and words.

    Attributes:
        vectors: `(r, d)` bf16: the token senses, token after token, then the composed word senses.
        token_offsets: `(v + 1,)` int64 into `vectors`.
        words: the words of the relations that have senses.
        word_rows: `(w, 2)` int64, first and last + 1 row of each word; a one-token word points at its token.
        head_ids: `(h,)` int64, sorted: tokens that are words with relations.
        synonym_words: word numbers of all heads' synonyms, with `synonym_offsets` `(h + 1,)`.
        antonym_words: likewise.
        header: teacher, tokenizer hash, width and the parameters of the build.
    """

    vectors: Tensor
    token_offsets: Tensor
    words: list[str]
    word_rows: Tensor
    head_ids: Tensor
    synonym_words: Tensor
    synonym_offsets: Tensor
    antonym_words: Tensor
    antonym_offsets: Tensor
    header: dict = field(default_factory=dict)

    @cached_property
    def _word_index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def token_senses(self, token_id: int) -> Tensor:
        """Senses `(k_t, d)` bf16 of a token; `(0, d)` for a token that the corpus does not hold."""
        return self.vectors[self.token_offsets[token_id] : self.token_offsets[token_id + 1]]

    def word_senses(self, word: str) -> Tensor:
        """Senses `(k_w, d)` bf16 of a word of the relations, composed where it has several tokens.

        Raises:
            KeyError: the word has no senses (not in the relations, too many tokens, or a token unseen).
        """
        if word not in self._word_index:
            raise KeyError(f"{word!r} has no senses: it is not in the relations, too long, or a token was never seen")
        start, stop = self.word_rows[self._word_index[word]].tolist()
        return self.vectors[start:stop]

    def candidates(self, ids: Tensor) -> Candidates:
        """Candidate sets P and A (section 4.2) of each token id in `ids` `(b,)`, without copying vectors."""
        where = torch.searchsorted(self.head_ids, ids)
        own = torch.stack([self.token_offsets[ids], self.token_offsets[ids + 1]], 1)
        positives, negatives = [], []
        for token, place, span in zip(ids.tolist(), where.tolist(), own.tolist(), strict=True):
            known = place < len(self.head_ids) and int(self.head_ids[place]) == token
            neighbours = self._neighbours(self.synonym_words, self.synonym_offsets, place) if known else ()
            positives.append(_rows([tuple(span), *neighbours]))
            opposed = self._neighbours(self.antonym_words, self.antonym_offsets, place) if known else ()
            negatives.append(_rows(opposed))
        return Candidates(*_csr(positives), *_csr(negatives))

    def _neighbours(self, words: Tensor, offsets: Tensor, head: int) -> list[tuple[int, int]]:
        spans = self.word_rows[words[offsets[head] : offsets[head + 1]]]
        return [tuple(span) for span in spans.tolist()]

    def has_relations(self) -> Tensor:
        """`(v,)` bool: tokens with at least one synonym or antonym."""
        flags = torch.zeros(len(self.token_offsets) - 1, dtype=torch.bool)
        flags[self.head_ids] = True
        return flags

    def table8(self) -> dict[str, float]:
        """This dictionary's row of the paper's Table 8: counts of keys and its size in bytes."""
        token_rows = int(self.token_offsets[-1])
        multi = int((self.word_rows[:, 0] >= token_rows).sum())
        return {
            "vocabulary": len(self.token_offsets) - 1,
            "token keys": int((self.token_offsets.diff() > 0).sum()),
            "word keys": len(self.words),
            "word keys of several tokens": multi,
            "heads with relations": len(self.head_ids),
            "senses": len(self.vectors),
            "bytes": self.vectors.numel() * 2,
        }

    def save(self, path: Path) -> None:
        """Write the folder `path`: `senses.safetensors` with a JSON header, and the words."""
        with atomic_folder(path) as folder:
            self.write(folder)

    def write(self, folder: Path) -> None:
        """Write the dictionary's files into an existing folder."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        with atomic_path(folder / FILE) as temporary:
            save_file(tensors, temporary, metadata={"header": json.dumps(self.header)})
        with atomic_path(folder / "words.json") as temporary:
            temporary.write_text(json.dumps(self.words, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, teacher: Teacher | None = None) -> "SenseDictionary":
        """Open a dictionary by memory map.

        Args:
            path: the folder that `save` wrote.
            teacher: if given, must be the teacher whose states were clustered.

        Raises:
            FileNotFoundError: no dictionary there.
            ValueError: the dictionary's tokenizer or width is not the teacher's.
        """
        file = Path(path) / FILE
        if not file.is_file():
            raise FileNotFoundError(f"there is no sense dictionary at {path}: build it with notebook 02-senses")
        with safe_open(file, "pt") as store:
            header = json.loads(store.metadata()["header"])
            if teacher is not None:
                _check_header(header, teacher, path)
            tensors = {name: store.get_tensor(name) for name in _TENSORS}
        words = json.loads((Path(path) / "words.json").read_text(encoding="utf-8"))
        return cls(**tensors, words=words, header=header)


_TENSORS = (
    "vectors", "token_offsets", "word_rows", "head_ids", "synonym_words", "synonym_offsets", "antonym_words",
    "antonym_offsets",
)  # fmt: skip


def _check_header(header: dict, teacher: Teacher, path: Path) -> None:
    for name in ("tokenizer_hash", "hidden_size"):
        if header.get(name) != getattr(teacher, name):
            raise ValueError(
                f"the sense dictionary at {path} was built for {header.get('teacher')} ({name} = {header.get(name)}), "
                f"not for {teacher.name} ({getattr(teacher, name)}): build one for this teacher with notebook 02-senses"
            )


def _rows(spans: Iterable[tuple[int, int]]) -> Tensor:
    """Rows of several spans, each row once."""
    parts = [torch.arange(start, stop) for start, stop in spans if stop > start]
    return torch.cat(parts).unique() if parts else torch.empty(0, dtype=torch.int64)


def _csr(groups: list[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([0, *map(len, groups)], dtype=torch.int64)
    rows = torch.cat(groups) if groups else torch.empty(0, dtype=torch.int64)
    return rows, lengths.cumsum(0)


def word_spans(words: Iterable[str], tokenizer) -> dict[str, tuple[int, ...]]:
    """Token ids of each word with a leading space, as it stands inside a sentence (section 3.3; NOTES 7)."""
    words = list(words)
    encoded = tokenizer([" " + word for word in words], add_special_tokens=False)["input_ids"] if words else []
    return dict(zip(words, map(tuple, encoded), strict=True))


def build_dictionary(
    centroids: Tensor,
    token_offsets: Tensor,
    relations: Relations,
    tokenizer,
    *,
    max_span: int = 3,
    neighbours: int | None = None,
    seed: int = 0,
    header: dict | None = None,
) -> SenseDictionary:
    """Token senses, composed word senses and the neighbours of every head (sections 3.2 and 3.3).

    Args:
        centroids: `(r, d)` token senses, token after token.
        token_offsets: `(v + 1,)` int64.
        relations: synonyms and antonyms, held-out words removed already.
        tokenizer: the teacher's.
        max_span: most tokens a word may have, the paper's m.
        neighbours: most synonyms and most antonyms a head keeps (drawn with `seed`); None keeps all (NOTES 9).
        header: what the file's header records.

    Raises:
        ValueError: `max_span` is below 1.
    """
    if max_span < 1:
        raise ValueError(f"max_span must be at least 1: got {max_span}")
    counts = token_offsets.diff()
    spans = {
        word: span
        for word, span in word_spans(sorted(relations.words), tokenizer).items()
        if 1 <= len(span) <= max_span and all(int(counts[token]) for token in span)
    }
    composed, rows = _compose_words(centroids, token_offsets, spans)
    words = sorted(spans)
    number = {word: i for i, word in enumerate(words)}
    heads = {span[0]: word for word, span in spans.items() if len(span) == 1 and len(word) >= MIN_HEAD_LENGTH}
    draw = random.Random(seed)
    kept, synonym_lists, antonym_lists = [], [], []
    for token in sorted(heads):
        synonyms = sorted(number[w] for w in relations.synonyms(heads[token]) if w in number)
        antonyms = sorted(number[w] for w in relations.antonyms(heads[token]) if w in number)
        if neighbours is not None:
            synonyms = sorted(draw.sample(synonyms, min(neighbours, len(synonyms))))
            antonyms = sorted(draw.sample(antonyms, min(neighbours, len(antonyms))))
        if synonyms or antonyms:
            kept.append(token)
            synonym_lists.append(torch.tensor(synonyms, dtype=torch.int64))
            antonym_lists.append(torch.tensor(antonyms, dtype=torch.int64))
    return SenseDictionary(
        torch.cat([centroids.to(torch.bfloat16), composed.to(torch.bfloat16)]),
        token_offsets,
        words,
        torch.tensor([rows[word] for word in words], dtype=torch.int64).view(-1, 2),
        torch.tensor(kept, dtype=torch.int64),
        *_csr(synonym_lists),
        *_csr(antonym_lists),
        header=dict(header or {}),
    )


def _compose_words(centroids: Tensor, token_offsets: Tensor, spans: dict[str, tuple[int, ...]]):
    """Composed senses `(c, d)` of the words of several tokens, and the rows `(start, stop)` of every word."""
    rows = {w: (int(token_offsets[s[0]]), int(token_offsets[s[0] + 1])) for w, s in spans.items() if len(s) == 1}
    parts, base = [], len(centroids)
    for length in sorted({len(span) for span in spans.values()} - {1}):
        words = [word for word, span in spans.items() if len(span) == length]
        composed, offsets = compose_spans(centroids, token_offsets, torch.tensor([spans[word] for word in words]))
        bounds = (offsets + base).tolist()
        rows |= {word: (bounds[i], bounds[i + 1]) for i, word in enumerate(words)}
        base += len(composed)
        parts.append(composed)
    return torch.cat(parts) if parts else centroids.new_empty(0, centroids.shape[1]), rows
