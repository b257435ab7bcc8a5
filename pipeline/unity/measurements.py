"""Reads the table that the bundle's benchmark scene writes (docs/unity-performance.md explains the columns)."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.support.errors import PipelineError

LARGEST = 16 * 1024 * 1024
"""Bytes that are read at most; a thousand cases have less than one million."""

COLUMNS = (
    *("style", "source", "source_digest", "target", "worker", "width", "height"),
    *("network_width", "network_height", "warmup_runs", "runs"),
    *("median_ms", "p95_ms", "minimum_ms", "mean_ms", "error"),
    *("device", "graphics_api", "processor", "system", "unity", "engine", "player"),
)
"""What BenchmarkTable.cs writes. Readers go by the names; columns that are not known are left out."""

_OLD_NAMES = {"engine": "barracuda"}
"""Columns that tables of earlier bundles have under another name."""

_TIMES = ("median_ms", "p95_ms", "minimum_ms", "mean_ms")
_COUNTS = ("width", "height", "network_width", "network_height", "warmup_runs", "runs")


@dataclass(frozen=True)
class Measurement:
    """One style at one size on one worker. Times in milliseconds per picture, None where the case failed.

    `width`, `height`: the picture's size; `network_width`, `network_height`: what the network ran at. `error` says
    why a case failed, "" where it did not. `player`: `editor`, or the platform of the player.
    """

    style: str
    source: str
    source_digest: str
    target: str
    worker: str
    width: int
    height: int
    network_width: int
    network_height: int
    warmup_runs: int
    runs: int
    median_ms: float | None
    p95_ms: float | None
    minimum_ms: float | None
    mean_ms: float | None
    error: str
    device: str
    graphics_api: str
    processor: str
    system: str
    unity: str
    engine: str
    player: str


def read_rows(path: Path) -> list[Measurement]:
    """Every row of the table, in its order. Raises PipelineError `bad-measurements`, `file-not-found`."""
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        names = list(reader.fieldnames or ())
        renamed = {old: new for new, old in _OLD_NAMES.items() if new not in names}
        reader.fieldnames = [renamed.get(name, name) for name in names]
        missing = [name for name in COLUMNS if name not in reader.fieldnames]
        if missing:
            raise _bad(path, f"the first line has no column {missing[0]}")
        return [_row(path, reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise _bad(path, f"line {reader.line_num}: {error}") from None


def read_measurements(path: Path) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """The measured times, as {style: {"1280x720": {worker: {"median": ms, "p95": ms, ...}}}}.

    Failed cases are left out; of a case that stands twice, the last counts. Raises as `read_rows` does, and
    `bad-measurements` where nothing was measured.
    """
    measured: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    rows = read_rows(path)
    for row in rows:
        if row.error or row.median_ms is None:
            continue
        sizes = measured.setdefault(row.style, {}).setdefault(f"{row.width}x{row.height}", {})
        sizes[row.worker] = {
            "median": row.median_ms,
            "p95": row.p95_ms,
            "minimum": row.minimum_ms,
            "mean": row.mean_ms,
            "runs": row.runs,
            "network": f"{row.network_width}x{row.network_height}",
            "device": row.processor if row.worker.startswith("CSharp") else row.device,
            "graphics_api": row.graphics_api,
            "unity": row.unity,
            "engine": row.engine,
            "player": row.player,
            "source": row.source,
            "source_digest": row.source_digest,
        }
    if not measured:
        failed = f"every case failed, the first with: {rows[0].error}" if rows else "it has no rows"
        raise _bad(path, failed)
    return measured


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise PipelineError(
            "file-not-found", "no such file exists", subject=str(path), remedy="Check the path."
        ) from error
    if len(data) > LARGEST:
        raise _bad(path, "it is larger than 16 million bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _bad(path, "it is not UTF-8") from None


def _row(path: Path, line: int, cells: dict[str, Any]) -> Measurement:
    if None in cells or None in cells.values():
        raise _bad(path, f"line {line} has a different number of cells than the first line")
    values: dict[str, Any] = {name: cells[name] for name in COLUMNS}
    for name in _COUNTS:
        if not (values[name].isascii() and values[name].isdigit() and len(values[name]) < 10):
            raise _bad(path, f"line {line}: {name} is {values[name][:20]!r}")
        values[name] = int(values[name])
    for name in _TIMES:
        values[name] = _time(path, line, name, values[name])
    return Measurement(**values)


def _time(path: Path, line: int, name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise _bad(path, f"line {line}: {name} is {text[:20]!r}")
    return value


def _bad(path: Path, reason: str) -> PipelineError:
    return PipelineError(
        "bad-measurements",
        f"this is not a table of the benchmark scene: {reason}",
        subject=str(path),
        remedy="Use StyleTransferBenchmark.csv as Unity wrote it; spreadsheet programs may change the separators.",
    )
