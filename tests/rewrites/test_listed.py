"""A rewrite that is in a module but in no list never runs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pipeline.rewrites
from pipeline.rewrites import FINISHING, REWRITES, Rewrite
from pipeline.rewrites.cheaper import CHEAPER


def test_every_rewrite_is_listed() -> None:
    defined = set()
    for info in pkgutil.iter_modules(pipeline.rewrites.__path__, "pipeline.rewrites."):
        module = importlib.import_module(info.name)
        defined |= {
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, Rewrite)
            and value.__module__ == info.name
            and not inspect.isabstract(value)
        }
    listed = {type(rewrite) for rewrite in (*REWRITES, *FINISHING, *CHEAPER)}
    assert len(defined) > 30 and defined <= listed
