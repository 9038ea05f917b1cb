"""Measurements that are kept, so that an interrupted evaluation goes on (the tables of the paper's section 5)."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xxhash
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd_utils.artefacts import atomic_folder, code_digest, digest, files_digest, write_manifest
from dskd_utils.sources.packing import Packed
from dskd_utils.sources.teachers import hash_tokenizer
from dskd_utils.study import Study

logger = logging.getLogger(__name__)

# Whose code a measurement may depend on: the rooms, how a student's layers are told from its teacher's, which files.
CODE = ("sources", "lexicon", "senses", "evaluate", "distill/students.py", "distill/replicates.py", "assets.yaml")
Tensors = Mapping[str, Mapping[str, torch.Tensor]]
Measured = pd.DataFrame | tuple[pd.DataFrame, ...] | Tensors
TENSORS = "tensors.pt"


def kept(study: Study, measure: Callable[..., Measured], *given: Any, **settings: Any) -> Measured:
    """What `measure(*given, **settings)` returns, measured once and then read from the study's folder.

    It is measured anew where anything that it is given is another, the weights of a model, a row of a table, a number,
    a file of the data folder, or where the code has changed.

    Args:
        study: an open study.
        measure: of the room `evaluate`, such as `benchmarks.evaluate`; gives a table, several, or tensors by two names.
        given, settings: what it is called with: models, a tokenizer, tables, packed text, tensors, the data folder,
            plain values, and mappings and sequences of these.

    Raises:
        TypeError: something is given whose content cannot be told from another's.
    """
    asked = {
        "measure": f"{measure.__module__}.{measure.__qualname__}",
        "given": [content(value) for value in given],
        "settings": {name: content(value) for name, value in settings.items()},
        "code": code_digest(*CODE),
    }
    folder = study.stage("measured", measure.__name__, asked)
    if (folder / "manifest.json").is_file():
        logger.info("%s: measured before, read from %s", measure.__name__, folder.name)
    else:
        started, found = time.monotonic(), measure(*given, **settings)
        with atomic_folder(folder) as temporary:
            if isinstance(found, Mapping):
                torch.save(found, temporary / TENSORS)
            for number, table in enumerate(_tables(found)):
                table.to_parquet(temporary / f"{number}.parquet")
            write_manifest(temporary, "measured", asked, started)
    # Read also where it was measured just now, so that a first and a second call give the same types.
    if (folder / TENSORS).is_file():
        return torch.load(folder / TENSORS, weights_only=True)
    paths = sorted(folder.glob("*.parquet"), key=lambda path: int(path.stem))
    tables = tuple(pd.read_parquet(path) for path in paths)
    return tables if len(tables) > 1 else tables[0]


def _tables(found: Measured) -> tuple[pd.DataFrame, ...]:
    if isinstance(found, Mapping):
        return ()
    return found if isinstance(found, tuple) else (found,)


def content(value: Any) -> Any:
    """What tells a value from another one, as JSON: plain values as they are, all else by a hash of its content.

    Raises:
        TypeError: a value of a kind that is not known here.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Path():  # a folder of upstream files: what is in it counts, wherever it is
            return files_digest(value)
        case PreTrainedModel():
            return _weights(value)
        case PreTrainedTokenizerBase():
            return hash_tokenizer(value) + digest([value.chat_template, value.bos_token_id, value.eos_token_id])
        case Packed():
            return [value.digest, content(value.positions), content(value.articles)]
        case pd.DataFrame():
            return digest([value.to_json(orient="split", double_precision=15), list(map(str, value.dtypes))], 32)
        case torch.Tensor():
            return _hash(value, xxhash.xxh3_128()).hexdigest()
        case Mapping():
            return [[name, content(part)] for name, part in value.items()]  # pairs, since the order is that of the rows
        case Sequence():
            return [content(part) for part in value]
    raise TypeError(f"{type(value).__name__} cannot be told from another one: call the measure itself, without `kept`")


def _weights(model: PreTrainedModel) -> str:
    """Hash of a model's weights and buffers and of what its configuration says, wherever it was read from."""
    state = xxhash.xxh3_128()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        state.update(name.encode())
        _hash(tensor, state)
    configuration = {k: v for k, v in model.config.to_dict().items() if k != "_name_or_path"}
    ends = getattr(model.generation_config, "eos_token_id", None)
    return state.hexdigest() + digest([type(model).__name__, configuration, ends])


def _hash(tensor: torch.Tensor, state: xxhash.xxh3_128) -> xxhash.xxh3_128:
    state.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return state
