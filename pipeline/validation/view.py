"""A model indexed for the rules: producers and readers of tensors, what is constant, shapes, small values.

Built once per model and target, in time linear in the nodes. Weights stay in the protobuf: only tensors of up to
`SMALL` elements are ever turned into arrays.
"""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from pipeline.support.sorting import topological

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph.shape import Shape, Shapes
    from pipeline.targets import Target

SMALL = 4096
"""Largest number of elements of a constant whose values a rule may look at."""

_NEARBY = 256
_ELEMENT_LIMIT = 1024
"""Constants above this are shown to ONNX's shape inference without their values."""


class View:
    """A model indexed for the rules of one target. No method raises on a malformed graph."""

    def __init__(
        self,
        model: onnx.ModelProto,
        target: Target,
        graph: gs.Graph | None = None,
        own: Shapes | None = None,
    ) -> None:
        """`graph` is the model as a graph and `own` its inferred shapes, if they are known already."""
        if graph is not None:
            self.__dict__["surgeon"] = graph
        if own is not None:
            self.__dict__["own"] = own
        self.model = model
        self.target = target
        self.graph = model.graph
        self.nodes = list(model.graph.node)
        self.opset = max(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1
        )
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.inputs = {value.name: value for value in self.graph.input if value.name not in self.initializers}
        self.outputs = [value.name for value in self.graph.output]
        self.producer: dict[str, int] = {}
        self.readers: dict[str, list[tuple[int, int]]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.output:
                if name:
                    self.producer.setdefault(name, index)
            for position, name in enumerate(node.input):
                if name:
                    self.readers.setdefault(name, []).append((index, position))

    @cached_property
    def order(self) -> list[int]:
        """Node indices, producers first, else in file order. Left out: nodes of a cycle, and those behind one."""

        def makers(index: int) -> list[int]:
            return [self.producer[name] for name in self.nodes[index].input if name in self.producer]

        return topological(len(self.nodes), makers)

    @cached_property
    def constants(self) -> frozenset[str]:
        """Tensors that are constant while the target imports nodes: what its handlers may demand."""
        known = {name for name, tensor in self.initializers.items() if 0 not in tensor.dims}
        passing = self.target.constants
        for index in self.order:
            node = self.nodes[index]
            names = [name for name in node.input if name]
            if node.op_type == "Constant":
                known.update(node.output)
            elif not names or (passing is not None and node.op_type not in passing):
                continue
            elif node.op_type == "Shape" or all(name in known for name in names):
                known.update(name for name in node.output if name)
        return frozenset(known)

    @cached_property
    def sizes(self) -> frozenset[str]:
        """Tensors that follow from constants and from the sizes of others, known or not: no picture is in them.

        Those of branches and loops are left out: what these read does not stand among their inputs.
        """
        fixed = set(self.initializers)
        known: set[str] = set()
        for index in self.order:
            node = self.nodes[index]
            names = [name for name in node.input if name]
            if node.op_type == "Constant":
                fixed.update(node.output)
            elif any(attribute.type in (attribute.GRAPH, attribute.GRAPHS) for attribute in node.attribute):
                continue
            elif (node.op_type in ("Shape", "Size") and names) or (
                names and all(name in known or name in fixed for name in names)
            ):
                known.update(name for name in node.output if name)
        return frozenset(known)

    @cached_property
    def folds(self) -> frozenset[str]:
        """Tensors that are constant at the latest when the graph is compiled: from constants and static shapes."""
        known = set(self.initializers)
        for index in self.order:
            node = self.nodes[index]
            names = [name for name in node.input if name]
            if node.op_type == "Constant":
                known.update(node.output)
            elif node.op_type == "Shape" and names:
                shape = self.shape(names[0])
                if shape is not None and None not in shape[1:]:
                    known.update(node.output)
            elif names and all(name in known for name in names):
                known.update(name for name in node.output if name)
        return frozenset(known)

    @cached_property
    def surgeon(self) -> gs.Graph | None:
        """The model as a graph of our own kind, without local functions; None when it cannot be one."""
        from pipeline.graph import as_written

        try:
            if self.model.functions:
                copy = onnx.ModelProto()
                copy.CopyFrom(self.model)
                del copy.functions[:]
                return as_written(copy)
            return as_written(self.model)
        except Exception:  # a malformed graph has its own finding
            return None

    @cached_property
    def own(self) -> Shapes | None:
        """The shapes that `pipeline.graph.infer` finds; None for a graph that it cannot read."""
        from pipeline.graph import infer

        if self.surgeon is None or len(self.order) < len(self.nodes):
            return None
        with contextlib.suppress(Exception):
            return infer(self.surgeon)
        return None

    @cached_property
    def _inferred(self) -> tuple[dict[str, Shape], dict[str, np.ndarray], dict[str, int]]:
        shapes: dict[str, Shape] = {}
        values: dict[str, np.ndarray] = {}
        kinds: dict[str, int] = {}
        for name, value in self.inputs.items():
            self._note(value, name, shapes, kinds)
        for value in self.graph.value_info:
            self._note(value, value.name, shapes, kinds)
        for value in self._standard_inference():
            self._note(value, value.name, shapes, kinds)
        if self.own is not None:
            shapes.update(self.own.known)
            values = self.own.values
        for name, tensor in self.initializers.items():
            shapes[name] = tuple(tensor.dims)
            kinds[name] = tensor.data_type
        return shapes, values, kinds

    @staticmethod
    def _note(value: onnx.ValueInfoProto, name: str, shapes: dict[str, Shape], kinds: dict[str, int]) -> None:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            shapes[name] = tuple(
                int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None
                for dim in kind.shape.dim
            )
        if kind.elem_type:
            kinds[name] = kind.elem_type

    def _standard_inference(self) -> list[onnx.ValueInfoProto]:
        """What ONNX's own inference says, of a copy of the graph without the weights' values."""
        from pipeline.graph.standard import infer_shapes

        light = onnx.ModelProto(ir_version=max(self.model.ir_version, 4))
        light.opset_import.extend(self.model.opset_import)
        light.graph.name = "shapes"
        light.graph.input.extend(self.inputs.values())
        light.graph.output.extend(self.graph.output)
        for tensor in self.graph.initializer:
            if (
                int(np.prod(tensor.dims, dtype=np.float64)) <= _ELEMENT_LIMIT
                and tensor.data_location != tensor.EXTERNAL
            ):
                light.graph.initializer.append(tensor)
            else:
                value = light.graph.value_info.add(name=tensor.name)
                value.type.tensor_type.elem_type = tensor.data_type
                value.type.tensor_type.shape.SetInParent()
                for size in tensor.dims:
                    value.type.tensor_type.shape.dim.add(dim_value=size)
        light.graph.node.extend(self.nodes[index] for index in self.order)
        try:
            inferred = infer_shapes(light)
        except Exception:  # not a model that ONNX can read: the rules see unknown shapes
            return []
        return [*inferred.graph.value_info, *inferred.graph.output]

    def shape(self, name: str) -> Shape | None:
        """Sizes with None for an unknown one; None when not even the rank is known."""
        return self._inferred[0].get(name)

    def known_shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor when every size in it is known."""
        shape = self.shape(name)
        if shape is None:
            return None
        sizes = tuple(size for size in shape if size is not None)
        return sizes if len(sizes) == len(shape) else None

    def rank(self, name: str) -> int | None:
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def dtype(self, name: str) -> int | None:
        """ONNX element type, or None."""
        return self._inferred[2].get(name)

    def value(self, name: str) -> np.ndarray | None:
        """The values of a small constant, or of a small tensor that follows from known shapes; else None."""
        tensor = self.initializers.get(name)
        if tensor is None:
            maker = self.maker(name)
            if maker is not None and maker.op_type == "Constant":
                tensor = attribute(maker, "value")
                if not isinstance(tensor, onnx.TensorProto):
                    literal = next(
                        (
                            attribute(maker, key)
                            for key in ("value_float", "value_floats", "value_int", "value_ints")
                            if attribute(maker, key) is not None
                        ),
                        None,
                    )
                    return None if literal is None else np.asarray(literal)
        if tensor is None:
            return self._inferred[1].get(name)
        if float(np.prod(tensor.dims, dtype=np.float64)) > SMALL or tensor.data_location == tensor.EXTERNAL:
            return None
        try:
            return numpy_helper.to_array(tensor)
        except Exception:  # the storage rules report what is wrong with it
            return None

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor."""
        index = self.producer.get(name)
        return None if index is None else self.nodes[index]

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, each once."""
        return [self.nodes[index] for index in dict.fromkeys(index for index, _ in self.readers.get(name, ()))]

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor which is not a graph output."""
        found = self.consumers(name)
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def joins_later(self, node: onnx.NodeProto) -> bool:
        """Whether data computed from a node is combined with other data, so that sizes must match there.

        Looks at the next `_NEARBY` readers only, which keeps the time linear in the nodes.
        """
        readers: list[onnx.NodeProto] = []
        derived, todo = set(node.output), [node]
        while todo and len(readers) < _NEARBY:
            for name in todo.pop().output:
                for reader in self.consumers(name):
                    readers.append(reader)
                    if not derived.issuperset(reader.output):
                        derived.update(reader.output)
                        todo.append(reader)
        return any(
            name and name not in derived and name not in self.folds and (self.rank(name) or 0) > 1
            for reader in readers
            for name in reader.input
        )

    @cached_property
    def static(self) -> bool:
        """Whether every graph input declares all sizes but the batch."""
        return all(
            shape is not None and None not in shape[1:] for shape in (self.shape(name) for name in self.inputs)
        )


def layer_output(node: onnx.NodeProto) -> str:
    """The first output's name."""
    return node.output[0] if node.output else ""


def given(node: onnx.NodeProto, index: int) -> str:
    """The name of an input, empty when it is left out."""
    return node.input[index] if index < len(node.input) else ""


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value as Python data (text decoded, lists as lists), or the default."""
    for entry in node.attribute:
        if entry.name == name:
            try:
                value = onnx.helper.get_attribute_value(entry)
            except Exception:  # an attribute without a type
                return default
            if isinstance(value, bytes):
                return value.decode("utf-8", "replace")
            if isinstance(value, (int, float, str, onnx.TensorProto, onnx.GraphProto)):
                return value
            return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in value]
    return default


def label(node: onnx.NodeProto) -> str:
    """What a finding calls a node: its name, or its first output's."""
    return node.name or next((name for name in node.output if name), "") or node.op_type


def layer(node: onnx.NodeProto) -> str:
    """What Barracuda calls a node: its first output's name (ONNXNodeWrapper.cs:19@3.0.0)."""
    return next((name for name in node.output if name), node.name)
