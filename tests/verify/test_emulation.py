"""The emulation computes what Barracuda computes: right and wrong where that was measured right and wrong."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.graph.runtime import session
from pipeline.support.errors import PipelineError
from pipeline.targets.barracuda.emulation import EMULATIONS, emulate
from pipeline.validation import validate
from tests.validation.measured import ALL_RIGHT, EVERYWHERE, TABLE
from tests.validation.patterns import export

VERSIONS = ("barracuda-3.0", "barracuda-2.0", "barracuda-1.0")
ONNX_DIFFERS = ("bilinear x2", "bilinear 24x32")
"""torch's align_corners=False in opset 9: right means torch's values, ONNX Runtime's differ (measured.md)."""
NOT_IN_ORT = "bilinear x0.5"
"""ONNX Runtime has no Upsample below 1: see test_linear_scale_of_one_half."""
ROWS = [
    (name, build, opset, version, told)
    for name, build, opsets, verdicts in [
        *((name, build, opsets, ALL_RIGHT) for name, (build, opsets) in EVERYWHERE.items()),
        *((name, build, opsets, verdicts) for name, (build, opsets, verdicts) in TABLE.items()),
    ]
    for opset in opsets
    for version, told in zip(VERSIONS, verdicts, strict=True)
    if told != "fails" and name != NOT_IN_ORT
]
CACHE: dict[tuple[str, int], tuple[onnx.ModelProto, np.ndarray, np.ndarray]] = {}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1, 1, shape).astype(np.float32)


def run(model: onnx.ModelProto, *values: np.ndarray) -> np.ndarray:
    runtime = session(model)
    names = [value.name for value in runtime.get_inputs()]
    return np.asarray(runtime.run(None, dict(zip(names, values, strict=True)))[0])


def emulated(model: onnx.ModelProto, version: str, *values: np.ndarray) -> np.ndarray:
    changed = emulate(model, targets.get(version))
    onnx.checker.check_model(changed)
    return run(changed, *values)


@pytest.mark.parametrize(
    ("name", "build", "opset", "version", "told"), ROWS, ids=[f"{r[0]} opset {r[2]} {r[3]}" for r in ROWS]
)
def test_difference_is_there_where_barracuda_differed(name, build, opset, version, told):
    if (name, opset) not in CACHE:
        model = export(build, opset)
        x = noise(1, 3, 12, 16)
        CACHE[name, opset] = model, x, run(model, x)
    model, x, reference = CACHE[name, opset]
    got = emulated(model, version, x)
    if told == "wrong":
        assert got.shape != reference.shape or np.abs(got - reference).max() > 1e-2
    elif name in ONNX_DIFFERS:
        assert np.abs(got - reference).max() > 1e-2
    else:
        assert got.shape == reference.shape or got.squeeze().shape == reference.squeeze().shape
        assert np.abs(got.squeeze().astype(np.float64) - reference.squeeze()).max() <= 1e-5


