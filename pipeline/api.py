"""The functions that Python calls: what `import pipeline` offers.

They do what the commands of the same names do. Options are keywords; paths may be text, and a size may be
"960x540". Errors are PipelineError, with options called as they are called here (`input_range`, not
`--input-range`).
"""

from __future__ import annotations

import inspect as _inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from pipeline import targets
from pipeline.build.options import BuildOptions, Option, Step, all_options, converted, source_options, unknown
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.build.keywords import BuildKeywords, ConvertKeywords, ReadKeywords
    from pipeline.build.result import BuildResult
    from pipeline.comparison import Comparison
    from pipeline.sources import ReadOptions
    from pipeline.validation.files import Validation


def _silent(name: str, found: str) -> None:
    pass


def build_unity(
    source: str | Path,
    *,
    options: BuildOptions | None = None,
    step: Step = _silent,
    **chosen: Unpack[BuildKeywords],
) -> BuildResult:
    """Turn a trained network into a folder that a Unity project can use, and put it there.

    `source`: a checkpoint or model (.pth .pt .model .pt2 .safetensors .h5 .onnx). Without `output` and `project`
    the result goes into the Unity project around the current folder, else into ./UnityProject. `step` is called
    for each step: its name and what it found. `result.bundle` is the folder of the model, `result.report` the data
    of report.json.

    Raises PipelineError for what the caller can fix, and ProofFailed (one of them) where the built network would
    not compute what the source does; in both cases nothing was written.
    """
    from pipeline.build import job

    with _python_words():
        return job.build_unity(source, options, step=step, **chosen)


def convert(
    source: str | Path,
    output: str | Path | None = None,
    *,
    options: BuildOptions | None = None,
    step: Step = _silent,
    **chosen: Unpack[ConvertKeywords],
) -> BuildResult:
    """Turn a trained network into a model file that the target imports and computes right.

    `output` is the file; without it NAME.TARGET.onnx in the current folder. The network keeps its own value
    ranges, unless `input_range` and `output_range` are given: then it takes and gives RGB 0..1.

    Raises PipelineError and ProofFailed as `build_unity` does.
    """
    from pipeline.build import job

    with _python_words():
        return job.convert(source, output, options, step=step, **chosen)


def validate(
    files: str | Path | Iterable[str | Path],
    *,
    targets: str | Iterable[str] = (),
    fail_on: str = "wrong",
    measure: bool = False,
) -> Validation:
    """What Unity's console will say about .onnx files, and what it will not say.

    `files`: a file, folder or glob, or several. `targets`: names, as `pipeline targets` lists them; the default
    target where none is given. `fail_on`: the mildest severity that makes `exit_code` 1. `measure` runs files with
    `wrong` findings in ONNX Runtime, to say how large the error is. `result.verdicts` holds the findings of each
    file.

    Raises PipelineError `unknown-target`; a file that cannot be read is a verdict with an `error`.
    """
    from pipeline.validation.files import check_files
    from pipeline.validation.findings import Severity

    with _python_words():
        levels = [level.value for level in Severity]
        if fail_on not in levels:
            raise PipelineError(
                "bad-option",
                f"{fail_on!r} is not a severity",
                subject="--fail-on",
                remedy=f"Use {', '.join(levels)}.",
            )
        names = [targets] if isinstance(targets, str) else list(targets)
        paths = [files] if isinstance(files, (str, Path)) else files
        return check_files(map(Path, paths), names or None, fail_on=Severity(fail_on), measure=measure)


