"""Runs a graph with other values for some of its constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

Values = dict[str, np.ndarray]


def overridable(graph: gs.Graph, names: set[str]) -> Callable[[np.ndarray, Values], np.ndarray]:
    """The graph as a function of a picture and of new values for the constants in `names`."""
    from onnx import helper

    from pipeline.graph import to_model
    from pipeline.graph.runtime import free_size, session

    model = free_size(to_model(graph))
    for tensor in model.graph.initializer:
        if tensor.name in names:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    image = graph.inputs[0].name
    opened = session(model)

    def run(picture: np.ndarray, others: Values) -> np.ndarray:
        output: np.ndarray = opened.run(None, {image: picture, **others})[0]
        return output

    return run
