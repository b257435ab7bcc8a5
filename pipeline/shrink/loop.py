"""The training loop that distilling and perceptual training share. Imports torch: import it inside a function.

SOAP with warm-up and cosine decay, clipped gradients, a moving average of the weights as the result, bfloat16 for
most of the training if the hardware supports it, checkpoints from which a killed run continues, and as many
processes as `torchrun` starts (DistributedDataParallel; gloo on CPUs, nccl on GPUs).
"""

from __future__ import annotations

import copy
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from pipeline.contract import ImageContract
from pipeline.shrink.checkpoint import CHECKPOINT, UNKEPT, Run, State, checked, read_checkpoint, write_checkpoint
from pipeline.shrink.losses import learning_rate
from pipeline.shrink.optimiser import Soap, fill
from pipeline.support.errors import PipelineError

FULL_FROM = 0.85
"""Part of the training that uses bfloat16, if that is enabled; the rest uses float32."""
LARGEST_LAST = 64.0
"""Largest factor on the learning rate of the last convolution."""
STATISTICS_UNTIL = 0.5
"""Part of the training in which batch norm uses the statistics of the batch; then it uses its running statistics,
as in eval mode."""
SAVE_SECONDS = 60.0
"""Longest time between checkpoints."""
MOST_SKIPPED = 50
"""Steps in a row whose gradients are not numbers, after which a training counts as diverged."""


@dataclass(frozen=True)
class LoopOptions:
    """How long and how a network is trained. Either `steps` or `minutes` ends it.

    With `steps`, the seed determines the result (bit-identical on CPUs with the same number of threads); with
    `minutes`, the learning rate follows the clock, and the result depends on the speed of the machine.
    """

    steps: int = 4000
    minutes: float | None = None
    seed: int = 1
    rate: float | None = None
    """Highest learning rate; None: 0.004, and less for networks wider than 32, as 1/width."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1, mps."""
    half: bool | None = None
    """bfloat16: None decides by the hardware."""
    every: int = 250
    """Steps between measurements, samples and checkpoints."""


def identity_of(options: Any) -> dict[str, Any]:
    """The options that a resumed run must share with the one that wrote the checkpoint, as plain values.

    `options` is a dataclass with a field `loop`. Device and `every` may differ.
    """
    values = asdict(replace(options, loop=replace(options.loop, device="auto", every=1)))
    return {**values.pop("loop"), **values}


class Keeps(Protocol):
    """Something whose state is saved in a checkpoint."""

    def state_dict(self) -> Mapping[str, Tensor]: ...
    def load_state_dict(self, state: Any) -> Any: ...


@dataclass
class History:
    """The course of a training: one record for each measurement, and totals."""

    records: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    minutes: float = 0.0
    """Spent in training, also before a resumption."""
    device: str = ""
    half: bool = False
    processes: int = 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class GreyLevels(nn.Module):
    """A network with input and output converted to RGB in grey levels 0..255, (N, 3, H, W), from its own
    ranges."""

    def __init__(self, network: nn.Module, contract: ImageContract) -> None:
        super().__init__()
        self.network = network
        self.order = contract.input.network_order()
        self.flipped = contract.output.order == "bgr"
        for name, side in (("given", contract.input), ("gives", contract.output)):
            scale, shift = (torch.tensor(values).view(1, -1, 1, 1) for values in side.affine())
            self.register_buffer(f"{name}_scale", scale / 255)
            self.register_buffer(f"{name}_shift", shift)

    given_scale: Tensor
    given_shift: Tensor
    gives_scale: Tensor
    gives_shift: Tensor

    def to_network(self, levels: Tensor) -> Tensor:
        """Grey levels in the network's own input range."""
        values = levels * self.given_scale + self.given_shift
        return values if self.order == sorted(self.order) else values[:, self.order]

    def forward(self, levels: Tensor) -> Tensor:
        values = self.network(self.to_network(levels)).float()
        values = values.flip(1) if self.flipped else values
        return (values - self.gives_shift) / self.gives_scale


# --- where it runs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """The device of this process, its rank, and the number of processes."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0


@contextmanager
def place(requested: str) -> Iterator[Place]:
    """The device to train on; under torchrun, the process group is joined, and left at the end.

    Raises PipelineError `no-such-device`.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    name = requested
    if requested == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and size > 1:
        name = f"cuda:{local}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise PipelineError(
            "no-such-device",
            f"torch cannot use {requested!r} here ({str(error).splitlines()[0][:160]})",
            subject="--device",
            remedy="Use cpu, or install torch with support for your GPU.",
        ) from error
    joined = size > 1 and not distributed.is_initialized()
    if joined:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        rank = distributed.get_rank() if distributed.is_initialized() else 0
        yield Place(device, rank, size)
    finally:
        if joined:
            distributed.destroy_process_group()


def can_half(device: torch.device) -> bool:
    """Whether the hardware supports bfloat16, so that it saves time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return False


