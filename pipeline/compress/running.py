"""Runs a network with replaced weights, and compares it with the original."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.compress.calibrate import SIZE, drawn, image_input, pictures
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx

    from pipeline.contract import ImageContract

_HELD_OUT = 1000
"""Drawn pictures with numbers from here on are not used for calibration."""
SIZES = (Size(SIZE, SIZE), Size(256, 256), Size(224, 224))
WIDE = Size(768, 448)
"""Of the photograph that is measured with, near the nominal size of a bundle; divisible by 64.

Small pictures are not enough: in large ones there are smooth places, where rounding costs up to 2 dB more.
"""
_PHOTOGRAPH, _MIDDLE, _DRAWN = "photograph", "its middle", "drawn"
SMALL = (_MIDDLE, _DRAWN)
"""The names of the small measured pictures, which take little time."""


def shown_pictures(picture: Path | None, wide: Size, size: Size, channels: int) -> dict[str, np.ndarray]:
    """The pictures to measure with, by name, RGB 0..1 (1, channels, H, W): nothing is ever rounded with them.

    A photograph (`picture`, or the bundled one) at the size `wide`, its middle at twice the scale and a drawn
    picture at `size`.
    """
    from pipeline.verify.pictures import load

    height, width = size.hw
    twice = load(picture, 2 * height, 2 * width, channels)
    rows, columns = slice(height // 2, height // 2 + height), slice(width // 2, width // 2 + width)
    return {
        _PHOTOGRAPH if picture is None else picture.name: load(picture, *wide.hw, channels),
        _MIDDLE: np.ascontiguousarray(twice[:, :, rows, columns]),
        _DRAWN: drawn(_HELD_OUT, height, width, channels),
    }


def decibels(levels: np.ndarray, expected: np.ndarray) -> float:
    """PSNR of pictures 0..1 in float64 against a peak of 1; infinite where equal."""
    mse = float(np.mean((levels - expected) ** 2))
    return -10 * math.log10(mse) if mse > 0 else math.inf


class Running:
    """An image-to-image model that ONNX Runtime runs, and the pictures that belong to it.

    `calibration` are inputs to round with, `measured` inputs to compare with: name -> input, both as the network
    takes them. `contract` None stands for RGB 0..1 in, and out whichever range the output fits into. `style` is
    the value of a second input; `of_style` are the constants that only this input is combined with, which cannot
    be calibrated with one style. `is_predictor`: the output is the vector of a style, of shape (1, K, 1, 1), and
    the PSNR is relative to the range of its values. Raises PipelineError `not-image-to-image`,
    `graph-does-not-run`.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        contract: ImageContract | None,
        calibrate: Sequence[Path] = (),
        picture: Path | None = None,
        style: Sequence[float] = (),
        is_predictor: bool = False,
    ) -> None:
        from pipeline.graph import valid

        self._contract, self._is_predictor = contract, is_predictor
        self.model = _copy(valid(model))
        self.of_style = _bind_style(self.model, style) if style else frozenset()
        self._image = image_input(self.model)
        self._last, self._channels, declared = _picture_axes(self.model, self._image)
        sizes = [declared] if declared is not None else []
        self._size, self._open = self._runs_at([*sizes, *SIZES] if is_predictor else [*SIZES, *sizes])
        self.weights = _initializers(self.model)
        self.calibration = [self._input(p) for p in pictures(calibrate, *self._size.hw, self._channels)]
        wide = WIDE if self._open and self._size == SIZES[0] else self._size
        shown = shown_pictures(picture, wide, self._size, self._channels)
        self.measured = {name: self._input(rgb01) for name, rgb01 in shown.items()}
        opened = self._session({})
        self.expected = {name: self._levels(self._run(opened, given)) for name, given in self.measured.items()}

    def psnr(self, weights: Mapping[str, np.ndarray], names: Collection[str] = ()) -> dict[str, float]:
        """PSNR of the network with some weights replaced against the original: dB with a peak of 255 levels.

        For each measured picture, or those of `names`; the outputs count as clamped to the range of a picture.
        Infinite where equal.
        """
        opened = self._session(weights)
        found = {}
        for name in names or self.measured:
            given = self.measured[name]
            levels = self._levels(self._run(opened, given))
            found[name] = decibels(levels, self.expected[name])
        return found

    def _input(self, rgb01: np.ndarray) -> np.ndarray:
        """A picture in the range and layout of the network."""
        if self._contract is not None:
            from pipeline.verify.proof import to_network

            rgb01 = to_network(rgb01.astype(np.float64), self._contract.input)
        value = rgb01.transpose(0, 2, 3, 1) if self._last else rgb01
        return np.ascontiguousarray(value, dtype=np.float32)

    def _levels(self, output: np.ndarray) -> np.ndarray:
        """An output as 0..1, clamped."""
        if self._contract is not None:
            from pipeline.verify.proof import from_network

            value = output.transpose(0, 3, 1, 2) if self._last and output.ndim == 4 else output
            return np.clip(from_network(value.astype(np.float64), self._contract.output), 0, 1)
        if not hasattr(self, "_range"):
            low, high = float(output.min()), float(output.max())
            self._range = (0.0, 255.0) if high > 4 else (-1.0, 1.0) if low < -0.05 else (0.0, 1.0)
            if self._is_predictor:
                self._range = (low, max(high, low + 1e-6))
        begin, end = self._range
        if self._is_predictor:
            return (output.astype(np.float64) - begin) / (end - begin)
        return np.clip((output.astype(np.float64) - begin) / (end - begin), 0, 1)

    def _session(self, weights: Mapping[str, np.ndarray]):  # type: ignore[no-untyped-def]
        from onnx import numpy_helper

        from pipeline.graph.runtime import session

        model = self.model
        if weights:
            model = _copy(model)
            for tensor in model.graph.initializer:
                if tensor.name in weights:
                    values = weights[tensor.name].astype(np.float32).reshape(tuple(tensor.dims))
                    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return session(model)

    def _run(self, opened, given: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
        return np.asarray(opened.run(None, {self._image: given})[0])

    def _runs_at(self, sizes: Sequence[Size]) -> tuple[Size, bool]:
        """The first size at which the network runs, with its declared size made variable if necessary."""
        from pipeline.graph.runtime import free_size

        free = free_size(_copy(self.model)) if not self._last else _free_last(_copy(self.model))
        why: Exception | None = None
        for model, is_open in ((free, True), (self.model, False)):
            self.model = model
            try:
                opened = self._session({})
            except Exception as error:  # whatever ONNX Runtime raises for a graph that it cannot load
                why = error
                continue
            for size in sizes:
                try:
                    output = self._run(
                        opened, self._input(np.full((1, self._channels, *size.hw), 0.5, np.float32))
                    )
                except Exception as error:  # ... or that does not run at this size
                    why = error
                    continue
                if output.ndim == 4:
                    return size, is_open
                raise PipelineError(
                    "not-image-to-image",
                    f"the output has the shape {tuple(output.shape)}, which is not a picture",
                    remedy="Weights of other networks can be stored as half: --weights half.",
                )
        reason = (str(why).strip().splitlines() or ["the model runs at no usual picture size"])[0][:160]
        raise PipelineError(
            "graph-does-not-run",
            f"ONNX Runtime cannot run this model ({reason}), so the effect of rounding cannot be measured",
            remedy="Use --weights half, which needs no measurement.",
        )


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = type(model)()
    copied.CopyFrom(model)
    return copied


def _bind_style(model: onnx.ModelProto, style: Sequence[float]) -> frozenset[str]:
    """Make the second input of a model a constant, in place; the constants that only it is combined with."""
    from onnx import numpy_helper

    constants = {tensor.name for tensor in model.graph.initializer}
    value = [value for value in model.graph.input if value.name not in constants][1]
    dims = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
    values = np.asarray(style, np.float32).reshape([1, -1, *dims[2:]])
    name = value.name
    inputs = [
        type(other).FromString(other.SerializeToString()) for other in model.graph.input if other.name != name
    ]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    dependent, found = {name}, set()
    for node in model.graph.node:
        read = {tensor for tensor in node.input if tensor}
        if read & dependent and read <= dependent | constants:
            found |= read & constants
            dependent |= set(node.output)
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    return frozenset(found)


def _initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == t.FLOAT}


def _picture_axes(model: onnx.ModelProto, image: str) -> tuple[bool, int, Size | None]:
    """Whether channels come last, their number, and the size if it is declared."""
    constants = {t.name for t in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if len(inputs) != 1 or len(dims) != 4 or not {dims[1], dims[3]} & {1, 3}:
        raise PipelineError(
            "not-image-to-image",
            f"the model has {len(inputs)} inputs, the first of shape {tuple(dims)}, which is not a picture of 1 "
            "or 3 channels",
            remedy="Weights of other networks can be stored as half: --weights half.",
        )
    last = dims[1] not in (1, 3)
    height, width = dims[1:3] if last else dims[2:]
    return last, dims[3] if last else dims[1], Size(width, height) if min(height, width) > 0 else None


def _free_last(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` itself with height and width of a channels-last input left open."""
    constants = {t.name for t in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name not in constants:
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if axis in (1, 2):
                    dim.dim_param = f"{value.name}_{axis}"
    del model.graph.value_info[:]
    return model
