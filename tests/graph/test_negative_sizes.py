"""Sizes that onnx takes for negative, in front of a Slice: its own inference would end the process there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pipeline.graph.standard import infer_shapes

CONSTANTS = {
    "w": np.zeros((3, 3, 20, 20), np.float32),
    "p": np.array([0, 0, -50, -50, 0, 0, 0, 0]),
    "parts": np.array([-3, 11]),
    "zero": np.array([0]),
    "three": np.array([3]),
    "two": np.array([2]),
}
GRAPHS = {
    "kernel": ([1, 3, 8, 8], helper.make_node("Conv", ["x", "w"], ["t"])),
    "pool": ([1, 3, 8, 8], helper.make_node("MaxPool", ["x"], ["t"], kernel_shape=[20, 20])),
    "pad": ([1, 3, 8, 8], helper.make_node("Pad", ["x", "p"], ["t"])),
    "transposed": ([1, 3, 8, 8], helper.make_node("ConvTranspose", ["x", "w"], ["t"], pads=[40] * 4)),
    "split": ([1, 3, 8, 8], helper.make_node("Split", ["x", "parts"], ["t", "rest"], axis=2)),
    "declared": ([1, 3, -5, 8], helper.make_node("Identity", ["x"], ["t"])),
}


def sliced(shape: list[int], first: onnx.NodeProto) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Slice", ["x", "zero", "three", "two"], ["s"], name="before"),
        helper.make_node("Relu", ["s"], ["r"]),
        first,
        helper.make_node("Slice", ["t", "zero", "three", "two"], ["y"], name="behind"),
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()]
    ends = [helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


_EACH = """
import sys
from pathlib import Path
from pipeline.build.job import convert
from pipeline.support.errors import PipelineError
from pipeline.validation.files import check_files
for path in map(Path, sys.argv[1:]):
    print(path.name, check_files([path], ["barracuda-3.0"], jobs=1).verdicts[0].verdict, flush=True)
    try:
        convert(path, path.with_suffix(".out"), use_cache=False)
    except PipelineError as error:
        print(path.name, error.code, flush=True)
"""


def test_validate_and_convert_answer(tmp_path: Path) -> None:
    paths = []
    for name, graph in GRAPHS.items():
        paths.append(tmp_path / f"{name}.onnx")
        onnx.save(sliced(*graph), paths[-1])
    done = subprocess.run(
        [sys.executable, "-c", _EACH, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 2 * len(paths), done.stdout
    assert "not-handled" not in done.stdout


def test_slices_of_sizes_that_are_known_are_inferred() -> None:
    """And the model is as it was."""
    model = sliced([1, 3, 80, 80], helper.make_node("Identity", ["r"], ["t"]))
    del model.graph.initializer[:3]
    before = model.SerializeToString()
    inferred = infer_shapes(model)
    assert model.SerializeToString() == before
    shapes = {
        item.name: [d.dim_value for d in item.type.tensor_type.shape.dim] for item in inferred.graph.value_info
    }
    assert shapes["s"] == shapes["t"] == [1, 3, 3, 80]
    assert [node.domain for node in inferred.graph.node] == [""] * 4
    assert [item.domain for item in inferred.opset_import] == [""]
