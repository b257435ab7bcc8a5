"""Measures a graph in ONNX Runtime: milliseconds with their spread, and the memory of a run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx
    import onnxruntime


@dataclass(frozen=True)
class Spread:
    """Wall times of one picture in milliseconds, including other load on the machine."""

    runs: int
    minimum: float
    median: float
    p95: float
    cpu: float
    """Minimum processor time of a run in milliseconds; with one thread it is independent of other load."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "minimum": round(self.minimum, 2),
            "median": round(self.median, 2),
            "p95": round(self.p95, 2),
            "cpu": round(self.cpu, 2),
        }


def timed_session(model: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session with all optimisations and `threads` threads."""
    import onnxruntime as ort

    from pipeline.graph import valid

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(valid(model).SerializeToString(), options, providers=["CPUExecutionProvider"])


def measure(
    models: Mapping[str, onnx.ModelProto],
    *,
    runs: int = 5,
    threads: int = 1,
    seconds: float = 60.0,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Spread]:
    """The time of each model at the picture size that it declares, interleaved (A B C A B C ...), after one
    warm-up each.

    Interleaving keeps the ratios valid if the machine's speed changes. Stops after `seconds`, but not before two
    rounds. Raises PipelineError `graph-does-not-run`.
    """
    from pipeline.graph import valid
    from pipeline.graph.runtime import check

    opened = {}
    for name, model in models.items():
        try:
            check(valid(model), name)
            session = timed_session(model, threads)
            feed = _feed(session)
            session.run(None, feed)
        except Exception as error:  # whatever ONNX Runtime raises
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise PipelineError(
                "graph-does-not-run",
                f"ONNX Runtime cannot run it ({first})",
                subject=name,
                remedy="Omit this model, or export it again with operators that ONNX Runtime supports.",
            ) from error
        opened[name] = session, feed
    wall: dict[str, list[float]] = {name: [] for name in models}
    used: dict[str, list[float]] = {name: [] for name in models}
    end = time.monotonic() + seconds
    for done in range(runs):
        if done >= 2 and time.monotonic() > end:
            break
        for name, (session, feed) in opened.items():
            started, processor = time.perf_counter(), time.process_time()
            session.run(None, feed)
            used[name].append((time.process_time() - processor) * 1e3)
            wall[name].append((time.perf_counter() - started) * 1e3)
        progress(f"round {done + 1} of {runs}")
    return {name: _spread(wall[name], used[name]) for name in models}


def _feed(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    image = session.get_inputs()[0]
    return {image.name: np.random.default_rng(0).random(image.shape, dtype=np.float32)}


def _spread(wall: Sequence[float], cpu: Sequence[float]) -> Spread:
    return Spread(
        len(wall),
        float(min(wall)),
        float(np.median(wall)),
        float(np.percentile(wall, 95)),
        float(min(cpu)),
    )


_TRIES = 4
_PEAK = """
import pathlib, re, resource, sys
import onnx
from pipeline.bench.timing import _feed, timed_session

def resident(key):
    found = re.search(key + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
    return int(found[1])

session = timed_session(onnx.load(sys.argv[1]), 1)
feed = _feed(session)
try:
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak so far, which importing made, is forgotten
    before = resident("VmRSS")
    session.run(None, feed)
    print(max(0, resident("VmHWM") - before))
except OSError:  # not Linux
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    session.run(None, feed)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_megabytes(model: onnx.ModelProto) -> float | None:
    """The growth of a process by one run, in MB, measured in a separate process; None if that fails.

    Resident memory, without that of ONNX Runtime itself. A system that is short of memory reclaims pages, which
    hides the growth; if there seems to be none, it is measured again.
    """
    import onnx

    try:
        import resource  # noqa: F401 - not on Windows
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        for _ in range(_TRIES):
            done = subprocess.run(
                [sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=False
            )
            try:
                grown = int(done.stdout.split()[-1])
            except (IndexError, ValueError):
                return None
            if grown:
                break
    return round(grown / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)
