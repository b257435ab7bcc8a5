"""Runs a network on pictures, folders of pictures and videos (`pipeline paint`).

Pictures keep their own size unless a size is given. If a network needs sizes that are multiples of some number of
pixels, the picture is padded by repeating its edge and the output is cropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.support import video
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.comparison.sides import Side
    from pipeline.support.size import Size
    from pipeline.verify.guide_pictures import GuidePictures

MULTIPLES = (1, 4, 8, 16, 32, 64)
"""Multiples of pixels that are tried, until the network runs and keeps the picture's proportions."""
_GAP = 8
"""White pixels between the two pictures of a side-by-side."""
Progress = Callable[[str, int, int | None], None]
"""Called after each picture: the name of the source, how many are done, and of how many (None: not known)."""


@dataclass(frozen=True)
class Job:
    """One source and its output: a picture file, a folder of them, or a video."""

    source: Path
    output: Path
    kind: str
    """picture, folder or video"""


def plan(sources: list[Path], stem: str, output: Path | None) -> list[Job]:
    """The output path of each source: in the current folder, or under `output`.

    `output` is a file where there is one picture or video, else a folder. Raises PipelineError `file-not-found`,
    `no-pictures`, `not-a-picture`, `bad-output`, `conflicting-options`.
    """
    from pipeline.support.picture_files import SUFFIXES, picture_files

    jobs = []
    for source in sources:
        if not source.exists():
            raise PipelineError(
                "file-not-found", "no such file or folder exists", subject=str(source), remedy="Check the path."
            )
        kind = "folder" if source.is_dir() else "video" if video.is_video(source) else "picture"
        if kind == "folder":
            picture_files([source])
        elif kind == "picture" and source.suffix.lower() not in SUFFIXES:
            raise PipelineError(
                "not-a-picture",
                f"{source.suffix or 'a file without extension'} is not a supported picture or video format",
                subject=str(source),
                remedy=f"Supported are {', '.join((*SUFFIXES, *video.SUFFIXES))}, and folders of pictures.",
            )
        if kind == "video":
            video.require()
        ending = {"picture": ".png", "video": ".mp4", "folder": ""}[kind]
        allowed = {"picture": (".png",), "video": video.SUFFIXES, "folder": ()}[kind]
        if output is not None and output.suffix and kind != "folder" and output.suffix.lower() not in allowed:
            raise PipelineError(
                "bad-output",
                f"a {kind} cannot be written as {output.suffix}",
                subject=str(output),
                remedy=f"Name a file that ends with {ending}, or a folder.",
            )
        name = f"{source.resolve().name if kind == 'folder' else source.stem}.{stem}{ending}"
        if output is None:
            place = Path.cwd() / name
        elif len(sources) == 1 and (kind == "folder" or output.suffix):
            place = output
        else:
            place = output / name
        jobs.append(Job(source, place, kind))
    places = [job.output for job in jobs]
    for job in jobs:
        if places.count(job.output) > 1 and not (output is not None and output.suffix):
            raise PipelineError(
                "conflicting-options",
                f"two sources would be written to the same file {job.output}",
                subject=str(job.source),
                remedy="Run the command once for each, with different --output.",
            )
    if output is not None and output.suffix and len(sources) > 1:
        raise PipelineError(
            "conflicting-options",
            f"{len(sources)} sources cannot be written to one file",
            subject="--output",
            remedy="Use a folder as --output, or one source.",
        )
    return jobs


