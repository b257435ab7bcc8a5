"""Graphs as torch modules: they compute what ONNX Runtime computes, can be trained, and give the weights back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline.graph import from_model
from pipeline.graph.channels import constants
from pipeline.graph.runtime import session
from pipeline.shrink.graph_module import GraphModule
from pipeline.sources import ReadOptions
from pipeline.support.errors import PipelineError
from tests.networks import style_onnx

RNG = np.random.default_rng(5)


def weight(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.4, shape).astype(np.float32)


def model(
    op: str, given: tuple[np.ndarray, ...] | list[np.ndarray] = (), channels: int = 4, **attributes
) -> onnx.ModelProto:
    """A graph of one node on a (1, channels, 12, 16) picture; empty arrays are missing inputs."""
    names = ["x", *(f"c{i}" if value.size or value.dtype != np.uint8 else "" for i, value in enumerate(given))]
    node = helper.make_node(op, names, ["y"], name="it", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 12, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, f"c{i}") for i, v in enumerate(given) if v.size or v.dtype != np.uint8],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


MISSING = np.empty(0, np.uint8)
CASES = {
    "conv": model("Conv", [weight(6, 4, 3, 3), weight(6)], strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]),
    "grouped": model("Conv", [weight(8, 2, 3, 3)], group=2, pads=[1, 1, 1, 1]),
    "same": model("Conv", [weight(6, 4, 3, 3)], auto_pad="SAME_UPPER"),
    "transposed": model(
        "ConvTranspose", [weight(4, 3, 3, 3), weight(3)], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "norm": model("InstanceNormalization", [weight(4), weight(4)], epsilon=1e-3),
    "batch": model("BatchNormalization", [weight(4), weight(4), weight(4), np.abs(weight(4)) + 0.1]),
    "reflect": model("Pad", [np.array([0, 0, 2, 1, 0, 0, 3, 4])], mode="reflect"),
    "zeros": model("Pad", [np.array([0, 0, 2, 1, 0, 0, 3, 4]), np.array(0.5, np.float32)]),
    "edge": model("Pad", [np.array([0, 0, 2, 1, 0, 0, 3, 4])], mode="edge"),
    "nearest": model(
        "Resize",
        [MISSING, np.array([1, 1, 2, 3], np.float32)],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "linear": model("Resize", [MISSING, np.array([1, 1, 2, 2], np.float32)], mode="linear"),
    "corners": model(
        "Resize",
        [MISSING, np.array([1, 1, 2, 2], np.float32)],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    "max": model("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "mean": model("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "counted": model("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "clip": model("Clip", [np.array(-0.2, np.float32), np.array(0.3, np.float32)]),
    "leaky": model("LeakyRelu", alpha=0.3),
    "prelu": model("PRelu", [weight(4, 1, 1)]),
    "elu": model("Elu", alpha=0.7),
    "hard": model("HardSigmoid"),
    "hardswish": model("HardSwish"),
    "dcr": model("DepthToSpace", blocksize=2, mode="DCR"),
    "crd": model("DepthToSpace", blocksize=2, mode="CRD"),
    "space": model("SpaceToDepth", blocksize=2),
    "transpose": model("Transpose", perm=[0, 2, 3, 1]),
    "reshape": model("Reshape", [np.array([0, 2, -1, 16])]),
    "reduce": model("ReduceMean", [np.array([2, 3])]),
    "softmax": model("Softmax", axis=1),
    "pooled": model("GlobalAveragePool"),
    "scaled": model("Mul", [weight(4, 1, 1)]),
}


@pytest.mark.parametrize("name", list(CASES))
def test_each_operator_computes_what_onnx_runtime_computes(name: str) -> None:
    picture = weight(1, 4, 12, 16)
    (expected,) = session(CASES[name]).run(None, {"x": picture})
    with torch.no_grad():
        graph = GraphModule(from_model(CASES[name]))(torch.from_numpy(picture)).numpy()
    np.testing.assert_allclose(graph, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (model("LRN", size=3), "LRN is not supported in training"),
        (
            model("Resize", [MISSING, np.array([1, 1, 2, 2], np.float32)], mode="cubic"),
            "it resizes by cubic with half_pixel",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_node(refused: onnx.ModelProto, why: str) -> None:
    with pytest.raises(PipelineError, match=rf"\[cannot-train-graph\].*it: .*{why}"):
        GraphModule(from_model(refused))


def test_gradients_reach_every_weight_and_go_back_into_the_graph(tmp_path: Path) -> None:
    graph = from_model(onnx.load(style_onnx(tmp_path / "net.onnx")))
    constants(graph)
    module = GraphModule(graph)
    module(torch.rand(1, 3, 32, 48)).square().mean().backward()
    assert {"w1", "w2", "g", "h", "b2"} <= set(module.values())
    assert all(
        bool(p.grad is not None and p.grad.abs().sum() > 0)
        for n, p in module.named_parameters()
        if module.names[n] in ("w1", "w2", "g")
    )


def test_an_onnx_file_is_pruned_and_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.shrink.job import prune_file

    monkeypatch.chdir(tmp_path)
    source = style_onnx(tmp_path / "net.onnx")
    frames = tmp_path / "frames"
    frames.mkdir()
    coarse = Image.fromarray(RNG.integers(0, 255, (6, 8, 3), np.uint8))
    coarse.resize((160, 120), Image.Resampling.BICUBIC).save(frames / "a.png")
    common = {"goal": "55%", "criterion": "l2", "refit": False, "images": frames, "multiple": 1}
    with pytest.raises(PipelineError, match="contract-missing"):
        prune_file(source, tune="3 steps", **common)
    ranges = {"reading": ReadOptions(input_range="0..1", output_range="0..1")}
    plain = prune_file(source, output=tmp_path / "plain.onnx", **common, **ranges)
    tuned = prune_file(source, output=tmp_path / "tuned.onnx", tune="40 steps", **common, **ranges)
    assert (plain["tuned"], tuned["tuned"]) == (False, True)
    assert json.dumps(tuned["widths"]) == json.dumps(plain["widths"])
    onnx.checker.check_model(onnx.load(tmp_path / "tuned.onnx"))
    assert tuned["apart"]["mean_levels"] < plain["apart"]["mean_levels"]
