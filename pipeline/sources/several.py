"""Options that are declared once for several model files: each file takes those that it can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.sources import PROGRAMS, STATE_DICTS, ReadOptions, identify
from pipeline.support.errors import PipelineError


def for_each(paths: Sequence[Path], options: ReadOptions) -> list[ReadOptions]:
    """The options for each file. Architecture and prefix go to state dicts; bound inputs and the kept output to
    the .onnx files that have them; ranges and channel order hold where the file does not tell its own.

    Raises PipelineError `conflicting-options` for an option that no file can have.
    """
    formats = [identify(path).name for path in paths]
    ports = [_ports(path, name, options) for path, name in zip(paths, formats, strict=True)]
    found = []
    for name, (inputs, outputs) in zip(formats, ports, strict=True):
        own = replace(options, where_unknown=True)
        if name not in STATE_DICTS:
            own = replace(own, architecture=None if name in PROGRAMS else own.architecture, prefix=None)
        bind = tuple(held for held in options.bind if held.partition("=")[0] in inputs)
        take = options.take if options.take in outputs else None
        found.append(replace(own, bind=bind, take=take, mask=options.mask if name == "onnx" else None))
    asked: tuple[tuple[str, str | None, list[Any]], ...] = (
        ("--architecture", options.architecture, [held.architecture for held in found]),
        ("--prefix", options.prefix, [held.prefix for held in found]),
        ("--mask", options.mask, [held.mask for held in found]),
        ("--take", options.take, [held.take for held in found]),
        *(("--bind", held, [held in own.bind for own in found]) for held in options.bind),
    )
    for flag, given, holds in asked:
        if given is not None and not any(holds):
            raise _of_none(flag, given, paths, ports)
    return found


def _ports(path: Path, format_name: str, options: ReadOptions) -> tuple[set[str], set[str]]:
    """The names of a file's inputs and outputs, where an option asks for them."""
    if format_name != "onnx" or not (options.bind or options.take):
        return set(), set()
    from pipeline.sources.onnx_file import load_model
    from pipeline.sources.ports import of_the_caller

    model = load_model(path)
    outputs = {value.name for value in model.graph.output}
    return {value.name for value in of_the_caller(model)}, outputs if len(outputs) > 1 else set()


def _of_none(
    flag: str, given: str, paths: Sequence[Path], ports: Sequence[tuple[set[str], set[str]]]
) -> PipelineError:
    there = sorted({name for held in ports for name in held[flag == "--take"]})
    which = "inputs" if flag == "--bind" else "several outputs"
    names = f"; they have {', '.join(there[:8])}" if there else ""
    why = {
        "--architecture": "none of these files is a state dict; they contain their own graph",
        "--prefix": "none of these files is a state dict",
        "--mask": "none of these files is an .onnx file",
    }.get(flag, f"no .onnx file among these has {which} with that name{names}")
    return PipelineError(
        "conflicting-options",
        f"{flag} {given}: {why}",
        subject=", ".join(path.name for path in paths),
        remedy=f"Omit {flag}, or add the file that it applies to.",
    )
