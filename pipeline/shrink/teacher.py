"""The teacher of a distillation: any network that the pipeline reads, as a function of pictures. Imports torch:
import it inside a function."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.contract import ImageContract, ImageSide
from pipeline.network import Network
from pipeline.shrink.loop import GreyLevels
from pipeline.shrink.losses import TeacherEyes
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx

LEVELS = ImageContract(ImageSide("0..255"), ImageSide("0..255"))
MULTIPLES = (8, 16, 32, 64)
"""Size multiples that are tried until the teacher's output has the size of its input."""
MOST_BLOCKS = 64
"""Maximum number of residual blocks for which a graph without names is examined."""
ALIKE = 0.05
"""Maximum difference, in levels of 255, between a rebuilt network and its graph."""


class Teacher:
    """A network whose output the student learns: pictures (N, 3, H, W) in grey levels to the same, clamped to
    0..255.

    A torch module runs on `device`, and its inner layers are available (`eyes`, `module`). So are those of an ONNX
    file whose weights and output are those of a known network; any other file is run by ONNX Runtime. `fixed_size`
    is the only size at which it runs, or None; then sizes must be multiples of `multiple`. Raises PipelineError:
    channels-differ, sizes-differ.
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
        self.module: GreyLevels | None = None
        if isinstance(module, nn.Module):
            self.module = GreyLevels(module, contract).to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
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

    def run(self, pictures: Tensor) -> Tensor:
        """The output for pictures in grey levels, 0..255."""
        if self.module is not None:
            with torch.no_grad():
                return self.module(pictures).float().clamp(0, 255)
        arrays = (pictures.float() / 255).cpu().numpy()
        outputs = np.concatenate([self._paint(array[None]) for array in arrays])
        return torch.from_numpy(np.clip(outputs, 0, 1) * 255).float().to(pictures.device)

    def close(self) -> None:
        """Remove the hooks, and move the network to the CPU."""
        if self.eyes is not None:
            self.eyes.close()
        if self.module is not None:
            self.module.to("cpu")

    def _multiple(self, device: torch.device) -> int:
        """The smallest size multiple at which the output has the size of the input, as a student's will."""
        problem = ""
        for multiple in MULTIPLES:
            size = self.fixed_size or Size(multiple * -(-72 // multiple), multiple * -(-64 // multiple))
            try:
                shape = tuple(self.run(torch.full((1, 3, *size.hw), 128.0, device=device)).shape[2:])
            except PipelineError:
                raise
            except Exception as error:  # whatever an engine raises for a size that does not fit
                problem = problem or f"it does not run ({str(error).splitlines()[0][:120]})"
                continue
            if shape == size.hw:
                return multiple
            problem = problem or f"the output is {shape[1]}x{shape[0]}"
        raise PipelineError(
            "sizes-differ",
            f"the teacher's output does not have the size of its input: for 72x64 {problem}",
            remedy="Only networks that keep the size can be distilled.",
        )


def rebuilt(network: Network) -> Network | None:
    """An ONNX network as the torch module of a known architecture; None unless the graph's weights have the names
    or the order of one, and the module's output equals the graph's."""
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
        expected = around(plain, contract)(picture)
    except Exception:  # a graph that does not run: nothing to hold a module against
        return None
    for name in names():
        try:
            found = recognise(StateDict(tensors, "onnx", str(network.source)), name)
            module = load(build(name, found.params), found.tensors)
        except PipelineError:
            continue
        candidate = replace(network, module=module, model=None, architecture=name, details=found.params)
        output = around(reference(candidate), contract)(picture)
        if output.shape == expected.shape and np.abs(output - expected).max() * 255 <= ALIKE:
            return candidate
    return None


def _in_order(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The weights of a graph without tensor names, by the names of fast_neural_style: old versions of PyTorch
    export the tensors in the order of the checkpoint. Empty if their number does not fit."""
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
