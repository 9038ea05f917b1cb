"""One teacher pass over packed text, kept on disk (paper, section 3.1).

The store holds, for every position, the state that the student's trainable layers read (the output of the
frozen trunk) and the state that the head reads (after the final norm, NOTES 2), both in bf16. Blocks are
appended in order, so an interrupted pass goes on after its last whole block with the same bytes.
"""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.artefacts import check_manifest, read_json, replace_folder, write_json, write_manifest
from dskd_utils.sources.corpora import Packed
from dskd_utils.sources.teachers import Teacher

logger = logging.getLogger(__name__)
KEYS = ("next", "predicted", "input")


@dataclass(frozen=True)
class TeacherStates:
    """The teacher's states over a packed text of `B` blocks of `T` positions.

    Attributes:
        ids: `(B, T)` int64 tokens.
        positions: `(B, T)` int64, restarting at every document.
        targets: `(B, T)` int64, the next token or -100.
        trunk: for each number of frozen layers, `(B, T, d)` bf16, the output of the last frozen layer.
        final: `(B, T, d)` bf16, the state after the final norm.
    """

    ids: Tensor
    positions: Tensor
    targets: Tensor
    trunk: dict[int, Tensor]
    final: Tensor


def collect_states(
    teacher: Teacher,
    packed: Packed,
    folder: Path,
    *,
    split_layers: Sequence[int],
    batch_size: int = 4,
    parameters: dict | None = None,
) -> TeacherStates:
    """Run the teacher once over a packed text and keep its states in `folder` (section 3.1).

    A finished folder is only opened; an interrupted one is continued.

    Args:
        teacher: the model and its tokenizer.
        packed: `ids`, `positions` and `targets` of shape `(B, T)`.
        folder: where the store lives.
        split_layers: numbers of frozen layers whose output is kept.
        batch_size: blocks a forward pass.
        parameters: what the manifest records beside the teacher, the text and the layers.

    Raises:
        ValueError: a state is not finite, or a finished store belongs to another teacher or text.
        OSError: the disk is full.
    """
    parameters = dict(parameters or {}) | {
        "teacher": teacher.name,
        "tokenizer_hash": teacher.tokenizer_hash,
        "hidden_size": teacher.hidden_size,
        "text": packed.digest,
        "split_layers": sorted(split_layers),
    }
    if (folder / "manifest.json").is_file():
        return load_states(folder, **parameters)
    started = time.monotonic()
    partial = _partial_folder(folder, parameters)
    _write_blocks(teacher, packed, partial, sorted(split_layers), batch_size)
    torch.save({"ids": packed.ids, "positions": packed.positions, "targets": packed.targets}, partial / "text.pt")
    write_manifest(partial, "states", parameters, started, tokens=packed.tokens, blocks=len(packed.ids))
    replace_folder(partial, folder)
    return load_states(folder)


def _partial_folder(folder: Path, parameters: dict) -> Path:
    """The folder of an unfinished pass with the same parameters, or a fresh one."""
    partial = folder.parent / f".{folder.name}.partial"
    plan = partial / "plan.json"
    same = plan.is_file() and read_json(plan) == json.loads(json.dumps(parameters))
    if partial.exists() and not same:
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(plan, parameters)
    return partial


def _write_blocks(teacher: Teacher, packed: Packed, partial: Path, layers: list[int], batch_size: int) -> None:
    """Append the blocks that the files do not hold yet, batch by batch."""
    names = [f"trunk-{layer}.bf16" for layer in layers] + ["final.bf16"]
    block_bytes = packed.ids.shape[1] * teacher.hidden_size * 2
    for name in names:
        (partial / name).touch()
    done = min((partial / name).stat().st_size for name in names) // block_bytes // batch_size * batch_size
    for name in names:
        os.truncate(partial / name, done * block_bytes)
    if done:
        logger.info("resuming the teacher pass after %d of %d blocks", done, len(packed.ids))
    with torch.inference_mode(), tqdm(total=packed.ids.numel(), initial=done * packed.ids.shape[1], unit="tok",
                                      desc="teacher pass", unit_scale=True) as bar:  # fmt: skip
        for start in range(done, len(packed.ids), batch_size):
            ids, positions = packed.ids[start : start + batch_size], packed.positions[start : start + batch_size]
            states = teacher_states(teacher, ids, positions, layers)
            for name, state in zip(names, states, strict=True):
                if not bool(torch.isfinite(state).all()):
                    raise ValueError(f"the teacher's states are not finite in block {start}: try dtype float32")
                _append(partial / name, state)
            bar.update(ids.numel())


