"""Inputs beside the picture are bound, one of several outputs is kept; messages name the option that helps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline import sources
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint

RNG = np.random.default_rng(7)
W1, W2, WS = (RNG.normal(0, 0.3, shape).astype(np.float32) for shape in ((4, 3, 3, 3), (3, 4, 3, 3), (4, 3, 1, 1)))
TABLE = RNG.normal(0, 1, (5, 4, 1, 1)).astype(np.float32)


def model(second: list[int], kind: int, nodes: list[onnx.NodeProto], path: Path, outputs: int = 1) -> Path:
    """A network whose second input `style` scales four channels of the picture's features through `gain`."""
    every = [
        *nodes,
        helper.make_node("Conv", ["picture", "w1"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["features", "gain"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w2"], ["painted"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["painted"], ["out0"]),
        helper.make_node("Neg", ["painted"], ["out1"]),
    ]
    graph = helper.make_graph(
        every if outputs == 2 else every[:-1],
        "two",
        [
            helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "h", "w"]),
            helper.make_tensor_value_info("style", kind, second),
        ],
        [helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, [1, 3, "h", "w"]) for i in range(outputs)],
        [numpy_helper.from_array(v, k) for k, v in (("w1", W1), ("w2", W2), ("ws", WS), ("table", TABLE))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def by_picture(path: Path, outputs: int = 1) -> Path:
    nodes = [
        helper.make_node("Conv", ["style", "ws"], ["seen"]),
        helper.make_node("GlobalAveragePool", ["seen"], ["gain"]),
    ]
    return model([1, 3, 16, 24], TensorProto.FLOAT, nodes, path, outputs)


def by_number(path: Path) -> Path:
    return model([1], TensorProto.INT64, [helper.make_node("Gather", ["table", "style"], ["gain"], axis=0)], path)


def by_vector(path: Path) -> Path:
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([1, 4, 1, 1]))),
        helper.make_node("Reshape", ["style", "shape"], ["gain"]),
    ]
    return model([1, 4], TensorProto.FLOAT, nodes, path)


@pytest.fixture
def wave(tmp_path: Path) -> Path:
    Image.fromarray(RNG.integers(0, 255, (16, 24, 3), np.uint8)).save(tmp_path / "wave.png")
    return tmp_path / "wave.png"


