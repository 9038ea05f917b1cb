"""What training costs: timings that alternate, counted operations, memory, estimates (paper, section 7, Tables 7, 11).

The plain loop that all is compared with is what one would write: a full forward pass of the teacher and of the student,
all logits, autograd; the same student, optimiser, batches and number format.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dskd_utils.artefacts import peak_memory
from dskd_utils.distill.candidates import CandidateIndex
from dskd_utils.distill.losses import compiled_step, fused_kd_loss
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.steps import take_step
from dskd_utils.distill.students import Student, make_student
from dskd_utils.distill.trainee import Cell, Schedule, Trainee
from dskd_utils.senses.hidden_states import teacher_states
from dskd_utils.senses.live_states import States
from dskd_utils.sources.teachers import Teacher

GIB = 2**30  # the paper's "GB": 8.03 thousand million parameters of two bytes are 15.0 of these
KD, DSKD = Objective(beta_p=0.0, beta_n=0.0), Objective()
GPU = {"name": "A100", "flops": 312e12, "reached": 0.4}  # peak in bf16 without sparsity; the share is an assumption

Step = Callable[[int], Any]


class PlainLoop:
    """Knowledge distillation as one would write it.

    Args:
        teacher: the teacher.
        layers, trainable_layers, init: of the student, as in `make_student`.
        lr: learning rate.
        compiled: whether the loss of the logits is compiled.
    """

    def __init__(
        self, teacher: Teacher, layers: int, trainable_layers: int = 2, init: str = "last", lr: float = 1e-3,
        compiled: bool = False,
    ):  # fmt: skip
        self.teacher = teacher.model
        student = make_student(teacher, layers, trainable_layers, init)
        self.model = student.as_model()
        top = self.model.model.layers[student.frozen_layers :]
        for parameter in top.parameters():
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(top.parameters(), lr=lr, weight_decay=1e-3)
        self.loss = torch.compile(_whole_loss) if compiled else _whole_loss

    def step(self, ids: Tensor, positions: Tensor, targets: Tensor) -> float:
        """One step on blocks `(b, T)`; the loss, in nats."""
        with torch.no_grad():
            teacher = self.teacher(input_ids=ids, position_ids=positions, use_cache=False).logits
        student = self.model(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = self.loss(student.flatten(0, 1), teacher.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def _whole_loss(student: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    """`kd_loss` with masks in place of a selection, whose size a compiler does not know."""
    valid = targets != -100
    n = valid.sum().clamp(min=1)
    ce = torch.nn.functional.cross_entropy(student.float(), targets, reduction="sum") / n
    log_ps, log_pt = ((logits.float() / 2).log_softmax(-1) for logits in (student, teacher))
    return ce + 4 * ((log_pt.exp() * (log_pt - log_ps)).sum(-1) * valid).sum() / n


def store_steps(
    states: States,
    folder: Path,
    objective: Objective,
    students: Sequence[Student],
    *,
    lr: float = 1e-3,
    batch_size: int = 2,
    epochs: int = 10_000,
    index: CandidateIndex | None = None,
) -> Step:
    """A function that takes the next step of students in one pass over a store and returns their rows.

    Arguments as in `Cell` and `Schedule`; checkpoints, if any, would go below `folder`.
    """
    run = Accelerator(cpu=students[0].teacher.model.device.type == "cpu")
    schedule = Schedule(lr=lr, batch_size=batch_size, epochs=epochs)
    cells = [Cell(one, folder / str(i), objective, schedule, index) for i, one in enumerate(students)]
    group = [Trainee(cell, states, run) for cell in cells]
    return lambda _: take_step(group, states, len(group[0].rows), run)


def plain_steps(loop: PlainLoop, states: States, batch_size: int = 2) -> Step:
    """A function that takes the step of a number of a plain loop over the same text."""
    batches = torch.arange(len(states.ids)).split(batch_size)

    def step(number: int) -> float:
        batch = batches[number % len(batches)]
        return loop.step(states.ids[batch], states.positions[batch], states.targets[batch])

    return step


def alternate(kinds: Mapping[str, Step], *, rounds: int, steps: int, warm_up: int = 2) -> pd.DataFrame:
    """Seconds that each kind takes for `steps` steps in a row, a row a round; the kinds take turns.

    So other work on the machine meets each. What does not count: `warm_up` steps of each, in which what is compiled is
    compiled, and the first step of every turn, which finds memory and caches as another kind left them.
    """
    for number in range(warm_up):
        for take in kinds.values():
            take(number)
    found = {kind: [] for kind in kinds}
    for turn in range(rounds):
        first = warm_up + turn * (steps + 1)
        for kind, take in kinds.items():
            take(first)
            began = time.perf_counter()
            for number in range(first + 1, first + 1 + steps):
                take(number)
            found[kind].append(time.perf_counter() - began)
    return pd.DataFrame(found).rename_axis("round")


def ratio(over: pd.Series, under: pd.Series) -> dict[str, float]:
    """How many times longer one kind took than another: `median`, `low` and `high` over the rounds."""
    found = over / under
    return {"median": float(found.median()), "low": float(found.min()), "high": float(found.max())}


def operations(step: Step, number: int = 0) -> int:
    """Floating-point operations of the matrix products and the attention of one step.

    What is compiled runs uncompiled meanwhile: met under the counter, it would never be compiled again in this process.
    """
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        step(number)
    return counter.get_total_flops()


def can_compile() -> bool:
    """Whether `torch.compile` works here; the losses then use it."""
    return compiled_step("cpu") is not None


def loss_memory(n: int = 4096, vocabulary: int = 49_152, width: int = 576) -> float:
    """GiB by which the fused loss with its gradient raises the peak of this process above its inputs.

    A peak that was there before hides it: call it in a process that has done nothing else.
    """
    hidden, teacher = torch.randn(n, width, requires_grad=True), torch.randn(n, width)
    head, targets = torch.randn(vocabulary, width), torch.randint(vocabulary, (n,))
    before = peak_memory()
    fused_kd_loss(hidden, teacher, targets, head).total.backward()
    return peak_memory() - before


def in_fresh_process(call: str) -> float:
    """What a call of this module gives in a process that has done nothing before, such as `"loss_memory()"`."""
    script = f"from dskd_utils import costs; print(costs.{call})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def pass_seconds(teacher: Teacher, states: States, frozen: int, batch_size: int, passes: int = 3) -> float:
    """Median seconds of the teacher's pass over one batch into a store."""
    found = []
    for batch in torch.arange(len(states.ids)).split(batch_size)[: passes + 1]:
        began = time.perf_counter()
        states_of = teacher_states(teacher, states.ids[batch], states.positions[batch], [frozen])
        [state.to("cpu", torch.bfloat16) for state in states_of]
        found.append(time.perf_counter() - began)
    return float(pd.Series(found[1:] or found).median())


