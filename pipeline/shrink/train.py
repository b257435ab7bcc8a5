"""Perceptual training: a network learns a style from one picture of it, without a teacher. Imports torch.

As in pytorch/examples fast_neural_style (Johnson, Alahi, Fei-Fei 2016), a classification network (VGG16) compares
the student's output: its features at relu2_2 with those of the photograph (content), and the Gram matrices of its
features at relu1_2, relu2_2, relu3_3 and relu4_3 with those of the style picture. The constants are those of
neural_style.py: content weight 1e5, style weight 1e10, Gram matrices divided by channels * height * width,
pictures as torchvision normalises them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as f

from pipeline.build.cache import file_digest
from pipeline.contract import IMAGENET_MEAN, IMAGENET_STD
from pipeline.shrink import students
from pipeline.shrink.checkpoint import UNKEPT, Run, pictures_identity
from pipeline.shrink.data import Ahead, Crops, Pictures
from pipeline.shrink.loop import History, Loop, LoopOptions, identity_of, place
from pipeline.shrink.losses import UNIT, gram
from pipeline.shrink.motion import Sequences, camera, noisy, warp
from pipeline.shrink.output import Output
from pipeline.shrink.pictures import as_tensor, sheet
from pipeline.support.errors import PipelineError
from pipeline.support.files import write_file
from pipeline.support.picture_files import check_picture, open_picture, picture_files
from pipeline.support.size import Size
from pipeline.support.untrusted import on_a_file

VGG16 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
"""SHA-256 of vgg16-397923af.pth, torchvision's VGG16_Weights.IMAGENET1K_V1 (download.pytorch.org/models)."""
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
"""Indices in torchvision's `features` of VGG16's convolutions up to relu4_3; pooling lies before 5, 10 and 17."""
POOLED = (5, 10, 17)
SEEN = {2: "relu1_2", 7: "relu2_2", 14: "relu3_3", 21: "relu4_3"}
"""Names of the feature maps that are compared, by the index of the convolution before them."""
CONTENT = "relu2_2"
RATE = 1e-3
MARGIN = 16
"""Pixels by which crops are larger than the pictures, so that a synthetic camera can move over them."""


@dataclass(frozen=True)
class StyleOptions:
    """How a style is trained; the defaults are those of fast_neural_style."""

    loop: LoopOptions
    content: float = 1e5
    style: float = 1e10
    variation: float = 0.0
    """Weight of the total variation loss; more is smoother."""
    flicker: float = 0.0
    """Weight of the difference between the outputs for two views of a moving scene, in levels of 255
    (motion.py)."""
    batch: int = 4
    side: int = 256
    """Side of the square training pictures in pixels, a multiple of 8."""
    style_side: int | None = None
    """Longer side to which the style picture is resized, in pixels; None does not resize it."""


class LossNetwork(nn.Module):
    """VGG16 up to relu4_3, of any widths: pictures (N, 3, H, W) in grey levels to four feature maps."""

    def __init__(self, tensors: dict[str, np.ndarray], subject: str) -> None:
        super().__init__()
        inputs = 3
        self.layers = nn.ModuleList()
        for index in CONVOLUTIONS:
            weight, bias = tensors.get(f"{index}.weight"), tensors.get(f"{index}.bias")
            if weight is None or bias is None or weight.ndim != 4 or weight.shape[1:] != (inputs, 3, 3):
                found = "does not have it" if weight is None else f"has one of {'x'.join(map(str, weight.shape))}"
                raise PipelineError(
                    "not-a-loss-network",
                    f"VGG16 has features.{index}.weight for {inputs} channels of 3x3 pixels, but this file "
                    f"{found}",
                    subject=subject,
                    remedy="Use torchvision's vgg16-397923af.pth, or a file with the same layout.",
                )
            layer = nn.Conv2d(inputs, weight.shape[0], 3, 1, 1)
            layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
            self.layers.append(layer)
            inputs = weight.shape[0]
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    mean: Tensor
    std: Tensor

    def forward(self, levels: Tensor) -> dict[str, Tensor]:
        x = (levels / 255 - self.mean) / self.std
        seen = {}
        for index, layer in zip(CONVOLUTIONS, self.layers, strict=True):
            x = f.relu(layer(f.max_pool2d(x, 2) if index in POOLED else x))
            if index in SEEN:
                seen[SEEN[index]] = x
        return seen


