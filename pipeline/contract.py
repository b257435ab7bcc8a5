"""The image contract: what the numbers at a network's input and output mean.

A network computes on numbers; whether 255 or 1.0 is white, and whether red comes first, stands in no file
format. `ImageContract` says it once, and everything after it (baking, verifying, the Unity asset) uses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""RGB means of ImageNet in 0..1, as torchvision's models take them."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""RGB standard deviations of ImageNet in 0..1."""

ChannelOrder = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]

RANGES = ("0..255", "0..1", "-1..1", "imagenet")
"""The value ranges that can be declared. `imagenet` is (rgb01 - mean) / std per channel."""


COLOR = "rgb"
"""The colour channels in a list of input channels."""
GUIDES = {"depth": 1, "normals": 3, "mask": 1, "texture": 3}
"""Guide -> its channels (docs/guides.md)."""
MOST_CHANNELS = 8
"""Most input channels of a network with guides: 3 of colour and 5 of guides, which fit into two textures."""


@dataclass(frozen=True)
class Guide:
    """Input channels beside the colour: 0..1 in the bundle's model, `low`..`high` in the network.

    `depth`: distance along the camera's axis, divided by the distance at which it is 1. `normals`: view space, x
    right, y up, z towards the camera, packed as 0.5 * normal + 0.5. `mask`: 1 channel. `texture`: 3 channels.
    """

    name: str
    low: float = 0.0
    high: float = 1.0

    @property
    def channels(self) -> int:
        return GUIDES[self.name]

    def __str__(self) -> str:
        return self.name if (self.low, self.high) == (0, 1) else f"{self.name}:{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class ImageSide:
    """One side (input or output) of a network, as images.

    `value_range` is one of `RANGES`; `channels` 1 (grey or mask), 3 (colour) or more with guides; `order` and
    `layout` are those of the network's own tensor. `guides` are in the network's order, and `guides_before_color`
    says how many of them come before the colour.

    A picture in this pipeline has its channels in the bundle's order: red, green, blue, then the guides.
    """

    value_range: str
    channels: int = 3
    order: ChannelOrder = "rgb"
    layout: Layout = "nchw"
    guides: tuple[Guide, ...] = ()
    guides_before_color: int = 0

    def __post_init__(self) -> None:
        if self.value_range not in RANGES:
            raise PipelineError(
                "bad-value-range",
                f"{self.value_range!r} is not a value range",
                subject="--input-range/--output-range",
                remedy=f"Use one of: {', '.join(RANGES)}.",
            )
        if self.value_range == "imagenet" and self.color_channels != 3:
            raise PipelineError(
                "bad-value-range",
                f"the range imagenet applies to 3 channels, but there are {self.channels}",
                remedy="Use 0..255, 0..1 or -1..1.",
            )

    @property
    def color_channels(self) -> int:
        """The channels that are not guides."""
        return self.channels - sum(guide.channels for guide in self.guides)

    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Scale and shift per channel, in the bundle's order: network value = scale * (0..1 value) + shift."""
        scale, shift = self._color_affine()
        for guide in self.guides:
            scale += (guide.high - guide.low,) * guide.channels
            shift += (guide.low,) * guide.channels
        return scale, shift

    def _color_affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        channels = self.color_channels
        match self.value_range:
            case "0..255":
                return (255.0,) * channels, (0.0,) * channels
            case "0..1":
                return (1.0,) * channels, (0.0,) * channels
            case "-1..1":
                return (2.0,) * channels, (-1.0,) * channels
            case _:
                scale = tuple(1.0 / s for s in IMAGENET_STD)
                shift = tuple(-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
                return scale, shift

    def network_order(self) -> list[int]:
        """For each of the network's channels, its index in the bundle's order."""
        color = list(range(self.color_channels))
        before = sum(guide.channels for guide in self.guides[: self.guides_before_color])
        guides = list(range(self.color_channels, self.channels))
        return [*guides[:before], *(color[::-1] if self.order == "bgr" else color), *guides[before:]]

    def as_dict(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "range": self.value_range,
            "channels": self.channels,
            "order": self.order,
            "layout": self.layout,
        }
        if self.guides:
            facts["guides"] = [str(guide) for guide in self.guides]
            facts["guides_before_color"] = self.guides_before_color
        return facts


_TEXTURE_CHANNELS = 4


GUIDE_INPUT = "guides"
"""The name of a bundle's input for the first texture of guides; that of the second is `guides_2`."""


def guide_textures(guides: Sequence[Guide]) -> list[tuple[Guide, ...]]:
    """The guides of each texture of a bundle, in order: a guide is never divided between two textures."""
    found: list[tuple[Guide, ...]] = []
    for guide in guides:
        used = sum(other.channels for other in found[-1]) if found else _TEXTURE_CHANNELS
        if used + guide.channels <= _TEXTURE_CHANNELS:
            found[-1] = (*found[-1], guide)
        else:
            found.append((guide,))
    return found


def input_widths(guides: Sequence[Guide]) -> list[int]:
    """The channels of each input of a bundle's model: of the colour, and of each texture of guides."""
    return [len(COLOR), *(sum(guide.channels for guide in part) for part in guide_textures(guides))]


def parse_guide(text: str) -> Guide | None:
    """A guide from its text, such as `depth` or `depth:0..100`; None where it is not one.

    LOW and HIGH are finite numbers that differ; `depth:1..0` is a depth that is 1 at the camera.
    """
    name, _, limits = text.partition(":")
    if name not in GUIDES:
        return None
    if not limits:
        return None if text.endswith(":") else Guide(name)
    low, dots, high = limits.partition("..")
    try:
        ends = float(low), float(high)
    except ValueError:
        return None
    usable = bool(dots) and all(math.isfinite(end) and abs(end) <= 1e6 for end in ends) and ends[0] != ends[1]
    return Guide(name, *ends) if usable else None


@dataclass(frozen=True)
class ImageContract:
    """What a network takes and gives, and at which sizes.

    `size_multiple`: height and width must be multiples of it for the output to have `scale` times the input's
    size. `fixed_size` is that of a graph that runs at one size only, else None.
    `sources` says for each declared fact where it is known from ("architecture fast-neural-style",
    "--input-range", ...), so that no guess is silent.
    """

    input: ImageSide
    output: ImageSide
    size_multiple: int = 4
    fixed_size: Size | None = None
    sources: dict[str, str] = field(default_factory=dict, compare=False, hash=False)

    def as_dict(self) -> dict[str, Any]:
        return {
            "input": self.input.as_dict(),
            "output": self.output.as_dict(),
            "size_multiple": self.size_multiple,
            "fixed_size": list(self.fixed_size.hw) if self.fixed_size else None,
            "sources": dict(sorted(self.sources.items())),
        }


def contract_missing(message: str, subject: str) -> PipelineError:
    """The error for a network whose value ranges are needed and unknown; `message` says what for."""
    return PipelineError(
        "contract-missing",
        message,
        subject=subject,
        remedy="Declare them as in the training code with --input-range and --output-range, each one of 0..255, "
        "0..1, -1..1, imagenet.",
    )
