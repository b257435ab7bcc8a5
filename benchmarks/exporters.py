"""Runs architectures x exporters x targets: nothing left to find, and the source's numbers at two sizes.

    python benchmarks/exporters.py [--only WORD ...] [--write]

The architectures are those of benchmarks/architectures.py. The exporters: torch's TorchScript exporter at opsets
9 to 23, its dynamo exporter, a graph as PyTorch 0.4 wrote it (opset 8), a channels-last one as tf2onnx and
keras2onnx write it, one in local functions with external data, and float16. Each file is read and lowered as
`convert` does it; a combination is *right* when no error, wrong or warning is left to find and the emulation of
the target is within 1e-4 of the range of the source network's output at both sizes. Exit code 1 unless all are.
Needs onnxscript for the dynamo exporter. --write makes docs/exporters.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import torch

from benchmarks import as_exported
from benchmarks.architectures import ARCHITECTURES, network

PAGE = Path(__file__).resolve().parent.parent / "docs" / "exporters.md"
SIZES = ((32, 48), (64, 32))
"""Height and width; the first is what is exported and declared."""
TOLERANCE = 1e-4
"""Of the range of the source's output."""
GROUPS = {
    "Barracuda": ("barracuda-1.0", "barracuda-2.0", "barracuda-3.0"),
    "Inference Engine": ("inference-2",),
}
"""Targets by the package that they are for, a table each. Sentis 2.1 has the rules of Inference Engine 2.2."""
LEGACY = range(9, 24)
DYNAMO = (18, 20, 23)


@cache
def legacy(name: str, opset: int) -> onnx.ModelProto:
    """The network through torch's TorchScript exporter."""
    return _exported(name, opset_version=opset, dynamo=False)


@cache
def dynamo(name: str, opset: int = 18, optimize: bool = True) -> onnx.ModelProto:
    """The network through torch's dynamo exporter."""
    return _exported(name, opset_version=opset, dynamo=True, optimize=optimize, verbose=False)


def _exported(name: str, **options: object) -> onnx.ModelProto:
    written = io.BytesIO()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network(name),
                (torch.zeros(1, 3, *SIZES[0]),),
                written,
                input_names=["x"],
                output_names=["y"],
                **options,
            )
    finally:
        logger.setLevel(level)
    return onnx.load_from_string(written.getvalue())


Make = Callable[[str], "onnx.ModelProto | None"]

EXPORTERS: dict[str, Make] = {
    **{f"torch, opset {opset}": lambda name, opset=opset: legacy(name, opset) for opset in LEGACY},
    **{f"torch dynamo, opset {opset}": lambda name, opset=opset: dynamo(name, opset) for opset in DYNAMO},
    "torch dynamo, not optimised": lambda name: dynamo(name, optimize=False),
    "functions and external data": lambda name: as_exported.functions(dynamo(name, optimize=False)),
    "PyTorch 0.4": lambda name: as_exported.pytorch_0_4(legacy(name, 9)),
    "tf2onnx, channels last": lambda name: as_exported.channels_last(legacy(name, 13)),
    "keras2onnx, channels last": lambda name: as_exported.channels_last(legacy(name, 11), "keras2onnx"),
    "float16": lambda name: as_exported.float16(legacy(name, 13)),
    "float16, float32 outside": lambda name: as_exported.float16(legacy(name, 17), keep_io_types=True),
}
"""Name: a function from an architecture's name to the model; None where that exporter could not write it."""


SAMPLE = (
    *("torch, opset 9", "torch, opset 13", "torch, opset 18", "torch dynamo, opset 18"),
    *("functions and external data", "PyTorch 0.4", "tf2onnx, channels last", "float16"),
)
"""Exporters that differ most in what they write."""


@dataclass(frozen=True)
class Outcome:
    """What became of a combination: "" or what is wrong with it, the nodes left, and the largest difference."""

    problem: str
    nodes: int = 0
    off: float = 0.0


