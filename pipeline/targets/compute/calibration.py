"""Calibrates the rounding of a plan's weights: records the inputs of convolutions and measures PSNR.

`pipeline.compress` treats a weight of a plan like one of an ONNX file: one row per output channel, and the second
moments of the inputs that a row is multiplied with.
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
    """The name of weight `number` of a plan in `pipeline.compress`."""
    return f"weight {number}"


def sites(plan: Plan) -> dict[int, Site]:
    """For each convolution weight, by its number, how the plan computes with it; constant rows are left out."""
    place = {weight.offset: number for number, weight in enumerate(plan.weights) if weight.kind != "rows"}
    sites_by_weight: dict[int, Site] = {}
    for dispatch in plan.dispatches:
        if dispatch.kernel not in ("Conv", "Depthwise"):
            continue
        number = place[dispatch.int_constants["WEIGHTS_AT"]]
        gain = _gain(plan, dispatch)
        site = _site(plan, number, dispatch, gain)
        known = sites_by_weight.get(number)
        sites_by_weight[number] = (
            site if known is None else replace(known, normalised=known.normalised and site.normalised)
        )
    return sites_by_weight


def _site(plan: Plan, number: int, dispatch: Dispatch, gain: np.ndarray | None) -> Site:
    m, shape = dispatch.macros, plan.weights[number].data.shape
    if dispatch.kernel == "Depthwise":
        shape, groups = (shape[0], 1, *shape[1:]), shape[0]
    else:
        # The phases of an upsampled convolution read from different pixels: each is a group of its own.
        groups = m["SHUFFLE"] ** 2 if m.get("PHASED") else dispatch.int_constants["GROUPS"]
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
    """The scale of the normalisation that alone reads a convolution's output; None if there are other readers."""
    if any(dispatch.macro(name) for name in ("ACT_OUTPUT", "NORM_OUTPUT", "PAINT", "SHUFFLE")):
        return None
    merge = next((d for d in plan.dispatches if d.statistics_of is dispatch and d.macro("RESULT") == 0), None)
    if merge is None or not dispatch.macro("STATISTICS"):
        return None
    for reader in plan.dispatches:
        for value, side in ((reader.first, "NORM_A"), (reader.second, "NORM_B")):
            if value == dispatch.output and reader.statistics_of is None and reader.macro(side) != 1:
                return None
    rows = next(
        (w for w in plan.weights if w.kind == "rows" and w.offset == merge.int_constants["WEIGHTS_AT"]), None
    )
    return None if rows is None else rows.data[0]


class Running:
    """A plan with calibration and test pictures (`pipeline.compress.running` is the counterpart for ONNX)."""

    def __init__(self, plan: Plan, request: Packing) -> None:
        from pipeline.compress.calibrate import pictures
        from pipeline.compress.running import SIZES, WIDE, shown_pictures

        self.plan = plan
        channels, options = plan.channels[0], request.options
        self._size = self._runs_at(SIZES)
        wide = WIDE if self._size == SIZES[0] else self._size
        self._calibration = pictures(options.calibrate, *self._size.hw, channels)
        self.measured = shown_pictures(options.picture, wide, self._size, channels)
        run = emulation.runner(plan)
        self._expected = {name: run(picture) for name, picture in self.measured.items()}

    def _runs_at(self, sizes: Sequence[Size]) -> Size:
        """The first of the sizes that the network supports, or else the nominal one."""
        for size in sizes:
            try:
                emulation.runner(self.plan)(np.zeros((1, self.plan.channels[0], *size.hw), np.float32))
            except ValueError:
                continue
            return size
        return self.plan.size

    def psnr(self, weights: Mapping[str, np.ndarray], names: Collection[str] = ()) -> dict[str, float]:
        """PSNR in dB, by picture, between the plan with some weights replaced, by name, and the plan itself."""
        from pipeline.compress.running import decibels

        run = emulation.runner(with_weights(self.plan, weights))
        psnr = {}
        for name in names or self.measured:
            picture = run(self.measured[name]).astype(np.float64)
            psnr[name] = decibels(picture, self._expected[name])
        return psnr

    def moments(self, of: Mapping[int, Site]) -> dict[int, list[Moments]]:
        """For each weight, and each group of its rows, the second moments of its inputs."""
        from pipeline.compress.calibrate import second_moments

        place = {self.plan.weights[number].offset: number for number in of}
        sums: dict[int, dict[int, np.ndarray]] = {}

        def seen(picture: int, dispatch: Dispatch, group: int, padded: np.ndarray) -> None:
            number = place[dispatch.int_constants["WEIGHTS_AT"]]
            site, weight_sums = of[number], sums.setdefault(number, {})
            if dispatch.kernel == "Conv":
                # One group is shown at a time, with channels up to a multiple of four.
                rows, inputs = site.shape[0] // site.groups, site.shape[1]
                site, padded = replace(site, shape=(rows, *site.shape[1:]), groups=1), padded[:inputs]
            else:
                padded = padded[: site.shape[0]]
            seed = [picture, number, group]
            for part, second in enumerate(second_moments(site, padded[None], seed, len(self._calibration))):
                weight_sums[group + part] = weight_sums.get(group + part, 0.0) + second

        for picture, image in enumerate(self._calibration):
            emulation.runner(self.plan, functools.partial(seen, picture))(image)
        moments = {}
        for number, moments_by_group in sums.items():
            rows = of[number].rows(self.plan.weights[number].data)
            moments[number] = [Moments.of(moments_by_group[group], part) for group, part in enumerate(rows)]
        return moments


def with_weights(plan: Plan, weights: Mapping[str, np.ndarray]) -> Plan:
    """The plan with some weights replaced, by name; they may be flattened."""
    replaced_weights = [
        replace(weight, data=weights[name_of(number)].astype(np.float32).reshape(weight.data.shape))
        if name_of(number) in weights
        else weight
        for number, weight in enumerate(plan.weights)
    ]
    return replace(plan, weights=replaced_weights)
