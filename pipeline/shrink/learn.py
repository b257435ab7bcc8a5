"""Trains a network on a few pairs of a frame and its painting. Imports torch.

As in few-shot patch-based training (Texler et al. 2020), the network is trained on small patches of the pairs, so
that a few pictures give many examples and the result generalises to other frames of the same scene. The losses
need no trained network: colours at four scales, statistics of fixed random filters, and, if asked for, a patch
discriminator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.architectures import few_shot
from pipeline.build.cache import file_digest
from pipeline.contract import ImageContract
from pipeline.shrink import losses as lost
from pipeline.shrink import students
from pipeline.shrink.checkpoint import UNKEPT, Run
from pipeline.shrink.loop import GreyLevels, History, Loop, LoopOptions, identity_of, place
from pipeline.shrink.optimiser import Adam
from pipeline.shrink.output import Output
from pipeline.shrink.pairs import Frame, Pair, pairs_of, patches
from pipeline.shrink.pictures import sheet
from pipeline.shrink.quality import quality
from pipeline.support.errors import PipelineError
from pipeline.support.files import write_file
from pipeline.support.picture_files import picture_files
from pipeline.support.untrusted import on_a_file

SMALLEST = 48
"""Smallest side of a patch in pixels: the fixed filters also run at an eighth of its size."""
OFFSET = 10.0
"""Difference of mean colours from which it is reported, in levels of 255."""
MOST_OFFSETS = 16
"""Maximum number of pairs whose mean colours are compared."""


@dataclass(frozen=True)
class LearnOptions:
    """How a network is trained on pairs."""

    loop: LoopOptions = field(default_factory=LoopOptions)
    batch: int = 16
    """Patches in each step."""
    side: int = 64
    """Side of the square patches, a multiple of 8 and at least `SMALLEST`."""
    texture: float = 1.0
    """Weight of the texture loss: the statistics of fixed random filters."""
    critic: float = 0.0
    """Weight of a patch discriminator; 0 disables it."""


def learn(
    module: nn.Module,
    contract: Any,
    pairs: Sequence[Pair],
    options: LearnOptions = LearnOptions(),
    *,
    holdout: Sequence[Pair] = (),
    unpainted: Sequence[Frame] = (),
    run: Run = UNKEPT,
    progress: Callable[[History, float], None] = lambda history, done: None,
) -> History:
    """Train `module` in place to reproduce the paintings of the pairs; it ends in eval mode, on the CPU.

    The history records PSNR, SSIM, detail and texture of each pair in `holdout`; samples show those, and the
    output for `unpainted` frames. Everything else is as in `distill`. Raises PipelineError: patch-too-large,
    no-such-device, run-differs, training-diverged.
    """
    smallest = min(min(pair.frame.shape[1:]) for pair in pairs)
    if options.side < SMALLEST or options.side % 8:
        raise PipelineError(
            "bad-size",
            f"{options.side} is not a multiple of 8 from {SMALLEST} on",
            subject="--patch",
            remedy=f"Use {max(options.side // 8 * 8, SMALLEST)}.",
        )
    if smallest < options.side:
        raise PipelineError(
            "patch-too-large",
            f"a pair is only {smallest} pixels high or wide, but patches are {options.side}",
            subject="--patch",
            remedy=f"Use a multiple of 8 from {SMALLEST} up to {smallest // 8 * 8}, or larger pictures.",
        )
    with place(options.loop.device) as where:
        learning = _Learning(module, contract, pairs, options, where, run)
        if run.resume:
            learning.loop.resume()
        shown = [_shown(pair, where.device) for pair in holdout] if where.first else []
        others = [frame.tensor().to(where.device) for frame in unpainted[:2]] if where.first else []

        def measure(painting: nn.Module) -> dict[str, Any]:
            rows: list[tuple[Tensor, ...]] = []
            found = []
            with torch.no_grad():
                for pair, (frame, reference) in zip(holdout, shown, strict=True):
                    output = painting(frame).float().clamp(0, 255)
                    result = quality(output.cpu().numpy() / 255, reference.cpu().numpy() / 255)
                    found.append({"picture": pair.name, **result.as_dict()})
                    rows.append((frame[:, :3], reference, output))
                rows += [(frame[:, :3], painting(frame).float().clamp(0, 255)) for frame in others]
            if run.folder is not None and rows:
                write_file(run.folder / "samples" / f"{learning.loop.step:06d}.jpg", sheet(rows))
            return {"quality": found} if found else {}

        history = learning.loop.run(learning.losses, measure, progress)
    module.to("cpu")
    return history


def _shown(pair: Pair, device: torch.device) -> tuple[Tensor, Tensor]:
    height, width = (size // 8 * 8 for size in pair.frame.shape[1:])
    frame, reference = (
        torch.from_numpy(picture[None, :, :height, :width].astype(np.float32)).to(device)
        for picture in (pair.frame, pair.painted)
    )
    return frame, reference


class _Learning:
    """The state of one training: its loop, the fixed filters, and the discriminator if there is one."""

    def __init__(
        self, module: nn.Module, contract: Any, pairs: Sequence[Pair], options: LearnOptions, where: Any, run: Run
    ) -> None:
        self.pairs, self.options, self.where = pairs, options, where
        self.texture = lost.Texture().to(where.device)
        self.critic = None
        also: dict[str, Any] = {}
        if options.critic:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(options.loop.seed)
                self.critic = lost.Critic().to(where.device)
            self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=4e-4, betas=(0.5, 0.99))
            also = {"critic": self.critic, "critic_adam": Adam(self.critic_optimiser)}
        identity = identity_of(options)
        self.loop = Loop(module, contract, options.loop, where, run=run, identity=identity, also=also)

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        options, where = self.options, self.where
        number = step * where.size + where.rank
        batch = patches(self.pairs, options.loop.seed, number, options.batch, options.side)
        frames, references = (torch.from_numpy(value).to(where.device).float() for value in batch)
        frames = frames.contiguous(memory_format=torch.channels_last)
        outputs = lost.leaky_clamp(self.loop.model(frames))
        parts = {"pixels": lost.pixels(outputs, references)}
        if options.texture:
            with torch.no_grad():
                statistics = self.texture.statistics(references)
            energy, grams = self.texture.loss(outputs, statistics)
            parts |= {"energy": options.texture * energy, "gram": 0.5 * options.texture * grams}
        if self.critic is not None:
            loss = lost.critic_loss(self.critic, frames[:, :3], outputs.detach(), references)
            self.critic_optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.critic_optimiser.step()
            self.critic.requires_grad_(False)
            parts["critic"] = -options.critic * self.critic(frames[:, :3], outputs).float().mean()
            self.critic.requires_grad_(True)
        return parts


def colour_offset(module: nn.Module, contract: Any, pair: Pair) -> float:
    """The difference between the mean colours of the output for a whole frame and of its painting, in levels of
    255: the largest of the three channels."""
    frame, painting = _shown(pair, torch.device("cpu"))
    with torch.no_grad():
        output = GreyLevels(module, contract).eval()(frame).clamp(0, 255)
    return float((output.mean((2, 3)) - painting.mean((2, 3))).abs().max())


def _with_guides(
    student: students.Student, input_channels: str | None, folder: Path | None
) -> tuple[students.Student, ImageContract]:
    """The student with inputs for guides, and its contract. Raises PipelineError `conflicting-options`,
    `bad-input-channels`, and `bad-student` for a family that takes only colour."""
    from pipeline.sources import guides

    if input_channels is None or folder is None:
        raise PipelineError(
            "conflicting-options",
            "--guides and --input-channels are used together",
            subject="--guides" if input_channels is None else "--input-channels",
            remedy="Name the folder with --guides DIR, and its channels with --input-channels, such as rgb,depth.",
        )
    if "input_channels" not in student.params:
        raise PipelineError(
            "bad-student",
            f"{student.architecture} takes only colour",
            subject="--student",
            remedy="Use few-shot or few-shot-instance-norm with guides.",
        )
    declared, _, _ = guides.parse(input_channels)
    total = 3 + sum(guide.channels for guide in declared)
    chosen = replace(student, params=student.params | {"input_channels": total})
    contract = chosen.contract
    side = guides.declared(input_channels, contract.input, folder, known=True)
    return chosen, replace(contract, input=side)


def _guide_identity(folder: Path | None, input_channels: str | None) -> dict[str, Any]:
    """What a resumed run must share of the guides."""
    if folder is None:
        return {}
    digests = {path.relative_to(folder).as_posix(): file_digest(path) for path in picture_files([folder])}
    return {"input_channels": input_channels, "guides": digests}


def _colour_note(offsets: Mapping[str, float], architecture: str) -> str:
    """What is wrong with the colours of whole frames, and what helps; "" if nothing is."""
    name = max(offsets, key=offsets.__getitem__)
    if offsets[name] < OFFSET:
        return ""
    told = f"the mean colour of {name} is {offsets[name]:.0f} levels from its painting's"
    if architecture == few_shot.BATCH_NORM.name:
        return f"{told}: if a network made the paintings, use --student few-shot-instance-norm; else train longer"
    return f"{told}: train longer, or with more pairs"


@on_a_file
def learn_file(
    frames: Path,
    painted: Path,
    student: str,
    options: LearnOptions,
    output: Path | None = None,
    *,
    input_channels: str | None = None,
    guides: Path | None = None,
    holdout: Sequence[str] = (),
    run: Path | None = None,
    resume: bool = False,
    force: bool = False,
    started: Callable[[str], None] = lambda message: None,
    progress: Callable[[History, float], None] = lambda history, done: None,
) -> dict[str, Any]:
    """Train a network on the pairs of two folders, and write it; returns a report as plain data.

    `output` is a .pth; None is PAINTED.pth in the current folder. `holdout` names pairs that are used to measure
    and not to train. `input_channels`, such as `rgb,depth`, are those of a network with guides, whose pictures are
    in the folder `guides` (pipeline.verify.guide_pictures). Raises what `pairs_of`, `_with_guides`, `learn` and
    `students.parse` raise, and `no-pairs` if none is left.
    """
    files = Output(output or Path.cwd() / f"{painted.resolve().name}.pth", run, resume, force)
    chosen = students.parse(student)
    contract = chosen.contract
    if input_channels is not None or guides is not None:
        chosen, contract = _with_guides(chosen, input_channels, guides)
    pairs, unpainted = pairs_of(frames, painted, contract.input.guides, guides)
    names = [pair.name for pair in pairs]
    for name in holdout:
        if name not in names:
            raise PipelineError(
                "no-pairs",
                f"no pair is named {name}; the pairs are {', '.join(names[:8])}",
                subject="--holdout",
                remedy="Use the file name of a painting without its extension.",
            )
    learnt = [pair for pair in pairs if pair.name not in holdout]
    if not learnt:
        raise PipelineError(
            "no-pairs", "no pair is left for training", subject="--holdout", remedy="Hold out fewer pairs."
        )
    module = chosen.build(options.loop.seed)
    rest = f", {len(unpainted)} frames without a painting for the samples" if unpainted else ""
    started(f"{chosen.weights:,} weights ({chosen.spec}); {len(learnt)} pairs for training{rest}")
    digests = {path.name: file_digest(path) for path in picture_files([painted])}
    identity = {"student": chosen.spec, "pairs": digests, "holdout": sorted(holdout)}
    identity |= _guide_identity(guides, input_channels)
    history = learn(
        module,
        contract,
        learnt,
        options,
        holdout=[pair for pair in pairs if pair.name in holdout],
        unpainted=unpainted,
        run=Run(files.folder, resume, identity),
        progress=progress,
    )
    used = [pair.name for pair in learnt]
    offsets = {pair.name: round(colour_offset(module, contract, pair), 1) for pair in pairs[:MOST_OFFSETS]}
    note = _colour_note(offsets, chosen.architecture)
    facts = {
        "pairs": used,
        "input_channels": input_channels,
        "holdout": sorted(holdout),
        "colour_offset": offsets,
        "notes": [note] if note else [],
    }
    return files.write(module, chosen, history.as_dict(), **facts)
