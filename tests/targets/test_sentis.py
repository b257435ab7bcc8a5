"""`.sentis` files: read by a second reader from the schema, raised to ONNX and run, packed, and damaged."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.compress.bundling import Packing
from pipeline.compress.job import CompressOptions
from pipeline.contract import ImageContract, ImageSide
from pipeline.graph.runtime import session
from pipeline.support.errors import PipelineError
from pipeline.targets.inference import packing
from pipeline.targets.inference.sentis.format import decode, encode, is_sentis
from pipeline.targets.inference.sentis.layers import Packed, program_of
from pipeline.targets.inference.sentis.raising import model_of
from tests.targets.inference_graphs import floats, model
from tests.targets.sentis_reader import File


def run(made, value):
    return session(made).run(None, {"x": value})[0]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def spread(*shape, seed):
    """Weights as training leaves them: output channels differ in size."""
    return numbers(*shape, seed=seed) * 0.2 * np.exp(numbers(shape[0], 1, 1, 1, seed=seed + 10))


def network(channels=8, opset=15, size=("height", "width")) -> onnx.ModelProto:
    """A small style network: convolutions with normalisation, a residual block, a resize, and a clamp."""
    c = channels
    constants = [
        ("pads", np.int64([0, 0, 2, 2, 0, 0, 2, 2])),
        ("w0", spread(c, 3, 5, 5, seed=0)),
        ("b0", numbers(c)),
        ("s", np.abs(numbers(c)) + 0.5),
        ("t", numbers(c, seed=1)),
        ("w1", spread(c, c, 3, 3, seed=2)),
        ("scales", np.float32([1, 1, 2, 2])),
        ("w2", spread(3, c, 3, 3, seed=3) * 0.3),
        ("half", np.float32(0.5)),
        ("zero", np.float32(0)),
        ("one", np.float32(1)),
    ]
    nodes = [
        ("Pad", ["x", "pads"], ["p"], {"mode": "reflect"}),
        ("Conv", ["p", "w0", "b0"], ["c0"], {"strides": [2, 2]}),
        ("InstanceNormalization", ["c0", "s", "t"], ["n0"], {"epsilon": 1e-5}),
        ("Relu", ["n0"], ["r0"], {}),
        ("Conv", ["r0", "w1"], ["c1"], {"pads": [1] * 4}),
        ("Relu", ["c1"], ["r1"], {}),
        ("Add", ["r0", "r1"], ["a"], {}),
        ("Resize", ["a", "", "scales"], ["u"], {"mode": "nearest"}),
        ("Conv", ["u", "w2"], ["c2"], {"pads": [1] * 4}),
        ("Mul", ["c2", "half"], ["m"], {}),
        ("Sub", ["one", "m"], ["d"], {}),
        ("Clip", ["d", "zero", "one"], ["y"], {}),
    ]
    network = model(*nodes, opset=opset, shape=(1, 3, *size), constants=constants)
    del network.graph.output[:]
    network.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, *size)))
    return network


# --- what the loader of the package finds --------------------------------------------------------------------
ARGUMENTS = {
    "Conv": 7,
    "InstanceNormalization": 1,
    "Relu": 0,
    "Add": 0,
    "Resize": 5,
    "Pad": 1,
    "ScalarMad": 5,
    "Clip": 0,
}
"""How many arguments ModelLoader.cs@2.1.3 reads of a layer."""
INPUTS = {
    "Conv": 3,
    "InstanceNormalization": 3,
    "Relu": 1,
    "Add": 2,
    "Resize": 2,
    "Pad": 4,
    "ScalarMad": 1,
    "Clip": 3,
}


def test_a_second_reader_finds_the_network():
    model = network()
    file = File(encode(program_of(model)))
    assert file.program["version"] == 4 and len(file.program["segments"]) == 1
    assert file.plan["inputs_name"] == ["x"] and file.plan["outputs_name"] == ["y"]
    kernels = [kernel for kernel, *_ in file.layers]
    assert kernels == [
        *(
            "Pad",
            "Conv",
            "InstanceNormalization",
            "Relu",
            "Conv",
            "Add",
            "Resize",
            "Conv",
            "ScalarMad",
            "ScalarMad",
        ),
        "Clip",
    ]
    for kernel, inputs, outputs, arguments in file.layers:
        assert len(arguments) == ARGUMENTS[kernel] and len(inputs) == INPUTS[kernel] and len(outputs) == 1
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    (_, inputs, _, arguments), second = file.layers[1], file.layers[4]
    np.testing.assert_array_equal(file.constant(inputs[1]), weights["w0"])
    np.testing.assert_array_equal(file.constant(inputs[2]), weights["b0"])
    assert arguments == [0, [1, 1], 1, [0, 0, 0, 0], [2, 2], [5, 5], 0]
    assert second[1][2] == -1 and second[3][-1] == 1, "no bias, and the Relu behind it inside"
    pads, mode = file.layers[0][1], file.layers[0][3]
    assert file.constant(pads[1]).dtype == np.int32 and mode == [1] and pads[2:] == [-1, -1]
    assert file.layers[6][3] == [1, 0, 0, 0, None]
    assert [layer[3] for layer in file.layers[8:10]] == [[0, 0.5, 0.0, 0, 0], [0, -1.0, 1.0, 0, 0]]


def test_free_sizes_are_numbered_and_fixed_ones_written():
    shape = File(encode(program_of(network()))).tensor(0)
    assert shape["shape_dynamism"] == 1
    assert [dim["val"] for dim in shape["dynamic_sizes"]] == [
        ("Int", {"value": 1}),
        ("Int", {"value": 3}),
        ("Byte", {"value": 0}),
        ("Byte", {"value": 1}),
    ]
    shape = File(encode(program_of(network(size=(32, 48))))).tensor(0)
    assert shape["shape_dynamism"] == 0 and shape["fixed_sizes"] == [1, 3, 32, 48]


def test_the_same_model_gives_the_same_bytes():
    assert encode(program_of(network())) == encode(program_of(network()))


def test_values_are_numbered_as_the_writer_of_the_package_numbers_them():
    """Inputs first, then each layer's constants, arguments and results: nothing is read before it is made."""
    file = File(encode(program_of(network())))
    known = set(file.plan["inputs"])
    for _, inputs, outputs, _ in file.layers:
        assert all(index == -1 or index in known or file.constant(index) is not None for index in inputs)
        known |= set(outputs)
    assert set(file.plan["outputs"]) <= known


