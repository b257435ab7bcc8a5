"""Comparing two models by their outputs, each run as itself or as a target computes it.

`compare` runs both on a picture and on noise and measures in levels of 255; on request it names the first node
where they diverge (`verify.bisect`) and writes a picture of the difference (`verify.difference_picture`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.comparison.sides import Side, model_file, read_side
from pipeline.sources import ReadOptions
from pipeline.support.errors import PipelineError, ProofFailed
from pipeline.support.files import check_writable
from pipeline.support.picture_files import check_picture
from pipeline.support.plain_text import plural
from pipeline.support.size import Size
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    from pipeline.verify.bisect import Divergence
    from pipeline.verify.compare import Difference

_SIZE = Size(320, 180)
"""The default size: that of the golden frame (`build.lowering`)."""
_SMALL = Size(80, 64)
"""For bisecting, which holds every tensor in memory."""


@dataclass(frozen=True)
class CompareOptions:
    """How two models are compared; the options of `pipeline compare`."""

    target: str | None = None
    """B is run as this target computes it."""
    both: bool = False
    """So is A."""
    size: Size | None = None
    """None: a size near 320x180 at which both run, or the only one at which one of them runs."""
    tolerance: float = 0.5
    """Largest difference that passes, in levels of 255."""
    picture: Path | None = None
    """None is the bundled photograph."""
    difference: Path | None = None
    """A PNG to write: A, B and their amplified difference."""
    bisect: bool = False
    """Name the first node where they diverge."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """How the two are read; each option applies to the sides whose format it fits (`sources.shared_options`)."""


@dataclass
class Comparison:
    """The differences between A and B. `as_dict` is data without paths or times of this machine."""

    a: Side
    b: Side
    tolerance: float
    differences: tuple[Difference, ...] = ()
    divergence: Divergence | None = None
    bisected_at: Size | None = None
    """The size of the bisection; None without `CompareOptions.bisect`."""
    difference_file: Path | None = None
    amplification: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def worst(self) -> Difference:
        return max(self.differences, key=lambda difference: difference.max_levels)

    @property
    def passed(self) -> bool:
        return bool(self.differences) and self.worst.max_levels <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        from pipeline.verify.compare import round_up

        report: dict[str, Any] = {
            "schema": 1,
            "a": self.a.as_dict(),
            "b": self.b.as_dict(),
            "passed": self.passed,
            "tolerance_levels": self.tolerance,
            "would_have_passed_at": round_up(self.worst.max_levels) if self.differences else None,
            "comparisons": [difference.as_dict() for difference in self.differences],
        }
        if self.difference_file is not None:
            report["difference_picture"] = {
                "file": self.difference_file.name,
                "input": self.differences[0].name,
                "amplification": None if self.amplification is None else round(self.amplification, 3),
            }
        if self.bisected_at is not None:
            first_parting = self.divergence.as_dict() if self.divergence else None
            report["bisect"] = {
                "height": self.bisected_at.height,
                "width": self.bisected_at.width,
                "first_parting": first_parting,
            }
        return report | {"notes": self.notes}


@on_a_file
def compare(a: str | Path, b: str | Path, options: CompareOptions | None = None) -> Comparison:
    """Run two models on a picture and on noise, and measure how far apart they are.

    `a` and `b` are any sources, or bundle folders. A difference above the tolerance is a result
    (`Comparison.passed`), not an error. Raises PipelineError for what cannot be read or compared (no image
    contract, other channels, other sizes), and ProofFailed `target-differs` when the target makes a picture of
    another size of it or none at all.
    """
    from pipeline import targets
    from pipeline.sources.shared_options import for_each
    from pipeline.verify.compare import difference

    options = options or CompareOptions()
    _check(options)
    target = targets.get(options.target) if options.target else None
    of_a, of_b = for_each([model_file(source) for source in (a, b)], options.reading)
    first = read_side("A", a, of_a, planes=True)
    if options.both and first.file is not None:
        first = replace(first, target=target)
    second = read_side("B", b, of_b, target, planes=True)
    result = Comparison(first, second, options.tolerance)
    result.notes += _notes(result, options)

    trial = _first_that_runs(first, second, options)
    if not trial.pairs:
        if options.bisect and target is not None:
            _bisect(result, trial.size, trial.inputs["picture"])
        raise _not_comparable(result, trial)
    result.differences = tuple(difference(*pair, name) for name, pair in trial.pairs.items())
    if options.bisect:
        name = result.worst.name
        for size in dict.fromkeys((_small(options, trial, first, second), trial.size)):
            _bisect(result, size, _inputs(size, first, options)[name])
            if result.divergence is not None or result.passed:
                break
    if options.difference is not None:
        _write_difference(result, trial, options.difference)
    return result


# --- before anything runs ---------------------------------------------------------------------------------------


def _check(options: CompareOptions) -> None:
    if not 0 <= options.tolerance <= 255:
        raise PipelineError(
            "bad-tolerance",
            f"{options.tolerance} is not a number of levels between 0 and 255",
            subject="--tolerance",
            remedy="The default is 0.5.",
        )
    if options.both and not options.target:
        raise PipelineError(
            "conflicting-options",
            "--both runs A as the target as well, so it needs --target",
            remedy="Add --target.",
        )
    if options.difference is not None and options.difference.suffix.lower() != ".png":
        raise PipelineError(
            "bad-picture",
            "the picture of the difference is written as PNG",
            subject=str(options.difference),
            remedy="Use a file name for --difference that ends with .png.",
        )
    if options.difference is not None:
        check_writable(options.difference)
    if options.picture is not None:
        check_picture(options.picture)


def _notes(result: Comparison, options: CompareOptions) -> list[str]:
    from pipeline.validation import validate

    notes = []
    if options.both and result.a.target is None:
        notes.append(f"--both has no effect: A is {result.a.network.format}, not an .onnx file")
    for side in (result.a, result.b):
        if side is result.a or side.network.digest != result.a.network.digest:
            notes += [f"{side.label}: {note}" for note in side.network.notes]
        if side.target is None:
            metadata = side.file.metadata_props if side.file is not None and not options.target else ()
            built_for = next((entry.value for entry in metadata if entry.key == "target"), "")
            if built_for:
                notes.append(
                    f"{side.label} was built for {built_for}; use --target {built_for} to run it as Unity does"
                )
        elif side.file is None:
            notes.append(
                f"{side.label}: exported to ONNX without rewrites, as {side.target.name} would compute it"
            )
        else:
            errors = [found for found in validate(side.file, side.target) if found.severity == "error"]
            if errors:
                notes.append(
                    f"{side.label} would not run in Unity: {side.target.name} refuses it ({errors[0].operator} "
                    f"{errors[0].node}: {errors[0].reason}); see pipeline validate"
                )
    return notes


# --- running --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Trial:
    """The outputs of both at one size, by the input's name; a text instead says why one of them does not run."""

    size: Size
    inputs: dict[str, np.ndarray]
    a: dict[str, np.ndarray] | str
    b: dict[str, np.ndarray] | str

    @property
    def pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What to compare, by input; nothing where there are not two pictures of one size."""
        if isinstance(self.a, str) or isinstance(self.b, str) or self.shape_a != self.shape_b:
            return {}
        return {name: (self.a[name], self.b[name]) for name in self.inputs}

    @property
    def shape_a(self) -> tuple[int, ...] | None:
        return None if isinstance(self.a, str) else self.a["picture"].shape

    @property
    def shape_b(self) -> tuple[int, ...] | None:
        return None if isinstance(self.b, str) else self.b["picture"].shape


def _first_that_runs(a: Side, b: Side, options: CompareOptions) -> _Trial:
    """The trial at the first size at which both give pictures of one size, else the one at the first size."""
    if a.contract.input.channels != b.contract.input.channels:
        raise PipelineError(
            "channels-differ",
            f"A has {_channels(a.contract.input.channels)} as input, B {_channels(b.contract.input.channels)}",
            subject=f"{a.path.name}, {b.path.name}",
            remedy="Only networks with the same kind of input can be compared.",
        )
    first: _Trial | None = None
    for size in _sizes(a, b, options):
        inputs = _inputs(size, a, options)
        trial = _Trial(size, inputs, _outputs(a, inputs), _outputs(b, inputs))
        if trial.pairs:
            return trial
        first = first or trial
    assert first is not None
    return first


def _sizes(a: Side, b: Side, options: CompareOptions) -> list[Size]:
    """The sizes to try: that of the options, the only one at which a side runs, or some near `_SIZE`."""
    fixed = {side.fixed: side for side in (b, a) if side.fixed}
    if a.fixed and b.fixed and a.fixed != b.fixed:
        raise PipelineError(
            "sizes-differ",
            f"A runs only at {a.fixed}, B only at {b.fixed}",
            subject=f"{a.path.name}, {b.path.name}",
            remedy="Export one of them again, at the size of the other.",
        )
    if options.size is not None:
        for size, side in fixed.items():
            if size != options.size:
                raise PipelineError(
                    "size-does-not-run",
                    f"{side.label} runs only at {size}",
                    subject=str(side.path),
                    remedy=f"Omit --size, or use --size {size}.",
                )
        return [options.size]
    if fixed:
        return list(fixed)  # type: ignore[arg-type]
    multiple = math.lcm(a.contract.size_multiple, b.contract.size_multiple)
    return list(dict.fromkeys(_SIZE.rounded(multiple * step) for step in (1, 2, 4, 8, 16)))


def _small(options: CompareOptions, trial: _Trial, a: Side, b: Side) -> Size:
    """The size to bisect at: small, but one of those that both run at."""
    if options.size is not None or a.fixed or b.fixed:
        return trial.size
    step = math.gcd(*trial.size.hw)
    return _SMALL.rounded(step) if step <= 64 else trial.size


def _inputs(size: Size, side: Side, options: CompareOptions) -> dict[str, np.ndarray]:
    from pipeline.verify import pictures

    channels = side.contract.input.channels
    return {
        "picture": pictures.load(options.picture, *size.hw, channels),
        "noise": pictures.noise(*size.hw, channels),
    }


def _outputs(side: Side, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | str:
    try:
        outputs = {name: side.run(value) for name, value in inputs.items()}
    except PipelineError:
        raise
    except Exception as error:  # whatever torch or ONNX Runtime raises for a size that does not fit
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return (lines[-1] if lines else type(error).__name__)[:200]
    shape = outputs["picture"].shape
    if len(shape) != 4 or shape[1] not in (1, 3):
        return f"its output has the shape {_sizes_of(shape)}, which is not a picture"
    return outputs


def _not_comparable(result: Comparison, trial: _Trial) -> PipelineError:
    a, b, size = result.a, result.b, trial.size
    for side, outcome in ((a, trial.a), (b, trial.b)):
        if isinstance(outcome, str) and side.target is None:
            return PipelineError(
                "size-does-not-run",
                f"{side.label} does not run at {size} ({outcome})",
                subject=str(side.path),
                remedy="Use another --size.",
            )
    if b.target is not None:
        outcomes = [
            outcome if isinstance(outcome, str) else _sizes_of(outcome["picture"].shape)
            for outcome in (trial.a, trial.b)
        ]
        where = f". They diverge at {result.divergence.sentence}" if result.divergence else ""
        return ProofFailed(
            "target-differs",
            f"at {size}, the output of B as computed by {b.target.name} cannot be compared with A's: A has "
            f"{outcomes[0]}, B {outcomes[1]}{where}",
            subject=str(b.path),
            remedy="" if where else "--bisect names the first node where they diverge.",
            report=result.as_dict(),
        )
    assert trial.shape_a is not None and trial.shape_b is not None
    if trial.shape_a[1] != trial.shape_b[1]:
        return PipelineError(
            "channels-differ",
            f"A has {_channels(trial.shape_a[1])} as output, B {_channels(trial.shape_b[1])}",
            subject=f"{a.path.name}, {b.path.name}",
            remedy="Only networks with the same kind of output can be compared.",
        )
    return PipelineError(
        "sizes-differ",
        f"at {size}, the output of A is {_pixels(trial.shape_a)} and that of B {_pixels(trial.shape_b)}",
        subject=f"{a.path.name}, {b.path.name}",
        remedy="Use another --size, at which both outputs have the same size.",
    )


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[3]}x{shape[2]}"


def _sizes_of(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _channels(count: int) -> str:
    return plural(count, "channel")


# --- bisection and the picture of the difference --------------------------------------------------------------


def _bisect(result: Comparison, size: Size, picture: np.ndarray) -> None:
    """Find the first node where the two diverge and store it in `result`."""
    from pipeline.verify.bisect import TOLERANCE, by_name, by_value
    from pipeline.verify.compare import difference

    a, b = result.a, result.b
    tolerance = min(TOLERANCE, result.tolerance / 255 / 2) or 1e-7
    if a.network.digest == b.network.digest:
        result.divergence = by_name(a.with_input(picture), b.with_input(picture), tolerance)
    else:
        inputs = {"picture": picture}
        pair = _Trial(size, inputs, _outputs(a, inputs), _outputs(b, inputs)).pairs.get("picture")
        agree = pair is not None and difference(*pair, "picture").max_levels <= result.tolerance
        result.divergence = by_value(
            a.with_input(picture), b.with_input(picture), outputs_agree=agree, tolerance=tolerance
        )
    result.bisected_at = size


def _write_difference(result: Comparison, trial: _Trial, path: Path) -> None:
    from pipeline.support.files import write_file
    from pipeline.verify.difference_picture import difference_picture

    content, result.amplification = difference_picture(*trial.pairs["picture"])
    write_file(path, content)
    result.difference_file = path
