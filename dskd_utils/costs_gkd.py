"""This code's KD (paper, section 4.1) beside TRL's trainer of generalised KD, each in a process of its own.

Off-policy and with forward KL that trainer asks for what the paper's KD does (section 4.1) without cross-entropy. Its
loss is at temperature 1, so ours is trained at temperature 1 too; both start from the same student and read the same
rows once. `python -m dskd_utils.costs_gkd JOB.json` runs one of the two.
"""

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dskd_utils.artefacts import peak_memory, read_json, write_json
from dskd_utils.costs import store_steps
from dskd_utils.distill.objective import Objective
from dskd_utils.distill.students import Student, make_student
from dskd_utils.senses.live_states import LiveStates
from dskd_utils.sources.packing import Packed
from dskd_utils.sources.teachers import Teacher, load_teacher

KINDS = ("ours", "gkd")


def compare(folder: Path, rows: tuple[Tensor, Tensor, Tensor], **job: Any) -> dict[str, dict[str, Any]]:
    """Train the same student by both codes, one after the other.

    Args:
        folder: where the students go, below `ours` and `gkd`, as plain model folders.
        rows: ids, positions and targets `(B, T)`, each row one piece of text.
        job: `teacher`, `dtype`, `layers`, `trainable_layers`, `init`, `lr`, `batch_size`.

    Returns:
        for each code `steps`, `positions`, `seconds` of all steps but the first two, `positions a second`,
        `teacher pass, seconds`, `peak, GiB` of the process, and `last KL`, the mean training KL of the last quarter of
        the steps, in nats at temperature 1.

    Raises:
        RuntimeError: a process failed; says with what.
    """
    found = {}
    with tempfile.TemporaryDirectory() as name:
        torch.save(list(rows), Path(name) / "rows.pt")
        for kind in KINDS:
            path = write_json(Path(name) / "job.json", job | {"kind": kind, "out": str(folder / kind), "rows": name})
            command = [sys.executable, "-m", "dskd_utils.costs_gkd", str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"training by {kind} failed: {done.stderr.strip()[-2000:]}")
            found[kind] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _ours(teacher: Teacher, student: Student, rows: list[Tensor], job: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    text = Packed(*rows, torch.arange(len(rows[0])), 0, rows[0].numel(), "rows")
    states = LiveStates(teacher, text).held([student.frozen_layers])
    passed = time.perf_counter() - began
    objective = Objective(temperature=1.0, beta_p=0.0, beta_n=0.0)
    with tempfile.TemporaryDirectory() as name:
        more = {"lr": job["lr"], "batch_size": job["batch_size"], "epochs": 1}
        step = store_steps(states, Path(name), objective, [student], **more)
        times, kl = [], []
        for number in range(-(-len(rows[0]) // job["batch_size"])):
            began = time.perf_counter()
            kl.append(step(number)[0]["kl"])
            times.append(time.perf_counter() - began)
    student.as_model().save_pretrained(job["out"])
    return {"times": times, "kl": kl, "teacher pass, seconds": passed}


def _gkd(teacher: Teacher, student: Student, rows: list[Tensor], job: dict[str, Any]) -> dict[str, Any]:
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from transformers import TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    class Clock(TrainerCallback):
        times: list[float] = []

        def on_step_begin(self, *_, **__):
            self.began = time.perf_counter()

        def on_step_end(self, *_, **__):
            self.times.append(time.perf_counter() - self.began)

    def collate(batch: list[dict]) -> dict[str, Tensor]:
        ids = torch.tensor([one["input_ids"] for one in batch])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}

    model = student.as_model()
    for parameter in model.model.layers[student.frozen_layers :].parameters():
        parameter.requires_grad_(True)
    # A table with a name of its own: `Dataset.from_dict` cannot make one under some versions of pyarrow.
    data = Dataset(InMemoryTable.from_pydict({"input_ids": rows[0].tolist()}), fingerprint="rows")
    with tempfile.TemporaryDirectory() as name:
        settings = GKDConfig(
            output_dir=name,
            lmbda=0.0,
            beta=0.0,
            temperature=1.0,
            per_device_train_batch_size=job["batch_size"],
            num_train_epochs=1,
            learning_rate=job["lr"],
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            weight_decay=1e-3,
            max_grad_norm=1.0,
            max_length=rows[0].shape[1],
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=teacher.model.device.type == "cpu",
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        trainer = GKDTrainer(model, teacher.model, settings, data_collator=collate, train_dataset=data,
                             processing_class=teacher.tokenizer, callbacks=[Clock()])  # fmt: skip
        trainer.train()
    model.save_pretrained(job["out"])
    kl = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {"times": Clock.times, "kl": kl, "teacher pass, seconds": 0.0}


def main() -> None:
    """Run one job and print what it took as the last line."""
    logging.disable(logging.WARNING)
    job = read_json(sys.argv[1])
    rows = torch.load(Path(job["rows"]) / "rows.pt", weights_only=True)
    teacher = load_teacher(job["teacher"], dtype=job["dtype"])
    torch.manual_seed(0)
    student = make_student(teacher, job["layers"], job["trainable_layers"], job["init"])
    found = {"ours": _ours, "gkd": _gkd}[job["kind"]](teacher, student, rows, job)
    times, kl = found.pop("times"), found.pop("kl")
    used = times[2:] or times  # in the first two what is compiled is compiled
    positions = job["batch_size"] * rows[0].shape[1]
    found |= {"steps": len(times), "positions": rows[0].numel(), "seconds": sum(used), "peak, GiB": peak_memory()}
    found["positions a second"] = positions * len(used) / sum(used)
    found["last KL"] = sum(kl[-max(1, len(kl) // 4) :]) / max(1, len(kl) // 4)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
