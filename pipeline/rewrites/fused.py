"""Operators that ONNX Runtime's graph optimiser made (com.microsoft) become the standard ones they were made of.

No Barracuda knows one of them (importer.md section 11). Files saved at ORT_ENABLE_ALL hold channels-blocked
convolutions (com.microsoft.nchwc, NhwcConv), whose weights are laid out for one processor: those are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.newer import gelu
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Refusal, Rewrite
from pipeline.rewrites.kernels import take_over

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "com.microsoft.nhwc")
_LAYOUT = frozenset(["NhwcConv", "NhwcFusedConv", "NhwcMaxPool", "ReorderInput", "ReorderOutput"])
_RENAMED = frozenset(["Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Pad"])
_ACTIVATIONS = frozenset(["Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid", "Elu", "Softplus"])


class FusedOperators(Rewrite):
    """FusedConv, FusedGemm, FusedMatMul, BiasGelu, FastGelu, QuickGelu of com.microsoft become standard nodes.

    Exact; FastGelu is the tanh form of Gelu.
    """

    name = "fused"
    summary = "ONNX Runtime's fused operators become the standard operators that they were made from"
    removes = ("unknown-operator", "foreign-domain")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in list(graph.nodes):
            if node.outputs and node.domain in _DOMAINS and needed(node):
                outcome += self._lower(graph, node, shapes)
        return outcome

    def _lower(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
        build, before = n.Builder(graph, node, self.name), len(graph.nodes)
        if node.domain != "com.microsoft" or node.op in _LAYOUT:
            return [
                Refusal(
                    self.name,
                    "onnx-runtime-layout",
                    node.name,
                    node.op,
                    "the file was saved by ONNX Runtime with its layout optimisations on",
                    "Convert the model as it was exported, or save it with ORT_ENABLE_BASIC or "
                    "ORT_ENABLE_EXTENDED.",
                )
            ]
        result = node.outputs[0]
        match node.op:
            case "FusedConv" | "FusedGemm":
                x = self._convolution(build, node)
            case "FusedMatMul":
                x = self._matmul(build, node, shapes)
            case "BiasGelu":
                x = gelu(build, build.op("Add", *node.inputs), approximate=False)
            case "FastGelu":
                x = node.inputs[0]
                if n.given(node, 1) is not None:
                    x = build.op("Add", *node.inputs)
                x = gelu(build, x, approximate=True)
            case "QuickGelu":
                gate = build.op("Mul", node.inputs[0], build.const([float(node.attrs.get("alpha", 1.702))]))
                x = build.op("Mul", node.inputs[0], build.op("Sigmoid", gate))
            case "Gelu":
                x = gelu(build, node.inputs[0], approximate=False)
            case op if op in _RENAMED:
                node.domain = None
                return self.edit(node, f"com.microsoft {op} became the standard {op}")
            case _:
                return []
        if x is None:
            reason = f"its activation {n.text(node, 'activation')} or form has no equivalent here"
            return [
                Refusal(
                    self.name,
                    "fused-form-unknown",
                    node.name,
                    node.op,
                    reason,
                    "Use the model as it was exported.",
                )
            ]
        change = f"{node.op} became {', '.join(other.op for other in graph.nodes[before:])}"
        take_over(x, result)
        build.drop()
        return self.edit(node, change)

    def _convolution(self, build: n.Builder, node: gs.Node) -> gs.Tensor | None:
        """Conv (+ the sum with input 3) or Gemm, then the activation."""
        activation = n.text(node, "activation")
        attrs = {key: value for key, value in node.attrs.items() if not key.startswith("activation")}
        if activation and activation not in _ACTIVATIONS:
            return None
        plain = node.op.removeprefix("Fused")
        x = build.op(plain, *(t for t in node.inputs[:3] if not t.is_empty()), **attrs)
        if node.op == "FusedConv" and n.given(node, 3) is not None:
            x = build.op("Add", x, node.inputs[3])
        if not activation:
            return x
        if node.op == "FusedGemm":
            parameters = [node.attrs.get("activation_alpha"), node.attrs.get("activation_beta")]
        else:
            parameters = [*node.attrs.get("activation_params", []), None, None]
        names = {
            "LeakyRelu": ("alpha",),
            "Elu": ("alpha",),
            "Clip": ("min", "max"),
            "HardSigmoid": ("alpha", "beta"),
        }
        values: dict[str, Any] = dict(zip(names.get(activation, ()), parameters, strict=False))
        activation_attrs: dict[str, Any] = {
            key: float(value) for key, value in values.items() if value is not None
        }
        return build.op(activation, x, **activation_attrs)

    def _matmul(self, build: n.Builder, node: gs.Node, shapes: LazyShapes) -> gs.Tensor | None:
        """MatMul of transposed operands, times alpha; constants are transposed and scaled here."""
        if node.attrs.get("transBatchA") or node.attrs.get("transBatchB"):
            return None
        operands = []
        for tensor, flag in zip(node.inputs, ("transA", "transB"), strict=True):
            constant, rank = n.value(tensor), shapes.here.rank(tensor)
            if not node.attrs.get(flag):
                operands.append(tensor)
            elif constant is not None:
                operands.append(build.const(np.swapaxes(constant, -1, -2), "transposed"))
            elif rank is None:
                return None
            else:
                operands.append(build.op("Transpose", tensor, perm=[*range(rank - 2), rank - 1, rank - 2]))
        alpha = float(node.attrs.get("alpha", 1.0))
        constant = n.value(operands[1])
        if alpha != 1 and constant is not None:
            operands[1] = build.const(constant * np.float32(alpha), "scaled")
        x = build.op("MatMul", *operands)
        return x if alpha == 1 or constant is not None else build.op("Mul", x, build.const([alpha]))
