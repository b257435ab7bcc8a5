"""Distillation: trains a student to reproduce the output of a teacher. Imports torch: import it inside a function.

Only the teacher and some pictures are needed: no loss network, no style picture, no data set. The teacher runs on
random crops of the pictures, and the losses of `losses` compare the student's output with the teacher's. The
teacher may be any network that the pipeline reads; an ONNX file is run by ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.contract import ImageContract
from pipeline.network import Network
from pipeline.shrink import losses as lost
from pipeline.shrink.checkpoint import UNKEPT, Run, pictures_identity
from pipeline.shrink.data import Ahead, Crops, Pictures
from pipeline.shrink.inner import UNTIL_NARROWED, Inner
from pipeline.shrink.loop import History, Loop, LoopOptions, Place, place
from pipeline.shrink.motion import Motion, Sequences, camera, noisy, warp
from pipeline.shrink.optimiser import Adam
from pipeline.shrink.pictures import as_tensor, sheet
from pipeline.shrink.quality import quality
from pipeline.shrink.teacher import LEVELS, Teacher
from pipeline.support.files import write_file
from pipeline.support.picture_files import picture_files
from pipeline.support.size import Size

MARGIN = 8
"""Pixels by which the teacher's crops are larger than the student's, so that the student sees shifted windows."""
GROWN_AT = 0.5
"""Part of the training after which the texture losses have their full weight; they start with a tenth of it. A
student that is trained on texture before it has learnt the positions of strokes puts them anywhere, and does not
recover."""
HINTS_UNTIL = 0.5
"""Part of the training after which the weight of the hints is zero: a smaller network needs features of its
own."""


@dataclass(frozen=True)
class Weights:
    """Weight of each loss; 0 disables it."""

    pixels: float = 1.0
    fine: float = 0.5
    """Weight of the finest scale within `pixels`, where strokes have to match exactly."""
    energy: float = 2.0
    """Local energies of fixed random filters."""
    gram: float = 1.0
    """Their Gram matrices."""
    strokes: float = 1.0
    """Directions and strengths of edges in windows of the size of a stroke."""
    hints: float = 1.0
    """Inner layers compared with the teacher's, decreasing to 0 at half of the training; torch teachers only."""
    features: float = 0.1
    """Outputs of the teacher's first convolutions; torch teachers only."""
    statistics: float = 1.0
    """Their local energies and Gram matrices."""
    critic: float = 0.1
    """A patch discriminator."""
    flicker: float = 0.5
    """Difference between the student's outputs for the same content, shifted by a few pixels and with noise
    added."""
    steady: float = 0.0
    """Difference between the student's outputs for two views with a known or estimated motion (motion.py), instead
    of `flicker`; `STEADY` is usual."""


STEADY = 10.0
"""Weight of `steady` that halves the flicker of a student compared with its teacher."""
TUNING = Weights(energy=1.0, gram=0.5, strokes=0.5, hints=0, features=0, statistics=0, critic=0, flicker=0)
"""For a pruned network, which is close enough to its original to reproduce the positions of strokes: the pixel
loss, and texture losses that keep it sharp. A step takes half as long as with all losses."""


NARROWED = Weights(hints=0, features=0, statistics=0, critic=0, flicker=0)
"""For a student that starts from its teacher's weights: the pixel loss and the texture losses that need no other
network. In the same time this is closer to the teacher than all losses (docs/distill.md)."""
WHOLE_CROP = 192
"""Side of the crops, in pixels, of a student that sees the same crops as its teacher."""


