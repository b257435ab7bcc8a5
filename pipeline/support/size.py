"""The size of a picture: one type, so that width and height cannot be taken for each other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.support.errors import PipelineError

SMALLEST, LARGEST = 16, 8192
"""Pixels that a side of a picture may have."""


@dataclass(frozen=True, order=True)
class Size:
    """Width and height in pixels. Not a tuple: arrays have height first, and people say width first."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str, option: str = "--size") -> Size:
        """The size that `960x540` says. Raises PipelineError `bad-size`."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*[xX×]\s*(\d{1,9})\s*", text)
        if found is None:
            raise PipelineError(
                "bad-size", f"{text!r} is not a size", subject=option, remedy="Use WIDTHxHEIGHT, such as 960x540."
            )
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_hw(cls, hw: tuple[int, int]) -> Size:
        """The size of an array's last two axes, height first."""
        return cls(hw[1], hw[0])

    def checked(self, option: str = "--size") -> Size:
        """Itself, where a picture can have this size here. Raises PipelineError `bad-size`."""
        if not all(SMALLEST <= side <= LARGEST for side in (self.width, self.height)):
            raise PipelineError(
                "bad-size",
                f"{self} is not a supported picture size",
                subject=option,
                remedy=f"Use WIDTHxHEIGHT with both between {SMALLEST} and {LARGEST}, such as 960x540.",
            )
        return self

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width, the order of arrays (1, C, H, W)."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """How many pixels a picture of this size has."""
        return self.width * self.height

    def rounded(self, multiple: int) -> Size:
        """The nearest size whose sides are multiples of `multiple`, at least one of them each."""
        return Size(*(max(1, round(side / multiple)) * multiple for side in (self.width, self.height)))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
