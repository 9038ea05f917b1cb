"""The teacher decoders (section 5.1): a preset, a hub id, a folder or a `.gguf` file becomes a frozen `Teacher`.

The default teacher comes as a quantised GGUF file inside a Python package. It is de-quantised once into a plain
safetensors folder in the cache, in float32 so that no further rounding is added, and read from there ever after.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HFValidationError, RepositoryNotFoundError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from dskd_utils.artefacts import MANIFEST, atomic_folder, digest, safe_name, write_manifest
from dskd_utils.sources.assets import cache_dir, cache_lock, find_asset
from dskd_utils.sources.presets import check_terms, joined, preset, presets

log = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16")
# Entries of a configuration that say how it was written down and not what the model is.
VOLATILE = (
    "_name_or_path",
    "_attn_implementation_autoset",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)


@dataclass(frozen=True)
class Teacher:
    """A frozen decoder with its tokenizer.

    Attributes:
        name: as it was asked for: preset, hub id, folder or file.
        model: a causal LM in evaluation mode, no parameter requires a gradient.
        tokenizer: with a padding token (the end-of-text token where it had none).
        hidden_size, vocab_size, num_layers: d, v (rows of the embedding matrix) and the number of decoder layers.
        tokenizer_hash: digest of the vocabulary and of how it cuts a sample text.
        fingerprint: digest of the tokenizer, the configuration and a sample of every weight, rounded to bfloat16 so
            that it does not depend on whether the teacher was loaded in float32 or in bfloat16.
        config: the model's configuration as a plain dictionary, without where and how it was saved.
        preset: the settings of `preset(name)`.
        licence: of the weights.
    """

    name: str
    model: Any
    tokenizer: Any
    hidden_size: int
    vocab_size: int
    num_layers: int
    tokenizer_hash: str
    fingerprint: str
    config: dict[str, Any]
    preset: dict[str, Any]
    licence: str


def load_teacher(name: str, *, dtype: str = "float32", device: str = "cpu") -> Teacher:
    """Load a teacher, fetching and de-quantising it first where that is needed.

    Args:
        name: preset (`presets()`), hub id, folder with a saved model, or `.gguf` file.
        dtype: `"float32"`, `"bfloat16"` or `"float16"`.
        device: as torch names it, such as `"cpu"` or `"cuda:0"`.

    Raises:
        ValueError: no such teacher, one that is no decoder, damaged files, or an unknown dtype.
        FileNotFoundError: a `.gguf` path where no file is, or a folder without a model.
        PermissionError: a gated hub model, and no token that may read it.
        ConnectionError: the package that holds a preset's weights cannot be downloaded.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is unknown: choose one of {', '.join(DTYPES)}")
    location, options, _ = _locate_decoder(name)
    tokenizer = read_from(name, AutoTokenizer.from_pretrained, location, **options)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = _read_model(name, location, dtype=getattr(torch, dtype), attn_implementation="sdpa", **options)
    model = model.to(device).eval().requires_grad_(False)
    text = model.config.get_text_config()
    plain, tokenizer_hash = _plain_config(model.config), hash_tokenizer(tokenizer)
    return Teacher(
        name=name,
        model=model,
        tokenizer=tokenizer,
        hidden_size=text.hidden_size,
        vocab_size=model.get_input_embeddings().weight.shape[0],
        num_layers=text.num_hidden_layers,
        tokenizer_hash=tokenizer_hash,
        fingerprint=digest([tokenizer_hash, plain, _weight_sample(model)], length=16),
        config=plain,
        preset=preset(name),
        licence=preset(name)["licence"],
    )


def teacher_config(name: str) -> dict[str, Any]:
    """The teacher's configuration without its weights; of a preset the three known numbers, without a download."""
    if name in presets():
        cost = teacher_cost(name)
        return {"hidden_size": cost["hidden"], "num_hidden_layers": cost["layers"], "vocab_size": cost["vocab"]}
    return _plain_config(_locate_decoder(name)[2])


