"""Pairs of a frame and its painting, with the guides of the frame, and random patches of them. Imports torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.contract import Guide
from pipeline.shrink.pictures import as_tensor
from pipeline.support import video
from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import open_picture, picture_files
from pipeline.verify.guide_pictures import GuidePictures

MOST_PIXELS = 200_000_000
"""Maximum number of decoded pixels of all pairs together: 1.2 GB."""
_ASPECT = 0.02
"""Largest relative difference between the aspect ratios of a frame and its painting: rounding of a smaller
copy."""


@dataclass(frozen=True)
class Pair:
    """A frame and its painting of one size, uint8: `painted` (3, H, W) is RGB, `frame` (C, H, W) is RGB and
    guides."""

    name: str
    frame: np.ndarray
    painted: np.ndarray


@dataclass(frozen=True)
class Frame:
    """A frame without a painting, and its guides."""

    path: Path
    guides: GuidePictures | None = None

    def tensor(self) -> Tensor:
        """The frame as (1, C, H, W) in grey levels, downscaled as a sample; guides after the colour."""
        picture = as_tensor(self.path)
        if self.guides is None:
            return picture
        return torch.cat((picture, torch.from_numpy(self.guides.load(*picture.shape[2:]) * 255)), 1)


def pairs_of(
    frames: Path, painted: Path, guides: Sequence[Guide] = (), guides_folder: Path | None = None
) -> tuple[list[Pair], list[Frame]]:
    """The pairs of two folders, matched by file name without extension, and the frames without a painting.

    If `frames` is a video, the name of a painting ends in the number of its frame, counted from 0. A painting of
    another size but the same aspect ratio is resized to its frame. The guides of the frame NAME are
    GUIDES_FOLDER/depth/NAME.png and so on (pipeline.verify.guide_pictures); frames without a painting are left out
    if they have none. Raises PipelineError `no-pairs`, `pair-differs`, `too-many-pixels`, `no-pictures`,
    `bad-picture`, `file-not-found`, `guide-missing`, `guide-size-differs`.
    """
    paintings = {_key(path, painted): path for path in picture_files([painted])}
    if frames.is_file() and video.is_video(frames):
        whole = _of_video(frames, paintings)
    else:
        whole = {_key(path, frames): path for path in picture_files([frames])}
    unknown = sorted(set(paintings) - set(whole))
    if unknown:
        raise PipelineError(
            "no-pairs",
            f"{paintings[unknown[0]].name} has no frame of the same name in {frames}"
            if frames.is_dir()
            else f"{frames} has no frame {paintings[unknown[0]].stem}: it ends before",
            subject="--painted",
            remedy="Give each painting the file name of its frame.",
        )

    def guides_of(key: str) -> GuidePictures | None:
        file = whole[key]
        stem = file.relative_to(frames).with_suffix("").as_posix() if frames.is_dir() else key
        found = GuidePictures(tuple(guides), guides_folder, stem) if guides else None
        if found is not None:
            found.check(file)
        return found

    pairs, pixels = [], 0
    for key, path in sorted(paintings.items()):
        frame, painting = open_picture(whole[key]), open_picture(path)
        if abs(frame.width / frame.height / (painting.width / painting.height) - 1) > _ASPECT:
            raise PipelineError(
                "pair-differs",
                f"{path.name} is {painting.width}x{painting.height} and its frame {frame.width}x{frame.height}: "
                "the aspect ratios differ",
                subject=str(path),
                remedy="Paint the whole frame, and do not crop the result.",
            )
        if painting.size != frame.size:
            painting = painting.resize(frame.size, Image.Resampling.LANCZOS)
        pixels += frame.width * frame.height
        if pixels > MOST_PIXELS:
            raise PipelineError(
                "too-many-pixels",
                f"the pairs have more than {MOST_PIXELS:,} pixels in total",
                subject="--painted",
                remedy="Use smaller pictures, or fewer: a handful is enough.",
            )
        channels, extra = _array(frame), guides_of(key)
        if extra is not None:
            levels = np.rint(extra.load(frame.height, frame.width)[0] * 255).astype(np.uint8)
            channels = np.concatenate((channels, levels))
        pairs.append(Pair(path.stem, channels, _array(painting)))
    unpainted = []
    for key, path in sorted(whole.items()):
        if key not in paintings:
            try:
                unpainted.append(Frame(path, guides_of(key)))
            except PipelineError as error:
                if error.code != "guide-missing":
                    raise
    return pairs, unpainted


def _of_video(path: Path, paintings: Mapping[str, Path]) -> dict[str, Path]:
    """The frames of a video by the names of their paintings, and one unpainted frame between each two of them."""
    numbers: dict[str, int] = {}
    for key, painting in paintings.items():
        digits = re.search(r"(\d{1,9})$", key)
        if digits is None:
            raise PipelineError(
                "no-pairs",
                f"the name of {painting.name} does not end in a number, and frames of a video have no names",
                subject="--painted",
                remedy="Name each painting by the number of its frame, counted from 0: 0040.png.",
            )
        numbers[key] = int(digits[1])
    known = sorted(set(numbers.values()))
    between = {(a + b) // 2 for a, b in itertools.pairwise(known)} - set(known)
    found = video.numbered(path, frozenset(known) | between)
    unpainted = {f"{number:04} (unpainted)": found[number] for number in sorted(between)}
    return unpainted | {key: found[number] for key, number in numbers.items() if number in found}


def _key(path: Path, folder: Path) -> str:
    inside = path.relative_to(folder) if folder.is_dir() else Path(path.name)
    return inside.with_suffix("").as_posix().lower()


def _array(picture: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(picture, np.uint8).transpose(2, 0, 1))


def patches(pairs: Sequence[Pair], seed: int, number: int, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` random patches of the pairs, uint8: frames (count, C, side, side), and paintings (count, 3, side,
    side) at the same places.

    Uniform over the pixels of all pairs; determined by `seed` and `number`.
    """
    rng = np.random.default_rng([seed, number])
    areas = np.array([pair.frame.shape[1] * pair.frame.shape[2] for pair in pairs], np.float64)
    found = []
    for index in rng.choice(len(pairs), count, p=areas / areas.sum()):
        pair = pairs[index]
        top, left = (int(rng.integers(max(size - side, 0) + 1)) for size in pair.frame.shape[1:])
        found.append([picture[:, top : top + side, left : left + side] for picture in (pair.frame, pair.painted)])
    first, second = (np.stack([one[which] for one in found]) for which in (0, 1))
    return first, second
