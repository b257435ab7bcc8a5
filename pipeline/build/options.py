"""The options of a build, each declared once.

A field of `BuildOptions` or of `Placement` is one option: its name, type, default and what `option` says of it
generate the option of the command line (`pipeline.cli.options`), the key of pipeline.toml (`build.config`), the
arguments that rebuild a style (`build.rebuild`), the keyword of `pipeline.build_unity`, and the table in
docs/configuration.md.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import targets
from pipeline.compress.kinds import DEFAULT_PSNR, FLOAT, check_weights
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.sources import ReadOptions

DEFAULT_SIZE = Size(960, 540)
"""What the tutorials run style transfer at (systems.md, section 5)."""
DEFAULT_TOLERANCE = 0.5
"""Levels of 255: below it no 8-bit picture can show a difference."""

RANGES = "0..255, 0..1, -1..1 or imagenet"
_ALL = ("build-unity", "convert")

Step = Callable[[str, str], None]
"""Called after each step with its name and a summary; the report contains the same facts."""


@dataclass(frozen=True)
class Declaration:
    """The properties of an option besides its name, type and default."""

    help: str
    metavar: str = ""
    commands: tuple[str, ...] = _ALL
    """The commands that have it."""
    config: str = "both"
    """The sections of pipeline.toml that accept it: `both`, `model`, or none ("")."""
    per_machine: bool = False
    """Left out of the arguments that rebuild a style: it is chosen again there, or is a path of one machine."""
    short: str = ""
    """Its one-letter form on the command line."""
    reads: bool = False
    """Controls how a source is read; every command that opens one has it (`ReadOptions`)."""
    off: str = ""
    """For a yes/no option that is on by default: the option that turns it off."""


def option(default: Any, help: str, metavar: str = "", **more: Any) -> Any:
    """A field of a dataclass of options."""
    return field(default=default, metadata={"option": Declaration(help, metavar, **more)})


@dataclass(frozen=True)
class BuildOptions:
    """What is built. Paths may be given as text, and a size as "960x540", to `of`."""

    target: str = option(
        targets.DEFAULT,
        "What to build for; `pipeline targets` lists them. In a Unity project the installed package decides.",
        "TARGET",
        per_machine=True,
    )
    name: str | None = option(
        None,
        "Name of the bundle and its classes; by default made from the file name.",
        "NAME",
        commands=("build-unity",),
        config="model",
        per_machine=True,
    )
    size: Size = option(
        DEFAULT_SIZE,
        "Nominal picture size in pixels. The model also runs at other sizes, unless its size is fixed.",
        "WxH",
    )
    architecture: str | None = option(
        None,
        "The network that a state dict belongs to, if it is not recognised: a known name, or "
        "package.module:factory for your own torch module, which is imported from the current folder and run.",
        "NAME",
        reads=True,
    )
    prefix: str | None = option(
        None,
        "Which network to read from a checkpoint with several: the prefix of its tensors' names, such as net_ema.",
        "NAME",
        reads=True,
    )
    input_range: str | None = option(None, f"The network's input range: {RANGES}.", "RANGE", reads=True)
    output_range: str | None = option(None, f"The network's output range: {RANGES}.", "RANGE", reads=True)
    channel_order: str | None = option(
        None, "Channel order of input and output: rgb (default) or bgr.", "ORDER", reads=True
    )
    input_channels: str | None = option(
        None,
        "The input channels of a network with guides, in its order: rgb with depth, normals, mask, texture; such "
        "as rgb,depth.",
        "LIST",
        reads=True,
    )
    take: str | None = option(None, "The output to keep, if an .onnx file has several.", "NAME", reads=True)
    bind: tuple[str, ...] = option(
        (),
        "Bind an input of an .onnx file other than the picture to a value: a picture file, a number, or numbers "
        "separated by commas; may be repeated.",
        "NAME=VALUE",
        reads=True,
    )
    style_input: str | None = option(
        None,
        "The input of an .onnx file that holds the style, to be given while the game runs; --bind gives examples.",
        "NAME",
    )
    mask: str | None = option(
        None,
        "The network outputs a mask (1 or 2 channels), whose high values mark the subject or the background; "
        ".onnx only.",
        "MARKS",
        reads=True,
    )
    strength: float = option(
        1.0,
        "Strength of the style in Unity, 0 to 1; multiplied by the component's strength.",
        "SHARE",
        commands=("build-unity",),
    )
    keep_colors: float = option(
        0.0,
        "Share of the camera's own colours that is kept in Unity, 0 to 1; with 1 the style changes only the "
        "brightness.",
        "SHARE",
        commands=("build-unity",),
    )
    tolerance: float = option(
        DEFAULT_TOLERANCE, "Largest difference that the proof allows, in levels of 255.", "LEVELS"
    )
    picture: Path | None = option(
        None,
        "A picture of your game, used for the proof and as golden frame; the default is a bundled photograph.",
        "PICTURE",
        per_machine=True,
    )
    guides: Path | None = option(
        None,
        "A folder with the guides of --picture (depth.png, normals.png, mask.png, texture.png); by default, "
        "synthetic ones are used.",
        "FOLDER",
        per_machine=True,
    )
    original: Path | None = option(
        None,
        "The float network that a quantised source was made from: the report compares source and result with it.",
        "FILE",
    )
    skip: tuple[str, ...] = option((), "Leave this rewrite out; may be repeated.", "NAME")
    check: bool = option(False, "Check each rewrite separately, and undo one that changes the result.")
    weights: str = option(
        FLOAT,
        "How the weights are stored: float, or packed as half, int8 to int4, or auto, which chooses the bits of "
        "each layer by their effect.",
        "KIND",
        commands=("build-unity",),
    )
    min_psnr: float = option(
        DEFAULT_PSNR,
        "The minimum PSNR for --weights auto, in dB relative to the float network.",
        "DB",
        commands=("build-unity",),
    )
    calibrate: tuple[Path, ...] = option(
        (),
        "A picture to calibrate the rounding of packed weights with; may be repeated. By default, "
        "synthetic ones are used.",
        "PICTURE",
        commands=("build-unity",),
        per_machine=True,
    )
    precision: str = option(
        targets.PRECISIONS[0],
        "How activations are stored: float, or half (float16: half the memory, proven by PSNR) if the target "
        "supports it.",
        "KIND",
    )
    device: str | None = option(
        None,
        "Class of devices to optimise the graph for, without changing its output, if the target's kernels are "
        "known: desktop (default), laptop, phone, phone-qualcomm or burst; none switches this off.",
        "CLASS",
    )

    def __post_init__(self) -> None:
        if self.precision != targets.PRECISIONS[0]:
            object.__setattr__(self, "target", targets.at_precision(self.target, self.precision))
        elif self.target in targets.names(narrow=True):
            object.__setattr__(self, "precision", targets.precision_of(self.target))
        if self.device is not None:
            from pipeline.cost.rearrange import check_device

            check_device(self.device)
        if self.weights != FLOAT or self.min_psnr != DEFAULT_PSNR:
            check_weights(self.weights, self.min_psnr)
        self.size.checked()
        if self.input_channels is not None:
            from pipeline.sources.guides import parse

            parse(self.input_channels)
        for flag, share in (("--strength", self.strength), ("--keep-colors", self.keep_colors)):
            if not 0 <= share <= 1:
                raise PipelineError(
                    "bad-share",
                    f"{share:g} is not between 0 and 1",
                    subject=flag,
                    remedy="Use a number from 0 to 1.",
                )
        if not 0 < self.tolerance <= 255:
            raise PipelineError(
                "bad-tolerance",
                f"{self.tolerance} is not a number of levels between 0 and 255",
                subject="--tolerance",
                remedy=f"The default is {DEFAULT_TOLERANCE}.",
            )

    @property
    def reading(self) -> ReadOptions:
        """How the source is read."""
        from pipeline.sources import ReadOptions

        chosen = {option.name: getattr(self, option.name) for option in source_options()}
        if self.style_input is None:
            return ReadOptions(**chosen)
        from pipeline.build.float_source import float_model

        return ReadOptions(**chosen, style_input=self.style_input, as_float=float_model)

    @classmethod
    def of(cls, **values: Any) -> BuildOptions:
        """Options from what a person or a file gives: paths and sizes as text, lists for tuples.

        Raises PipelineError `unknown-option`, `bad-option`, and what the values themselves can get wrong.
        """
        return cls(**converted(cls, values))


@dataclass(frozen=True)
class Placement:
    """Where the result goes, and what may be replaced there."""

    output: Path | None = option(
        None,
        "Write the folder StyleTransfer/ here, to be dragged into Assets.",
        "FOLDER",
        commands=("build-unity",),
        short="-o",
    )
    project: Path | None = option(
        None, "A Unity project to install into.", "FOLDER", commands=("build-unity",), short="-p"
    )
    preview: Path | None = option(
        None,
        "Also write a PNG: the picture next to the output of the built model.",
        "FILE",
        commands=("build-unity",),
        config="",
    )
    project_version: str | None = option(
        None,
        "Unity version of a new project: 2019.4, 2022.3 or 6 (with URP); by default the oldest that the target "
        "supports.",
        "VERSION",
        commands=("build-unity",),
        config="",
    )
    package: bool = option(
        False,
        "Write the shared runtime as a UPM package to Packages/; styles stay in Assets.",
        commands=("build-unity",),
        config="",
    )
    switch_package: bool = option(
        False,
        "Allow the command to change the project's inference package to that of --target.",
        commands=("build-unity",),
        config="",
    )
    use_cache: bool = option(True, "Build again even if nothing changed.", config="", off="--no-cache")
    force: bool = option(False, "Overwrite files that you edited, and models of the same name.", config="")
    dry_run: bool = option(False, "Do everything except writing.", config="")


# --- what follows from the declarations ----------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A type that an option can have: its description, its types in pipeline.toml, and an example."""

    description: str
    toml: tuple[type, ...]
    example: str


