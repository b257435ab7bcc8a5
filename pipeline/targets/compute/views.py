"""What is folded into reading a value: at most two terms, each with scales and activations, then padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

NEUTRAL = ("reflect", "edge")
"""Ways of padding with pixels of the picture itself, with which whatever works on single pixels commutes."""


@dataclass(frozen=True, eq=False)
class Affine:
    """A constant scale and shift for each channel."""

    scale: np.ndarray
    shift: np.ndarray

    def then(self, other: Affine) -> Affine:
        return Affine(self.scale * other.scale, self.shift * other.scale + other.shift)

    @property
    def uniform(self) -> bool:
        return bool(np.all(self.scale == self.scale[0]) and np.all(self.shift == self.shift[0]))


@dataclass(frozen=True)
class Table:
    """A normalisation: a merge of statistics leaves mean, scale and shift from element `at` of the tables on."""

    at: int


@dataclass(frozen=True, eq=False)
class Act:
    """An activation: its kind, bounds as its kernel reads them, and slopes for each channel where it has them."""

    kind: str
    bounds: tuple[float, ...] = ()
    slopes: np.ndarray | None = None

    @property
    def costly(self) -> bool:
        return self.kind not in ("RELU", "LEAKY", "CLIP", "PRELU", "ABSOLUTE", "HARD_SIGMOID", "HARD_SWISH")


@dataclass(frozen=True, eq=False)
class Term:
    """A stored value, and what happens to it when it is read."""

    value: int
    norm: Table | Affine | None = None
    act: Act | None = None
    later: Affine | None = None

    @property
    def plain(self) -> bool:
        return self.norm is None and self.act is None and self.later is None

    def scaled(self, affine: Affine) -> Term:
        """This term with a scale and shift after everything."""
        if self.later is not None:
            return replace(self, later=self.later.then(affine))
        if self.act is None and isinstance(self.norm, Affine):
            return replace(self, norm=self.norm.then(affine))
        if self.act is None and self.norm is None:
            return replace(self, norm=affine)
        return replace(self, later=affine)

    def activated(self, act: Act) -> Term | None:
        """This term with an activation after everything; None where there is no room."""
        return replace(self, act=act) if self.act is None and self.later is None else None


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of the graph as stored values and what is done on reading them.

    `up` repeats pixels, then `pads` (top, left, bottom, right; negative crops) of `mode` are added.
    """

    a: Term
    combine: str = ""
    b: Term | None = None
    spread: int = 0
    corner: tuple[int, int] = (0, 0)
    """Row and column of the second value at which the first one's first pixel lies."""
    norm: Affine | None = None
    act: Act | None = None
    up: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    mode: str = "constant"
    pad_value: float = 0.0
    origin: str = ""
    """The tensor that this is before upsampling and padding, where it has some."""

    @property
    def plain(self) -> bool:
        return self.single and self.a.plain and self.unmoved

    @property
    def single(self) -> bool:
        return self.b is None and self.norm is None and self.act is None

    @property
    def unmoved(self) -> bool:
        return self.up == 1 and not any(self.pads)

    @property
    def commutes(self) -> bool:
        """Whether what works on single pixels may be done before the padding."""
        return not any(self.pads) or self.mode in NEUTRAL or all(pad <= 0 for pad in self.pads)

    @property
    def costly(self) -> bool:
        """Whether reading a pixel many times should be avoided."""
        acts = [self.a.act, self.act, self.b.act if self.b is not None else None]
        return self.b is not None or any(act is not None and act.costly for act in acts)

    def scaled(self, affine: Affine) -> View | None:
        if not self.commutes:
            return None
        if self.single:
            return replace(self, a=self.a.scaled(affine))
        if self.act is not None:
            return None
        return replace(self, norm=affine if self.norm is None else self.norm.then(affine))

    def activated(self, act: Act) -> View | None:
        if not self.commutes:
            return None
        if self.single:
            term = self.a.activated(act)
            if term is not None:
                return replace(self, a=term)
        return None if self.act is not None else replace(self, act=act)
