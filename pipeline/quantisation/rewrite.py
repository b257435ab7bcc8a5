"""Quantised networks become the float networks that they stand for.

A target without integer types computes with float32, so that size at rest is all that 8-bit weights gain there.
Weights become (q - zero_point) * scale in float32, bit for bit what DequantizeLinear gives. Activations are no
longer rounded: that is nearer to the float original, not to the quantised run, and the edits say so.

Where a range saturates: calibration puts the ends of a range where the calibration pictures had them, so clamping
there only loses; that saturation is dropped. It is kept where the range is the activation itself, because the
quantiser folded one away (ONNX Runtime removes Relu and Clip before a QuantizeLinear): as Relu where the range
starts at exactly 0 and the producer goes below, as Clip where it is one of `CLAMPS` to within a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.integers import QuantizedTensor, dequantise
from pipeline.quantisation.dynamic import matmul_to_float, scale_back
from pipeline.quantisation.edges import integers_in, integers_out
from pipeline.quantisation.encodings import Encoding, constant, quantise
from pipeline.quantisation.names import BIAS, DOMAINS, INTEGER, NAME, QLINEAR, QUANTISED, UNKNOWN
from pipeline.quantisation.ranges import bounds
from pipeline.quantisation.work import MOVING, Work
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite, always
from pipeline.rewrites.driver import settle
from pipeline.rewrites.kernels import take_over

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Target

CLAMPS = ((0.0, 6.0), (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Ranges that are activations (Relu6, hard sigmoid, hard tanh, a picture) and no coincidence of calibration."""


def integers(model: onnx.ModelProto) -> list[QuantizedTensor]:
    """The integer weights of a quantised model, under the names that they have as floats after `Quantised`.

    Biases (int32) are not among them. Empty for a float model, and for one that `Quantised` refuses.
    """
    from pipeline.graph import from_model

    work = Conversion(from_model(model))
    work.run()
    return [] if work.refusals else work.integer_weights


def undo(graph: gs.Graph) -> Outcome:
    """Undo the quantisation of a graph, in place, whatever a target would take; what was done, or why not."""
    outcome = Quantised().apply(graph, None, always)
    settle(graph)
    return outcome


class Quantised(Rewrite):
    """QDQ, QOperator and dynamically quantised graphs, of ONNX Runtime and PyTorch, become float graphs.

    Refuses, and then changes nothing at all, where integers are computed with in a way that is none of these.
    """

    changes_numbers = "it undoes quantisation, whose rounding the target cannot compute"
    name = NAME
    summary = "quantised operators become float ones: weights (q - zero_point) * scale, activations unrounded"
    removes = ("unknown-operator", "foreign-domain", "tensor-dtype")

    def apply(self, graph: gs.Graph, target: Target | None, needed: Needed) -> Outcome:
        quantised = [node for node in graph.nodes if node.op in QUANTISED or node.op in UNKNOWN]
        if not quantised or not needed(*quantised):
            return []
        trial = Conversion(graph.copy())
        trial.run()
        if trial.refusals:
            return list(trial.refusals)
        work = Conversion(graph)
        work.run()
        return list(work.edits())


