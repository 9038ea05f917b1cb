"""The teacher's states computed where they are needed, for a text whose store would not fit (paper, section 3.1).

`LiveStates` answers as the store does (`hidden_states.TeacherStates`), with the same numbers to the rounding of a batch
of another shape. Every epoch, and every search, costs a pass of the teacher.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dskd_utils.senses.hidden_states import TeacherStates, teacher_states
from dskd_utils.sources.corpora import Packed
from dskd_utils.sources.teachers import Teacher


@dataclass(frozen=True)
class LiveStates:
    """A teacher and a packed text of `B` blocks of `T` positions.

    Attributes:
        teacher: whose states these are.
        packed: the text.
        batch_size: blocks a forward pass.
        window: blocks whose final states are held together in `windows`.
    """

    teacher: Teacher
    packed: Packed
    batch_size: int = 4
    window: int = 64

    @property
    def ids(self) -> Tensor:
        """`(B, T)` int64 tokens."""
        return self.packed.ids

    @property
    def positions(self) -> Tensor:
        """`(B, T)` int64, restarting at every document."""
        return self.packed.positions

    @property
    def targets(self) -> Tensor:
        """`(B, T)` int64, the next token or -100."""
        return self.packed.targets

    @property
    def split_layers(self) -> tuple[int, ...]:
        """Numbers of frozen layers whose output can be had: all."""
        return tuple(range(self.teacher.num_layers + 1))

    def blocks(self, numbers: Tensor, layers: Iterable[int] = ()) -> tuple[dict[int, Tensor], Tensor]:
        """Of the blocks `(b,)` the output of each number of frozen layers and the final state, `(b, T, d)` bf16."""
        layers = list(layers)
        passes = [
            teacher_states(self.teacher, self.ids[part], self.positions[part], layers)
            for part in numbers.split(self.batch_size)
        ]
        # As the store keeps them, so that a student is the same from either.
        *trunk, final = [torch.cat(parts).to(torch.bfloat16) for parts in zip(*passes, strict=True)]
        return dict(zip(layers, trunk, strict=True)), final

    def rows(self, positions: Tensor) -> Tensor:
        """The final states `(q, d)` bf16, in main memory, at flat positions `(q,)`; each block is run once."""
        ordered, order = positions.sort()
        length = self.ids.shape[1]
        found = torch.empty(len(positions), self.teacher.hidden_size, dtype=torch.bfloat16)
        numbered = (ordered // length).unique()
        for numbers in numbered.split(self.batch_size) if len(numbered) else ():
            final = self.blocks(numbers)[1].cpu()
            first, last = torch.searchsorted(ordered, torch.stack([numbers[0], numbers[-1] + 1]) * length).tolist()
            here = ordered[first:last]
            found[order[first:last]] = final[torch.searchsorted(numbers, here // length), here % length]
        return found

    def windows(self) -> Iterator[tuple[int, Tensor]]:
        """The final states in stretches read together: first flat position and `(n, d)` bf16, in main memory."""
        for numbers in torch.arange(len(self.ids)).split(self.window):
            yield int(numbers[0]) * self.ids.shape[1], self.blocks(numbers)[1].cpu().flatten(0, 1)

    def held(self, layers: Iterable[int] = (), blocks: int | None = None) -> TeacherStates:
        """The states of the first `blocks` blocks, of all by default, computed once and held in main memory."""
        numbers, layers = torch.arange(len(self.ids))[:blocks], list(layers)
        text = [part[: len(numbers)] for part in (self.ids, self.positions, self.targets)]
        parts = []
        for part in tqdm(numbers.split(self.batch_size), desc="teacher pass", unit="batch"):
            trunk, final = self.blocks(part, layers)
            parts.append([state.cpu() for state in (*trunk.values(), final)])
        *trunk, final = [torch.cat(states) for states in zip(*parts, strict=True)]
        return TeacherStates(*text, dict(zip(layers, trunk, strict=True)), final)


States = TeacherStates | LiveStates  # what training and searching read
