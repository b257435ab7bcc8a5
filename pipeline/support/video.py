"""Read and write video files as frames, with PyAV; needs the extra `video`.

A video is an untrusted file: frames are decoded one at a time and bounded in size and number.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.support.errors import MissingDependency, PipelineError

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
"""Container formats that are read, whatever the file's name says. Not playlists, because they refer to other
files."""
LARGEST = 8192 * 8192
"""Most pixels of a frame."""


def is_video(path: Path) -> bool:
    """Whether the file's extension is that of a video."""
    return path.suffix.lower() in SUFFIXES


def require() -> None:
    """Check that PyAV is installed. Raises MissingDependency."""
    _av()


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingDependency("av", "video", "reading and writing videos") from None
    return av


def rate(path: Path) -> Fraction:
    """Frames per second; 25 where the file does not contain it. Raises PipelineError `bad-video`,
    MissingDependency."""
    with _opened(path) as container:
        return Fraction(container.streams.video[0].average_rate or 25)


def frames(path: Path, most: int | None = None) -> Iterator[np.ndarray]:
    """The frames of a video in order, at most `most`, as (H, W, 3) uint8 RGB.

    Raises PipelineError `bad-video`, MissingDependency.
    """
    av = _av()
    with _opened(path) as container:
        stream = container.streams.video[0]
        _check_size(path, stream)
        try:
            for number, frame in enumerate(container.decode(stream)):
                if most is not None and number >= most:
                    return
                _check_size(path, frame)
                yield frame.to_ndarray(format="rgb24")
        except (av.error.FFmpegError, ValueError) as error:
            raise _bad(path, str(error)) from error


@functools.cache
def stills(path: Path, most: int, spread: bool) -> tuple[Path, ...]:
    """At most `most` frames of a video as PNG files, in a folder that is removed when the program ends.

    With `spread` they are taken at equal distances from the whole video, else from its start. Raises PipelineError
    `bad-video`, `no-pictures`, MissingDependency.
    """
    from PIL import Image

    step = 1
    if spread:
        with _opened(path) as container:
            stream = container.streams.video[0]
            seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            total = stream.frames or int(seconds * float(stream.average_rate or 25))
        step = max(-(-total // most), 1)
    folder = Path(tempfile.mkdtemp(prefix="pipeline-video-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found: list[Path] = []
    for number, frame in enumerate(frames(path, most * step)):
        if number % step == 0 and len(found) < most:
            found.append(folder / f"{path.stem[:60]}.{number:06}.png")
            Image.fromarray(frame).save(found[-1], compress_level=1)
    if not found:
        raise PipelineError(
            "no-pictures", "the video has no frames", subject=str(path), remedy="Use another video."
        )
    return tuple(found)


def numbered(path: Path, numbers: frozenset[int]) -> dict[int, Path]:
    """The frames with these numbers, from 0, as PNG files in a folder that is removed when the program ends.

    Numbers after the last frame are left out. Raises PipelineError `bad-video`, MissingDependency.
    """
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="pipeline-video-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found: dict[int, Path] = {}
    for number, frame in enumerate(frames(path, max(numbers, default=-1) + 1)):
        if number in numbers:
            found[number] = folder / f"{path.stem[:60]}.{number:06}.png"
            Image.fromarray(frame).save(found[number], compress_level=1)
    return found


def write(path: Path, pictures: Iterable[np.ndarray], frames_per_second: Fraction) -> int:
    """Write (H, W, 3) uint8 RGB frames of equal size as an H.264 file; returns the number of frames.

    An odd width or height loses one column or row, because the format requires even sizes. The file gets its name
    only when it is complete.
    """
    av = _av()
    partial = path.with_name(f".{path.stem[:40]}.partial{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    try:
        with av.open(str(partial), "w") as container:
            stream = None
            for picture in pictures:
                height, width = (size // 2 * 2 for size in picture.shape[:2])
                if stream is None:
                    stream = container.add_stream("libx264", rate=frames_per_second, options={"crf": "16"})
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                frame = av.VideoFrame.from_ndarray(picture[:height, :width].copy(), format="rgb24")
                container.mux(stream.encode(frame))
                count += 1
            if stream is not None:
                container.mux(stream.encode())
        if count:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _check_size(path: Path, stream: Any) -> None:
    """Raise PipelineError `bad-video` for frames that are too large; each frame can have its own size."""
    if stream.width * stream.height > LARGEST:
        raise _bad(path, f"its frames are {stream.width}x{stream.height}")


def _opened(path: Path) -> Any:
    av = _av()
    if path.exists() and not path.is_file():
        raise _bad(path, "it is not a regular file")
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file", "format_whitelist": _FORMATS})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _bad(path, str(error)) from error
    if not container.streams.video:
        container.close()
        raise _bad(path, "it has no video stream")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise _bad(path, "its codec is not known")
    return container


def _bad(path: Path, why: str) -> PipelineError:
    return PipelineError(
        "bad-video",
        f"this video cannot be read ({why[:160]})",
        subject=str(path),
        remedy="Use an MP4, MOV, MKV, WebM or AVI file, or a folder with its frames as PNG files.",
    )
