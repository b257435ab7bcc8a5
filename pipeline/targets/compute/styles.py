"""Plans that differ only in weights become one that holds the weights of all, mixed when a style is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.support.errors import PipelineError
from pipeline.targets.compute import file
from pipeline.targets.compute.plan import Plan


def joined(plans: Sequence[Plan]) -> Plan:
    """The first plan with the weights of all (`Plan.styles`). The plans' order is that of the styles.

    What a kernel reads is linear in each weight, and weights that depend on the style are interpolated by
    themselves: a mix is the network with interpolated constants where no product of two of them was folded; the
    proof says so. Raises PipelineError `styles-differ` where the plans differ in more.
    """
    first = plans[0]
    whole = [file.write(replace(plan, weights=[])) for plan in plans]
    shapes = [[(held.kind, held.at, dict(held.form), held.data.shape) for held in plan.weights] for plan in plans]
    if any(held != whole[0] for held in whole) or any(held != shapes[0] for held in shapes):
        raise PipelineError(
            "styles-differ",
            "the bound styles do not make one network: their kernels differ",
            subject="--bind",
            remedy="Build each style by itself, with one --bind and a --name of its own.",
        )
    styles = {}
    for number in range(len(first.weights)):
        held = np.stack([plan.weights[number].data for plan in plans])
        if (held != held[0]).any():
            styles[number] = held
    return replace(first, styles=styles, style_count=len(plans))


def mixed(plan: Plan, weights: Sequence[float]) -> Plan:
    """The plan of a mix of its styles, a plan of one style."""
    share = np.asarray(weights, np.float32)
    held = list(plan.weights)
    for number, values in plan.styles.items():
        held[number] = replace(held[number], data=np.tensordot(share, values, axes=1).astype(np.float32))
    return replace(plan, weights=held, styles={}, style_count=1)
