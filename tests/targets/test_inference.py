"""The inference family: its dialect, its emulation, its files, and what its layers cost."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto

from pipeline import targets
from pipeline.graph import from_model
from pipeline.graph.runtime import session
from pipeline.support.errors import PipelineError
from pipeline.targets.inference import dialect
from pipeline.validation import validate
from tests.targets.inference_graphs import (
    NEW,
    SENTIS,
    floats,
    found,
    model,
    pool,
    resize,
)


# --- dialect -------------------------------------------------------------------------------------------------
def written(made, target=NEW) -> onnx.ModelProto:
    data = dialect.write(from_model(made), target)
    assert data == dialect.write(from_model(made), target)
    result = onnx.load_from_string(data)
    onnx.checker.check_model(result, full_check=True)
    assert all(tensor.HasField("raw_data") for tensor in result.graph.initializer)
    return result


def run(made, value):
    return session(made).run(None, {"x": value})[0]


LATE = [
    (("ReduceMean", ["x", "a"], ["y"], {"keepdims": 1}), [("a", [2, 3])], 15),
    (("ReduceMax", ["x", "a"], ["y"], {"noop_with_empty_axes": 1}), [("a", np.zeros(0, np.int64))], 15),
    (("Pad", ["x", "p", "", "a"], ["y"], {"mode": "reflect"}), [("p", [1, 2, 3, 4]), ("a", [2, -1])], 15),
    (("Resize", ["x", "", "s"], ["y"], {"axes": [2, 3], "mode": "linear"}), [("s", np.float32([2, 3]))], 15),
    (("Resize", ["x", "", "", "s"], ["y"], {"axes": [-1, 2], "mode": "nearest"}), [("s", [20, 16])], 15),
    (("LayerNormalization", ["x", "s", "s"], ["y"], {}), [("s", floats(10))], 17),
    (("Mish", ["x"], ["y"], {}), [], 18),
]


@pytest.mark.parametrize(("node", "constants", "opset"), LATE, ids=[f"{case[0][0]} {case[2]}" for case in LATE])
def test_forms_of_opset_18_are_written_in_the_lowest_opset(node, constants, opset):
    network = model(node, opset=18, constants=constants)
    low = written(network)
    assert [(item.domain, item.version) for item in low.opset_import] == [("", opset)]
    assert "form-of-another-opset" not in found(low, NEW) and "resize-axes" not in found(low, NEW)
    value = floats(1, 3, 8, 10)
    np.testing.assert_allclose(run(low, value), run(network, value), atol=1e-6)


def test_unequal_parts_of_a_split_are_written_out():
    network = model(
        ("Split", ["x"], ["p", "q", "r"], {"axis": 3, "num_outputs": 3}),
        ("Concat", ["r", "q", "p"], ["y"], {"axis": 3}),
        opset=18,
    )
    value = floats(1, 3, 8, 10)
    np.testing.assert_array_equal(run(written(network), value), run(network, value))


def test_attributes_that_only_cause_warnings_are_not_written():
    result = resize(
        scales=[1, 1, 2, 2], mode="linear", cubic_coeff_a=-0.75, exclude_outside=0, nearest_mode="floor"
    )
    assert found(result, NEW) == {"resize-attribute-reported": "warning"}
    assert found(written(result), NEW) == {}


def test_free_sizes_keep_their_names():
    network = model(("Relu", ["x"], ["y"], {}), shape=(1, 3, "height", "width"), opset=18)
    low = written(network)
    for value in (low.graph.input[0], low.graph.output[0]):
        dims = value.type.tensor_type.shape.dim
        assert [dim.dim_value for dim in dims[:2]] == [1, 3] and all(dim.dim_param for dim in dims[2:])


# --- emulation -----------------------------------------------------------------------------------------------
def emulated(made, value, target=NEW):
    return run(target.family.emulate(made.SerializeToString(), target), value)


def test_the_emulation_excludes_padding_from_averages():
    output, value = pool(pads=[1] * 4, count_include_pad=1), np.ones((1, 3, 8, 10), np.float32)
    assert emulated(output, value)[0, 0, 0, 0] == 1
    assert run(output, value)[0, 0, 0, 0] == pytest.approx(4 / 9)


def test_the_emulation_gives_sizes_that_are_one_pixel_short():
    result = resize(shape=(1, 1, 45, 4), sizes=[1, 1, 125, 4], mode="linear")
    assert emulated(result, floats(1, 1, 45, 4)).shape == (1, 1, 124, 4)


def test_the_emulation_selects_nearest_pixels_in_float32():
    """Measured: the case resize_upsample_sizes_nearest of the ONNX suite is wrong in every version."""
    result, value = resize(shape=(1, 1, 2, 2), sizes=[1, 1, 7, 8]), floats(1, 1, 2, 2)
    exact, here = run(result, value), emulated(result, value)
    assert (exact[0, 0, :, 0] == value[0, 0, 0, 0]).sum() == 4
    assert (here[0, 0, :, 0] == value[0, 0, 0, 0]).sum() == 3


@pytest.mark.parametrize(("mean", "off"), [(0, 1e-5), (200, 0.05)])
def test_the_emulated_variance_loses_precision_at_a_large_mean(mean, off):
    """Measured: at a mean of 200 and a deviation of 1 the result is 0.02 off; at 3000 it is NaN."""
    network = model(
        ("InstanceNormalization", ["x", "s", "b"], ["y"], {}),
        shape=(1, 3, 64, 64),
        constants=[("s", np.ones(3, np.float32)), ("b", np.zeros(3, np.float32))],
    )
    value = (np.random.default_rng(0).normal(size=(1, 3, 64, 64)) + mean).astype(np.float32)
    difference = np.abs(emulated(network, value) - run(network, value)).max()
    assert difference < off
    assert mean == 0 or difference > 1e-4


def test_a_cast_to_bool_truncates_in_the_emulation():
    network = model(
        ("Cast", ["x"], ["t"], {"to": TensorProto.BOOL}), ("Cast", ["t"], ["y"], {"to": TensorProto.FLOAT})
    )
    value = np.full((1, 3, 8, 10), 0.5, np.float32)
    assert emulated(network, value).max() == 0 and run(network, value).max() == 1


def test_a_file_that_is_not_valid_is_not_repaired():
    with pytest.raises(PipelineError) as caught:
        emulated(model(("Clip", ["x"], ["y"], {"min": 0.0})), floats(1, 3, 8, 10))
    assert caught.value.code == "not-valid-onnx"


# --- names and files -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sentis-1.4", "2.1.3"),
        ("sentis", "sentis-2.1"),
        ("sentis-2", "sentis-2.1"),
        ("sentis-2.2", "inference-2"),
        ("inference", "inference-2"),
        ("inference-2.6", "inference-2"),
        ("inference-engine", "inference-2"),
    ],
)
def test_names_that_people_try_lead_to_the_right_one(name, told):
    with pytest.raises(PipelineError) as caught:
        targets.get(name)
    assert caught.value.code == "unknown-target" and told in caught.value.remedy


@pytest.mark.parametrize(
    ("target", "script", "field"),
    [
        (SENTIS, "683b6cb6d0a474744822c888b46772c9", False),
        (NEW, "f22407ba6b4157b4a93d0a670bd3dd57", True),
    ],
    ids=["sentis-2.1", "inference-2"],
)
def test_a_model_has_the_meta_of_its_package(target, script, field):
    meta = target.family.meta("Mosaic.onnx", "0" * 31 + "a", target).decode()
    assert f"script: {{fileID: 11500000, guid: {script}, type: 3}}" in meta
    assert ("dynamicDimConfigs: []" in meta) is field
    assert target.family.meta("Mosaic.asset", "0" * 31 + "a", target) is None
    reference = target.family.model_reference("0" * 31 + "a", target)
    assert reference == "{fileID: 5022602860645237092, guid: 0000000000000000000000000000000a, type: 3}"


def test_graphs_of_surgeon_are_left_as_they_are():
    graph = from_model(model(("ReduceMean", ["x", "a"], ["y"], {}), opset=18, constants=[("a", [2, 3])]))
    dialect.write(graph, NEW)
    assert isinstance(graph, gs.Graph) and len(graph.nodes[0].inputs) == 2


def test_attributes_that_change_nothing_are_not_written():
    """Measured with 2.4.0: it warns of ceil_mode 0 of MaxPool and of axis -1 of LayerNormalization."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 0, "dilations": [1, 1]}
    average = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1}
    network = model(
        ("MaxPool", ["x"], ["m"], pool),
        ("AveragePool", ["m"], ["p"], average),
        ("LayerNormalization", ["p", "s", "b"], ["y"], {"axis": -1}),
        opset=18,
        shape=(1, 3, 8, 12),
        constants=[("s", floats(3)), ("b", floats(3))],
    )
    for target in (NEW, SENTIS):
        written = target.family.read(dialect.write(from_model(network), target)).graph
        stored = [{a.name for a in node.attribute} for node in written.node]
        assert stored[0] == {"kernel_shape", "strides"} and stored[1] == {"kernel_shape", "strides"}
        assert "axis" not in stored[2]
    pool |= {"kernel_shape": [3, 3], "ceil_mode": 1}
    kept = model(("MaxPool", ["x"], ["y"], pool), opset=18)
    (node,) = NEW.family.read(dialect.write(from_model(kept), NEW)).graph.node
    assert "ceil_mode" in {a.name for a in node.attribute}, "validation finds it"


