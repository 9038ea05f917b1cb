"""Teachers known by name: terms come first, and parts become one file."""

import pytest

from dskd_utils.sources import presets
from dskd_utils.sources.teachers import check_access, load_teacher


def test_terms_are_shown_and_have_to_be_accepted_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "fetch", lambda name: tmp_path / name)
    monkeypatch.delenv("DSKD_ACCEPT_TERMS", raising=False)
    with pytest.raises(PermissionError, match=r"Gemma Terms of Use: read .*gemma-terms.*ACCEPT_TERMS=gemma3-270m"):
        load_teacher("gemma3-270m")
    monkeypatch.setenv("DSKD_ACCEPT_TERMS", "other, gemma3-270m")
    check_access("gemma3-270m")
    check_access("smollm2-135m")


def test_a_file_in_parts_is_put_together_for_as_long_as_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path))
    for place, text in enumerate((b"one ", b"two")):
        (tmp_path / f"x.gguf.part0{place}").write_bytes(text)
    monkeypatch.setattr(presets, "fetch", lambda name: tmp_path / name)
    with presets.joined(["x.gguf.part00", "x.gguf.part01"]) as file:
        assert (file.name, file.read_bytes()) == ("x.gguf", b"one two")
    assert not file.exists()
    with presets.joined(["x.gguf.part00"]) as file:
        assert file == tmp_path / "x.gguf.part00"
