"""The output of a segmentation network becomes a mask: 1 at the subject, whatever the network gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import sources
from pipeline.support.errors import PipelineError

PICTURE = np.random.default_rng(4).random((1, 3, 16, 24)).astype(np.float32)


def network(path: Path, channels: int, last: str | None, scale: float = 1.0, nhwc: bool = False) -> Path:
    """One convolution with `channels` outputs, named `mask`, behind `last` (Sigmoid or Softmax) or nothing."""
    weight = np.random.default_rng(5).normal(0, 3 * scale, (channels, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["seen", "w"], ["logits"], pads=[1, 1, 1, 1])]
    result = "logits"
    if last:
        axis = {"axis": 1} if last == "Softmax" else {}
        nodes.append(helper.make_node(last, ["logits"], ["probability"], **axis))
        result = "probability"
    if nhwc:
        nodes.insert(0, helper.make_node("Transpose", ["picture"], ["seen"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", [result], ["mask"], perm=[0, 2, 3, 1]))
        shapes = [1, 16, 24, 3], [1, 16, 24, channels]
    else:
        nodes.insert(0, helper.make_node("Identity", ["picture"], ["seen"]))
        nodes.append(helper.make_node("Identity", [result], ["mask"]))
        shapes = [1, 3, "h", "w"], [1, channels, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "segmentation",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, shapes[1])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def plain(path: Path, nhwc: bool) -> np.ndarray:
    """What the file itself gives, (1, C, H, W)."""
    import onnxruntime as ort

    opened = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = opened.run(["mask"], {"picture": PICTURE.transpose(0, 2, 3, 1) if nhwc else PICTURE})[0]
    return given.transpose(0, 3, 1, 2) if nhwc else given


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("marks", ["subject", "background"])
@pytest.mark.parametrize(
    ("channels", "last", "output_range"),
    [
        (1, "Sigmoid", None),
        (1, None, "logits"),
        (1, None, "0..255"),
        (2, "Softmax", None),
        (2, None, "logits"),
        (2, None, "0..1"),
        (2, None, "0..255"),
    ],
)
def test_the_mask_is_1_at_the_subject(
    tmp_path: Path, channels: int, last: str | None, output_range: str | None, marks: str, nhwc: bool
) -> None:
    path = network(tmp_path / "net.onnx", channels, last, 80 if output_range == "0..255" else 1, nhwc)
    options = sources.ReadOptions(input_range="0..1", output_range=output_range, mask=marks)
    read = sources.read(path, options)
    output = sources.reference(read)(PICTURE)
    given = plain(path, nhwc).astype(np.float64)
    if output_range == "logits":
        odds = given[:, 1:] - given[:, :1] if channels == 2 else given
        marked = 1 / (1 + np.exp(-odds))
    else:
        marked = given[:, -1:] / (255 if output_range == "0..255" else 1)
    other = 1 - marked
    if channels == 2 and output_range != "logits":
        other = given[:, :1] / (255 if output_range == "0..255" else 1)
    expected = {"subject": marked, "background": other}[marks]
    assert output.shape == (1, 1, 16, 24)
    np.testing.assert_allclose(output, expected, atol=1e-5, rtol=1e-5)
    assert read.contract is not None
    assert (read.contract.output.value_range, read.contract.output.channels) == ("0..1", 1)
    assert any(f"mark the {marks}" in note for note in read.notes)


@pytest.mark.parametrize(
    ("channels", "marks", "output_range", "told"),
    [
        (3, "subject", None, "has 3 channels, but a mask has 1 or 2"),
        (1, "person", None, "'person' is not something that a mask can mark"),
        (1, "subject", None, "does not end in a sigmoid or softmax.*--output-range logits"),
        (1, "subject", "imagenet", "imagenet is not a value range of a mask"),
    ],
)
def test_what_cannot_be_a_mask_is_told(
    tmp_path: Path, channels: int, marks: str, output_range: str | None, told: str
) -> None:
    path = network(tmp_path / "net.onnx", channels, None)
    options = sources.ReadOptions(input_range="0..1", output_range=output_range, mask=marks)
    with pytest.raises(PipelineError, match=told):
        sources.read(path, options)


def test_logits_are_a_range_of_masks_only(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", 1, None)
    with pytest.raises(PipelineError, match="bad-value-range"):
        sources.read(path, sources.ReadOptions(input_range="0..1", output_range="logits"))


@pytest.mark.parametrize("declared", [None, ["n", "c", "height", "width"]])
def test_channels_that_the_file_does_not_declare_are_inferred(tmp_path: Path, declared: list[str] | None) -> None:
    """Exporters leave the shape of a mask out that is resized to a computed size."""
    path = network(tmp_path / "mask.onnx", 1, "Sigmoid")
    model = onnx.load(path)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("mask", TensorProto.FLOAT, declared))
    onnx.save(model, path)
    found = sources.read(path, sources.ReadOptions(input_range="0..1", mask="subject"))
    assert found.contract.output.channels == 1
    paint = sources.reference(found)
    np.testing.assert_allclose(paint(PICTURE), plain(path, False), atol=1e-6)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("last", ["Squeeze", "ArgMax"])
def test_a_mask_without_a_channel_axis_and_class_numbers_are_masks(
    tmp_path: Path, last: str, nhwc: bool, opset: int
) -> None:
    path = network(tmp_path / "net.onnx", 1 if last == "Squeeze" else 2, "Sigmoid", nhwc=nhwc)
    model = onnx.load(path)
    model.opset_import[0].version = opset
    axis = 3 if nhwc else 1
    model.graph.node[-1].output[0] = "whole"
    if last == "ArgMax":
        model.graph.node.append(helper.make_node("ArgMax", ["whole"], ["mask"], axis=axis, keepdims=0))
    elif opset == 11:
        model.graph.node.append(helper.make_node("Squeeze", ["whole"], ["mask"], axes=[axis]))
    else:
        model.graph.initializer.append(numpy_helper.from_array(np.array([axis]), "axis"))
        model.graph.node.append(helper.make_node("Squeeze", ["whole", "axis"], ["mask"]))
    kind = TensorProto.INT64 if last == "ArgMax" else TensorProto.FLOAT
    del model.graph.output[:]
    sizes = [1, 16, 24] if nhwc else [1, "h", "w"]
    model.graph.output.append(helper.make_tensor_value_info("mask", kind, sizes))
    onnx.save(model, path)
    made = sources.reference(sources.read(path, sources.ReadOptions(input_range="0..1", mask="background")))(
        PICTURE
    )
    import onnxruntime as ort

    opened = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = opened.run(None, {"picture": PICTURE.transpose(0, 2, 3, 1) if nhwc else PICTURE})
    np.testing.assert_allclose(made.squeeze(), 1 - given[0], atol=1e-6)
    assert made.shape == (1, 1, 16, 24)