# --- what it costs -------------------------------------------------------------------------------------------
def test_layers_are_counted_as_the_optimiser_leaves_them():
    """Conv takes the Relu; numbers become one ScalarMad; a BatchNormalization goes into the Conv before it."""
    from pipeline.targets.inference.optimiser import layer_counts

    ones = np.ones(4, np.float32)
    network = model(
        ("Mul", ["x", "half"], ["m"], {}),
        ("Conv", ["m", "w"], ["c"], {}),
        ("BatchNormalization", ["c", "o", "z", "z", "o"], ["b"], {}),
        ("Relu", ["b"], ["r"], {}),
        ("Identity", ["r"], ["i"], {}),
        ("Add", ["i", "half"], ["a"], {}),
        ("Mul", ["a", "half"], ["y"], {}),
        constants=[("half", np.float32(0.5)), ("w", floats(4, 3, 3, 3)), ("o", ones), ("z", 0 * ones)],
    )
    assert layer_counts(network, NEW) == {"imported": 7, "optimised": 2}, "the first Mul goes into the weights"
    assert layer_counts(network, SENTIS) == {"imported": 7, "optimised": 3}


def test_a_gate_by_its_own_sigmoid_is_one_layer():
    """Measured in each of four versions: Swish."""
    from pipeline.targets.inference.optimiser import layer_counts

    network = model(("Sigmoid", ["x"], ["g"], {}), ("Mul", ["g", "x"], ["y"], {}))
    assert layer_counts(network, NEW)["optimised"] == layer_counts(network, SENTIS)["optimised"] == 1
    read = model(("Sigmoid", ["x"], ["g"], {}), ("Mul", ["g", "x"], ["m"], {}), ("Add", ["m", "g"], ["y"], {}))
    assert layer_counts(read, NEW)["optimised"] == 3, "the gate is read elsewhere too"


