"""The size of a picture: a type of its own, so that width and height cannot be swapped by mistake."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.support.errors import PipelineError

SMALLEST, LARGEST = 16, 8192
"""Fewest and most pixels of a side of a picture."""


@dataclass(frozen=True, order=True)
class Size:
    """Width and height in pixels. Not a tuple, because arrays have height first and people say width first."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str, option: str = "--size") -> Size:
        """Parse `960x540` (width x height). Raises PipelineError `bad-size` about `option`."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*[xX×]\s*(\d{1,9})\s*", text)
        if found is None:
            raise PipelineError(
                "bad-size", f"{text!r} is not a size", subject=option, remedy="Use WIDTHxHEIGHT, such as 960x540."
            )
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_hw(cls, hw: tuple[int, int]) -> Size:
        """The size from (height, width), the order of an array's last two axes."""
        return cls(hw[1], hw[0])

    def checked(self, option: str = "--size") -> Size:
        """The size itself, if both sides are between SMALLEST and LARGEST. Raises PipelineError `bad-size`."""
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
        """(height, width), the order of arrays (1, C, H, W)."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.width * self.height

    def rounded(self, multiple: int) -> Size:
        """The nearest size whose sides are positive multiples of `multiple`."""
        return Size(*(max(1, round(side / multiple)) * multiple for side in (self.width, self.height)))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
