"""Training pictures: files, and random crops of them that are determined by a seed and a number.

Crop number n is the same in every process and at any time, so that a run can be resumed, distributed over
processes, or fed by several loaders. Arrays are (3, H, W) uint8, RGB.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import check_picture, open_picture

SMALLEST = 64
"""Pictures with a shorter side, in pixels, are skipped."""
CACHE_PIXELS = 64_000_000
"""Maximum number of decoded pixels in the cache: 192 MB."""


class Pictures:
    """Picture files, decoded on demand; the most recently used ones stay decoded.

    All are decoded once at the start, so that a damaged file is reported before the training and not during it.
    Raises PipelineError `bad-picture` for a file that cannot be read, `no-pictures` when all are too small.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            sizes = list(pool.map(check_picture, files))
        self.files = [file for file, size in zip(files, sizes, strict=True) if min(size) >= SMALLEST]
        if not self.files:
            raise PipelineError(
                "no-pictures",
                f"each of the {len(files)} pictures has a side under {SMALLEST} pixels",
                subject=str(files[0]) if files else "--images",
                remedy="Use larger pictures: screenshots of your game, or photographs.",
            )
        self._decoded: OrderedDict[Path, Image.Image] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image.Image:
        file = self.files[index]
        with self._lock:
            if file in self._decoded:
                self._decoded.move_to_end(file)
                return self._decoded[file]
        picture = open_picture(file)
        with self._lock:
            self._decoded[file] = picture
            while (
                len(self._decoded) > 1 and sum(p.width * p.height for p in self._decoded.values()) > CACHE_PIXELS
            ):
                self._decoded.popitem(last=False)
        return picture


class Ahead:
    """Computes the next batches in other threads; with 0 threads, on request.

    `make(number)` must always return the same for a number.
    """

    def __init__(self, make: Callable[[int], np.ndarray], threads: int) -> None:
        self.make, self.threads = make, threads
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._coming: dict[int, Future[np.ndarray]] = {}

    def get(self, number: int) -> np.ndarray:
        """The result for `number`; computing the next ones begins."""
        if self._pool is None:
            return self.make(number)
        for later in range(number, number + 2 * self.threads):
            if later not in self._coming:
                self._coming[later] = self._pool.submit(self.make, later)
        self._coming = {n: future for n, future in self._coming.items() if n >= number}
        return self._coming.pop(number).result()


class Crops:
    """Random crops with augmentation: scaled, rotated, mixed and recoloured, so that few pictures are enough."""

    def __init__(self, pictures: Pictures, seed: int, *, recolour: bool = True) -> None:
        self.pictures = pictures
        self.seed = seed
        self.recolour = recolour

    def batch(self, number: int, count: int, height: int, width: int) -> np.ndarray:
        """`count` crops as (count, 3, height, width) uint8; the same for the same number."""
        rng = np.random.default_rng([self.seed, number])
        return np.stack([self._crop(rng, height, width) for _ in range(count)])

    def _crop(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        kind = rng.random()
        if not self.recolour:
            return _array(self._photograph(rng, height, width))
        if kind < 0.04:
            crop = _shapes(rng, height, width)
        else:
            crop = self._photograph(rng, height, width)
            if kind < 0.14:
                crop = Image.blend(crop, self._photograph(rng, height, width), float(rng.uniform(0.1, 0.9)))
            elif kind < 0.24:
                other, cut = self._photograph(rng, height, width), int(rng.uniform(0.2, 0.8) * width)
                crop.paste(other.crop((0, 0, cut, height)), (0, 0))
        return _recoloured(rng, crop)

    def _photograph(self, rng: np.random.Generator, height: int, width: int) -> Image.Image:
        """A part of a random picture, scaled by 0.4 to 2.5, rotated by multiples of 90 degrees and flipped."""
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        turn = int(rng.integers(8)) if self.recolour else int(rng.integers(2))
        if turn >= 4:  # a quarter turn: cut with the sides exchanged
            height, width = width, height
        scale = math.exp(rng.uniform(math.log(0.4), math.log(2.5)))
        most = min(picture.width / width, picture.height / height)
        scale = min(1 / scale, most)
        wide, tall = width * scale, height * scale
        left, top = rng.uniform(0, picture.width - wide), rng.uniform(0, picture.height - tall)
        filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
        box = (left, top, min(left + wide, picture.width), min(top + tall, picture.height))
        crop = picture.resize((width, height), filters[int(rng.integers(3))], box=box)
        return crop.transpose(_TURNS[turn]) if turn else crop


_TURNS = (
    Image.Transpose.FLIP_LEFT_RIGHT,  # not used: turn 0 leaves a crop as it is
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)


def _shapes(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """A smooth gradient with a few flat polygons and lines."""
    colours = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    crop = Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(crop)
    for _ in range(rng.integers(1, 8)):
        points = [(float(x) * width, float(y) * height) for x, y in rng.uniform(-0.2, 1.2, (3, 2))]
        red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            draw.polygon(points, fill=(red, green, blue))
        else:
            draw.line(points, fill=(red, green, blue), width=int(rng.integers(1, 9)))
    return crop


def _recoloured(rng: np.random.Generator, crop: Image.Image) -> np.ndarray:
    """Random blur or JPEG artefacts, saturation, gains, gamma and noise."""
    if rng.random() < 0.1:
        crop = crop.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 2.0))))
    if rng.random() < 0.15:
        buffer = io.BytesIO()
        crop.save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
        crop = Image.open(buffer).convert("RGB")
    if rng.random() < 0.5:
        crop = ImageEnhance.Color(crop).enhance(float(rng.uniform(0.2, 1.8)))
    pixels = np.asarray(crop, np.float32) / 255
    if rng.random() < 0.3:
        pixels = pixels[..., rng.permutation(3)]
    if rng.random() < 0.05:
        pixels = 1 - pixels
    if rng.random() < 0.6:
        gains = rng.uniform(0.6, 1.25) * rng.uniform(0.8, 1.2, 3).astype(np.float32)
        pixels = np.clip(pixels * gains, 0, 1) ** np.float32(rng.uniform(0.6, 1.7))
    if rng.random() < 0.15:
        pixels = pixels + rng.normal(0, rng.uniform(0.002, 0.02), pixels.shape).astype(np.float32)
    return np.ascontiguousarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1))


def _array(crop: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(crop, np.uint8).transpose(2, 0, 1))
