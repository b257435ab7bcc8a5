"""Networks compiled into compute shaders: which are, how exact their executed kernels are, and what they cost.

    python benchmarks/compute_models.py MODEL ... [--input-range 0..1] [--output-range 0..1]

For each model one row: the largest difference, in levels of 255, between its kernels, executed on the GPU at hand
(a software one will do) at an odd size, and the source network, on a photograph and noise; then that from the
nearer of the source and of the lowered graph in float64, on the same at 2 % contrast and on flat frames: there
each normalisation amplifies rounding errors, and either may be off by whole levels; dispatches; bytes of the plan
with float weights; what a picture of 960x540 costs.

A model that is refused is a row with the reasons, one for each operator. --bind, --mask, --size and --take are
those of build-unity.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.reference import ReferenceEvaluator

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import sources
from pipeline.build import prove
from pipeline.build.lowering import trial_sizes
from pipeline.build.options import BuildOptions
from pipeline.graph import to_model
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute import described, execution, packing
from pipeline.verify.compare import difference
from pipeline.verify.pictures import load, noise
from pipeline.verify.proof import Picture2Picture, around


def row(path: Path, ranges: dict[str, Any]) -> str:
    """The cells of a model's row. Raises PipelineError for one that is refused."""
    options = BuildOptions(**{"target": "compute", "size": Size(176, 128), **ranges})
    network, lowered, _, _ = prove.make(path, options, lambda *_: None, bake_contract=True)
    plan = packing.plan_of(lowered.serialised)
    reference = sources.reference(network)
    size = trial_sizes(lowered, getattr(reference, "fixed_size", None))[-1]
    multiple, fixed = lowered.size_multiple, lowered.fixed_size is not None
    truth = around(lowered.quantised or reference, prove.contract_of(network, reference, lowered))
    executor = execution.Executor(plan, size, guard=1024)
    worst = {}
    for kind, pictures in frames(*size.hw, plan.channels[0]).items():
        rights = [truth] if kind == "ordinary" else [truth, exactly(lowered.graph, truth)]
        worst[kind] = max(
            min(difference(right(picture), executed, "").max_levels for right in rights)
            for picture, executed in ((picture, executor.run(picture)) for picture in pictures)
        )
    if not executor.guards_intact():
        raise AssertionError(f"{path.name}: a kernel wrote behind a buffer")
    cost = described.counts(plan, plan.size if fixed else Size(960, 540 // multiple * multiple))
    levels = " | ".join(f"{item:.4f}" for item in worst.values())
    return (
        f"{size} | {levels} | {cost['dispatches']:.0f} | {len(lowered.serialised):,} "
        f"| {cost['giga_fma']} | {cost['moved_megabytes']}"
    )


def frames(height: int, width: int, channels: int) -> dict[str, list[np.ndarray]]:
    """Pictures by kind: a photograph and noise; the same of low contrast; flat ones."""
    ordinary = [load(None, height, width, channels), noise(height, width, channels)]
    faint = [(0.9 + 0.02 * (picture - 0.5)).astype(np.float32) for picture in ordinary]
    return {
        "ordinary": ordinary,
        "faint": faint,
        "flat": [np.full_like(ordinary[0], level) for level in (0.0, 0.5, 1.0)],
    }


def exactly(graph: gs.Graph, otherwise: Picture2Picture) -> Picture2Picture:
    """A graph in float64, by ONNX's reference; `otherwise` for pictures at which that does not run it."""
    model = to_model(graph)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            wide = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    evaluator = ReferenceEvaluator(model)
    name = model.graph.input[0].name

    def run(picture: np.ndarray) -> np.ndarray:
        try:
            return evaluator.run(None, {name: picture.astype(np.float64)})[0]
        except Exception:  # whatever it raises: sizes are constants in the graph
            return otherwise(picture)

    return run


def why(error: PipelineError) -> str:
    """Why a model is not a row: each operator that is refused, once."""
    findings = (getattr(error, "report", None) or {}).get("findings", [])
    reported = {finding["operator"]: finding["reason"] for finding in findings if finding["severity"] == "error"}
    reasons = [f"{operator}: {reason}" for operator, reason in reported.items()]
    return "refused: " + ("; ".join(reasons) or f"{error.code}: {error.message}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--input-range")
    parser.add_argument("--output-range")
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--take")
    parser.add_argument("--mask")
    parser.add_argument("--size", type=Size.parse)
    chosen = parser.parse_args()
    ranges = {
        name: item
        for name in ("input_range", "output_range", "take", "mask", "size")
        if (item := getattr(chosen, name))
    }
    ranges |= {"bind": tuple(chosen.bind)} if chosen.bind else {}
    heads = (
        "model",
        "executed at",
        "levels",
        "at 2 % contrast",
        "flat",
        "dispatches",
        "bytes",
        "GFMA",
        "MB moved",
    )
    print(f"| {' | '.join(heads)} |")
    print("|---" * len(heads) + "|")
    for path in chosen.models:
        try:
            reported = row(path, ranges)
        except PipelineError as error:
            reported = why(error)
        except Exception as error:  # a fault of ours: the other models are still run
            reported = f"FAILED: {type(error).__name__}: {str(error)[:200]}"
        print(f"| {path.stem} | {reported} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
