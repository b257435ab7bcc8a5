"""The options of a build as words of the command line, so that Unity's inspector can build a style again."""

from __future__ import annotations

from typing import Any

from pipeline.build.options import BuildOptions, options_of


def rebuild_arguments(options: BuildOptions) -> list[str]:
    """What differs from the defaults, as `pipeline build-unity` takes it: ["--input-range", "0..255"].

    Without what a later build chooses again (`Declaration.per_machine`): the target that is installed by then, the
    name that the style's folder has, and pictures, whose paths are of one machine.
    """
    words: list[str] = []
    for held in options_of(BuildOptions):
        value = getattr(options, held.name)
        if held.told.per_machine or value == held.default:
            continue
        if held.type is bool:
            words.append(held.flag)
        else:
            for item in value if held.repeated else (value,):
                words += [held.flag, _word(item)]
    return words


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
