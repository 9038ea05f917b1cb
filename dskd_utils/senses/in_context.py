"""A word's state in a given context, and which of its senses that state is nearest to (paper, sections 3.1, 3.3).

The state has to be of the kind that the dictionary's key files under the word. Key `next`: the state before the
word, which expects it and has not read it. Key `input`: the state at the word, which has. Key `predicted` files
the states before tokens too, those whose argmax is the token; training looks its senses up with the state before
the token that truly follows (section 4.2), whatever the argmax there, and so does this module: the state is that of
`next`, and `expected` says where the argmax is the word. For a word of several tokens the state is the mean over
its tokens, as section 3.3 averages the aligned senses.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.artefacts import MANIFEST, atomic_folder, check_manifest, digest, write_manifest
from dskd_utils.senses.build import known_spans
from dskd_utils.senses.composition import compose_span
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.senses.hidden_states import predict, teacher_parameters, teacher_states
from dskd_utils.sources.teachers import Teacher

LEFT_TOKENS = 128  # a causal model reads the left context only
BATCH_TOKENS = 2048
FILE = "states.safetensors"


@dataclass(frozen=True)
class ContextStates:
    """States of `n` words in their contexts.

    Attributes:
        before: `(n, d)` bf16, the mean of the states that expect the word's tokens.
        after: `(n, d)` bf16, the mean of the states that have just read them.
        expected: `(n,)` bool, whether the teacher's argmax before the word is its first token.
    """

    before: Tensor
    after: Tensor
    expected: Tensor

    def of(self, key: str) -> Tensor:
        """The states `(n, d)` bf16 that belong to a dictionary with this key.

        Raises:
            ValueError: an unknown key.
        """
        if key not in ("next", "predicted", "input"):
            raise ValueError(f"key {key!r} is not one of next, predicted, input")
        return self.after if key == "input" else self.before


def context_states(
    teacher: Teacher,
    contexts: pd.DataFrame,
    folder: Path | None = None,
    *,
    left: int = LEFT_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> ContextStates:
    """The teacher's states of words in their contexts, for all keys in one pass, kept in `folder` if given.

    Every text starts with the BOS token where the tokenizer adds one and with the end-of-text token where not, so
    that a first word too has a state before it. Words of one text share its pass, which stops at the last of them.

    Args:
        teacher: the model.
        contexts: columns `text`, `start` and `end`, the characters of the word.
        folder: a folder that holds these states is opened.
        left: most tokens read before the word.
        batch_tokens: of a forward pass, padding counted.

    Raises:
        ValueError: a span holds no token, a state is not finite, or the folder holds other contexts' states or those
            of another teacher.
    """
    parameters = teacher_parameters(teacher) | {"left": left, "contexts": contexts_digest(contexts)}
    if folder is not None and (folder / MANIFEST).is_file():
        check_manifest(folder, **parameters)
        return ContextStates(**load_file(folder / FILE))
    started = time.monotonic()
    states, read = _compute(teacher, contexts, left, batch_tokens)
    if folder is not None:
        with atomic_folder(folder) as temporary:
            save_file(vars(states), temporary / FILE)
            write_manifest(temporary, "context states", parameters, started, contexts=len(contexts), tokens=read)
    return states


def contexts_digest(contexts: pd.DataFrame) -> str:
    """A digest of texts and spans, in their order."""
    columns = [contexts[name].tolist() for name in ("text", "start", "end")]
    return digest(columns, 16)


def _compute(teacher: Teacher, contexts: pd.DataFrame, left: int, batch_tokens: int) -> tuple[ContextStates, int]:
    """The states, and how many tokens the model read for them."""
    rows, places = token_rows(teacher.tokenizer, contexts, left)
    members: list[list[int]] = [[] for _ in rows]
    for number, (row, _, _) in enumerate(places):
        members[row].append(number)
    shape = len(places), teacher.hidden_size
    before, after = torch.empty(shape, dtype=torch.bfloat16), torch.empty(shape, dtype=torch.bfloat16)
    expected = torch.empty(len(places), dtype=torch.bool)
    head = teacher.model.get_output_embeddings().weight.detach()
    total = sum(map(len, rows))
    with torch.inference_mode(), tqdm(total=total, desc="words in context", unit="tok", unit_scale=True) as bar:
        for batch in row_batches(list(map(len, rows)), batch_tokens):
            length = max(len(rows[row]) for row in batch)
            # Padding stands behind the words, where a causal model does not look.
            ids = torch.tensor([rows[row] + [0] * (length - len(rows[row])) for row in batch])
            (states,) = teacher_states(teacher, ids, torch.arange(length).expand_as(ids), [])
            numbers = [(line, number) for line, row in enumerate(batch) for number in members[row]]
            firsts = torch.stack([states[line, places[number][1] - 1] for line, number in numbers])
            wanted = torch.stack([ids[line, places[number][1]] for line, number in numbers])
            found = torch.tensor([number for _, number in numbers])
            expected[found] = predict(firsts, head).cpu() == wanted
            for line, number in numbers:
                _, first, stop = places[number]
                before[number] = states[line, first - 1 : stop - 1].float().mean(0)
                after[number] = states[line, first:stop].float().mean(0)
            bar.update(sum(len(rows[row]) for row in batch))
    if not (torch.isfinite(before).all() and torch.isfinite(after).all()):
        raise ValueError("the teacher's state of a word in its context is not finite: load the teacher in float32")
    return ContextStates(before, after, expected), total


def token_rows(
    tokenizer, contexts: pd.DataFrame, left: int = LEFT_TOKENS
) -> tuple[list[list[int]], list[tuple[int, int, int]]]:
    """Token rows to read, and for each context its row and its word's first and last + 1 place there."""
    texts = list(dict.fromkeys(contexts.text))
    number = {text: i for i, text in enumerate(texts)}
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends = [np.array(offsets).reshape(-1, 2) for offsets in encoded["offset_mapping"]]
    first_of_all = tokenizer("a")["input_ids"][:1]
    bos = tokenizer.bos_token_id
    opening = bos if bos is not None and first_of_all == [bos] else tokenizer.eos_token_id
    rows: dict[tuple[int, int], int] = {}
    stops: list[int] = []
    places = []
    for text, start, end in zip(contexts.text, contexts.start, contexts.end, strict=True):
        of = number[text]
        # The blank before a word belongs to it, as in `word_spans`; some words have it as a token of its own.
        blank = text[:start].endswith(" ")
        covered = np.flatnonzero((ends[of][:, 0] < end) & (ends[of][:, 1] > start - blank)) if start < end else ()
        if not len(covered):
            raise ValueError(f"characters {start} to {end} of {text[:60]!r} hold no token: give the span of a word")
        first, stop = int(covered[0]), int(covered[-1]) + 1
        begin = max(0, first - left)
        row = rows.setdefault((of, begin), len(rows))
        stops += [0] * (len(rows) - len(stops))
        stops[row] = max(stops[row], stop)
        places.append((row, first - begin + 1, stop - begin + 1))
    return [[opening, *encoded["input_ids"][of][begin : stops[row]]] for (of, begin), row in rows.items()], places


