"""Smallest graphs for the rules: each is a few nodes from x to y."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs are names separated by blanks, `_` is an input left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), name=f"{operator}:{outputs}", **attributes)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.5, 1.5, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def graph(
    *nodes: onnx.NodeProto,
    shape: tuple[int | str, ...] | None = (1, 8, 12, 16),
    opset: int = 9,
    producer: str = "",
    dtype: int = TensorProto.FLOAT,
    outputs: str = "y",
    inputs: dict[str, tuple[int | str, ...]] | None = None,
    **constants: Any,
) -> onnx.ModelProto:
    """A model from x (and `inputs`) to `outputs`; keyword arguments are its initializers."""
    stored = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        for name, value in constants.items()
    ]
    given = [helper.make_tensor_value_info("x", dtype, shape)]
    given += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in (inputs or {}).items()
    ]
    result = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs.split()]
    proto = helper.make_graph(list(nodes), "small", given, result, stored)
    return helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name=producer
    )
