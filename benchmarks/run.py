"""Times the command line as whole processes, each beside a named peer in the same run.

    python benchmarks/run.py [--runs 5] [--write]

Prints medians of wall seconds and peak memory, and the ratio to the peer; the two run in turn, so that a machine
that slows down slows both. Peers: a bare script that does nothing but torch.onnx.export, and onnxslim
(`pip install onnxslim`; left out where it is not installed). POSIX only: peak memory comes from wait4.
--write makes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"

BARE_SCRIPT = """
import sys, torch, warnings
warnings.simplefilter("ignore")
from pipeline.architectures import build
net = build("fast-neural-style", {"widths": [32, 64, 128], "blocks": 5})
net.load_state_dict(torch.load(sys.argv[1], weights_only=True))
with torch.no_grad():
    torch.onnx.export(net, torch.zeros(1, 3, 540, 720), sys.argv[2], opset_version=9, dynamo=False)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), chosen.runs)
    if chosen.write:
        PAGE.write_text(page(rows, chosen.runs), encoding="utf-8")
    return 0


@dataclass(frozen=True)
class Row:
    """One pair: medians of wall seconds and peak MiB of both, and the median of the ratios of seconds."""

    name: str
    seconds: float
    memory: float
    peer: str
    peer_seconds: float
    peer_memory: float
    ratio: float


def page(rows: list[Row], runs: int) -> str:
    """docs/benchmarks.md."""
    lines = [
        "# Speed",
        "",
        "<!-- Made by `python benchmarks/run.py --write`. -->",
        "",
        f"Whole processes, each in turn with a peer: medians of {runs} runs on {os.cpu_count()} cores of "
        f"{processor()}, Python {platform.python_version()}. The 1.68 M-weight network is fast_neural_style's at "
        "full size. The ratio is what carries over to another machine; the seconds do not.",
        "",
        "| ours | s | MiB | peer | s | MiB | ratio of times |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        cells = [f"{row.seconds:.3f}", f"{row.memory:.0f}", row.peer]
        cells += [f"{row.peer_seconds:.3f}", f"{row.peer_memory:.0f}", f"{row.ratio:.2f}"]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def processor() -> str:
    """The processor's name, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(folder: Path, runs: int) -> list[Row]:
    """Make the inputs, run every pair, print the table."""
    checkpoint, graph = make_inputs(folder)
    python, pipeline = sys.executable, [sys.executable, "-m", "pipeline"]
    bare = folder / "bare.py"
    bare.write_text(BARE_SCRIPT)
    environment = os.environ | {"PIPELINE_CACHE": str(folder / "cache")}
    build = [*pipeline, "build-unity", checkpoint, "--output", folder / "out"]
    rows = [
        ("pipeline --help", [*pipeline, "--help"], "python -c pass", [python, "-c", "pass"]),
        (
            "pipeline validate, 6.7 MB",
            [*pipeline, "validate", graph],
            "onnxslim, same file",
            [python, "-m", "onnxslim", graph, folder / "slim.onnx"] if has("onnxslim") else None,
        ),
        (
            "build-unity, 1.68 M weights",
            [*build, "--no-cache"],
            "bare torch.onnx.export, 720x540",
            [python, bare, checkpoint, folder / "bare.onnx"],
        ),
        ("build-unity, cached", build, "python -c 'import torch'", [python, "-c", "import torch"]),
    ]
    results = []
    print(f"{'ours':<30} {'s':>7} {'MiB':>6}   {'peer':<34} {'s':>7} {'MiB':>6}   {'ratio':>6}")
    for name, ours, peer_name, peer in rows:
        once(ours, environment)
        if peer:
            once(peer, environment)
        times: list[tuple[float, float]] = []
        peer_times: list[tuple[float, float]] = []
        for _ in range(runs):
            times.append(once(ours, environment))
            if peer:
                peer_times.append(once(peer, environment))
        seconds, memory = (statistics.median(column) for column in zip(*times, strict=True))
        line = f"{name:<30} {seconds:7.3f} {memory:6.0f}   "
        if peer:
            p_seconds, p_memory = (statistics.median(column) for column in zip(*peer_times, strict=True))
            ratio = statistics.median(a[0] / b[0] for a, b in zip(times, peer_times, strict=True))
            line += f"{peer_name:<34} {p_seconds:7.3f} {p_memory:6.0f}   {ratio:6.2f}"
            results.append(Row(name, seconds, memory, peer_name, p_seconds, p_memory, ratio))
        else:
            line += f"{peer_name:<34} not installed"
        print(line, flush=True)
    return results


MAKE_CHECKPOINT = """
import sys, torch
from pipeline.architectures import build
torch.manual_seed(1)
network = build("fast-neural-style", {"widths": [32, 64, 128], "blocks": 5})
with torch.no_grad():
    for value in network.parameters():
        value.add_(torch.randn_like(value) * 0.02)
torch.save(network.state_dict(), sys.argv[1])
"""


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """A full-size fast_neural_style checkpoint with random weights, and its graph.

    Made in processes of their own: what this process holds would count in the peak of each that it starts.
    """
    checkpoint, graph = folder / "full.pth", folder / "full.onnx"
    for command in (
        ["-c", MAKE_CHECKPOINT, checkpoint],
        ["-m", "pipeline", "convert", checkpoint, "--output", graph, "--quiet"],
    ):
        subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return checkpoint, graph


def has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def once(command: list[object], environment: dict[str, str]) -> tuple[float, float]:
    """Wall seconds and peak MiB of one process (the largest of its children included); it must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)


if __name__ == "__main__":
    sys.exit(main())
