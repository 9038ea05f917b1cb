"""A batch that is killed at any moment resumes and ends with the same students."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TARGET = "runs/smollm2-135m/smoke/results/04-distillation.json"
COMMAND = ["snakemake", TARGET, "--nolock", "--rerun-incomplete", "--quiet", "rules"]
pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(2400)]


def start(home, cores):
    environment = os.environ | {"DSKD_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("DSKD_DATA", None)
    command = [*COMMAND, "--cores", cores, "--config", "profile=smoke"]
    with open(home / "log", "ab") as log:
        return subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)


def kill(process):
    """End the runner and all that it started, as a power cut would: the kernels are in sessions of their own."""
    import psutil

    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        if member.is_running():
            member.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)


def weights(home):
    found = {}
    for path in (home / "runs/smollm2-135m/smoke/students").glob("*/manifest.json"):
        found[path.parent.name] = json.loads(path.read_text())["facts"]["weights"]
    return found


def test_a_batch_killed_again_and_again_ends_with_the_same_students(smoke_study, link_project, cores, tmp_path):
    cut, draw, kills = tmp_path, random.Random(0), 0
    link_project(cut)
    while True:
        process, patience = start(cut, cores), draw.uniform(15, 60)
        ended = time.monotonic() + patience
        while time.monotonic() < ended and process.poll() is None and kills < 4:
            time.sleep(0.2)
        if kills == 4 or process.poll() is not None:
            assert process.wait() == 0, (cut / "log").read_text()[-3000:]
            break
        kill(process)
        kills += 1
    assert kills >= 2
    assert len(weights(cut)) == 2 and weights(cut).items() <= weights(smoke_study[0]).items()
    assert not [str(path) for path in (cut / "runs").rglob(".*") if "partial" in path.name]
