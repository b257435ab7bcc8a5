"""A long fuzz of validate and convert: none of these broken and hostile files may end in a bug, hang or flood.

    python benchmarks/fuzz.py --count 20000 --seed 1 --seconds 600

Each input is a small valid network with bytes changed, fields of its protobuf set to odd values, or a node
replaced by one of any operator. `tests/build/test_fuzz.py` tries the first of these. The counts of the last long
run stand in docs/security.md.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LONGEST = 40.0
"""Seconds that an input may take: the time limit of one run, and what is around it."""
_ODD = (0, 1, 2, 3, -1, -7, 2**31, 2**40, 2**62, -(2**63))


_CONFUSED: tuple[tuple[str, object], ...] = (
    ("strides", "two"),
    ("pads", [0.5, 0.5]),
    ("mode", 7),
    ("mode", "\x1b[31m"),
    ("axis", [1, 2]),
    ("kernel_shape", [0]),
    ("perm", [0, 0, 0, 0]),
    ("perm", [5, -9]),
    ("axes", [7]),
    ("axes", [2**40]),
    ("to", "float"),
    ("equation", "..." * 50),
    ("value", numpy_helper.from_array(np.zeros((0, 3), np.float32))),
    ("epsilon", float("nan")),
    ("alpha", float("inf")),
    ("num_groups", 0),
    ("blocksize", 3),
)
_CONTRACTS = ("", "[" * 5000, "{}", "null", '{"input": {"range": "0..1", "channels": 1e99}, "output": 3}')
_TEXTS = ("", "\x1b[2J", "a\n::error ::b", "\u202e", "../../x", "x" * 3000, "t0", "ai.onnx.ml")


def _put_into_a_function(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Make a node a call of a local function that holds it, or that calls itself."""
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    function = model.functions.add(name="F", domain="local")
    function.input.extend(name for name in node.input if name)
    function.output.extend(node.output)
    function.opset_import.add(domain="", version=17)
    function.node.append(inner)
    del node.attribute[:]
    node.op_type, node.domain = "F", "local"
    if all(opset.domain != "local" for opset in model.opset_import):
        model.opset_import.add(domain="local", version=1)


def _put_into_a_branch(node: onnx.NodeProto, random_: random.Random) -> None:
    """Make a node an If or a Loop around itself."""
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    body = helper.make_graph([inner], "body", [], outputs)
    looped = random_.random() < 0.5
    node.op_type = "Loop" if looped else "If"
    node.input[:] = ["three", "", *node.input[:1]] if looped else ["yes"]
    del node.attribute[:]
    for name in ("body",) if looped else ("then_branch", "else_branch"):
        node.attribute.append(helper.make_attribute(name, body))


def _make_external(tensor: onnx.TensorProto, random_: random.Random) -> None:
    """Let a tensor's numbers lie in another file."""
    tensor.data_location = TensorProto.EXTERNAL
    if random_.random() < 0.7:
        tensor.ClearField("raw_data")
    place = random_.choice(
        ["", ".", "..", "/etc/passwd", "../x", "input.onnx", "a\0b", "x" * 5000, "input.onnx/x"]
    )
    tensor.external_data.add(key="location", value=place)
    tensor.external_data.add(key="offset", value=random_.choice(["0", "-1", "9" * 30, "x", "1e3", "16"]))
    tensor.external_data.add(key="length", value=random_.choice(["0", "-1", "9" * 30, "", "36", "432"]))


