"""A notebook run from first cell to last as in JupyterLab, without papermill, at its own defaults."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1500)]


def test_run_all_without_papermill_works_and_keeps_its_results_apart(tmp_path, run):
    notebook = str(ROOT / "notebooks/01-lexicon.ipynb")
    run("jupyter", "execute", notebook, f"--output={tmp_path / 'out.ipynb'}", home=tmp_path)
    results = tmp_path / "runs/smollm2-135m/quick/results"
    assert (results / "run-scratch/01-lexicon.json").is_file() and not (results / "01-lexicon.json").exists()
