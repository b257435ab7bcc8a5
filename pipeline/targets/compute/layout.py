"""How constants lie in the buffer of weights: what kernels read, from what a plan file holds.

The C# engine does the same when it loads a plan (ComputeWeights.cs); a test holds the two together.
"""

from __future__ import annotations

import numpy as np

from pipeline.targets.compute.plan import Plan, Weight, blocks


def length(weight: Weight) -> int:
    """Elements of four numbers that a weight takes in the buffer."""
    form = weight.form
    if weight.kind == "conv":
        _, _, height, width = weight.data.shape
        return form["slices"] * form["step_blocks"] * height * width * form["lanes"] * form["blocks"]
    if weight.kind == "rows":
        return form["length"] * weight.data.shape[0]
    return blocks(weight.data.shape[0]) * weight.data.shape[1] * weight.data.shape[2]


def laid_out(weight: Weight) -> np.ndarray:
    """The weight as elements of four float32, shape (length, 4)."""
    if weight.kind == "conv":
        return _conv(weight)
    if weight.kind == "rows":
        return _rows(weight)
    channels, height, width = weight.data.shape
    padded = np.zeros((blocks(channels) * 4, height * width), np.float32)
    padded[:channels] = weight.data.reshape(channels, -1)
    return padded.reshape(-1, 4, height * width).transpose(0, 2, 1).reshape(-1, 4)


def _conv(weight: Weight) -> np.ndarray:
    """Slice by slice of output channels; in it input blocks, kernel rows, columns, lanes, output blocks."""
    form, data = weight.form, weight.data
    outputs, inputs, height, width = data.shape
    phases, each = form["phases"], outputs // form["phases"]
    total = form["slices"] * form["blocks"] * 4
    padded = np.zeros((total, form["step_blocks"] * 4, height, width), np.float32)
    for phase in range(phases):
        at = phase * form["phase_blocks"] * 4
        padded[at : at + each, :inputs] = data[phase * each : (phase + 1) * each]
    shaped = padded.reshape(form["slices"], form["blocks"], 4, form["step_blocks"], 4, height, width)
    shaped = shaped[:, :, :, :, : form["lanes"]]
    # slice, step, ky, kx, lane, block, channel
    return np.ascontiguousarray(shaped.transpose(0, 3, 5, 6, 4, 1, 2)).reshape(-1, 4)


def _rows(weight: Weight) -> np.ndarray:
    rows, channels = weight.data.shape
    form = weight.form
    padded = np.zeros((rows, form["length"] * 4), np.float32)
    count = channels // form["phases"]
    each = blocks(count) * 4
    for phase in range(form["phases"]):
        padded[:, phase * each : phase * each + count] = weight.data[:, phase * count : (phase + 1) * count]
    return np.ascontiguousarray(padded.reshape(rows, -1, 4).transpose(1, 0, 2)).reshape(-1, 4)


def buffer(plan: Plan) -> np.ndarray:
    """The whole buffer of weights, shape (elements, 4), float32."""
    parts = [laid_out(weight) for weight in plan.weights]
    return np.concatenate(parts) if parts else np.zeros((1, 4), np.float32)
