"""Keeps the number of layers at that of the source, for packages whose layers are counted.

Subtracting the picture's mean and mapping its value range can add a layer each. Layers are merged elsewhere if
that computes the same numbers.
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
    """Number of layers of a model that run; None if the family does not count them, and for a quantised model.

    No package whose layers are counted imports quantised models.
    """
    if is_quantised(model):
        return None
    counted = target.family.layer_counts(model, target)
    return None if counted is None else counted["optimised"]


def keep_to(graph: gs.Graph, target: Target, most: int | None, plain: bytes | None = None) -> list[Edit]:
    """Merge layers, in place, while there are more than `most`; in as few places as necessary, the last ones
    first.

    Runs after all rewrites. The last place has the largest pictures, so merging there saves the most memory
    traffic. If `most` is None, the layers of `plain` are counted: the file without the subtraction of the
    picture's mean. If both are None, nothing is done.
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
