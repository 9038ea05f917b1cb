"""Which states the dictionary is made of: at most `cap` occurrences a token (paper, section 3.1; NOTES 1, 3, 32).

Every position of the corpus has a random priority, a hash of the seed, its text and its place; a token keeps the
positions of lowest priority. The draw is uniform and exact, and it depends neither on how the corpus is cut nor
on which other texts stand beside a text. For the keys that the token ids determine it is made before the teacher
pass, so the pass can write every kept state once, straight to its place among its token's.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dskd_utils.artefacts import atomic_path, check_manifest, digest
from dskd_utils.sources.corpora import Packed

KEYS = ("next", "predicted", "input")
CHUNK = 1 << 20  # positions of a text looked at together
ROW = np.dtype([("token", "<i4"), ("text", "<i4"), ("position", "<i8"), ("priority", "<u8"), ("slot", "<i8")])


@dataclass(frozen=True)
class SamplePlan:
    """The places of the kept states, grouped by token, within a token in the order of texts and positions.

    Attributes:
        text: `(n,)` int32, number of the text.
        position: `(n,)` int64, flat position in it.
        offsets: `(v + 1,)` int64, the places of token `t` are `offsets[t]:offsets[t + 1]`.
        digests: of the texts, in their order.
        key, cap, seed: of the draw.
    """

    text: Tensor
    position: Tensor
    offsets: Tensor
    digests: tuple[str, ...]
    key: str
    cap: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """Kept states `(n, d)` bf16, memory-mapped, grouped by token as the plan says."""

    values: Tensor
    plan: SamplePlan

    @property
    def offsets(self) -> Tensor:
        """`(v + 1,)` int64; token `t` has the rows from `offsets[t]` up to `offsets[t + 1]`."""
        return self.plan.offsets


class Reservoir:
    """The `cap` rows of lowest priority a token among all that were offered.

    Losers are dropped now and then rather than at once: beside the kept rows a quarter as many, `slack` and one
    offer may be held. Every held row has a slot, its place in a file of states, which is as long as most rows were
    ever held; a slot is used again only after its row has lost for good.

    Args:
        vocab_size: number of tokens.
        cap: rows a token.
        rows: of an earlier reservoir of the same cap, with `slots` handed out so far.
        slots: see `rows`.
        slack: rows.

    Raises:
        ValueError: `cap` is below 1.
    """

    def __init__(self, vocab_size: int, cap: int, rows: np.ndarray | None = None, slots: int = 0, slack: int = 1 << 16):
        if cap < 1:
            raise ValueError(f"cap is {cap}, expected at least 1 state a token")
        self.cap, self.slots, self._slack = cap, slots, slack
        self._rows = np.empty(0, ROW) if rows is None else rows
        self._new: list[np.ndarray] = []
        self._free = np.setdiff1d(np.arange(slots), self._rows["slot"])
        self._limit = np.full(vocab_size, np.iinfo(np.uint64).max, np.uint64)  # what a full token lets in
        self._drop_losers()

    def offer(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take those of `rows` (of dtype `ROW`) that may be kept.

        Returns:
            which rows were taken, ascending int64, and the slot of each.

        Raises:
            ValueError: a token outside the vocabulary.
        """
        if len(rows) and not 0 <= rows["token"].min() <= rows["token"].max() < len(self._limit):
            raise ValueError(
                f"the text holds token {rows['token'].max()} and the vocabulary has {len(self._limit)}: "
                "pack the text with the teacher's own tokenizer"
            )
        taken = np.flatnonzero(rows["priority"] <= self._limit[rows["token"]])
        again, self._free = self._free[: len(taken)], self._free[len(taken) :]
        fresh = len(taken) - len(again)
        slots = np.concatenate([again, np.arange(self.slots, self.slots + fresh)])
        self.slots += fresh
        new = rows[taken]
        new["slot"] = slots
        self._new.append(new)
        if sum(map(len, self._new)) > self._slack + len(self._rows) // 4:
            self._drop_losers()
        return taken, slots

    def _drop_losers(self) -> None:
        rows = np.concatenate([self._rows, *self._new])
        # Equal priorities come up only where a text is given twice; then its place decides.
        rows = rows[np.lexsort([rows[name] for name in ("position", "text", "priority", "token")])]
        counts = np.bincount(rows["token"], minlength=len(self._limit))
        starts = counts.cumsum() - counts
        kept = np.arange(len(rows)) - starts[rows["token"]] < self.cap
        self._free = np.concatenate([self._free, rows["slot"][~kept]])
        full = np.flatnonzero(counts >= self.cap)
        self._limit[full] = rows["priority"][starts[full] + self.cap - 1]
        self._rows, self._new = rows[kept], []

    def kept(self) -> np.ndarray:
        """The rows kept so far, sorted by token, text and position."""
        self._drop_losers()
        return self._rows[np.lexsort([self._rows[name] for name in ("position", "text", "token")])]