def row_batches(lengths: Sequence[int], batch_tokens: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Rows of about one length together, at most `batch_tokens` with padding where one row has not more by itself."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def senses_of_words(
    dictionary: SenseDictionary, tokenizer, words: Iterable[str], *, max_span: int = 3
) -> dict[str, Tensor]:
    """Senses `(k_w, d)` fp32 of any words, as they stand inside a sentence: composed where there are several tokens.

    Unlike `SenseDictionary.word_senses` this knows words that are in no relation, held-out ones among them. A word
    with a token that the corpus does not hold, or with more than `max_span` tokens, is left out.
    """
    spans = known_spans(set(words), tokenizer, dictionary.token_offsets, max_span)
    return {word: compose_span([dictionary.token_senses(token) for token in span]) for word, span in spans.items()}


def sense_distances(states: Tensor, senses: Tensor) -> Tensor:
    """L2 distances `(n, k)` fp32 of states `(n, d)` to senses `(k, d)` (section 3.3's measure)."""
    # Not by the product of the two: where states are much longer than their differences it loses the digits.
    return torch.cdist(states.float(), senses.float(), compute_mode="donot_use_mm_for_euclid_dist")


def borrowed_senses(senses: Tensor, dictionary: SenseDictionary, generator: torch.Generator) -> Tensor:
    """A control: as many centroids `(k, d)` fp32 around the same mean, spread as some other token's senses are.

    The other token is drawn among those with at least as many senses; of its senses' deviations from their mean, `k`
    are taken at random.
    """
    pool = (dictionary.token_offsets.diff() >= len(senses)).nonzero().flatten()
    token = int(pool[torch.randint(len(pool), (1,), generator=generator)])
    others = dictionary.token_senses(token).float()
    deviations = others - others.mean(0)
    return senses.mean(0) + deviations[torch.randperm(len(others), generator=generator)[: len(senses)]]
