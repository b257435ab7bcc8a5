"""Timing on this machine's GPU, in bounded time: what would take long is left out, and said."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.bench.job import Subject

LONGEST = 20.0
"""Seconds that a single run may take: a software device needs minutes where a GPU needs milliseconds."""
PROBE = 4
"""Part of each side of the picture with which the pace of an unknown device is found."""


class OnGpu:
    """A model on this machine's GPU. What a run takes at one size tells, by pixels, what the next would take."""

    def __init__(self, subject: Subject, seconds: float, longest: float = LONGEST) -> None:
        self._subject, self._seconds, self._longest = subject, seconds, longest
        self._pace: float | None = None
        """Milliseconds of a pixel, in the last run."""

    def measured(self, wanted: Size) -> dict[str, Any] | None:
        """Milliseconds as `Family.time_on_gpu` gives them; None where only Unity runs the model.

        Where one run would take longer than allowed: {"left_out_seconds": what it would take}.
        """
        size = self._subject.sized(wanted)
        if self._pace is None and self._subject.lowered.fixed_size is None:
            part = Size(max(1, size.width // PROBE), max(1, size.height // PROBE))
            with contextlib.suppress(ValueError):  # too small for this network
                self._timed(self._subject.sized(part), 0.0)
        if self._pace is not None:
            seconds = self._pace * size.pixels / 1000
            if seconds > self._longest:
                return {"left_out_seconds": round(seconds, 1)}
        return self._timed(size, self._seconds)

    def _timed(self, size: Size, seconds: float) -> dict[str, Any] | None:
        told = self._subject.on_gpu(size, seconds)
        if told is not None:
            self._pace = told["minimum"] / size.pixels
        return told
