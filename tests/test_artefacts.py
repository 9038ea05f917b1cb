"""Tests of manifests and atomic writes."""

import errno
import json
import os
import subprocess
import sys

import pytest

from dskd_utils import artefacts
from dskd_utils.artefacts import (
    atomic_folder,
    atomic_path,
    check_manifest,
    code_digest,
    digest,
    files_digest,
    local_files,
    read_json,
    read_manifest,
    safe_name,
    write_json,
    write_manifest,
)


def test_a_hub_id_becomes_a_safe_folder_name():
    assert safe_name("HuggingFaceTB/SmolLM2-135M") == "HuggingFaceTB--SmolLM2-135M"
    assert "/" not in safe_name("../../odd name/") and safe_name("..") == "teacher"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"a": 1} and [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_folder_leaves_nothing_and_a_new_one_replaces_the_old(tmp_path):
    target = tmp_path / "artefact"
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "part").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    for text in ("old", "new"):
        with atomic_folder(target) as temporary:
            (temporary / text).write_text(text)
    assert [p.name for p in target.iterdir()] == ["new"] and len(list(tmp_path.iterdir())) == 1


def test_of_two_that_make_the_same_artefact_the_first_to_finish_stays(tmp_path):
    target = tmp_path / "thing"
    with atomic_folder(target) as late:
        with atomic_folder(target) as early:
            write_manifest(early, "senses", {"made": "early"}, 0.0)
        place = target.stat().st_ino
        write_manifest(late, "senses", {"made": "late"}, 0.0)
    with atomic_folder(target) as later:  # one that had looked before either was there
        write_manifest(later, "senses", {"made": "later"}, 0.0)
    assert target.stat().st_ino == place and read_manifest(target)["parameters"] == {"made": "early"}
    with atomic_folder(target, replace=True) as again:
        write_manifest(again, "senses", {"made": "again"}, 0.0)
    assert read_manifest(target)["parameters"] == {"made": "again"}
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


@pytest.mark.parametrize("kill", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path, kill):
    writer = "atomic_path" if kill == "file" else "atomic_folder"
    write = "t.write_text('half')" if kill == "file" else "(t / 'x').write_text('half')"
    script = (
        f"import os, signal\nfrom dskd_utils.artefacts import {writer}\n"
        f"with {writer}({str(tmp_path / 'thing')!r}) as t:\n    {write}\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".thing.")
    write_json(tmp_path / "other", 1)
    assert left.exists(), "another artefact's leftovers are not its business"
    write_json(tmp_path / "thing", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "thing"]


@pytest.mark.parametrize("writer", [atomic_path, atomic_folder])
def test_a_full_disk_is_one_sentence_that_names_the_cure(tmp_path, writer):
    with (
        pytest.raises(OSError, match=r"disk is full .* while writing .*thing; nothing half-written .* free some"),
        writer(tmp_path / "thing"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_manifest_says_what_made_the_artefact_and_refuses_another_use(tmp_path):
    with atomic_folder(tmp_path / "senses") as folder:
        write_manifest(folder, "senses", {"teacher": "tiny", "k": 10}, 0.0, rows=3)
    manifest = check_manifest(tmp_path / "senses", teacher="tiny", k=10)
    assert manifest["facts"] == {"rows": 3} and {"commit", "versions", "hardware", "seconds"} <= set(manifest)
    with pytest.raises(ValueError, match="has k = 10, this call needs 5: build it again .* `rm -r .*senses` and then"):
        check_manifest(tmp_path / "senses", k=5)
    with pytest.raises(FileNotFoundError, match="make study"):
        read_manifest(tmp_path / "nothing")


def test_the_digest_of_a_folder_changes_with_its_files_and_with_nothing_else(tmp_path):
    assert files_digest(None) == files_digest("") == "none"
    seen = [files_digest(tmp_path)]
    (tmp_path / "squad2").mkdir()
    (tmp_path / "squad2" / "dev.json").write_text("one")
    seen.append(files_digest(tmp_path))
    (tmp_path / "squad2" / "dev.json").write_text("three")
    seen.append(files_digest(tmp_path))
    os.utime(tmp_path / "squad2" / "dev.json", (1, 1))
    seen.append(files_digest(tmp_path))
    assert len(set(seen)) == 4
    (tmp_path / "README.md").write_text("mine")
    assert files_digest(tmp_path) == seen[-1] and files_digest(tmp_path, "lexical") == seen[0]


def test_a_teachers_own_files_are_told_by_name_size_and_time(tmp_path):
    assert local_files("smollm2-135m") == local_files("owner/name") == "none"
    folder, file = tmp_path / "teacher", tmp_path / "teacher.gguf"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"old")
    file.write_bytes(b"old")
    before = [local_files(str(path)) for path in (folder, file)]
    assert before == [local_files(f"{folder}/"), local_files(str(file))] and "none" not in before
    for path in (folder / "model.safetensors", file):
        os.utime(path, ns=(1, 1))
    after = [local_files(str(path)) for path in (folder, file)]
    assert not set(before) & set(after)


def test_truncated_json_is_named_with_its_line(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1,\n')
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON \(line 2\)"):
        read_json(tmp_path / "x.json")


def test_digests_ignore_the_order_of_keys_and_notice_values():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_a_code_digest_is_of_the_named_places_alone():
    assert code_digest("lexicon") != code_digest("lexicon", "senses") != code_digest("senses/kmeans.py")


def test_labels_by_hand_are_part_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(artefacts, "__file__", str(tmp_path / "artefacts.py"))
    (tmp_path / "lexicon").mkdir()
    labels = tmp_path / "lexicon" / "labels.tsv"
    digests = {labels.write_text(text) and code_digest("lexicon") for text in ("happy\t1\n", "happy\t0\n")}
    assert len(digests) == 2


def test_numpy_values_are_written_as_plain_numbers(tmp_path):
    import numpy as np

    write_json(tmp_path / "x.json", {"n": np.int64(3), "f": np.float32(0.5), "s": {2, 1}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"n": 3, "f": 0.5, "s": [1, 2]}