@cache
def expected(name: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Pictures at both sizes, and what the torch module makes of them."""
    with torch.no_grad():
        pictures = [torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5)) for size in SIZES]
        return tuple((picture.numpy(), network(name)(picture).numpy()) for picture in pictures)


def lowered(model: onnx.ModelProto, target_name: str) -> tuple[gs.Graph, list]:
    """A model read from a file and lowered as `convert` does it, and the refusals."""
    from pipeline import sources, targets
    from pipeline.build.lowering import rewrite

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        external = bool(model.functions)
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        onnx.save(copy, path, save_as_external_data=external, location="network.data", size_threshold=64)
        found = sources.read(path)
    done = rewrite(found.model, None, targets.get(target_name))
    return done.graph, done.refusals


def judge(name: str, exporter: str, target_name: str) -> Outcome | None:
    """One combination; None where the exporter could not write the architecture."""
    from pipeline import targets
    from pipeline.validation import validate
    from pipeline.verify.proof import as_target_computes

    model = EXPORTERS[exporter](name)
    if model is None:
        return None
    target = targets.get(target_name)
    graph, refusals = lowered(model, target_name)
    result = target.family.read(target.family.write(graph, target))
    left = [found for found in validate(result, target) if found.severity in ("error", "wrong", "warning")]
    if refusals or left:
        first = (refusals or left)[0]
        return Outcome(f"{first.code} {first.operator} {first.node}: {first.reason}", len(graph.nodes))
    computed = as_target_computes(result, target)
    off = 0.0
    for picture, expected_value in as_exported.half_expected(model) if "float16" in exporter else expected(name):
        got = computed(picture)
        if got.shape != expected_value.shape:
            return Outcome(f"shape {got.shape} instead of {expected_value.shape}", len(graph.nodes))
        off = max(off, float(np.abs(got - expected_value).max() / np.ptp(expected_value)))
    return Outcome("" if off <= TOLERANCE else f"off by {off:.2g} of the range", len(graph.nodes), off)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="rows that hold one of these words")
    parser.add_argument("--write", action="store_true", help="write docs/exporters.md")
    chosen = parser.parse_args()
    outcomes: dict[tuple[str, str, str], Outcome | None] = {}
    for name, exporter, target in combinations():
        if chosen.only and not any(word in f"{name} {exporter} {target}" for word in chosen.only):
            continue
        try:
            outcome = judge(name, exporter, target)
        except Exception as error:  # a crash of any kind is one failed combination of many
            outcome = Outcome(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        outcomes[name, exporter, target] = outcome
        if outcome and outcome.problem:
            print(f"{name} | {exporter} | {target}: {outcome.problem}", flush=True)
    run = [outcome for outcome in outcomes.values() if outcome]
    bad = sum(bool(outcome.problem) for outcome in run)
    worst = max((outcome.off for outcome in run), default=0.0)
    print(f"{len(run)} combinations, {bad} not right; the largest difference is {worst:.1g} of the range")
    if chosen.write and not chosen.only:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return 1 if bad else 0


def combinations() -> Iterator[tuple[str, str, str]]:
    for name in ARCHITECTURES:
        for exporter in EXPORTERS:
            for package, targets in GROUPS.items():
                for target in targets if exporter in rows(package) else ():
                    yield name, exporter, target


def rows(package: str) -> list[str]:
    """The exporters of a package's table: each for Barracuda, and a sample of their dialects for the others.

    A file is read, and brought to the one valid form, before its target matters.
    """
    return [name for name in EXPORTERS if package == "Barracuda" or name in SAMPLE]


def page(outcomes: dict[tuple[str, str, str], Outcome | None]) -> str:
    """docs/exporters.md: the number of nodes that is left, a table for each package, oldest target first."""
    named = [f"{', '.join(targets)}" for targets in GROUPS.values()]
    lines = [
        "# Exporters",
        "",
        "<!-- Made by `python benchmarks/exporters.py --write`. -->",
        "",
        f"Small networks of {len(ARCHITECTURES)} architectures through {len(EXPORTERS)} exporters "
        f"(torch {torch.__version__.partition('+')[0]}), lowered for {', '.join(named)}. A cell shows the "
        "number of nodes of the lowered graph for each target, or what went wrong; `-`: the exporter cannot "
        "export the network. Wherever there are numbers, no finding is left, and the output matches within "
        f"{TOLERANCE:g} of its range at two sizes, computed as the target would compute it.",
    ]
    for package, targets in GROUPS.items():
        lines += ["", f"## {package}", "", *table(outcomes, rows(package), targets)]
    return "\n".join(lines) + "\n"


def table(
    outcomes: dict[tuple[str, str, str], Outcome | None], exporters: Sequence[str], targets: Sequence[str]
) -> list[str]:
    """The lines of one table, exporters down and architectures across."""
    lines = ["| exporter | " + " | ".join(ARCHITECTURES) + " |", "|---|" + "---|" * len(ARCHITECTURES)]
    for exporter in exporters:
        cells = []
        for name in ARCHITECTURES:
            found = [outcomes[name, exporter, target] for target in targets]
            reported = ["-" if item is None else item.problem or str(item.nodes) for item in found]
            cells.append(reported[0] if len(set(reported)) == 1 else " / ".join(reported))
        lines.append(f"| {exporter} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