def read_loss_network(path: Path) -> tuple[LossNetwork, str, bool]:
    """The loss network in a file, its SHA-256, and whether that is torchvision's VGG16.

    The file is a state dict (.pth, .safetensors) with torchvision's names; only `features` is read, and no pickle
    is run. Raises PipelineError `not-a-loss-network` and what reading raises.
    """
    from pipeline.sources.tensors import read_state
    from pipeline.support.files import existing_file

    path = existing_file(path)
    state = read_state(path, only=lambda name: not name.startswith("classifier."))
    tensors = {name.removeprefix("features."): value for name, value in state.tensors.items()}
    digest = file_digest(path)
    return LossNetwork(tensors, str(path)), digest, digest == VGG16


def style_grams(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gram matrices divided by channels * height * width, as in neural_style.py."""
    return {name: gram(value.float()) / value.shape[1] for name, value in features.items()}


def train_style(
    module: nn.Module,
    contract: Any,
    network: LossNetwork,
    style: Tensor,
    images: Pictures,
    options: StyleOptions,
    *,
    sequences: Sequences | None = None,
    holdout: Sequence[Path] = (),
    run: Run = UNKEPT,
    progress: Callable[[History, float], None] = lambda history, done: None,
) -> History:
    """Train `module` in place in the style of a picture (1, 3, H, W) in grey levels; it ends in eval mode, on the
    CPU. The rest is as in `distill`. Raises PipelineError: no-such-device, run-differs, training-diverged.
    """
    loop_options = options.loop if options.loop.rate is not None else replace(options.loop, rate=RATE)
    with place(loop_options.device) as where:
        network = network.to(where.device)
        with torch.no_grad():
            goals = style_grams(network(style.to(where.device)))
        loop = Loop(
            module,
            contract,
            loop_options,
            where,
            run=run,
            identity=identity_of(options)
            | {"pictures": pictures_identity([*images.files, *(sequences.files if sequences else ())])},
        )
        if run.resume:
            loop.resume()
        crops = Crops(images, loop_options.seed, recolour=False)
        margin = MARGIN if options.flicker else 0
        if sequences is not None:
            sequences.check(Size(options.side, options.side))

        def batch(step: int) -> np.ndarray:
            side = options.side + margin
            return crops.batch(step * where.size + where.rank, options.batch, side, side)

        ahead = Ahead(batch, 4 if where.device.type == "cuda" else 0)

        def losses(step: int, done: float) -> dict[str, Tensor]:
            rng, motion = np.random.default_rng([loop_options.seed, step]), None
            if sequences is not None and step % 2:
                number = step * where.size + where.rank
                first, other, motion = sequences.batch(number, options.batch, options.side, options.side)
                pictures, second = (torch.from_numpy(v).to(where.device).float() for v in (first, other))
            else:
                given = torch.from_numpy(ahead.get(step)).to(where.device).float()
                edge = margin // 2
                pictures = given[:, :, edge : edge + options.side, edge : edge + options.side]
                if options.flicker:
                    motion = camera(rng, len(given), options.side, options.side)
                    second = warp(given, motion.moved.to(where.device), edge)
            if motion is None:
                both = loop.model(pictures.contiguous(memory_format=torch.channels_last))
            else:
                views = torch.cat((pictures, noisy(second, rng)))
                both = loop.model(views.contiguous(memory_format=torch.channels_last))
            outputs = both[: len(pictures)]
            seen = network(outputs)
            with torch.no_grad():
                content = network(pictures)[CONTENT]
            count = len(pictures)
            styled = [
                f.mse_loss(grams, goals[name].expand_as(grams)) * count
                for name, grams in style_grams(seen).items()
            ]
            parts = {
                "content": options.content * f.mse_loss(seen[CONTENT].float(), content.float()),
                "style": options.style * torch.stack(styled).sum(),
            }
            if options.variation:
                across, down = outputs[..., 1:] - outputs[..., :-1], outputs[..., 1:, :] - outputs[..., :-1, :]
                parts["variation"] = options.variation * (across.abs().mean() + down.abs().mean())
            if motion is not None:
                loss = motion.to(where.device).loss(outputs, both[len(pictures) :])
                parts["flicker"] = options.flicker * UNIT * loss
            return parts

        shown = [as_tensor(path).to(where.device) for path in holdout] if where.first else []

        def measure(painting: nn.Module) -> dict[str, Any]:
            if run.folder is None or not shown:
                return {}
            with torch.no_grad():
                rows = [(picture, painting(picture).clamp(0, 255)) for picture in shown]
            write_file(run.folder / "samples" / f"{loop.step:06d}.jpg", sheet(rows))
            return {}

        history = loop.run(losses, measure, progress)
    module.to("cpu")
    return history


@on_a_file
def train_file(
    style: Path,
    images: Sequence[Path],
    vgg: Path,
    student: str,
    options: StyleOptions,
    output: Path | None = None,
    *,
    sequences: Sequence[Path] = (),
    holdout: Sequence[Path] = (),
    run: Path | None = None,
    resume: bool = False,
    force: bool = False,
    started: Callable[[str], None] = lambda message: None,
    progress: Callable[[History, float], None] = lambda history, done: None,
) -> dict[str, Any]:
    """Train a network in the style of the picture `style`, and write it; returns a report as plain data.

    `output` is a .pth; None is STYLE.trained.pth in the current folder. `sequences` are folders with consecutive
    frames, and videos, for the loss on flicker; they need `options.flicker`. The other arguments are as in
    teaching.distill_file. Raises what `train_style`, `read_loss_network` and `students.parse` raise.
    """
    from pipeline.support.resources import resource

    files = Output(output or Path.cwd() / f"{style.stem}.trained.pth", run, resume, force)
    chosen = students.parse(student)
    if sequences and not options.flicker:
        raise PipelineError(
            "conflicting-options",
            "--sequence is used only by the loss on flicker",
            subject="--sequence",
            remedy="Add --flicker-weight, such as 1e3.",
        )
    for file in (style, *holdout):
        check_picture(file)
    network, digest, known = read_loss_network(vgg)
    pictures = Pictures(picture_files(images, [*holdout, style]))
    picture = open_picture(style)
    if options.style_side:
        scale = options.style_side / max(picture.size)
        size = (max(round(picture.width * scale), 16), max(round(picture.height * scale), 16))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    module = chosen.build(options.loop.seed)
    kind = "torchvision's VGG16" if known else "not torchvision's VGG16"
    started(f"{chosen.weights:,} weights ({chosen.spec}); the loss network is {kind} (sha256 {digest[:12]})")
    started(f"the network is written to {files.file}, samples and checkpoint to {files.folder}")
    history = train_style(
        module,
        chosen.contract,
        network,
        torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[None],
        pictures,
        options,
        sequences=Sequences(sequences, options.loop.seed, started) if sequences else None,
        holdout=tuple(holdout) or (resource("examples/picture.jpg"),),
        run=Run(files.folder, resume, {"student": chosen.spec, "style": file_digest(style), "vgg": digest}),
        progress=progress,
    )
    loss_network = {"file": vgg.name, "sha256": digest, "is_torchvision_vgg16": known}
    return files.write(module, chosen, history.as_dict(), style=style.name, loss_network=loss_network)
