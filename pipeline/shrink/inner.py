"""Trains the inside of a student against its teacher's, before the pictures are compared. Imports torch: import it
inside a function.

What a style network gives behind its last layer at the coarsest resolution holds all that its decoder paints from.
A student that begins as its teacher (pruned, or narrowed by pipeline.shrink.start) has its layers up to there
brought to the teacher's values first: the loss is a plain mean square, the targets come with the painting that the
teacher makes anyway, and neither the decoder nor any loss network runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

UNTIL = 0.4
"""Part of a training in which the inside is trained, where a student begins as its teacher."""
COARSEST = 8
"""Pixels to a feature beyond which the coarsest features are those of a U-Net, whose decoder paints from the finer
ones that go around them."""
LEAST_ALIKE = 0.5
"""Mean correlation of a trained student's channels with the teacher's from which on it counts as made from it."""


class _Enough(Exception):
    """Ends a forward pass when the wanted layer has been computed."""


class Inner(nn.Module):
    """Holds a student's innermost features against those of its teacher.

    `teacher` and `student` take `pictures` in grey levels (N, 3, H, W). `channels` are the teacher's channels that
    the student's are held against, found by correlation over the pictures: each at most once; `alike` is the mean
    of these correlations. `found` is False where the two do not go through the same resolutions, where the
    coarsest is too coarse, and where the student is wider; nothing can be trained then.
    """

    channels: Tensor
    variance: Tensor

    def __init__(self, teacher: nn.Module, student: nn.Module, pictures: Tensor) -> None:
        super().__init__()
        self._networks = {"teacher": teacher, "student": student}  # not as parts of this module
        self._kept: dict[str, Tensor] = {}
        self._watched, self._only = "", False
        self._hooks: list[Any] = []
        self.register_buffer("channels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("variance", torch.ones(()))
        layers = {name: _innermost(network, pictures) for name, network in self._networks.items()}
        self.alike = 0.0
        self._layers, self._pictures = layers, pictures
        self.found = all(layer is not None for layer in layers.values())
        if not self.found:
            return
        for name, layer in layers.items():
            assert layer is not None
            self._hooks.append(layer.register_forward_hook(self._keep(name)))
        with torch.no_grad():
            theirs, ours = self.of("teacher", pictures).float(), self.of("student", pictures).float()
        self.found = theirs.shape[2:] == ours.shape[2:] and theirs.shape[1] >= ours.shape[1]
        if not self.found:
            return
        self.channels, self.alike = _matched(ours, theirs)
        wanted = theirs[:, self.channels]
        self.variance = (wanted - wanted.mean((2, 3), keepdim=True)).square().mean().clamp_min(1e-12)

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if self._watched == name:
                self._kept[name] = output
                if self._only:
                    raise _Enough

        return hook

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, each picture that the teacher paints leaves its features for `taken`."""
        self._watched, self._only = "teacher", False
        try:
            yield
        finally:
            self._watched = ""

    def taken(self) -> Tensor:
        """The targets (N, C, h, w) of the pictures that the teacher has just painted, in bfloat16."""
        return self._kept.pop("teacher")[:, self.channels].to(torch.bfloat16)

    def of(self, name: str, pictures: Tensor) -> Tensor:
        """The features of the `teacher` or of the `student`; the layers behind them do not run."""
        self._watched, self._only = name, True
        try:
            self._networks[name](pictures)
        except _Enough:
            pass
        finally:
            self._watched, self._only = "", False
        return self._kept.pop(name)

    def restore_decoder(self) -> int:
        """Give the student's layers behind the features the teacher's weights, where they have the same shape.

        Refitting has adapted these layers to features that were still far from the teacher's. Gives how many.
        """
        theirs = dict(self._networks["teacher"].named_modules())
        restored = 0
        for name in _behind(self._networks["student"], self._layers["student"], self._pictures):
            ours = self._networks["student"].get_submodule(name)
            state = {key: value.shape for key, value in ours.state_dict().items()}
            other = theirs.get(name)
            if other is not None and {key: value.shape for key, value in other.state_dict().items()} == state:
                ours.load_state_dict(other.state_dict())
                restored += 1
        return restored

    def loss(self, pictures: Tensor, wanted: Tensor) -> Tensor:
        """How far the student's features of `pictures` are from `wanted`: a part of the teacher's variance."""
        return (self.of("student", pictures).float() - wanted.float()).square().mean() / self.variance

    def close(self) -> None:
        """Leave teacher and student as they were."""
        for hook in self._hooks:
            hook.remove()


def _innermost(network: nn.Module, picture: Tensor) -> nn.Module | None:
    """The module whose call ends last among those that give the coarsest feature map; None if that is as fine as
    the picture, or coarser than `COARSEST`."""
    ended: list[tuple[nn.Module, int]] = []

    def note(layer: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[1] > 3:
            ended.append((layer, output.shape[2]))

    hooks = [layer.register_forward_hook(note) for layer in network.modules()]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(picture)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    coarsest = min((height for _, height in ended), default=0)
    if not ended or not 1 < picture.shape[2] / coarsest <= COARSEST:
        return None
    return [layer for layer, height in ended if height == coarsest][-1]


def _behind(network: nn.Module, innermost: nn.Module | None, picture: Tensor) -> list[str]:
    """The names of the layers with weights of their own that run after `innermost`, none of which ran before."""
    called: list[nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda layer, _inputs, _output: called.append(layer))
        for layer in network.modules()
        if layer is innermost or not list(layer.children())
    ]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(picture)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    at = called.index(innermost) if innermost in called else len(called)
    names = {layer: name for name, layer in network.named_modules()}
    return [names[layer] for layer in called[at + 1 :] if layer not in called[: at + 1] and layer.state_dict()]


def _matched(ours: Tensor, theirs: Tensor) -> tuple[Tensor, float]:
    """For each of our channels one of theirs, the most correlated first, and the mean of these correlations."""
    centred = ((x - x.mean((0, 2, 3), keepdim=True)).transpose(0, 1).flatten(1) for x in (ours, theirs))
    a, b = (f.normalize(x, dim=1) for x in centred)
    alike = a @ b.T
    channels = torch.zeros(len(a), dtype=torch.int64, device=alike.device)
    total = 0.0
    for _ in range(len(a)):
        best = int(alike.argmax())
        row, column = divmod(best, alike.shape[1])
        channels[row] = column
        total += float(alike[row, column])
        alike[row], alike[:, column] = -2.0, -2.0
    return channels, total / max(len(a), 1)
