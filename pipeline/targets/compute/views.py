"""Views: operations that are fused into reading a value, instead of being dispatched.

A view has at most two terms, each a stored value with scales and activations, combined and then padded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.targets.compute.linear import Constant, depends

NEUTRAL = ("reflect", "edge")
"""Padding modes that repeat pixels of the picture, so that elementwise operations commute with them."""


@dataclass(frozen=True, eq=False)
class Affine:
    """A constant scale and shift per channel: x * scale + shift. Either may depend on the style."""

    scale: Constant
    shift: Constant

    def joins(self, other: Affine) -> bool:
        """Whether this followed by another is one Affine: no product of two that depend on the style."""
        return not (depends(other.scale) and depends(self.scale, self.shift))

    def then(self, other: Affine) -> Affine:
        return Affine(self.scale * other.scale, self.shift * other.scale + other.shift)

    @property
    def uniform(self) -> bool:
        """Whether scale and shift are the same in all channels."""
        if depends(self.scale, self.shift):
            return False
        return bool(np.all(self.scale == self.scale[0]) and np.all(self.shift == self.shift[0]))


@dataclass(frozen=True)
class Table:
    """A normalisation: a merge writes mean, scale and shift to the table buffer, starting at element `offset`."""

    offset: int


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation: its kind, its parameters in the order of Common.hlsl, and slopes per channel for PReLU."""

    kind: str
    bounds: tuple[float, ...] = ()
    slopes: np.ndarray | None = None

    @property
    def costly(self) -> bool:
        return self.kind not in ("RELU", "LEAKY", "CLIP", "PRELU", "ABSOLUTE", "HARD_SIGMOID", "HARD_SWISH")


@dataclass(frozen=True, eq=False)
class Term:
    """A stored value and the operations applied when it is read: `norm`, `act`, then `later`."""

    value: int
    norm: Table | Affine | None = None
    act: Activation | None = None
    later: Affine | None = None

    @property
    def plain(self) -> bool:
        return self.norm is None and self.act is None and self.later is None

    def scaled(self, affine: Affine) -> Term | None:
        """This term followed by a scale and shift; None if they cannot be joined with those that it has."""
        if self.later is not None:
            return replace(self, later=self.later.then(affine)) if self.later.joins(affine) else None
        if self.act is None and isinstance(self.norm, Affine) and self.norm.joins(affine):
            return replace(self, norm=self.norm.then(affine))
        if self.act is None and self.norm is None:
            return replace(self, norm=affine)
        return replace(self, later=affine)

    def activated(self, act: Activation) -> Term | None:
        """This term followed by an activation; None if the term already has one."""
        return replace(self, act=act) if self.act is None and self.later is None else None


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of the graph, as stored values and the operations applied when it is read.

    Terms `a` and `b` are combined by `combine` ("Add", "Sub", "Mul", "Div"), then follow `norm` and `act`, nearest
    upsampling by `up`, and padding by `pads` (top, left, bottom, right; negative: crop) in `mode`. `spread`: `b`
    is broadcast over pixels (1) or over channels (2).
    """

    a: Term
    combine: str = ""
    b: Term | None = None
    spread: int = 0
    corner: tuple[int, int] = (0, 0)
    """Row and column of `b` that align with the first pixel of `a`."""
    norm: Affine | None = None
    act: Activation | None = None
    up: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    mode: str = "constant"
    pad_value: float = 0.0
    origin: str = ""
    """The tensor before upsampling and padding, if there are any."""

    @property
    def plain(self) -> bool:
        return self.single and self.a.plain and self.pixel_aligned

    @property
    def single(self) -> bool:
        return self.b is None and self.norm is None and self.act is None

    @property
    def pixel_aligned(self) -> bool:
        return self.up == 1 and not any(self.pads)

    @property
    def commutes(self) -> bool:
        """Whether an elementwise operation may be applied before the padding instead of after it."""
        return not any(self.pads) or self.mode in NEUTRAL or all(pad <= 0 for pad in self.pads)

    @property
    def costly(self) -> bool:
        """Whether it is cheaper to store the view than to evaluate it several times per pixel."""
        acts = [self.a.act, self.act, self.b.act if self.b is not None else None]
        return self.b is not None or any(act is not None and act.costly for act in acts)

    def scaled(self, affine: Affine) -> View | None:
        if not self.commutes:
            return None
        if self.single:
            term = self.a.scaled(affine)
            return None if term is None else replace(self, a=term)
        if self.act is not None or (self.norm is not None and not self.norm.joins(affine)):
            return None
        return replace(self, norm=affine if self.norm is None else self.norm.then(affine))

    def activated(self, act: Activation) -> View | None:
        if not self.commutes:
            return None
        if self.single:
            term = self.a.activated(act)
            if term is not None:
                return replace(self, a=term)
        return None if self.act is not None else replace(self, act=act)
