"""Benchmarks models: their cost counted, predicted and measured here in ONNX Runtime.

The lowered graph with its contract baked in is timed, as Unity would get it, so that measured and predicted
numbers are about the same layers.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import targets
from pipeline.bench.gpu import OnGpu
from pipeline.cost.model import SIZES, at_size, devices_of
from pipeline.support import identifiers as names
from pipeline.support.size import Size
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.build.lowering import Lowered
    from pipeline.network import Network
    from pipeline.sources import ReadOptions

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BenchOptions:
    """How to benchmark. `seconds` limits the timing of each picture size; `memory` is measured in separate
    processes."""

    sizes: tuple[Size, ...] = SIZES
    target: str = targets.DEFAULT
    runs: int = 7
    threads: int = 1
    seconds: float = 60.0
    memory: bool = True
    gpu: float = 0.0
    """Seconds for timing each model on this machine's GPU at each size, if its family has kernels of its own.

    Sizes at which a single run would take too long are left out (`pipeline.bench.gpu`)."""
    device: str | None = None
    """The device class for which graphs are rearranged, as in a build; `none` disables that."""

    def __post_init__(self) -> None:
        targets.get(self.target)
        if self.device is not None:
            from pipeline.cost.rearrange import check_device

            check_device(self.device)
        for size in self.sizes:
            size.checked()


@dataclass(frozen=True)
class Subject:
    """One lowered model, which is counted, predicted and timed."""

    label: str
    file: str
    network: Network
    lowered: Lowered
    graph: gs.Graph

    def sized(self, size: Size) -> Size:
        """The size nearest to `size` at which it runs."""
        if self.lowered.fixed_size is not None:
            return self.lowered.fixed_size
        return size.rounded(self.lowered.size_multiple)

    def model(self, size: Size) -> onnx.ModelProto:
        """The graph with its input declared at `size`."""
        from pipeline.graph import to_model

        graph = self.graph.copy()
        graph.inputs[0].shape = [1, self.lowered.input_channels, *size.hw]
        return to_model(graph)

    def on_gpu(self, size: Size, seconds: float) -> dict[str, Any] | None:
        """Milliseconds of the built model on this machine's GPU at a size at which it runs; None if only Unity
        runs it."""
        target = self.lowered.target
        return target.family.time_on_gpu(self.lowered.serialised, target, size, seconds)


@on_a_file
def prepare(
    path: Path | str,
    target: str = targets.DEFAULT,
    options: ReadOptions | None = None,
    device: str | None = "none",
    label: str = "",
) -> Subject:
    """Read a model and lower it; its contract is baked in if it is known."""
    from pipeline import sources
    from pipeline.comparison.sides import model_file

    path = model_file(path)
    network = sources.read_one(path, options or sources.ReadOptions())
    return lower(network, target, label or path.stem, device)


def lower(network: Network, target: str, label: str, device: str | None = "none") -> Subject:
    """Lower a network."""
    from pipeline import targets
    from pipeline.build.lowering import lower_network

    lowered = lower_network(
        network,
        targets.get(target),
        SIZES[0],
        bake_contract=network.contract is not None,
        metadata={},
        device=device,
    )
    return Subject(label, network.source.name, network, lowered, lowered.graph)


def bench(
    paths: Sequence[Path | str],
    options: BenchOptions = BenchOptions(),
    read: ReadOptions | None = None,
    progress: Progress = lambda message: None,
) -> dict[str, Any]:
    """Benchmark the models at each size; returns plain data (described in docs/shrink.md).

    `read` applies to the models that accept it (`pipeline.sources.shared_options`). Raises PipelineError for a
    model that cannot be read or does not run.
    """
    from pipeline.comparison.sides import model_file
    from pipeline.sources import ReadOptions
    from pipeline.sources.shared_options import for_each

    subjects = []
    own = for_each([model_file(path) for path in paths], read or ReadOptions())
    for path, label, reading in zip(paths, labels([Path(path) for path in paths]), own, strict=True):
        progress(f"reading {path}")
        subjects.append(prepare(path, options.target, reading, options.device, label))
    return bench_subjects(subjects, options, progress)


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each file: its stem, with its folder, suffix or number if stems are equal."""
    for name in (lambda p: p.stem, lambda p: p.name, lambda p: f"{p.parent.name}/{p.name}"):
        found = [name(path) for path in paths]
        if len(set(found)) == len(found):
            return found
    return [f"{path.name} ({index})" for index, path in enumerate(paths, start=1)]


