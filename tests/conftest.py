"""Tiny random teachers of every supported architecture, with a real byte-level tokenizer."""

import fcntl
import os
import random
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dskd_utils.sources.corpora import Document, pack
from dskd_utils.sources.teachers import load_teacher

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # Workers share the cores: with all threads in each they would wait for one another most of the time.
    threads = max(1, (os.cpu_count() or 1) // workers)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that tests start
    torch.set_num_threads(threads)

ROOT = Path(__file__).resolve().parent.parent
LONGEST = ["test_notebooks.py", "test_two_teachers.py", "test_interruption.py", "test_together.py", "test_pages.py"]
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WORDS = "the happy glad merry sad unhappy gloomy warm cold hot chilly light dark bright river bank runs was is very"
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,  # with the default the predictions would be uniform and tests could not fail
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "head_dim": 8,
}
MIXED = ["sliding_attention", "full_attention"] * 3
WINDOW = {"use_sliding_window": True, "sliding_window": 7, "layer_types": MIXED}
FAMILIES = {
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, {}),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig, {"sliding_window": 7}),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config, WINDOW),
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config, WINDOW),
    "gemma3": (hf.Gemma3ForCausalLM, hf.Gemma3TextConfig, {"sliding_window": 7, "layer_types": MIXED}),
    "phi3": (hf.Phi3ForCausalLM, hf.Phi3Config, {}),
}


@pytest.hookimpl(trylast=True)  # after pytest's own order, which goes by fixtures
def pytest_collection_modifyitems(items):
    """The longest files first, so that none of them is left for the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def link_all(home: Path) -> None:
    """Make the folder `home`, with links to what the batch runner needs, so that it is a project of its own."""
    home.mkdir(exist_ok=True)
    for name in ("notebooks", "dskd_utils", "book", "workflow", "Snakefile"):
        if not (home / name).exists():
            (home / name).symlink_to(ROOT / name)


@pytest.fixture(scope="session")
def link_project():
    """The function above."""
    return link_all


def make_tokenizer() -> hf.PreTrainedTokenizerFast:
    """Byte-level BPE that knows the words above, with a leading space, as single tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    raw.train_from_iterator([" " + " ".join(WORDS.split())] * 20, trainer)
    return hf.PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session")
def run():
    """A function that runs a command as a user would in the folder `home`, with this worker's share of the cores."""

    def started(*command, home, check=True):
        environment = os.environ | {"DSKD_HOME": str(home)}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment.pop("DSKD_DATA", None)
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-6000:]
        return done

    return started


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A function from a name and a maker to a folder of all workers: the first that asks makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def folder(name, make):
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / f"{name}.made").exists():
                make(shared / name)
                (shared / f"{name}.made").touch()
        return shared / name

    return folder


@pytest.fixture(scope="session")
def cores():
    """What `snakemake --cores` is given: this worker's share of the cores."""
    return os.environ.get("OMP_NUM_THREADS", "all")


@pytest.fixture(scope="session")
def smoke_study(made_once, run, cores):
    """A finished smoke study of the default teacher, and what a second call of the batch runner said."""

    def make(home):
        link_all(home)
        command = ["snakemake", "--cores", cores, "--config", "profile=smoke"]
        run(*command, "--quiet", "rules", home=home)
        again = run(*command, home=home)
        (home / "second-call.txt").write_text(again.stdout + again.stderr)

    home = made_once("smoke-study", make)
    return home, (home / "second-call.txt").read_text()


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests; they are skipped where there is none."""
    if not (CHROMIUM and find_spec("playwright")):
        pytest.skip("needs chromium and the playwright package")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def tiny_tokenizer():
    return make_tokenizer()


def save_tiny(folder: Path, family: str, tokenizer: hf.PreTrainedTokenizerFast, **more) -> None:
    """Six random layers of a family with a tokenizer's vocabulary, saved as a folder that a user could name."""
    model_class, config_class, own = FAMILIES[family]
    torch.manual_seed(0)
    model_class(config_class(vocab_size=len(tokenizer), **SIZE | own | more)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_folder():
    """The function above."""
    return save_tiny


@pytest.fixture(scope="session")
def tiny_teachers(tmp_path_factory, tiny_tokenizer):
    """A function from family to teacher: six random layers, saved as a folder and loaded as a user would."""
    made = {}

    def teacher(family: str):
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            save_tiny(folder, family, tiny_tokenizer)
            made[family] = load_teacher(str(folder))
        return made[family]

    return teacher


@pytest.fixture(scope="session", params=list(FAMILIES))
def any_teacher(request, tiny_teachers):
    return tiny_teachers(request.param)


@pytest.fixture(scope="session")
def llama(tiny_teachers):
    return tiny_teachers("llama")


@pytest.fixture(scope="session")
def tiny_text(tiny_tokenizer):
    """Sixty made-up texts over the words above, packed into blocks of 32."""
    draw = random.Random(0)
    texts = [" " + " ".join(draw.choices(WORDS.split(), k=draw.randint(5, 40))) for _ in range(60)]
    documents = [Document("made", f"text {i}", text) for i, text in enumerate(texts)]
    return pack(documents, tiny_tokenizer, block=32)
