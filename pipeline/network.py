"""A network: what was read from a source file, with its image contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.contract import ImageContract

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch

    from pipeline.graph.integers import QuantizedTensor


@dataclass(frozen=True)
class StyleInput:
    """The style of a network that takes it as second input, once that is cut in two (sources/style_split.py).

    `predictor` computes the vector from the style, in the form that the source takes. `example` is one such value,
    `vector` what the predictor makes of it, (1, K, 1, 1): the network's model takes it as second input.
    """

    name: str
    kind: Literal["picture", "vector", "number"]
    predictor: onnx.ModelProto
    example: np.ndarray
    vector: np.ndarray

    @property
    def numbers(self) -> list[float]:
        """The example's vector as plain numbers."""
        return [float(held) for held in self.vector.ravel()]


@dataclass
class Network:
    """Either a torch module in eval mode (`module`) or an ONNX model (`model`), never both.

    `module` takes one float32 tensor (N, C, H, W) in the contract's input range and gives one float32 tensor
    (N, C', H', W') in the contract's output range. `model` is the file's graph as it was read, with
    external data loaded and linear resizes of old opsets made explicit (sources/old_linear.py); its input and
    output are described by the contract too.
    """

    name: str
    """Stem for file and class names, as the source file suggests it."""
    source: Path
    format: str
    """torch-zip, torch-legacy, torch-module, torchscript, torch-export, safetensors, keras-h5 or onnx."""
    digest: str
    """SHA-256 of the source file (and of a companion state dict), hex."""
    architecture: str
    """A known architecture's name, or onnx / torchscript / torch-export / package.module:factory."""
    reason: str
    """Why this architecture was taken, in a sentence."""
    contract: ImageContract | None
    """None when nothing in the file tells it: then the value ranges must be declared by the user."""
    weights: int
    """Number of trained values (batch-norm statistics not counted)."""
    module: torch.nn.Module | None = None
    model: onnx.ModelProto | None = None
    style: StyleInput | None = None
    """Set where the model's second input is a style's vector, which the game gives."""
    details: dict[str, Any] = field(default_factory=dict)
    """Architecture parameters, such as {"widths": [8, 16, 32], "blocks": 5}."""
    graph: dict[str, Any] = field(default_factory=dict)
    """What an ONNX file's graph is, before anything was changed (graph.statistics.described)."""
    companions: tuple[Path, ...] = ()
    """Further files that were read: external data, the state dict of an own module."""
    integers: tuple[QuantizedTensor, ...] = ()
    """The weights of a quantised state dict as the file has them (those of an ONNX model stay in `model`)."""
    notes: tuple[str, ...] = ()
    """What reading had to do: keys dropped, masks baked, a graph variant taken."""
