"""Emulates a plan with NumPy, so that a build is proven without a GPU.

It emulates the plan, not the network: buffers are shared as the plan assigns them and initialised with NaN,
weights are read from the packed weight buffer, and macros and uniforms have the meaning that they have in the
kernels. Tests compare it with the executed kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.support.size import Size
from pipeline.targets.compute.arithmetic import ACTIVATIONS, PRELU, to_half
from pipeline.targets.compute.constants import REAL_PLACE, SHAPE_PLACE, Sizes, constants
from pipeline.targets.compute.layout import buffer
from pipeline.targets.compute.plan import PICTURE, Dispatch, Plan, blocks

if TYPE_CHECKING:
    import onnxruntime

Channels = np.ndarray
"""A picture as float32 of shape (4 * blocks, height, width)."""


Observer = Callable[[Dispatch, int, Channels], None]
"""A callback for the input of each convolution: dispatch, number of its group, padded input (channels, H, W)."""


def runner(plan: Plan, seen: Observer | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The plan as a function from pictures (1, C, H, W) to pictures, RGB 0..1, float32, of any size.

    If the plan has guides, the picture has their channels after its own.
    The function raises ValueError for sizes that the network does not support.
    """
    weights = buffer(plan)
    return lambda picture: _Run(plan, weights, picture, seen).result()


class _ConstantBuffer:
    """The uniforms of one dispatch, by name."""

    def __init__(self, plan: Plan, dispatch: Dispatch, sizes: Sizes) -> None:
        shape, real = constants(plan, dispatch, sizes)
        self._shape, self._real = shape.reshape(-1), real.reshape(-1)

    def __getitem__(self, name: str) -> int:
        return int(self._shape[SHAPE_PLACE[name]])

    def floats(self, name: str) -> np.ndarray:
        return self._real[REAL_PLACE[name] :][:4]


def _texture(channels: np.ndarray) -> Channels:
    """Channels (C, H, W) as they are read, with zeros after the last."""
    padded = np.zeros((4 * blocks(channels.shape[0]), *channels.shape[1:]), np.float32)
    padded[: channels.shape[0]] = channels
    return padded


