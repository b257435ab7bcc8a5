"""Findings as a whole: order, texts, odd graphs, speed, and what is not imported."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from hypothesis import given as property_of
from hypothesis import settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.validation import validate
from pipeline.validation.findings import Severity
from tests.validation.cases import CASES
from tests.validation.small import floats, graph, ints, node

V3 = targets.get("barracuda-3.0")
V1 = targets.get("barracuda-1.0")


def worst(findings):
    return min((finding.severity for finding in findings), key=lambda severity: severity.rank, default=None)


def test_findings_come_worst_first_then_in_node_order():
    model = graph(
        node("LeakyRelu", "x", "a", alpha=2.0),
        node("AveragePool", "a", "b", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
        node("HardSwish", "b", "c"),
        node("Gelu", "c"),
    )
    found = validate(model, V3)
    assert [f.severity.rank for f in found] == sorted(f.severity.rank for f in found)
    assert [f.operator for f in found if f.severity is Severity.ERROR] == ["LeakyRelu", "HardSwish", "Gelu"]
    assert found == validate(model, V3)


def test_console_text_of_an_unknown_operator_names_the_layer_by_its_output():
    (found,) = validate(graph(node("HardSwish", "x")), V3)
    assert found.console == "OnnxImportException: Unknown type HardSwish encountered while parsing layer y."
    assert (found.node, found.operator, found.target) == ("HardSwish:y", "HardSwish", "barracuda-3.0")
    assert found.source == "ONNXModelConverter.cs:2953@3.0.0"


def test_console_text_of_an_ignored_resize_attribute_is_the_measured_one():
    model = graph(
        node("Resize", "x _ _ n", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        n=ints(1, 8, 24, 32),
        opset=11,
    )
    texts = {f.where: f.console for f in validate(model, V3) if f.code == "resize-attribute-ignored"}
    assert texts == {
        "coordinate_transformation_mode": "Unsupported attribute coordinate_transformation_mode, node y of type "
        "Resize. Value will be ignored and defaulted to half_pixel.",
        "nearest_mode": "Unsupported attribute nearest_mode, node y of type Resize. "
        "Value will be ignored and defaulted to round_prefer_floor.",
    }


def test_a_dropped_bias_is_wrong_and_the_console_is_silent():
    model = graph(node("Identity", "b", "i"), node("Conv", "x w i"), w=floats(8, 8, 3, 3), b=floats(8))
    (found,) = [f for f in validate(model, V3) if f.code == "optional-input-dropped"]
    assert (found.severity, found.console, found.where) == (Severity.WRONG, "", "B")


@pytest.mark.parametrize(
    ("mode", "severity"), [("half_pixel", Severity.WARNING), ("align_corners", Severity.WRONG)]
)
def test_align_corners_is_wrong_and_half_pixel_only_a_cosmetic_warning(mode, severity):
    model = graph(
        node("Resize", "x _ _ n", mode="linear", coordinate_transformation_mode=mode, nearest_mode="floor"),
        n=ints(1, 8, 24, 32),
        opset=11,
    )
    found = validate(model, targets.get("barracuda-2.0"))
    assert worst(found) == severity
    assert all(f.reason.startswith("cosmetic: ") for f in found if f.severity is Severity.WARNING)


def test_ceil_mode_is_cosmetic_where_the_size_is_the_same():
    even = graph(node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), shape=(1, 8, 12, 16))
    odd = graph(node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), shape=(1, 8, 13, 16))
    assert worst(validate(even, V3)) == Severity.WARNING
    assert worst(validate(odd, V3)) == Severity.WRONG


def test_linear_upsample_of_torch_is_a_note_and_of_others_wrong():
    nodes, scales = node("Upsample", "x s", mode="linear"), np.array([1, 1, 2, 2], np.float32)
    by_torch = validate(graph(nodes, s=scales, producer="pytorch"), V3)
    by_others = validate(graph(nodes, s=scales, producer="tf2onnx"), V3)
    assert [f.severity for f in by_torch if f.code == "resize-coordinates-differ"] == [Severity.NOTE]
    assert [f.severity for f in by_others if f.code == "resize-coordinates-differ"] == [Severity.WRONG]


def test_a_lost_padding_is_an_error_where_sizes_meet_later():
    nodes = [node("Pad", "x p", "t"), node("Conv", "t w", "u"), node("Add", "u x")]
    constants = {"p": ints(0, 0, 1, 1, 0, 0, 1, 1), "w": floats(8, 8, 3, 3)}
    assert worst(validate(graph(*nodes, opset=11, **constants), V1)) == Severity.ERROR
    assert worst(validate(graph(*nodes[:2], opset=11, outputs="u", **constants), V1)) == Severity.WRONG


def test_a_slow_operator_is_reported_once_with_its_count():
    model = graph(node("InstanceNormalization", "x g b", "t"), node("InstanceNormalization", "t g b"),
                  g=floats(8), b=floats(8))  # fmt: skip
    (found,) = [f for f in validate(model, V3) if f.code == "reference-loop-on-cpu"]
    assert found.reason.endswith("(2 nodes)")


def test_the_model_is_not_changed():
    for _, model, _ in CASES[:40]:
        before = model.SerializeToString(deterministic=True)
        validate(model, V1)
        assert model.SerializeToString(deterministic=True) == before


# ------------------------------------------------------------------------------------------------ odd graphs
def odd_models() -> dict[str, onnx.ModelProto]:
    nothing = onnx.ModelProto()
    subgraph = helper.make_graph([node("Relu", "x", "z")], "body", [], [])
    huge = graph(node("Relu", "x"), shape=(1, 3, 2**40, 2**40))
    negative = graph(node("Add", "x c"), c=TensorProto(name="c", data_type=1, dims=[-3, 4]))
    no_type = graph(node("Relu", "x"))
    no_type.graph.input[0].ClearField("type")
    unnamed = graph(helper.make_node("Relu", ["x"], [""]), node("Relu", "x"))
    attributes = graph(node("Conv", "x w", strides=[0, 0], pads=[1], dilations=[0], group=0), w=floats(8, 8, 3, 3))
    strange = graph(node("Resize", "x _ _ n", mode=3), n=ints(1, 2, 3), opset=11)
    typeless = graph(node("Relu", "x"))
    typeless.graph.node[0].attribute.add(name="alpha")
    long = graph(node("Relu", "x", "t" * 10_000), node("Relu", "t" * 10_000))
    self_loop = graph(node("Add", "y x"))
    return {
        "nothing": nothing,
        "if": graph(node("If", "x", then_branch=subgraph, else_branch=subgraph)),
        "huge": huge,
        "negative": negative,
        "no type": no_type,
        "unnamed output": unnamed,
        "bad attributes": attributes,
        "strange resize": strange,
        "attribute without type": typeless,
        "long names": long,
        "self loop": self_loop,
        "no opset": onnx.ModelProto(graph=graph(node("Relu", "x")).graph),
        "no inputs": graph(helper.make_node("Conv", [], ["y"]), helper.make_node("Gemm", [], ["z"])),
        "empty slice": graph(node("Slice", "x", starts=[1, 2], ends=[3], axes=[9])),
        "zero pool": graph(node("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 0], ceil_mode=1)),
        "no kernel": graph(node("AveragePool", "x", auto_pad="SAME_UPPER", strides=[2, 2])),
        "bad permutation": graph(node("Transpose", "x", perm=[9, 9, 9, 9])),
        "short raw data": graph(
            node("Add", "x c"), c=TensorProto(name="c", data_type=1, dims=[4], raw_data=b"12")
        ),
        "strings": graph(node("Add", "x c"), c=TensorProto(name="c", data_type=8, dims=[1], string_data=[b"a"])),
        "unknown type": graph(node("Add", "x c"), c=TensorProto(name="c", data_type=99, dims=[1], raw_data=b"1")),
    }


@pytest.mark.parametrize("name", odd_models())
@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_an_inconsistent_graph_gives_findings_and_no_exception(name, target):
    assert isinstance(validate(odd_models()[name], targets.get(target)), list)


@pytest.mark.parametrize("name", ["nothing", "huge", "negative", "self loop", "unnamed output"])
def test_an_inconsistent_graph_is_reported_as_malformed(name):
    assert "malformed-graph" in {f.code for f in validate(odd_models()[name], V3)}


@settings(max_examples=150, deadline=None, derandomize=True)
@property_of(st.data())
def test_a_damaged_file_that_still_parses_gives_findings_and_no_exception(data):
    model = data.draw(st.sampled_from([case[1] for case in CASES]))
    content = bytearray(model.SerializeToString())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = onnx.ModelProto()
    try:
        damaged.ParseFromString(bytes(content))
    except Exception:  # not a protobuf any more: reading it is another step's error
        return
    validate(damaged, data.draw(st.sampled_from([V1, V3])))


# ------------------------------------------------------------------------------------------------ cost
def chain(count: int) -> onnx.ModelProto:
    nodes = [node("Conv", "x w", "t0", pads=[1] * 4)]
    for index in range(1, count):
        if index % 3:
            nodes.append(node("Relu", f"t{index - 1}", f"t{index}"))
        else:
            nodes.append(node("Add", f"t{index - 1} c", f"t{index}"))
    return graph(*nodes, node("Relu", f"t{count - 1}"), w=floats(8, 8, 3, 3), c=floats(1))


def test_time_is_linear_in_the_nodes():
    seconds = {}
    for count in (500, 4000):
        model = chain(count)
        start = time.process_time()
        validate(model, V3)
        seconds[count] = time.process_time() - start
    assert seconds[4000] < 8 * seconds[500] * 2.5 + 0.2


PROBE = """
import sys, time
start = time.perf_counter()
import onnx
from pipeline import targets
from pipeline.validation import validate
model = onnx.load(sys.argv[1])
validate(model, targets.get("barracuda-3.0"))
heavy = [name for name in ("torch", "onnxruntime", "onnxsim") if name in sys.modules]
print(time.perf_counter() - start, *heavy)
"""


def test_neither_torch_nor_onnxruntime_nor_onnxsim_is_imported(tmp_path):
    onnx.save(graph(node("Relu", "x")), tmp_path / "m.onnx")
    printed = subprocess.run(
        [sys.executable, "-c", PROBE, tmp_path / "m.onnx"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(printed) == 1


def test_a_full_size_network_is_validated_without_turning_weights_into_arrays(shared_models):
    model = onnx.load(shared_models / "tf_fast_style" / "udnie_full.converted.onnx")
    start = time.process_time()
    found = validate(model, V3)
    assert time.process_time() - start < 0.5
    assert {f.code for f in found if f.severity is Severity.ERROR} == {"transposed-pads-asymmetric"}


@pytest.mark.parametrize("name", ["cjmills/final.onnx", "cjmills/12_small.onnx", "cjmills/mosaic_final.onnx"])
@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_networks_that_were_used_in_unity_have_no_findings_but_about_speed(shared_models, name, target):
    found = validate(onnx.load(shared_models / name), targets.get(target))
    assert {f.severity for f in found} <= {Severity.SLOW, Severity.NOTE}


def test_quantised_networks_name_the_first_quantised_operator(shared_models):
    model = onnx.load(shared_models / "quantised" / "3_small.ort_dynamic_quint8.onnx")
    first = validate(model, V3)[0]
    assert (first.code, first.operator) == ("unknown-operator", "DynamicQuantizeLinear")


def test_dynamic_sizes_are_a_note_for_convolutions_as_the_console_stays_silent():
    model = graph(node("Conv", "x w", pads=[1] * 4), w=floats(8, 3, 3, 3), shape=("n", 3, "h", "w"))
    (found,) = validate(model, V3)
    assert (found.code, found.severity) == ("unknown-dimension", Severity.NOTE)
    assert found.console == ""
    assert validate(model, V1) == []


@pytest.mark.parametrize("target", ["barracuda-1.0", "barracuda-3.0"])
def test_arithmetic_on_sizes_is_what_the_lowering_computes(target):
    """Pad to a multiple of eight at an open size: no operator of it is hopeless, whatever the target lacks."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mod", ["shape", "eight"], ["over"]),
        helper.make_node("BitwiseNot", ["over"], ["more"]),
        helper.make_node("Concat", ["none", "more"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("BitwiseNot", ["data"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", 1, [1, 3, "h", "w"]),
            helper.make_tensor_value_info("data", 7, [1, 3, "h", "w"]),
        ],
        [helper.make_tensor_value_info("padded", 1, None), helper.make_tensor_value_info("y", 7, None)],
        [numpy_helper.from_array(np.array(v), n) for n, v in (("eight", [8] * 4), ("none", [0] * 4))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    found = {f.node: f.fix for f in validate(model, targets.get(target)) if f.severity == Severity.ERROR}
    assert "more" in found and "y" in found
    assert all("build-unity" in fix for node, fix in found.items() if node != "y")
    assert "No rewrite replaces it" in found["y"]
