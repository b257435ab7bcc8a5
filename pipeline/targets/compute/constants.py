"""Computes the uniforms of a dispatch for a size of the picture, in the order of the cbuffer in Common.hlsl.

The C# engine computes the same from a plan file (ComputeConstants.cs).
"""

from __future__ import annotations

import numpy as np

from pipeline.support.size import Size
from pipeline.targets.compute.plan import Dispatch, Plan

SHAPE = (
    ("SOURCE_WIDTH", "SOURCE_HEIGHT", "SOURCE_BLOCKS", "SOURCE_CHANNELS"),
    ("OUTPUT_WIDTH", "OUTPUT_HEIGHT", "OUTPUT_BLOCKS", "OUTPUT_CHANNELS"),
    ("PAD_LEFT", "PAD_TOP", "TILES_ACROSS", "TILES"),
    ("FIRST_BLOCK_A", "FIRST_BLOCK_B", "FIRST_BLOCK_OUTPUT", "FLIP_ROWS"),
    ("SECOND_WIDTH", "SECOND_HEIGHT", "SECOND_LEFT", "SECOND_TOP"),
    ("WEIGHTS_AT", "BIAS_AT", "SLICES", "BLOCKS_A_PHASE"),
    ("SLICES_A_GROUP", "BLOCKS_A_GROUP", "CROP_LEFT", "CROP_TOP"),
    ("TABLE_A", "TABLE_B", "TABLE_A_LATER", "TABLE_B_LATER"),
    ("TABLE_SUM", "TABLE_OUTPUT", "SLOPES_A", "SLOPES_OUTPUT"),
    ("SLOPES_B", "SLOPES_SUM", "GROUPS", "OPTION"),
)
REAL = ("BOUNDS_A", "BOUNDS_B", "BOUNDS_SUM", "BOUNDS_OUTPUT", "SAMPLING", "", "BOUNDS_LATER")
SHAPE_PLACE = {name: 4 * row + column for row, names in enumerate(SHAPE) for column, name in enumerate(names)}
REAL_PLACE = {name: 4 * row for row, name in enumerate(REAL) if name} | {
    "PAD_VALUE": 20,
    "EPSILON": 21,
    "EPSILON_OUTSIDE": 22,
}

Sizes = list[Size]
"""The size of each value of a plan, by its number."""


def tiles(plan: Plan, dispatch: Dispatch, sizes: Sizes) -> tuple[int, int]:
    """The number of tiles (across, down) that cover a dispatch's output; slices and blocks are not included."""
    height, width = sizes[dispatch.output].hw
    across, down = dispatch.macro("THREADS_X", 1), dispatch.macro("THREADS_Y", 1)
    if dispatch.grid == "tiles":
        shuffle = dispatch.macro("SHUFFLE", 1)
        height = -(-(height + dispatch.int_constants.get("CROP_TOP", 0)) // shuffle)
        width = -(-(width + dispatch.int_constants.get("CROP_LEFT", 0)) // shuffle)
        across, down = 2 * across, 2 * down
    return -(-width // across), -(-height // down)


def groups(plan: Plan, dispatch: Dispatch, sizes: Sizes) -> tuple[int, int, int]:
    """The number of thread groups in x, y and z."""
    if dispatch.grid == "blocks":
        return dispatch.int_constants["OUTPUT_BLOCKS"], 1, 1
    if dispatch.grid == "threads":
        return -(-dispatch.int_constants["OUTPUT_BLOCKS"] // 64), 1, 1
    across, down = tiles(plan, dispatch, sizes)
    if dispatch.grid == "tiles":
        return across * dispatch.int_constants["SLICES"], down, 1
    return across, down, plan.values[dispatch.output].blocks if dispatch.grid == "pixels" else 1


def constants(plan: Plan, dispatch: Dispatch, sizes: Sizes, flip: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The uniforms: int32 of shape (10, 4) and float32 of shape (7, 4). `flip`: pictures are stored bottom-up."""
    shape = np.zeros(4 * len(SHAPE), np.int32)
    real = np.zeros(4 * len(REAL), np.float32)

    def put(name: str, value: int) -> None:
        shape[SHAPE_PLACE[name]] = value

    if dispatch.first >= 0:
        value, size = plan.values[dispatch.first], sizes[dispatch.first]
        put("SOURCE_WIDTH", size.width)
        put("SOURCE_HEIGHT", size.height)
        put("SOURCE_BLOCKS", value.blocks)
        put("SOURCE_CHANNELS", value.channels)
        put("FIRST_BLOCK_A", value.first_block)
    if dispatch.output >= 0:
        value, size = plan.values[dispatch.output], sizes[dispatch.output]
        put("OUTPUT_WIDTH", size.width)
        put("OUTPUT_HEIGHT", size.height)
        put("OUTPUT_BLOCKS", value.blocks)
        put("OUTPUT_CHANNELS", value.channels)
        put("FIRST_BLOCK_OUTPUT", value.first_block)
        across, down = tiles(plan, dispatch, sizes)
        put("TILES_ACROSS", across)
        put("TILES", across * down)
    if dispatch.second >= 0:
        value, size = plan.values[dispatch.second], sizes[dispatch.second]
        put("SECOND_WIDTH", size.width)
        put("SECOND_HEIGHT", size.height)
        put("FIRST_BLOCK_B", value.first_block)
    if dispatch.statistics_of is not None:
        across, down = tiles(plan, dispatch.statistics_of, sizes)
        put("TILES_ACROSS", across)
        put("TILES", across * down)
    for name, number in dispatch.int_constants.items():
        put(name, number)
    put("FLIP_ROWS", int(flip))
    for name, numbers in dispatch.float_constants.items():
        at = REAL_PLACE[name]
        real[at : at + len(numbers)] = numbers
    if dispatch.align_corners:
        before, after, at = sizes[dispatch.first], sizes[dispatch.output], REAL_PLACE["SAMPLING"]
        real[at] = (before.width - 1) / (after.width - 1) if after.width > 1 else 0.0
        real[at + 1] = (before.height - 1) / (after.height - 1) if after.height > 1 else 0.0
    return shape.reshape(-1, 4), real.reshape(-1, 4)


def partial_elements(plan: Plan, sizes: Sizes) -> int:
    """The number of float4 elements that the largest set of partial statistics needs."""
    most = 1
    for dispatch in plan.dispatches:
        if dispatch.macro("STATISTICS"):
            across, down = tiles(plan, dispatch, sizes)
            written = plan.values[dispatch.output].blocks * dispatch.macro("SHUFFLE", 1) ** 2
            if dispatch.kernel == "Conv":
                written = dispatch.int_constants["SLICES"] * dispatch.macros["BLOCKS"]
            most = max(most, 3 * across * down * written)
    return most
