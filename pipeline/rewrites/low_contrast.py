"""Digits that instance normalisation would lose on pictures of low contrast.

GPU workers compute the variance as E[x^2] - E[x]^2 in float32. Where the mean of a channel is large against its
deviation, the difference has few digits left: a picture that fades to white comes out 1 to 7 levels wrong, and on
one of a single colour the variance may fall below -epsilon (measured on Barracuda's own kernels, gpu.md).

It runs behind all other rewrites (`FINISHING`): what the image contract puts in front of the first convolution is
folded into that, and could not be past a subtracted mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import pads_of
from pipeline.rewrites.base import Asked, Outcome, Rewrite

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
_KEEPING = ("reflect", "edge", "wrap")
"""Ways of padding that add no values of their own: a number added to every pixel is added to the padding too."""
_POINTWISE = ("Add", "Cast", "Div", "Identity", "Mul", "Sub")


class LowContrast(Rewrite):
    """Takes the picture's mean off before the first convolution and leaves biases in front of norms out.

    Both are exact: a convolution without zeros at its borders turns a constant per input channel into one per
    output channel, and the normalisation takes that off again, as it does a bias. With zero padding the mean
    stays, since it would show at the borders. Left alone, too, is a result that others read beside it.
    """

    name = "low-contrast"
    summary = "the picture's mean and biases are removed if an instance normalisation cancels them anyway"
    removes = (CODE,)

    def apply(self, graph: gs.Graph, target: Target, asked: Asked) -> Outcome:
        norms = list(n.nodes_of(graph, "InstanceNormalization"))
        outcome: Outcome = []
        biased: list[str] = []
        for norm in norms if asked(*norms) else ():  # the finding stands at the first of them, for all
            conv = n.producer(norm.inputs[0])
            if conv is None or conv.op not in ("Conv", "ConvTranspose"):
                continue
            if n.only_consumer(graph, conv.outputs[0]) is norm:
                biased += [conv.name] if _leave_bias_out(conv) else []
                outcome += _picture(graph, conv, target)
        if biased:
            what = "its bias was removed" if len(biased) == 1 else f"{len(biased)} biases were removed"
            why = "the normalisation after it cancels any constant, and with a mean near 0 its variance is precise"
            outcome += self.edit(tuple(biased), what, why)
        return outcome


def _leave_bias_out(conv: gs.Node) -> bool:
    """Whether there was a bias other than 0; one that is computed stays."""
    bias = n.value(n.given(conv, 2))
    if bias is None or not bias.any():
        return False
    conv.inputs = conv.inputs[:2]
    return True


def _picture(graph: gs.Graph, conv: gs.Node, target: Target) -> Outcome:
    weights = n.value(n.given(conv, 1))
    if conv.op != "Conv" or weights is None or weights.ndim != 4:
        return []
    if weights.shape[1] * int(conv.attrs.get("group", 1)) > _MOST_CHANNELS or _adds_zeros(conv):
        return []
    reader, place = conv, conv.inputs[0]
    pad = n.producer(place)
    if pad is not None and pad.op == "Pad":
        pads = pads_of(pad, 4)
        if pads is None or any((*pads[:2], *pads[4:6])) or n.text(pad, "mode", "constant") not in _KEEPING:
            return []
        if n.only_consumer(graph, place) is not conv:
            return []
        reader, place = pad, pad.inputs[0]
    if not _is_the_picture(graph, place):
        return []
    make = n.Builder(graph, reader, LowContrast.name)
    if target.can("native-instance-norm"):
        # One layer: the epsilon is so large that the variance vanishes beside it, and only the mean goes.
        channels = weights.shape[1] * int(conv.attrs.get("group", 1))
        scale, zeros = (
            make.const(np.full(channels, value), leaf) for value, leaf in ((_ROOT, "one"), (0, "zero"))
        )
        made = make.op("InstanceNormalization", place, scale, zeros, leaf="centred", epsilon=_ROOT * _ROOT)
        reader.inputs[0] = made
    else:
        mean = make.op("GlobalAveragePool", place, leaf="mean")
        reader.inputs[0] = make.op("Sub", place, mean, leaf="centred")
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
        held = [other for other in maker.inputs if n.value(other) is None]
        if len(held) != 1:
            return False
        tensor = held[0]
    return True
