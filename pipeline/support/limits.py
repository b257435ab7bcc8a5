"""Limits of memory and time for work on untrusted files, and the variables that raise them.

    PIPELINE_MEMORY_LIMIT=16G pipeline inspect large.pth
    PIPELINE_TIME_LIMIT=3600 pipeline build-unity slow.onnx

Both are environment variables, because a limit belongs to the machine, not to a network. Every error that a limit
causes names the limit, its value and the variable.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from pipeline.support.errors import LimitReached, PipelineError

MEMORY = "PIPELINE_MEMORY_LIMIT"
"""Bytes, with an optional K, M or G (of 1024)."""
TIME = "PIPELINE_TIME_LIMIT"
"""Seconds that one step on a network from a file may take."""

DEFAULT_SECONDS = 600.0
LEAST_ADDRESS_SPACE = 1 << 30
"""Bytes of address space that torch, ONNX Runtime and their libraries need (torch 2.13 on Linux: 0.9 GiB)."""
LEAST_LIGHT = 160 << 20
"""Bytes of address space that numpy, onnx and their libraries need."""
FALLBACK_MEMORY = 8 << 30
"""Memory limit in bytes on systems where the free memory is not known."""
RUN_SECONDS = 30.0
"""Seconds for one run of a network whose cost cannot be estimated, where PIPELINE_TIME_LIMIT is not set."""
RUN_MEMORY = 4 << 30
"""Bytes that running a network may take, where PIPELINE_MEMORY_LIMIT is not set."""
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def declared_memory() -> int | None:
    """PIPELINE_MEMORY_LIMIT in bytes; None where it is not set. Raises PipelineError `bad-limit`."""
    text = os.environ.get(MEMORY, "").strip()
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)\s*([KMG]?)i?B?", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise _bad(MEMORY, text, "a number of bytes such as 500M or 16G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def memory_limit() -> int:
    """Bytes that the content of one file may take: the declared limit, else three quarters of the free memory."""
    declared = declared_memory()
    if declared is not None:
        return declared
    free = available_memory()
    return FALLBACK_MEMORY if free is None else free * 3 // 4


def time_limit() -> float:
    """Seconds that one step on a network from a file may take. Raises PipelineError `bad-limit`."""
    text = os.environ.get(TIME, "").strip()
    if not text:
        return DEFAULT_SECONDS
    if not re.fullmatch(r"\d{1,8}(\.\d{1,3})?", text) or float(text) == 0:
        raise _bad(TIME, text, "a number of seconds such as 3600")
    return float(text)


def run_memory() -> int:
    """Bytes that running a network from a file may take: the declared limit, else `memory_limit`, at most 4
    GiB."""
    declared = declared_memory()
    return min(RUN_MEMORY, memory_limit()) if declared is None else declared


def run_seconds() -> float:
    """Seconds that one run of a network from a file may take, where its cost cannot be estimated."""
    return time_limit() if os.environ.get(TIME, "").strip() else RUN_SECONDS


def too_much_memory(what: str, needed: str, limit: int) -> LimitReached:
    """The LimitReached for work that would take more memory than `limit` bytes.

    `what` is the work, and `needed` the amount: "13.4 GiB (why)" or "more than the limit".
    """
    known = re.match(r"([\d.,]+) GiB", needed)
    least = float(known[1].replace(",", "")) if known else 0.0
    enough = max(16, 4 * -(-limit >> 30), math.ceil(1.25 * least))
    error = PipelineError(
        "memory-limit",
        f"{what} needs {needed} of memory; the limit is {amount(limit)}",
        remedy=f"If you trust the file and have enough memory, raise the limit: {MEMORY}={enough}G.",
    )
    return LimitReached(error)


def amount(size: int) -> str:
    """A number of bytes for people, in MiB or GiB."""
    return f"{size / (1 << 30):,.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):,.1f} MiB"


def require_address_space(light: bool) -> None:
    """Raise PipelineError `out-of-memory` where a limit on address space is too low for the libraries.

    C libraries that get no memory while they load end the whole process without a clear message. `light` commands
    load only numpy and protobuf, the others also torch and ONNX Runtime.
    """
    left, least = _own_limit(), LEAST_LIGHT if light else LEAST_ADDRESS_SPACE
    if left is not None and left < least:
        raise PipelineError(
            "out-of-memory",
            f"this process may use only {amount(max(left, 0))} more address space, but the libraries need "
            f"{amount(least)}",
            remedy=f"Raise that limit (ulimit -v); to limit the memory of networks, set {MEMORY}.",
        )


def too_much_time(what: str, limit: float) -> LimitReached:
    """The LimitReached for work that took, or would take, longer than `limit` seconds."""
    enough = max(3600, math.ceil(4 * limit))
    error = PipelineError(
        "time-limit",
        f"{what} takes longer than the limit of {limit:g} s",
        remedy=f"If you trust the file, raise the limit: {TIME}={enough}.",
    )
    return LimitReached(error)


def available_memory() -> int | None:
    """Bytes that this process can still allocate (free memory, cgroup, ulimit); None where that is not known."""
    found = [size for size in (_free(), _cgroup(), _own_limit()) if size is not None]
    return max(min(found), 0) if found else None


def _free() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        return None
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _cgroup() -> int | None:
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
        return int(limit) - int(used) if limit != "max" else None
    except (OSError, ValueError):
        return None


def _own_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft - address_space()


def address_space() -> int:
    """Bytes of address space that this process uses; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0


def _bad(name: str, text: str, example: str) -> PipelineError:
    return PipelineError(
        "bad-limit", f"{text[:40]!r} is not {example}", subject=name, remedy="Set it to such a value."
    )
