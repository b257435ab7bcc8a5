"""A plan while its weights are rounded: what its convolutions read, and how near it comes to itself.

The machinery of `pipeline.compress` sees a weight of a plan as it sees one of an ONNX file: rows of one output
channel each, and the second moments of what they are multiplied with.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.compress.rounding import Moments
from pipeline.compress.sites import Site
from pipeline.support.size import Size
from pipeline.targets.compute import emulation
from pipeline.targets.compute.plan import Dispatch, Plan

if TYPE_CHECKING:
    from pipeline.compress.bundling import Packing


def name_of(number: int) -> str:
    """What weight `number` of a plan is called while it is rounded."""
    return f"weight {number}"


def sites(plan: Plan) -> dict[int, Site]:
    """Number of a weight of a convolution -> how the plan computes with it. Constant rows have none."""
    place = {weight.at: number for number, weight in enumerate(plan.weights) if weight.kind != "rows"}
    found: dict[int, Site] = {}
    for dispatch in plan.dispatches:
        if dispatch.kernel not in ("Conv", "Depthwise"):
            continue
        number = place[dispatch.fixed["WEIGHTS_AT"]]
        gain = _gain(plan, dispatch)
        site = _site(plan, number, dispatch, gain)
        held = found.get(number)
        found[number] = site if held is None else replace(held, normalised=held.normalised and site.normalised)
    return found


def _site(plan: Plan, number: int, dispatch: Dispatch, gain: np.ndarray | None) -> Site:
    m, shape = dispatch.macros, plan.weights[number].data.shape
    if dispatch.kernel == "Depthwise":
        shape, groups = (shape[0], 1, *shape[1:]), shape[0]
    else:
        # The phases of an upsampled convolution read from different pixels: each is a group of its own.
        groups = m["SHUFFLE"] ** 2 if m.get("PHASED") else dispatch.fixed["GROUPS"]
    return Site(
        name_of(number),
        "Conv",
        "",
        shape,
        groups,
        (m["STRIDE_Y"], m["STRIDE_X"]),
        (m["DILATION_Y"], m["DILATION_X"]),
        normalised=gain is not None,
        gain=gain,
    )


def _gain(plan: Plan, dispatch: Dispatch) -> np.ndarray | None:
    """The scale of the one normalisation that reads what a convolution writes; None where others do."""
    if any(dispatch.macro(name) for name in ("ACT_OUTPUT", "NORM_OUTPUT", "PAINT", "SHUFFLE")):
        return None
    merge = next((d for d in plan.dispatches if d.of is dispatch and d.macro("RESULT") == 0), None)
    if merge is None or not dispatch.macro("STATISTICS"):
        return None
    for reader in plan.dispatches:
        for value, side in ((reader.first, "NORM_A"), (reader.second, "NORM_B")):
            if value == dispatch.output and reader.of is None and reader.macro(side) != 1:
                return None
    rows = next((w for w in plan.weights if w.kind == "rows" and w.at == merge.fixed["WEIGHTS_AT"]), None)
    return None if rows is None else rows.data[0]


class Running:
    """A plan that runs, and the pictures that belong to it (`pipeline.compress.running` has the like for ONNX)."""

    def __init__(self, plan: Plan, wanted: Packing) -> None:
        from pipeline.compress.calibrate import pictures
        from pipeline.compress.running import SIZES, WIDE, shown_pictures

        self.plan = plan
        channels, options = plan.channels[0], wanted.options
        self._size = self._runs_at(SIZES)
        wide = WIDE if self._size == SIZES[0] else self._size
        self._calibration = pictures(options.calibrate, *self._size.hw, channels)
        self.measured = shown_pictures(options.picture, wide, self._size, channels)
        run = emulation.runner(plan)
        self._expected = {name: run(picture) for name, picture in self.measured.items()}

    def _runs_at(self, sizes: Sequence[Size]) -> Size:
        """The first of the sizes at which all parts of the network fit together, or the nominal one."""
        for size in sizes:
            try:
                emulation.runner(self.plan)(np.zeros((1, self.plan.channels[0], *size.hw), np.float32))
            except ValueError:
                continue
            return size
        return self.plan.size

    def psnr(self, weights: Mapping[str, np.ndarray], names: Collection[str] = ()) -> dict[str, float]:
        """How near the plan with some weights replaced, by name, comes to itself: dB against 255 levels."""
        from pipeline.compress.running import decibels

        run = emulation.runner(with_weights(self.plan, weights))
        found = {}
        for name in names or self.measured:
            made = run(self.measured[name]).astype(np.float64)
            found[name] = decibels(made, self._expected[name])
        return found

    def moments(self, of: Mapping[int, Site]) -> dict[int, list[Moments]]:
        """For each weight, and each group of its rows, the second moments of what it is multiplied with."""
        from pipeline.compress.calibrate import second_moments

        place = {self.plan.weights[number].at: number for number in of}
        sums: dict[int, dict[int, np.ndarray]] = {}

        def seen(picture: int, dispatch: Dispatch, group: int, padded: np.ndarray) -> None:
            number = place[dispatch.fixed["WEIGHTS_AT"]]
            site, held = of[number], sums.setdefault(number, {})
            if dispatch.kernel == "Conv":
                # One group is shown at a time, with channels up to a multiple of four.
                rows, inputs = site.shape[0] // site.groups, site.shape[1]
                site, padded = replace(site, shape=(rows, *site.shape[1:]), groups=1), padded[:inputs]
            else:
                padded = padded[: site.shape[0]]
            seed = [picture, number, group]
            for part, second in enumerate(second_moments(site, padded[None], seed, len(self._calibration))):
                held[group + part] = held.get(group + part, 0.0) + second

        for picture, image in enumerate(self._calibration):
            emulation.runner(self.plan, functools.partial(seen, picture))(image)
        found = {}
        for number, held in sums.items():
            rows = of[number].rows(self.plan.weights[number].data)
            found[number] = [Moments.of(held[group], part) for group, part in enumerate(rows)]
        return found


def with_weights(plan: Plan, weights: Mapping[str, np.ndarray]) -> Plan:
    """The plan with some weights replaced, by name, flat or not."""
    changed = [
        replace(held, data=weights[name_of(number)].astype(np.float32).reshape(held.data.shape))
        if name_of(number) in weights
        else held
        for number, held in enumerate(plan.weights)
    ]
    return replace(plan, weights=changed)