def plan_sample(
    texts: Sequence[Packed],
    vocab_size: int,
    *,
    key: str = "next",
    cap: int = 2000,
    seed: int = 0,
    predicted: Sequence[Tensor] | None = None,
    chunk_size: int = CHUNK,
) -> SamplePlan:
    """Draw at most `cap` occurrences of every token, uniformly, before any teacher pass (section 3.1; NOTES 1, 3).

    Only positions with a next token count. Memory is a chunk's and some 110 bytes a kept place, however long the texts
    are, whose tensors may be memory-mapped.

    Args:
        texts: packed text; one that stands among others keeps the priorities that it has alone.
        vocab_size: number of tokens `v`.
        key: `"next"` files a state under x_{t+1}, `"input"` under x_t, `"predicted"` under the teacher's argmax.
        cap: most occurrences a token.
        seed: of the priorities.
        predicted: for each text `(B, T)` int64, where `"predicted"` is planned for states that are there already.
        chunk_size: positions looked at together.

    Raises:
        ValueError: an unknown key, no position to draw from, a token outside the vocabulary, a cap below 1.
    """
    if key not in KEYS:
        raise ValueError(f"key {key!r} is not one of {', '.join(KEYS)}")
    if key == "predicted" and predicted is None:
        raise ValueError("key 'predicted' is known in the pass only: call collect_predicted, or pass predicted=...")
    reservoir = Reservoir(vocab_size, cap)
    for number, text in enumerate(texts):
        keys = predicted[number] if key == "predicted" else {"next": text.targets, "input": text.ids}[key]
        for start in range(0, text.ids.numel(), chunk_size):
            stop = min(start + chunk_size, text.ids.numel())
            chunk = [tensor.view(-1)[start:stop].numpy() for tensor in (keys, text.targets)]
            reservoir.offer(keyed_rows(*chunk, np.arange(start, stop), number, text.digest, seed))
    return plan_of(reservoir.kept(), [text.digest for text in texts], vocab_size, key, cap, seed)