def teacher_states(teacher: Teacher, ids: Tensor, positions: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """States `(b, T, d)` after each number of layers in `layers`, then after the final norm."""
    model = teacher.model.model
    kept: dict[int, Tensor] = {}
    hooks = [
        model.layers[layer - 1].register_forward_hook(
            lambda _module, _inputs, output, layer=layer: kept.__setitem__(
                layer, output[0] if isinstance(output, tuple) else output
            )
        )
        for layer in layers
        if layer > 0
    ]
    device = teacher.model.device
    try:
        final = model(input_ids=ids.to(device), position_ids=positions.to(device), use_cache=False).last_hidden_state
    finally:
        for hook in hooks:
            hook.remove()
    if 0 in layers:
        kept[0] = model.embed_tokens(ids.to(device))
    return [kept[layer] for layer in layers] + [final]


def _append(path: Path, state: Tensor) -> None:
    """Append a state's bf16 bytes; plain writes, since a memory map on a full disk would kill the process."""
    values = state.to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy()
    try:
        with open(path, "ab") as stream:
            stream.write(values.tobytes())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        message = f"the disk is full while writing {path}: free some space and run again, the pass goes on from there"
        raise OSError(errno.ENOSPC, message) from error


def load_states(folder: Path, **expected) -> TeacherStates:
    """Open a finished store by memory map, after comparing the manifest with what the call expects.

    Raises:
        FileNotFoundError: there is no finished store.
        ValueError: the store belongs to another teacher, tokenizer or text.
    """
    manifest = check_manifest(folder, **expected)
    text = torch.load(folder / "text.pt", weights_only=True)
    shape = (*text["ids"].shape, manifest["parameters"]["hidden_size"])
    count = shape[0] * shape[1] * shape[2]

    def read(name: str) -> Tensor:
        return torch.from_file(str(folder / name), shared=False, size=count, dtype=torch.bfloat16).view(shape)

    trunk = {layer: read(f"trunk-{layer}.bf16") for layer in manifest["parameters"]["split_layers"]}
    return TeacherStates(**text, trunk=trunk, final=read("final.bf16"))


def predicted_tokens(states: TeacherStates, head: Tensor, *, chunk_size: int = 512) -> Tensor:
    """The teacher's own most probable next token at every position, `(B, T)` int64 (NOTES 1)."""
    rows = states.final.flatten(0, 1)
    picks = [(chunk.to(head.dtype) @ head.T).argmax(-1) for chunk in rows.split(chunk_size)]
    return torch.cat(picks).view_as(states.ids)


def rows_by_token(
    states: TeacherStates,
    vocab_size: int,
    *,
    key: str = "next",
    cap: int = 2000,
    seed: int = 0,
    predicted: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Positions filed by token: at most `cap` occurrences a token, drawn uniformly (section 3.1; NOTES 1, 3).

    Args:
        states: the store.
        vocab_size: number of tokens `v`.
        key: `"next"` files a state under x_{t+1}, `"input"` under x_t, `"predicted"` under the teacher's argmax.
        cap: most occurrences a token.
        seed: of the draw.
        predicted: `(B, T)` int64, needed for `"predicted"`.

    Returns:
        flat positions `(n,)` int64, grouped by token, and group boundaries `(v + 1,)` int64.

    Raises:
        ValueError: an unknown key, or `"predicted"` without its tokens.
    """
    if key not in KEYS:
        raise ValueError(f"key {key!r} is not one of {', '.join(KEYS)}")
    if key == "predicted" and predicted is None:
        raise ValueError("key 'predicted' needs the teacher's predictions: pass predicted=predicted_tokens(...)")
    keys = {"next": states.targets, "input": states.ids, "predicted": predicted}[key].flatten()
    valid = (states.targets.flatten() != -100).nonzero().flatten()
    shuffled = valid[torch.randperm(len(valid), generator=torch.Generator().manual_seed(seed))]
    order = shuffled[torch.argsort(keys[shuffled], stable=True)]
    tokens = keys[order]
    counts = torch.bincount(tokens, minlength=vocab_size)
    starts = counts.cumsum(0) - counts
    kept = order[torch.arange(len(order)) - starts[tokens] < cap]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.clamp(max=cap).cumsum(0)])
    return kept, offsets