def answering(evaluate: Callable[..., pd.DataFrame], model: Any, tokenizer: Any, task: str, **options: Any) -> Step:
    """A function that has one model answer questions of a benchmark as the paper asks them, for `alternate`."""
    return lambda _: evaluate({"model": model}, tokenizer, (task,), "paper", shots=5, **options)


def size(parameters: int, bits: int = 16) -> float:
    """Memory of so many parameters, GiB."""
    return parameters * bits / 8 / GIB


def student_parameters(cost: Mapping[str, int], layers: int, tied: bool = False) -> int:
    """Parameters of a student of so many layers of a teacher of `parameters`, `layers`, `hidden` and `vocab`."""
    outside = cost["vocab"] * cost["hidden"] * (1 if tied else 2)
    return outside + round((cost["parameters"] - outside) / cost["layers"] * layers)


def estimate(
    cost: Mapping[str, int], layers: int, trainable_layers: int, *, tokens: float, epochs: int
) -> dict[str, Any]:
    """What this code would need for a teacher that was not run here; operations counted by hand, without attention.

    Args:
        cost: the teacher's `parameters`, `layers`, `hidden` and `vocab`, the head a matrix of its own.
        layers, trainable_layers: of the student.
        tokens: of the training text.
        epochs: over it.

    Returns:
        GiB of teacher, student and trained layers with AdamW in fp32; the store in GB; operations and hours on `GPU` of
        the teacher pass, of the training on the store and of a plain loop.
    """
    head = 2 * cost["vocab"] * cost["hidden"]  # operations of one position
    layer = 2 * (cost["parameters"] - 2 * cost["vocab"] * cost["hidden"]) / cost["layers"]
    body, top = layer * cost["layers"], layer * trainable_layers
    counts = {
        "teacher pass": tokens * body,
        "training on the store": epochs * tokens * (3 * head + 3 * top),
        # Both forward passes and heads; backward through head and trained layers.
        "plain loop": epochs * tokens * (body + head + layer * layers + head + head + 2 * top),
    }
    hours = {name: count / (GPU["flops"] * GPU["reached"]) / 3600 for name, count in counts.items()}
    trained = layer / 2 * trainable_layers
    return {
        "teacher GiB": size(cost["parameters"]),
        "student GiB": size(student_parameters(cost, layers)),
        "trained layers GiB": size(trained, 4 * 32),  # weights, gradients and AdamW's two moments in fp32
        "store GB": tokens * 2 * cost["hidden"] * 2 / 1e9,
        **{f"{name}, hours": value for name, value in hours.items()},
        "times faster": counts["plain loop"] / (counts["teacher pass"] + counts["training on the store"]),
    }


