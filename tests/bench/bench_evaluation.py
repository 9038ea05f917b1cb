"""Teacher and two students on five-shot choice questions against lm-evaluation-harness (paper, section 5, Table 12).

`python tests/bench/bench_evaluation.py [--questions N] [--task NAME]`; aim: at least 5 times faster with the same
choices. Both score the same token ids: the harness one model after the other by `HFLM` with its batch size set on the
model, this code all three in one pass over their shared trunk, with the shared examples computed once.
"""

import argparse
import time

import numpy as np
from lm_eval.models.huggingface import HFLM

from dskd_utils.distill.students import make_student
from dskd_utils.evaluate.answering import choose
from dskd_utils.evaluate.prompts import build_prompts, choose_exemplars, sample_questions
from dskd_utils.sources.tasks import load_task
from dskd_utils.sources.teachers import load_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--task", default="arc_challenge")
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=27)
    parser.add_argument("--batch-size", type=int, default=16)
    given = parser.parse_args()
    teacher = load_teacher(given.teacher)
    tokenizer = teacher.tokenizer
    models = {"teacher": teacher.model}
    models |= {init: make_student(teacher, given.layers, init=init).as_model() for init in ("last", "next")}
    split = "test" if given.task in ("mmlu", "arc_challenge") else "validation"
    asked = sample_questions(load_task(given.task, split), given.questions)
    pool = load_task(given.task, "dev" if given.task == "mmlu" else "train")
    exemplars = choose_exemplars(given.task, asked, pool, 5)
    prompts = build_prompts(tokenizer, asked, exemplars, "likelihood", teacher.model.config.max_position_embeddings)
    requests = [(("", ""), context, continuation) for prompt in prompts for context, continuation in prompt.pairs]
    ends = np.cumsum([len(prompt.pairs) for prompt in prompts])[:-1]
    began = time.perf_counter()
    ours = choose(list(models.values()), tokenizer, prompts, "likelihood")
    fast = time.perf_counter() - began
    slow, equal = 0.0, []
    for name, model, found in zip(models, models.values(), ours, strict=True):
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=given.batch_size)
        began = time.perf_counter()
        sums = np.array([value for value, _ in harness._loglikelihood_tokens(requests, disable_tqdm=True)])
        slow += time.perf_counter() - began
        theirs = [int(own.argmax()) for own in np.split(sums, ends)]
        mine = [int(np.argmax(record["scores"])) for record in found]
        equal.append(f"{name} {np.mean(np.array(theirs) == np.array(mine)):.1%}")
    print(
        f"{given.task} {split}, {len(prompts)} questions, 5-shot, {len(requests)} requests, {len(models)} models, fp32"
    )
    print(f"questions a second: this code {len(prompts) / fast:.2f}, the harness {len(prompts) / slow:.2f}")
    print(f"times faster: {slow / fast:.2f} (one run); same choices: {', '.join(equal)}")


if __name__ == "__main__":
    main()