@dataclass(frozen=True)
class DistillOptions:
    """How a student is distilled: `loop` is the length of the training, the other fields describe one step."""

    loop: LoopOptions = field(default_factory=LoopOptions)
    weights: Weights = field(default_factory=Weights)
    sides: tuple[int, ...] = (128, 192)
    """Sides of the teacher's square crops in pixels, one chosen at random for each batch, rounded up to the
    multiple that the teacher needs. The student's windows are `margin` smaller."""
    pixels: int = 65_536
    """Approximate number of pixels per step."""
    margin: int = MARGIN
    """Pixels by which the teacher's crops are larger than the student's windows. With 0 both see the same crop,
    and the student's norms can compute the same statistics: for a network that is close to its teacher."""
    reuse: int = 3
    """Approximate number of times an output of the teacher is used, each time with a new shift and in a new
    batch."""
    pool: int = 48
    """Number of the teacher's batches that are kept for reuse."""
    inner: float = 0.0
    """Part of the training, from its start, in which only the layers up to the teacher's coarsest features are
    trained, and on these features (pipeline.shrink.inner): for students that begin as their teacher. Where the
    two do not correspond, the pictures are compared from the start."""
    original_decoder: bool = False
    """Whether the layers behind these features begin as the teacher's, where they have the same shape: for a
    pruned network, which computes the same in narrower layers."""

    def near_teacher(self, weights: Weights, inner: float = UNTIL_NARROWED) -> DistillOptions:
        """These options for a student that is close to its teacher: both see the same whole crops, unless a loss
        on flicker needs shifted windows, and the inner layers are trained first, for the part `inner` of the
        training. Each output of the teacher is used twice as often: a step with few losses is short beside it."""
        margin = self.margin if weights.flicker or weights.steady else 0
        return replace(
            self, weights=weights, sides=(WHOLE_CROP,), margin=margin, reuse=2 * self.reuse, inner=inner
        )


def distill(
    teacher: Network | nn.Module,
    student: nn.Module,
    images: Sequence[Path] | Pictures,
    options: DistillOptions = DistillOptions(),
    *,
    teacher_contract: ImageContract | None = None,
    student_contract: ImageContract = LEVELS,
    sequences: Sequences | None = None,
    holdout: Sequence[Path] = (),
    run: Run = UNKEPT,
    progress: Callable[[History, float], None] = lambda history, done: None,
) -> History:
    """Train `student` in place to reproduce the output of `teacher`; it ends in eval mode, on the CPU. A teacher
    that is a torch module is returned to the CPU too, in eval mode and without gradients.

    A trained student (a pruned network) is fine-tuned the same way, with a lower `options.loop.rate`, such as
    1e-3. `images` are files and folders. The contracts are 0..255 RGB where nothing is said. Of each picture in
    `holdout` PSNR, SSIM, detail and texture against the teacher stand in the history (quality.py). `run` says
    where the checkpoint and sample pictures are written, and whether to go on from that checkpoint: then the
    student is bit-identical to one trained without the interruption. `progress(history, done)` is called after
    each step.
    Raises PipelineError: no-pictures, bad-picture, channels-differ, sizes-differ, no-such-device, run-differs,
    damaged-file, training-diverged.
    """
    pictures = images if isinstance(images, Pictures) else Pictures(picture_files(images, holdout))
    with place(options.loop.device) as where:
        painter = Teacher(teacher, where.device, teacher_contract)
        distilling = _Distilling(painter, pictures, options, where, sequences)
        loop = Loop(
            student,
            student_contract,
            options.loop,
            where,
            run=run,
            identity=_identity(options)
            | {"pictures": pictures_identity([*pictures.files, *(sequences.files if sequences else ())])},
            also=distilling.keeps(),
        )
        distilling.join(loop)
        if run.resume and loop.resume() and loop.done() < 1:
            distilling.fill(loop.step)
        shown = [_Shown(path, painter, where) for path in holdout] if where.first else []

        def measure(painting: nn.Module) -> dict[str, Any]:
            results = [entry.measure(painting) for entry in shown]
            if run.folder is not None and shown:
                write_file(
                    run.folder / "samples" / f"{loop.step:06d}.jpg",
                    sheet([(entry.picture, entry.wanted, entry.painted) for entry in shown]),
                )
            return {"quality": results}

        try:
            history = loop.run(distilling.losses, measure, progress)
        finally:
            distilling.close()
            student.to("cpu")
    return history


