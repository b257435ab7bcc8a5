"""Turns a trained image-to-image network into a folder that a Unity project can use.

    import pipeline
    result = pipeline.build_unity("mosaic.pth", output="bundle")

`build_unity`, `convert`, `inspect`, `BuildOptions`, `BuildResult` and `PipelineError` are the public names; each
is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.support.version import __version__

if TYPE_CHECKING:
    from pipeline.build.inspection import inspect
    from pipeline.build.job import BuildOptions, BuildResult, build_unity, convert
    from pipeline.support.errors import PipelineError

__all__ = ["BuildOptions", "BuildResult", "PipelineError", "__version__", "build_unity", "convert", "inspect"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    held = {"PipelineError": "pipeline.support.errors", "inspect": "pipeline.build.inspection"}
    return getattr(import_module(held.get(name, "pipeline.build.job")), name)
