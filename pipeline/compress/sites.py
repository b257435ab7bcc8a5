"""The nodes of a graph that multiply by weights: convolutions and matrix products, and other constants.

A site presents its weights as matrices with one row per output channel, so that rounding is independent of
kernels, strides and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_BESIDE = frozenset(
    [
        *("Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "BatchNormalization"),
        *("Mul", "Add", "Sub", "PRelu"),
    ]
)
"""Operators whose constants are weights (bias, scale, shift, slope) and not sizes, bounds or indices."""
_EXACT = {"BatchNormalization": (3, 4)}
"""Inputs that are not rounded: running mean and variance."""
_SMALLEST = 4
"""Vectors with fewer values are not rounded."""


@dataclass(frozen=True)
class Site:
    """One node that multiplies by a constant weight.

    `input` and `output` are tensor names. `normalised` says that the mean of each output channel over the picture
    is taken away right behind the node; `gain` is then the scale of that normalisation, where it is known.
    """

    weight: str
    operator: str
    input: str
    shape: tuple[int, ...]
    groups: int = 1
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    normalised: bool = False
    gain: np.ndarray | None = field(default=None, compare=False)

    @property
    def inner(self) -> int:
        """Number of consecutive values in the file that belong to one output channel."""
        if self.operator == "ConvTranspose":
            return int(np.prod(self.shape[2:]))
        return 1 if self.operator == "MatMul" else int(np.prod(self.shape[1:]))

    def rows(self, weight: np.ndarray) -> np.ndarray:
        """The weights as (groups, output channels of a group, inputs)."""
        match self.operator:
            case "ConvTranspose":
                return weight.transpose(1, 0, 2, 3).reshape(1, weight.shape[1], -1)
            case "MatMul":
                return weight.T[None]
        return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)

    def from_rows(self, rows: np.ndarray) -> np.ndarray:
        """The inverse of `rows`."""
        match self.operator:
            case "ConvTranspose":
                inputs, outputs, *kernel = self.shape
                return rows.reshape(outputs, inputs, *kernel).transpose(1, 0, 2, 3)
            case "MatMul":
                return rows[0].T
        return rows.reshape(self.shape)

    def samples(self, value: np.ndarray, choose: Callable[[int], np.ndarray]) -> Iterator[np.ndarray]:
        """For each group, what its rows are multiplied with at some places of the input: (places, inputs).

        `choose` is given the number of places and tells which ones, in rising order.
        """
        if self.operator in ("MatMul", "Gemm"):
            flat = value.reshape(-1, value.shape[-1])
            yield flat[choose(len(flat))]
            return
        picture = value[0]
        kernel = self.shape[2:]
        if self.operator == "ConvTranspose":
            picture, kernel = self._spread(picture), self.shape[2:]
        top, left, bottom, right = self.pads if self.operator == "Conv" else (0, 0, 0, 0)
        picture = np.pad(picture, ((0, 0), (top, bottom), (left, right)))
        extent = [1 + (size - 1) * step for size, step in zip(kernel, self.dilations, strict=True)]
        view = np.lib.stride_tricks.sliding_window_view(picture, extent, axis=(1, 2))
        strides = self.strides if self.operator == "Conv" else (1, 1)
        view = view[:, :: strides[0], :: strides[1], :: self.dilations[0], :: self.dilations[1]]
        if self.operator == "ConvTranspose":
            view = view[..., ::-1, ::-1]
        place = choose(view.shape[1] * view.shape[2])
        chosen = view[:, place // view.shape[2], place % view.shape[2]].transpose(1, 0, 2, 3)
        per_group = chosen.shape[1] // self.groups
        for group in range(self.groups):
            part = chosen[:, group * per_group : (group + 1) * per_group]
            yield np.ascontiguousarray(part.reshape(len(place), -1), dtype=np.float32)

    def _spread(self, picture: np.ndarray) -> np.ndarray:
        """A transposed convolution is a convolution, kernel turned, of the input with zeros between and around."""
        kernel = self.shape[2:]
        channels, height, width = picture.shape
        rows, columns = self.strides
        around = [(size - 1) * step for size, step in zip(kernel, self.dilations, strict=True)]
        spread = np.zeros(
            (channels, (height - 1) * rows + 1 + 2 * around[0], (width - 1) * columns + 1 + 2 * around[1]),
            picture.dtype,
        )
        spread[
            :,
            around[0] : around[0] + (height - 1) * rows + 1 : rows,
            around[1] : around[1] + (width - 1) * columns + 1 : columns,
        ] = picture
        return spread


def find_sites(model: onnx.ModelProto) -> list[Site]:
    """The nodes of a graph that multiply by a float initializer, in the order in which they run."""
    from onnx import helper, numpy_helper

    weights = {t.name: t for t in model.graph.initializer if t.data_type == t.FLOAT}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    sites = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm") or node.input[1] not in weights:
            continue
        shape = tuple(weights[node.input[1]].dims)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        site = _site(node, shape, attributes)
        if site is not None:
            after = readers.get(node.output[0], [])
            normalised, gain = _normalised(after)
            values = numpy_helper.to_array(weights[gain]) if gain in weights else None
            sites.append(
                Site(
                    **{**site.__dict__, "normalised": normalised, "gain": values}
                )  # the same, and what follows it
            )
    return sites


def _site(node: onnx.NodeProto, shape: tuple[int, ...], attributes: dict) -> Site | None:
    operator = node.op_type
    if operator == "MatMul" or (operator == "Gemm" and not attributes.get("transB", 0)):
        plain = len(shape) == 2 and not attributes.get("transA", 0)
        return Site(node.input[1], "MatMul", node.input[0], shape) if plain else None
    if operator == "Gemm":
        return None if attributes.get("transA", 0) else Site(node.input[1], "Gemm", node.input[0], shape)
    groups = attributes.get("group", 1)
    if len(shape) != 4 or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    if operator == "ConvTranspose" and groups != 1:
        return None
    return Site(
        node.input[1],
        operator,
        node.input[0],
        shape,
        groups,
        tuple(attributes.get("strides", (1, 1))),
        tuple(attributes.get("dilations", (1, 1))),
        tuple(attributes.get("pads", (0, 0, 0, 0))),
    )


def _normalised(after: list[onnx.NodeProto]) -> tuple[bool, str]:
    """Whether only an instance normalisation reads a tensor, whole or in pieces, and the name of its scale."""
    if len(after) == 1 and after[0].op_type == "InstanceNormalization":
        return True, after[0].input[1]
    kinds = {node.op_type for node in after}
    return "Sub" in kinds and kinds <= {"Sub", "GlobalAveragePool", "ReduceMean"} and len(kinds) > 1, ""


def find_vectors(model: onnx.ModelProto) -> list[str]:
    """The other float initializers that hold weights: biases, scales, shifts, slopes. Exact ones are left out.

    The weights of a node that is not a site (other paddings, other ranks) are among them too.
    """
    of_sites = {site.weight for site in find_sites(model)}
    names = {t.name for t in model.graph.initializer if t.data_type == t.FLOAT and np.prod(t.dims) >= _SMALLEST}
    used: dict[str, bool] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in names:
                fits = node.op_type in _BESIDE and index not in _EXACT.get(node.op_type, ())
                used[name] = used.get(name, True) and fits
    return [name for name, fits in used.items() if fits and name not in of_sites]
