"""pipeline paint: pictures, folders and videos, at their own sizes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from PIL import Image

from pipeline import sources
from pipeline.support import video
from tests.networks import style_checkpoint, style_onnx

RANGES = ("--input-range", "0..1", "--output-range", "0..1")


def photo(path: Path, size: tuple[int, int] = (50, 38), seed: int = 1) -> np.ndarray:
    """A picture file of smooth noise; its levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (5, 7, 3), np.uint8))
    result = small.resize(size, Image.Resampling.BICUBIC)
    result.save(path)
    return np.asarray(result)


def test_a_picture_of_any_size_is_painted_at_that_size(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    levels = photo(Path("photo.png"), (52, 40))
    done = pipeline("paint", source, "photo.png", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    output = np.asarray(Image.open(report["painted"][0]["output"]))
    assert Path(report["painted"][0]["output"]).name == "photo.net.png"
    expected = sources.reference(sources.read(source))(levels.astype(np.float32).transpose(2, 0, 1)[None])
    np.testing.assert_allclose(output, np.clip(expected[0].transpose(1, 2, 0), 0, 255), atol=0.51)
    photo(Path("odd.png"), (51, 37))
    assert pipeline("paint", source, "odd.png").code == 0
    assert Image.open("odd.net.png").size == (51, 37)


def test_a_folder_keeps_its_names_and_side_by_side_shows_both(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    for name in ("a.png", "deep/b.png"):
        photo(Path("frames") / name)
    done = pipeline("paint", source, "frames", *RANGES, "--side-by-side", "-o", "out")
    assert done.code == 0, done.err
    assert Image.open("out/deep/b.png").size == (2 * 50 + 8, 38)


def test_a_video_becomes_a_video(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    frames = [photo(Path("f.png"), (64, 48), seed) for seed in range(3)]
    assert video.write(Path("walk.mp4"), frames, Fraction(10)) == 3
    done = pipeline("paint", source, "walk.mp4")
    assert done.code == 0, done.err
    output = list(video.frames(Path("walk.net.mp4")))
    assert [frame.shape for frame in output] == [(48, 64, 3)] * 3
    assert video.rate(Path("walk.net.mp4")) == 10


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nothing.png",), "file-not-found"),
        (("notes.txt",), "not-a-picture"),
        (("broken.mp4",), "bad-video"),
        (("playlist.mp4",), "bad-video"),
        (("a.png", "a.png", "-o", "both.png"), "conflicting-options"),
        (("a.png", "-o", "out.txt"), "bad-output"),
        (("a.png", "-o", "notes.txt/out.png"), "destination-not-writable"),
        (("a.png", "-o", "a.png"), "file-exists"),
        (("a.png", "deep/a.png"), "conflicting-options"),
    ],
)
def test_what_cannot_be_painted_is_reported_in_one_line(arguments, code, pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    photo(Path("a.png"))
    photo(Path("deep/a.png"))
    Path("notes.txt").write_text("no picture")
    Path("broken.mp4").write_bytes(b"\0" * 64)
    Path("playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\na.png\n#EXT-X-ENDLIST\n")
    done = pipeline("paint", source, *arguments)
    assert done.code == 2 and f"[{code}]" in done.err, done.err


def test_one_network_of_several_and_one_output_of_several_are_chosen(pipeline, tmp_path):
    state = torch.load(style_checkpoint(tmp_path / "net.pth"))
    torch.save({"params": state, "params_ema": {k: v * 0.9 for k, v in state.items()}}, tmp_path / "two.pth")
    torch.save({k: v * 0.9 for k, v in state.items()}, tmp_path / "ema.pth")
    photo(Path("a.png"))
    refused = pipeline("paint", tmp_path / "two.pth", "a.png", "-o", "x.png")
    assert refused.code == 2 and "--prefix params_ema" in refused.err
    assert pipeline("paint", tmp_path / "two.pth", "a.png", "-o", "x.png", "--prefix", "params_ema").code == 0
    assert pipeline("paint", tmp_path / "ema.pth", "a.png", "-o", "y.png").code == 0
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()
    same = pipeline("compare", tmp_path / "two.pth", tmp_path / "two.pth", "--prefix", "params_ema")
    assert same.code == 0, same.err
    nodes = [helper.make_node("Relu", ["x"], ["first"]), helper.make_node("Neg", ["x"], ["second"])]
    shaped = [helper.make_tensor_value_info(name, 1, [1, 3, "h", "w"]) for name in ("x", "first", "second")]
    graph = helper.make_graph(nodes, "g", shaped[:1], shaped[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "n.onnx")
    call = ("paint", tmp_path / "n.onnx", "a.png", "-o", "z.png", "--force", *RANGES)
    refused = pipeline(*call)
    assert refused.code == 2 and "--take first" in refused.err
    assert pipeline("compare", *call[1:2], *call[1:2], "--take", "second", *RANGES).code == 0
    for target in ((), ("--target", "barracuda-3.0")):
        done = pipeline(*call, "--take", "first", *target)
        assert done.code == 0, done.err
        assert np.array_equal(np.asarray(Image.open("z.png")), np.asarray(Image.open("a.png")))
