"""Training on the store against a plain loop, DSKD against KD, ten students in one pass (paper, section 4, Table 11).

`python tests/bench/bench_training.py [--steps N] [--rounds R]`; aims: KD at least 6 times the plain loop's speed on the
store, 4.5 with the teacher pass counted in over 2 epochs; DSKD at most 1.05 of KD's time; ten students in one pass in
at most a sixth of the time of ten plain loops; the loss below 1 GB above its inputs at n = 4,096; and the fused loss
against the plain one. Notebook 08 measures the same by the same functions and shows more.
"""

import argparse
import tempfile
from itertools import chain
from pathlib import Path

import torch

from dskd_utils import costs
from dskd_utils.artefacts import peak_memory
from dskd_utils.distill.candidates import candidate_index
from dskd_utils.distill.losses import fused_kd_loss, kd_loss
from dskd_utils.distill.students import make_student
from dskd_utils.lexicon.readers import read_roget, read_wordnet
from dskd_utils.lexicon.relations import Relations
from dskd_utils.report.cost_tables import ratio_table
from dskd_utils.senses.clustering import write_dictionary
from dskd_utils.senses.hidden_states import collect_states
from dskd_utils.senses.sample import plan_sample
from dskd_utils.sources.assets import fetch
from dskd_utils.sources.corpora import pack
from dskd_utils.sources.teachers import load_teacher
from dskd_utils.sources.wikipedia import wikipedia_leads

BATCH = 2  # blocks of 512


def loss_alone(n: int = 1024, v: int = 49_152, d: int = 576) -> dict[str, costs.Step]:
    """The fused loss and the plain one with its logits, each with its gradient."""
    hidden, teacher, head = torch.randn(n, d, requires_grad=True), torch.randn(n, d), torch.randn(v, d) / d**0.5
    targets = torch.randint(v, (n,))
    return {
        "plain": lambda _: kd_loss(hidden @ head.T, teacher @ head.T, targets).total.backward(),
        "fused": lambda _: fused_kd_loss(hidden, teacher, targets, head).total.backward(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16, of all sides")
    parser.add_argument("--layers", type=int, default=27)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--students", type=int, default=10)
    given = parser.parse_args()
    print(
        f"the loss alone at n = 4,096, v = 49,152: {costs.in_fresh_process('loss_memory()'):.2f} GiB above its inputs"
    )
    alone = costs.alternate(loss_alone(), rounds=3, steps=1)
    print("the fused loss against the plain one, times faster: "
          "{median:.2f} ({low:.2f} to {high:.2f})".format(**costs.ratio(alone.plain, alone.fused)))  # fmt: skip
    teacher = load_teacher(given.teacher, dtype=given.dtype)
    blocks = BATCH * (given.steps * given.rounds + 2)
    articles = list(wikipedia_leads(fetch("wikipedia-leads")))[: blocks * 20]
    text = pack(articles, teacher.tokenizer, budget=512 * blocks)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        states = collect_states(teacher, text, folder / "states", split_layers=[given.layers - 2])
        plan = plan_sample([text], teacher.vocab_size)
        relations = Relations.from_stream(chain(read_wordnet(fetch("wordnet")), read_roget(fetch("roget"))))
        values = states.final.flatten(0, 1)[plan.position]
        dictionary, _ = write_dictionary(folder, values, plan.offsets, 10, relations, teacher.tokenizer, neighbours=25)
        index = candidate_index(states, dictionary)
        over = "plain, compiled" if costs.can_compile() else "plain"
        names = list(dict.fromkeys(("plain", over)))
        loops = {kind: costs.PlainLoop(teacher, given.layers, compiled=kind != "plain") for kind in names}
        kinds = {kind: costs.plain_steps(loop, states, BATCH) for kind, loop in loops.items()}
        many = f"{given.students} KD"
        for kind, objective, count in (("KD", costs.KD, 1), ("DSKD", costs.DSKD, 1), (many, costs.KD, given.students)):
            students = [make_student(teacher, given.layers) for _ in range(count)]
            kinds[kind] = costs.store_steps(states, folder / kind, objective, students, batch_size=BATCH, index=index)
        counted = {kind: costs.operations(step) for kind, step in kinds.items()}
        seconds = costs.alternate(kinds, rounds=given.rounds, steps=given.steps)
        one_pass = costs.pass_seconds(teacher, states, given.layers - 2, BATCH) * given.steps
        positions = BATCH * given.steps * states.ids.shape[1]
        print(f"{teacher.name}, student of {given.layers} layers, {given.rounds} rounds of {positions:,} positions, "
              f"{given.dtype}, {torch.get_num_threads()} threads")  # fmt: skip
        rates = {kind: positions * (given.students if kind == many else 1) / s for kind, s in seconds.median().items()}
        print("positions a second:", ", ".join(f"{kind} {rate:,.0f}" for kind, rate in rates.items()))
        pairs = costs.comparisons(given.students, one_pass, over)
        print(ratio_table(costs.times_faster(seconds, counted, pairs)).to_string(index=False))
        row = kinds["DSKD"](0)[0]
        print(f"positions with the sense loss: {row['positions']:.0f} of {positions // given.steps:,} a step")
        print(f"peak memory of the process: {peak_memory():.2f} GiB")


if __name__ == "__main__":
    main()
