"""Picture files are read as 8-bit RGB, upright, whatever their depth."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import check_picture, open_picture
from pipeline.verify import pictures

LEVELS = np.linspace(0, 255, 40 * 60).astype(np.uint8).reshape(40, 60)


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(LEVELS.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(LEVELS).save(tmp_path / "usual.png")
    for read in (lambda path: np.asarray(open_picture(path)), lambda path: pictures.load(path, 40, 60)):
        np.testing.assert_array_equal(read(tmp_path / "deep.png"), read(tmp_path / "usual.png"))


def test_a_turned_photograph_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(LEVELS).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    assert open_picture(tmp_path / "turned.jpg").size == (40, 60)
    upright = pictures.load(tmp_path / "turned.jpg", 60, 40)[0, 0] * 255
    np.testing.assert_allclose(upright, np.rot90(LEVELS, -1), atol=4)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pictures_whose_white_is_not_known_are_refused(mode: str, tmp_path: Path) -> None:
    Image.fromarray(LEVELS).convert(mode).save(tmp_path / "a.tif")
    with pytest.raises(PipelineError, match=r"\[bad-picture\].*is not supported"):
        open_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("read", [check_picture, open_picture])
def test_postscript_under_the_name_of_a_picture_never_reaches_ghostscript(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given: started.append(given))
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file\nshowpage\n"
    (tmp_path / "a.png").write_bytes(program)
    with pytest.raises(PipelineError, match="bad-picture"):
        read(tmp_path / "a.png")
    assert not started


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("read", [check_picture, open_picture])
def test_a_named_pipe_is_not_waited_for(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PipelineError, match="not a regular file"):
        read(tmp_path / "a.png")
