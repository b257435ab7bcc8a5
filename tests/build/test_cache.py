"""The cache of finished builds."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import zipfile

import pytest

from pipeline.build import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))


FILES = {"StyleTransfer/a.txt": b"abc", "StyleTransfer/b.bin": bytes(range(256))}


def test_what_was_stored_comes_back():
    cache.store("k", FILES, {"schema": 1})
    assert cache.load("k") == (FILES, {"schema": 1})


def test_a_damaged_entry_is_no_entry():
    cache.store("k", FILES, {})
    path = cache.folder() / "k.zip"
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], content.replace(b"abc", b"abd"), b"x" * 100):
        path.write_bytes(damaged)
        assert cache.load("k") is None


def test_a_changed_companion_voids_the_entry(tmp_path):
    companion = tmp_path / "weights.data"
    companion.write_bytes(b"1")
    cache.store("k", FILES, {}, [companion])
    assert cache.load("k") is not None
    companion.write_bytes(b"2")
    assert cache.load("k") is None
    companion.unlink()
    assert cache.load("k") is None


def test_the_key_follows_bytes_name_and_options(tmp_path):
    a, b = tmp_path / "a.pth", tmp_path / "b.pth"
    a.write_bytes(b"same")
    b.write_bytes(b"same")
    base = cache.key(a, {"target": "x"})
    assert cache.key(a, {"target": "x"}) == base
    assert cache.key(b, {"target": "x"}) != base
    assert cache.key(a, {"target": "y"}) != base
    a.write_bytes(b"other")
    assert cache.key(a, {"target": "x"}) != base


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "file"))
    cache.store("k", FILES, {})
    assert cache.load("k") is None


def test_old_entries_go(monkeypatch):
    monkeypatch.setattr(cache, "_MAX_ENTRIES", 3)
    for number in range(5):
        cache.store(f"k{number}", FILES, {})
    assert len(list(cache.folder().glob("*.zip"))) == 3
    assert not list(cache.folder().glob("*.part"))


# --- what else may lie in the folder ----------------------------------------------------------------------------
def rewritten(name: str, change) -> None:
    """The entry with its members as `change` leaves them: name -> bytes."""
    path = cache.folder() / f"{name}.zip"
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for item, content in members.items():
            archive.writestr(item, content)


def forged(members: dict[str, bytes], **changed: bytes) -> None:
    """Other content, and an index that fits it: what somebody can make who may write into the folder."""
    members.update(changed)
    index = json.loads(members["index"])
    stored = {name: hashlib.sha256(content).hexdigest() for name, content in members.items() if name != "index"}
    signature = hmac.new(b"", json.dumps([index["key"], dict(sorted(stored.items()))]).encode(), "sha256")
    members["index"] = json.dumps(index | {"members": stored, "signature": signature.hexdigest()}).encode()


@pytest.mark.parametrize("name", ["../../x", "/abs", "StyleTransfer/Editor/Evil.cs", "C:/x", "a\\..\\x"])
def test_a_member_that_no_build_wrote_is_no_entry(name):
    cache.store("k", FILES, {})
    rewritten("k", lambda members: members.update({name: b"using UnityEditor;"}))
    assert cache.load("k") is None


@pytest.mark.parametrize("name", ["../../x", "/abs", "C:/x", "a/../../b", "nul.txt"])
def test_a_name_that_leaves_the_folder_is_no_entry_though_the_index_fits(name):
    cache.store("k", FILES, {})
    rewritten("k", lambda members: forged(members, **{name: b"1"}))
    assert cache.load("k") is None


def test_an_entry_of_another_build_is_no_entry():
    cache.store("a", FILES, {})
    (cache.folder() / "a.zip").rename(cache.folder() / "b.zip")
    assert cache.load("b") is None


def test_with_a_key_nobody_else_makes_an_entry(monkeypatch):
    cache.store("k", FILES, {})
    monkeypatch.setenv(cache.KEY, "secret")
    assert cache.load("k") is None
    cache.store("k", FILES, {})
    assert cache.load("k") == (FILES, {})
    rewritten("k", lambda members: forged(members, **{"StyleTransfer/a.txt": b"other"}))
    assert cache.load("k") is None


@pytest.mark.parametrize("report", [b"[]", b"1", b"[" * 100_000, b"\xff", b"{"])
def test_a_report_of_another_kind_is_no_entry(report):
    cache.store("k", FILES, {})
    rewritten("k", lambda members: forged(members, report=report))
    assert cache.load("k") is None


@pytest.mark.parametrize("companions", [b"[]", b'{"/dev/zero": "0"}', b'{"\\u0000": "0"}', b'{"a": 1}'])
def test_companions_of_another_kind_are_no_entry(companions):
    cache.store("k", FILES, {})
    rewritten("k", lambda members: forged(members, companions=companions))
    assert cache.load("k") is None


def test_a_compressed_member_is_not_unpacked():
    cache.store("k", FILES, {})
    with zipfile.ZipFile(cache.folder() / "k.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    assert cache.load("k") is None


def test_an_unknown_compression_is_no_entry():
    cache.store("k", FILES, {})
    path = cache.folder() / "k.zip"
    content = bytearray(path.read_bytes())
    for start in (content.find(b"PK\x03\x04"), content.find(b"PK\x01\x02")):
        content[start + (8 if content[start + 2] == 3 else 10)] = 99
    path.write_bytes(content)
    assert cache.load("k") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has fifos")
def test_a_fifo_or_link_or_folder_is_no_entry(tmp_path):
    cache.store("k", FILES, {})
    path = cache.folder() / "k.zip"
    path.rename(tmp_path / "real.zip")
    os.mkfifo(path)
    assert cache.load("k") is None
    path.unlink()
    path.symlink_to(tmp_path / "real.zip")
    assert cache.load("k") is None
    path.unlink()
    path.mkdir()
    assert cache.load("k") is None
