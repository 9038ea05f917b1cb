"""The sense dictionary: token senses, word senses and who neighbours whom (paper, sections 3.1 to 3.3).

One safetensors file holds everything, so it is opened by memory map: what is not read stays on disk. The header
says which teacher, tokenizer, text and parameters it was built with. `python -m dskd_utils.senses.dictionary
FOLDER` prints the header and the dictionary's row of Table 8.
"""

import json
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dskd_utils.artefacts import atomic_folder, atomic_path
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.build import compose_words, known_spans, neighbour_lists, word_rows
from dskd_utils.sources.teachers import Teacher

FILE = "senses.safetensors"
FORMAT = 3  # of the file; 1 kept the words in a second file, 2 had its format beside the header


@dataclass(frozen=True)
class Candidates:
    """Senses of a batch of `b` token ids as rows of `SenseDictionary.vectors`, in CSR form, int64.

    Positives are the token's own senses and its synonyms' (P), negatives its antonyms' (A), section 4.2. The rows of
    a set are ascending, each once; set `i` is `rows[offsets[i]:offsets[i + 1]]`.
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
        word_rows: `(w, 2)` int64, first and last + 1 row of each word; a one-token word points at its token, so the
            ranges of two words are the same or have no row in common.
        head_ids: `(h,)` int64, sorted: tokens that are words with relations.
        synonym_words: word numbers of all heads' synonyms, with `synonym_offsets` `(h + 1,)`.
        antonym_words: likewise.
        header: teacher, tokenizer hash, width, hash of the text, the parameters and the counts of the build.
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
        """Candidate sets P and A (section 4.2) of each token id in `ids` `(b,)` int64, without reading a vector.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        ids = ids.to("cpu", torch.int64)
        vocabulary = len(self.token_offsets) - 1
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            raise ValueError(
                f"token ids go from {int(ids.min())} to {int(ids.max())}, but the dictionary's vocabulary has "
                f"{vocabulary} tokens: drop targets of -100 and use the dictionary's own tokenizer"
            )
        entries = torch.arange(len(ids))
        related = torch.isin(ids, self.head_ids)
        heads = torch.searchsorted(self.head_ids, ids[related])
        own = torch.stack([self.token_offsets[ids], self.token_offsets[ids + 1]], 1)
        near, near_rows = self._neighbours(self.synonym_words, self.synonym_offsets, heads, entries[related])
        far, far_rows = self._neighbours(self.antonym_words, self.antonym_offsets, heads, entries[related])
        positive = _row_sets(torch.cat([entries, near]), torch.cat([own, near_rows]), len(ids))
        return Candidates(*positive, *_row_sets(far, far_rows, len(ids)))

    def _neighbours(self, words: Tensor, offsets: Tensor, heads: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
        """For all neighbours of all heads: the batch entry they belong to `(n,)` and their row ranges `(n, 2)`."""
        starts, stops = offsets[heads], offsets[heads + 1]
        return entries.repeat_interleave(stops - starts), self.word_rows[words[_spread(starts, stops)]]

    def has_relations(self) -> Tensor:
        """`(v,)` bool: tokens with at least one synonym or antonym."""
        flags = torch.zeros(len(self.token_offsets) - 1, dtype=torch.bool)
        flags[self.head_ids] = True
        return flags

    def table8(self) -> dict[str, int]:
        """This dictionary's row of the paper's Table 8: counts of keys and the vectors' size in bytes."""
        token_rows = int(self.token_offsets[-1])
        multi = int((self.word_rows[:, 0] >= token_rows).sum())
        return {
            "vocabulary": len(self.token_offsets) - 1,
            "token keys": int((self.token_offsets.diff() > 0).sum()),
            "word keys": len(self.words),
            "word keys of several tokens": multi,
            "heads with relations": len(self.head_ids),
            "senses": len(self.vectors),
            "bytes": self.vectors.numel() * self.vectors.element_size(),
        }

    def save(self, path: Path) -> None:
        """Write the folder `path` with `senses.safetensors`, whose header holds `header` as JSON."""
        with atomic_folder(path, replace=True) as folder:
            self.write(folder)

    def write(self, folder: Path) -> None:
        """Write the dictionary's file into an existing folder."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        lines = bytearray("".join(word + "\n" for word in self.words), "utf-8")
        tensors["words"] = torch.from_numpy(np.frombuffer(lines, dtype=np.uint8))
        with atomic_path(folder / FILE) as temporary:
            # One entry only: safetensors writes several in an order that changes from call to call.
            save_file(tensors, temporary, metadata={"header": json.dumps({"format": FORMAT} | self.header)})

    @classmethod
    def load(cls, path: Path, teacher: Teacher | None = None) -> "SenseDictionary":
        """Open a dictionary by memory map; vectors are read from disk where they are used.

        Args:
            path: the folder that `save` wrote.
            teacher: if given, must be the teacher whose states were clustered.

        Raises:
            FileNotFoundError: no dictionary there.
            ValueError: the file is damaged or cut off, or its tokenizer or width is not the teacher's.
        """
        file = Path(path) / FILE
        if not file.is_file():
            raise FileNotFoundError(f"there is no sense dictionary at {path}: build it with notebook 02-senses")
        try:
            with safe_open(file, "pt") as store:
                header = json.loads((store.metadata() or {}).get("header", "{}"))
                if (found := header.pop("format", None)) != FORMAT:
                    raise ValueError(f"its format is {found}, this version reads {FORMAT}")
                # `get_tensor` maps the file and copies nothing, whatever the size.
                tensors = {name: store.get_tensor(name) for name in _TENSORS}
                words = bytes(store.get_tensor("words").numpy()).decode("utf-8").split("\n")[:-1]
            found = cls(**tensors, words=words, header=header)
            found._check()
        except (SafetensorError, ValueError, KeyError) as error:
            raise ValueError(
                f"the sense dictionary at {path} is damaged, cut off or of another version ({error}): "
                "delete the folder and build it again with notebook 02-senses"
            ) from error
        if teacher is not None:
            _check_teacher(header, teacher, path)
        return found

    def _check(self) -> None:
        """Raise a ValueError unless offsets and ranges fit together; looks at no vector."""
        rows, words, heads = len(self.vectors), len(self.words), len(self.head_ids)
        fits = (
            _is_csr(self.token_offsets, len(self.token_offsets) - 1, rows)
            and _is_csr(self.synonym_offsets, heads, len(self.synonym_words))
            and _is_csr(self.antonym_offsets, heads, len(self.antonym_words))
            and self.word_rows.shape == (words, 2)
            and _is_below(self.word_rows, rows + 1)
            and _is_below(torch.cat([self.synonym_words, self.antonym_words]), words)
        )
        if not fits:
            raise ValueError("its offsets do not fit its vectors and words")


_TENSORS = (
    "vectors", "token_offsets", "word_rows", "head_ids", "synonym_words", "synonym_offsets", "antonym_words",
    "antonym_offsets",
)  # fmt: skip


def _check_teacher(header: dict, teacher: Teacher, path: Path) -> None:
    for name in ("tokenizer_hash", "hidden_size"):
        if header.get(name) != getattr(teacher, name):
            raise ValueError(
                f"the sense dictionary at {path} was built for {header.get('teacher')} ({name} = {header.get(name)}), "
                f"not for {teacher.name} ({getattr(teacher, name)}): build one for this teacher with notebook 02-senses"
            )


def _is_csr(offsets: Tensor, groups: int, most: int) -> bool:
    """Whether these are the offsets of so many groups of at most so many values."""
    ends = len(offsets) == groups + 1 >= 1 and int(offsets[0]) == 0 and int(offsets[-1]) <= most
    return ends and bool((offsets.diff() >= 0).all())


def _is_below(numbers: Tensor, end: int) -> bool:
    return not numbers.numel() or 0 <= int(numbers.min()) <= int(numbers.max()) < end


def _spread(starts: Tensor, stops: Tensor) -> Tensor:
    """All integers of the ranges `starts[i]` up to `stops[i]`, range after range."""
    lengths = stops - starts
    shift = starts - (lengths.cumsum(0) - lengths)
    return torch.arange(int(lengths.sum())) + shift.repeat_interleave(lengths)


def _row_sets(entries: Tensor, ranges: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Row ranges `(n, 2)` of `entries` `(n,)` as one CSR set for each of the `count` entries."""
    filled = ranges[:, 1] > ranges[:, 0]
    entries, ranges = entries[filled], ranges[filled]
    most = int(ranges.max()) if len(ranges) else 0
    order = torch.argsort(entries * (most + 1) + ranges[:, 0])
    entries, ranges = entries[order], ranges[order]
    # Ranges are the same or disjoint, so a row comes twice only where its whole range does.
    new = torch.ones(len(entries), dtype=torch.bool)
    new[1:] = (entries[1:] != entries[:-1]) | (ranges[1:, 0] != ranges[:-1, 0])
    entries, ranges = entries[new], ranges[new]
    sizes = torch.zeros(count, dtype=torch.int64).index_add_(0, entries, ranges[:, 1] - ranges[:, 0])
    return _spread(*ranges.T), torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def build_dictionary(
    centroids: Tensor,
    token_offsets: Tensor,
    relations: Relations,
    tokenizer,
    *,
    max_span: int = 3,
    neighbours: int | None = None,
    neighbour_tokens: str = "any",
    seed: int = 0,
    header: dict | None = None,
) -> SenseDictionary:
    """Token senses, composed word senses and the neighbours of every head (sections 3.2 and 3.3).

    Args:
        centroids: `(r, d)` token senses, token after token, on the CPU. Where they are bf16 and there is just the room
            behind them that the composed senses need (`rows_needed`), as in a memory map, nothing is copied.
        token_offsets: `(v + 1,)` int64; tokens may differ in their number of senses.
        relations: synonyms and antonyms, held-out words removed already.
        tokenizer: the teacher's.
        max_span: most tokens a word may have, the paper's m.
        neighbours: most synonyms and most antonyms a head keeps (drawn with `seed`); None keeps all (NOTES 9).
        neighbour_tokens: `"any"`, or `"several"` for neighbours of several tokens only (NOTES 8).
        header: what the file's header records beside these parameters and the counts.

    Raises:
        ValueError: `max_span` is below 1, or an unknown kind of neighbours.
    """
    if max_span < 1:
        raise ValueError(f"max_span must be at least 1: got {max_span}")
    if neighbour_tokens not in ("any", "several"):
        raise ValueError(f"neighbour_tokens must be 'any' or 'several': got {neighbour_tokens!r}")
    spans = known_spans(relations.words, tokenizer, token_offsets, max_span)
    rows, total = word_rows(token_offsets, spans)
    vectors = centroids
    if len(centroids) != total or centroids.dtype != torch.bfloat16:
        vectors = torch.empty(total, centroids.shape[1], dtype=torch.bfloat16)
        vectors[: len(centroids)] = centroids
    compose_words(vectors, token_offsets, spans, rows)
    lists = neighbour_lists(relations, spans, neighbours=neighbours, seed=seed, neighbour_tokens=neighbour_tokens)
    built = SenseDictionary(vectors, token_offsets, list(spans), rows, *lists)
    parameters = {"max_span": max_span, "neighbours": neighbours, "seed": seed, "neighbour_tokens": neighbour_tokens}
    return replace(built, header=parameters | dict(header or {}) | {"counts": built.table8()})


def rows_needed(relations: Relations, tokenizer, token_offsets: Tensor, max_span: int = 3) -> int:
    """How many senses a dictionary will have, its words' included, before any of them is known."""
    return word_rows(token_offsets, known_spans(relations.words, tokenizer, token_offsets, max_span))[1]


def main(arguments: list[str]) -> int:
    """Print the header and the Table 8 row of the dictionary in a folder; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m dskd_utils.senses.dictionary FOLDER", file=sys.stderr)
        return 2
    try:
        dictionary = SenseDictionary.load(Path(arguments[0]))
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({**dictionary.header, "counts": dictionary.table8()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