def _identity(options: DistillOptions) -> dict[str, Any]:
    """The options that a resumed run must share with the one that wrote the checkpoint, as plain values."""
    values = asdict(replace(options, loop=replace(options.loop, device="auto", every=1)))
    values = {**values.pop("loop"), **values.pop("weights"), **values}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


@dataclass(frozen=True)
class _Batch:
    """Pictures (N, 3, H, W) and the teacher's outputs for them, uint8; its inner features while these are trained;
    of a sequence, the next frames and the motion to them."""

    pictures: Tensor
    outputs: Tensor
    features: Tensor | None = None
    following: Tensor | None = None
    motion: Motion | None = None
    texture: _Texture | None = None
    """Of the outputs, if the student sees them whole: it is the same in every use of the batch."""


@dataclass(frozen=True)
class _Texture:
    """What the texture losses compare of outputs of the teacher."""

    statistics: list[lost.Statistics]
    edges: list[Tensor]


class _Distilling:
    """The losses of each step, on outputs of the teacher that are reused a few times."""

    def __init__(
        self,
        teacher: Teacher,
        pictures: Pictures,
        options: DistillOptions,
        where: Place,
        sequences: Sequences | None = None,
    ) -> None:
        self.teacher, self.options, self.where = teacher, options, where
        self.sequences = sequences
        if sequences is not None:
            sequences.check(self._size(max(options.sides)))
        self.crops = Crops(pictures, options.loop.seed)
        self.ahead = Ahead(self._crops_of, 4 if where.device.type == "cuda" else 0)
        self.texture = lost.Texture().to(where.device)
        self.pool: list[_Batch] = []
        self.loop: Loop
        self.inner: Inner | None = None
        self.hints: lost.Hints | None = None
        self.critic = self.critic_optimiser = None
        if options.weights.critic:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(options.loop.seed)
                self.critic = lost.Critic().to(where.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=5e-4, betas=(0.5, 0.99))

    def join(self, loop: Loop) -> None:
        """Attach the teacher's hooks to this loop: called once, before it runs or resumes."""
        self.loop = loop
        if self.teacher.module is not None and self.options.inner and self.where.size == 1:
            size = self.teacher.fixed_size or Size(128, 128)
            pictures = torch.from_numpy(self.crops.batch(0, 4, *size.hw)).to(self.where.device).float()
            inner = Inner(self.teacher.module, loop.model, pictures)
            if inner.found:
                if self.options.original_decoder:
                    inner.restore_decoder()
                    loop.restart_average()
                self.inner = loop.also["inner"] = inner
                return
            inner.close()
        if self.teacher.module is not None and self.options.weights.hints:
            hints = lost.Hints(self.teacher.module.network, loop.student, self.where.device)
            if hints.pairs:
                self.hints = loop.also["hints"] = hints
                loop.optimiser.add_param_group({"params": list(hints.parameters()), "scale": 1.0})

    def keeps(self) -> dict[str, Any]:
        if self.critic is None or self.critic_optimiser is None:
            return {}
        return {"critic": self.critic, "critic_optimiser": Adam(self.critic_optimiser)}

    def close(self) -> None:
        """Leave teacher and student without hooks, the teacher on the CPU."""
        for hooked in (self.hints, self.inner):
            if hooked is not None:
                hooked.close()
        self.teacher.close()

    # --- the teacher's outputs ---

    def fill(self, step: int) -> None:
        """Recompute the pool as it was before this step, each batch in the precision in which it was computed."""
        newest = (step - 1) // self.options.reuse
        for number in range(max(newest - self.options.pool + 1, 0), newest + 1):
            with self.loop.autocast(self.loop.done(number * self.options.reuse)):
                self._paint(number)

    def _size(self, side: int) -> Size:
        """The size of the teacher's crops for a side of the options."""
        side = -(-side // self.teacher.multiple) * self.teacher.multiple
        return self.teacher.fixed_size or Size(side, side)

    def _shape(self, number: int) -> tuple[int, int, int]:
        """Number, height and width of the crops of batch `number`."""
        rng = np.random.default_rng([self.options.loop.seed, number, 1])
        size = self._size(int(rng.choice(self.options.sides)))
        return max(self.options.pixels // size.pixels, 1), *size.hw

    def _crops_of(self, number: int) -> np.ndarray:
        """The pictures of batch `number` of this process."""
        return self.crops.batch(number * self.where.size + self.where.rank, *self._shape(number))

    def _paint(self, number: int) -> None:
        """Run the teacher on batch `number` of this process, and keep the result in the pool."""
        following = motion = None
        if self.sequences is not None and number % 2:  # every other batch, as the still pictures are more varied
            count, *size = self._shape(number)
            crops, second, motion = self.sequences.batch(number * self.where.size + self.where.rank, count, *size)
            following, motion = torch.from_numpy(second).to(self.where.device), motion.to(self.where.device)
        else:
            crops = self.ahead.get(number)
        pictures = torch.from_numpy(crops).to(self.where.device)
        given = pictures.float().contiguous(memory_format=torch.channels_last)
        features = None
        if self.inner is None or self.loop.done() >= self.options.inner:
            outputs = self.teacher.run(given)
        else:
            with self.inner.watching():
                outputs = self.teacher.run(given)
            features = self.inner.taken()
        outputs = outputs.round().to(torch.uint8)
        texture = None
        if self.options.margin == 0:
            texture = self._texture(_window(outputs, np.zeros(2), 0))
        self.pool.append(_Batch(pictures, outputs, features, following, motion, texture))
        del self.pool[: -self.options.pool]

    def _texture(self, outputs: Tensor) -> _Texture:
        weights = self.options.weights
        with torch.no_grad():
            statistics = self.texture.statistics(outputs) if weights.energy or weights.gram else []
            return _Texture(statistics, lost.edges(outputs) if weights.strokes else [])

    def _batch(self, step: int, rng: np.random.Generator) -> _Batch:
        """The batch of this step: a new one every `reuse` steps, else one of the pool."""
        if step % self.options.reuse == 0:
            self._paint(step // self.options.reuse)
            return self.pool[-1]
        return self.pool[int(rng.integers(len(self.pool)))]

    # --- losses ---

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        """The weighted losses of one step."""
        weights = self.options.weights
        rng = np.random.default_rng([self.options.loop.seed, step, 2, self.where.rank])
        batch = self._batch(step, rng)
        if batch.features is not None and done < self.options.inner:
            assert self.inner is not None
            given = batch.pictures.float().contiguous(memory_format=torch.channels_last)
            return {"inner": self.inner.loss(given, batch.features)}
        shifts = rng.integers(0, self.options.margin + 1, (2, 2))
        margin = self.options.margin
        pictures, references = (_window(value, shifts[0], margin) for value in (batch.pictures, batch.outputs))
        moving = step % 2 == 1 or batch.motion is not None
        steady = moving and weights.steady > 0
        shifted = moving and not steady and weights.flicker > 0
        # Half of the batch, and a second view of it: as many pixels as without.
        half = max(len(pictures) // 2, 1)
        if steady:
            pictures, references, motion = self._moving(batch, half, rng)
        elif shifted:
            second, outputs = (
                _window(value[:half], shifts[1], margin) for value in (batch.pictures, batch.outputs)
            )
            pictures = torch.cat((pictures[:half], noisy(second, rng)))
            references = torch.cat((references[:half], outputs))
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        hint = weights.hints * max(0.0, 1 - done / HINTS_UNTIL) if self.hints is not None else 0.0
        if self.hints is not None:
            self.hints.listening = hint > 0
        both = lost.leaky_clamp(self.loop.model(pictures))
        outputs = both[: len(references)]
        grown = min(1.0, 0.1 + 0.9 * done / GROWN_AT)
        fine = 1 - (1 - weights.fine) * grown
        parts = {"pixels": weights.pixels * lost.pixels(outputs, references, fine)}
        if self.hints is not None and hint > 0:
            assert self.teacher.module is not None
            parts["hints"] = hint * self.hints.loss(self.teacher.module.to_network(pictures))
        texture = batch.texture or self._texture(references)
        if texture.statistics:
            energy, grams = self.texture.loss(outputs, texture.statistics)
            parts |= {"energy": grown * weights.energy * energy, "gram": grown * weights.gram * grams}
        if texture.edges:
            parts["strokes"] = grown * weights.strokes * lost.strokes(outputs, texture.edges)
        if self.teacher.eyes is not None and (weights.features or weights.statistics):
            features, seen = self.teacher.eyes.loss(outputs, references)
            parts |= {"features": weights.features * features, "statistics": grown * weights.statistics * seen}
        if steady:
            parts["steady"] = weights.steady * motion.loss(outputs, both[half:])
        elif shifted:
            parts["flicker"] = weights.flicker * _flicker(outputs[:half], outputs[half:], shifts)
        if self.critic is not None:
            given = pictures[: len(references)]
            parts["critic"] = grown * weights.critic * self._critic(given, outputs, references)
        return parts

    def _moving(self, batch: _Batch, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Motion]:
        """`count` pictures of a batch and a second view of each, the teacher's outputs for the first views, and
        the motion: of the sequence, or of a synthetic camera."""
        margin = self.options.margin
        centre = np.array([margin // 2, margin // 2])
        pictures, references = (_window(v[:count], centre, margin) for v in (batch.pictures, batch.outputs))
        if batch.motion is not None and batch.following is not None:
            second = _window(batch.following[:count], centre, margin)
            fields = (_window(v[:count], centre, margin) for v in (batch.motion.moved, batch.motion.weight))
            return torch.cat((pictures, second)), references, Motion(*fields).inside()
        motion = camera(rng, count, *pictures.shape[2:]).to(pictures.device)
        second = warp(batch.pictures[:count], motion.moved, margin // 2)
        return torch.cat((pictures, noisy(second, rng))), references, motion

    def _critic(self, pictures: Tensor, outputs: Tensor, references: Tensor) -> Tensor:
        assert self.critic is not None and self.critic_optimiser is not None
        loss = lost.critic_loss(self.critic, pictures, outputs.detach(), references)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimiser.step()
        self.critic.requires_grad_(False)
        result = -self.critic(pictures, outputs).float().mean()
        self.critic.requires_grad_(True)
        return result


def _window(value: Tensor, shift: np.ndarray, margin: int) -> Tensor:
    """The window of a crop at a shift (down, right) of 0..margin pixels, as float."""
    height, width = ((size - margin) // 8 * 8 for size in value.shape[2:])
    down, right = int(shift[0]), int(shift[1])
    return value[:, :, down : down + height, right : right + width].float()


def _flicker(first: Tensor, second: Tensor, shifts: np.ndarray) -> Tensor:
    """Difference between the outputs for two shifted windows of one crop, in their common part."""
    down, right = (int(b - a) for a, b in zip(*shifts, strict=True))
    height, width = first.shape[2:]
    a = first[:, :, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    b = second[:, :, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    return lost.charbonnier((a - b) / lost.UNIT)


# --- held-out pictures -----------------------------------------------------------------------------------------


class _Shown:
    """A held-out picture with the teacher's output and, once measured, the student's."""

    def __init__(self, path: Path, teacher: Teacher, where: Place) -> None:
        self.name = path.name
        self.picture = as_tensor(path, teacher.fixed_size, teacher.multiple).to(where.device)
        self.wanted = teacher.run(self.picture)
        self.painted = self.wanted

    def measure(self, painting: nn.Module) -> dict[str, Any]:
        with torch.no_grad():
            self.painted = painting(self.picture).float().clamp(0, 255)
        result = quality(self.painted.cpu().numpy() / 255, self.wanted.cpu().numpy() / 255)
        return {"picture": self.name, **result.as_dict()}
