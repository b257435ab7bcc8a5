"""The rewrites, in the order in which they run, and `lower`, which runs them.

They run until nothing changes. What must come before what, each rewrite says itself (`after`, `last`); beyond that
the order is free, and a test shuffles it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.quantisation.rewrite import Quantised
from pipeline.rewrites.activations import Activations
from pipeline.rewrites.affine import AffineSteps
from pipeline.rewrites.base import Edit, Refusal, Rewrite
from pipeline.rewrites.batch_norm import FoldBatchNorm, PictureStatistics
from pipeline.rewrites.broadcasts import BroadcastConstants
from pipeline.rewrites.constants import BakedSizes, Constants
from pipeline.rewrites.conv import Convolutions, NarrowConvolutions, SamePads, TransposedConvolutions
from pipeline.rewrites.driver import Check, Compare, LoweringResult, run
from pipeline.rewrites.einsum import Einsums
from pipeline.rewrites.exact_forms import ExactForms
from pipeline.rewrites.expand import Expands
from pipeline.rewrites.forms import Forms, NoOps
from pipeline.rewrites.free_sizes import FreeSizes
from pipeline.rewrites.functions import Functions
from pipeline.rewrites.fused import FusedOperators
from pipeline.rewrites.group_norm import GroupNorms
from pipeline.rewrites.instance_norm import FuseInstanceNorm, InstanceNormInputs
from pipeline.rewrites.layer_norm import FuseLayerNorm
from pipeline.rewrites.layout import ChannelsLast
from pipeline.rewrites.linear_fusing import ConstantsAlongWidth, ShiftsBeforeConvolutions
from pipeline.rewrites.low_contrast import LowContrast
from pipeline.rewrites.mixed_channels import MixedChannels
from pipeline.rewrites.padding import MergedPads, Paddings
from pipeline.rewrites.pooling import Pools
from pipeline.rewrites.reductions import Reductions, Softmaxes
from pipeline.rewrites.resize import FuseUpsample, Resizes
from pipeline.rewrites.shuffle import Shuffles
from pipeline.rewrites.slicing import Slices
from pipeline.rewrites.windows import Windows
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

REWRITES: tuple[Rewrite, ...] = (
    Quantised(),
    FusedOperators(),
    PictureStatistics(),
    Constants(),
    FuseLayerNorm(),
    ChannelsLast(),
    Shuffles(),
    Slices(),
    NoOps(),
    Forms(),
    Einsums(),
    Expands(),
    Paddings(),
    MergedPads(),
    ExactForms(),
    GroupNorms(),
    FuseInstanceNorm(),
    InstanceNormInputs(),
    FreeSizes(),
    MixedChannels(),
    FuseUpsample(),
    Resizes(),
    Softmaxes(),
    Reductions(),
    FoldBatchNorm(),
    Activations(),
    Functions(),
    Pools(),
    Windows(),
    SamePads(),
    Convolutions(),
    TransposedConvolutions(),
    NarrowConvolutions(),
    ShiftsBeforeConvolutions(),
    ConstantsAlongWidth(),
    BroadcastConstants(),
    BakedSizes(),
)
"""Every rewrite, in the order in which they run: one that keeps what they say in `after`."""

FINISHING: tuple[Rewrite, ...] = (LowContrast(), AffineSteps())
"""Rewrites of a graph that is lowered and has its image contract; `finish` runs them."""


def check_skipped(skip: Collection[str]) -> None:
    """Raise PipelineError `unknown-rewrite` for a name that no rewrite has."""
    names = [rewrite.name for rewrite in (*REWRITES, *FINISHING)]
    unknown = sorted(set(skip) - set(names))
    if unknown:
        raise PipelineError(
            "unknown-rewrite",
            f"there is no rewrite named {', '.join(unknown)}",
            subject="--skip",
            remedy=f"Use one of: {', '.join(names)}.",
        )


def lower(
    graph: gs.Graph, target: Target, skip: Collection[str] = (), compare: Compare | None = None
) -> LoweringResult:
    """Apply the rewrites to `graph`, in place, until nothing changes; `skip` names rewrites to leave out.

    With `compare` each rewrite that changed something is compared with the graph before it (see `run`).
    Raises PipelineError `unknown-rewrite` for a name in `skip` that no rewrite has.
    """
    check_skipped(skip)
    return run(graph, target, (rewrite for rewrite in REWRITES if rewrite.name not in skip), compare)


def finish(
    graph: gs.Graph,
    target: Target,
    skip: Collection[str] = (),
    compare: Compare | None = None,
    written: bytes | None = None,
) -> LoweringResult:
    """Apply the rewrites that come behind all others and behind the image contract; as `lower` and `run`."""
    return run(graph, target, (rewrite for rewrite in FINISHING if rewrite.name not in skip), compare, written)


__all__ = [
    "FINISHING",
    "REWRITES",
    "Check",
    "Edit",
    "LoweringResult",
    "Refusal",
    "Rewrite",
    "finish",
    "lower",
    "run",
]
