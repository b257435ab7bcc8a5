"""Times `pipeline validate` (or `convert`) on chains of nodes: time must grow no faster than the nodes.

    python benchmarks/validate_nodes.py [--runs 5] [--target barracuda-3.0]
    python benchmarks/validate_nodes.py --convert --runs 1       # 2,000, 5,000 and 20,000 nodes

The chain repeats Pad, Conv, InstanceNormalization, Relu, Add, with small weights. Prints for each length the best
of the runs: processor seconds for reading and validating inside one process, and the same per node. Exit code 1
when a node of the longest chain costs more than twice as much as one of the middle chain.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.support.memory import own_process
from pipeline.validation.files import check_files

LENGTHS = (100, 1_000, 10_000)
CONVERTED = (2_000, 5_000, 20_000)


def chain(length: int) -> onnx.ModelProto:
    """A valid model (opset 9) of `length` nodes in a row, with a residual Add every fifth node."""
    rng = np.random.default_rng(length)
    constants = {"w": rng.normal(size=(3, 3, 3, 3)) / 9, "b": np.ones(3), "s": np.full(3, 0.5), "t": np.zeros(3)}
    nodes, last, kept = [], "x", "x"
    for number in range(length):
        name = f"t{number}"
        match number % 5:
            case 0:
                new_node = helper.make_node("Pad", [last], [name], mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1])
            case 1:
                new_node = helper.make_node("Conv", [last, "w", "b"], [name], kernel_shape=[3, 3])
            case 2:
                new_node = helper.make_node("InstanceNormalization", [last, "s", "t"], [name], epsilon=1e-5)
            case 3:
                new_node = helper.make_node("Relu", [last], [name])
            case _:
                new_node = helper.make_node("Add", [last, kept], [name])
                kept = name
        new_node.name = f"node{number}"
        nodes.append(new_node)
        last = name
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--target", default=targets.DEFAULT)
    parser.add_argument("--convert", action="store_true", help="time convert instead of validate")
    chosen = parser.parse_args()
    lengths = CONVERTED if chosen.convert else LENGTHS
    once = _converted if chosen.convert else _once
    per_node: dict[int, float] = {}
    print(f"{'nodes':>7} {'seconds':>9} {'us/node':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for length in lengths:
            path = Path(folder) / f"{length}.onnx"
            onnx.save(chain(length), path)
            seconds = min(once(path, chosen.target) for _ in range(chosen.runs))
            per_node[length] = seconds / length
            print(f"{length:>7,} {seconds:>9.3f} {per_node[length] * 1e6:>9.0f}")
    return 1 if per_node[lengths[-1]] > 2 * per_node[lengths[-2]] else 0


def _once(path: Path, target: str) -> float:
    start = time.process_time()
    check_files([path], [target], jobs=1)
    return time.process_time() - start


def _converted(path: Path, target: str) -> float:
    from pipeline.build.job import convert

    own_process()
    start = time.process_time()
    convert(path, path.with_suffix(".converted.onnx"), target=target, force=True, use_cache=False)
    return time.process_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
