"""Names for what is made from a source file."""

from __future__ import annotations

import pytest

from pipeline.support.errors import PipelineError
from pipeline.support.identifiers import checked, identifier


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("mosaic", "Mosaic"),
        ("mosaic_nc8", "MosaicNc8"),
        ("12_small", "Style12Small"),
        ("udnie_full.converted", "UdnieFullConverted"),
        ("épreuve", "Preuve"),
        ("___", "Style"),
        ("x" * 200, "X" + "x" * 59),
    ],
)
def test_a_file_stem_becomes_a_class_name(stem, name):
    assert identifier(stem) == name
    assert checked(name) == name


@pytest.mark.parametrize("name", ["", "1a", "a b", "../x", "é", "a" * 61, "a/b", "Con-fetti"])
def test_what_cannot_be_a_class_and_folder_is_refused(name):
    with pytest.raises(PipelineError) as caught:
        checked(name)
    assert caught.value.code == "bad-name"
