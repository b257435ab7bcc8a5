from __future__ import annotations

import pytest

from pipeline.unity.manifest import digest, is_pristine, manifest, read_manifest


def test_a_manifest_lists_the_digest_of_every_file_in_order() -> None:
    files = {"StyleTransfer/b.cs": b"two", "StyleTransfer/a.cs": b"one"}
    listed = read_manifest(manifest(files))
    assert list(listed) == ["StyleTransfer/a.cs", "StyleTransfer/b.cs"]
    assert listed["StyleTransfer/b.cs"] == digest(b"two")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"files": []}', b'{"files": {}', b"\xff\xfe"])
def test_what_is_not_a_manifest_lists_nothing(text: bytes) -> None:
    assert read_manifest(text) == {}


def test_line_ends_that_git_converted_are_not_an_edit() -> None:
    assert is_pristine(b"one\r\ntwo\r\n", digest(b"one\ntwo\n"))
    assert not is_pristine(b"one\r\nthree\r\n", digest(b"one\ntwo\n"))


def test_in_binary_files_every_byte_counts() -> None:
    assert not is_pristine(b"\x00\r\n", digest(b"\x00\n"))
