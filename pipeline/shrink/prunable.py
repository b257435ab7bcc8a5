"""A network whose channels can be removed: its graph, and how the graph's constants map to the original
tensors."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import targets
from pipeline.graph.channels import Group, Unit, constants, groups, removed
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.network import Network

TRACE_SIZE = Size(80, 64)
LOWERED_FOR = targets.DEFAULT
"""The target for which a graph is lowered whose layers are not recognised; the result is still plain ONNX."""


@dataclass(frozen=True)
class Prunable:
    """`graph` holds the network's own weights. `places` maps its constants to tensors of the state dict: (name,
    axes), axis i of the constant being axis axes[i] of the tensor; empty for an ONNX source.
    """

    network: Network
    graph: gs.Graph
    groups: list[Group]
    places: dict[str, tuple[str, dict[int, int]]]
    tensors: dict[str, np.ndarray]

    def without(self, units: list[Unit], refitted: Mapping[str, np.ndarray] = {}) -> gs.Graph:
        """A copy of the graph without these channels; `refitted` replaces constants of the copy."""
        graph = self.graph.copy()
        weights = constants(graph)
        values = removed({name: np.asarray(tensor.values) for name, tensor in weights.items()}, units)
        values.update(refitted)
        for name, value in values.items():
            weights[name].values = value
        for node in graph.nodes:
            group = int(node.attrs.get("group", 1))
            if node.op == "Conv" and group > 1 and node.inputs[1].name in values:
                node.attrs["group"] = int(node.inputs[1].shape[0])
            for tensor in node.outputs:
                if not any(tensor is output for output in graph.outputs):
                    tensor.shape = None
        return graph

    def pruned(self, units: list[Unit], refitted: Mapping[str, np.ndarray] = {}) -> Network:
        """The network without these channels: a torch module of its own architecture, or an ONNX model.

        `refitted` are new values for the remaining constants of the graph (pipeline.shrink.refit).

        Raises PipelineError `cannot-prune` if the architecture has no form with these widths.
        """
        from pipeline.graph import to_model

        network = self.network
        if not self.places:
            graph = self.without(units, refitted)
            model = to_model(graph)
            model.ir_version = max(model.ir_version, network.model.ir_version if network.model else 4)
            gone = sum(np.asarray(tensor.values).size for tensor in constants(self.graph).values())
            gone -= sum(np.asarray(tensor.values).size for tensor in constants(graph).values())
            return replace(network, model=model, weights=network.weights - gone, details=dict(network.details))
        from pipeline import architectures
        from pipeline.sources.tensors import StateDict

        tensors = self.state(units)
        for name, value in refitted.items():
            key, _ = self.places[name]
            tensors[key] = value.reshape(tensors[key].shape)
        try:
            state = StateDict(tensors, network.format, network.source.name)
            found = architectures.recognise(state, network.architecture)
        except PipelineError as error:
            raise PipelineError(
                "cannot-prune",
                f"{network.architecture} cannot have these widths ({error.message})",
                subject=network.source.name,
                remedy="Export it to ONNX (pipeline convert) and prune that.",
            ) from error
        module = architectures.load(architectures.build(found.name, found.params), found.tensors)
        return replace(network, module=module, weights=found.weights, details=dict(found.params))

    def state(self, units: list[Unit]) -> dict[str, np.ndarray]:
        """The state dict without these channels."""
        moved = []
        for unit in units:
            slots = []
            for name, axis, index in unit.slots:
                if name in self.places:
                    tensor, axes = self.places[name]
                    slots.append((tensor, axes[axis], index))
            moved.append(Unit(makes=slots))
        return {**self.tensors, **removed(self.tensors, moved)}


def prunable(network: Network) -> Prunable:
    """Find the groups of coupled channels of a network.

    Raises PipelineError `cannot-prune` if it has no width that can change, and for torch modules whose weights
    cannot be found in their exported graph.
    """
    from pipeline import architectures
    from pipeline.build.export import export
    from pipeline.build.lowering import declared_size, rewrite
    from pipeline.graph import declare_size, from_model
    from pipeline.rewrites.layout import to_channels_first

    if network.module is not None and network.architecture in architectures.names():
        result = _of_module(network)
    else:
        exported = export(network, TRACE_SIZE)
        if declared_size(exported) is None:
            exported = declare_size(exported, *TRACE_SIZE.hw)
        graph = from_model(exported)
        to_channels_first(graph)
        constants(graph)
        as_model = replace(network, module=None, model=exported)
        result = Prunable(as_model, graph, groups(graph), {}, {})
        if not result.groups:  # quantised, or norms written out: lowering makes plain layers of them
            graph = rewrite(exported, None, targets.get(LOWERED_FOR)).graph
            result = Prunable(as_model, graph, groups(graph), {}, {})
    if not any(group.width > 1 for group in result.groups):
        raise PipelineError(
            "cannot-prune",
            "it has no layer from which channels can be removed without changing its input or output",
            subject=network.source.name,
            remedy="`pipeline inspect` shows its layers.",
        )
    return result


def _of_module(network: Network) -> Prunable:
    """A known architecture: exported with weights that are all different, so that each is recognised by its
    values.

    (The exporter renames and reshapes; batch norm is kept from being folded.)
    """
    from pipeline.graph import from_model

    module: Any = network.module
    state = {key: value.detach().cpu().numpy().copy() for key, value in module.state_dict().items()}
    graph = from_model(_traced(module, network))
    rng = np.random.default_rng(0)
    marked = copy.deepcopy(module)
    _fill(marked, rng)
    marks = {
        value.detach().cpu().numpy().ravel().tobytes(): key
        for key, value in marked.state_dict().items()
        if value.ndim
    }
    graph = from_model(_traced(marked, network))
    places: dict[str, tuple[str, dict[int, int]]] = {}
    for name, tensor in constants(graph).items():
        key = marks.get(np.asarray(tensor.values).ravel().tobytes())
        if key is None:
            continue
        values = state[key]
        places[name] = (key, _axes(tuple(tensor.shape), values.shape))
        tensor.values = np.ascontiguousarray(values.reshape(tensor.shape))
    missing = set(state) - {key for key, _ in places.values()}
    missing = {key for key in missing if state[key].ndim}
    if missing:
        raise PipelineError(
            "cannot-prune",
            f"the tensor {min(missing)} is not found in the exported graph",
            subject=network.source.name,
            remedy="Export it to ONNX (pipeline convert) and prune that.",
        )
    return Prunable(network, graph, groups(graph), places, state)


def _fill(module: Any, rng: np.random.Generator) -> None:
    import torch

    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, tuple(value.shape)).astype(np.float32)))


def _axes(constant: tuple[int, ...], tensor: tuple[int, ...]) -> dict[int, int]:
    """Maps each axis of a reshaped copy to an axis of the tensor; axes of size 1 have none."""
    if constant == tensor:
        return {axis: axis for axis in range(len(tensor))}
    wide = [axis for axis, size in enumerate(constant) if size > 1] or [max(len(constant) - 3, 0)]
    return {axis: index for index, axis in enumerate(wide[: len(tensor)])}


def _traced(module: Any, network: Network) -> onnx.ModelProto:
    """The module exported in opset 9, in its current mode, with batch norm kept as a separate node."""
    import onnx
    import torch

    from pipeline.build.export import INPUT, OUTPUT, silence
    from pipeline.support.quiet import quiet

    channels = network.contract.input.channels if network.contract else 3
    buffer = io.BytesIO()
    with quiet(), silence():
        torch.onnx.export(
            module,
            (torch.zeros(1, channels, *TRACE_SIZE.hw),),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=9,
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
    return onnx.load_from_string(buffer.getvalue())


def save(network: Network, path: Path) -> None:
    """Write a pruned network: a state dict (.pth) of a known architecture, else an .onnx file."""
    if network.module is None:
        from pipeline.support.files import write_file

        assert network.model is not None
        write_file(path, network.model.SerializeToString(deterministic=True))
        return
    from pipeline.shrink import students

    students.save(network.module, network.architecture, path)
