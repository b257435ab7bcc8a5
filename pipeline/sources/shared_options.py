"""Options that are declared once for several model files: each file gets those that apply to its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.sources import PROGRAMS, STATE_DICTS, ReadOptions, identify
from pipeline.support.errors import PipelineError


def for_each(paths: Sequence[Path], options: ReadOptions) -> list[ReadOptions]:
    """The options of each file. Architecture and prefix go to state dicts; bound inputs and the kept output to
    the .onnx files that have them; ranges and channel order apply where a file does not contain its own.

    Raises PipelineError `conflicting-options` for an option that applies to none of the files.
    """
    formats = [identify(path).name for path in paths]
    ports = [_ports(path, name, options) for path, name in zip(paths, formats, strict=True)]
    found = []
    for name, (inputs, outputs) in zip(formats, ports, strict=True):
        own = replace(options, where_unknown=True)
        if name not in STATE_DICTS:
            own = replace(own, architecture=None if name in PROGRAMS else own.architecture, prefix=None)
        bind = tuple(item for item in options.bind if item.partition("=")[0] in inputs)
        take = options.take if options.take in outputs else None
        found.append(replace(own, bind=bind, take=take, mask=options.mask if name == "onnx" else None))
    declared: tuple[tuple[str, str | None, list[Any]], ...] = (
        ("--architecture", options.architecture, [own.architecture for own in found]),
        ("--prefix", options.prefix, [own.prefix for own in found]),
        ("--mask", options.mask, [own.mask for own in found]),
        ("--take", options.take, [own.take for own in found]),
        *(("--bind", item, [item in own.bind for own in found]) for item in options.bind),
    )
    for flag, value, applied in declared:
        if value is not None and not any(applied):
            raise _of_none(flag, value, paths, ports)
    return found


def _ports(path: Path, format_name: str, options: ReadOptions) -> tuple[set[str], set[str]]:
    """The names of a file's inputs and outputs, where an option refers to them."""
    if format_name != "onnx" or not (options.bind or options.take):
        return set(), set()
    from pipeline.sources.onnx_file import load_model
    from pipeline.sources.ports import required_inputs

    model = load_model(path)
    outputs = {value.name for value in model.graph.output}
    return {value.name for value in required_inputs(model)}, outputs if len(outputs) > 1 else set()


def _of_none(
    flag: str, value: str, paths: Sequence[Path], ports: Sequence[tuple[set[str], set[str]]]
) -> PipelineError:
    available = sorted({name for names_of_file in ports for name in names_of_file[flag == "--take"]})
    which = "inputs" if flag == "--bind" else "several outputs"
    names = f"; they have {', '.join(available[:8])}" if available else ""
    why = {
        "--architecture": "none of these files is a state dict; they contain their own graph",
        "--prefix": "none of these files is a state dict",
        "--mask": "none of these files is an .onnx file",
    }.get(flag, f"no .onnx file among these has {which} with that name{names}")
    return PipelineError(
        "conflicting-options",
        f"{flag} {value}: {why}",
        subject=", ".join(path.name for path in paths),
        remedy=f"Omit {flag}, or add the file that it applies to.",
    )
