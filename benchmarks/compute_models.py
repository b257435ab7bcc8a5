"""Networks compiled into compute shaders: which are, how exact their executed kernels are, and what they cost.

    python benchmarks/compute_models.py MODEL ... [--input-range 0..1] [--output-range 0..1]

For each model one row: the largest difference, in levels of 255, between its kernels, executed on the GPU at hand
(a software one will do) at an odd size, and the source network; dispatches; bytes of the plan with float weights;
what a picture of 960x540 costs. A model that is refused is a row with the reasons, one for each operator.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import sources
from pipeline.build import prove
from pipeline.build.lowering import trial_sizes
from pipeline.build.options import BuildOptions
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute import described, execution, packing
from pipeline.verify.compare import difference
from pipeline.verify.pictures import load, noise


def row(path: Path, ranges: dict[str, str]) -> str:
    """The cells of a model's row. Raises PipelineError for one that is refused."""
    options = BuildOptions(target="compute", size=Size(176, 128), **ranges)
    network, lowered, _, _ = prove.make(path, options, lambda *_: None, bake_contract=True)
    plan = packing.plan_of(lowered.serialised)
    reference = sources.reference(network)
    height, width = trial_sizes(lowered, getattr(reference, "fixed_size", None))[-1].hw
    multiple, fixed = lowered.size_multiple, lowered.fixed_size is not None
    truth = prove._picture_function(lowered.quantised or reference, network, reference, lowered)
    executor = execution.Executor(plan, height, width, guard=1024)
    worst = 0.0
    for picture in (load(None, height, width, plan.channels[0]), noise(height, width, plan.channels[0])):
        worst = max(worst, difference(truth(picture), executor.run(picture), "").max_levels)
    if not executor.guards_hold():
        raise AssertionError(f"{path.name}: a kernel wrote behind a buffer")
    cost = described.counts(plan, *(plan.size if fixed else (540 // multiple * multiple, 960)))
    return (
        f"{width}x{height} | {worst:.4f} | {cost['dispatches']:.0f} | {len(lowered.serialised):,} "
        f"| {cost['giga_fma']} | {cost['moved_megabytes']}"
    )


def why(error: PipelineError) -> str:
    """Why a model is not a row: each operator that is refused, once."""
    findings = (getattr(error, "report", None) or {}).get("findings", [])
    told = {held["operator"]: held["reason"] for held in findings if held["severity"] == "error"}
    reasons = [f"{operator}: {reason}" for operator, reason in told.items()]
    return "refused: " + ("; ".join(reasons) or f"{error.code}: {error.message}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--input-range")
    parser.add_argument("--output-range")
    chosen = parser.parse_args()
    ranges = {name: held for name in ("input_range", "output_range") if (held := getattr(chosen, name))}
    print("| model | executed at | levels | dispatches | bytes | G multiply-adds | MB moved |")
    print("|---|---|---|---|---|---|---|")
    for path in chosen.models:
        try:
            told = row(path, ranges)
        except PipelineError as error:
            told = why(error)
        print(f"| {path.stem} | {told} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