# --- and what they compute -----------------------------------------------------------------------------------
CASES = [
    ("BatchNormalization", ["x", "p", "n", "n", "p"], {}, [("p", floats(3) + 2), ("n", floats(3))]),
    (
        "ConvTranspose",
        ["x", "w", "b"],
        {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
        [("w", floats(3, 4, 3, 3)), ("b", floats(4))],
    ),
    ("Conv", ["x", "w"], {"group": 3, "dilations": [2, 1], "pads": [2, 1, 0, 1]}, [("w", floats(6, 1, 3, 3))]),
    ("Conv", ["x", "w"], {"strides": [2, 1], "auto_pad": "SAME_LOWER"}, [("w", floats(4, 3, 3, 3))]),
    ("AveragePool", ["x"], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}, []),
    ("MaxPool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2]}, []),
    (
        "Resize",
        ["x", "", "", "s"],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        [("s", np.int64([1, 3, 16, 30]))],
    ),
    ("LeakyRelu", ["x"], {"alpha": 0.2}, []),
    ("Selu", ["x"], {}, []),
    ("HardSigmoid", ["x"], {}, []),
    ("PRelu", ["x", "s"], {}, [("s", floats(3, 1, 1))]),
    ("Softmax", ["x"], {"axis": 1}, []),
    ("Concat", ["x", "x"], {"axis": 1}, []),
    ("Slice", ["x", "a", "b", "c", "d"], {}, [("a", [0]), ("b", [2**62]), ("c", [3]), ("d", [2])]),
    ("ReduceMean", ["x"], {"axes": [2, 3], "keepdims": 1}, []),
    ("ReduceSum", ["x", "a"], {"keepdims": 0}, [("a", [1])]),
    ("Reshape", ["x", "s"], {}, [("s", [1, 3, -1])]),
    ("Transpose", ["x"], {"perm": [0, 2, 3, 1]}, []),
    ("Flatten", ["x"], {"axis": 2}, []),
    ("Squeeze", ["x", "a"], {}, [("a", [0])]),
    ("Unsqueeze", ["x", "a"], {}, [("a", [0])]),
    ("Gather", ["x", "i"], {"axis": 1}, [("i", [2, 0])]),
    ("Pad", ["x", "p", "v"], {}, [("p", [0, 0, 1, 2, 0, 0, 3, 4]), ("v", np.float32(0.5))]),
    ("Add", ["x", "a"], {}, [("a", floats(3, 1, 1))]),
    ("Add", ["x", "a"], {}, [("a", floats(1, 1, 1, 1, 1))]),
    ("Div", ["a", "x"], {}, [("a", np.float32(2))]),
    ("Div", ["x", "a"], {}, [("a", np.float32(3))]),
    ("Sub", ["x", "a"], {}, [("a", np.float32(0.25))]),
    ("MatMul", ["x", "w"], {}, [("w", floats(10, 4))]),
    ("Max", ["x", "a", "b"], {}, [("a", np.float32(0)), ("b", floats(3, 1, 1))]),
    ("Sum", ["x", "a", "x"], {}, [("a", floats(3, 1, 1))]),
    ("Where", ["c", "x", "a"], {}, [("c", np.array([True, False] * 5)), ("a", np.float32(0))]),
    ("Expand", ["x", "s"], {}, [("s", [2, 3, 8, 10])]),
    ("Tile", ["x", "s"], {}, [("s", [1, 1, 2, 1])]),
    ("Dropout", ["x"], {}, []),
]  # fmt: skip
ONE = [
    "Abs",
    "Exp",
    "Relu",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Neg",
    "Floor",
    "GlobalAveragePool",
    "HardSwish",
    "Erf",
]
CASES += [(name, ["x"], {}, []) for name in ONE]


@pytest.mark.parametrize(("name", "inputs", "attributes", "constants"), CASES, ids=[case[0] for case in CASES])
def test_a_layer_computes_what_its_operator_does(name, inputs, attributes, constants):
    network = model((name, inputs, ["y"], attributes), constants=constants)
    data = encode(program_of(network))
    File(data)
    value = numbers(1, 3, 8, 10)
    np.testing.assert_allclose(run(model_of(decode(data)), value), run(network, value), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("blocks", ["DCR", "CRD"])
def test_depth_to_space_and_back(blocks):
    network = model(
        ("DepthToSpace", ["x"], ["t"], {"blocksize": 2, "mode": blocks}),
        ("SpaceToDepth", ["t"], ["y"], {"blocksize": 2}),
        shape=(1, 8, 4, 6),
    )
    value = numbers(1, 8, 4, 6)
    np.testing.assert_array_equal(run(model_of(decode(encode(program_of(network)))), value), run(network, value))


def test_parts_of_a_split():
    network = model(
        ("Split", ["x", "s"], ["p", "q"], {"axis": 1}),
        ("Concat", ["q", "p"], ["y"], {"axis": 1}),
        constants=[("s", [1, 2])],
    )
    value = numbers(1, 3, 8, 10)
    np.testing.assert_array_equal(run(model_of(decode(encode(program_of(network)))), value), run(network, value))


def test_a_product_of_matrices_with_a_bias():
    network = model(
        ("Flatten", ["x"], ["f"], {}),
        ("Gemm", ["f", "w", "b"], ["t"], {"transB": 1, "alpha": 2.0, "beta": 0.5}),
        ("Relu", ["t"], ["y"], {}),
        constants=[("w", floats(5, 240)), ("b", floats(5))],
    )
    program = program_of(network)
    assert [layer.kernel for layer in program.layers] == ["Flatten", "Dense"]
    value = numbers(1, 3, 8, 10)
    got = run(model_of(decode(encode(program))), value)
    np.testing.assert_allclose(got, run(network, value), rtol=1e-4, atol=1e-4)


def test_sizes_that_are_computed():
    network = model(
        ("Shape", ["x"], ["s"], {"start": 2}),
        ("Mul", ["s", "two"], ["d"], {}),
        ("Concat", ["nc", "d"], ["sizes"], {"axis": 0}),
        ("Resize", ["x", "", "", "sizes"], ["y"], {"mode": "nearest"}),
        constants=[("two", np.int64(2)), ("nc", np.int64([1, 3]))],
        shape=(1, 3, "h", "w"),
    )
    value = numbers(1, 3, 8, 10)
    np.testing.assert_array_equal(run(model_of(decode(encode(program_of(network)))), value), run(network, value))


def test_the_whole_network_computes_the_same():
    model, value = network(), np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    raised = model_of(decode(encode(program_of(model))))
    onnx.checker.check_model(raised, full_check=True)
    np.testing.assert_allclose(run(raised, value), run(model, value), atol=1e-6)


def test_an_operator_without_a_layer_is_named():
    with pytest.raises(PipelineError, match="Einsum") as caught:
        program_of(model(("Einsum", ["x"], ["y"], {"equation": "abcd->abcd"})))
    assert caught.value.code == "no-sentis-layer" and "--weights float" in caught.value.remedy


# --- packed weights ------------------------------------------------------------------------------------------
def wanted(kind):
    sides = ImageSide("0..1", 3), ImageSide("0..1", 3)
    return Packing(CompressOptions(kind), ImageContract(*sides))


@pytest.fixture(scope="module")
def packed():
    model = network(channels=16).SerializeToString()
    return {kind: packing.pack(model, wanted(kind)) for kind in packing.KINDS}


def test_bytes_take_a_quarter_and_keep_the_picture(packed):
    facts = packed["int8"][1]
    assert facts["bytes"] < 0.45 * facts["float_bytes"] and facts["psnr"] > 40
    assert packed["half"][1]["psnr"] > 60
    assert packed["auto"][0] == packed["int8"][0]


def test_a_second_reader_finds_the_bytes_and_their_scales(packed):
    file = File(packed["int8"][0])
    kernels = [kernel for kernel, *_ in file.layers]
    assert kernels.count("DequantizeUint8") == kernels.count("Mul") == 3
    weights = {t.name: numpy_helper.to_array(t) for t in network(channels=16).graph.initializer}
    place = kernels.index("DequantizeUint8")
    (_, inputs, _, arguments), (_, product, _, _) = file.layers[place], file.layers[place + 1]
    assert arguments == [1.0, 128]
    steps = file.constant(inputs[0]).astype(np.float32) - 128
    scales = file.constant(product[1])
    assert scales.shape == (16, 1, 1, 1) and len(np.unique(scales)) > 1
    error = np.abs(steps * scales - weights["w0"]).max(axis=(1, 2, 3))
    assert (error <= 2.1 * scales.reshape(-1)).all(), "rounding passes errors on, by at most a step or two"


def test_half_floats_are_shorts(packed):
    file = File(packed["half"][0])
    casts = [(inputs, arguments) for kernel, inputs, _, arguments in file.layers if kernel == "Cast"]
    assert len(casts) == 3 and all(arguments == [0] for _, arguments in casts)
    weights = {t.name: numpy_helper.to_array(t) for t in network(channels=16).graph.initializer}
    np.testing.assert_array_equal(file.constant(casts[0][0][0]), weights["w0"].astype(np.float16))


def test_better_than_one_scale_for_all_at_the_same_bytes(packed):
    """What the package's own ModelQuantizer does (QuantizeConstantsPass.cs@2.1.3): one scale, to the nearest."""
    model = network(channels=16)
    plain = {}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in ("w0", "w1", "w2", "b0"):
            low, high = min(values.min(), 0), max(values.max(), 0)
            scale = np.float32((high - low) / 255)
            zero = int(np.clip(np.rint(-values.min() / scale), 0, 255))
            bytes_ = np.clip(np.rint(values / scale) + zero, 0, 255)
            plain[tensor.name] = Packed(bytes_, zero, np.array([scale]))
    theirs = encode(program_of(model, plain))
    value = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)

    def off(data):
        return np.sqrt(np.mean((run(model_of(decode(data)), value) - run(model, value)) ** 2))

    assert len(packed["int8"][0]) < len(theirs) + 1500
    assert off(packed["int8"][0]) < 0.7 * off(theirs)


@pytest.mark.parametrize("kind", ["int4", "float8"])
def test_other_kinds_are_refused(kind):
    with pytest.raises(PipelineError) as caught:
        targets.get("inference-2").family.check_weights(kind, targets.get("inference-2"))
    assert caught.value.code == "bad-weights" and "int8" in caught.value.remedy


# --- damaged files -------------------------------------------------------------------------------------------
def test_a_file_that_is_not_a_sentis_file_is_reported_as_such():
    data = encode(program_of(network()))
    assert is_sentis(data)
    for other in (b"", b"\x08\x08", network().SerializeToString(), bytes(64), data[: len(data) // 8]):
        assert not is_sentis(other)


def test_a_damaged_file_is_an_error_and_nothing_else():
    data, generator = encode(program_of(network())), random.Random(0)
    broken = 0
    for _ in range(400):
        stored = bytearray(data)
        for _ in range(generator.choice((1, 2, 8))):
            stored[generator.randrange(len(stored) if generator.random() < 0.2 else 3000)] = generator.randrange(
                256
            )
        if generator.random() < 0.2:
            stored = stored[: generator.randrange(len(stored))]
        try:
            model_of(decode(bytes(stored)))
        except PipelineError as error:
            assert error.code == "bad-sentis-file"
            broken += 1
    assert broken > 100


def test_another_format_is_named():
    from pipeline.targets.inference.sentis import format as form

    data = bytearray(encode(program_of(network())))
    data[form._Table(bytes(data), 4 + int.from_bytes(data[4:8], "little"))._slot(0)] = 7
    with pytest.raises(PipelineError, match="format is 7"):
        decode(bytes(data))