@contextmanager
def bfloat16(device: torch.device) -> Iterator[None]:
    """Context manager in which convolutions, and what is between them, run in bfloat16.

    On CPUs torch's autocast runs reflection padding in float32 (aten/src/ATen/autocast_mode.cpp, torch 2.13), so
    that the input of every convolution would be converted twice, a sixth of the time of a step.
    """
    padding = None
    if device.type == "cpu":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that an operator's implementation is replaced
            padding = torch.library.Library("aten", "IMPL")
            padding.impl("reflection_pad2d", torch.library.fallthrough_kernel, "AutocastCPU")
    try:
        with torch.autocast(device.type, torch.bfloat16):
            yield
    finally:
        del padding  # which restores torch's own


# --- the loop -------------------------------------------------------------------------------------------------


class Loop:
    """Trains `student` in place. `also` are further things with a state, saved and resumed with it."""

    def __init__(
        self,
        student: nn.Module,
        contract: ImageContract,
        options: LoopOptions,
        where: Place,
        *,
        run: Run = UNKEPT,
        identity: Mapping[str, Any] | None = None,
        also: Mapping[str, Keeps] | None = None,
    ) -> None:
        self.options, self.where = options, where
        keeps = run.folder is not None and (where.first or run.resume)
        self.path = run.folder / CHECKPOINT if run.folder is not None and keeps else None
        self.identity, self.also = {**(identity or {}), **run.identity}, dict(also or {})
        self.layout = torch.channels_last
        self.student = student.to(where.device).to(memory_format=self.layout).train()  # type: ignore[call-overload]
        self.model: nn.Module = GreyLevels(self.student, contract).to(where.device)
        self.averaged_model = copy.deepcopy(self.model).eval()
        self.rate = usual_rate(self.student) if options.rate is None else options.rate
        self.optimiser = Soap(_groups(self.student), self.rate)
        self.average = {k: v.detach().clone() for k, v in self.student.state_dict().items()}
        self.half = can_half(where.device) if options.half is None else options.half
        self.step = self.skipped = self.since = 0
        self.sums: dict[str, Tensor] = {}
        """Of the losses of the `since` steps after the last measurement."""
        self.history = History(device=str(where.device), half=self.half, processes=where.size)
        self._before = 0.0
        self._started = time.monotonic()
        if where.size > 1:
            on = [where.device] if where.device.type == "cuda" else None
            self.model = nn.parallel.DistributedDataParallel(self.model, device_ids=on)

    # --- time ---

    @property
    def seconds(self) -> float:
        """Spent in training so far, also before a resumption."""
        return self._before + time.monotonic() - self._started

    def done(self, step: int | None = None) -> float:
        """The part of the training that is done, 0..1; the same in every process.

        `step` (default: the current one) may only be given if the training has a number of steps.
        """
        if self.options.minutes is None:
            return min((self.step if step is None else step) / self.options.steps, 1.0)
        part = min(self.seconds / (self.options.minutes * 60), 1.0)
        if self.where.size > 1:
            shared = torch.tensor([part], device=self.where.device)
            distributed.broadcast(shared, 0)
            part = float(shared)
        return part

    # --- running ---

    def run(
        self,
        losses: Callable[[int, float], dict[str, Tensor]],
        measure: Callable[[nn.Module], dict[str, Any]],
        progress: Callable[[History, float], None] = lambda history, done: None,
    ) -> History:
        """Train to the end; the student then has the averaged weights, and is in eval mode.

        `losses(step, done)` returns the weighted losses whose sum is minimised. `measure(model)` is called in the
        first process with the averaged network, every `every` steps and at the end; its result goes into the
        history. `progress(history, done)` is called after each step. Raises PipelineError `training-diverged`.
        """
        self._started = saved = time.monotonic()
        if self.where.first:
            self.save()  # at once, so that a place where nothing can be written is found before the work
        done = self.done()
        while done < 1:
            if done >= STATISTICS_UNTIL:
                _hold_statistics(self.student)
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * group["scale"] * learning_rate(done)
            with self.autocast(done):
                parts = losses(self.step, done)
            total = torch.stack([part.float() for part in parts.values()]).sum()
            self.optimiser.zero_grad()
            total.backward()
            if bool(torch.isfinite(nn.utils.clip_grad_norm_(self.student.parameters(), 5.0))):
                self.optimiser.step()
                self._follow()
                self.skipped = 0
            else:
                self.skipped += 1
            self.step += 1
            if not self.skipped:
                self.since += 1
                for name, part in parts.items():
                    self.sums[name] = self.sums.get(name, 0) + part.detach().float()
            done = self.done()
            self.history.steps, self.history.minutes = self.step, self.seconds / 60
            if done >= 1 or self.step % self.options.every == 0:
                means = {name: float(value) / max(self.since, 1) for name, value in self.sums.items()}
                self._check(means, self.since)
                self.sums, self.since = {}, 0
                if self.where.first:
                    record = {"step": self.step, "minutes": round(self.seconds / 60, 3), "losses": means}
                    self.history.records.append(record | measure(self.averaged()))
                    self.save()
            elif self.where.first and time.monotonic() - saved > SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
            progress(self.history, done)
        self.student.load_state_dict(self.average)
        self.student.eval()
        return self.history

    def autocast(self, done: float = 0.0) -> Any:
        """bfloat16 if it is enabled, except in the last part of the training."""
        return bfloat16(self.where.device) if self.half and done < FULL_FROM else nullcontext()

    def averaged(self) -> nn.Module:
        """The network with the averaged weights, as a function of grey levels, in eval mode."""
        self.averaged_model.network.load_state_dict(self.average)  # type: ignore[union-attr]
        return self.averaged_model

    def restart_average(self) -> None:
        """Restart the moving average from the student's current weights."""
        for name, value in self.student.state_dict().items():
            self.average[name].copy_(value)

    def _follow(self) -> None:
        """The moving average, over the last 20 steps at first and 500 later."""
        weight = 1 - min(0.998, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            for name, value in self.student.state_dict().items():
                if value.dtype.is_floating_point:
                    self.average[name].lerp_(value, weight)
                else:
                    self.average[name].copy_(value)

    def _check(self, means: Mapping[str, float], taken: int) -> None:
        """Raise `training-diverged` if losses or weights are not finite, or if all of the last steps were
        skipped."""
        whole = all(bool(value.isfinite().all()) for value in self.average.values())
        if taken and whole and self.skipped < MOST_SKIPPED and all(map(math.isfinite, means.values())):
            return
        what = f"{'the losses' if whole else 'the weights'} are NaN or infinite at step {self.step} ({means})"
        if not taken:
            what = f"all of the last {self.skipped} steps were skipped because their gradients are NaN"
        raise PipelineError(
            "training-diverged",
            what,
            subject="--rate",
            remedy=f"Start again with --force and a --rate below {self.rate:g}.",
        )

    # --- checkpoints ---

    def save(self) -> None:
        """Write the state of the run in one rename."""
        if self.path is None:
            return
        stateful = {"student": self.student, "optimiser": self.optimiser, **self.also}
        tensors = {f"{name}/{k}": v for name, part in stateful.items() for k, v in part.state_dict().items()}
        tensors |= {f"average/{name}": value for name, value in self.average.items()}
        state = State(
            self.identity,
            self.step,
            self.seconds,
            self.half,
            self.skipped,
            self.since,
            {name: float(value) for name, value in self.sums.items()},
            [group["scale"] for group in self.optimiser.param_groups],
            self.history.records,
            {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()},
        )
        write_checkpoint(self.path, state)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; False if there is none.

        Raises PipelineError `run-differs` if it belongs to another run, `damaged-file` if it cannot be read.
        """
        if self.path is None or not self.path.is_file():
            return False
        state = read_checkpoint(self.path, self.identity)
        with checked(self.path), torch.no_grad():
            for name, stateful in {"student": self.student, "optimiser": self.optimiser, **self.also}.items():
                tensors = {key: torch.from_numpy(value) for key, value in state.part(name).items()}
                stateful.load_state_dict(tensors)
            for group, scale in zip(self.optimiser.param_groups, state.scales, strict=True):
                group["scale"] = scale
            average = state.part("average")
            for name, value in self.average.items():  # in place: the layout in memory stays as it is
                fill(value, torch.from_numpy(average[name]))
            self.sums = {k: torch.tensor(v, device=self.where.device) for k, v in state.sums.items()}
        self.step, self.skipped, self.since = state.step, state.skipped, state.since
        self._before, self.half = state.seconds, state.half
        self.history.half, self.history.records = state.half, state.records
        self.history.steps, self.history.minutes = state.step, state.seconds / 60
        return True


def usual_rate(student: nn.Module) -> float:
    """The default learning rate: lower for wide layers, because their weights are smaller."""
    widest = max((m.out_channels for m in student.modules() if isinstance(m, nn.Conv2d)), default=32)
    return 4e-3 * min(1.0, 32 / widest)


def _hold_statistics(student: nn.Module) -> None:
    """Put batch norm into eval mode: it then normalises with its running statistics."""
    for module in student.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _groups(student: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser whose steps do not depend on the size of a weight.

    A last convolution that outputs grey levels has weights 64 times as large as the others, and needs steps as
    much larger; the factor is the ratio of its weights to torch's initial ones (standard deviation 1/sqrt(3 n)).
    """
    convolutions = [m for m in student.modules() if isinstance(m, nn.Conv2d)]
    if not convolutions:
        return [{"params": list(student.parameters()), "scale": 1.0}]
    last = convolutions[-1]
    with torch.no_grad():
        usual = (3 * last.weight[0].numel()) ** -0.5
        scale = min(max(float(last.weight.square().mean().sqrt()) / usual, 1.0), LARGEST_LAST)
    large = {id(p) for p in last.parameters()}
    others = [p for p in student.parameters() if id(p) not in large]
    return [{"params": others, "scale": 1.0}, {"params": list(last.parameters()), "scale": scale}]
