"""One memory budget per file: how many bytes all of its tensors may take, whatever the format.

A small file can describe endless tensors: strides of 0, overlapping ranges, chunks that were never written, many
tensors on the same data, compression. Every reader charges the budget before it allocates an array.
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

    def __init__(self, subject: Path | str, file_size: int) -> None:
        self.subject = str(subject)
        self.file_size = 0
        self.limit = 0
        self.taken = 0
        self.add_file(file_size)

    def add_file(self, file_size: int) -> None:
        """Count a companion file of `file_size` bytes (external data) as part of the file."""
        self.file_size += file_size
        declared = limits.declared_memory()
        self.limit = (
            min(max(FLOOR, RATIO * self.file_size), limits.memory_limit()) if declared is None else declared
        )

    def take(self, size: int) -> None:
        """Charge `size` bytes before they are allocated. Raises PipelineError `over-budget`."""
        self.taken += size
        if self.taken > self.limit:
            raise PipelineError(
                "over-budget",
                f"the tensors of this file of {self.file_size:,} bytes need at least {shown_size(self.taken)}; "
                f"the limit is {shown_size(self.limit)}",
                subject=self.subject,
                remedy=f"If you trust the file and have enough memory, set {limits.MEMORY}={_enough(self.taken)}.",
            )


def shown_size(size: int) -> str:
    """A number of bytes for people: 64 MiB, 4.0 GiB."""
    if size < 10 << 30:
        return f"{size / (1 << 20):.0f} MiB" if size < 1 << 30 else f"{size / (1 << 30):.1f} GiB"
    return f"{size >> 30:,} GiB" if size < 1 << 80 else "more than 10^24 bytes"


def _enough(size: int) -> str:
    return f"{(size >> 30) * 2 + 2}G" if size < 1 << 46 else "..."
