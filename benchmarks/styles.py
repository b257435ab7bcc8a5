"""What it costs to hold several styles in one network: against the same network with one style bound.

    python benchmarks/styles.py

A conditional instance norm network of the usual widths (32, 64, 128; 5 blocks; random weights), with four styles,
for each family: layers or dispatches, milliseconds that the cost model predicts at 960x540, and the time of a run
of its emulation at 480x270 beside the bound one, in one process. Prints a Markdown table. Takes a few minutes,
and says on stderr what it is at.
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

from pipeline import targets
from pipeline.build import prove
from pipeline.build.options import BuildOptions
from pipeline.cost.model import counted, devices_of
from pipeline.graph.weighted import weighted
from pipeline.sources import ports
from pipeline.support.size import Size

STYLES = 4
SIZE = (270, 480)
BUILT_AT = Size(320, 192)
"""What the networks are proven at: nothing that is counted or measured here depends on it."""
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


def seconds(run: Any, other: Any) -> tuple[float, float]:
    """Medians of two functions, run by turns; the first turn warms up, unless there is time for no other."""
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + SECONDS
    for turn in range(RUNS + 1):
        if turn and time.perf_counter() > end:
            break
        for item, function in zip(times, (run, other), strict=True):
            started = time.perf_counter()
            function()
            item.append(time.perf_counter() - started)
    first, second = ([*item[1:]] or item for item in times)
    return statistics.median(first), statistics.median(second)


def main() -> None:
    print(
        "| target | one style: runs | all styles: runs | predicted, all against one | measured, all against one |"
    )
    print("|---|---:|---:|---|---:|")
    picture = np.random.default_rng(0).random((1, 3, *SIZE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = exported(Path(folder))
        for name in ("barracuda-3.0", "inference-2", "compute"):
            target = targets.get(name)
            bound = tuple(f"style={number}" for number in range(STYLES))
            options = BuildOptions(target=name, size=BUILT_AT, input_range="0..1", output_range="0..1")
            print(f"building for {name}", file=sys.stderr)
            stored = [
                prove.make(
                    path,
                    dataclasses.replace(options, bind=binding),
                    lambda *_: None,
                    bake_contract=True,
                    refits=False,
                )
                for binding in ports.styles(bound)
            ]
            graphs = [item[1].graph for item in stored]
            data = target.family.write_styles(graphs, target)
            run = target.family.style_runner(data, target)
            alone = stored[0][1].candidate
            assert alone is not None
            print(f"running the emulation of {name}", file=sys.stderr)
            all_, one = seconds(lambda: run(picture, [0.5, 0.5, 0, 0]), lambda: alone(picture))  # noqa: B023
            size = Size(960, 540)
            on = devices_of(target)
            predicted = [counted(graph, size, on)["predicted"] for graph in (graphs[0], weighted(graphs))]
            if name == "compute":
                predicted[1] = predicted[0]
            ratios = [f"{key} {predicted[1][key] / predicted[0][key]:.2f}" for key in predicted[0]]
            counts = [len(target.family.read(bytes_).graph.node) for bytes_ in (stored[0][1].serialised, data)]
            print(
                f"| {name} | {counts[0]} | {counts[1]} | {', '.join(ratios) or '-'} | {all_ / one:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
