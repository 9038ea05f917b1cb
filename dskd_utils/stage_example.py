"""One sentence and one token of it from the teacher's state to the loss (paper, sections 4.1 and 4.2, Figure 2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dskd_utils.distill.losses import kd_loss, nearest_candidates, semantic_parts
from dskd_utils.senses.dictionary import SenseDictionary
from dskd_utils.sources.packing import first_token

TEACHER = "teacher"


@dataclass(frozen=True)
class Reading:
    """A sentence as several models read it.

    Attributes:
        ids: `(T,)` int64 tokens.
        words: the text of each.
        hidden: of each model its states after the final norm, `(T, d)` fp32.
        logits: of each model, `(T, v)` fp32.
    """

    ids: Tensor
    words: list[str]
    hidden: dict[str, Tensor]
    logits: dict[str, Tensor]


@torch.no_grad()
def read(models: Mapping[str, Any], tokenizer: Any, sentence: str) -> Reading:
    """Let every model read the sentence once.

    Args:
        models: name -> Hugging Face causal language model, the teacher under the name `"teacher"`.
        tokenizer: theirs.
        sentence: the text, of two tokens at least.

    Raises:
        ValueError: the sentence is too short, or there is no teacher.
    """
    ids = first_token(tokenizer) + tokenizer(sentence, add_special_tokens=False)["input_ids"]
    if len(ids) < 2:
        raise ValueError(f"the sentence {sentence!r} has {len(ids)} tokens: give one of two or more")
    if TEACHER not in models:
        raise ValueError(f"the models are {', '.join(models)}: one of them must be called {TEACHER!r}")
    batch = torch.tensor([ids])
    hidden, logits = {}, {}
    for name, model in models.items():
        out = model(input_ids=batch.to(model.device), output_hidden_states=True, use_cache=False)
        hidden[name], logits[name] = (part[0].float().cpu() for part in (out.hidden_states[-1], out.logits))
    return Reading(batch[0], [tokenizer.decode([i]) for i in ids], hidden, logits)


def expectations(reading: Reading, tokenizer: Any) -> pd.DataFrame:
    """What each model expected at every position beside what came (section 4.1's example).

    Returns:
        a row a position: what was `read`, what `came`, its probability by the teacher, and each model's most probable
        token.
    """
    came = reading.ids[1:]
    table = pd.DataFrame({"read": reading.words[:-1], "came": reading.words[1:]})
    probability = reading.logits[TEACHER][:-1].softmax(-1)
    table["probability"] = probability.gather(1, came[:, None])[:, 0].tolist()
    for name, logits in reading.logits.items():
        table[name] = [tokenizer.decode([i]) for i in logits[:-1].argmax(-1).tolist()]
    return table


def place_of(reading: Reading, dictionary: SenseDictionary, word: str = "") -> int:
    """The position before a token that can be followed: the given word, else the one with the most antonym senses.

    Args:
        reading: of the sentence.
        dictionary: the senses.
        word: a word of the sentence; where it has no candidates on both sides, another one is taken.

    Raises:
        ValueError: no token of the sentence has senses.
    """
    sets = dictionary.candidates(reading.ids[1:])
    near, far = sets.positive_offsets.diff(), sets.negative_offsets.diff()
    if not int(near.max()):
        raise ValueError("no token of the sentence has senses in this dictionary: give a sentence of commoner words")
    named = [place for place, text in enumerate(reading.words[1:]) if text.strip() == word.strip() and far[place]]
    if named:
        return named[0]
    return int((far * (near > 0) * 10_000 + near).argmax())


def candidates(reading: Reading, dictionary: SenseDictionary, place: int, kappa: int) -> pd.DataFrame:
    """All candidates of a position with their mean squared error to every model's state (section 4.2).

    Args:
        reading: of the sentence.
        dictionary: the senses.
        place: the position t; the token looked up is the next one.
        kappa: nearest candidates that are chosen on either side.

    Returns:
        a row a sense: `side` (`positive` or `negative`), `of` (`own`, `synonym` or `antonym`), `word`, `sense` (its
        number), `row` of the dictionary's vectors, the error to each model, `chosen`; nearest to the teacher first.
    """
    token = reading.ids[place + 1]
    sets = dictionary.candidates(token[None])
    own = dictionary.token_offsets[token : token + 2].tolist()
    owners = {row: ("own", reading.words[place + 1].strip(), row - own[0] + 1) for row in range(*own)}
    for kind, words, offsets in (
        ("synonym", dictionary.synonym_words, dictionary.synonym_offsets),
        ("antonym", dictionary.antonym_words, dictionary.antonym_offsets),
    ):
        for number in _neighbours(dictionary, int(token), words, offsets):
            start, stop = dictionary.word_rows[number].tolist()
            for row in range(start, stop):
                owners.setdefault(row, (kind, dictionary.words[number], row - start + 1))
    parts = []
    for side, rows in (("positive", sets.positive_rows), ("negative", sets.negative_rows)):
        vectors = dictionary.vectors[rows].float()
        table = pd.DataFrame([owners[row] for row in rows.tolist()], columns=["of", "word", "sense"])
        table.insert(0, "side", side)
        table["row"] = rows.tolist()
        for name, hidden in reading.hidden.items():
            table[name] = (vectors - hidden[place]).square().mean(-1).tolist()
        table = table.sort_values(TEACHER, kind="stable", ignore_index=True)
        table["chosen"] = table.index < kappa
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _neighbours(dictionary: SenseDictionary, token: int, words: Tensor, offsets: Tensor) -> list[int]:
    head = int(torch.searchsorted(dictionary.head_ids, token))
    if head == len(dictionary.head_ids) or int(dictionary.head_ids[head]) != token:
        return []
    return words[offsets[head] : offsets[head + 1]].tolist()


def losses(
    reading: Reading,
    dictionary: SenseDictionary,
    place: int,
    *,
    kappa: int = 5,
    alpha: float = 1.0,
    temperature: float = 2.0,
    beta_p: float = 1.0,
    beta_n: float = 1.0,
    margin: float = 1.0,
) -> pd.DataFrame:
    """Every part of both objectives at one position, for each student: L_DSKD and what it is made of.

    Args:
        reading: of the sentence.
        dictionary: the senses.
        place: the position t.
        kappa, alpha, temperature, beta_p, beta_n, margin: of the objective.

    Returns:
        indexed by student: `ce`, `kl`, `attraction`, `repulsion`, `kd_loss`, `sense_loss`, `dskd_loss`.
    """
    sets = dictionary.candidates(reading.ids[place + 1][None])
    m = reading.hidden[TEACHER][place][None]
    chosen = []
    for rows in (sets.positive_rows, sets.negative_rows):
        senses = dictionary.vectors[rows].float()[None]
        chosen += nearest_candidates(m, senses, torch.ones(1, len(rows), dtype=torch.bool), kappa)
    target = reading.ids[place + 1][None]
    found = {}
    for name in [name for name in reading.hidden if name != TEACHER]:
        logits = (reading.logits[each][place][None] for each in (name, TEACHER))
        kd = kd_loss(*logits, target, alpha, temperature)
        parts = semantic_parts(reading.hidden[name][place][None], *chosen, beta_p, beta_n, margin)
        found[name] = {"ce": kd.ce, "kl": kd.kl, "attraction": parts.attraction, "repulsion": parts.repulsion,
                       "kd_loss": kd.total, "sense_loss": parts.total, "dskd_loss": kd.total + parts.total}  # fmt: skip
    return pd.DataFrame(found).T.map(float)
