"""The cache of finished builds."""

from __future__ import annotations

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