def test_validation_reports_layers_and_predicted_milliseconds(tmp_path):
    import onnx

    from pipeline.report.text import render_text
    from pipeline.validation.files import check_files

    path = tmp_path / "net.onnx"
    layers = ("Conv", ["x", "w"], ["c"], {}), ("Relu", ["c"], ["y"], {})
    onnx.save(model(*layers, constants=[("w", floats(4, 3, 3, 3))]), path)
    result = check_files([path], ["inference-2", "barracuda-3.0"])
    here, there = result.as_dict()["files"]
    assert here["layers"] == {"imported": 2, "optimised": 1} and there["layers"] is None
    assert here["cost"]["milliseconds"]["inference-desktop"] > 0 and there["cost"]["milliseconds"]["desktop"] > 0
    assert here["cost"]["size"] == there["cost"]["size"]
    reported = render_text(result, verbosity=1)
    assert "2 when it is imported, 1 when it runs (inference-2)" in reported


def test_numbers_are_written_with_rank_1_because_old_versions_merge_only_those():
    """Measured with 2.1.3, 2.2.2 and 2.3.0: Add of a [1,1,1,1] stays an array, which breaks B - (x + A)."""
    from pipeline.graph import from_model
    from pipeline.targets.inference.optimiser import layer_counts

    half = np.full((1, 1, 1, 1), 0.5, np.float32)
    network = model(
        ("Add", ["x", "half"], ["a"], {}),
        ("Sub", ["b", "a"], ["y"], {}),
        constants=[("half", half), ("b", floats(1, 3, 1, 1))],
    )
    assert [(f.code, f.severity) for f in validate(network, SENTIS)] == [("subtracted-sum", "error")]
    again = SENTIS.family.read(SENTIS.family.write(from_model(network), SENTIS))
    assert not validate(again, SENTIS)
    assert sorted(len(tensor.dims) for tensor in again.graph.initializer) == [1, 4]
    chain = model(("Mul", ["x", "half"], ["m"], {}), ("Add", ["m", "half"], ["y"], {}), constants=[("half", half)])
    assert layer_counts(chain, SENTIS)["optimised"] == 2 and layer_counts(chain, NEW)["optimised"] == 1