def compare(
    a: str | Path,
    b: str | Path,
    *,
    target: str | None = None,
    both: bool = False,
    size: Size | str | None = None,
    tolerance: float = 0.5,
    picture: str | Path | None = None,
    difference: str | Path | None = None,
    bisect: bool = False,
    **reading: Unpack[ReadKeywords],
) -> Comparison:
    """How far apart the outputs of two models are, in levels of 255.

    `target`: B is run as this target computes it, with `both` A too. `difference`: a PNG to write. `bisect`: find
    the first node where they diverge. The options of reading hold for the files that they can hold for:
    `architecture` and `prefix` for checkpoints, ranges where the file does not tell them, `take`, `bind` and
    `mask` for the .onnx files that have those inputs and outputs. `result.passed` says whether the largest
    difference is within `tolerance`.

    Raises PipelineError where they cannot be compared, ProofFailed where the target makes no comparable picture.
    """
    from pipeline.comparison import CompareOptions
    from pipeline.comparison import compare as compared

    with _python_words():
        options = CompareOptions(
            target=target,
            both=both,
            size=Size.parse(size) if isinstance(size, str) else size,
            tolerance=tolerance,
            picture=None if picture is None else Path(picture),
            difference=None if difference is None else Path(difference),
            bisect=bisect,
            reading=_reading(reading),
        )
        return compared(Path(a), Path(b), options)


def inspect(
    source: str | Path, *, target: str = targets.DEFAULT, **reading: Unpack[ReadKeywords]
) -> dict[str, Any]:
    """What a model file is, and what it costs once it is lowered for `target`, as data; nothing in it is run.

    Raises PipelineError for what cannot be read.
    """
    from pipeline.build.inspection import inspect as inspected

    with _python_words():
        return inspected(source, _reading(reading), target=target)


def _reading(given: ReadKeywords) -> ReadOptions:
    """Raises PipelineError `unknown-option` and `bad-option`."""
    from pipeline.sources import ReadOptions

    known = {held.name for held in source_options()}
    for name in given:
        if name not in known:
            raise unknown(name, known)
    return ReadOptions(**converted(BuildOptions, given))


# --- signatures ----------------------------------------------------------------------------------------------


def _show_options(function: Callable[..., Any], known: Sequence[Option]) -> None:
    """Give `help` and completion the options that a function has."""
    parts = _inspect.signature(function)
    named = [held for held in parts.parameters.values() if held.kind is not held.VAR_KEYWORD]
    given = {held.name for held in named}
    named += [
        _inspect.Parameter(
            held.name, _inspect.Parameter.KEYWORD_ONLY, default=held.default, annotation=held.annotation
        )
        for held in known
        if held.name not in given
    ]
    function.__signature__ = parts.replace(parameters=named)  # type: ignore[attr-defined]
    lines = [
        f"    {held.name}: {'False: ' if held.declaration.off else ''}{python_words(held.declaration.help)}"
        for held in known
    ]
    function.__doc__ = f"{function.__doc__}\n    Options:\n\n" + "\n".join(lines) + "\n    "


# --- errors --------------------------------------------------------------------------------------------------


@contextmanager
def _python_words() -> Iterator[None]:
    """Errors name options as keywords."""
    try:
        yield
    except PipelineError as error:
        flags = {held.flag: held.name for held in all_options()}
        error.subject = flags.get(error.subject) or python_words(error.subject)
        error.message = python_words(error.message)
        error.remedy = python_words(error.remedy)
        error.args = (error.message,)
        raise


_VALUE = r"(?:-?\d|[A-Z]|(?=[\w.:/-]*[\d_:=/])|(?=\w+-\w))[\w.:/=-]*\w"
"""A word behind an option that is its value, and not the next one of the sentence."""
_OPTION = re.compile(rf"(?<![\w-])--([a-z][a-z-]*[a-z])(?:[ =]({_VALUE}))?")


def python_words(text: str) -> str:
    """`--input-range 0..255` as `input_range="0..255"`, `--force` as `force=True`; what is not an option stays."""
    flags = {held.flag: f"{held.name}={not held.default}" for held in all_options() if held.type is bool}

    def keyword(found: re.Match[str]) -> str:
        if f"--{found[1]}" in flags:
            return flags[f"--{found[1]}"] + (f" {found[2]}" if found[2] else "")
        name = found[1].replace("-", "_")
        if found[2] is None:
            return name
        number = re.fullmatch(r"\d+(\.\d+)?", found[2])
        return f"{name}={found[2]}" if number else f'{name}="{found[2]}"'

    return _OPTION.sub(keyword, text)


_show_options(build_unity, [held for held in all_options() if "build-unity" in held.declaration.commands])
_show_options(convert, [held for held in all_options() if "convert" in held.declaration.commands])
_show_options(compare, source_options())
_show_options(inspect, source_options())
