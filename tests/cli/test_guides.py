"""Networks with depth, normals, a mask or a texture beside the colour: declared, built, proven, read again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline import sources
from pipeline.contract import Guide, ImageContract, ImageSide, guide_textures, input_widths, parse_guide
from pipeline.support.errors import PipelineError
from pipeline.verify.guide_pictures import GuidePictures, pngs, synthetic
from pipeline.verify.proof import to_network
from tests.rewrites import random

RANGES = ("--input-range", "-1..1", "--output-range", "-1..1")


def network(path: Path, inputs: list[tuple[str, int]], opset: int = 13) -> Path:
    """Conv with zero padding, ReLU, Conv, Tanh over all channels; several inputs are joined by a Concat."""
    channels = sum(count for _, count in inputs)
    names = [name for name, _ in inputs]
    joined = [helper.make_node("Concat", names, ["all"], axis=1)] if len(names) > 1 else []
    nodes = [
        *joined,
        helper.make_node("Conv", ["all" if joined else names[0], "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["c"], ["out"]),
    ]
    weights = {"w1": random((6, channels, 3, 3), 1, 0.3), "w2": random((3, 6, 3, 3), 2, 0.3)}
    graph = helper.make_graph(
        nodes,
        "guided",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, "h", "w"]) for name, count in inputs],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def built(folder: Path, name: str = "Net") -> Path:
    return folder / "StyleTransfer" / "Models" / name


# --- what is declared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "what"),
    [
        ("rgb,depht", "not a kind of channel"),
        ("rgb,depth,depth", "given twice"),
        ("rgb,rgb", "given twice"),
        ("depth", "colour is missing"),
        ("", "not a kind of channel"),
        ("rgb,depth:", "not a guide with a range"),
        ("rgb,depth:1..1", "not a guide with a range"),
        ("rgb,depth:0..inf", "not a guide with a range"),
        ("rgb,normals,texture", "9 channels"),
    ],
)
def test_a_wrong_declaration_is_refused_before_anything_is_read(channels, what, pipeline):
    done = pipeline("build-unity", "missing.onnx", "--input-channels", channels, *RANGES)
    assert done.code == 2 and "[bad-input-channels]" in done.err and what in done.err


def test_the_count_must_be_that_of_the_network(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 5)])
    done = pipeline("build-unity", net, "--input-channels", "rgb,depth", *RANGES)
    assert done.code == 2 and "[input-channels-differ]" in done.err
    assert "4 channels" in done.err and "5 input channels" in done.err


@pytest.mark.parametrize(
    ("count", "remedy"), [(4, "rgb,depth or rgb,mask"), (7, "rgb,depth,normals"), (9, "convert")]
)
def test_more_channels_than_a_picture_name_the_option(count, remedy, pipeline, tmp_path):
    done = pipeline("build-unity", network(tmp_path / "net.onnx", [("x", count)]), *RANGES)
    assert done.code == 2 and "[auxiliary-inputs]" in done.err and remedy in done.err


def test_a_range_belongs_to_its_guide():
    assert parse_guide("depth:1..0") == Guide("depth", 1, 0)
    assert str(Guide("normals", -1, 1)) == "normals:-1..1" and str(Guide("mask")) == "mask"
    side = ImageSide("-1..1", 8, "bgr", guides=(Guide("normals", -1, 1), Guide("depth", 1, 0), Guide("mask")))
    side = ImageSide(side.value_range, 8, "bgr", guides=side.guides, guides_before_color=1)
    picture = np.arange(1, 9, dtype=np.float64).reshape(1, 8, 1, 1) / 10
    red, green, blue, x, y, z, depth, mask = picture.ravel()
    expected = [2 * x - 1, 2 * y - 1, 2 * z - 1, 2 * blue - 1, 2 * green - 1, 2 * red - 1, 1 - depth, mask]
    assert np.allclose(to_network(picture, side).ravel(), expected)


def test_imagenet_is_of_the_colour_only():
    side = ImageSide("imagenet", 4, guides=(Guide("depth"),))
    scale, shift = side.affine()
    assert len(scale) == 4 and (scale[3], shift[3]) == (1, 0) and scale[0] == pytest.approx(1 / 0.229)
    with pytest.raises(PipelineError):
        ImageSide("imagenet", 4)


@pytest.mark.parametrize(
    ("names", "widths"),
    [
        ("depth", [3, 1]),
        ("depth normals", [3, 4]),
        ("depth normals mask", [3, 4, 1]),
        ("depth mask normals", [3, 2, 3]),
    ],
)
def test_no_guide_is_divided_between_textures(names, widths):
    guides = [Guide(name) for name in names.split()]
    assert input_widths(guides) == widths
    assert [guide for part in guide_textures(guides) for guide in part] == guides


def test_few_shot_networks_have_guides_in_the_range_of_their_pictures(tmp_path):
    from pipeline.sources.guides import declared

    side = declared("rgb,normals,depth:0..1", ImageSide("-1..1", 7), tmp_path, known=True)
    assert side.guides == (Guide("normals", -1, 1), Guide("depth", 0, 1))
    assert declared("rgb,normals", ImageSide("-1..1", 6), tmp_path, known=False).guides == (Guide("normals"),)


# --- building --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "channels", "target"),
    [
        ([("x", 4)], "rgb,depth", "barracuda-3.0"),
        ([("x", 8)], "normals:-1..1,rgb,depth:0..100,mask", "inference-2"),
        ([("image", 3), ("depth", 1)], "rgb,depth:1..0", "barracuda-1.0"),
        ([("depth", 1), ("image", 3), ("normals", 3)], "depth,rgb,normals", "sentis-2.1"),
    ],
)
def test_a_bundle_takes_the_guides_and_is_proven(inputs, channels, target, pipeline, tmp_path):
    """The proof compares the file with its inputs cut apart against the source with its own ranges and order."""
    net = network(tmp_path / "net.onnx", inputs)
    done = pipeline("build-unity", net, "--input-channels", channels, *RANGES, "-o", "out", "--target", target)
    assert done.code == 0, done.err
    folder = built(Path("out"))
    report = json.loads((folder / "report.json").read_text())
    assert report["proof"]["passed"] and report["proof"]["comparisons"][0]["max_levels"] < 0.1
    words = [word.partition(":")[0] for word in channels.split(",")]
    guides = [word for word in words if word != "rgb"]
    assert report["model"]["guides"] == guides
    model = onnx.load(folder / "Net.onnx")
    sizes = [value.type.tensor_type.shape.dim[1].dim_value for value in model.graph.input]
    assert sizes == input_widths([Guide(name) for name in guides])
    asset = (folder / "Net.asset").read_text()
    assert "inputChannels: 3\n" in asset and f"  guides:\n  - {guides[0]}\n" in asset
    assert f"  - {model.graph.input[1].name}\n" in asset and asset.count("guid:") >= 4 + len(guides)
    for guide in guides:
        shown = Image.open(folder / f"golden_{guide}.png")
        assert shown.mode == ("RGB" if guide in ("normals", "texture") else "L")
        assert "sRGBTexture: 0" in (folder / f"golden_{guide}.png.meta").read_text()


def test_a_wrong_range_of_a_guide_would_be_seen(tmp_path):
    """The proof notices: the same network, built as if its depth were reversed, is another one."""
    net = network(tmp_path / "net.onnx", [("x", 4)])
    outputs = []
    for channels in ("rgb,depth", "rgb,depth:1..0"):
        options = sources.ReadOptions(input_channels=channels, input_range="0..1", output_range="-1..1")
        read = sources.read(net, options)
        from pipeline.verify import pictures
        from pipeline.verify.proof import around

        guides = GuidePictures(read.contract.input.guides)
        outputs.append(around(sources.reference(read), read.contract)(pictures.load(None, 32, 48, 4, guides)))
    assert np.abs(outputs[0] - outputs[1]).max() * 255 > 20


def test_a_built_model_is_read_with_its_guides(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 7)])
    assert pipeline("build-unity", net, "--input-channels", "rgb,normals,depth", *RANGES, "-o", "out").code == 0
    read = sources.read(built(Path("out")) / "Net.onnx")
    assert isinstance(read.contract, ImageContract)
    assert [guide.name for guide in read.contract.input.guides] == ["normals", "depth"]
    assert read.contract.input.channels == 7 and len(read.model.graph.input) == 1
    declared = ("--input-channels", "rgb,normals,depth", *RANGES)
    done = pipeline("compare", net, built(Path("out")) / "Net.onnx", *declared)
    assert done.code == 0, done.err


def test_a_joined_input_of_an_old_opset(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("image", 3), ("mask", 1)], opset=9)
    done = pipeline("build-unity", net, "--input-channels", "rgb,mask", *RANGES, "-o", "out")
    assert done.code == 0, done.err


def test_inputs_in_another_order_are_refused(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("depth", 1), ("image", 3)])
    done = pipeline("build-unity", net, "--input-channels", "rgb,depth", *RANGES)
    assert (
        done.code == 2 and "[input-channels-differ]" in done.err and "depth (1x1x?x?), image (1x3x?x?)" in done.err
    )


@pytest.mark.parametrize(
    ("target", "channels", "tolerance"),
    [("compute", "normals:-1..1,rgb,depth:0..100,mask", 0.1), ("compute-half", "rgb,depth", 4)],
)
def test_a_compiled_network_takes_the_guides_and_is_proven(target, channels, tolerance, pipeline, tmp_path):
    words = [word.partition(":")[0] for word in channels.split(",")]
    guides = [word for word in words if word != "rgb"]
    widths = input_widths([Guide(name) for name in guides])
    net = network(tmp_path / "net.onnx", [("x", sum(widths))])
    done = pipeline("build-unity", net, "--input-channels", channels, *RANGES, "-o", "out", "--target", target)
    assert done.code == 0, done.err
    folder = built(Path("out"))
    report = json.loads((folder / "report.json").read_text())
    assert report["proof"]["passed"] and report["proof"]["comparisons"][0]["max_levels"] < tolerance
    inputs = ["guides", "guides_2"][: len(widths) - 1]
    assert [(each["name"], each["channels"]) for each in report["model"]["guide_inputs"]] == [
        *zip(inputs, widths[1:], strict=True)
    ]
    asset = (folder / "Net.asset").read_text()
    assert "inputChannels: 3\n" in asset and f"  guides:\n  - {guides[0]}\n" in asset
    assert "  guideInputs:\n" + "".join(f"  - {name}\n" for name in inputs) in asset
    assert all((folder / f"golden_{guide}.png").is_file() for guide in guides)


@pytest.mark.parametrize(
    "words", [("--weights", "half"), ("--guides", "somewhere"), ("--bind", "a=1", "--bind", "a=2")]
)
def test_what_does_not_go_together_is_refused(words, pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 4)])
    done = pipeline("build-unity", net, "--input-channels", "rgb,depth", *RANGES, *words)
    assert done.code == 2 and "[conflicting-options]" in done.err


def test_convert_cuts_the_input_where_ranges_are_declared(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 5)])
    done = pipeline("convert", net, "-o", "made.onnx", "--input-channels", "rgb,depth,mask", *RANGES)
    assert done.code == 0, done.err
    assert len(onnx.load("made.onnx").graph.input) == 2


# --- pictures of guides ----------------------------------------------------------------------------------------


def test_guides_come_from_a_folder_and_change_the_golden_frame(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 4)])
    Image.fromarray(np.full((96, 128, 3), 90, np.uint8)).save(tmp_path / "frame.png")
    (tmp_path / "guides" / "depth").mkdir(parents=True)
    depth = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (96, 1))
    Image.fromarray(depth).save(tmp_path / "guides" / "depth" / "frame.png")
    words = ("--input-channels", "rgb,depth", *RANGES, "--picture", tmp_path / "frame.png", "-o", "out")
    done = pipeline("build-unity", net, *words, "--guides", tmp_path / "guides")
    assert done.code == 0, done.err
    stored = np.asarray(Image.open(built(Path("out")) / "golden_depth.png"))
    assert (
        stored.shape[1] > stored.shape[0] and (np.diff(stored[50].astype(int)) >= 0).all() and stored.max() > 240
    )
    before = (built(Path("out")) / "golden_output.png").read_bytes()
    Image.fromarray(depth[:, ::-1]).save(tmp_path / "guides" / "depth" / "frame.png")
    assert pipeline("build-unity", net, *words, "--guides", tmp_path / "guides").code == 0
    assert (built(Path("out")) / "golden_output.png").read_bytes() != before


def test_a_missing_guide_and_one_of_other_proportions(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 4)])
    Image.new("RGB", (128, 96)).save(tmp_path / "frame.png")
    (tmp_path / "guides").mkdir()
    words = ("--input-channels", "rgb,depth", *RANGES, "--picture", tmp_path / "frame.png")
    done = pipeline("build-unity", net, *words, "--guides", tmp_path / "guides")
    assert done.code == 2 and "[guide-missing]" in done.err and "depth.png" in done.err
    Image.new("L", (96, 96)).save(tmp_path / "guides" / "depth.png")
    done = pipeline("build-unity", net, *words, "--guides", tmp_path / "guides")
    assert done.code == 2 and "[guide-size-differs]" in done.err and "96x96" in done.err


def test_paint_takes_the_guides_of_each_picture(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 4)])
    (tmp_path / "frames" / "a").mkdir(parents=True)
    (tmp_path / "guides" / "depth" / "a").mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(np.full((32, 48, 3), 90, np.uint8)).save(tmp_path / "frames" / "a" / f"{number}.png")
        depth = Image.fromarray(np.full((32, 48), 120 * number, np.uint8))
        depth.save(tmp_path / "guides" / "depth" / "a" / f"{number}.png")
    words = ("paint", net, tmp_path / "frames", "-o", "out", "--input-channels", "rgb,depth", *RANGES)
    done = pipeline(*words, "--guides", tmp_path / "guides")
    assert done.code == 0, done.err
    outputs = [np.asarray(Image.open(Path("out") / "a" / f"{number}.png")).astype(int) for number in (1, 2)]
    assert np.abs(outputs[0] - outputs[1]).max() > 5
    assert "[conflicting-options]" in pipeline(*words, "--force").err
    (tmp_path / "guides" / "depth" / "a" / "2.png").unlink()
    done = pipeline(*words, "--force", "--guides", tmp_path / "guides")
    assert done.code == 2 and "[guide-missing]" in done.err
    done = pipeline("paint", net, tmp_path / "frames", *RANGES)
    assert done.code == 2 and "[auxiliary-inputs]" in done.err and "rgb,depth" in done.err


def test_paint_runs_a_bundle_as_its_target_does(pipeline, tmp_path):
    net = network(tmp_path / "net.onnx", [("x", 4)])
    assert pipeline("build-unity", net, "--input-channels", "rgb,depth", *RANGES, "-o", "out").code == 0
    Image.fromarray(np.full((32, 48, 3), 90, np.uint8)).save(tmp_path / "frame.png")
    (tmp_path / "guides").mkdir()
    Image.fromarray(np.tile(np.arange(48, dtype=np.uint8) * 5, (32, 1))).save(tmp_path / "guides" / "depth.png")
    guides = ("--guides", tmp_path / "guides", "--input-channels", "rgb,depth")
    for number, words in enumerate([(net, *RANGES), (built(Path("out")), "--target", "barracuda-3.0")]):
        done = pipeline("paint", *words[:1], tmp_path / "frame.png", *words[1:], *guides, "-o", f"{number}.png")
        assert done.code == 0, done.err
    first, second = (np.asarray(Image.open(f"{number}.png")).astype(int) for number in (0, 1))
    assert np.abs(first - second).max() <= 1 and first.std() > 2


def test_synthetic_guides_are_what_they_are_called():
    depth = synthetic(Guide("depth"), 90, 160)[0]
    normals = synthetic(Guide("normals"), 90, 160)
    mask = synthetic(Guide("mask"), 90, 160)
    assert 0.1 < depth.min() < 0.3 and depth[0, 0] > 0.8
    vectors = 2 * normals - 1
    assert np.allclose(np.linalg.norm(vectors, axis=0), 1, atol=0.02) and (vectors[2] > 0).all()
    assert (np.abs(vectors[0, 0]) < 0.02).all() and vectors[1, 80, 2] > 0.1  # the sky; the floor looks up
    assert mask[0, 45, 80] == 1 and mask[0, 0, 0] == 0
    assert np.array_equal(synthetic(Guide("texture"), 90, 160), synthetic(Guide("texture"), 90, 160))
    picture = np.concatenate([np.zeros((3, 90, 160), np.float32), normals, depth[None]])[None]
    assert len(pngs([Guide("normals"), Guide("depth")], picture)) == 2