KINDS: dict[Any, Kind] = {
    str: Kind("text", (str,), '"..."'),
    int: Kind("a whole number", (int,), "2"),
    float: Kind("a number", (int, float), "0.5"),
    bool: Kind("True or False", (bool,), "true"),
    Path: Kind("a path", (str,), '"..."'),
    Size: Kind('a size such as "960x540"', (str,), '"960x540"'),
}


@dataclass(frozen=True)
class Option:
    """One option with what the command line, the configuration and the docs need."""

    name: str
    """As a keyword of Python: `input_range`."""
    type: Any
    """One of KINDS, or a tuple of str or Path."""
    default: Any
    declaration: Declaration

    @property
    def is_path(self) -> bool:
        """Whether its values are paths, which pipeline.toml gives from its own folder."""
        return self.item is Path

    @property
    def flag(self) -> str:
        """On the command line: `--input-range`."""
        return self.declaration.off or f"--{self.key}"

    @property
    def key(self) -> str:
        """In pipeline.toml: `input-range`."""
        return self.name.replace("_", "-")

    @property
    def repeated(self) -> bool:
        """Whether it may be given several times."""
        return typing.get_origin(self.type) is tuple

    @property
    def item(self) -> Any:
        """The type of one value."""
        return typing.get_args(self.type)[0] if self.repeated else self.type

    @property
    def annotation(self) -> str:
        """The type of its keyword in Python, as it is written."""
        written = {Path: "str | Path", Size: "Size | str"}.get(self.item) or str(self.item.__name__)
        if self.repeated:
            return f"Sequence[{written}]"
        return f"{written} | None" if self.default is None else written


