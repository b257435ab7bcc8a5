"""Joins plans that differ only in their weights into one plan with several styles, and mixes styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.support.errors import PipelineError
from pipeline.targets.compute import file
from pipeline.targets.compute.plan import Plan


def joined(plans: Sequence[Plan]) -> Plan:
    """The first plan, with the weights of all plans as its styles (`Plan.styles`), in the order of the plans.

    A mix interpolates each weight that differs. This is the network with interpolated constants as long as no
    product of two style-dependent constants was folded into one weight; the proof checks that. Raises
    PipelineError `styles-differ` if the plans differ in more than weights.
    """
    first = plans[0]
    plan_files = [file.write(replace(plan, weights=[])) for plan in plans]
    shapes = [
        [(weight.kind, weight.offset, dict(weight.form), weight.data.shape) for weight in plan.weights]
        for plan in plans
    ]
    if any(plan_file != plan_files[0] for plan_file in plan_files) or any(shape != shapes[0] for shape in shapes):
        raise PipelineError(
            "styles-differ",
            "the bound styles do not make one network: their kernels differ",
            subject="--bind",
            remedy="Build each style by itself, with one --bind and a --name of its own.",
        )
    styles = {}
    for number in range(len(first.weights)):
        stacked = np.stack([plan.weights[number].data for plan in plans])
        if (stacked != stacked[0]).any():
            styles[number] = stacked
    return replace(first, styles=styles, style_count=len(plans))


def applied(plan: Plan, vector: Sequence[float]) -> Plan:
    """A plan of one style: that of a style vector of `plan.style_length` numbers."""
    numbers = np.asarray(vector, np.float32)
    if numbers.shape != (plan.style_length,):
        raise ValueError(f"a style is {plan.style_length} numbers, not {numbers.shape}")
    weights = [replace(weight, data=weight.at(numbers), style=()) for weight in plan.weights]
    return replace(plan, weights=weights, style_length=0)


def mixed(plan: Plan, weights: Sequence[float]) -> Plan:
    """A plan of one style: the weighted sum of the styles of a plan; `weights` has one factor per style."""
    share = np.asarray(weights, np.float32)
    weights_of_mix = list(plan.weights)
    for number, values in plan.styles.items():
        weights_of_mix[number] = replace(
            weights_of_mix[number], data=np.tensordot(share, values, axes=1).astype(np.float32)
        )
    return replace(plan, weights=weights_of_mix, styles={}, style_count=1)
