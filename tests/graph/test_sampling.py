from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph.sampling import PROBE, Kernel
from tests.rewrites import model, node, run

MODES = [("nearest", rounding) for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]
MODES += [("linear", "floor"), ("cubic", "floor")]
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric")


@pytest.mark.parametrize(("mode", "rounding"), MODES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("scale", [2.0, 3.0, 1.5, 0.5, 0.4])
def test_taps_give_what_onnx_runtime_gives(mode, rounding, coordinates, scale):
    size = 20
    row = np.random.default_rng(0).uniform(-1, 1, (1, 1, 4, size)).astype(np.float32)
    attrs = {"mode": mode, "nearest_mode": rounding, "coordinate_transformation_mode": coordinates}
    source = model(
        [node("Resize", "x - k", "y", **attrs)],
        {"k": np.array([1, 1, 1, scale], np.float32)},
        opset=19,
        input_shape=row.shape,
    )
    expected = run(source, {"x": row})[0]
    index, weight = Kernel(mode, coordinates, rounding).taps(size, expected.shape[3], float(np.float32(scale)))
    got = (row[..., np.clip(index, 0, size - 1)] * weight).sum(axis=-1)
    assert np.abs(got - expected).max() < 3e-6


def test_repeating_weights_are_found_by_phase():
    pattern = Kernel("linear", "half_pixel").dense(PROBE, 2 * PROBE, 2.0, 1)
    assert pattern[:, PROBE - 1 : PROBE + 2].tolist() == [[0.25, 0.75, 0], [0, 0.75, 0.25]]


def test_weights_that_do_not_repeat_are_not_a_pattern():
    assert Kernel("linear", "align_corners").dense(PROBE, 2 * PROBE, 2.0, 1) is None
    assert Kernel("cubic", "half_pixel").dense(PROBE, int(1.5 * PROBE), 1.5, 1) is None