@pytest.mark.parametrize(
    ("pad", "strides", "differs"),
    [
        ("SAME_LOWER", [1, 2], True),
        ("SAME_UPPER", [1, 2], False),
        ("SAME_UPPER", [1, 3], True),
        ("SAME_LOWER", [1, 1], False),
        ("VALID", [1, 2], False),
    ],
)
def test_same_padding_of_a_stride_longer_than_the_kernel_is_written_out_for_old_versions(pad, strides, differs):
    """Measured with 2.1.3: the pads become negative; 2.2.2 and later are right."""
    from pipeline.graph import from_model
    from pipeline.rewrites import lower

    network = model(
        ("Conv", ["x", "w"], ["y"], {"auto_pad": pad, "strides": strides}), constants=[("w", floats(4, 3, 3, 1))]
    )
    assert [f.code for f in validate(network, SENTIS)] == (["same-padding-differs"] if differs else [])
    assert not validate(network, NEW)
    graph = from_model(network)
    lower(graph, SENTIS)
    assert not validate(SENTIS.family.read(SENTIS.family.write(graph, SENTIS)), SENTIS)
    assert ("auto_pad" in graph.nodes[0].attrs) != differs


@pytest.mark.parametrize("scale", [2.0, 3.0])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "floor"])
def test_align_corners_by_a_whole_number_is_not_the_repetition_that_the_cpu_worker_makes_of_it(scale, rounding):
    """Measured with all four versions: 24 to 72 rows, nearest."""
    attributes = {
        "mode": "nearest",
        "nearest_mode": rounding,
        "coordinate_transformation_mode": "align_corners",
    }
    network = model(
        ("Resize", ["x", "", "s"], ["y"], attributes), constants=[("s", np.float32([1, 1, scale, scale]))]
    )
    findings = [f.code for f in validate(network, NEW) if "repeats each pixel" in f.reason]
    assert findings == (["resize-tie"] * 2 if scale > 2 and rounding != "floor" else [])


def test_a_resize_by_1_is_left_out_whatever_its_mode_is_because_the_importer_reports_cubic():
    from pipeline.graph import from_model
    from pipeline.rewrites import lower

    network = model(
        ("Resize", ["x", "", "s"], ["r"], {"mode": "cubic"}),
        ("Relu", ["r"], ["y"], {}),
        constants=[("s", np.float32([1, 1, 1, 1]))],
    )
    graph = from_model(network)
    lower(graph, NEW)
    assert [node.op for node in graph.nodes] == ["Relu"]


def test_convolutions_cost_what_their_kernels_cost():
    from pipeline.cost.model import Conv
    from pipeline.targets.inference.cost import devices, kernel

    def conv(outputs, kernel=(3, 3), group=1, stride=1, inputs=32):
        return Conv(inputs, outputs, kernel, stride, group, 100, 100)

    assert kernel(conv(32)) == "conv-kxk" and kernel(conv(32, (1, 1))) == "conv-1x1"
    assert kernel(conv(32, group=32)) == "depthwise-winograd"
    assert kernel(conv(32, group=32, stride=2)) == "depthwise" and kernel(conv(32, group=4)) == "grouped"
    assert kernel(conv(32), "gpu-compute-generic") == "generic"
    desktop = next(device for device in devices() if device.name == "inference-desktop")

    def weight(outputs):
        from pipeline.cost.model import Layer

        return desktop.worker.weight(Layer("n", "Conv", 1, 1, 1, conv=conv(outputs)), desktop.kernels)

    assert weight(9) == pytest.approx(weight(16) * 16 / 9), "9 output channels are computed as 16"
    assert weight(8) == weight(16)