def teacher_cost(name: str) -> dict[str, int]:
    """Size of a teacher: `parameters`, `layers`, `hidden`, `vocab`; reads no weights, of a preset nothing at all."""
    if name in presets():
        return {key: presets()[name][key] for key in ("parameters", "layers", "hidden", "vocab")}
    config = _locate_decoder(name)[2]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "vocab": text.vocab_size,
    }


def teacher_assets(name: str) -> tuple[str, ...]:
    """Names of the assets that `load_teacher(name)` would still read: none once the teacher is de-quantised."""
    assets = presets().get(name, {}).get("assets")
    return tuple(assets) if assets and not (_plain_folder_of(name) / MANIFEST).is_file() else ()


def check_access(name: str) -> None:
    """Find out, before any work, whether a teacher may be read: its terms are accepted, its hub shows it.

    Raises:
        PermissionError: terms that were not accepted, or a gated hub model and no token that may read it.
        ValueError, FileNotFoundError: as `load_teacher`.
    """
    check_terms(name)
    if "assets" not in presets().get(name, {}):
        locate(name)


def _locate_decoder(name: str) -> tuple[str, dict[str, Any], PretrainedConfig]:
    location, options = locate(name)
    return (
        location,
        options,
        _check_decoder(name, read_from(name, AutoConfig.from_pretrained, location, **options)),
    )


def _plain_folder_of(name: str) -> Path:
    """Where the preset's weights are kept once they are de-quantised."""
    hashes = [find_asset(asset).sha256 for asset in presets()[name]["assets"]]
    return cache_dir() / "teachers" / f"{name}-{hashes[0][:8] if len(hashes) == 1 else digest(hashes)}"


