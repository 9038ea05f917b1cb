"""A batch of two teachers of different architectures, from first notebook to the book with the pages of both."""

import json
import re

import pytest

from dskd_utils.artefacts import safe_name
from dskd_utils.sources.tokenizers import load_tokenizer

TEACHERS = {"llama": "smollm2-135m", "gemma3": "mistral-7b"}  # family: a real vocabulary
pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def batch(tmp_path_factory, tiny_folder, link_project, run, cores):
    """A finished smoke study of two tiny random teachers, given as folders, and the names of their own folders."""
    home = tmp_path_factory.mktemp("batch")
    folders = [home / f"tiny-{family}" for family in TEACHERS]
    for (family, vocabulary), folder in zip(TEACHERS.items(), folders, strict=True):
        tokenizer = load_tokenizer(vocabulary)
        ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        tiny_folder(folder, family, tokenizer, max_position_embeddings=2048, **ends)
    link_project(home)
    asked = ["profile=smoke", "teacher=" + " ".join(map(str, folders))]
    run("snakemake", "--cores", cores, "--quiet", "rules", "--config", *asked, home=home)
    return home, [safe_name(str(folder)) for folder in folders]


def results(home, teacher, notebook):
    return json.loads((home / f"runs/{teacher}/smoke/results/{notebook}.json").read_text())


def test_each_teacher_has_its_own_students_and_results(batch):
    home, names = batch
    trained = {}
    for name in names:
        students = results(home, name, "04-distillation")["students"]
        for method in ("kd", "dskd"):
            manifest = home / f"runs/{name}/smoke/students" / students[method] / "manifest.json"
            trained[name, method] = json.loads(manifest.read_text())["facts"]["weights"]["model.safetensors"]
        evaluation = results(home, name, "05-evaluation")
        assert {row["model"] for row in evaluation["held_out"]} >= {"teacher", "kd", "dskd"}
        assert evaluation["differences"], "the students were compared on the benchmarks"
    assert len(set(trained.values())) == 4, "no two students are the same"


def test_the_book_has_the_pages_of_both(batch):
    home, names = batch
    front = (home / "_build/html/index.html").read_text()
    for name, family in zip(names, TEACHERS, strict=True):
        page = (home / f"_build/html/studies/{name}/05-evaluation.html").read_text()
        assert f"tiny-{family}" in page and "smoke" in page
        assert re.search(rf'href="studies/{re.escape(name)}/01-lexicon.html"', front)
