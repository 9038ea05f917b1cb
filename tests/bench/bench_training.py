"""Training on the store against a plain loop, DSKD against KD, ten students in one pass (paper, section 4, Table 11).

`python tests/bench/bench_training.py [--steps N] [--rounds R]`; bars: KD at least 6 times the plain loop's tokens a
second on the store, 4.5 with the teacher pass counted in over 2 epochs; DSKD at most 1.05 of KD's time; ten students in
one pass at most a sixth of the time of ten plain loops; the loss below 1 GB above its inputs at n = 4,096.

The plain loop is what one would write: a full forward pass of the teacher and of the student, all logits, autograd, the
same optimiser, batches and number format. All kinds alternate, so that other work on the machine meets each.
"""

import argparse
import resource
import statistics
import tempfile
import time
from itertools import chain
from pathlib import Path

import torch
from accelerate import Accelerator

from dskd_utils.distill.candidates import candidate_index
from dskd_utils.distill.losses import fused_kd_loss, kd_loss
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.steps import take_step
from dskd_utils.distill.students import make_student
from dskd_utils.distill.trainee import Cell, Schedule, Trainee
from dskd_utils.lexicon.readers import read_roget, read_wordnet
from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.clustering import write_dictionary
from dskd_utils.senses.hidden_states import collect_states
from dskd_utils.senses.sample import plan_sample
from dskd_utils.sources.assets import fetch
from dskd_utils.sources.corpora import pack
from dskd_utils.sources.teachers import load_teacher
from dskd_utils.sources.wikipedia import wikipedia_leads

KD, DSKD = Objective(beta_p=0, beta_n=0), Objective()
BATCH = 2  # blocks of 512


class PlainLoop:
    """Knowledge distillation as one would write it, on the same student."""

    def __init__(self, teacher, layers):
        self.teacher = teacher.model
        student = make_student(teacher, layers)
        self.model = student.as_model()
        top = self.model.model.layers[student.frozen_layers :]
        for parameter in top.parameters():
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(top.parameters(), lr=2e-3, weight_decay=1e-3)

    def step(self, ids, positions, targets):
        with torch.no_grad():
            teacher = self.teacher(input_ids=ids, position_ids=positions, use_cache=False).logits
        student = self.model(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = kd_loss(student.flatten(0, 1), teacher.flatten(0, 1), targets.flatten()).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def loss_memory(n: int = 4096, vocabulary: int = 49_152, width: int = 576) -> float:
    """GB that the fused loss takes above its inputs, with its gradient."""
    hidden, teacher = torch.randn(n, width, requires_grad=True), torch.randn(n, width)
    head, targets = torch.randn(vocabulary, width), torch.randint(vocabulary, (n,))
    before = peak()
    fused_kd_loss(hidden, teacher, targets, head).total.backward()
    return peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--students", type=int, default=10)
    given = parser.parse_args()
    print(f"the loss alone at n = 4,096, v = 49,152: {loss_memory():.2f} GB above its inputs")
    teacher = load_teacher(given.teacher)
    blocks = BATCH * given.steps * given.rounds
    articles = list(wikipedia_leads(fetch("wikipedia-leads")))[: blocks * 20]
    text = pack(articles, teacher.tokenizer, budget=512 * blocks)
    blocks, length = text.ids.shape
    with tempfile.TemporaryDirectory() as name:
        folder, run = Path(name), Accelerator(cpu=True)
        began = time.perf_counter()
        states = collect_states(teacher, text, folder / "states", split_layers=[given.layers - 2])
        teacher_pass = time.perf_counter() - began
        plan = plan_sample([text], teacher.vocab_size)
        relations = Relations.from_stream(chain(read_wordnet(fetch("wordnet")), read_roget(fetch("roget"))))
        values = states.final.flatten(0, 1)[plan.position]
        dictionary, _ = write_dictionary(folder, values, plan.offsets, 10, relations, teacher.tokenizer, neighbours=25)
        index = candidate_index(states, dictionary)
        schedule = Schedule(batch_size=BATCH, epochs=100)

        def trainees(count: int, objective: Objective, kind: str) -> list[Trainee]:
            student = [make_student(teacher, given.layers) for _ in range(count)]
            cells = [Cell(s, folder / f"{kind}{i}", objective, schedule, index) for i, s in enumerate(student)]
            return [Trainee(cell, states, run) for cell in cells]

        kinds = {
            "kd": trainees(1, KD, "kd"),
            "dskd": trainees(1, DSKD, "dskd"),
            "many": trainees(given.students, KD, "n"),
        }
        plain, order = PlainLoop(teacher, given.layers), torch.arange(blocks).split(BATCH)
        seconds: dict[str, list[float]] = {name: [] for name in ("plain", *kinds)}
        used = []
        for number in range(given.rounds + 1):  # the first warms up
            spent = dict.fromkeys(seconds, 0.0)
            for step in range(1 if number == 0 else given.steps):
                batch = order[step % len(order)]
                began = time.perf_counter()
                plain.step(states.ids[batch], states.positions[batch], states.targets[batch])
                spent["plain"] += time.perf_counter() - began
                for kind, group in kinds.items():
                    began = time.perf_counter()
                    rows = take_step(group, states, len(group[0].rows), run)
                    spent[kind] += time.perf_counter() - began
                    if kind == "dskd":
                        used.append(rows[0]["positions"])
            if number:
                for kind, time_spent in spent.items():
                    seconds[kind].append(time_spent)
        tokens = given.steps * BATCH * length

        def ratio(over, under) -> str:
            found = [a / b for a, b in zip(over, under, strict=True)]
            return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"

        rates = {kind: tokens / statistics.median(times) for kind, times in seconds.items()}
        print(f"{teacher.name}, student of {given.layers} layers, {given.rounds} rounds of {tokens:,} positions, fp32, "
              f"{torch.get_num_threads()} threads")  # fmt: skip
        print("positions a second:", ", ".join(f"{kind} {rate:,.0f}" for kind, rate in rates.items()))
        print("KD on the store, times the plain loop's speed:", ratio(seconds["plain"], seconds["kd"]))
        per_step = teacher_pass / (blocks * length) * tokens / 2
        counted = [time_spent + per_step for time_spent in seconds["kd"]]
        print("the same with the teacher pass counted in over 2 epochs:", ratio(seconds["plain"], counted))
        print(f"DSKD's time over KD's: {ratio(seconds['dskd'], seconds['kd'])}, "
              f"{statistics.mean(used):.0f} positions a step of {BATCH * length:,}")  # fmt: skip
        many = [given.students * a / b for a, b in zip(seconds["plain"], seconds["many"], strict=True)]
        print(f"{given.students} students in one pass, times faster than plain loops: {statistics.median(many):.2f}")
        print(f"peak memory of the process: {peak():.2f} GB")


if __name__ == "__main__":
    main()
