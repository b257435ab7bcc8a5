"""Which source pixels a resize reads, and with which weights: ONNX Resize as formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.graph import nodes as n

PROBE = 24
"""Source pixels over which taps are compared to see whether they repeat."""


@dataclass(frozen=True)
class Kernel:
    """How a resize maps pixels, as ONNX Resize-11 and later say it."""

    mode: str
    coordinates: str
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75

    def taps(self, size: int, out: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Source indices and weights, both [out, taps]; indices may lie outside and mean the edge pixel then.

        Formulas: ONNX operator specification, Resize-19; cubic convolution after Keys, 1981.
        """
        n.room(out, 4, item=8)
        # ONNX Runtime divides in float32, which decides nearest on the edge between two pixels
        kind = np.float32 if self.mode == "nearest" else np.float64
        at: np.ndarray = np.arange(out).astype(kind)
        factor = kind(scale)
        source: np.ndarray
        match self.coordinates:
            case "asymmetric":
                source = np.asarray(at / factor)
            case "align_corners":
                source = at * (size - 1) / (out - 1) if out > 1 else np.zeros_like(at)
            case "tf_half_pixel_for_nn":
                source = (at + 0.5) / factor
            case "pytorch_half_pixel" if out == 1:
                source = np.zeros_like(at)
            case _:
                source = (at + 0.5) / factor - 0.5
                if self.coordinates == "half_pixel_symmetric":
                    centre = size / 2 * (1 - out / (scale * size))
                    source = np.asarray(source + centre)
        source = np.round(np.asarray(source, dtype=np.float64), 9)
        if self.mode == "nearest":
            match self.nearest:
                case "floor":
                    index = np.floor(source)
                case "ceil":
                    index = np.ceil(source)
                case "round_prefer_ceil":
                    index = np.floor(source + 0.5)
                case _:
                    index = np.ceil(source - 0.5)
            return index[:, None].astype(np.int64), np.ones((out, 1))
        base = np.floor(source).astype(np.int64)
        part = source - base
        if self.mode == "linear":
            return np.stack([base, base + 1], 1), np.stack([1 - part, part], 1)
        a = self.cubic
        distances = np.stack([1 + part, part, 1 - part, 2 - part], 1)
        near = (a + 2) * distances**3 - (a + 3) * distances**2 + 1
        far = a * distances**3 - 5 * a * distances**2 + 8 * a * distances - 4 * a
        return np.stack([base - 1, base, base + 1, base + 2], 1), np.where(distances <= 1, near, far)

    def dense(self, size: int, out: int, scale: float, step: int) -> np.ndarray | None:
        """Weights by offset from `step` * position, if the same for each: [phases, offsets], offset 0 at `PROBE`.

        `step` is 1 / scale for a downscale (one phase). For an upscale by k the phases are output pixels modulo k.
        None when the taps do not repeat, so that no convolution gives them.
        """
        if self.coordinates == "align_corners":
            return None
        index, weight = self.taps(size, out, scale)
        phases = max(1, round(scale))
        rows = np.zeros((out, 2 * PROBE + 1))
        for position in range(out):
            for at, value in zip(index[position], weight[position], strict=True):
                offset = at - position // phases * step + PROBE
                if not 0 <= offset <= 2 * PROBE:
                    return None
                rows[position, offset] += value
        pattern = rows[:phases]
        return pattern if np.allclose(rows, np.tile(pattern, (out // phases, 1)), atol=1e-9) else None
