"""What several styles in one network, and styles that the game chooses, cost against one bound style.

    python benchmarks/styles.py

A conditional instance norm network of the usual widths (32, 64, 128; 5 blocks; random weights) with four styles,
for each family in three forms: one style bound (constants), a second input with one weight per style (`--bind`
several times; `compute` mixes weights on the CPU instead), and a second input with the vector of a style
(`--style-input`). For each form: layers or dispatches, milliseconds that the cost model predicts at 960x540 and
the time of a run of its emulation at 480x270, both relative to the bound one, and the bytes that a change of the
style uploads. Prints a Markdown table. Takes a few minutes, and says on stderr what it is at.
"""

from __future__ import annotations

import dataclasses
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import sources, targets
from pipeline.build.lowering import lower_network
from pipeline.build.options import BuildOptions
from pipeline.cost.model import counted, devices_of
from pipeline.graph.weighted import weighted
from pipeline.sources import ports
from pipeline.support.size import Size

STYLES = 4
SIZE = (270, 480)
BUILT_AT = Size(320, 192)
"""What the networks are lowered at: nothing that is counted or measured here depends on it."""
RUNS = 5
SECONDS = 60.0
"""After which no further run begins."""


class Norm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.scale, self.shift = nn.Embedding(STYLES, channels), nn.Embedding(STYLES, channels)
        nn.init.normal_(self.scale.weight, 1, 0.2)
        nn.init.normal_(self.shift.weight, 0, 0.2)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return self.norm(x) * self.scale(style)[:, :, None, None] + self.shift(style)[:, :, None, None]


class Conditional(nn.Module):
    """The widths of fast neural style, and a scale and shift of every norm for each style."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = 32, 64, 128
        shapes = [(3, a, 9, 1), (a, b, 3, 2), (b, c, 3, 2), *[(c, c, 3, 1)] * 10, (c, b, 3, 1), (b, a, 3, 1)]
        self.convs = nn.ModuleList(
            [nn.Conv2d(i, o, k, s, k // 2, padding_mode="reflect") for i, o, k, s in shapes]
        )
        self.norms = nn.ModuleList([Norm(o) for _, o, _, _ in shapes])
        self.last = nn.Conv2d(a, 3, 9, 1, 4, padding_mode="reflect")

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        for number in range(3):
            x = functional.relu(self.norms[number](self.convs[number](x), style))
        for number in range(3, 13, 2):
            y = functional.relu(self.norms[number](self.convs[number](x), style))
            x = x + self.norms[number + 1](self.convs[number + 1](y), style)
        for number in (13, 14):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = functional.relu(self.norms[number](self.convs[number](x), style))
        return torch.sigmoid(self.last(x))


def exported(folder: Path) -> Path:
    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.onnx.export(
        Conditional().eval(),
        (torch.rand(1, 3, 64, 80), torch.tensor([1])),
        buffer,
        dynamo=False,
        opset_version=13,
        input_names=["picture", "style"],
        output_names=["painted"],
        dynamic_axes={"picture": {2: "height", 3: "width"}},
    )
    path = folder / "conditional.onnx"
    path.write_bytes(buffer.getvalue())
    return path


def seconds(functions: list[Any]) -> list[float]:
    """Medians of functions that are run by turns; the first turn warms up, unless there is time for no other."""
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + SECONDS
    for turn in range(RUNS + 1):
        if turn and time.perf_counter() > end:
            break
        for measured, function in zip(times, functions, strict=True):
            started = time.perf_counter()
            function()
            measured.append(time.perf_counter() - started)
    return [statistics.median(measured[1:] or measured) for measured in times]


def rows(path: Path, name: str) -> list[str]:
    """The table's rows of one target."""
    target = targets.get(name)
    picture = np.random.default_rng(0).random((1, 3, *SIZE)).astype(np.float32)
    bindings = ports.styles(tuple(f"style={number}" for number in range(STYLES)))
    options = BuildOptions(target=name, size=BUILT_AT, input_range="0..1", output_range="0..1")

    def lowered(**chosen: Any) -> Any:
        print(f"building for {name}: {chosen}", file=sys.stderr)
        network = sources.read_one(path, dataclasses.replace(options, **chosen).reading)
        return network, lower_network(network, target, BUILT_AT, bake_contract=True, metadata={}, refits=False)

    bound = [lowered(bind=binding)[1] for binding in bindings]
    graphs = [one.graph for one in bound]
    network, live = lowered(bind=bindings[0], style_input="style")
    data = target.family.write_styles(graphs, target)
    run_weights = target.family.style_runner(data, target)
    run_vector = target.family.style_runner(live.serialised, target)
    vector = network.style.numbers
    print(f"running the emulations of {name}", file=sys.stderr)
    times = seconds(
        [
            lambda: bound[0].candidate(picture),
            lambda: run_weights(picture, [0.5, 0.5, 0, 0]),
            lambda: run_vector(picture, vector),
        ]
    )
    size, on = Size(960, 540), devices_of(target)
    has_plan = target.family.has_kernels
    combined = graphs[0] if has_plan else weighted(graphs)
    predicted = [
        counted(graph, size, on)["predicted"]
        for graph in (graphs[0], combined, graphs[0] if has_plan else live.graph)
    ]
    layers = [len(target.family.read(one).graph.node) for one in (bound[0].serialised, data, live.serialised)]
    uploaded = [0, 4 * len(vector) if has_plan else 4 * STYLES, 4 * len(vector)]
    found = []
    for form, costs, count, seconds_, upload in zip(
        ("one bound style", "a weight for each style", "the vector of a style"),
        predicted,
        layers,
        times,
        uploaded,
        strict=True,
    ):
        ratios = ", ".join(f"{key} {costs[key] / predicted[0][key]:.2f}" for key in costs) or "-"
        found.append(f"| {name} | {form} | {count} | {ratios} | {seconds_ / times[0]:.2f} | {upload:,} |")
    return found


def main() -> None:
    print("| target | form | layers | predicted, relative to one | measured, relative to one | bytes per change |")
    print("|---|---|---:|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        path = exported(Path(folder))
        for name in ("barracuda-3.0", "inference-2", "compute"):
            print("\n".join(rows(path, name)), flush=True)


if __name__ == "__main__":
    main()