def keyed_rows(
    keys: np.ndarray, targets: np.ndarray, positions: np.ndarray, number: int, name: str, seed: int
) -> np.ndarray:
    """The rows of those `positions` `(p,)` of text `number` that have a next token, each with its priority."""
    valid = targets >= 0
    rows = np.zeros(int(valid.sum()), ROW)
    rows["token"], rows["position"], rows["text"] = keys[valid], positions[valid], number
    stream = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")
    rows["priority"] = _splitmix(np.uint64(stream) + rows["position"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return rows


def draw_parameters(digests: Sequence[str], key: str, cap: int, seed: int, vocab_size: int) -> dict:
    """What a manifest records of a draw, for a loader to compare; `corpus` is a digest of the texts in their order."""
    return {"corpus": digest(digests, 16), "key": key, "cap": cap, "seed": seed, "vocab_size": vocab_size}


def _splitmix(state: np.ndarray) -> np.ndarray:
    """Output function of SplitMix64 (Steele, Lea and Flood, 2014): random 64 bits for each state of its counter."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def plan_of(rows: np.ndarray, digests: Sequence[str], vocab_size: int, key: str, cap: int, seed: int) -> SamplePlan:
    """The plan that keeps `rows`, sorted by token, text and position.

    Raises:
        ValueError: there is no row.
    """
    if not len(rows):
        raise ValueError(
            f"the corpus is empty, no position of its {len(digests)} texts has a next token: "
            "give a text of at least two tokens"
        )
    offsets = np.concatenate([[0], np.bincount(rows["token"], minlength=vocab_size).cumsum()])
    places = [torch.from_numpy(np.ascontiguousarray(rows[name])) for name in ("text", "position")]
    return SamplePlan(*places, torch.from_numpy(offsets), tuple(digests), key, cap, seed)


def save_plan(plan: SamplePlan, folder: Path) -> None:
    """Write the places beside the rows."""
    with atomic_path(folder / "places.safetensors") as temporary:
        tensors = {"text": plan.text, "position": plan.position, "offsets": plan.offsets}
        save_file(tensors, temporary)


def load_sample(folder: Path, **expected) -> Sample:
    """Open a finished sample by memory map, after comparing its manifest with what the call expects.

    Args:
        folder: where `collect_sample` or `collect_predicted` left it.
        expected: parameters of the manifest, such as `**teacher_parameters(teacher)`.

    Raises:
        FileNotFoundError: there is no finished sample.
        ValueError: the sample belongs to another teacher, tokenizer, width, corpus or draw.
    """
    manifest = check_manifest(folder, **expected)
    parameters = manifest["parameters"]
    places = load_file(folder / "places.safetensors")
    shape = (len(places["position"]), parameters["hidden_size"])
    count = shape[0] * shape[1]
    values = torch.from_file(str(folder / "rows.bf16"), shared=False, size=count, dtype=torch.bfloat16).view(shape)
    draw = {name: parameters[name] for name in ("key", "cap", "seed")}
    return Sample(values, SamplePlan(**places, digests=tuple(manifest["facts"]["texts"]), **draw))


def self_hits(
    plan: SamplePlan,
    k: int | Tensor,
    *,
    positions: Tensor,
    nearest: Tensor,
    rows: Callable[[Tensor], Tensor],
    vectors: Tensor,
    text: int | None = 0,
    chunk_size: int = 1 << 14,
) -> dict[str, float]:
    """How often a dictionary holds the very states that it judges (NOTES 32).

    Args:
        plan: of the sample that the dictionary was clustered from.
        k: senses a token, one number or `(v,)`.
        positions: `(q,)` int64, flat positions of the training text that are judged.
        nearest: `(q,)` rows of `vectors`, the nearest positive sense of each.
        rows: from flat positions `(p,)` to the training text's final states `(p, d)`.
        vectors: `(r, d)` the dictionary's.
        text: number of the training text in the plan, None where it is not in it.
        chunk_size: positions looked at together.

    Returns:
        `raw-state keys`, the share of the tokens with senses whose senses are their states themselves
        (0 < n_t <= k); `own states`, the share of the positions whose state is in the sample; `self-hits`, the
        share of the positions whose state is in the sample and at distance zero, to bf16, from its nearest sense.
    """
    counts = plan.offsets.diff()
    seen = counts > 0
    places = plan.position[plan.text == text] if text is not None else plan.position[:0]
    own = torch.isin(positions, places)
    hits = 0
    for part in own.nonzero().flatten().split(chunk_size):
        state = rows(positions[part]).float()
        distance = (vectors[nearest[part].long()].float() - state).norm(dim=-1)
        hits += int((distance <= torch.finfo(torch.bfloat16).eps / 2 * state.norm(dim=-1)).sum())
    return {
        "raw-state keys": float((seen & (counts <= k)).sum() / seen.sum()),
        "own states": float(own.sum() / len(positions)) if len(positions) else 0.0,
        "self-hits": hits / len(positions) if len(positions) else 0.0,
    }