class Painter:
    """A network as a function of 8-bit pictures of any size."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._multiple: int | None = None

    @property
    def fixed(self) -> Size | None:
        """The only size at which the network runs; None where it runs at any."""
        return self.side.fixed

    def __call__(self, levels: np.ndarray, guides: GuidePictures | None = None) -> np.ndarray:
        """The network's output for an (H, W, 3) uint8 RGB picture, as (H', W', 3) uint8.

        `guides` are those of the picture, for a network that takes some. Raises PipelineError `size-does-not-run`
        where it runs at no multiple that is tried.
        """
        picture = levels.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
        if self.side.contract.input.channels == 1:
            picture = np.rint(picture.mean(axis=1, keepdims=True) * 255).astype(np.float32) / np.float32(255)
        height, width = levels.shape[:2]
        if guides is not None:
            picture = np.concatenate([picture, guides.load(height, width)], axis=1)
        error: Exception | None = None
        for multiple in (self._multiple,) if self._multiple else MULTIPLES:
            tall, wide = (-(-size // multiple) * multiple for size in (height, width))
            extended = np.pad(picture, ((0, 0), (0, 0), (0, tall - height), (0, wide - width)), mode="edge")
            try:
                output = self.side.run(extended)
            except Exception as raised:  # whatever the engine raises for a size that does not fit
                error = raised
                continue
            scale = output.shape[3] / wide
            if output.ndim != 4 or output.shape[2] != round(tall * scale) or output.shape[1] not in (1, 3):
                continue
            self._multiple = multiple
            cut = output[0, :, : round(height * scale), : round(width * scale)]
            result = np.rint(np.clip(np.nan_to_num(cut), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            return np.repeat(result, 3, axis=2) if result.shape[2] == 1 else result
        raise PipelineError(
            "size-does-not-run",
            f"the network does not run at {width}x{height}, even if padded to multiples of {MULTIPLES[-1]}"
            + (f" ({str(error).splitlines()[0][:120]})" if error and str(error) else ""),
            subject=str(self.side.path),
            remedy="Use another --size.",
        )


def paint(
    painter: Painter,
    job: Job,
    *,
    size: Size | None,
    beside: bool,
    report: Progress = lambda name, done, all: None,
    guides: Path | None = None,
) -> int:
    """Run the network on one source and write the outputs; returns the number of pictures.

    `size` is None for each picture's own (or the only one at which the network runs). `beside` puts the source to
    the left of the output. `guides` is the folder of the pictures' guides. Raises PipelineError
    `bad-picture`, `bad-video`, `size-does-not-run`.
    """
    from pipeline.support.files import write_file
    from pipeline.support.picture_files import open_picture, picture_files

    run_size = painter.fixed or size

    def run(image: Image.Image, file: Path | None = None) -> np.ndarray:
        if run_size is not None:
            from PIL import Image, ImageOps

            image = ImageOps.fit(image, (run_size.width, run_size.height), Image.Resampling.LANCZOS)
        levels = np.asarray(image)
        output_levels = painter(levels, None if file is None else guides_of(painter, job, file, guides))
        return _beside(levels, output_levels) if beside else output_levels

    if job.kind == "picture":
        write_file(job.output, _png(run(open_picture(job.source), job.source)))
        report(job.source.name, 1, 1)
        return 1
    if job.kind == "folder":
        files = picture_files([job.source])
        for number, file in enumerate(files, start=1):
            place = job.output / file.relative_to(job.source).with_suffix(".png")
            write_file(place, _png(run(open_picture(file), file)))
            report(job.source.name, number, len(files))
        return len(files)
    return video.write(job.output, _output_frames(job, run, report), video.rate(job.source))


def guides_of(painter: Painter, job: Job, file: Path, folder: Path | None) -> GuidePictures | None:
    """The guides of one picture of a job: FOLDER/depth/NAME.png, NAME with the subfolders of the job's folder."""
    from pipeline.verify.guide_pictures import GuidePictures

    name = file.relative_to(job.source) if job.kind == "folder" else Path(file.name)
    taken = painter.side.contract.input.guides
    return GuidePictures(taken, folder, name.with_suffix("").as_posix()) if taken else None


def check_guides(painter: Painter, jobs: Sequence[Job], folder: Path | None) -> None:
    """Raise PipelineError, before any work, for a network and guides that do not belong together.

    Codes: `auxiliary-inputs`, `conflicting-options`, and those of `GuidePictures.check`.
    """
    from pipeline.sources.guides import undeclared
    from pipeline.support.picture_files import picture_files

    side = painter.side.contract.input
    if not side.guides and side.channels not in (1, 3):
        raise PipelineError(
            "auxiliary-inputs",
            f"the network has {side.channels} input channels, but a picture file has 3 (or 1)",
            subject=str(painter.side.path),
            remedy=undeclared(side.channels) or "`pipeline convert` supports such networks.",
        )
    if bool(side.guides) != (folder is not None):
        raise PipelineError(
            "conflicting-options",
            "the network takes guides, but no folder with their pictures is given"
            if side.guides
            else "the network takes only the colour",
            subject="--guides",
            remedy="Give the folder with --guides." if side.guides else "Omit it, or declare --input-channels.",
        )
    for job in jobs if side.guides else ():
        if job.kind == "video":
            raise PipelineError(
                "conflicting-options",
                "a video has no pictures of its guides",
                subject=str(job.source),
                remedy="Extract its frames as pictures, and give the folder.",
            )
        for file in [job.source] if job.kind == "picture" else picture_files([job.source]):
            pictures = guides_of(painter, job, file, folder)
            if pictures is not None:
                pictures.check(file)


def _output_frames(job: Job, run: Callable[[Any], np.ndarray], report: Progress) -> Iterator[np.ndarray]:
    from PIL import Image

    for number, frame in enumerate(video.frames(job.source), start=1):
        yield run(Image.fromarray(frame))
        report(job.source.name, number, None)


def _beside(levels: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Source and output in one picture, at the size of the output."""
    from PIL import Image

    height, width = output.shape[:2]
    source = np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC))
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    return np.concatenate([source, gap, output], axis=1)


def _png(levels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()