@cache
def options_of(owner: type) -> tuple[Option, ...]:
    """The options that a dataclass declares, in their order."""
    hints = typing.get_type_hints(owner)
    found = []
    for entry in dataclasses.fields(owner):
        kind = hints[entry.name]
        choices = [part for part in typing.get_args(kind) if part is not type(None)]
        if typing.get_origin(kind) is not tuple and choices:
            kind = choices[0]
        declared = Option(entry.name, kind, entry.default, entry.metadata["option"])
        if declared.item not in KINDS:
            raise TypeError(
                f"{owner.__name__}.{entry.name} cannot be {declared.item}: KINDS has what an option can be"
            )
        found.append(declared)
    return tuple(found)


def all_options() -> tuple[Option, ...]:
    """Every option of a build."""
    return (*options_of(BuildOptions), *options_of(Placement))


def source_options() -> tuple[Option, ...]:
    """The options that say how a source is read."""
    return tuple(option for option in options_of(BuildOptions) if option.declaration.reads)


def split(options: BuildOptions | None, chosen: Mapping[str, Any]) -> tuple[BuildOptions, Placement]:
    """Separate `chosen` into build options, which override those of `options`, and placement options."""
    known = {option.name for option in all_options()}
    for name in chosen:
        if name not in known:
            raise unknown(name, known)
    places = {option.name for option in options_of(Placement)}
    placement = Placement(**converted(Placement, {name: chosen[name] for name in chosen if name in places}))
    built = converted(BuildOptions, {name: chosen[name] for name in chosen if name not in places})
    if options is None:
        return BuildOptions(**built), placement
    return dataclasses.replace(options, **built), placement


def converted(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` by name, each as the type that its option has. None means the default.

    Raises PipelineError `unknown-option` and `bad-option`.
    """
    known = {option.name: option for option in options_of(owner)}
    result = {}
    for name, value in values.items():
        if name not in known:
            raise unknown(name, known)
        if value is not None:
            result[name] = _converted(known[name], value)
    return result


def unknown(name: str, known: Iterable[str]) -> PipelineError:
    """The error for the name of an option that does not exist."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    remedy = f"Did you mean {near[0]}?" if near else f"The options are: {', '.join(known)}."
    return PipelineError("unknown-option", "no such option exists", subject=name, remedy=remedy)


def _converted(option: Option, value: Any) -> Any:
    if not option.repeated:
        return _one(option, value)
    if isinstance(value, (str, Path)) or not isinstance(value, Sequence):
        value = (value,)
    return tuple(_one(option, item) for item in value)


def _one(option: Option, value: Any) -> Any:
    kind = option.item
    if isinstance(value, kind) and (kind not in (int, float) or not isinstance(value, bool)):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is Size and isinstance(value, str):
        return Size.parse(value, option.flag)
    if (
        kind is Size
        and isinstance(value, (tuple, list))
        and len(value) == 2
        and all(type(v) is int for v in value)
    ):
        return Size(*value)
    description = KINDS[kind].description
    raise PipelineError(
        "bad-option", f"{value!r} is not {description}", subject=option.flag, remedy=f"Use {description}."
    )
