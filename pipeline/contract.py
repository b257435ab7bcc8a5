"""The image contract: what the numbers at a network's input and output mean.

A network computes on numbers; whether 255 or 1.0 is white, and whether red comes first, stands in no file
format. `ImageContract` says it once, and everything after it (baking, verifying, the Unity asset) uses it.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class ImageSide:
    """One side (input or output) of a network, as images.

    `value_range` is one of `RANGES`; `channels` 1 (grey or mask), 3 (colour) or, for auxiliary inputs, more;
    `order` and `layout` are those of the network's own tensor.
    """

    value_range: str
    channels: int = 3
    order: ChannelOrder = "rgb"
    layout: Layout = "nchw"

    def __post_init__(self) -> None:
        if self.value_range not in RANGES:
            raise PipelineError(
                "bad-value-range",
                f"{self.value_range!r} is not a value range",
                subject="--input-range/--output-range",
                remedy=f"Use one of: {', '.join(RANGES)}.",
            )
        if self.value_range == "imagenet" and self.channels != 3:
            raise PipelineError(
                "bad-value-range",
                f"the range imagenet applies to 3 channels, but there are {self.channels}",
                remedy="Use 0..255, 0..1 or -1..1.",
            )

    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Scale and shift per channel, in RGB order: network value = scale * (0..1 value) + shift."""
        match self.value_range:
            case "0..255":
                return (255.0,) * self.channels, (0.0,) * self.channels
            case "0..1":
                return (1.0,) * self.channels, (0.0,) * self.channels
            case "-1..1":
                return (2.0,) * self.channels, (-1.0,) * self.channels
            case _:
                scale = tuple(1.0 / s for s in IMAGENET_STD)
                shift = tuple(-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
                return scale, shift

    def as_dict(self) -> dict[str, Any]:
        return {
            "range": self.value_range,
            "channels": self.channels,
            "order": self.order,
            "layout": self.layout,
        }


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
