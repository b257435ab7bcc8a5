"""Digits that instance normalisation would lose on pictures of low contrast.

GPU workers compute the variance as E[x^2] - E[x]^2 in float32, Sentis and Inference Engine on the CPU too. Where
the mean of a channel is large against its deviation, the difference has few digits left: a picture that fades to
white comes out 1 to 7 levels wrong (measured on Barracuda's own kernels, gpu.md), and one of a single colour up to
255, since what is left is divided by the root of a variance that should be 0, or that may fall below -epsilon.

It runs behind all other rewrites (`FINISHING`): what the image contract puts in front of the first convolution is
folded into that, and could not be past a subtracted mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import pads_of
from pipeline.rewrites.base import Needed, Outcome, Rewrite
from pipeline.rewrites.one_colour import REPEATING, planes

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

CODE = "variance-in-one-pass"
"""The finding on targets that compute the variance so."""
MEAN = "the mean of the picture is subtracted before it"
"""What an edit says of the first convolution."""
_MOST_CHANNELS = 4
"""Of a picture: centring costs one pass over it, which is cheap for so few."""
_ROOT = 2.0**20
"""Of the epsilon that hides a variance: 2^40 plus that of a picture, even of 0..255, is 2^40 in float32."""
_POINTWISE = ("Add", "Cast", "Div", "Identity", "Mul", "Sub")


def takes_mean_off(graph: gs.Graph) -> bool:
    """Whether a graph subtracts the mean of its picture itself, as the model of an earlier build does."""
    return any(
        node.inputs[0] is mean.inputs[0] and node.inputs[0] in graph.inputs
        for node in n.nodes_of(graph, "Sub")
        if (mean := n.producer(node.inputs[1])) is not None and mean.op == "GlobalAveragePool"
    )


class LowContrast(Rewrite):
    """Takes the picture's mean off before the first convolution, and sets the biases in front of norms.

    Both are exact: a convolution without zeros at its borders turns a constant per input channel into one per
    output channel, and the normalisation takes that off again, as it does a bias. With zero padding the mean
    stays, since it would show at the borders. Left alone, too, is a result that others read beside it.
    The bias is such that a picture of one colour gives 0 in front of the norm, and none where that is not known.
    """

    name = "low-contrast"
    summary = "the picture's mean is removed and biases are changed where instance normalisation cancels both"
    removes = (CODE,)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        norms = list(n.nodes_of(graph, "InstanceNormalization"))
        outcome: Outcome = []
        convolutions = []
        for norm in norms if needed(*norms) else ():  # the finding stands at the first of them, for all
            conv = n.producer(norm.inputs[0])
            if conv is None or conv.op not in ("Conv", "ConvTranspose"):
                continue
            if n.only_consumer(graph, conv.outputs[0]) is norm:
                convolutions.append(conv)
                outcome += _picture(graph, conv, target)
        values_of_planes = planes(graph) if convolutions else {}
        biased = tuple(
            conv.name
            for conv in convolutions
            if _set_bias(graph, conv, values_of_planes.get(conv.outputs[0].name))
        )
        if biased:
            what = "its bias was changed" if len(biased) == 1 else f"{len(biased)} biases were changed"
            why = "the normalisation after it cancels any constant, and with a mean near 0 its variance is precise"
            outcome += self.edit(biased, what, why)
        return outcome


def _set_bias(graph: gs.Graph, conv: gs.Node, plane: np.ndarray | None) -> bool:
    """Whether the bias was changed; one that is computed stays.

    `plane` is what the convolution gives for a picture of one colour, with its bias; None where that is not known.
    """
    given = n.given(conv, 2)
    bias = n.value(given)
    if given is not None and bias is None:
        return False
    old = np.zeros(1) if bias is None else bias.reshape(-1).astype(np.float64)
    new = np.zeros(1) if plane is None else old - plane
    if np.allclose(new, old, rtol=1e-6, atol=1e-6 * max(1.0, float(np.abs(new).max()))):
        return False
    make = n.Builder(graph, conv, LowContrast.name)
    conv.inputs = [*conv.inputs[:2], *([make.const(new, "bias")] if new.any() else [])]
    return True


def _picture(graph: gs.Graph, conv: gs.Node, target: Target) -> Outcome:
    weights = n.value(n.given(conv, 1))
    if conv.op != "Conv" or weights is None or weights.ndim != 4:
        return []
    if weights.shape[1] * int(conv.attrs.get("group", 1)) > _MOST_CHANNELS or _adds_zeros(conv):
        return []
    reader, tensor = conv, conv.inputs[0]
    pad = n.producer(tensor)
    if pad is not None and pad.op == "Pad":
        pads = pads_of(pad, 4)
        if pads is None or any((*pads[:2], *pads[4:6])) or n.text(pad, "mode", "constant") not in REPEATING:
            return []
        if n.only_consumer(graph, tensor) is not conv:
            return []
        reader, tensor = pad, pad.inputs[0]
    if not _is_the_picture(graph, tensor):
        return []
    make = n.Builder(graph, reader, LowContrast.name)
    if target.can("native-instance-norm"):
        # One layer: the epsilon is so large that the variance vanishes beside it, and only the mean goes.
        channels = weights.shape[1] * int(conv.attrs.get("group", 1))
        scale, zeros = (
            make.const(np.full(channels, value), leaf) for value, leaf in ((_ROOT, "one"), (0, "zero"))
        )
        centred = make.op("InstanceNormalization", tensor, scale, zeros, leaf="centred", epsilon=_ROOT * _ROOT)
        reader.inputs[0] = centred
    else:
        mean = make.op("GlobalAveragePool", tensor, leaf="mean")
        reader.inputs[0] = make.op("Sub", tensor, mean, leaf="centred")
    why = (
        "for pictures of low contrast: the normalisation after the convolution cancels the mean anyway, and "
        "without it the variance is precise"
    )
    return LowContrast.edit(conv, MEAN, why)


def _adds_zeros(conv: gs.Node) -> bool:
    return any(n.ints(conv, "pads", (0, 0, 0, 0))) or n.text(conv, "auto_pad", "NOTSET").startswith("SAME")


def _is_the_picture(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether a tensor is the graph's input, or that with constants added or multiplied."""
    while not n.is_input(graph, tensor):
        maker = n.producer(tensor)
        if maker is None or maker.op not in _POINTWISE:
            return False
        variables = [other for other in maker.inputs if n.value(other) is None]
        if len(variables) != 1:
            return False
        tensor = variables[0]
    return True
