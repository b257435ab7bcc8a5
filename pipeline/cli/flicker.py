"""pipeline flicker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size


@click.command("flicker")
@click.argument("models", nargs=-1, required=True, metavar="MODEL... [FRAMES]", type=click.Path(path_type=Path))
@click.option("--size", metavar="WxH", help="Size of the frames; default: 480x272, or a model's fixed size.")
@click.option("--count", type=click.IntRange(2, 500), default=8, show_default=True, help="Number of frames.")
@click.option(
    "--strip", type=click.Path(path_type=Path), help="Write a PNG with consecutive frames of each model."
)
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Write a PNG with a chart of the flicker from frame to frame."
)
@reading_options
@output_options
def command(
    console: Console,
    models: tuple[Path, ...],
    size: str | None,
    count: int,
    strip: Path | None,
    plot: Path | None,
    reading: dict[str, Any],
) -> None:
    """Measure how much each model's output flickers while the picture moves.

    MODEL is whatever build-unity reads, or the folder of a bundle. FRAMES is a video, a folder with consecutive
    frames of your game, or one picture; without it a bundled photograph is used. One picture is turned into three
    clips with exactly known motion: still (with noise), pan and zoom. Between consecutive frames, the motion is
    estimated by optical flow, and pixels that cannot be tracked are ignored. The result is the difference between
    an output and the previous output, moved with the picture, in levels of 255: lower is steadier. The flicker of
    the frames themselves is shown for comparison. Further models are compared with the first one, usually their
    teacher: the ratio of their flicker beyond that of the frames, and SSIM and detail of their outputs, because a
    blurred output is steady too.

    \b
    Examples:
      pipeline flicker candy.pth small.pth
      pipeline flicker candy.pth small.pth frames --strip strip.png --plot plot.png
      pipeline flicker StyleTransfer/Models/Candy shot.png --size 960x540 --json
    """
    from pipeline.flicker.measure import unpainted
    from pipeline.support.files import check_writable

    for place in (strip, plot):
        if place is not None:
            check_writable(place)
    model_paths, frames = _frames_among(models)
    requested = Size.parse(size) if size is not None else None
    subjects, bound = _read(model_paths, reading)
    if bound and requested and bound != requested:
        raise PipelineError(
            "size-does-not-run",
            f"one of the models runs only at {bound}",
            subject="--size",
            remedy="Omit --size.",
        )
    clips = _clips(frames, requested or bound, count)
    results = [unpainted(clips)]
    for name, run in subjects:
        with console.working(f"running {name}"):
            results.append(_stability(name, run, clips))
    _write(clips, results, strip, plot)
    compared = _compared(results)
    if console.as_json:
        rows = [model.as_dict() | extra for model, extra in zip(results, compared, strict=True)]
        console.data({"schema": 1, "frames": count, "models": rows})
        return
    width = max(len(model.name) for model in results)
    console.say(f"{'':<{width}}  flicker  {'  '.join(f'{clip.name:>8}' for clip in clips)}   levels of 255")
    for model in results:
        means = "  ".join(f"{model.means[clip.name]:8.2f}" for clip in clips)
        console.data(f"{model.name:<{width}}  {model.flicker:7.2f}  {means}")
    for model, extra in zip(results, compared, strict=True):
        if extra:
            like = extra["compared"]
            console.say(
                f"{model.name}: {like['flicker']:.2f} of the flicker of {results[1].name} (beyond the frames'), "
                f"SSIM {like['ssim']:.3f}, detail {like['detail']:.2f}"
            )


def _compared(results: list[Any]) -> list[dict[str, Any]]:
    """For each result what is added to its report: from the second model on, its comparison with the first."""
    from pipeline.shrink.steadiness import compare

    found: list[dict[str, Any]] = [{} for _ in results[:2]]
    for model in results[2:]:
        comparison = compare(model, results[1], results[0])
        found.append({} if comparison is None else {"compared": comparison.as_dict()})
    return found


def _frames_among(paths: tuple[Path, ...]) -> tuple[tuple[Path, ...], Path | None]:
    """The models, and the frames if the last argument is a picture, a video or a folder of pictures."""
    from pipeline.support.picture_files import SUFFIXES
    from pipeline.support.video import is_video

    last = paths[-1]
    picture = last.is_file() and (last.suffix.lower() in SUFFIXES or is_video(last))
    bundle = (last / f"{last.resolve().name}.onnx").is_file()
    if not picture and (bundle or not last.is_dir()):
        return paths, None
    models, frames = paths[:-1], last
    if not models:
        raise PipelineError(
            "nothing-to-measure",
            "frames are given, but no model",
            subject=str(last),
            remedy="Name a model before the frames.",
        )
    return models, frames


def _read(models: tuple[Path, ...], reading: dict[str, Any]) -> tuple[list[tuple[str, Any]], Size | None]:
    """(name, run function) of each model, and the fixed size of a model that has one, or None."""
    from pipeline.comparison.sides import model_file, read_side
    from pipeline.sources import ReadOptions
    from pipeline.sources.shared_options import for_each

    subjects, bound = [], None
    own = for_each([model_file(path) for path in models], ReadOptions(**reading))
    for path, options in zip(models, own, strict=True):
        side = read_side(path.name, path, options)
        if side.contract.input.channels != 3 or side.contract.output.channels != 3:
            raise PipelineError(
                "channels-differ",
                "only networks with a colour picture as input and output can be measured",
                subject=str(path),
                remedy="Leave this model out; `pipeline paint` shows its output.",
            )
        bound = side.fixed or bound
        subjects.append((path.name, side.run))
    return subjects, bound


def _clips(frames: Path | None, size: Size | None, count: int) -> Any:
    from pipeline.flicker.measure import SIZE, clip_of_frames, clips_of_file
    from pipeline.support.picture_files import picture_files
    from pipeline.support.video import is_video, stills

    if frames is not None and is_video(frames):
        return (clip_of_frames(stills(frames.resolve(), count, False), size, count, frames.stem),)
    if frames is not None and frames.is_dir():
        return (clip_of_frames(picture_files([frames]), size, count),)
    return clips_of_file(frames, size or SIZE, count)


def _stability(name: str, run: Any, clips: Any) -> Any:
    from pipeline.flicker.measure import stability

    output = run(clips[0].frames[0])
    if output.shape != clips[0].frames[0].shape:
        raise PipelineError(
            "sizes-differ",
            f"the output for a picture of {clips[0].frames[0].shape[3]}x{clips[0].frames[0].shape[2]} is "
            f"{output.shape[3]}x{output.shape[2]}",
            subject=name,
            remedy="Use a --size for which the output has the same size, such as 480x272.",
        )
    return stability(name, run, clips)


def _write(clips: Any, results: Any, strip: Path | None, plot: Path | None) -> None:
    if strip is None and plot is None:
        return
    from pipeline.flicker import drawing as drawn
    from pipeline.support.files import write_file

    if strip is not None:
        write_file(strip, drawn.strip(clips[-1], results))
    if plot is not None:
        write_file(plot, drawn.plot(clips, results))
