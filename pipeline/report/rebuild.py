"""The options of a build as words of the command line, so that Unity's inspector can build a style again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.build.job import BuildOptions

NOT_TOLD = ("target", "name", "picture", "calibrate")
"""Options that a later build is given anew: the target that is installed by then, the folder that the style lies
in; and the pictures, whose paths are of one machine (without them the golden frame is the bundled photograph)."""


def rebuild_arguments(options: BuildOptions) -> list[str]:
    """What differs from the defaults, as `pipeline build-unity` takes it: ["--input-range", "0..255"]."""
    words: list[str] = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in NOT_TOLD or value == field.default:
            continue
        option = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option)
        elif field.name == "size":
            words += [option, f"{value[0]}x{value[1]}"]
        elif isinstance(value, tuple):
            words += [word for each in value for word in (option, str(each))]
        else:
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return words
