"""Benching: what models cost side by side, counted, predicted and measured here in ONNX Runtime.

What is timed is the lowered graph with its contract baked in: what Unity would get, so that measured and predicted
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

Tell = Callable[[str], None]


@dataclass(frozen=True)
class BenchOptions:
    """How to bench. `seconds` bounds the timing of each picture size; `memory` measures in further processes."""

    sizes: tuple[Size, ...] = SIZES
    target: str = targets.DEFAULT
    runs: int = 7
    threads: int = 1
    seconds: float = 60.0
    memory: bool = True
    gpu: float = 0.0
    """Seconds to time each model on this machine's GPU at each size, where its family has kernels of its own.

    Sizes at which a single run would take much longer are left out (`pipeline.bench.gpu`)."""
    device: str | None = None
    """The class of devices that graphs are arranged for, as in a build; `none` leaves them as they are."""

    def __post_init__(self) -> None:
        targets.get(self.target)
        if self.device is not None:
            from pipeline.cost.rearrange import check_device

            check_device(self.device)
        for size in self.sizes:
            size.checked()


@dataclass(frozen=True)
class Subject:
    """One model, lowered: what is counted, predicted and timed."""

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
        """The graph, declared at `size`."""
        from pipeline.graph import to_model

        graph = self.graph.copy()
        graph.inputs[0].shape = [1, self.lowered.input_channels, *size.hw]
        return to_model(graph)

    def on_gpu(self, size: Size, seconds: float) -> dict[str, Any] | None:
        """Milliseconds of the built model on this machine's GPU at a size at which it runs; None where only Unity
        runs it.
        """
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
    """Read a model and lower it; its contract is baked in where it is known."""
    from pipeline import sources
    from pipeline.comparison.sides import model_file

    path = model_file(path)
    network = sources.read_one(path, options or sources.ReadOptions())
    return lower(network, target, label or path.stem, device)


def lower(network: Network, target: str, label: str, device: str | None = "none") -> Subject:
    """A network, lowered."""
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
    tell: Tell = lambda told: None,
) -> dict[str, Any]:
    """Bench the models at each size, as plain data (docs/shrink.md describes it).

    `read` holds for the models that it can hold for (`pipeline.sources.several`). Raises PipelineError for a model
    that cannot be read or does not run.
    """
    from pipeline.comparison.sides import model_file
    from pipeline.sources import ReadOptions
    from pipeline.sources.several import for_each

    subjects = []
    own = for_each([model_file(path) for path in paths], read or ReadOptions())
    for path, label, reading in zip(paths, labels([Path(path) for path in paths]), own, strict=True):
        tell(f"reading {path}")
        subjects.append(prepare(path, options.target, reading, options.device, label))
    return bench_subjects(subjects, options, tell)


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each file: its stem, with its folder, suffix or number where stems are alike."""
    for name in (lambda p: p.stem, lambda p: p.name, lambda p: f"{p.parent.name}/{p.name}"):
        found = [name(path) for path in paths]
        if len(set(found)) == len(found):
            return found
    return [f"{path.name} ({index})" for index, path in enumerate(paths, start=1)]


def bench_subjects(
    subjects: Sequence[Subject], options: BenchOptions = BenchOptions(), tell: Tell = lambda told: None
) -> dict[str, Any]:
    """Bench what is prepared already."""
    from pipeline.bench.timing import measure, peak_megabytes

    models = [_about(subject) for subject in subjects]
    gpus = [OnGpu(subject, options.gpu) for subject in subjects]
    for wanted in options.sizes:
        name = str(wanted)
        sized = {subject.label: subject.model(subject.sized(wanted)) for subject in subjects}
        times = measure(
            sized,
            runs=options.runs,
            threads=options.threads,
            seconds=options.seconds,
            tell=partial(_tell_of, tell, name),
        )
        for subject, about, gpu in zip(subjects, models, gpus, strict=True):
            entry = counted(subject, wanted)
            entry["measured"] = times[subject.label].as_dict()
            if options.gpu:
                tell(f"{name}: {subject.label} on the GPU")
                entry["gpu"] = gpu.measured(wanted)
                if entry["gpu"] is not None and "left_out_seconds" in entry["gpu"]:
                    tell(f"{name}: left out, a run would take about {entry['gpu']['left_out_seconds']:.0f} s")
            if options.memory:
                tell(f"{name}: memory of {subject.label}")
                entry["grown_megabytes"] = peak_megabytes(sized[subject.label])
            about["sizes"][name] = entry
    return {
        "schema": 1,
        "target": options.target,
        "threads": options.threads,
        "machine": machine(),
        "devices": [{**held.as_dict(), "error": held.error} for held in devices_of(targets.get(options.target))],
        "sizes": [str(size) for size in options.sizes],
        "models": models,
    }


def machine() -> dict[str, Any]:
    """What was measured on, and how busy it was."""
    import onnxruntime

    told: dict[str, Any] = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "onnxruntime": onnxruntime.__version__,
    }
    if hasattr(os, "getloadavg"):
        told["load"] = round(os.getloadavg()[0], 2)
    return told


def _tell_of(tell: Tell, name: str, told: str) -> None:
    tell(f"{name}: {told}")


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


def counted(subject: Subject, wanted: Size) -> dict[str, Any]:
    """What is counted and predicted at a size."""
    from pipeline.cost.model import counted as count

    size = subject.sized(wanted)
    return {"run_at": str(size), **count(subject.graph, size, devices_of(subject.lowered.target))}


def _style(file: str) -> str:
    """The name that `build-unity` gives the bundle of a file: mosaic.pth is Mosaic."""
    return names.identifier(Path(file).stem)


def merge_unity(report: dict[str, Any], measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Put Unity's own measurements beside the predictions; the styles that are none of these models.

    `measured` is {style: {size: {worker: {"median": ms, ...}}}} as `pipeline.unity.measurements` reads it. A style
    is the model whose source file has its digest, else the one whose file gives a bundle that name.
    """
    strangers = []
    for style, sizes in measured.items():
        digests = {held.get("source_digest") for workers in sizes.values() for held in workers.values()}
        same = [model for model in report["models"] if model.get("digest") in digests - {None}]
        same = same or [model for model in report["models"] if style in (model["label"], _style(model["file"]))]
        if not same:
            strangers.append(style)
        for model in same:
            model.setdefault("unity", {}).update(sizes)
    return strangers
