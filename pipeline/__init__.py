"""Turns a trained image-to-image network into a folder that a Unity project can use.

    import pipeline

    result = pipeline.build_unity("mosaic.pth", input_range="0..255", size="960x540")
    print(result.bundle)

`build_unity`, `convert`, `validate`, `compare` and `inspect` do what the commands of these names do; `help` of
each shows its options. Errors that the caller can fix are `PipelineError`; `ProofFailed`, one of them, says that
the built network would not compute what the source does. Each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.support.version import __version__

if TYPE_CHECKING:
    from pipeline.api import build_unity, compare, convert, inspect, validate
    from pipeline.build.options import BuildOptions
    from pipeline.build.result import BuildResult
    from pipeline.support.errors import PipelineError, ProofFailed
    from pipeline.support.size import Size

__all__ = [
    "BuildOptions",
    "BuildResult",
    "PipelineError",
    "ProofFailed",
    "Size",
    "__version__",
    "build_unity",
    "compare",
    "convert",
    "inspect",
    "validate",
]

_HELD = {
    "BuildOptions": "pipeline.build.options",
    "BuildResult": "pipeline.build.result",
    "PipelineError": "pipeline.support.errors",
    "ProofFailed": "pipeline.support.errors",
    "Size": "pipeline.support.size",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(import_module(_HELD.get(name, "pipeline.api")), name)


def __dir__() -> list[str]:
    return __all__
