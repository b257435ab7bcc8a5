"""Turns a trained image-to-image network into a folder that a Unity project can use.

    import pipeline
    result = pipeline.build_unity("mosaic.pth", output="bundle")

`build_unity`, `convert`, `inspect`, `BuildOptions`, `BuildResult` and `PipelineError` are the public names; each
is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.build import BuildOptions, BuildResult, build_unity, convert
    from pipeline.errors import PipelineError
    from pipeline.inspection import inspect

__version__ = "0.1.0"
__all__ = ["BuildOptions", "BuildResult", "PipelineError", "build_unity", "convert", "inspect"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    held = {"PipelineError": "pipeline.errors", "inspect": "pipeline.inspection"}
    return getattr(import_module(held.get(name, "pipeline.build")), name)
