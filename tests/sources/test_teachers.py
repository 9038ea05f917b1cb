"""A teacher is loaded frozen from whatever names it, and what is no teacher is refused in one sentence."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import gguf
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    GPTNeoXConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

from dskd_utils.sources import teachers
from dskd_utils.sources.assets import ASSETS, fetch
from dskd_utils.sources.teachers import (
    load_teacher,
    preset,
    presets,
    teacher_assets,
    teacher_config,
    teacher_cost,
)

CONFIG = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
CONFIG |= {"intermediate_size": 24, "vocab_size": 260, "bos_token_id": 1, "eos_token_id": 0}


def save_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer of 257 tokens without a padding token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": 0} | {letter: number + 1 for number, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)


def save_llama(folder: Path, seed: int = 0, **changes) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG | changes))
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder)
    return folder


def one_sentence(error: BaseException) -> bool:
    return "\n" not in str(error)


def test_a_folder_is_loaded_whole_and_frozen(llama):
    teacher = load_teacher(str(llama))
    assert (teacher.hidden_size, teacher.vocab_size, teacher.num_layers) == (16, 260, 2)
    assert not teacher.model.training
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert teacher.model.config._attn_implementation == "sdpa"
    ids = teacher.tokenizer("a fine day", return_tensors="pt")["input_ids"]
    original = LlamaForCausalLM.from_pretrained(llama).eval()
    assert torch.equal(teacher.model(ids).logits, original(ids).logits.detach())


def test_a_tokenizer_without_padding_pads_with_the_end_token(llama):
    tokenizer = load_teacher(str(llama)).tokenizer
    assert tokenizer.pad_token == "<end>"
    assert tokenizer(["a", "abc"], padding=True)["input_ids"][0][1:] == [0, 0]


def test_the_fingerprint_is_the_same_in_bfloat16_and_differs_for_other_weights(llama, tmp_path):
    teacher = load_teacher(str(llama))
    half = load_teacher(str(llama), dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert half.fingerprint == teacher.fingerprint
    assert half.config == teacher.config
    save_llama(tmp_path, seed=1)
    other = load_teacher(str(tmp_path))
    assert other.tokenizer_hash == teacher.tokenizer_hash
    assert other.config == teacher.config
    assert other.fingerprint != teacher.fingerprint


def test_the_fingerprint_does_not_depend_on_the_folder(llama, tmp_path):
    save_llama(tmp_path)
    assert load_teacher(str(tmp_path)).fingerprint == load_teacher(str(llama)).fingerprint


def test_the_tokenizer_hash_notices_another_vocabulary(llama):
    tokenizer = load_teacher(str(llama)).tokenizer
    before = teachers.hash_tokenizer(tokenizer)
    tokenizer.add_tokens(["word"])
    assert teachers.hash_tokenizer(tokenizer) != before


@pytest.mark.parametrize("config", [BertConfig(), T5Config(), BertConfig(architectures=["BertForMaskedLM"])])
def test_an_encoder_is_refused_before_its_weights_are_looked_for(config, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"is a (bert|t5) model .* decoder \(causal language model\) is needed"
    ) as error:
        load_teacher(str(tmp_path))
    assert one_sentence(error.value)
    with pytest.raises(ValueError, match="decoder"):
        teacher_cost(str(tmp_path))


@pytest.mark.parametrize("config", [LlamaConfig(**CONFIG), MistralConfig(**CONFIG), GPTNeoXConfig()])
def test_decoders_pass_the_check_whether_or_not_they_name_their_head(config):
    teachers._check_decoder("x", config)
    config.architectures = [type(config).__name__.replace("Config", "ForCausalLM")]
    teachers._check_decoder("x", config)


def test_a_headless_checkpoint_is_refused_instead_of_getting_a_random_head(tmp_path):
    model = save_llama(tmp_path)
    model.model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ValueError, match=r"lacks 1 of its weights, lm_head\.weight"):
        load_teacher(str(tmp_path))


def test_tied_embeddings_are_not_mistaken_for_missing_weights(tmp_path):
    save_llama(tmp_path, tie_word_embeddings=True)
    model = load_teacher(str(tmp_path)).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_damaged_folder_is_one_sentence(tmp_path):
    save_llama(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read from") as error:
        load_teacher(str(tmp_path))
    assert one_sentence(error.value)


def test_a_folder_without_a_model_and_a_missing_gguf_file_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is a folder without config\.json"):
        load_teacher(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"existing \.gguf file"):
        load_teacher(str(tmp_path / "none.gguf"))


def test_an_unknown_dtype_names_the_known_ones(llama):
    with pytest.raises(ValueError, match="float8.*float32, bfloat16, float16"):
        load_teacher(str(llama), dtype="float8")


def test_the_presets_are_the_papers_and_the_default():
    assert list(presets()) == ["smollm2-135m", "gemma3-270m", "llama-3-8b-instruct", "mistral-7b-instruct"]
    smollm, gemma, llama, mistral = presets().values()
    assert round(smollm["depth"] * smollm["layers"]) == 27
    assert [round(p["depth"] * p["layers"]) for p in (llama, mistral)] == [16, 16]
    assert [(p["k"], p["lr"], p["beta"]) for p in (llama, mistral)] == [(10, 5e-5, 1.0), (5, 2e-5, 1.5)]
    assert all(
        (p["kappa"], p["alpha"], p["margin"], p["temperature"]) == (5, 1.0, 1.0, 2.0) for p in presets().values()
    )
    assert {*smollm["assets"], *gemma["assets"], gemma["terms"]} <= set(ASSETS)
    assert all(isinstance(p["lr"], float) for p in [*presets().values(), preset("any")])


def test_a_hub_id_takes_its_presets_settings_and_anything_else_the_defaults():
    assert preset("mistralai/Mistral-7B-Instruct-v0.1") == preset("mistral-7b-instruct")
    other = preset("someone/else")
    assert other["k"] == 10
    assert "hub" not in other


@pytest.mark.parametrize("name", ["llama-3-8b-instruct", "mistral-7b-instruct"])
def test_the_papers_teachers_have_the_sizes_of_the_presets(name):
    changes = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336}
    changes |= {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": presets()[name]["vocab"]}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**CONFIG | changes))
    assert teacher_cost(name)["parameters"] == sum(p.numel() for p in model.parameters())


def test_the_cost_of_a_folder_is_known_from_its_configuration_alone(tmp_path):
    model = save_llama(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    parameters = sum(p.numel() for p in model.parameters())
    assert teacher_cost(str(tmp_path)) == {"parameters": parameters, "layers": 2, "hidden": 16, "vocab": 260}
    assert teacher_config(str(tmp_path))["num_hidden_layers"] == 2


def test_the_cost_of_a_preset_needs_neither_cache_nor_network(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
    cost = teacher_cost("smollm2-135m")
    assert cost == {"parameters": 134_515_008, "layers": 30, "hidden": 576, "vocab": 49_152}
    assert teacher_config("smollm2-135m")["num_hidden_layers"] == 30
    assert teacher_assets("smollm2-135m") == ("smollm2-135m",)
    assert teacher_assets("llama-3-8b-instruct") == teacher_assets("a/b") == ()
    assert not (tmp_path / "cache").exists()


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download of one model needs."""

    folder: Path

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool):
        owner, _, rest = self.path.removeprefix("/").removeprefix("api/models/").partition("/")
        file = self.folder / rest.rpartition("/")[2]
        if owner == "silent":
            time.sleep(60)
        if owner == "gated":
            self.reply(403, {"X-Error-Code": "GatedRepo"})
        elif owner != "tiny":
            self.reply(404, {"X-Error-Code": "RepoNotFound"})
        elif self.path == "/api/models/tiny/llama":
            self.reply(200, {"Content-Type": "application/json"}, b'{"id": "tiny/llama", "siblings": []}')
        elif "/resolve/" in self.path and file.is_file():
            content = file.read_bytes()
            self.reply(200, {"ETag": f'"{file.name}"', "X-Repo-Commit": "a" * 40}, content, body)
        else:
            self.reply(404, {"X-Error-Code": "EntryNotFound"})

    def reply(self, status: int, headers: dict[str, str], content: bytes = b"", body: bool = True):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


