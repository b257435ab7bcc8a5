"""Emulation: the graph changed so that ONNX Runtime computes what a target would compute.

One function per semantic difference (`imitate_layers`, `imitate_values`); a target's data file lists by name which
of them it has. Afterwards every node is raised to one opset (`raising`), so that the emulated model is strictly
valid whatever mixture of forms the source was written in. What only throws in Unity is not emulated: validation
reports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.graph import from_model, infer, to_model
from pipeline.validation.view import View
from pipeline.verify import imitate_layers, imitate_values, raising  # noqa: F401 - they register what they imitate
from pipeline.verify.scene import EMULATIONS, Scene

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Target

__all__ = ["EMULATIONS", "emulate"]


def emulate(model: onnx.ModelProto, target: Target) -> onnx.ModelProto:
    """A model that computes in ONNX Runtime what `model` computes on `target`; names of inputs and outputs stay.

    `model` is not changed. Sizes and values that are not known are left as they are. Raises nothing of its own
    for a well-formed model; a model with `error` findings may give an emulation that does not load.
    """
    graph = from_model(model)
    scene = Scene(graph, View(model, target), infer(graph))
    for name, function in EMULATIONS.items():
        if name in target.semantics:
            function(scene)
    opset = raising.raise_forms(graph, scene.shapes, scene.view.opset)
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    emulated = to_model(graph, opset=opset)
    emulated.ir_version = raising.IR_VERSION
    return emulated
