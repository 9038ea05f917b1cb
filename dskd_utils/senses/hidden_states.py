"""One teacher pass over packed text, kept on disk (paper, section 3.1).

The store holds, for every position, the state that the student's trainable layers read (the output of the
frozen trunk) and the state that the head reads (after the final norm, NOTES 2), both in bf16. A pass that is
interrupted goes on where it was, and several processes may share it; the bytes are the same.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dskd_utils.artefacts import MANIFEST, atomic_path, check_manifest
from dskd_utils.senses.teacher_pass import Batches, Journal, RowFile, finish_pass, open_pass, processes, run_batches
from dskd_utils.sources.corpora import Packed
from dskd_utils.sources.teachers import Teacher


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

    @property
    def split_layers(self) -> tuple[int, ...]:
        """Numbers of frozen layers whose output is held."""
        return tuple(self.trunk)

    def blocks(self, numbers: Tensor, layers: Iterable[int] = ()) -> tuple[dict[int, Tensor], Tensor]:
        """Of the blocks `(b,)` the output of each number of frozen layers and the final state, `(b, T, d)` bf16."""
        return {layer: self.trunk[layer][numbers] for layer in layers}, self.final[numbers]

    def rows(self, positions: Tensor) -> Tensor:
        """The final states `(q, d)` bf16 at flat positions `(q,)`."""
        return self.final.flatten(0, 1)[positions]

    def windows(self) -> Iterator[tuple[int, Tensor]]:
        """The final states in stretches read together: first flat position and `(n, d)` bf16; here all at once."""
        yield 0, self.final.flatten(0, 1)


def collect_states(
    teacher: Teacher,
    packed: Packed,
    folder: Path,
    *,
    split_layers: Sequence[int],
    batch_size: int = 4,
    checkpoint_seconds: float = 10.0,
    parameters: dict | None = None,
) -> TeacherStates:
    """Run the teacher once over a packed text and keep its states in `folder` (section 3.1).

    A finished folder is only opened; an interrupted one is continued. Under `torchrun` every process calls it with
    a teacher of its own and does its share of the batches.

    Args:
        teacher: the model and its tokenizer.
        packed: `ids`, `positions` and `targets` of shape `(B, T)`.
        folder: where the store lives.
        split_layers: numbers of frozen layers whose output is kept.
        batch_size: blocks a forward pass.
        checkpoint_seconds: most work that a kill costs.
        parameters: what the manifest records beside the teacher, the text and the layers.

    Raises:
        ValueError: the text is empty, a state is not finite, or a finished store belongs to another teacher or text.
        OSError: the disk is full.
    """
    if not len(packed.ids):
        raise ValueError("the corpus is empty, not one block to read: give a text of at least two tokens")
    parameters = dict(parameters or {}) | teacher_parameters(teacher)
    parameters |= {"text": packed.digest, "split_layers": sorted(split_layers)}
    if (folder / MANIFEST).is_file():
        return load_states(folder, **parameters)
    started = time.monotonic()
    partial = open_pass(folder, parameters | {"batch_size": batch_size})
    if not (partial / MANIFEST).is_file():
        _write_blocks(teacher, packed, partial, sorted(split_layers), batch_size, checkpoint_seconds)
        if processes()[0] == 0:
            text = {"ids": packed.ids, "positions": packed.positions, "targets": packed.targets}
            with atomic_path(partial / "text.pt") as temporary, open(temporary, "wb") as stream:
                torch.save(text, stream)  # to a stream: given a path, it puts the file's name among the bytes
    finish_pass(partial, folder, "states", parameters, started, tokens=packed.tokens, blocks=len(packed.ids))
    return load_states(folder)


def teacher_parameters(teacher: Teacher) -> dict:
    """What a manifest records of the teacher, for a loader to compare."""
    names = ("tokenizer_hash", "hidden_size", "fingerprint")
    return {"teacher": teacher.name} | {name: getattr(teacher, name) for name in names}


def _write_blocks(
    teacher: Teacher, packed: Packed, partial: Path, layers: list[int], batch_size: int, every: float
) -> None:
    """Write the states of the blocks that the files do not hold yet, batch by batch."""
    block_bytes = packed.ids.shape[1] * teacher.hidden_size * 2
    names = [f"trunk-{layer}.bf16" for layer in layers] + ["final.bf16"]
    batches = Batches((torch.arange(len(packed.ids)),), batch_size)
    journal = Journal(partial)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(RowFile(partial / name, len(packed.ids) * block_bytes)) for name in names]

        def work(number: int) -> None:
            _, blocks = batches[number]
            states = teacher_states(teacher, packed.ids[blocks], packed.positions[blocks], layers)
            for file, state in zip(files, states, strict=True):
                file.write(kept_states(state, packed.digest, blocks), int(blocks[0]) * block_bytes)

        def commit(numbers: list[int]) -> None:
            for file in files:
                file.sync()
            journal.add(numbers)

        run_batches(len(batches), journal.done, work, commit, every)


def kept_states(state: Tensor, text: str, blocks: Tensor) -> Tensor:
    """States `(b, T, d)` of the blocks of a text as they are kept: bf16, contiguous, in main memory.

    Raises:
        ValueError: a state is not finite.
    """
    state = state.to("cpu", torch.bfloat16).contiguous()
    if not bool((finite := torch.isfinite(state)).all()):
        block = int(blocks[int((~finite).flatten(1).any(1).nonzero()[0])])
        raise ValueError(
            f"the teacher's states are not finite in block {block} of text {text}: load the teacher in float32, "
            "and if it is, fetch its weights again"
        )
    return state


def teacher_states(teacher: Teacher, ids: Tensor, positions: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """States `(b, T, d)` after each number of layers in `layers`, then after the final norm."""
    model = teacher.model.model
    ids, positions = ids.to(teacher.model.device), positions.to(teacher.model.device)
    with layer_outputs(model, set(layers) - {0}) as kept:
        final = model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
    if 0 in layers:
        kept[0] = model.embed_tokens(ids)
    return [kept[layer] for layer in layers] + [final]


@contextlib.contextmanager
def layer_outputs(model: PreTrainedModel, counts: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """States `(b, T, d)` of the last pass within the block, after each number of layers in `counts`, at least 1."""
    kept: dict[int, Tensor] = {}

    def keep(count: int):
        def hook(_module, _inputs, output):
            kept[count] = output[0] if isinstance(output, tuple) else output

        return model.layers[count - 1].register_forward_hook(hook)

    with contextlib.ExitStack() as stack:
        for count in counts:
            stack.callback(keep(count).remove)
        yield kept


def load_states(folder: Path, **expected) -> TeacherStates:
    """Open a finished store by memory map, after comparing the manifest with what the call expects.

    Raises:
        FileNotFoundError: there is no finished store.
        ValueError: the store belongs to another teacher, tokenizer or text.
    """
    manifest = check_manifest(folder, **expected)
    text = torch.load(folder / "text.pt", weights_only=True, mmap=True)
    shape = (*text["ids"].shape, manifest["parameters"]["hidden_size"])
    count = shape[0] * shape[1] * shape[2]

    def read(name: str) -> Tensor:
        return torch.from_file(str(folder / name), shared=False, size=count, dtype=torch.bfloat16).view(shape)

    trunk = {layer: read(f"trunk-{layer}.bf16") for layer in manifest["parameters"]["split_layers"]}
    return TeacherStates(**text, trunk=trunk, final=read("final.bf16"))


def predicted_tokens(states: TeacherStates, head: Tensor, *, chunk_size: int = 512) -> Tensor:
    """The teacher's own most probable next token at every position, `(B, T)` int64 (NOTES 1)."""
    rows = states.final.flatten(0, 1)
    return torch.cat([predict(chunk, head) for chunk in rows.split(chunk_size)]).view_as(states.ids)


def predict(rows: Tensor, head: Tensor) -> Tensor:
    """The most probable token `(n,)` int64, on the CPU, after stored states `(n, d)`, given the head `(v, d)`."""
    return (rows.to(head) @ head.T).argmax(-1).cpu()
