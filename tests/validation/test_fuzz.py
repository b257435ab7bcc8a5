"""Fuzzing `check_files`: whatever is in the file, there are findings or one error, and never another exception.

Bounded to some seconds, and the same examples everywhere. `FUZZ_EXAMPLES=5000 python -m pytest
tests/test_fuzz_validate.py` tries that many others for each test.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pipeline.cli.validate import FORMATS, render
from pipeline.validation.files import Validation, check_files
from pipeline.validation.findings import Finding
from tests.networks import style_onnx

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
TARGETS = ("barracuda-1.0", "barracuda-3.0")
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "net.onnx"


@pytest.fixture(scope="module")
def valid(place) -> bytes:
    return style_onnx(place, size=(8, 8)).read_bytes()


def survives(path: Path, content: bytes) -> Validation:
    """Validate the bytes for the oldest and the newest target, and print the result in every format."""
    path.write_bytes(content)
    result = check_files([path], TARGETS, jobs=1)
    for verdict in result.verdicts:
        if verdict.error is not None:
            assert "\n" not in str(verdict.error) and verdict.error.code
        assert all(isinstance(finding, Finding) for finding in verdict.findings)
        assert all(
            isinstance(text, str) for f in verdict.findings for text in (f.node, f.operator, f.where, f.reason)
        )
    for form in FORMATS:
        built = render(result, form, verbosity=1)
        built.encode("utf-8")
        if form in ("json", "sarif"):
            json.loads(built)
    return result


# ------------------------------------------------------------------------------------------------ bytes
edits = st.lists(
    st.tuples(
        st.sampled_from(("set", "flip", "cut", "insert", "repeat", "end")),
        st.floats(0, 1, allow_nan=False),
        st.binary(min_size=1, max_size=12),
        st.integers(1, 64),
    ),
    min_size=1,
    max_size=6,
)


def edited(content: bytes, changes: list[tuple[str, float, bytes, int]]) -> bytes:
    data = bytearray(content)
    for kind, where, new, length in changes:
        at = int(where * len(data))
        match kind:
            case "set":
                data[at : at + len(new)] = new
            case "flip" if at < len(data):
                data[at] ^= 1 << length % 8
            case "cut":
                del data[at : at + length]
            case "insert":
                data[at:at] = new
            case "repeat":
                data[at:at] = data[at : at + length]
            case "end":
                del data[max(at, 1) :]
    return bytes(data)


@bounded
@given(changes=edits)
def test_a_model_with_changed_bytes(place, valid, changes):
    survives(place, edited(valid, changes))


@bounded
@given(content=st.binary(max_size=200))
def test_random_bytes(place, content):
    survives(place, content)


@bounded
@given(content=st.binary(max_size=200))
def test_random_bytes_in_place_of_the_graph(place, content):
    length = len(content)
    head = bytes([length & 0x7F | 0x80, length >> 7]) if length > 127 else bytes([length])
    survives(place, b"\x08\x08\x3a" + head + content)


# ------------------------------------------------------------------------------------------------ graphs
def known_operators() -> list[str]:
    from pipeline import targets

    return sorted({op for name in targets.names() for op in targets.get(name).operators})


tensor_names = st.sampled_from(
    ["x", "y", "a", "b", "c", "w", "k", "", "missing", "n" * 10_000, "né/\x00\x1b[31m", "\ufffd"]
)
sizes = st.sampled_from([0, 1, 2, 3, 4, 8, -1, -7, 2**31, 2**62, -(2**63)])
shapes = st.one_of(st.none(), st.lists(st.one_of(sizes, st.just("N")), max_size=9))
numbers = st.one_of(st.integers(-3, 9), st.sampled_from([2**31, -(2**31), 2**62, -(2**63)]))
floats = st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0, 1e30, float("nan"), float("inf")])
ATTRIBUTES = """axis axes perm pads kernel_shape strides dilations group mode auto_pad epsilon alpha keepdims split
starts ends steps to value scales coordinate_transformation_mode ceil_mode output_padding min max transA
blocksize"""
attribute_names = st.sampled_from(ATTRIBUTES.split())
_DTYPES = st.sampled_from([0, 1, 2, 6, 7, 8, 9, 10, 11, 16, 17, 23, 99])


@st.composite
def tensors(draw) -> TensorProto:
    tensor = TensorProto(name=draw(tensor_names), data_type=draw(_DTYPES))
    tensor.dims.extend(draw(st.lists(sizes, max_size=7)))
    match draw(st.integers(0, 5)):
        case 0:
            tensor.raw_data = draw(st.binary(max_size=40))
        case 1:
            tensor.float_data.extend(draw(st.lists(floats, max_size=6)))
        case 2:
            tensor.int64_data.extend(draw(st.lists(numbers, max_size=6)))
        case 3:
            tensor.int32_data.extend(draw(st.lists(st.integers(-5, 5), max_size=6)))
        case 4:
            tensor.string_data.extend(draw(st.lists(st.binary(max_size=4), max_size=3)))
    return tensor


@st.composite
def attributes(draw) -> onnx.AttributeProto:
    result = onnx.AttributeProto(name=draw(attribute_names))
    kind = draw(st.integers(0, 7))
    match kind:
        case 0:
            result.type, result.i = onnx.AttributeProto.INT, draw(numbers)
        case 1:
            result.type = onnx.AttributeProto.INTS
            result.ints.extend(draw(st.lists(numbers, max_size=9)))
        case 2:
            result.type, result.f = onnx.AttributeProto.FLOAT, draw(floats)
        case 3:
            result.type = onnx.AttributeProto.FLOATS
            result.floats.extend(draw(st.lists(floats, max_size=5)))
        case 4:
            result.type = onnx.AttributeProto.STRING
            result.s = draw(
                st.sampled_from([b"", b"reflect", b"linear", b"SAME_UPPER", b"\xff\xfe", b"s" * 10_000])
            )
        case 5:
            result.type = onnx.AttributeProto.TENSOR
            result.t.CopyFrom(draw(tensors()))
        case 6:
            result.type = onnx.AttributeProto.GRAPH
            result.g.node.add(op_type="Relu", input=["x"], output=["z"])
        case _:
            result.type = draw(st.sampled_from([0, 3, 4, 8, 9, 11, 13]))
    return result


@st.composite
def nodes(draw) -> onnx.NodeProto:
    new_node = onnx.NodeProto(
        op_type=draw(st.one_of(st.sampled_from(known_operators()), st.sampled_from(["", "If", "Loop", "Gelu"]))),
        name=draw(st.sampled_from(["", "n", "n", "m" * 10_000, "\x00<&>"])),
        domain=draw(st.sampled_from(["", "", "", "ai.onnx", "com.microsoft"])),
    )
    new_node.input.extend(draw(st.lists(tensor_names, max_size=6)))
    new_node.output.extend(draw(st.lists(tensor_names, max_size=3)))
    new_node.attribute.extend(draw(st.lists(attributes(), max_size=4)))
    return new_node


@st.composite
def models(draw) -> onnx.ModelProto:
    model = onnx.ModelProto(ir_version=draw(st.sampled_from([0, 3, 8, 10, 2**40])))
    for version in draw(st.lists(st.sampled_from([-1, 0, 1, 7, 9, 11, 13, 18, 22, 99, 2**40]), max_size=2)):
        model.opset_import.append(helper.make_opsetid(draw(st.sampled_from(["", "ai.onnx", "other"])), version))
    graph = model.graph
    graph.node.extend(draw(st.lists(nodes(), max_size=8)))
    graph.initializer.extend(draw(st.lists(tensors(), max_size=4)))
    for values in (graph.input, graph.output, graph.value_info):
        for name in draw(st.lists(tensor_names, max_size=3)):
            stored = values.add(name=name)
            shape = draw(shapes)
            if draw(st.booleans()):
                stored.type.tensor_type.elem_type = draw(_DTYPES)
            for size in shape or ():
                if isinstance(size, str):
                    stored.type.tensor_type.shape.dim.add(dim_param=size)
                else:
                    stored.type.tensor_type.shape.dim.add(dim_value=size)
    for key in draw(st.lists(st.sampled_from(["k", "k", "image_contract", ""]), max_size=2)):
        model.metadata_props.add(key=key, value="\x1b{")
    return model


@bounded
@given(model=models())
def test_a_random_graph(place, model):
    survives(place, model.SerializeToString())


@bounded
@given(model=models(), old=st.sampled_from([b"x", b"y", b"a", b"Relu", b"N", b"k"]))
def test_a_random_graph_with_text_that_is_not_utf8(place, model, old):
    survives(place, model.SerializeToString().replace(old, b"\xff" * len(old)))


# ------------------------------------------------------------------------------------------------ named oddities
def test_names_that_are_not_utf8_become_text(place):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["mid"]), helper.make_node("Gelu", ["mid"], ["y"], name="nameless")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    content = helper.make_model(graph).SerializeToString()
    result = survives(place, content.replace(b"nameless", b"\xff" * 8).replace(b"mid", b"m\xffd"))
    for verdict in result.verdicts:
        assert [(f.code, f.node) for f in verdict.findings if f.severity == "error"] == [
            ("unknown-operator", "\ufffd" * 8)
        ]


def test_a_cycle_is_a_finding(place):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    result = survives(place, helper.make_model(graph).SerializeToString())
    assert all("malformed-graph" in {f.code for f in v.findings} for v in result.verdicts)


def test_deep_nesting_is_one_error(place):
    content = b""
    for _ in range(5_000):  # attribute.g.node.attribute...: deeper than any parser goes
        content = _field(5, _field(6, _field(1, content)))
    result = survives(place, b"\x08\x08" + _field(7, _field(1, content)))
    assert [v.error.code for v in result.verdicts if v.error is not None] in ([], ["truncated-file"])


def _field(number: int, content: bytes) -> bytes:
    length, head = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(head) + bytes([length]) + content