def locate(name: str) -> tuple[str, dict[str, Any]]:
    """Folder or hub id to give to `from_pretrained`, with the options that it needs."""
    fields = presets().get(name)
    if fields and "assets" in fields:
        check_terms(name)
        return str(_dequantised(_plain_folder_of(name), name, lambda: joined(fields["assets"]))), {}
    if fields:
        return fields["hub"], _hub_options(name, fields["hub"])
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotFoundError(f"teacher {name!r} is no file: give the path of an existing .gguf file")
        stat = path.stat()
        key = digest([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
        folder = cache_dir() / "teachers" / f"{safe_name(path.stem)}-{key}"
        return str(_dequantised(folder, name, lambda: contextlib.nullcontext(path))), {}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileNotFoundError(
                f"teacher {name!r} is a folder without config.json: give a folder that `save_pretrained` wrote, "
                "or the path of the .gguf file in it"
            )
        return str(path), {}
    return name, _hub_options(name, name)


def _hub_options(name: str, hub: str) -> dict[str, Any]:
    """Ask the hub once whether it has the model, because `from_pretrained` retries for minutes; else look at its cache.

    Returns:
        Options for `from_pretrained`: none, or `local_files_only` where the hub's cache has the model and it is away.
    """
    known = ", ".join(presets())
    away = f"teacher {name!r} is neither a preset ({known}) nor a folder nor a hub id that could be reached"
    if name != hub:
        away = f"the hub model {hub} of the preset {name!r} could not be reached"
    try:
        get_hf_file_metadata(hf_hub_url(hub, "config.json"))  # waits $HF_HUB_ETAG_TIMEOUT seconds, 10 by default
        return {}
    except HFValidationError as error:
        raise ValueError(f"{away}: it is not of the form owner/name, check the spelling") from error
    except Exception as error:  # the hub's client raises errors of its HTTP library too, which are not OSErrors
        if isinstance(try_to_load_from_cache(hub, "config.json"), str):
            log.warning("the hub cannot be asked about %s, its local cache is used", hub)
            return {"local_files_only": True}
        if isinstance(error, GatedRepoError):
            raise PermissionError(
                f"teacher {name!r} is gated on the hub: accept its licence at https://huggingface.co/{hub} and set "
                "HF_TOKEN to a token of that account"
            ) from error
        if isinstance(error, RepositoryNotFoundError | EntryNotFoundError):
            reason = "the hub has no such model with a config.json, or a private one that needs HF_TOKEN"
        else:
            reason = f"{_first_line(error)}, so check the network, or give a folder"
        raise ValueError(f"{away}: {reason}") from error


def _dequantised(folder: Path, name: str, source: Callable[[], AbstractContextManager[Path]]) -> Path:
    """The plain safetensors folder of a GGUF file, made at the first call.

    `source` gives the file and is called only where the folder is not there yet; `name` is for messages.
    """
    if (folder / MANIFEST).is_file():
        return folder
    with source() as file, cache_lock(folder):
        if (folder / MANIFEST).is_file():
            return folder
        started = time.monotonic()
        log.info("de-quantising %s, once", file)
        where = {"gguf_file": file.name}
        config = _check_decoder(name, read_from(name, AutoConfig.from_pretrained, str(file.parent), **where))
        tokenizer = read_from(name, AutoTokenizer.from_pretrained, str(file.parent), **where)
        model = _read_model(
            name,
            str(file.parent),
            config=config,  # else the file's header is parsed once more, which takes 10 seconds
            dtype=torch.float32,
            # Left to itself, transformers keeps weights packed where it has a kernel; those cannot be saved or cut.
            quantization_config=GgufConfig(dequantize=True),
            **where,
        )
        with atomic_folder(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            for saved in temporary.iterdir():
                saved.chmod(0o644)  # safetensors writes for the owner alone; a cache may be shared
            write_manifest(temporary, "teacher", {"file": file.name, "bytes": file.stat().st_size}, started)
    return folder


def _check_decoder(name: str, config: PretrainedConfig) -> PretrainedConfig:
    """Return the configuration of a decoder; refuse encoders and encoder-decoders before any weight is read.

    Many encoders have a class with a language-modelling head, so that `AutoModelForCausalLM` would load a BERT
    without a word, and let it look at the token it has to predict.
    """
    heads = config.architectures or []
    causal = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
    causal_head = not heads or any(head.endswith(causal) for head in heads)
    # Configurations of true decoders have no `is_decoder` in transformers 5; gpt_neox is the exception.
    two_sided = getattr(config, "is_decoder", None) is False and not config.model_type.startswith("gpt_neox")
    known = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if config.is_encoder_decoder or two_sided or not causal_head or not known:
        raise ValueError(
            f"teacher {name!r} is a {config.model_type} model ({', '.join(heads) or 'no architecture named'}), and a "
            "decoder (causal language model) is needed: give a Llama, Mistral, Qwen2, Qwen3, Gemma-3 or Phi-3 model"
        )
    return config


def read_from(name: str, reader: Callable[..., Any], location: str, **options: Any) -> Any:
    """Call a `from_pretrained`; whatever it finds wrong becomes one sentence."""
    try:
        return reader(location, **options)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # missing, cut and malformed files raise errors of four libraries
        raise ValueError(
            f"teacher {name!r} cannot be read from {location} ({_first_line(error)}): "
            "its files are missing, damaged or of an unknown kind, so fetch or save them again"
        ) from error


def _read_model(name: str, location: str, **options: Any) -> Any:
    """Read a causal LM whole: weights that the files lack would be set at random, with no more than a warning."""
    model, info = read_from(name, AutoModelForCausalLM.from_pretrained, location, output_loading_info=True, **options)
    if missing := sorted(info["missing_keys"]):
        raise ValueError(
            f"teacher {name!r} lacks {len(missing)} of its weights, {missing[0]} among them: "
            "give a folder, file or hub id with the whole language model"
        )
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")


def _plain_config(config: PretrainedConfig) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in VOLATILE}


def hash_tokenizer(tokenizer: Any) -> str:
    """Digest of a tokenizer's vocabulary and of how it cuts a sample text: equal for tokenizers that give equal ids."""
    sample = "Un-happy words aren't 12,345\n\tin   the café, 你好 🙂."
    return digest([sorted(tokenizer.get_vocab().items()), tokenizer(sample)["input_ids"]], length=16)


def _weight_sample(model: Any) -> list[list[float]]:
    """The first eight values of every parameter, rounded to bfloat16: tells two fine-tunings of one model apart."""
    return [p.detach().flatten()[:8].to("cpu", torch.bfloat16).float().tolist() for p in model.parameters()]
