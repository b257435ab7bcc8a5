"""The teacher of a distillation: whatever the pipeline reads, as a function from pictures to paintings. Imports
torch: import it inside a function."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.contract import ImageContract, ImageSide
from pipeline.network import Network
from pipeline.shrink.loop import Painting
from pipeline.shrink.losses import TeacherEyes
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx

LEVELS = ImageContract(ImageSide("0..255"), ImageSide("0..255"))
MULTIPLES = (8, 16, 32, 64)
"""What sizes are tried as multiples of, until the teacher keeps them."""
MOST_BLOCKS = 64
"""Residual blocks up to which a graph without names is looked through."""
ALIKE = 0.05
"""Levels of 255 up to which a rebuilt network is the graph that it was rebuilt from."""


class Teacher:
    """A network that paints for the student: pictures (N, 3, H, W) in grey levels to paintings, clamped.

    A torch module paints on `device`, and its layers can be looked at (`eyes`, `module`). So can an ONNX file
    whose weights are those of a known network, if that paints the same; any other one is run by ONNX Runtime.
    `fixed_size` is the size of one that runs at one size only, else None; its sizes are multiples of
    `multiple`. Raises PipelineError: channels-differ, sizes-differ.
    """

    def __init__(self, teacher: Network | nn.Module, device: torch.device, contract: ImageContract | None = None):
        network = teacher if isinstance(teacher, Network) else None
        if network is not None and network.model is not None:
            network = rebuilt(network) or network
        contract = contract or (network.contract if network else LEVELS)
        assert contract is not None
        if (contract.input.channels, contract.output.channels) != (3, 3):
            raise PipelineError(
                "channels-differ",
                f"the teacher has {contract.input.channels} input channels and {contract.output.channels} output "
                "channels",
                subject=str(network.source) if network else "",
                remedy="Only networks from a colour picture to a colour picture can be distilled.",
            )
        module = network.module if network is not None else teacher
        self.fixed_size: Size | None = None
        self.eyes: TeacherEyes | None = None
        self.module: Painting | None = None
        if isinstance(module, nn.Module):
            self.module = Painting(module, contract).to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            self.module.requires_grad_(False)
            if any(isinstance(m, nn.Conv2d) for m in module.modules()):
                self.eyes = TeacherEyes(module, self.module.to_network)
        if network is not None:
            from pipeline.sources import reference
            from pipeline.verify.proof import around

            plain = reference(network)
            self.fixed_size = plain.fixed_size
            self._paint = around(plain, contract)
        self.multiple = self._multiple(device)

    def paint(self, pictures: Tensor) -> Tensor:
        """What it makes of pictures, 0..255."""
        if self.module is not None:
            with torch.no_grad():
                return self.module(pictures).float().clamp(0, 255)
        arrays = (pictures.float() / 255).cpu().numpy()
        painted = np.concatenate([self._paint(array[None]) for array in arrays])
        return torch.from_numpy(np.clip(painted, 0, 1) * 255).float().to(pictures.device)

    def close(self) -> None:
        """Leave it without hooks, on the CPU."""
        if self.eyes is not None:
            self.eyes.close()
        if self.module is not None:
            self.module.to("cpu")

    def _multiple(self, device: torch.device) -> int:
        """The smallest multiple at which a painting has its picture's size, as a student's will."""
        made = ""
        for multiple in MULTIPLES:
            size = self.fixed_size or Size(multiple * -(-72 // multiple), multiple * -(-64 // multiple))
            try:
                shape = tuple(self.paint(torch.full((1, 3, *size.hw), 128.0, device=device)).shape[2:])
            except PipelineError:
                raise
            except Exception as error:  # whatever an engine raises for a size that does not fit
                made = made or f"it does not run ({str(error).splitlines()[0][:120]})"
                continue
            if shape == size.hw:
                return multiple
            made = made or f"the output is {shape[1]}x{shape[0]}"
        raise PipelineError(
            "sizes-differ",
            f"the teacher's output does not have the size of its input: for 72x64 {made}",
            remedy="Only networks that keep the size can be distilled.",
        )


def rebuilt(network: Network) -> Network | None:
    """An ONNX network as the torch module of a known architecture, where the graph's weights carry the names of
    one, or stand in the order of one, and the module paints the same as the graph; else None."""
    from onnx import numpy_helper

    from pipeline.architectures import build, load, names, recognise
    from pipeline.sources import reference
    from pipeline.sources.tensors import StateDict
    from pipeline.verify import pictures
    from pipeline.verify.proof import around

    model, contract = network.model, network.contract
    if model is None or contract is None or contract.input.layout != "nchw":
        return None
    tensors = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer if "." in t.name}
    if not tensors:
        tensors = _in_order(model)
    if not tensors or any(value.dtype != np.float32 for value in tensors.values()):
        return None
    try:
        plain = reference(network)
        picture = pictures.load(None, *(plain.fixed_size or Size(80, 64)).hw)
        wanted = around(plain, contract)(picture)
    except Exception:  # a graph that does not run: nothing to hold a module against
        return None
    for name in names():
        try:
            found = recognise(StateDict(tensors, "onnx", str(network.source)), name)
            module = load(build(name, found.params), found.tensors)
        except PipelineError:
            continue
        held = replace(network, module=module, model=None, architecture=name, details=found.params)
        painted = around(reference(held), contract)(picture)
        if painted.shape == wanted.shape and np.abs(painted - wanted).max() * 255 <= ALIKE:
            return held
    return None


def _in_order(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The weights of a graph whose exporter dropped their names, by those of fast_neural_style: old versions of
    PyTorch number the tensors of a checkpoint in its order. Empty where their number does not fit."""
    from onnx import numpy_helper

    from pipeline.architectures import fast_neural_style

    found = [tensor for tensor in model.graph.initializer if len(tensor.dims) in (1, 4)]
    blocks = (sum(len(tensor.dims) == 4 for tensor in found) - 6) // 2
    if not 0 <= blocks <= MOST_BLOCKS:
        return {}
    names = list(fast_neural_style.shapes({"widths": [1, 1, 1], "blocks": blocks}))
    if len(names) != len(found):
        return {}
    return {name: numpy_helper.to_array(tensor).copy() for name, tensor in zip(names, found, strict=True)}
