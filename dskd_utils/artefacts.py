"""Where a study keeps its artefacts (manifests, atomic writes, run folders); no section of the paper.

An artefact is a folder that holds its files and a `manifest.json`. It comes into being under a temporary
name and is renamed when it is whole, so a reader never meets half of one.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

MANIFEST = "manifest.json"
DATA = (  # what is read of a folder of upstream files
    *("arc", "commonsenseqa", "piqa", "mmlu", "mmlu_pro", "squad2", "wikipedia"),
    *("lexical", "morphology", "wic", "wsd"),
)
PACKAGES = ("torch", "transformers", "numpy", "scikit-learn", "pandas", "papermill", "gensim")


def project_root() -> Path:
    """Folder that holds `notebooks/` and `runs/`: `$DSKD_HOME`, else the checkout, else the current folder."""
    if home := os.environ.get("DSKD_HOME"):
        return Path(home)
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def safe_name(name: str) -> str:
    """A folder name for a teacher: `HuggingFaceTB/SmolLM2-135M` becomes `HuggingFaceTB--SmolLM2-135M`."""
    name = name.rstrip("/").replace("/", "--")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "teacher"


def digest(value: Any, length: int = 8) -> str:
    """First `length` hexadecimal digits of the sha256 of a JSON-serialisable value, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes as 64 hexadecimal digits, read in blocks."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_digest(folder: str | os.PathLike | None, *places: str) -> str:
    """Digest of names, sizes and times of change of the files in the named places of a folder; `"none"` without one.

    Args:
        folder: of upstream files.
        places: folders in it, all of `DATA` where none is named.
    """
    if not folder:
        return "none"
    paths = sorted(path for place in places or DATA for path in Path(folder, place).rglob("*") if path.is_file())
    stats = [(str(path.relative_to(folder)), path.stat()) for path in paths]
    return digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def local_files(teacher: str) -> str:
    """Digest of names, sizes and times of change of a teacher's own files, of a folder or `.gguf`; else `"none"`."""
    path = Path(teacher).expanduser()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return digest(stats) if stats else "none"


def code_digest(*places: str) -> str:
    """Digest of this package's sources in the named rooms or files (`"lexicon"`, `"plan.py"`): Python, YAML, labels."""
    package = Path(__file__).resolve().parent
    found = [p for place in places for p in ([package / place] if "." in place else (package / place).rglob("*"))]
    sources = sorted(p for p in found if p.suffix in {".py", ".yaml", ".tsv"})
    return digest([(str(p.relative_to(package)), file_sha256(p)) for p in sources])


@contextlib.contextmanager
def _clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" into a sentence that says what was being written and what to do."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(error)
        if not full:
            raise
        free = shutil.disk_usage(path.parent).free / 1e6
        message = (
            f"the disk is full ({free:.0f} MB free) while writing {path}; nothing half-written was left, "
            "so free some space or set DSKD_HOME / DSKD_CACHE to another disk and run the same command again"
        )
        raise OSError(errno.ENOSPC, message) from error


