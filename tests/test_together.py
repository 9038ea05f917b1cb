"""A batch in which two processes share the teacher's passes and the training gives the students of one process."""

import json

import pytest
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from dskd_utils.artefacts import safe_name
from dskd_utils.distill.training import training_log
from dskd_utils.sources.tokenizers import load_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def studies(tmp_path_factory, tiny_folder, link_project, run):
    """Smoke studies of one tiny random teacher up to its students, by one process and by two."""
    home = tmp_path_factory.mktemp("together")
    teacher, tokenizer = home / "tiny", load_tokenizer("smollm2-135m")
    tiny_folder(teacher, "llama", tokenizer, max_position_embeddings=2048)
    made = {}
    for processes in (1, 2):
        project = home / str(processes)
        link_project(project)
        asked = ["profile=smoke", f"teacher={teacher}", f"processes={processes}"]
        made[processes] = project / "runs" / safe_name(str(teacher)) / "smoke"
        target = (made[processes] / "results/04-distillation.json").relative_to(project)
        run("snakemake", str(target), "--cores", "all", "--quiet", "rules", "--config", *asked, home=project)
    return made


def test_two_processes_make_the_students_of_one(studies):
    one, two = (json.loads((folder / "results/04-distillation.json").read_text()) for folder in studies.values())
    assert (one["provenance"]["processes"], two["provenance"]["processes"]) == (1, 2)
    assert one["students"] == two["students"], "what a student depends on is the same"
    for name in one["students"].values():
        alone, shared = (folder / "students" / name for folder in studies.values())
        for column in ("loss", "ce", "kl"):
            assert training_log(shared)[column].tolist() == pytest.approx(
                training_log(alone)[column].tolist(), rel=2e-3
            )
        weights = [dict(AutoModelForCausalLM.from_pretrained(place).named_parameters()) for place in (alone, shared)]
        assert_close(weights[0], weights[1], rtol=0, atol=2e-3)


def test_only_the_first_process_leaves_results_and_nothing_is_half_written(studies):
    results = [{path.name for path in (folder / "results").iterdir()} for folder in studies.values()]
    assert results[0] == results[1]
    assert not [path for path in studies[2].rglob(".*") if "partial" in path.name or path.name.startswith("work-")]
    log = (studies[2] / "logs/04-distillation.log").read_text()
    assert log.count("Executing notebook with kernel") == 2
