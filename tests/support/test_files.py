"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from pipeline.support.errors import PipelineError
from pipeline.support.files import write_file


def test_a_file_is_made_with_its_folders(tmp_path):
    write_file(tmp_path / "a" / "b.onnx", b"123")
    assert (tmp_path / "a" / "b.onnx").read_bytes() == b"123"


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(PipelineError) as caught:
        write_file(tmp_path, b"")
    assert caught.value.code == "destination-is-folder"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EROFS, "destination-not-writable"),
        (errno.EACCES, "destination-not-writable"),
    ],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, number, code):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PipelineError) as caught:
        write_file(path, b"new")
    assert caught.value.code == code
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.onnx"]
