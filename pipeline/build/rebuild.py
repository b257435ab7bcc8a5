"""The options of a build as command-line arguments, with which Unity's inspector rebuilds a style."""

from __future__ import annotations

from typing import Any

from pipeline.build.options import BuildOptions, options_of


def rebuild_arguments(options: BuildOptions) -> list[str]:
    """The options that differ from the defaults as command-line arguments: ["--input-range", "0..255"].

    Leaves out what a later build chooses again (`Declaration.per_machine`): the target, which depends on the
    installed package, the name, which is that of the style's folder, and pictures, whose paths belong to one
    machine.
    """
    words: list[str] = []
    for option in options_of(BuildOptions):
        value = getattr(options, option.name)
        if option.declaration.per_machine or value == option.default:
            continue
        if option.type is bool:
            words.append(option.flag)
        else:
            for item in value if option.repeated else (value,):
                words += [option.flag, _word(item)]
    return words


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
