"""Timing on this machine's GPU in bounded time: runs that would take too long are left out and reported."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.bench.job import Subject

LONGEST = 20.0
"""Maximum seconds of a single run: a software device needs minutes where a GPU needs milliseconds."""
PROBE = 4
"""Divisor of the picture's sides for the first run, which estimates the speed of the device."""


class OnGpu:
    """A model on this machine's GPU. The time of the next run is estimated from the last one, per pixel."""

    def __init__(self, subject: Subject, seconds: float, longest: float = LONGEST) -> None:
        self._subject, self._seconds, self._longest = subject, seconds, longest
        self._pace: float | None = None
        """Milliseconds per pixel in the last run."""

    def measured(self, requested: Size) -> dict[str, Any] | None:
        """Milliseconds as `Family.time_on_gpu` returns them; None if only Unity runs the model.

        If a run would take too long: {"left_out_seconds": the estimated time}.
        """
        size = self._subject.sized(requested)
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
        timing = self._subject.on_gpu(size, seconds)
        if timing is not None:
            self._pace = timing["minimum"] / size.pixels
        return timing
