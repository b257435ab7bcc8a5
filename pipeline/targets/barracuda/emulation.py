"""Emulation: the file's graph changed so that ONNX Runtime computes what Barracuda would compute.

One function per semantic difference (`imitate_layers`, `imitate_values`); a target's data file lists by name
which of them it has. They see each node in the form in which the file has it, as Barracuda does. Afterwards the
dialect's forms are raised to the one valid form; anything that is not in the dialect was refused before. What only
throws in Unity is not emulated: validation reports it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pipeline.graph import OPSET, as_written, declared_opset, infer, to_model
from pipeline.graph.newer import lower_node
from pipeline.graph.older import raise_node
from pipeline.graph.shapes import LazyShapes
from pipeline.targets.barracuda import dialect, imitate_layers, imitate_values  # noqa: F401 - they register themselves
from pipeline.targets.barracuda.register import EMULATIONS
from pipeline.validation.view import View
from pipeline.verify.scene import Scene

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

__all__ = ["EMULATIONS", "ROUNDING", "emulate"]

ROUNDING = ("variance-in-one-pass",)
"""Emulations of differences in rounding only; `meaning` leaves them out."""


def emulate(model: onnx.ModelProto, target: Target, leave_out: Collection[str] = ()) -> onnx.ModelProto:
    """A model that computes in ONNX Runtime what `model` computes on `target`; names of inputs and outputs stay.

    `model` is not changed; `leave_out` names emulations to leave out. Nodes whose sizes or values are unknown stay
    unchanged. Raises PipelineError `not-in-dialect` for a node in a form that neither the declared opset nor
    Barracuda's dialect has; a model with `error` findings may give an emulation that does not load.
    """
    dialect.check(model)
    graph, declared = as_written(model), declared_opset(model)
    view = View(model, target, graph.copy())
    EMULATIONS.apply(Scene(graph, view, view.own or infer(graph)), leave_out)
    _raise(graph, declared)
    return to_model(graph)


def _raise(graph: gs.Graph, declared: int) -> None:
    """Every node in the one valid form. Barracuda's softmax is over the one axis by now."""
    shapes = LazyShapes(graph)
    for node in list(graph.nodes):
        if node.domain not in (None, "", "ai.onnx") or not node.outputs:
            continue
        if declared > OPSET:
            lower_node(graph, node, declared, shapes)
        if node.outputs:
            opset = 13 if "Softmax" in node.op else min(declared, OPSET)
            raise_node(graph, node, opset, shapes)
    graph.opset = OPSET
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
