"""The guard for names of files inside a folder."""

from __future__ import annotations

import pytest

from pipeline.support.errors import PipelineError
from pipeline.support.inside import check_all_inside, check_inside


@pytest.mark.parametrize(
    "path",
    [
        "StyleTransfer/Models/Mosaic/Mosaic.onnx",
        "StyleTransfer.meta",
        "a/b.c.d",
        "Stil/M\u00f6we.cs",
        "com/x",
        "a/.keep",
    ],
)
def test_names_that_builds_write_pass(path):
    assert check_inside(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "/abs", "../x", "a/../../x", "a/./b", "a//b", "a/", "C:/x", "C:x", "a\\b", "..\\x", "\\\\host\\x"),
        *("nul", "a/CON.txt", "Lpt1.cs", "COM\u00b9", "a/b.", "a/b ", "a\nb", "a\x00b", "a\u202eb", "a\udcffb"),
        *("a:stream", "a/con .txt", "x" * 2000, "a?b", "..", "."),
    ],
)
def test_names_that_leave_or_are_no_names_are_refused(path):
    with pytest.raises(PipelineError) as caught:
        check_inside(path)
    assert caught.value.code == "unsafe-path"


@pytest.mark.parametrize(
    "paths", [["Other/x"], ["StyleTransferX/x"], ["StyleTransfer/a", "StyleTransfer/A"], ["x.meta"]]
)
def test_all_names_lie_in_one_folder_and_are_different_everywhere(paths):
    with pytest.raises(PipelineError):
        check_all_inside(paths, "StyleTransfer")
    check_all_inside(["StyleTransfer.meta", "StyleTransfer/a", "StyleTransfer/b"], "StyleTransfer")