def given(path: Path, style: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """What the two-input network itself makes of a style and a picture."""
    import onnxruntime as ort

    opened = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(opened.run(["out0"], {"picture": picture, "style": style})[0])


def bound(path: Path, binding: str) -> sources.Network:
    return sources.read(path, sources.ReadOptions(input_range="0..1", output_range="0..1", bind=(binding,)))


def test_a_bound_style_is_what_the_two_input_network_makes_of_it(tmp_path: Path, wave: Path) -> None:
    picture = RNG.random((1, 3, 20, 28)).astype(np.float32)
    pixels = np.asarray(Image.open(wave), np.float32).transpose(2, 0, 1)[None] / 255
    for make, binding, style in (
        (by_picture, f"style={wave}", pixels),
        (by_number, "style=3", np.array([3])),
        (by_vector, "style=0.5,-1,2,0", np.array([[0.5, -1, 2, 0]], np.float32)),
    ):
        path = make(tmp_path / "net.onnx")
        network = bound(path, binding)
        output = sources.reference(network)(picture)
        np.testing.assert_allclose(output, given(path, style, picture), atol=1e-5)
        assert [value.name for value in network.model.graph.input] == ["picture"]
        assert sorted(node.op_type for node in network.model.graph.node) == ["Conv", "Conv", "Mul", "Sigmoid"]
        assert any("style is bound" in note for note in network.notes)


@pytest.mark.parametrize(
    ("make", "binding", "told"),
    [
        (by_number, "stile=3", "there is no input stile.*picture.*style"),
        (by_number, "style", "is not NAME=VALUE"),
        (by_number, "style=blue", "neither a number nor numbers"),
        (by_vector, "style=1,2", "needs 4 numbers, and this is 2"),
        (by_picture, "style=missing.png", "file-not-found"),
        (by_vector, "style=nan,0,0,0", "neither a number"),
    ],
)
def test_a_binding_that_does_not_fit_is_told(make, binding: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=told):
        bound(make(tmp_path / "net.onnx"), binding)


def test_a_build_names_inputs_outputs_and_the_option_that_helps(pipeline, tmp_path: Path, wave: Path) -> None:
    source = by_picture(tmp_path / "net.onnx", outputs=2)
    ranges = ("--input-range", "0..1", "--output-range", "0..1", "-o", "out")
    none = pipeline("build-unity", source, *ranges)
    assert none.code == 2 and "2 inputs: picture (1x3x?x?), style (1x3x16x24)" in none.err
    assert "--bind style=VALUE" in none.err
    one = pipeline("build-unity", source, *ranges, "--bind", f"style={wave}")
    assert one.code == 2 and "2 outputs: out0" in one.err and "--take out0" in one.err
    wrong = pipeline("build-unity", source, *ranges, "--bind", f"style={wave}", "--take", "out7")
    assert wrong.code == 2 and "[no-such-output]" in wrong.err
    done = pipeline("build-unity", source, *ranges, "--bind", f"style={wave}", "--take", "out0", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["proof"]["would_have_passed_at"] < 0.1


def test_another_style_picture_is_another_build(pipeline, tmp_path: Path, wave: Path) -> None:
    source = by_picture(tmp_path / "net.onnx")
    arguments = ("build-unity", source, "--input-range", "0..1", "--output-range", "0..1", "-o", "out", "--json")
    first = json.loads(pipeline(*arguments, "--bind", f"style={wave}").out)
    again = json.loads(pipeline(*arguments, "--bind", f"style={wave}").out)
    Image.fromarray(RNG.integers(0, 255, (16, 24, 3), np.uint8)).save(wave)
    other = json.loads(pipeline(*arguments, "--bind", f"style={wave}", "--force").out)
    assert (first["cached"], again["cached"], other["cached"]) == (False, True, False)
    assert other["model"]["digest"] != first["model"]["digest"]


def test_a_checkpoint_has_nothing_to_bind_or_take(pipeline, tmp_path: Path) -> None:
    source = style_checkpoint(tmp_path / "net.pth")
    for option in (("--bind", "style=2"), ("--take", "out0")):
        done = pipeline("build-unity", source, *option, "-o", "out")
        assert done.code == 2 and "[conflicting-options]" in done.err and not Path("out").exists()


def test_a_bound_number_is_built_and_the_cache_keeps_sources_and_numbers_apart(pipeline, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = by_number(tmp_path / "net.onnx"), by_vector(tmp_path / "b" / "net.onnx")
    ranges = ("--input-range", "0..1", "--output-range", "0..1", "--json", "--force", "-o", "out")
    reported = [
        json.loads(pipeline("build-unity", source, "--bind", binding, *ranges).out)
        for source, binding in (
            (first, "style=3"),
            (first, "style=2"),
            (first, "style=3"),
            (second, "style=1,1,1,1"),
        )
    ]
    assert [item["cached"] for item in reported] == [False, False, True, False]
    assert reported[0]["model"]["digest"] == reported[2]["model"]["digest"]
    assert len({item["model"]["digest"] for item in reported}) == 3


def test_a_bound_network_is_painted_with(pipeline, tmp_path: Path, wave: Path) -> None:
    source = by_picture(tmp_path / "net.onnx", outputs=2)
    words = ("--bind", f"style={wave}", "--take", "out0", "--input-range", "0..1", "--output-range", "0..1")
    done = pipeline("paint", source, wave, *words, "-o", "painted.png")
    assert done.code == 0, done.err
    pixels = np.asarray(Image.open(wave), np.float32).transpose(2, 0, 1)[None] / 255
    output = np.asarray(Image.open("painted.png"), np.float32).transpose(2, 0, 1)[None] / 255
    assert np.abs(output - given(source, pixels, pixels)).max() < 1 / 255
    refused = pipeline("paint", style_checkpoint(tmp_path / "net.pth"), wave, "--take", "out0", "-o", "x.png")
    assert refused.code == 2 and "[conflicting-options]" in refused.err
