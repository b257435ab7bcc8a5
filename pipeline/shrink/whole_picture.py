"""Whether a network's output at one place depends on the whole picture, as with instance norm. Imports torch.

Instance norm normalises each picture by its own mean and deviation; batch norm by statistics of the training. A
student with batch norm cannot follow a teacher with instance norm: it learns the average colours of the training
crops, and the colours of a whole picture are then wrong by 10 to 30 levels (docs/distill.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from pipeline.contract import ImageContract
from pipeline.network import Network
from pipeline.shrink.loop import GreyLevels
from pipeline.shrink.losses import usual_picture
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

SIZE = Size(384, 128)
"""Wide enough for the receptive field of a style network to fit between the changed and the measured part;
multiples of 64, which every teacher takes."""
DEPENDS = 2.0
"""Change in levels of 255 from which a teacher's output depends on the whole picture."""
LOCAL = 1e-3
"""Change in levels of 255 up to which a student's output does not."""


def influence(run: Callable[[np.ndarray], np.ndarray], size: Size = SIZE) -> float:
    """The mean change of the output's left quarter, in levels of 255, if the picture's right third gets darker.

    `run` maps a picture (1, 3, H, W), RGB 0..1, to an output of the same size.
    """
    picture = torch.nn.functional.interpolate(usual_picture(), size=size.hw, mode="bilinear").numpy() / 255
    darker = picture.copy()
    darker[..., size.width * 2 // 3 :] *= 0.3
    quarter = np.s_[..., : size.width // 4]
    before, after = (np.clip(run(value), 0, 1)[quarter] for value in (picture, darker))
    return float(np.abs(before - after).mean() * 255)


def check_norms(teacher: Network, student: nn.Module, contract: ImageContract, spec: str) -> None:
    """Raise PipelineError `norms-differ` if the teacher's output depends on the whole picture and the student's
    does not. A teacher that runs only at one small size is not checked."""
    from pipeline.sources import reference
    from pipeline.verify.proof import around

    original = reference(teacher)
    size = original.fixed_size or SIZE
    colour = contract.input.channels == contract.output.channels == 3
    if size.width < SIZE.width or teacher.contract is None or not colour:
        return
    model = GreyLevels(student, contract).eval()

    def run(picture: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(picture * 255)).numpy() / 255)

    if influence(run) > LOCAL or influence(around(original, teacher.contract), size) < DEPENDS:
        return
    family, _, knobs = spec.split()[0].partition(":")
    raise PipelineError(
        "norms-differ",
        "the teacher normalises each picture by its own statistics (instance norm), which this student cannot do "
        "(batch norm, or no norm): its colours would be wrong",
        subject="--student",
        remedy=f"Use --student few-shot-instance-norm:{knobs}."
        if family in ("few-shot", "few-shot-no-norm")
        else "Use a student with instance norm, such as few-shot-instance-norm:8,16,32x4.",
    )