ASK_HUB = """
import json, sys, time
from dskd_utils.sources.teachers import load_teacher
for line in sys.stdin:
    started = time.monotonic()
    try:
        outcome = load_teacher(line.strip()).hidden_size
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    print(json.dumps([outcome, time.monotonic() - started]), flush=True)
"""


def test_a_hub_model_is_loaded_and_hub_errors_are_sentences_that_come_soon(llama, tmp_path):
    handler = type("TinyHub", (Hub,), {"folder": llama})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path)}
    environment |= {"HF_HUB_ETAG_TIMEOUT": "2", "PYTHONPATH": str(Path(teachers.__file__).parents[2])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}

    # The hub's address is read when its client is imported, so the questions are asked in a process of their own.
    with subprocess.Popen([sys.executable, "-c", ASK_HUB], env=environment, text=True, **pipes) as process:

        def load(name: str):
            print(name, file=process.stdin, flush=True)
            outcome, seconds = json.loads(process.stdout.readline())
            assert seconds < 20
            assert "\n" not in str(outcome)
            return outcome

        assert load("tiny/llama") == 16
        gated = load("gated/model")
        assert gated.startswith("PermissionError: teacher 'gated/model' is gated")
        assert "HF_TOKEN" in gated
        gone = load("gone/model")
        assert gone.startswith("ValueError: teacher 'gone/model' is neither a preset (smollm2-135m, ")
        assert "nor a folder nor a hub id that could be reached: the hub has no such model" in gone
        assert "check the network" in load("silent/model")

        # With the hub away, what it gave once is still there, and nothing else is.
        server.shutdown()
        server.server_close()
        assert load("tiny/llama") == 16
        assert "check the network" in load("other/model")
        assert "hub model meta-llama/Meta-Llama-3-8B-Instruct of the preset" in load("llama-3-8b-instruct")
        process.stdin.close()


