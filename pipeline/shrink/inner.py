"""Trains a student's inner layers on its teacher's features, before the outputs are compared. Imports torch:
import it inside a function.

The features after the last layer at the lowest resolution are all that the decoder of a style network reads. A
student that starts from its teacher (pruned, or narrowed by pipeline.shrink.start) is first trained up to there:
the loss is a mean square, the targets are computed with the teacher's output anyway, and neither the decoder nor
any loss network runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

UNTIL_PRUNED, UNTIL_NARROWED = 0.4, 0.2
"""Parts of a training in which the inner layers are trained: of a pruned teacher, and of a student that starts
from its teacher. The features of a narrow student stop improving early (docs/distill.md)."""
COARSEST = 8
"""Maximum downscaling factor of the coarsest features. Beyond it the network is a U-Net, whose decoder also reads
finer features."""
LEAST_ALIKE = 0.33
"""Mean correlation with the teacher's channels from which a trained student counts as derived from the teacher."""


class _Enough(Exception):
    """Ends a forward pass after the layer that is needed."""


class Inner(nn.Module):
    """Compares a student's innermost features with those of its teacher.

    `teacher` and `student` take `pictures` in grey levels (N, 3, H, W). `channels` are the teacher's channels with
    which the student's are compared, matched by correlation over the pictures, each at most once; `alike` is the
    mean of these correlations. `found` is False, and nothing can be trained, if the two have different
    resolutions, if the lowest one is below `COARSEST`, or if the student is wider.
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
        targets = theirs[:, self.channels]
        self.variance = (targets - targets.mean((2, 3), keepdim=True)).square().mean().clamp_min(1e-12)

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if self._watched == name:
                self._kept[name] = output
                if self._only:
                    raise _Enough

        return hook

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Context manager in which the features of the teacher's runs are recorded for `taken`."""
        self._watched, self._only = "teacher", False
        try:
            yield
        finally:
            self._watched = ""

    def taken(self) -> Tensor:
        """The targets (N, C, h, w) for the pictures of the teacher's last run, in bfloat16."""
        return self._kept.pop("teacher")[:, self.channels].to(torch.bfloat16)

    def of(self, name: str, pictures: Tensor) -> Tensor:
        """The features of the `teacher` or of the `student`; the layers after them do not run."""
        self._watched, self._only = name, True
        try:
            self._networks[name](pictures)
        except _Enough:
            pass
        finally:
            self._watched, self._only = "", False
        return self._kept.pop(name)

    def restore_decoder(self) -> int:
        """Copy the teacher's weights into the student's layers after the features, if the shapes are equal.

        Refitting has adapted these layers to features that were still far from the teacher's. Returns the number
        of layers.
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

    def loss(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Mean squared difference of the student's features for `pictures` from `targets`, relative to the
        teacher's variance."""
        return (self.of("student", pictures).float() - targets.float()).square().mean() / self.variance

    def close(self) -> None:
        """Leave teacher and student as they were."""
        for hook in self._hooks:
            hook.remove()


def _calls(network: nn.Module, picture: Tensor) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """The modules of a network in the order in which they end for a picture, each with the shape of its output;
    () if that is no tensor."""
    ended: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(layer: nn.Module, _inputs: Any, output: Any) -> None:
        ended.append((layer, tuple(output.shape) if isinstance(output, Tensor) else ()))

    hooks = [layer.register_forward_hook(note) for layer in network.modules()]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(picture)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return ended


def _innermost(network: nn.Module, picture: Tensor) -> nn.Module | None:
    """The module that ends last among those whose output has the lowest resolution; None if that is the resolution
    of the picture, or below `COARSEST`."""
    heights = [(layer, shape[2]) for layer, shape in _calls(network, picture) if len(shape) == 4 and shape[1] > 3]
    coarsest = min((height for _, height in heights), default=0)
    if not heights or not 1 < picture.shape[2] / coarsest <= COARSEST:
        return None
    return [layer for layer, height in heights if height == coarsest][-1]


def _behind(network: nn.Module, innermost: nn.Module | None, picture: Tensor) -> list[str]:
    """The names of the layers with weights of their own that run after `innermost`, none of which ran before."""
    called = [layer for layer, _ in _calls(network, picture) if layer is innermost or not list(layer.children())]
    at = called.index(innermost) if innermost in called else len(called)
    names = {layer: name for name, layer in network.named_modules()}
    return [names[layer] for layer in called[at + 1 :] if layer not in called[: at + 1] and layer.state_dict()]


def _matched(ours: Tensor, theirs: Tensor) -> tuple[Tensor, float]:
    """For each of our channels one of theirs, matched greedily by correlation, and the mean of these
    correlations."""
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