class _Run:
    def __init__(self, plan: Plan, weights: np.ndarray, picture: np.ndarray, seen: Observer | None) -> None:
        self.plan, self.weights, self.seen = plan, weights, seen
        widths = plan.input_widths
        if picture.shape[0] != 1 or picture.shape[1] != sum(widths):
            raise ValueError(f"pictures of shape (1, {sum(widths)}, H, W) are required, not {picture.shape}")
        size = Size.of_hw(picture.shape[2:])
        self.sizes, elements = plan.sizes(size), plan.slot_elements(size)
        self.slots = [np.full((count, 4), np.nan, np.float32) for count in elements]
        self.tables = np.full((plan.table_elements, 4), np.nan, np.float32)
        self.textures = [_texture(part[0]) for part in np.split(picture, np.cumsum(widths)[:-1], axis=1)]
        if plan.numbers_in >= 0:
            self.write(plan.numbers_in, self.textures[PICTURE])
        self.output = np.zeros((1, 1, 1), np.float32)
        self.statistics: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def result(self) -> np.ndarray:
        with np.errstate(all="ignore"):
            for dispatch in self.plan.dispatches:
                cbuffer = _ConstantBuffer(self.plan, dispatch, self.sizes)
                _KERNELS[dispatch.kernel](self, dispatch, cbuffer)
        if self.plan.numbers_out:
            return self.read(self.plan.result)[None, : self.plan.channels[1]].copy()
        return self.output[None, : self.plan.channels[1]]

    # --- buffers ---

    def read(self, number: int) -> Channels:
        if self.plan.is_texture(number):
            return self.textures[number]
        value = self.plan.values[number]
        height, width = self.sizes[number].hw
        at, end = value.first_block * height * width, (value.first_block + value.blocks) * height * width
        elements = self.slots[self.plan.values[value.root].slot][at:end]
        return elements.reshape(value.blocks, height, width, 4).transpose(0, 3, 1, 2).reshape(-1, height, width)

    def write(self, number: int, data: Channels) -> None:
        value = self.plan.values[number]
        height, width = self.sizes[number].hw
        at, end = value.first_block * height * width, (value.first_block + value.blocks) * height * width
        stored = data.reshape(value.blocks, 4, height, width).transpose(0, 2, 3, 1).reshape(-1, 4)
        self.slots[self.plan.values[value.root].slot][at:end] = to_half(stored) if self.plan.half else stored

    def finish(self, dispatch: Dispatch, data: Channels) -> None:
        """Store the result of a dispatch in its buffer or in the output picture, and compute its statistics."""
        if dispatch.macro("STATISTICS"):
            flat = data.reshape(data.shape[0], -1).astype(np.float64)
            mean = flat.mean(1)
            m2 = ((flat - mean[:, None]) ** 2).sum(1)
            self.statistics[id(dispatch)] = mean, m2, np.full(len(mean), flat.shape[1], np.float64)
        if dispatch.macro("PAINT"):
            self.output = data[: self.plan.channels[1]].astype(np.float32)
        elif dispatch.macro("STORE", 1):
            self.write(dispatch.output, data)

    # --- constants for channels ---

    def rows(self, at: int, rows: int, count: int, buffer_: np.ndarray | None = None) -> list[np.ndarray]:
        """Constants of `count` blocks from element `at` on: `rows` arrays of shape (4 * count, 1, 1)."""
        elements = (self.weights if buffer_ is None else buffer_)[at : at + rows * count].reshape(count, rows, 4)
        return [elements[:, row].reshape(-1, 1, 1) for row in range(rows)]

    def scaled(self, data: Channels, at: int) -> Channels:
        scale, shift = self.rows(at, 2, data.shape[0] // 4)
        return data * scale + shift

    def activated(
        self, dispatch: Dispatch, cbuffer: _ConstantBuffer, macro: str, bounds: str, slopes: str, x: Channels
    ) -> Channels:
        kind = dispatch.macro(macro)
        if kind == 0:
            return x
        slope = self.rows(cbuffer[slopes], 1, x.shape[0] // 4)[0] if kind == PRELU else np.zeros(1, np.float32)
        return ACTIVATIONS[kind](x, cbuffer.floats(bounds), slope).astype(np.float32)

    # --- reading ---

    def term(self, dispatch: Dispatch, cbuffer: _ConstantBuffer, side: str, number: int) -> Channels:
        data = self.read(number)
        if number == PICTURE and dispatch.macro("CENTRED"):
            data = data - data[:, data.shape[1] // 2, data.shape[2] // 2][:, None, None]
        norm = dispatch.macro(f"NORM_{side}")
        if norm == 1:
            mean, scale, shift = self.rows(cbuffer[f"TABLE_{side}"], 3, data.shape[0] // 4, self.tables)
            data = (data - mean) * scale + shift
        elif norm == 2:
            data = self.scaled(data, cbuffer[f"TABLE_{side}"])
        data = self.activated(dispatch, cbuffer, f"ACT_{side}", f"BOUNDS_{side}", f"SLOPES_{side}", data)
        if dispatch.macro(f"LATER_{side}"):
            data = self.scaled(data, cbuffer[f"TABLE_{side}_LATER"])
        return data

    def value(self, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> Channels:
        data = self.term(dispatch, cbuffer, "A", dispatch.first)
        combine = dispatch.macro("COMBINE")
        if combine:
            other = self.term(dispatch, cbuffer, "B", dispatch.second)
            spread = dispatch.macro("SPREAD_B")
            if spread == 2:
                other = other[:1]
            if spread != 1:
                top, left = cbuffer["SECOND_TOP"], cbuffer["SECOND_LEFT"]
                other = other[:, top : top + data.shape[1], left : left + data.shape[2]]
            data = (np.add, np.subtract, np.multiply, np.divide)[combine - 1](data, other)
            if combine == 4:
                data[cbuffer["SOURCE_CHANNELS"] :] = 0
        if dispatch.macro("NORM_SUM"):
            data = self.scaled(data, cbuffer["TABLE_SUM"])
        return self.activated(dispatch, cbuffer, "ACT_SUM", "BOUNDS_SUM", "SLOPES_SUM", data)

    def padded(
        self, dispatch: Dispatch, cbuffer: _ConstantBuffer, rows: np.ndarray, columns: np.ndarray, data: Channels
    ) -> Channels:
        """The padded and upsampled value at these rows and columns."""
        up, mode = dispatch.macro("UPSAMPLE", 1), dispatch.macro("PADDING")
        places, outside = [], []
        for at, size in ((rows, data.shape[1] * up), (columns, data.shape[2] * up)):
            if mode == 1:
                at = np.abs(at)
                at = np.where(at >= size, 2 * size - 2 - at, at)
            outside.append((at < 0) | (at >= size))
            places.append(np.clip(at, 0, size - 1) // up)
        pixels = data[:, places[0]][:, :, places[1]]
        if mode == 0 and (outside[0].any() or outside[1].any()):
            pixels = np.where(outside[0][:, None] | outside[1][None], cbuffer.floats("PAD_VALUE")[0], pixels)
        return pixels

    def finished(self, dispatch: Dispatch, cbuffer: _ConstantBuffer, data: Channels) -> Channels:
        data = self.activated(dispatch, cbuffer, "ACT_OUTPUT", "BOUNDS_OUTPUT", "SLOPES_OUTPUT", data)
        if dispatch.macro("NORM_OUTPUT"):
            data = self.scaled(data, cbuffer["TABLE_OUTPUT"])
        return self.activated(dispatch, cbuffer, "ACT_LATER", "BOUNDS_LATER", "SLOPES_OUTPUT", data)


# --- kernels -------------------------------------------------------------------------------------------------


def _conv(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    m = dispatch.macros
    shuffle, phased = m.get("SHUFFLE", 1), m.get("PHASED", 0)
    height, width = run.sizes[dispatch.output].hw
    rows = -(-(height + cbuffer["CROP_TOP"]) // shuffle)
    columns = -(-(width + cbuffer["CROP_LEFT"]) // shuffle)
    value = run.value(dispatch, cbuffer)
    if m.get("KEEP"):
        run.write(dispatch.kept, value)
    steps, slices, lanes, blocks_per_thread = cbuffer["BLOCKS_A_GROUP"], cbuffer["SLICES"], m["LANES"], m["BLOCKS"]
    taps = m["KERNEL_Y"], m["KERNEL_X"]
    size = slices * steps * taps[0] * taps[1] * lanes * blocks_per_thread
    weights = run.weights[cbuffer["WEIGHTS_AT"] : cbuffer["WEIGHTS_AT"] + size]
    weights = weights.reshape(slices, steps, *taps, lanes, blocks_per_thread, 4).transpose(0, 5, 6, 1, 4, 2, 3)
    weights = weights.reshape(slices, blocks_per_thread * 4, steps * lanes, *taps)
    phase_blocks = cbuffer["BLOCKS_A_PHASE"]
    accumulated = np.zeros((slices, blocks_per_thread * 4, rows, columns), np.float32)
    for group, same_input in enumerate(_slices_by_input(dispatch, cbuffer, slices, blocks_per_thread)):
        first, phase = same_input[0][1], same_input[0][2]
        numbers = [number for number, _, _ in same_input]
        offset = (phase // 2, phase % 2) if phased else (0, 0)
        channels = value[first * 4 : (first + steps) * 4].reshape(steps, 4, *value.shape[1:])[:, :lanes]
        channels = channels.reshape(steps * lanes, *value.shape[1:])
        chosen = weights[numbers].reshape(-1, *weights.shape[2:])
        padded = _window(run, dispatch, cbuffer, channels, (rows, columns), offset)
        if run.seen is not None:
            run.seen(dispatch, group, padded)
        session = _session((m["STRIDE_Y"], m["STRIDE_X"]), (m["DILATION_Y"], m["DILATION_X"]))
        (summed,) = session.run(None, {"x": padded[None], "w": np.ascontiguousarray(chosen)})
        accumulated[numbers] = summed[0].reshape(len(numbers), blocks_per_thread * 4, rows, columns)
    flat = accumulated.reshape(-1, rows, columns)
    bias = run.rows(cbuffer["BIAS_AT"], 1, slices * blocks_per_thread)[0]
    flat = (flat + bias)[: phase_blocks * 4 * shuffle * shuffle]
    if shuffle > 1:
        spread = flat.reshape(shuffle, shuffle, phase_blocks * 4, rows, columns).transpose(2, 3, 0, 4, 1)
        flat = spread.reshape(phase_blocks * 4, rows * shuffle, columns * shuffle)
        top, left = cbuffer["CROP_TOP"], cbuffer["CROP_LEFT"]
        flat = flat[:, top : top + height, left : left + width]
    run.finish(dispatch, run.finished(dispatch, cbuffer, np.ascontiguousarray(flat)))


def _slices_by_input(
    dispatch: Dispatch, cbuffer: _ConstantBuffer, slices: int, blocks_per_thread: int
) -> list[list[tuple[int, int, int]]]:
    """Slices of output channels, as (number, first input block, phase), grouped by the input that they read."""
    by_input: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    per_group, groups_ = cbuffer["SLICES_A_GROUP"], cbuffer["GROUPS"]
    for number in range(slices):
        first = number % (per_group * groups_) // per_group * cbuffer["BLOCKS_A_GROUP"]
        phase = number * blocks_per_thread // cbuffer["BLOCKS_A_PHASE"] if dispatch.macro("PHASED") else 0
        by_input.setdefault((first, phase), []).append((number, first, phase))
    return list(by_input.values())


def _window(
    run: _Run,
    dispatch: Dispatch,
    cbuffer: _ConstantBuffer,
    channels: Channels,
    size: tuple[int, int],
    offset: tuple[int, int] = (0, 0),
) -> Channels:
    """The part of its padded input that a convolution reads for an output of `size` (rows, columns)."""
    m = dispatch.macros
    reach_y, reach_x = (m["KERNEL_Y"] - 1) * m["DILATION_Y"], (m["KERNEL_X"] - 1) * m["DILATION_X"]
    rows = np.arange((size[0] - 1) * m["STRIDE_Y"] + reach_y + 1) + offset[0] - cbuffer["PAD_TOP"]
    columns = np.arange((size[1] - 1) * m["STRIDE_X"] + reach_x + 1) + offset[1] - cbuffer["PAD_LEFT"]
    return run.padded(dispatch, cbuffer, rows, columns, channels)


@functools.cache
def _session(strides: tuple[int, int], dilations: tuple[int, int]) -> onnxruntime.InferenceSession:
    """A session that runs one unpadded convolution, of inputs x and w: NumPy would be too slow."""
    import onnx

    from pipeline.graph.runtime import session

    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"], strides=strides, dilations=dilations)],
        "convolution",
        [onnx.helper.make_tensor_value_info(name, kind, [None] * 4) for name in ("x", "w")],
        [onnx.helper.make_tensor_value_info("y", kind, [None] * 4)],
    )
    opset = onnx.helper.make_opsetid("", 18)
    return session(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8))


def _depthwise(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    m = dispatch.macros
    height, width = run.sizes[dispatch.output].hw
    value = run.value(dispatch, cbuffer)
    count, taps = value.shape[0] // 4, m["KERNEL_Y"] * m["KERNEL_X"]
    weights = run.weights[cbuffer["WEIGHTS_AT"] : cbuffer["WEIGHTS_AT"] + count * taps].reshape(count, taps, 4)
    total = np.zeros((value.shape[0], height, width), np.float32) + run.rows(cbuffer["BIAS_AT"], 1, count)[0]
    padded = _window(run, dispatch, cbuffer, value, (height, width))
    if run.seen is not None:
        run.seen(dispatch, 0, padded)
    for tap in range(taps):
        ky, kx = divmod(tap, m["KERNEL_X"])
        top, left = ky * m["DILATION_Y"], kx * m["DILATION_X"]
        rows = slice(top, top + (height - 1) * m["STRIDE_Y"] + 1, m["STRIDE_Y"])
        columns = slice(left, left + (width - 1) * m["STRIDE_X"] + 1, m["STRIDE_X"])
        total += padded[:, rows, columns] * weights[:, tap].reshape(-1, 1, 1)
    run.finish(dispatch, run.finished(dispatch, cbuffer, total))


def _pointwise(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    height, width = run.sizes[dispatch.output].hw
    value = run.value(dispatch, cbuffer)
    sample = dispatch.macro("SAMPLE")
    if sample == 1:
        rows, columns = np.arange(height) - cbuffer["PAD_TOP"], np.arange(width) - cbuffer["PAD_LEFT"]
        value = run.padded(dispatch, cbuffer, rows, columns, value)
    elif sample >= 2:
        scale_x, scale_y, shift_x, shift_y = cbuffer.floats("SAMPLING")
        y = np.arange(height, dtype=np.float32) * scale_y + shift_y
        x = np.arange(width, dtype=np.float32) * scale_x + shift_x
        value = _nearest(value, y, x, cbuffer["OPTION"]) if sample == 2 else _bilinear(value, y, x)
    run.finish(dispatch, run.finished(dispatch, cbuffer, value))


def _nearest(value: Channels, y: np.ndarray, x: np.ndarray, option: int) -> Channels:
    rounding = (
        np.floor,
        np.ceil,
        lambda at: np.ceil(at - np.float32(0.5)),
        lambda at: np.floor(at + np.float32(0.5)),
    )
    rows = np.clip(rounding[option](y), 0, value.shape[1] - 1).astype(np.int64)
    columns = np.clip(rounding[option](x), 0, value.shape[2] - 1).astype(np.int64)
    return value[:, rows][:, :, columns]


def _bilinear(value: Channels, y: np.ndarray, x: np.ndarray) -> Channels:
    for axis, at in ((1, y), (2, x)):
        last = value.shape[axis] - 1
        at = np.clip(at, 0, last).astype(np.float32)
        low = np.floor(at).astype(np.int64)
        share = (at - low).astype(np.float32).reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
        below, above = np.take(value, low, axis), np.take(value, np.minimum(low + 1, last), axis)
        value = below + (above - below) * share
    return value


def _gather(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    height, width = run.sizes[dispatch.output].hw
    move, n, option = dispatch.macro("MOVE"), dispatch.macro("FACTOR", 1), cbuffer["OPTION"]
    count, source_count = cbuffer["OUTPUT_CHANNELS"], cbuffer["SOURCE_CHANNELS"]
    if move == 4:
        one = run.term(dispatch, cbuffer, "A", dispatch.first)[:source_count]
        other = run.term(dispatch, cbuffer, "B", dispatch.second)
        moved = np.concatenate([one, other])[:count]
    else:
        value = run.value(dispatch, cbuffer)[:source_count]
        if move == 0:
            moved = value[option : option + count]
        elif move in (1, 2):
            shape = (n, n, count) if move == 1 else (count, n, n)
            order = (2, 3, 0, 4, 1) if move == 1 else (0, 3, 1, 4, 2)
            small = value.reshape(*shape, height // n, width // n)
            moved = small.transpose(order).reshape(count, height, width)
        elif move == 3:
            cut = value[:, : height * n, : width * n].reshape(source_count, height, n, width, n)
            moved = cut.transpose(2, 4, 0, 1, 3).reshape(count, height, width)
        else:
            moved = (
                value.reshape(option, count // option, height, width).swapaxes(0, 1).reshape(count, height, width)
            )
    full = np.zeros((blocks(count) * 4, height, width), np.float32)
    full[:count] = moved
    run.finish(dispatch, run.finished(dispatch, cbuffer, full))


def _pool(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    m = dispatch.macros
    height, width = run.sizes[dispatch.output].hw
    value = run.value(dispatch, cbuffer)
    largest = m["POOL"] == 0
    total = np.full((value.shape[0], height, width), -np.inf if largest else 0.0, np.float32)
    counts = np.zeros((height, width), np.float32)
    limits = (cbuffer["SOURCE_HEIGHT"], cbuffer["SOURCE_WIDTH"])
    if m["POOL"] == 2:
        limits = limits[0] + cbuffer["SECOND_TOP"], limits[1] + cbuffer["SECOND_LEFT"]
    for ky in range(m["KERNEL_Y"]):
        for kx in range(m["KERNEL_X"]):
            rows = np.arange(height) * m["STRIDE_Y"] - cbuffer["PAD_TOP"] + ky
            columns = np.arange(width) * m["STRIDE_X"] - cbuffer["PAD_LEFT"] + kx
            inside = ((rows >= 0) & (rows < value.shape[1]))[:, None] & (
                (columns >= 0) & (columns < value.shape[2])
            )
            seen = value[:, np.clip(rows, 0, value.shape[1] - 1)][:, :, np.clip(columns, 0, value.shape[2] - 1)]
            if largest:
                total = np.where(inside, np.maximum(total, seen), total)
            else:
                total += np.where(inside, seen, 0)
            counted = inside if m["POOL"] == 1 else (rows < limits[0])[:, None] & (columns < limits[1])
            counts += counted
    run.finish(
        dispatch, run.finished(dispatch, cbuffer, total if largest else (total / counts).astype(np.float32))
    )


def _merge(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    mean, m2, count = run.statistics[id(dispatch.statistics_of)]
    number = cbuffer["OUTPUT_BLOCKS"]
    result = dispatch.macro("RESULT")
    if result == 2:
        data = mean.astype(np.float32).reshape(-1, 1, 1)
        run.finish(dispatch, run.finished(dispatch, cbuffer, data))
        return
    second, third = m2, count
    if result == 0:
        gamma, beta = (row.reshape(-1) for row in run.rows(cbuffer["WEIGHTS_AT"], 2, number))
        deviation = np.sqrt(m2 / count + cbuffer.floats("EPSILON")[0]) + cbuffer.floats("EPSILON_OUTSIDE")[0]
        second, third = gamma / np.maximum(deviation, 1e-20), beta
    _write_table(run, cbuffer["TABLE_OUTPUT"], mean, second, third)


def _write_table(run: _Run, at: int, *rows: np.ndarray) -> None:
    table = np.stack([np.asarray(row, np.float32).reshape(-1, 4) for row in rows], 1).reshape(-1, 4)
    run.tables[at : at + len(table)] = table


def _merge_channels(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    number, channels, each = cbuffer["OUTPUT_BLOCKS"], cbuffer["OUTPUT_CHANNELS"], cbuffer["OPTION"]
    mean, m2, count = (
        row.reshape(-1)[:channels].astype(np.float64)
        for row in run.rows(cbuffer["TABLE_A"], 3, number, run.tables)
    )
    means, variances = np.zeros(number * 4), np.ones(number * 4)
    for first in range(0, channels, each):
        part = slice(first, min(first + each, channels))
        total = count[part].sum()
        middle = (mean[part] * count[part]).sum() / total
        apart = (m2[part] + count[part] * (mean[part] - middle) ** 2).sum()
        means[part], variances[part] = middle, apart / total
    gamma, beta = (row.reshape(-1) for row in run.rows(cbuffer["WEIGHTS_AT"], 2, number))
    scale = gamma / np.sqrt(variances + cbuffer.floats("EPSILON")[0])
    _write_table(run, cbuffer["TABLE_OUTPUT"], means, scale, beta)


def _across(run: _Run, dispatch: Dispatch, cbuffer: _ConstantBuffer) -> None:
    value, count = run.value(dispatch, cbuffer), cbuffer["OUTPUT_CHANNELS"]
    channels = value[:count]
    normalised = np.zeros_like(value)
    if dispatch.macro("ACROSS") == 0:
        powers = np.exp(channels - channels.max(0))
        normalised[:count] = powers / powers.sum(0)
    else:
        mean = channels.mean(0)
        normalised[:count] = (channels - mean) / np.sqrt(
            ((channels - mean) ** 2).mean(0) + cbuffer.floats("EPSILON")[0]
        )
        normalised = run.scaled(normalised, cbuffer["WEIGHTS_AT"])
    run.finish(dispatch, run.finished(dispatch, cbuffer, normalised))


_KERNELS: dict[str, Callable[[_Run, Dispatch, _ConstantBuffer], None]] = {
    "Conv": _conv,
    "Depthwise": _depthwise,
    "Pointwise": _pointwise,
    "Gather": _gather,
    "Pool": _pool,
    "Merge": _merge,
    "MergeChannels": _merge_channels,
    "AcrossChannels": _across,
}
