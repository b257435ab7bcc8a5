"""Decide which classes and functions named in a pickle are harmless, and which would run code when called."""

from __future__ import annotations

import sys

from pipeline.sources.pickled import Global


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BENIGN_STDLIB = _words(
    "_codecs argparse array collections copyreg dataclasses datetime decimal enum fractions numbers pathlib "
    "random types typing uuid zoneinfo"
)
"""Standard-library modules whose objects occur in real checkpoints; they stay inert records."""
BENIGN_BUILTINS = _words(
    "set frozenset list tuple dict bytearray bytes int float bool str complex slice range object "
    "NoneType type ellipsis"
)
SAFE_TORCH_FUNCTIONS = frozenset(("device", "dtype", "scalar", "ndarray", "_reconstruct", "_frombuffer"))
BUILTIN_MODULES = ("builtins", "__builtin__")


def runs_code(cls: Global) -> bool:
    """Whether calling this global could have an effect.

    True for every function of the standard library, torch or numpy that is not known to build plain data. Classes
    of the user's own modules stay inert records.
    """
    top = cls.module.partition(".")[0]
    last = cls.name.rpartition(".")[2]
    if top in BUILTIN_MODULES:
        return cls.name not in BENIGN_BUILTINS and not last.endswith(("Error", "Exception"))
    if top in BENIGN_STDLIB:
        return "." in cls.name
    if top in ("torch", "numpy"):
        return not (last[:1].isupper() or last.startswith("_rebuild") or last in SAFE_TORCH_FUNCTIONS)
    python2 = ("commands", "popen2", "cPickle", "urllib2", "thread", "posix", "nt")
    return top in sys.stdlib_module_names or top in python2 or top in ("pip", "setuptools", "webbrowser")
