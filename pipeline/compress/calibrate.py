"""Calibration pictures, and the second moments of the inputs of a network's weights for them.

Without pictures from the user, synthetic ones are drawn: overlapping discs of all sizes, whose statistics are
those of photographs (dead leaves; Lee, Mumford, Huang 2001). Rounding with them is as good as with photographs and
much better than with noise (docs/compression.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.compress.rounding import Moments
from pipeline.compress.sites import Site

if TYPE_CHECKING:
    import onnx

PICTURES = 4
"""Number of pictures that are drawn, or cropped from the user's."""
SIZE = 192
"""Their height and width, if the network runs at any size."""
_SEED = 20261
_DISCS = 400
_SMALLEST_RADIUS = 4.0
_PLACES_PER_INPUT = 6
_FEWEST_PLACES = 1024


def drawn(number: int, height: int, width: int, channels: int) -> np.ndarray:
    """Drawn picture `number` as (1, channels, height, width) float32, 0..1 in exact 8-bit steps."""
    rng = np.random.default_rng([_SEED, number, height, width])
    picture = np.zeros((3, height, width), np.float32)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    largest = 0.4 * max(height, width)
    for disc in range(_DISCS):
        # Radii with density 1 / radius^3: each scale covers as much.
        part = rng.random()
        radius = (_SMALLEST_RADIUS**-2 + part * (largest**-2 - _SMALLEST_RADIUS**-2)) ** -0.5
        radius = largest * (0.75 + part) if disc < 8 else radius
        y, x = rng.random(2) * (height, width)
        top, left = max(0, int(y - radius)), max(0, int(x - radius))
        window = np.s_[top : int(y + radius) + 1, left : int(x + radius) + 1]
        down, right = rows[window] - np.float32(y), columns[window] - np.float32(x)
        round_one = down**2 + right**2 <= radius**2
        inside = round_one if disc % 3 else np.abs(down) + np.abs(right) <= radius
        colour = rng.random(3) * rng.random() ** 0.5
        slope = 0.15 / radius * (down * rng.normal() + right * rng.normal())
        grain = 0.06 * rng.random() * rng.standard_normal(inside.shape)
        picture[:, window[0], window[1]][:, inside] = colour[:, None] + (slope + grain)[inside]
    levels = np.rint(np.clip(picture, 0, 1) * 255)
    if channels == 1:
        levels = np.rint(levels.mean(axis=0, keepdims=True))
    return np.ascontiguousarray(levels[None] / np.float32(255), dtype=np.float32)


def pictures(paths: Sequence[Path], height: int, width: int, channels: int) -> list[np.ndarray]:
    """The calibration pictures: the user's, at several scales, else drawn ones."""
    from pipeline.verify.pictures import load

    if not paths:
        return [drawn(number, height, width, channels) for number in range(PICTURES)]
    found = [load(path, height, width, channels) for path in paths]
    number = 0
    while len(found) < PICTURES:
        path = paths[number % len(paths)]
        scale = 2 + number // len(paths)
        found.append(_corner(load(path, height * scale, width * scale, channels), height, width, number))
        number += 1
    return found


def _corner(picture: np.ndarray, height: int, width: int, number: int) -> np.ndarray:
    top = (picture.shape[2] - height) * (number % 2)
    left = (picture.shape[3] - width) * (number // 2 % 2)
    return np.ascontiguousarray(picture[:, :, top : top + height, left : left + width])


def moments(
    model: onnx.ModelProto, sites: Sequence[Site], weights: Mapping[str, np.ndarray], inputs: Sequence[np.ndarray]
) -> dict[str, list[Moments]]:
    """For each weight of `sites`, and each group of its rows, the second moments of the inputs.

    If a normalisation after a site subtracts the mean, the moments are central: an error that only shifts a
    channel has no effect there. `model` is one that ONNX Runtime takes; `inputs` go into its one input, `weights`
    are the values of its initializers.
    """
    import onnx

    from pipeline.graph.runtime import session

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    image = image_input(model)
    present = {image, *(output.name for output in model.graph.output)}
    for name in dict.fromkeys(site.input for site in sites):
        if name not in present:
            watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    opened = session(watched)
    names = [output.name for output in opened.get_outputs()]
    sums: dict[str, list[np.ndarray]] = {}
    for number, given in enumerate(inputs):
        values = dict(zip(names, opened.run(None, {image: given}), strict=True)) | {image: given}
        for index, site in enumerate(sites):
            _add(sums, site, values[site.input], [number, index], len(inputs))
    of_weight = {site.weight: site for site in sites}
    return {
        name: [
            Moments.of(second, rows)
            for second, rows in zip(seconds, of_weight[name].rows(weights[name]), strict=True)
        ]
        for name, seconds in sums.items()
    }


def _add(sums: dict[str, list[np.ndarray]], site: Site, value: np.ndarray, seed: list[int], pictures: int) -> None:
    seconds = sums.setdefault(site.weight, [])
    for group, second in enumerate(second_moments(site, value, seed, pictures)):
        if group == len(seconds):
            seconds.append(second)
        else:
            seconds[group] += second


def second_moments(site: Site, value: np.ndarray, seed: Sequence[int], pictures: int) -> Iterator[np.ndarray]:
    """For each group of a site's rows the second moments (inputs, inputs) of what it reads, float64.

    `value` is the tensor (1, C, H, W) that the site reads. Places are chosen by `seed`, fewer where several
    `pictures` are added up.
    """
    inputs = site.rows(np.empty(site.shape, np.int8)).shape[2]
    most = max(_FEWEST_PLACES, _PLACES_PER_INPUT * inputs) // pictures

    def choose(count: int) -> np.ndarray:
        if count <= most:
            return np.arange(count)
        return np.sort(np.random.default_rng([_SEED, *seed]).choice(count, most, replace=False))

    for sample in site.samples(value, choose):
        if site.normalised:
            sample = sample - sample.mean(axis=0)
        yield (sample.T @ sample).astype(np.float64) / len(sample)


def image_input(model: onnx.ModelProto) -> str:
    """The name of the one input that is not a constant."""
    constants = {t.name for t in model.graph.initializer}
    return next(value.name for value in model.graph.input if value.name not in constants)