def network(random_: random.Random) -> onnx.ModelProto:
    """A small picture network of a few operators."""
    rng = np.random.default_rng(random_.randrange(2**32))
    stored = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(3, 4, 1, 1)).astype(np.float32),
        "s": np.ones(4, np.float32),
        "b": np.zeros(4, np.float32),
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "k": np.array([1.0, 1.0, 2.0, 2.0], np.float32),
        "one": np.float32(1),
        "half": np.float32(0.5),
        "slope": np.full((4, 1, 1), 0.2, np.float32),
        "u": rng.normal(size=(4, 4, 2, 2)).astype(np.float32),
        "zero": np.array([0]),
        "three": np.array([3]),
        "one_axis": np.array([1]),
        "flat": np.array([1, 4, -1, 16]),
        "yes": np.array([True]),
    }
    middle = [
        ("Relu", ["{}"], {}),
        ("Pad", ["{}", "p"], {"mode": "reflect"}),
        ("InstanceNormalization", ["{}", "s", "b"], {}),
        ("Resize", ["{}", "", "k"], {"mode": "nearest"}),
        ("AveragePool", ["{}"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Add", ["{}", "one"], {}),
        ("Clip", ["{}", "", "one"], {}),
        ("Transpose", ["{}"], {"perm": [0, 1, 3, 2]}),
        ("HardSwish", ["{}"], {}),
        ("ReduceMean", ["{}"], {"axes": [2, 3]}),
        ("Softmax", ["{}"], {"axis": 1}),
        ("PRelu", ["{}", "slope"], {}),
        ("Slice", ["{}", "zero", "three", "one_axis"], {}),
        ("Reshape", ["{}", "flat"], {}),
        ("Gelu", ["{}"], {}),
        ("Max", ["{}", "one", "half"], {}),
        ("BatchNormalization", ["{}", "s", "b", "b", "s"], {}),
        ("ConvTranspose", ["{}", "u"], {"strides": [2, 2]}),
        ("Split", ["{}"], {"axis": 1}),
        ("Pow", ["{}", "half"], {}),
        ("LRN", ["{}"], {"size": 3}),
        ("Cast", ["{}"], {"to": 10}),
        ("Shape", ["{}"], {}),
        ("Expand", ["{}", "flat"], {}),
        ("Tile", ["{}", "flat"], {}),
        ("Where", ["yes", "{}", "one"], {}),
        ("Einsum", ["{}"], {"equation": "bchw->bcwh"}),
        ("GroupNormalization", ["{}", "s", "b"], {"num_groups": 2}),
        ("LayerNormalization", ["{}", "s"], {"axis": 1}),
        ("QuantizeLinear", ["{}", "one"], {}),
        ("GlobalAveragePool", ["{}"], {}),
        ("MatMul", ["{}", "{}"], {}),
        ("DepthToSpace", ["{}"], {"blocksize": 2}),
    ]
    nodes = [helper.make_node("Conv", ["x", "w"], ["t0"], name="first", pads=[1, 1, 1, 1])]
    for number in range(random_.randrange(1, 5)):
        operator, reads, attributes = random_.choice(middle)
        names = [name.format(f"t{number}") for name in reads]
        nodes.append(helper.make_node(operator, names, [f"t{number + 1}"], name=f"n{number}", **attributes))
    nodes.append(helper.make_node("Conv", [nodes[-1].output[0], "v"], ["y"], name="last"))
    size = random_.choice([[1, 3, 16, 16], [1, 3, "h", "w"]])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "oh", "ow"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", random_.choice([11, 17, 18, 21]))], ir_version=8
    )


def _change(model: onnx.ModelProto, random_: random.Random) -> None:
    """Set one thing in a model to something odd."""
    node = random_.choice(model.graph.node)
    tensor = random_.choice(model.graph.initializer)
    match random_.randrange(20):
        case 9:
            _put_into_a_function(model, node)
        case 10:
            _put_into_a_branch(node, random_)
        case 11:
            name, value = random_.choice(_CONFUSED)
            node.attribute.append(helper.make_attribute(name, value))
        case 12:
            names = random_.choice([node.input, node.output])
            names[:] = random_.choice([[], [""], ["t0", "t0"], ["x"] * 9])
        case 13:
            tensor.data_type = random_.randrange(30)
        case 14:
            _make_external(tensor, random_)
        case 15:
            texts = random_.choice(_CONTRACTS)
            model.metadata_props.add(key="image_contract", value=texts)
        case 16:
            values = random_.choice([model.graph.input, model.graph.output, model.graph.value_info])
            if random_.random() < 0.4:
                del values[:]
            else:
                values.add(name=random_.choice(["y", ""]))
        case 17:
            sparse = model.graph.sparse_initializer.add(dims=[random_.choice(_ODD), 4])
            sparse.values.CopyFrom(tensor)
            sparse.indices.CopyFrom(random_.choice(model.graph.initializer))
        case 18:
            text = random_.choice(_TEXTS)
            node.name = node.domain = model.producer_name = text
            node.output[:] = [text, *node.output[1:]]
        case 19:
            random_.choice(
                [
                    lambda: model.ClearField("opset_import"),
                    lambda: model.opset_import.extend(list(model.opset_import)),
                    lambda: model.graph.initializer.extend(list(model.graph.initializer)),
                    lambda: model.graph.node.extend(list(model.graph.node)),
                    lambda: setattr(model, "ir_version", random_.choice([0, 1, 3, 99])),
                    lambda: model.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent(),
                ]
            )()
        case 0:
            node.op_type = random_.choice(sorted({stored.name for stored in onnx.defs.get_all_schemas()}))
        case 1 if node.attribute:
            stored = random_.choice(node.attribute)
            stored.i = random_.choice(_ODD)
            if stored.ints:
                stored.ints[random_.randrange(len(stored.ints))] = random_.choice(_ODD)
        case 2 if node.input:
            names = ["x", "y", "t0", "t1", "w", "", "nowhere", "one", "p"]
            node.input[random_.randrange(len(node.input))] = random_.choice(names)
        case 3 if tensor.dims:
            tensor.dims[random_.randrange(len(tensor.dims))] = random_.choice(_ODD)
        case 4:
            tensor.raw_data = tensor.raw_data[: random_.randrange(len(tensor.raw_data) + 1)]
        case 5:
            name = random_.choice(["group", "axis", "pads", "strides", "dilations", "blocksize", "to", "shape"])
            value = random_.choice([random_.choice(_ODD), [random_.choice(_ODD) for _ in range(4)]])
            del node.attribute[:]
            node.attribute.append(helper.make_attribute(name, value))
        case 6:
            model.opset_import[0].version = random_.choice([-1, 0, 1, 7, 9, 11, 13, 18, 22, 99])
        case 7:
            dims = model.graph.input[0].type.tensor_type.shape.dim
            dims[random_.randrange(len(dims))].dim_value = random_.choice(_ODD)
        case _:
            at = random_.randrange(len(tensor.raw_data) // 8 + 1) * 8
            odd = random_.choice(_ODD).to_bytes(8, "little", signed=True)
            tensor.raw_data = tensor.raw_data[:at] + odd + tensor.raw_data[at + 8 :]


def changed(model: onnx.ModelProto, random_: random.Random) -> bytes:
    """The network's bytes after one to three changes."""
    for _ in range(random_.randrange(1, 4)):
        with contextlib.suppress(IndexError, ValueError):  # an earlier change left nothing for this one
            _change(model, random_)
    content = bytearray(model.SerializeToString())
    if random_.random() < 0.3:
        for _ in range(random_.randrange(1, 4)):
            content[random_.randrange(len(content))] = random_.randrange(256)
    return bytes(content)


def inputs(seed: int, count: int) -> Iterator[bytes]:
    """The same `count` inputs for the same seed."""
    for number in range(count):
        random_ = random.Random(f"{seed}/{number}")
        yield changed(network(random_), random_)


def read_and_validated(content: bytes, folder: Path) -> tuple[str, str]:
    """What reading and validating make of an input: a verdict and a code. Raises what would be a bug."""
    from pipeline.sources import read
    from pipeline.support.errors import PipelineError
    from pipeline.validation.files import check_files

    path = folder / "input.onnx"
    path.write_bytes(content)
    verdict = check_files([path], ["barracuda-3.0"], jobs=1).verdicts[-1].verdict
    try:
        return verdict, read(path).format
    except PipelineError as error:
        str(error)
        return verdict, error.code


def outcome(content: bytes, folder: Path) -> tuple[str, str]:
    """What validate and convert make of an input: a verdict and a code each. Raises what would be a bug."""
    from pipeline.build.job import convert
    from pipeline.support.errors import PipelineError
    from pipeline.validation.files import check_files

    path = folder / "input.onnx"
    path.write_bytes(content)
    validation = check_files([path], ["barracuda-1.0", "barracuda-3.0"], jobs=1)
    reported = validation.verdicts[-1].verdict
    try:
        convert(path, folder / "output.onnx", force=True, use_cache=False)
        return reported, "converted"
    except PipelineError as error:
        str(error)
        return reported, error.code


def main() -> None:
    """Run and print the counts."""
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=5000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--seconds", type=float, default=3600)
    given = options.parse_args()
    counts: dict[str, collections.Counter[str]] = {
        "validate": collections.Counter(),
        "convert": collections.Counter(),
    }
    slowest = 0.0
    begun = time.monotonic()
    done = 0
    with tempfile.TemporaryDirectory() as place:
        for number, content in enumerate(inputs(given.seed, given.count)):
            started = time.monotonic()
            try:
                verdict, code = outcome(content, Path(place))
            except Exception as error:
                verdict = code = f"BUG {type(error).__name__}"
                print(
                    f"input {number} of seed {given.seed}: {type(error).__name__}: {str(error)[:200]}", flush=True
                )
            counts["validate"][verdict] += 1
            counts["convert"][code] += 1
            slowest = max(slowest, time.monotonic() - started)
            if code == "not-handled":
                print(f"input {number} of seed {given.seed}: not handled", flush=True)
            if time.monotonic() - started > LONGEST:
                print(f"input {number} of seed {given.seed} took {time.monotonic() - started:.0f} s", flush=True)
            done = number + 1
            if time.monotonic() - begun > given.seconds:
                break
    print(f"{done} inputs in {time.monotonic() - begun:.0f} s, the slowest {slowest:.1f} s")
    for name, item in counts.items():
        print(name, ", ".join(f"{code} {count}" for code, count in item.most_common()))


if __name__ == "__main__":
    main()
