"""No more layers than the source has, where the package's layers are counted.

Taking the picture's mean off and mapping its value range can cost a layer each. A layer is saved elsewhere where
the same numbers can be computed by fewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.quantisation.names import is_quantised
from pipeline.rewrites import upsampled

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.rewrites.base import Edit
    from pipeline.targets import Target


def count(model: onnx.ModelProto, target: Target) -> int | None:
    """Layers that run of a model; None where the family does not count them, and for a quantised model.

    No package that is counted imports those.
    """
    if is_quantised(model):
        return None
    counted = target.family.layer_counts(model, target)
    return None if counted is None else counted["optimised"]


def keep_to(graph: gs.Graph, target: Target, most: int | None, plain: bytes | None = None) -> list[Edit]:
    """Merge layers, in place, while there are more than `most`; as few places as will do, the last ones first.

    Behind all rewrites. Of the same width per pixel, the last place saves the largest pictures from being written.
    Where `most` is not known, the layers of `plain` count: the file as it would be without the picture's mean
    taken off; without either, nothing is done.
    """
    edits: list[Edit] = []
    if most is None and plain is not None:
        most = count(target.family.read(plain), target)
    if most is None:
        return edits
    while True:
        found = upsampled.places(graph)
        now = count(target.family.read(target.family.write(graph, target)), target) if found else None
        if now is None or now <= most:
            return edits
        edits.append(upsampled.apply(graph, found[-1]))
        graph.cleanup(remove_unused_graph_inputs=False).toposort()