def graph(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: tuple[int, ...] = (1, 4, 12, 16),
    opset: int = 9,
    producer: str = "",
) -> onnx.ModelProto:
    """A model from x to y."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    proto = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        stored,
    )
    return helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name=producer
    )


def test_every_semantic_of_every_target_is_emulated_and_none_is_emulated_for_nobody():
    listed = set().union(*(targets.get(name).semantics for name in targets.names("barracuda")))
    assert listed == set(EMULATIONS)


def test_the_source_model_is_not_changed():
    model = export(EVERYWHERE["nearest x2"][0], 9)
    before = model.SerializeToString(deterministic=True)
    emulate(model, targets.get("barracuda-3.0"))
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("scale", "mode"), [(2, "linear"), (3, "linear"), (2, "nearest"), (3, "nearest")])
def test_upsample_is_what_torch_computes_for_align_corners_false(version, scale, mode):
    scales = np.array([1, 1, scale, scale], np.float32)
    model = graph([helper.make_node("Upsample", ["x", "s"], ["y"], mode=mode)], {"s": scales})
    x = noise(1, 4, 12, 16)
    options = {"mode": "nearest"} if mode == "nearest" else {"mode": "bilinear", "align_corners": False}
    expected = F.interpolate(torch.from_numpy(x), scale_factor=scale, **options).numpy()
    assert np.abs(emulated(model, version, x) - expected).max() < 1e-5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [(24, 32), (20, 27), (5, 7)])
@pytest.mark.parametrize("corners", [False, True])
def test_resize_with_sizes_ignores_align_corners(version, size, corners):
    attributes = {"coordinate_transformation_mode": "align_corners" if corners else "half_pixel", "mode": "linear"}
    model = graph(
        [helper.make_node("Resize", ["x", "", "", "n"], ["y"], **attributes)],
        {"n": np.array([1, 4, *size], np.int64)},
        opset=11,
    )
    x = noise(1, 4, 12, 16)
    expected = F.interpolate(torch.from_numpy(x), size=size, mode="bilinear", align_corners=False).numpy()
    assert np.abs(emulated(model, version, x) - expected).max() < 1e-5


@pytest.mark.parametrize(("scale", "used"), [(1.5, 2), (2.5, 2), (1.4, 1), (3.5, 4)])
def test_scales_are_rounded_to_even(scale, used):
    model = graph(
        [helper.make_node("Upsample", ["x", "s"], ["y"], mode="nearest")],
        {"s": np.array([1, 1, scale, scale], np.float32)},
    )
    assert emulated(model, "barracuda-3.0", noise(1, 4, 12, 16)).shape == (1, 4, 12 * used, 16 * used)


def test_scales_that_fold_late_are_cut():
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["s"]),
        helper.make_node("Upsample", ["x", "s"], ["y"], mode="nearest"),
    ]
    constants = {"a": np.array([1, 1, 1.9, 1.9], np.float32), "b": np.ones(4, np.float32)}
    model = graph(nodes, constants)
    assert emulated(model, "barracuda-3.0", noise(1, 4, 12, 16)).shape == (1, 4, 12, 16)


@pytest.mark.parametrize("version", ["barracuda-3.0", "barracuda-2.0"])
def test_linear_scale_of_one_half_is_what_torch_computes(version):
    model = export(TABLE[NOT_IN_ORT][0], 9)
    module = TABLE[NOT_IN_ORT][0]()
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    module.load_state_dict({name: weights[name] for name in module.state_dict()})
    x = noise(1, 3, 12, 16)
    expected = module.eval()(torch.from_numpy(x)).detach().numpy()
    assert np.abs(emulated(model, version, x) - expected).max() < 1e-5


def test_linear_scale_of_one_quarter_is_the_mean_over_blocks():
    scales = np.array([1, 1, 0.25, 0.25], np.float32)
    model = graph([helper.make_node("Upsample", ["x", "s"], ["y"], mode="linear")], {"s": scales})
    x = noise(1, 4, 12, 16)
    expected = F.avg_pool2d(torch.from_numpy(x), 4).numpy()
    assert np.abs(emulated(model, "barracuda-2.0", x) - expected).max() < 1e-5


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)])
@pytest.mark.parametrize(
    ("version", "differs"), [("barracuda-3.0", True), ("barracuda-2.0", True), ("barracuda-1.0", False)]
)
def test_a_shift_before_a_padded_convolution_is_wrong_at_the_border_alone(shape, version, differs):
    weight, bias = noise(5, 4, 3, 3), noise(5)
    nodes = [
        helper.make_node("Add", ["x", "c"], ["t"]),
        helper.make_node("Conv", ["t", "w", "b"], ["y"], pads=[1] * 4),
    ]
    model = graph(nodes, {"c": np.full(shape, 0.5, np.float32), "w": weight, "b": bias})
    x = noise(1, 4, 12, 16)
    error = np.abs(emulated(model, version, x) - run(model, x))
    assert error[:, :, 1:-1, 1:-1].max() < 1e-5
    assert bool(error.max() > 1e-1) is differs


@pytest.mark.parametrize(("operator", "version"), [("Mul", "barracuda-3.0"), ("Add", "barracuda-2.0")])
def test_a_constant_along_the_width_behind_a_convolution_is_taken_per_channel(operator, version):
    weight, constant = noise(16, 4, 1, 1), noise(1, 1, 1, 16)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["t"]),
        helper.make_node(operator, ["t", "c"], ["u"]),
        helper.make_node("Relu", ["u"], ["y"]),
    ]
    model = graph(nodes, {"w": weight, "c": constant})
    x = noise(1, 4, 12, 16)
    per_channel = graph(nodes, {"w": weight, "c": constant.reshape(1, 16, 1, 1)})
    assert np.abs(emulated(model, version, x) - run(per_channel, x)).max() < 1e-5


def test_a_bias_behind_identity_is_dropped_from_2_0_on():
    nodes = [helper.make_node("Identity", ["b"], ["i"]), helper.make_node("Conv", ["x", "w", "i"], ["y"])]
    weight, bias = noise(5, 4, 3, 3), noise(5)
    model = graph(nodes, {"w": weight, "b": bias})
    without = graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight})
    x = noise(1, 4, 12, 16)
    assert np.abs(emulated(model, "barracuda-3.0", x) - run(without, x)).max() < 1e-5
    assert np.abs(emulated(model, "barracuda-1.0", x) - run(model, x)).max() < 1e-5


def test_instance_normalisation_loses_a_computed_bias_but_not_its_scale():
    nodes = [
        helper.make_node("Identity", ["b"], ["i"]),
        helper.make_node("InstanceNormalization", ["x", "s", "i"], ["y"], epsilon=1e-3),
    ]
    model = graph(nodes, {"s": noise(4), "b": noise(4)})
    zeros = graph(nodes, {"s": noise(4), "b": np.zeros(4, np.float32)})
    x = noise(1, 4, 12, 16)
    assert np.abs(emulated(model, "barracuda-2.0", x) - run(zeros, x)).max() < 1e-5


def test_clip_with_cast_bounds_is_unbounded_from_2_0_on():
    nodes = [
        helper.make_node("Cast", ["l"], ["low"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["h"], ["high"], to=TensorProto.FLOAT),
        helper.make_node("Clip", ["x", "low", "high"], ["y"]),
    ]
    model = graph(nodes, {"l": np.float64(-0.1), "h": np.float64(0.1)}, opset=11)
    x = noise(1, 4, 12, 16)
    assert np.array_equal(emulated(model, "barracuda-3.0", x), x)
    assert np.abs(emulated(model, "barracuda-1.0", x)).max() < 0.11


@pytest.mark.parametrize(
    ("version", "border"), [("barracuda-3.0", 0.5), ("barracuda-2.0", 0.0), ("barracuda-1.0", None)]
)
def test_pad_with_inputs_loses_its_value_on_2_0_and_everything_on_1_0(version, border):
    model = graph(
        [helper.make_node("Pad", ["x", "p", "v"], ["y"])],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "v": np.float32(0.5)},
        opset=11,
    )
    x = noise(1, 4, 12, 16)
    got = emulated(model, version, x)
    if border is None:
        assert np.array_equal(got, x)
    else:
        assert np.array_equal(got, np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=border))


def test_attribute_forms_stand_in_a_file_of_opset_11():
    nodes = [
        helper.make_node("Pad", ["x"], ["p"], mode="reflect", pads=[0, 0, 2, 2, 0, 0, 2, 2]),
        helper.make_node("Clip", ["p"], ["c"], min=-0.5, max=0.5),
        helper.make_node("Slice", ["c"], ["s"], axes=[2], starts=[1], ends=[9]),
        helper.make_node("Resize", ["s", "", "", "n"], ["y"], mode="nearest", nearest_mode="floor"),
    ]
    model = graph(nodes, {"n": np.array([1, 4, 16, 40], np.int64)}, opset=11)
    x = noise(1, 4, 12, 16)
    padded = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)], mode="reflect")
    expected = np.clip(padded, -0.5, 0.5)[:, :, 1:9].repeat(2, 2).repeat(2, 3)
    assert np.array_equal(emulated(model, "barracuda-3.0", x), expected)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Resize", ["x", "", "", "n"], ["y"])],
        [helper.make_node("Clip", ["x", "n"], ["y"], min=0.0)],
        [helper.make_node("Clip", ["x"], ["y"], minimum=0.0)],
        [helper.make_node("Slice", ["x"], ["y"], axes=[2], starts=[1])],
        [helper.make_node("LeakyRelu", ["x"], ["y"], alpha=[0.2])],
        [helper.make_node("Conv", ["x"], ["y"])],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_a_form_that_is_not_in_the_dialect_is_refused(nodes):
    model = graph(nodes, {"n": np.array([1, 4, 24, 48], np.int64)})
    with pytest.raises(PipelineError, match=f"{nodes[0].op_type} y is neither in the form") as caught:
        emulate(model, targets.get("barracuda-3.0"))
    assert caught.value.code == "not-in-dialect"


def test_a_reflection_beyond_the_map_repeats_the_border():
    pads = [0, 0, 0, 6, 0, 0, 0, 0]
    model = graph([helper.make_node("Pad", ["x"], ["y"], mode="reflect", pads=pads)], shape=(1, 1, 1, 4))
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)
    assert emulated(model, "barracuda-3.0", x).reshape(-1).tolist() == [3, 3, 3, 3, 2, 1, 0, 1, 2, 3]


def test_strides_that_differ_are_applied_the_other_way_round():
    model = graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 1], pads=[1] * 4)], {"w": noise(3, 4, 3, 3)}
    )
    assert emulated(model, "barracuda-3.0", noise(1, 4, 12, 16)).shape == (1, 3, 12, 8)


def test_average_divides_by_the_samples_inside_the_map():
    model = graph(
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)]
    )
    x = noise(1, 4, 12, 16)
    expected = F.avg_pool2d(torch.from_numpy(x), 3, 1, 1, count_include_pad=False).numpy()
    assert np.abs(emulated(model, "barracuda-3.0", x) - expected).max() < 1e-5


def test_same_pads_come_from_the_width_from_2_0_on():
    model = graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], auto_pad="SAME_UPPER")],
        {"w": noise(3, 4, 3, 3)},
        shape=(1, 4, 13, 16),
    )
    x = noise(1, 4, 13, 16)
    assert emulated(model, "barracuda-3.0", x).shape == (1, 3, 6, 8)
    assert emulated(model, "barracuda-1.0", x).shape == (1, 3, 7, 8)


def test_a_cast_to_integers_keeps_the_fraction():
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT32),
        helper.make_node("Add", ["i", "one"], ["j"]),
        helper.make_node("Cast", ["j"], ["y"], to=TensorProto.FLOAT),
    ]
    model = graph(nodes, {"one": np.array([1], np.int32)})
    x = noise(1, 4, 12, 16) * 5
    assert np.abs(emulated(model, "barracuda-3.0", x) - (x + 1)).max() < 1e-6


def test_a_gemm_loses_alpha_and_beta():
    constants = {"b": noise(16, 3), "c": noise(3)}
    model = graph(
        [helper.make_node("Gemm", ["x", "b", "c"], ["y"], alpha=0.5, beta=2.0)], constants, shape=(2, 16)
    )
    x = noise(2, 16)
    assert np.abs(emulated(model, "barracuda-3.0", x) - (x @ constants["b"] + constants["c"])).max() < 1e-5


def test_softmax_below_opset_13_takes_one_axis_from_2_0_on_and_everything_on_1_0():
    model = graph([helper.make_node("Softmax", ["x"], ["y"], axis=1)])
    x = noise(1, 4, 12, 16)
    one = torch.softmax(torch.from_numpy(x), 1).numpy()
    assert np.abs(emulated(model, "barracuda-3.0", x) - one).max() < 1e-6
    row = run(model, x).transpose(0, 2, 3, 1).reshape(1, -1, 1, 1)
    assert np.abs(emulated(model, "barracuda-1.0", x) - row).max() < 1e-6


STRIDES = {
    (1, 2): [[17, 23], [17, 23], [23, 33], [41, 55], [47, 65], [65, 87]],
    (2, 1): [[2, 5, 4], [5, 14, 10], [10, 21, 12], [25, 54, 30]],
    (2, 3): [[2, 5, 4], [5, 14, 10], [2, 5, 4], [5, 14, 10], [6, 13, 8], [15, 34, 20], [10, 21, 12], [25, 54, 30]],
}
"""What the CSharp workers of 1.0.4, 2.0.0 and 3.0.0 gave for the values 1 to 6 as a map and as a kernel."""


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_transposed_convolution_of_unequal_strides_gives_what_barracuda_gave(strides, version):
    x = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 3, 2)
    new_node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=strides, pads=[0, 1, 0, 1])
    model = graph([new_node], {"w": x.reshape(1, 1, 2, 3)}, shape=(1, 1, 3, 2))
    assert emulated(model, version, x)[0, 0].tolist() == STRIDES[strides]


def test_a_reshape_on_1_0_works_on_channels_last_memory():
    model = graph([helper.make_node("Reshape", ["x", "s"], ["y"])], {"s": np.array([1, 2, 12, 32], np.int64)})
    x = noise(1, 4, 12, 16)
    memory = x.transpose(0, 2, 3, 1).reshape(1, 12, 32, 2).transpose(0, 3, 1, 2)
    assert np.array_equal(emulated(model, "barracuda-1.0", x), memory)
    assert np.array_equal(emulated(model, "barracuda-3.0", x), x.reshape(1, 2, 12, 32))


def test_names_of_inputs_and_outputs_stay():
    model = emulate(export(EVERYWHERE["ReflectionPad2d"][0], 9), targets.get("barracuda-1.0"))
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["y"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "path", ["fritz/starry_night_small_a03.converted.onnx", "fewshot/model_00001.synthetic.opset9.onnx"]
)
def test_a_real_network_without_wrong_findings_is_computed_as_it_is(shared_models, version, path):
    model = onnx.load(shared_models / path)
    assert not [f for f in validate(model, targets.get(version)) if f.severity in ("error", "wrong")]
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.abs(noise(*shape))
    one_pass = any(node.op_type == "InstanceNormalization" for node in model.graph.node)
    # The variance as E[x^2] - E[x]^2 in float32 is next to that of ONNX Runtime, in levels of 255.
    assert np.abs(emulated(model, version, x) - run(model, x)).max() <= (0.02 if one_pass else 1e-5)