def bench_subjects(
    subjects: Sequence[Subject], options: BenchOptions = BenchOptions(), progress: Progress = lambda message: None
) -> dict[str, Any]:
    """Benchmark models that are already prepared."""
    from pipeline.bench.timing import measure, peak_megabytes

    models = [_about(subject) for subject in subjects]
    gpus = [OnGpu(subject, options.gpu) for subject in subjects]
    for requested in options.sizes:
        name = str(requested)
        sized = {subject.label: subject.model(subject.sized(requested)) for subject in subjects}
        times = measure(
            sized,
            runs=options.runs,
            threads=options.threads,
            seconds=options.seconds,
            progress=partial(_progress_of, progress, name),
        )
        for subject, about, gpu in zip(subjects, models, gpus, strict=True):
            entry = counted(subject, requested)
            entry["measured"] = times[subject.label].as_dict()
            if options.gpu:
                progress(f"{name}: {subject.label} on the GPU")
                entry["gpu"] = gpu.measured(requested)
                if entry["gpu"] is not None and "left_out_seconds" in entry["gpu"]:
                    progress(f"{name}: left out, a run would take about {entry['gpu']['left_out_seconds']:.0f} s")
            if options.memory:
                progress(f"{name}: memory of {subject.label}")
                entry["grown_megabytes"] = peak_megabytes(sized[subject.label])
            about["sizes"][name] = entry
    return {
        "schema": 1,
        "target": options.target,
        "threads": options.threads,
        "machine": machine(),
        "devices": [
            {**device.as_dict(), "error": device.error} for device in devices_of(targets.get(options.target))
        ],
        "sizes": [str(size) for size in options.sizes],
        "models": models,
    }


def machine() -> dict[str, Any]:
    """The machine on which times were measured, and its load."""
    import onnxruntime

    facts: dict[str, Any] = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "onnxruntime": onnxruntime.__version__,
    }
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    return facts


def _progress_of(progress: Progress, name: str, message: str) -> None:
    progress(f"{name}: {message}")


def _about(subject: Subject) -> dict[str, Any]:
    family = subject.lowered.target.family
    found = [layer.conv for layer in at_size(subject.graph, subject.sized(SIZES[0])) if layer.conv]
    kernels = Counter(filter(None, map(family.kernel, found)))
    return {
        "label": subject.label,
        "file": subject.file,
        "digest": subject.network.digest,
        "architecture": subject.network.architecture,
        "details": subject.network.details,
        "weights": subject.network.weights,
        "bytes": len(subject.lowered.serialised),
        "nodes": subject.lowered.after["nodes"],
        "kernels": dict(sorted(kernels.items())),
        "sizes": {},
    }


def counted(subject: Subject, requested: Size) -> dict[str, Any]:
    """Counted and predicted cost at a size."""
    from pipeline.cost.model import counted as count

    size = subject.sized(requested)
    return {"run_at": str(size), **count(subject.graph, size, devices_of(subject.lowered.target))}


def _style(file: str) -> str:
    """The name that `build-unity` gives the bundle of a file: mosaic.pth is Mosaic."""
    return names.identifier(Path(file).stem)


def merge_unity(report: dict[str, Any], measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Add Unity's own measurements to the predictions; returns the styles that match none of the models.

    `measured` is {style: {size: {worker: {"median": ms, ...}}}} as `pipeline.unity.measurements` reads it. A style
    is the model whose source file has its digest, else the one whose file gives a bundle that name.
    """
    strangers = []
    for style, sizes in measured.items():
        digests = {
            measurement.get("source_digest") for workers in sizes.values() for measurement in workers.values()
        }
        same = [model for model in report["models"] if model.get("digest") in digests - {None}]
        same = same or [model for model in report["models"] if style in (model["label"], _style(model["file"]))]
        if not same:
            strangers.append(style)
        for model in same:
            model.setdefault("unity", {}).update(sizes)
    return strangers