def whole_rows(ids: Tensor, positions: Tensor, targets: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first rows of a packed text that are one piece each, as a trainer without packing reads them.

    Returns:
        ids, positions, targets of at most `rows` rows, `(r, T)` each.

    Raises:
        ValueError: the text has none.
    """
    whole = (positions[:, -1] == positions.shape[1] - 1).nonzero().flatten()[:rows]
    if not len(whole):
        raise ValueError("the text has no row of one piece: take a profile with more text, or shorter blocks")
    return ids[whole], positions[whole], targets[whole]


def comparisons(students: int, pass_seconds: float, loop: str = "plain, compiled") -> list[tuple]:
    """What the bench and the page on costs compare, with its aims, for `times_faster`.

    Args:
        students: how many train in one pass; its kind is called `"<students> KD"`.
        pass_seconds: of the teacher over the positions of a round; over two epochs each pays half of it.
        loop: the plain loop that has what ours has: `"plain, compiled"`, or `"plain"` where nothing can be compiled.
    """
    kinds = {"the plain loop": "plain", "the loop with its loss compiled": loop}
    many, half = f"{students} KD", pass_seconds / 2
    return [
        *((f"KD, against {name}", kind, "KD", 1, 0.0, 6.0, False) for name, kind in kinds.items()),
        *((f"the same with the teacher pass, over 2 epochs, against {name}", kind, "KD", 1, half, 4.5, False)
          for name, kind in kinds.items()),
        *((f"{students} students in one pass, against {students} times {name}", kind, many, students, 0.0, 6.0, False)
          for name, kind in kinds.items()),
        ("DSKD's time over KD's", "DSKD", "KD", 1, 0.0, 1.05, True),
    ]  # fmt: skip


def times_faster(seconds: pd.DataFrame, operations_of: Mapping[str, int], pairs: Sequence[tuple]) -> pd.DataFrame:
    """Ratios for reading: `(what, slow kind, fast kind, factor, seconds added to the fast one, bar, at most)` each.

    Args:
        seconds: of `alternate`.
        operations_of: counted operations of one step of each kind.
        pairs: what is compared, as `comparisons` has it; `factor` multiplies the slow kind (ten loops); the last two
            are the bar and whether the ratio is to be at most that.

    Returns:
        a row each: `what`, `median`, `low`, `high`, `by operations`, `bar`, `at most`.
    """
    rows = []
    for what, slow, fast, factor, added, bar, at_most in pairs:
        found = ratio(factor * seconds[slow], seconds[fast] + added)
        counted = factor * operations_of[slow] / operations_of[fast] if not added else float("nan")
        rows.append({"what": what, **found, "by operations": counted, "bar": bar, "at most": at_most})
    return pd.DataFrame(rows)
