"""One budget per file: how many bytes its tensors may take together, whatever its format.

A small file can describe tensors without end: strides of 0, overlapping places, chunks that were never written,
many tensors on the same data, compression. Every reader asks the budget before it makes an array.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.support import limits
from pipeline.support.errors import PipelineError

FLOOR = 64 << 20
"""Bytes that any file may describe, however small it is."""
RATIO = 32
"""Bytes of tensors for each byte of the file: 8-bit integers become 64-bit ones, halves floats, zeros compress."""


class Budget:
    """Counts the bytes that one file's tensors take in memory.

    The limit is 32 times the size of the file, at least 64 MiB, and at most three quarters of the memory that is
    free; PIPELINE_MEMORY_LIMIT replaces all three.
    """

    def __init__(self, subject: Path | str, held: int) -> None:
        self.subject = str(subject)
        self.held = 0
        self.limit = 0
        self.taken = 0
        self.more(held)

    def more(self, held: int) -> None:
        """Another file belongs to the first, with `held` bytes of its own."""
        self.held += held
        declared = limits.declared_memory()
        self.limit = min(max(FLOOR, RATIO * self.held), limits.memory_limit()) if declared is None else declared

    def take(self, size: int) -> None:
        """Count `size` bytes more. Raises PipelineError `over-budget` before they are allocated."""
        self.taken += size
        if self.taken > self.limit:
            raise PipelineError(
                "over-budget",
                f"the tensors of this file of {self.held:,} bytes need at least {shown_size(self.taken)}; the "
                f"limit is {shown_size(self.limit)}",
                subject=self.subject,
                remedy=f"If you trust the file and have enough memory, set {limits.MEMORY}={_enough(self.taken)}.",
            )


def shown_size(size: int) -> str:
    """A number of bytes as people read it: 64 MiB, 4.0 GiB."""
    if size < 10 << 30:
        return f"{size / (1 << 20):.0f} MiB" if size < 1 << 30 else f"{size / (1 << 30):.1f} GiB"
    return f"{size >> 30:,} GiB" if size < 1 << 80 else "more than 10^24 bytes"


def _enough(size: int) -> str:
    return f"{(size >> 30) * 2 + 2}G" if size < 1 << 46 else "..."
