"""Cuts the one input of a network with guides into textures: the colour, and guides of up to four channels each.

Engines fill a tensor from a texture, which has four channels (TextureUtils.compute:40@3.0.0 of Barracuda,
TextureConverter.cs@2.4.0 of Inference Engine), and the graph joins the tensors again with one Concat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.contract import COLOR, GUIDE_INPUT, Guide, input_widths

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def cut_input(graph: gs.Graph, guides: Sequence[Guide]) -> gs.Graph:
    """A copy of a graph with one input (1, C, H, W) in the bundle's order, with an input for each texture."""
    import onnx_graphsurgeon as gs

    copy = graph.copy()
    image = copy.inputs[0]
    shape = list(image.shape)
    taken = set(copy.tensors())
    inputs = [image]
    for number, width in enumerate(input_widths(guides)[1:]):
        name = GUIDE_INPUT if number == 0 else f"{GUIDE_INPUT}_{number + 1}"
        while name in taken:
            name += "_"
        inputs.append(gs.Variable(name, dtype=np.float32, shape=[shape[0], width, *shape[2:]]))
    joined = gs.Variable("image_contract/channels", dtype=np.float32, shape=shape)
    for node in list(image.outputs):
        for index, read in enumerate(node.inputs):
            if read is image:
                node.inputs[index] = joined
    image.shape = [shape[0], len(COLOR), *shape[2:]]
    node = gs.Node("Concat", "image_contract/Concat", attrs={"axis": 1}, inputs=inputs, outputs=[joined])
    copy.nodes.insert(0, node)
    copy.inputs = inputs
    return copy
