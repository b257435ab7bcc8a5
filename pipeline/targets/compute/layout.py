"""Lays out weights for the GPU: from the plain arrays of a plan file to the padded weight buffer.

The C# engine does the same when it loads a plan (ComputeWeights.cs); a test compares the two.
"""

from __future__ import annotations

import numpy as np

from pipeline.targets.compute.plan import Plan, Weight, blocks


def length(weight: Weight) -> int:
    """The number of float4 elements that a weight occupies in the weight buffer."""
    form = weight.form
    if weight.kind == "conv":
        _, _, height, width = weight.data.shape
        return form["slices"] * form["step_blocks"] * height * width * form["lanes"] * form["blocks"]
    if weight.kind == "rows":
        return form["length"] * weight.data.shape[0]
    return blocks(weight.data.shape[0]) * weight.data.shape[1] * weight.data.shape[2]


def laid_out(weight: Weight) -> np.ndarray:
    """The weight as float4 elements: float32 of shape (length, 4)."""
    if weight.kind == "conv":
        return _conv(weight)
    if weight.kind == "rows":
        return _rows(weight)
    channels, height, width = weight.data.shape
    padded = np.zeros((blocks(channels) * 4, height * width), np.float32)
    padded[:channels] = weight.data.reshape(channels, -1)
    return padded.reshape(-1, 4, height * width).transpose(0, 2, 1).reshape(-1, 4)


def _conv(weight: Weight) -> np.ndarray:
    """Order: slice of output channels, input block, kernel row, kernel column, lane, output block, channel."""
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
    """The weight buffer of a plan: float32 of shape (elements, 4)."""
    parts = [laid_out(weight) for weight in plan.weights]
    return np.concatenate(parts) if parts else np.zeros((1, 4), np.float32)
