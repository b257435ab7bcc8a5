"""A quantised source beside the float network that it was made from: what quantising cost, and what came back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.support.errors import PipelineError
from pipeline.verify.compare import difference

Picture2Picture = Callable[[np.ndarray], np.ndarray]


def against_original(
    path: Path, original: Picture2Picture, built: Picture2Picture, source: Picture2Picture, picture: np.ndarray
) -> dict[str, Any]:
    """How far the built graph and the source as it was given are from the original, on one picture.

    All take RGB 0..1 (N, 3, H, W) and give RGB 0..1. Raises PipelineError `original-does-not-fit` where the
    original does not run on the picture, or gives one of another shape.
    """
    try:
        exact = original(picture)
        return {
            "file": path.name,
            "built": difference(exact, built(picture), "picture").as_dict(),
            "source": difference(exact, source(picture), "picture").as_dict(),
        }
    except PipelineError:
        raise
    except Exception as error:  # whatever torch or ONNX Runtime raise, and shapes that differ
        raise PipelineError(
            "original-does-not-fit",
            f"it is not the network that the source was made from ({' '.join(str(error).split())[:160]})",
            subject=str(path),
            remedy="Use --original with the float network of the same architecture and size.",
        ) from error
