"""Checkpoints of unfinished trainings: named arrays and plain values in one safetensors file, without pickle.

The file is read by the project's own reader: nothing in it is executed, every size is checked against the file
size and the memory budget, and each value is validated before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.sources.archive import open_archive
from pipeline.sources.failures import guarded
from pipeline.support.errors import PipelineError
from pipeline.support.files import check_writable, write_file

CHECKPOINT = "checkpoint.safetensors"
_VALUES = "unity-bridge-pipeline"
"""Key of the safetensors metadata that holds the plain values, as JSON."""
_FORMAT = 2
_DTYPES = {"f4": "F32", "i8": "I64"}


@dataclass(frozen=True)
class Run:
    """Where the state of a training is saved. `identity` is what a resumed run must share with the interrupted
    one."""

    folder: Path | None = None
    """For the checkpoint and the samples; None saves nothing."""
    resume: bool = False
    """Continue from the folder's checkpoint, if there is one."""
    identity: Mapping[str, Any] = field(default_factory=dict)


UNKEPT = Run()
"""A training that saves neither checkpoint nor samples."""


@dataclass
class State:
    """The state of a training at one step. `arrays` are float32 or int64, by names with slashes."""

    identity: dict[str, Any]
    step: int
    seconds: float
    half: bool
    skipped: int
    since: int
    sums: dict[str, float]
    scales: list[float]
    """The factor on the learning rate of each parameter group."""
    records: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]

    def part(self, name: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with `name/`, by the rest of their names."""
        start = f"{name}/"
        return {key[len(start) :]: value for key, value in self.arrays.items() if key.startswith(start)}


def write_checkpoint(path: Path, state: State) -> None:
    """Write the state of a training in one rename; the same state gives the same bytes."""
    values = {k: v for k, v in vars(state).items() if k != "arrays"}
    header: dict[str, Any] = {"__metadata__": {_VALUES: json.dumps({"format": _FORMAT} | values, sort_keys=True)}}
    parts, end = [], 0
    for name, value in state.arrays.items():
        data = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        dtype = _DTYPES[value.dtype.str[1:]]
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write_file(path, b"".join((struct.pack("<Q", len(text)), text, *parts)))


def read_checkpoint(path: Path, identity: Mapping[str, Any]) -> State:
    """The state in a checkpoint.

    Raises PipelineError `run-differs` where it is of a run with another identity, `damaged-file`,
    `truncated-file` or `over-budget` where it cannot be read.
    """
    with checked(path):
        archive = open_archive(path, "safetensors")
        values = guarded(path, lambda: _values(archive.metadata.get(_VALUES, "")))
    different = [key for key, value in identity.items() if values["identity"].get(key) != value]
    if different:
        raise PipelineError(
            "run-differs",
            f"the run in this folder was started with different {', '.join(different)}",
            subject=str(path),
            remedy="Use the same options and pictures, or start again with --force.",
        )
    with checked(path):
        arrays = {name: archive.reader.tensor(name, reference) for name, reference in archive.root.items()}
    return State(**values, arrays=arrays)  # type: ignore[arg-type]


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """Context manager for reading a checkpoint: turns any error into PipelineError `damaged-file`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, PipelineError) and error.code not in ("damaged-file", "truncated-file"):
            raise
        reason = error.message if isinstance(error, PipelineError) else " ".join(str(error).split())[:160]
        raise PipelineError(
            "damaged-file",
            f"this checkpoint cannot be read ({reason})",
            subject=str(path),
            remedy="Start the training again with --force.",
        ) from error


def _values(text: str) -> dict[str, Any]:
    """The plain values, each validated. Raises ValueError."""
    values = json.loads(text) if text else None
    if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
        raise ValueError("it is not a checkpoint of this version")
    kinds: dict[str, Callable[[Any], bool]] = {
        "identity": lambda value: isinstance(value, dict),
        "step": _count,
        "seconds": lambda value: _number(value) and 0 <= value < 1e12,
        "half": lambda value: isinstance(value, bool),
        "skipped": _count,
        "since": _count,
        "sums": _losses,
        "scales": lambda value: isinstance(value, list) and all(_number(scale) and scale > 0 for scale in value),
        "records": lambda value: isinstance(value, list) and all(map(_record, value)),
    }
    wrong = [name for name, right in kinds.items() if name not in values or not right(values[name])]
    if wrong or len(values) != len(kinds):
        raise ValueError(f"its {', '.join(wrong) or 'values'} are not valid")
    return values


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _losses(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_number, value.values()))


def _record(value: Any) -> bool:
    if not isinstance(value, dict) or not _count(value.get("step")) or not _number(value.get("minutes")):
        return False
    quality = value.get("quality", [])
    return (
        _losses(value.get("losses"))
        and set(value) <= {"step", "minutes", "losses", "quality"}
        and isinstance(quality, list)
        and all(isinstance(entry, dict) and all(map(_measure, entry.items())) for entry in quality)
    )


def _measure(item: tuple[str, Any]) -> bool:
    """A picture's name, or a number about it (equal pictures have an infinite PSNR)."""
    name, value = item
    return isinstance(value, str) if name == "picture" else isinstance(value, (int, float))


def pictures_identity(files: Iterable[Path]) -> str:
    """A digest of the names and sizes in bytes of picture files, in their order."""
    entries = [f"{file.name}\0{file.stat().st_size}" for file in files]
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()[:16]


def check_free(place: Path, checkpoints: Iterable[Path], resume: bool, force: bool, run: str = "--run") -> None:
    """Check, before the training starts, that its result `place` and these checkpoints may be written.

    Raises PipelineError `nothing-to-resume` if there is no checkpoint to continue from, `file-exists` if an
    earlier result or an unfinished run would be overwritten, and what `check_writable` raises.
    """
    checkpoints = list(checkpoints)
    if resume and not any(checkpoint.is_file() for checkpoint in checkpoints):
        raise PipelineError(
            "nothing-to-resume",
            "no checkpoint of an unfinished training was found",
            subject=str(checkpoints[0]) if checkpoints else str(place),
            remedy=f"Omit --resume, or name the folder with {run}.",
        )
    check_writable(place)
    begun = any(checkpoint.is_file() for checkpoint in checkpoints)
    ways = "--resume continues the training there, --force starts again," if begun else "--force replaces it,"
    for path in (place, *checkpoints):
        if path.exists() and not resume and not force:
            raise PipelineError(
                "file-exists",
                "a file of that name exists" if path is place else "a training of that name exists",
                subject=str(path),
                remedy=f"{ways} --output chooses another name.",
            )
        check_writable(path)
