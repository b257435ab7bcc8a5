"""The proof: the source network against the built graph as the target computes it.

The source network runs as itself (torch, or ONNX Runtime on the file that the user gave), with the image
contract applied around it by hand. The built graph runs in ONNX Runtime after `emulation`, so that what is
compared is what the target will show and not what ONNX Runtime thinks of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contract import Guide, ImageContract, ImageSide, input_widths
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.verify.compare import LEVELS, Difference, difference, round_up

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from pipeline.targets import Target
    from pipeline.verify.guide_pictures import GuidePictures

Picture2Picture = Callable[[np.ndarray], np.ndarray]

DEFAULT_TOLERANCE = 0.5
"""Largest difference allowed, in levels of 255: below it no 8-bit picture can show it."""


@dataclass(frozen=True)
class Proof:
    """All comparisons, the tolerance, and the golden frame that came out of them."""

    differences: tuple[Difference, ...]
    tolerance: float
    golden_input: np.ndarray
    """RGB 0..1, (1, C, H, W), exact 8-bit steps."""
    golden_output: np.ndarray
    """What the source network makes of it, 0..1."""
    notes: tuple[str, ...] = ()
    least_psnr: float | None = None
    """What every comparison must reach beside the tolerance, in dB."""

    @property
    def worst(self) -> Difference:
        return max(self.differences, key=lambda d: d.max_levels)

    @property
    def passed(self) -> bool:
        return self.worst.max_levels <= self.tolerance and not self.too_far

    @property
    def too_far(self) -> tuple[Difference, ...]:
        """The comparisons below the PSNR that is asked for."""
        least = self.least_psnr
        return tuple(d for d in self.differences if least is not None and d.psnr is not None and d.psnr < least)

    def as_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "tolerance_levels": self.tolerance,
            **({} if self.least_psnr is None else {"least_psnr": self.least_psnr}),
            "would_have_passed_at": round_up(self.worst.max_levels),
            "comparisons": [d.as_dict() for d in self.differences],
            "notes": list(self.notes),
        }


def around(reference: Picture2Picture, contract: ImageContract) -> Picture2Picture:
    """The source network as a function from RGB 0..1 to RGB 0..1, clamped; the contract applied by numpy."""

    def picture_to_picture(rgb01: np.ndarray) -> np.ndarray:
        value = to_network(rgb01.astype(np.float64), contract.input)
        result = reference(np.ascontiguousarray(value, dtype=np.float32))
        if result.ndim != 4 or contract.output.channels not in (1, result.shape[1]):
            raise PipelineError(
                "not-image-to-image",
                f"the network's output for a picture of {rgb01.shape[3]}x{rgb01.shape[2]} has the shape "
                f"{list(result.shape)}, but {contract.output.channels} channels are declared",
                remedy="This tool takes networks that turn a picture into a picture; if this one does, export it "
                "again with the correct output shape.",
            )
        return np.clip(from_network(result.astype(np.float64), contract.output), 0, 1)

    return picture_to_picture


def to_network(rgb01: np.ndarray, side: ImageSide) -> np.ndarray:
    scale, shift = (np.array(v).reshape(1, -1, 1, 1) for v in side.affine())
    value, order = rgb01 * scale + shift, side.network_order()
    return value if order == list(range(len(order))) else value[:, order]


def from_network(value: np.ndarray, side: ImageSide) -> np.ndarray:
    scale, shift = (np.array(v).reshape(1, -1, 1, 1) for v in side.affine())
    value = value[:, ::-1] if side.order == "bgr" else value
    return (value - shift) / scale


def as_target_computes(
    model: onnx.ModelProto | bytes,
    target: Target,
    style: Sequence[float] | None = None,
    guides: Sequence[Guide] = (),
) -> Picture2Picture:
    """A file for `target`, as bytes or parsed, as a function from picture to picture as the target computes it.

    `style` is the value of the second input, for a file with styles: a weight for each, or the numbers of one.
    With `guides`, the picture has their channels after its colour. The pictures may have any size that the graph
    can take. Raises what `Family.emulate` raises.
    """
    data = model if isinstance(model, bytes) else model.SerializeToString()
    if guides:
        run_inputs = target.family.input_runner(data, target)
        ends = np.cumsum(input_widths(guides))[:-1]
        return lambda picture: run_inputs([np.ascontiguousarray(p) for p in np.split(picture, ends, axis=1)])
    if style is None:
        return target.family.runner(data, target)
    run = target.family.style_runner(data, target)
    return lambda picture: run(picture, style)


def prove(
    source: Picture2Picture,
    candidate: Picture2Picture,
    sizes: tuple[Size, ...],
    *,
    channels: int,
    picture: Path | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    notes: tuple[str, ...] = (),
    least_psnr: float | None = None,
    guides: GuidePictures | None = None,
) -> Proof:
    """Compare `source` with `candidate`, both RGB 0..1 to RGB 0..1, at each size.

    Each size is tried with a picture and with noise; the golden frame is the picture at the first size. Pictures
    of different sizes count as the largest difference, with a note.
    """
    from pipeline.verify import pictures

    differences = []
    golden: tuple[np.ndarray, np.ndarray] | None = None
    for size in sizes:
        height, width = size.hw
        inputs = {
            "picture": pictures.load(picture, height, width, channels, guides),
            "noise": pictures.noise(height, width, channels),
        }
        for name, image in inputs.items():
            expected = source(image)
            if golden is None:
                golden = image, expected
            result = candidate(image)
            if result.shape != expected.shape:
                sizes_differ = (
                    f"the output of the source is {_size(expected)}, that of the built graph {_size(result)}"
                )
                notes = (*notes, f"at {size} {sizes_differ}")
                differences.append(Difference(name, height, width, LEVELS, LEVELS, 0.0, (0, 0, 0)))
                continue
            differences.append(difference(expected, result, name))
    assert golden is not None
    return Proof(tuple(differences), tolerance, *golden, notes=notes, least_psnr=least_psnr)


def _size(picture: np.ndarray) -> str:
    return "x".join(str(size) for size in reversed(picture.shape[2:])) + f" with {picture.shape[1]} channels"