def _temporary_name(path: Path) -> Path:
    """A hidden name beside `path` for this process, after removing what killed processes of this host left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{path.name}.{platform.node() or 'host'}-"
    for left in path.parent.glob(f"{glob.escape(stem)}*.partial"):
        pid = left.name.removeprefix(stem).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return path.parent / f"{stem}{os.getpid()}-{os.urandom(3).hex()}.partial"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary file name beside `path`; rename it to `path` on success, remove it on failure.

    Raises:
        OSError: the disk is full; the message names the file and the cure.
    """
    path = Path(path)
    temporary = _temporary_name(path)
    try:
        with _clear_disk_errors(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, replace: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; rename it to `path` on success, remove it on failure.

    An artefact, told by its manifest, that stands at `path` stays: another process has finished it meanwhile and may be
    reading it, and both made the same. Any other folder there is replaced at the moment of the rename, with `replace`
    every one.

    Raises:
        OSError: the disk is full; the message names the folder and the cure.
    """
    path = Path(path)
    temporary = _temporary_name(path)
    temporary.mkdir()
    try:
        with _clear_disk_errors(path):
            yield temporary
            _place(temporary, path, replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _place(temporary: Path, path: Path, replace: bool) -> None:
    try:
        temporary.rename(path)
    except OSError:  # a folder that is not empty stands there
        if replace or not (path / MANIFEST).is_file():
            replace_folder(temporary, path)


def replace_folder(temporary: Path, path: Path) -> None:
    """Rename the folder `temporary` to `path`, whatever stood there before."""
    old = path.parent / f".{path.name}.{os.getpid()}.old"
    if path.exists():
        os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: str | os.PathLike, value: Any) -> Path:
    """Write `value` as indented JSON, atomically; returns the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=1, ensure_ascii=False, default=plain_json) + "\n", encoding="utf-8"
        )
    return Path(path)


def plain_json(value: Any) -> Any:
    """JSON form of NumPy and torch scalars, paths and sets."""
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def read_json(path: str | os.PathLike) -> Any:
    """The JSON value in a file; a truncated or malformed file raises `ValueError` naming it."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON (line {error.lineno}): delete it and run again") from error


def peak_memory() -> float:
    """The most main memory that this process has held so far, in units of 2^30 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # `ru_maxrss` of a process that another one started counts the starter's memory too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if platform.system() == "Darwin" else 2**20)


def hardware() -> dict[str, Any]:
    """What this machine is: processor architecture, cores, memory in GB, accelerators, Python."""
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "architecture": platform.machine(),
        "vector_unit": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerators": devices,
        "python": platform.python_version(),
    }


def package_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed versions of the packages that numbers may depend on."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def commit() -> str:
    """The checkout's commit, with `+` behind it where tracked files differ from it; `unknown` outside git."""
    root = project_root()
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":!book/studies")
        return head + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def provenance(seconds: float, **more: Any) -> dict[str, Any]:
    """What a reader needs to judge or repeat a number: commit, versions, hardware, duration, time of day."""
    return {
        "commit": commit(),
        "versions": package_versions(),
        "hardware": hardware(),
        "seconds": round(seconds, 2),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    }


def write_manifest(folder: Path, kind: str, parameters: Mapping[str, Any], started: float, **facts: Any) -> None:
    """Write `manifest.json`: the kind, the parameters that the loader checks, and the provenance.

    Args:
        folder: the artefact's (temporary) folder.
        kind: `"relations"`, `"states"`, `"senses"`, `"candidates"` or `"student"`.
        parameters: all that the artefact depends on, hashes of its inputs among them.
        started: `time.monotonic()` at the start of the stage.
        facts: counts that a reader wants to see without opening the artefact.
    """
    record = {"kind": kind, "parameters": dict(parameters), "facts": facts}
    write_json(folder / MANIFEST, record | provenance(time.monotonic() - started))


def read_manifest(folder: str | os.PathLike) -> dict[str, Any]:
    """The manifest of an artefact.

    Raises:
        FileNotFoundError: there is no such artefact; the message says how to build it.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"there is no artefact at {folder}: build it with `make study` or the notebook before")
    return read_json(path)


def check_manifest(folder: str | os.PathLike, **expected: Any) -> dict[str, Any]:
    """The manifest of an artefact, after comparing the named parameters with it.

    Raises:
        ValueError: a parameter differs, such as the teacher, the tokenizer hash or the width.
    """
    manifest = read_manifest(folder)
    for name, value in expected.items():
        found = manifest["parameters"].get(name)
        if found != value:
            raise ValueError(
                f"the {manifest['kind']} artefact at {folder} has {name} = {found!r}, this call needs {value!r}: "
                f"build it again for this teacher, `rm -r {folder}` and then `make study`"
            )
    return manifest
