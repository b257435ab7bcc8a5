"""Smaller networks: students of a teacher, perceptual training, and what they are worth.

`students`, `data` and `quality` need no torch. `losses`, `loop`, `distill` and `train` import it when they are
imported, so whoever calls them asks `require_training` first and imports them inside a function.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from pipeline.support.errors import MissingDependency


def require_torch(purpose: str) -> None:
    """Raise MissingDependency where torch is not installed; `purpose` begins the sentence ("training")."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependency("torch", "torch", purpose) from None


def require_training(purpose: str) -> None:
    """Raise MissingDependency where torch or pytorch-optimizer is not installed."""
    # On Apple's GPUs torch computes no eigenvectors, which the optimiser needs; it reads this when it is imported.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    require_torch(purpose)
    if find_spec("pytorch_optimizer") is None:
        raise MissingDependency("pytorch-optimizer", "torch", purpose)
