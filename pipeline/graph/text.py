"""Text in ONNX files that is not UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def repair_text(model: onnx.ModelProto) -> None:
    """Decode every name and text of a model that is not UTF-8, in subgraphs and functions too, in place.

    protobuf gives text that is not UTF-8 as bytes, and the libraries behind this one expect text everywhere. It is
    decoded with U+FFFD, as Unity's protobuf library does (System.Text.Encoding.UTF8).
    """

    def repair(message: Any, *names: str) -> None:
        for name in names:
            value = getattr(message, name)
            if isinstance(value, bytes):
                setattr(message, name, value.decode("utf-8", "replace"))

    def repair_list(values: Any) -> None:
        for index, value in enumerate(values):
            if isinstance(value, bytes):
                values[index] = value.decode("utf-8", "replace")

    def repair_value(value: Any) -> None:
        repair(value, "name", "doc_string")
        for dim in value.type.tensor_type.shape.dim:
            repair(dim, "dim_param", "denotation")

    def repair_node(node: Any) -> None:
        repair(node, "name", "op_type", "domain", "doc_string", "overload")
        repair_list(node.input)
        repair_list(node.output)
        for entry in node.metadata_props:
            repair(entry, "key", "value")
        for attribute in node.attribute:
            repair(attribute, "name", "ref_attr_name", "doc_string")
            if attribute.HasField("t"):
                repair(attribute.t, "name", "doc_string")
            if attribute.HasField("g"):
                repair_graph(attribute.g)
            for inner in attribute.graphs:
                repair_graph(inner)

    def repair_graph(graph: Any) -> None:
        repair(graph, "name", "doc_string")
        for node in graph.node:
            repair_node(node)
        for tensor in graph.initializer:
            repair(tensor, "name", "doc_string")
            for entry in tensor.external_data:
                repair(entry, "key", "value")
        for values in (graph.input, graph.output, graph.value_info):
            for value in values:
                repair_value(value)

    repair(model, "producer_name", "producer_version", "domain", "doc_string")
    for entry in (*model.metadata_props, *model.graph.metadata_props):
        repair(entry, "key", "value")
    for opset in model.opset_import:
        repair(opset, "domain")
    repair_graph(model.graph)
    for function in model.functions:
        repair(function, "name", "domain", "doc_string")
        for names in (function.input, function.output, function.attribute):
            repair_list(names)
        for node in function.node:
            repair_node(node)