@pytest.mark.parametrize("name", ["../no/such/folder", "two words"])
def test_a_name_that_is_no_hub_id_lists_what_a_teacher_can_be(name):
    with pytest.raises(ValueError, match=r"neither a preset \(smollm2-135m, .*check the spelling") as error:
        load_teacher(name)
    assert one_sentence(error.value)


@pytest.mark.network
def test_the_default_teacher_knows_the_capital_of_france_and_reloads_quickly():
    teacher = load_teacher("smollm2-135m")
    started = time.monotonic()
    again = load_teacher("smollm2-135m")
    assert time.monotonic() - started < 15
    assert again.fingerprint == teacher.fingerprint
    assert teacher_assets("smollm2-135m") == ()
    ids = teacher.tokenizer("The capital of France is", return_tensors="pt")
    answer = teacher.model.generate(**ids, max_new_tokens=3, do_sample=False)[0]
    assert "Paris" in teacher.tokenizer.decode(answer)
    cost = teacher_cost("smollm2-135m")
    assert cost["parameters"] == sum(p.numel() for p in teacher.model.parameters())
    assert (cost["layers"], cost["hidden"]) == (teacher.num_layers, teacher.hidden_size)
    assert cost["vocab"] == teacher.vocab_size == len(teacher.tokenizer)
    assert teacher.licence == "Apache-2.0"


@pytest.mark.network
def test_the_default_teachers_tokenizer_survives_the_way_through_gguf():
    tokenizer = load_teacher("smollm2-135m").tokenizer
    text = "The quick  brown fox\njumps — over 12345 the café. 你好 🙂\t"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer(" happy")["input_ids"] == [tokenizer.get_vocab()["Ġhappy"]]
    assert [tokenizer.decode(i) for i in tokenizer("127")["input_ids"]] == ["1", "2", "7"]
    assert tokenizer("x<|im_end|>")["input_ids"][-1] == tokenizer.eos_token_id == 2
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert prompt.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.network
def test_the_default_teachers_weights_are_the_de_quantised_ones_of_the_gguf_file():
    teacher = load_teacher("smollm2-135m")
    weights = teacher.model.state_dict()
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.3.ffn_down.weight": "model.layers.3.mlp.down_proj.weight",
        "output_norm.weight": "model.norm.weight",
    }
    compared = 0
    for tensor in gguf.GGUFReader(fetch("smollm2-135m")).tensors:
        if tensor.name in names:
            plain = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
            assert torch.equal(weights[names[tensor.name]], plain)
            compared += 1
    assert compared == 3
    assert not hasattr(teacher.model.config, "quantization_config")
    folder = teachers._plain_folder_of("smollm2-135m")
    assert "quantization_config" not in AutoConfig.from_pretrained(folder).to_dict()