class Conversion(Work):
    """The conversion itself: node by node, in topological order."""

    def run(self) -> None:
        self.graph.toposort()
        for node in list(self.graph.nodes):
            if node.op == "Mul":
                scale_back(self, node)
        self.graph.cleanup(remove_unused_graph_inputs=False).toposort()
        for node in list(self.graph.nodes):
            if node.domain in DOMAINS and node.outputs:
                self._convert(node)
        for node in list(self.graph.nodes):
            if node.op == "Identity" and node.name in self.dropped:
                n.bypass(self.graph, node)
        self.graph.cleanup(remove_unused_graph_inputs=False).toposort()
        for node in self.graph.nodes:
            if node.op in INTEGER or node.op == "DynamicQuantizeLinear":
                self.refuse(node, "its result is not converted back to floats in a known form")

    def _convert(self, node: gs.Node) -> None:
        match node.op:
            case "QuantizeLinear":
                self._quantise(node)
            case "DequantizeLinear":
                self._dequantise(node)
            case "QLinearConcat":
                parts = [self._real(node, index) for index in range(2, len(node.inputs), 3)]
                self._become(node, "Concat", parts, 0)
            case op if op in QLINEAR:
                self._qlinear(node)
            case "DynamicQuantizeMatMul" | "MatMulIntegerToFloat":
                matmul_to_float(self, node)
            case op if op in UNKNOWN:
                self.refuse(node, "no float form of this operator is known")
            case _:
                self._move(node)

    def _quantise(self, node: gs.Node) -> None:
        values = constant(node.inputs[0])
        encoding = self.encoding(node, 1)
        if encoding is None:
            return
        if values is not None and encoding.is_float:
            self.refuse(node, "it converts a constant to float8 or float4, which is not supported")
            return
        if values is not None:
            quantized = gs.Constant(
                f"{node.inputs[0].name}_quantized", quantise(values, encoding, self.axis(node, values))
            )
            self.encodings[quantized.name] = encoding
            n.replace_everywhere(self.graph, node.outputs[0], quantized)
            node.outputs.clear()
            return
        output = node.outputs[0]
        if n.is_output(self.graph, output):
            integers_out(self, node, encoding)
            return
        self.encodings[output.name] = encoding
        output.dtype = np.dtype(np.float32)
        node.inputs = node.inputs[:1]
        node.attrs.clear()
        node.domain = None
        reader = n.only_consumer(self.graph, output)
        if reader is not None and reader.op == "Clip":
            encoding = self.narrowed(reader, encoding)
        self._saturate(node, encoding)

    def _dequantise(self, node: gs.Node) -> None:
        values, output = constant(node.inputs[0]), node.outputs[0]
        encoding = self.encoding(node, 1)
        if encoding is None:
            return
        if values is not None:
            weight = self.weight(node, node.inputs[0], encoding, self.axis(node, values))
            if n.is_output(self.graph, output):
                self.refuse(node, "an output of the network is a constant")
                return
            n.replace_everywhere(self.graph, output, weight)
            node.outputs.clear()
            return
        written = self.encodings.get(node.inputs[0].name)
        if written is None:
            real = integers_in(self, node, node.inputs[0], encoding)
            if real is not None:
                take_over(real, output)
                node.outputs.clear()
            return
        if not written.same(encoding):
            self.refuse(
                node,
                "it reads its input with a scale or zero point that differs from the ones it was written with",
            )
            return
        self.pass_on(node)

    def _qlinear(self, node: gs.Node) -> None:
        operator, operands, result = QLINEAR[node.op]
        if node.attrs.pop("channels_last", 0):
            self.refuse(node, "it is in channels-last layout (ONNX Runtime's optimised form)")
            return
        inputs = [self._real(node, index) for index in operands]
        bias = n.given(node, BIAS.get(node.op, 99))
        if bias is not None:
            scales = self.values(node, operands[0] + 1), self.values(node, operands[1] + 1)
            if scales[0] is None or scales[1] is None:
                return
            inputs.append(self.bias(node, bias, scales[0] * scales[1]))
        node.attrs.pop("opset", None)
        self._become(node, operator, inputs, result)

    def _become(self, node: gs.Node, operator: str, inputs: list[gs.Tensor | None], result: int) -> None:
        """Turn a QLinear node into its float operator, with what saturation its output range stands for."""
        if any(tensor is None for tensor in inputs):
            return
        encoding = self.encoding(node, result) if n.given(node, result) is not None else None
        old = node.op
        node.op, node.domain, node.inputs = operator, None, inputs
        output = node.outputs[0]
        output.dtype = np.dtype(np.float32)
        self.other_edits.append(
            Edit(NAME, (node.name,), f"{old} became {operator}", "the target has no quantised operator")
        )
        if encoding is None:
            return
        self.encodings[output.name] = encoding
        inner = gs.Variable(f"{node.name}/{NAME}/{operator}_output", dtype=np.float32)
        node.outputs[0] = inner
        step = gs.Node("Identity", f"{node.name}/{NAME}/range", inputs=[inner], outputs=[output])
        self.graph.nodes.append(step)
        if n.is_output(self.graph, output):
            integers_out(self, step, encoding)
        else:
            self._saturate(step, encoding)

    def _move(self, node: gs.Node) -> None:
        """A node between integer tensors that only moves, picks or clamps them."""
        known = [self.encodings.get(tensor.name) for tensor in node.inputs]
        first = next((encoding for encoding in known if encoding is not None), None)
        if first is None:
            return
        is_output = any(n.is_output(self.graph, output) for output in node.outputs)
        differ = any(encoding and not encoding.same(first) for encoding in known)
        if is_output or node.op not in (*MOVING, "Cast") or differ:
            self.refuse(node, "it computes with integers" if not is_output else "its result is integers")
            return
        if node.op == "Clip" or (node.op == "Cast" and first.fits(int(node.attrs["to"]))):
            self.pass_on(node)
            self.encodings[node.outputs[0].name] = first
            return
        for index, tensor in enumerate(node.inputs):
            values = constant(tensor)
            filler = node.op == "Pad" and index == 2
            if values is not None and values.dtype != np.float32 and (filler or node.op == "Concat"):
                node.inputs[index] = self.weight(node, tensor, first, None)
        if node.op == "Pad" and n.given(node, 2) is None and n.text(node, "mode", "constant") == "constant":
            zero = dequantise(np.zeros((), np.int64), first.scale, first.zero_point)
            value = gs.Constant(f"{node.name}/{NAME}/value", np.asarray(zero))
            node.inputs = [*node.inputs[:2], value, *node.inputs[3:]]
        for output in node.outputs:
            self.encodings[output.name] = first
            output.dtype = np.dtype(np.float32)

    def _real(self, node: gs.Node, index: int) -> gs.Tensor | None:
        """Operand `index` of a QLinear node as floats; its scale and zero point follow it."""
        encoding = self.encoding(node, index + 1)
        tensor = node.inputs[index]
        values = constant(tensor)
        if encoding is None:
            return None
        if values is not None:
            axis = None
            if encoding.scale.size > 1:
                axis = 0 if node.op == "QLinearConv" or node.attrs.get("transB") else values.ndim - 1
            return self.weight(node, tensor, encoding, axis)
        written = self.encodings.get(tensor.name)
        if written is None:
            return integers_in(self, node, tensor, encoding)
        if not written.same(encoding):
            self.refuse(
                node, "it reads an input with a scale or zero point that differs from the ones it was written with"
            )
            return None
        return tensor

    def _saturate(self, node: gs.Node, encoding: Encoding) -> None:
        """Make `node` (one input, one output) the clamp that its range stands for, or nothing."""
        if encoding.is_float or self.is_picture(node.inputs[0]):
            self.pass_on(node)
            return
        low, high = bounds(node.inputs[0])
        step = float(encoding.scale.max())
        begin, end = encoding.low, encoding.high
        clamp = next(
            (c for c in CLAMPS if abs(begin - c[0]) <= 0.51 * step and abs(end - c[1]) <= 0.51 * step), None
        )
        what = ""
        if clamp is not None and low < clamp[0] and high > clamp[1]:
            self._clip(node, *clamp)
            what = f"Clip {clamp[0]:g}..{clamp[1]:g}"
        elif begin == 0 and low < 0:
            node.op, what = "Relu", "Relu"
        elif end == 0 and high > 0:
            self._clip(node, -3.0e38, 0.0)
            what = "Clip ..0"
        if not what:
            self.pass_on(node)
            return
        self.other_edits.append(
            Edit(
                NAME,
                (node.name,),
                f"the range {begin:.6g}..{end:.6g} became {what}",
                "the quantiser had folded an activation function into the range",
            )
        )
        node.name = n.fresh_name(self.graph, f"{node.name}/{NAME}/{node.op}")

    def _clip(self, node: gs.Node, low: float, high: float) -> None:
        node.op, node.attrs = "Clip", {}
        n.Builder(self.graph, node, NAME).set(node, min=low, max=high)
