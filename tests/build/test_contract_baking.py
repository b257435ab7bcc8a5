"""Baking the image contract: the same picture, whatever range and order the network wants."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.build.contract_baking import bake
from pipeline.contract import RANGES, ImageContract, ImageSide
from pipeline.graph import from_model, to_model

RNG = np.random.default_rng(7)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def graph_of(nodes: list[onnx.NodeProto], **initialisers: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in initialisers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=6)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.3, shape)


def reference(model: onnx.ModelProto, contract: ImageContract, rgb01: np.ndarray) -> np.ndarray:
    """The contract applied by hand around the network as it was."""
    scale, shift = (np.array(v, np.float64).reshape(1, -1, 1, 1) for v in contract.input.affine())
    x = rgb01.astype(np.float64) * scale + shift
    if contract.input.order == "bgr":
        x = x[:, ::-1]
    y = run(model, np.ascontiguousarray(x, np.float32)).astype(np.float64)
    if contract.output.order == "bgr":
        y = y[:, ::-1]
    scale, shift = (np.array(v, np.float64).reshape(1, -1, 1, 1) for v in contract.output.affine())
    return np.clip((y - shift) / scale, 0, 1)


CONV = {"w": weights(4, 3, 3, 3), "b": weights(4), "v": weights(3, 4, 3, 3), "c": weights(3)}


def reflect_net() -> onnx.ModelProto:
    pad = [0, 0, 1, 1, 0, 0, 1, 1]
    return graph_of(
        [
            helper.make_node("Pad", ["x"], ["p"], mode="reflect", pads=pad),
            helper.make_node("Conv", ["p", "w", "b"], ["h"], kernel_shape=[3, 3]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Conv", ["r", "v", "c"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        ],
        **CONV,
    )


def zero_padded_net() -> onnx.ModelProto:
    return graph_of(
        [
            helper.make_node("Conv", ["x", "w"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Conv", ["r", "v"], ["y0"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Tanh", ["y0"], ["t"]),
            helper.make_node("Add", ["t", "one"], ["u"]),
            helper.make_node("Mul", ["u", "half"], ["y"]),
        ],
        w=CONV["w"],
        v=CONV["v"] / 200,
        one=np.array(1.0),
        half=np.array([127.5]),
    )


def skip_net() -> onnx.ModelProto:
    return graph_of(
        [
            helper.make_node("Conv", ["x", "w"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["h", "v"], ["k"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["k", "x"], ["y"]),
        ],
        w=CONV["w"],
        v=CONV["v"],
    )


@pytest.mark.parametrize("net", [reflect_net, zero_padded_net, skip_net])
@pytest.mark.parametrize("input_range", RANGES)
@pytest.mark.parametrize("output_range", RANGES)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("tail", ["folded", "nodes"])
def test_the_baked_graph_takes_and_gives_rgb_0_to_1(net, input_range, output_range, order, tail):
    contract = ImageContract(ImageSide(input_range, order=order), ImageSide(output_range, order=order))
    rgb01 = RNG.random((1, 3, 12, 16)).astype(np.float32)
    model = centred(net(), contract, rgb01, tail)
    graph = from_model(model)
    bake(graph, contract)
    expected = reference(model, contract, rgb01)
    result = run(to_model(graph), rgb01)
    assert result.min() >= 0 and result.max() <= 1
    assert expected.std() > 0.1 and np.mean((expected > 0) & (expected < 1)) > 0.5
    np.testing.assert_allclose(result, expected, atol=1e-4)


def centred(model: onnx.ModelProto, contract: ImageContract, rgb01: np.ndarray, tail: str) -> onnx.ModelProto:
    """The network with its output spread over the contract's range, so that the clamp does not hide errors.

    `tail` "nodes" does it with Mul and Add at the end; "folded" in the last convolution, where there is one.
    """
    scale, shift = (np.array(v, np.float64).reshape(1, -1, 1, 1) for v in contract.input.affine())
    x = rgb01 * scale + shift
    y = run(model, np.ascontiguousarray(x[:, ::-1] if contract.input.order == "bgr" else x, np.float32))
    low, high = np.percentile(y, [5, 95])
    scale, shift = (np.array(v, np.float64) for v in contract.output.affine())
    gain = scale.mean() / (high - low)
    offset = shift.mean() - low * gain
    last = model.graph.node[-1]
    if tail == "folded" and last.op_type == "Conv" and len(last.input) == 3:
        by_name = {i.name: i for i in model.graph.initializer}
        for name, extra in ((last.input[1], 0.0), (last.input[2], offset)):
            values = numpy_helper.to_array(by_name[name]) * gain + extra
            by_name[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
        return model
    last.output[0] = "uncentred"
    model.graph.node.append(helper.make_node("Mul", ["uncentred", "gain"], ["scaled"]))
    model.graph.node.append(helper.make_node("Add", ["offset", "scaled"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(gain, np.float32), "gain"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([offset], np.float32), "offset"))
    return model


def operators(graph) -> list[str]:
    return [n.op for n in graph.nodes]


def test_scale_and_order_vanish_into_the_convolutions():
    graph = from_model(reflect_net())
    bake(graph, ImageContract(ImageSide("imagenet", order="bgr"), ImageSide("-1..1", order="bgr")))
    assert operators(graph) == ["Pad", "Conv", "Relu", "Conv", "Clip"]


def test_a_shift_before_zero_padding_stays_a_sub_node():
    graph = from_model(zero_padded_net())
    bake(graph, ImageContract(ImageSide("-1..1"), ImageSide("0..255")))
    assert operators(graph) == ["Sub", "Conv", "Relu", "Conv", "Sigmoid"]


def test_a_final_clip_that_the_clamp_makes_void_is_dropped():
    model = reflect_net()
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Clip", ["z"], ["y"], min=0.0, max=255.0))
    graph = from_model(model)
    bake(graph, ImageContract(ImageSide("0..255"), ImageSide("0..255")))
    assert operators(graph).count("Clip") == 1


def test_a_final_clip_that_bites_is_kept():
    model = reflect_net()
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Clip", ["z"], ["y"], min=0.0, max=0.2))
    graph = from_model(model)
    bake(graph, ImageContract(ImageSide("0..1"), ImageSide("0..1")))
    assert operators(graph).count("Clip") == 2


def test_the_names_of_input_and_output_stay():
    graph = from_model(zero_padded_net())
    bake(graph, ImageContract(ImageSide("-1..1"), ImageSide("0..255")))
    assert (graph.inputs[0].name, graph.outputs[0].name) == ("x", "y")


def test_values_that_are_bounded_are_not_clamped_and_others_are():
    graph = from_model(zero_padded_net())
    baked = bake(graph, ImageContract(ImageSide("0..1"), ImageSide("0..255")))
    assert baked.output.endswith("always within 0..1")
    graph = from_model(zero_padded_net())
    # (tanh + 1) * 127.5 as if it were -1..1 leaves the range.
    assert bake(graph, ImageContract(ImageSide("0..1"), ImageSide("-1..1"))).output.endswith("clamped to 0..1")
    assert operators(graph)[-1] == "Clip"


def test_a_target_that_clamps_pictures_gets_no_clip():
    contract = ImageContract(ImageSide("0..255"), ImageSide("0..255"))
    model = reflect_net()
    graph = from_model(model)
    assert bake(graph, contract, clamp=False).output.endswith("when it is written to a texture")
    assert operators(graph) == ["Pad", "Conv", "Relu", "Conv"]
    assert [output.name for output in graph.outputs] == ["y"]
    x = RNG.random((1, 3, 12, 16)).astype(np.float32)
    result = run(to_model(graph), x)
    assert np.abs(np.clip(result, 0, 1) - reference(model, contract, x)).max() < 1e-5


def test_a_scale_of_all_channels_is_one_number():
    graph = from_model(zero_padded_net())
    bake(graph, ImageContract(ImageSide("0..1"), ImageSide("-1..1")))
    sizes = {n.op: [i.values.size for i in n.inputs[1:]] for n in graph.nodes if n.op in ("Mul", "Add")}
    assert sizes == {"Mul": [1], "Add": [1]}


def test_tanh_that_becomes_a_sigmoid_paints_the_same():
    model = zero_padded_net()
    contract = ImageContract(ImageSide("-1..1"), ImageSide("0..255"))
    graph = from_model(model)
    baked = bake(graph, contract)
    assert "Sigmoid" in baked.output and "Tanh" not in operators(graph)
    x = RNG.random((1, 3, 12, 16)).astype(np.float32)
    assert np.abs(run(to_model(graph), x) - reference(model, contract, x)).max() < 1e-6
