"""Packed weights of compiled networks: bytes against PSNR, for each way of storing them.

    python benchmarks/compute_weights.py MODEL ... --picture PICTURE [--input-range 0..255] [--output-range 0..255]

For each model and each way: bytes of the file, of them the plan (dispatches, sizes, names) and the weights, and
how near it comes to the plan with float weights, in dB (peak 255): on the worst of the pictures that packing
measures with, and on PICTURE at 960x540, which nothing was rounded or measured with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from pipeline import sources, targets
from pipeline.build.lowering import lower_network
from pipeline.compress.bundling import Packing
from pipeline.compress.job import CompressOptions
from pipeline.compress.running import decibels
from pipeline.support.size import Size
from pipeline.targets.compute import emulation, packing
from pipeline.verify.pictures import load

WAYS = ("half", "int8", "int7", "int6", "int5", "int4", "auto:50", "auto:45", "auto:40")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--input-range")
    parser.add_argument("--output-range")
    chosen = parser.parse_args()
    declared = sources.ReadOptions(input_range=chosen.input_range, output_range=chosen.output_range)
    target = targets.get("compute")
    print("| model | weights | bytes | plan | weights, bytes | dB | dB on PICTURE |")
    print("|---|---|---|---|---|---|---|")
    for path in chosen.models:
        network = sources.read(path, declared)
        data = lower_network(network, target, Size(960, 540), bake_contract=True, metadata={}).serialised
        plan = packing.plan_of(data)
        picture = load(chosen.picture, 540, 960, plan.channels[0])
        expected = emulation.runner(plan)(picture).astype(np.float64)
        print(f"| {path.stem} | float | {len(data):,} | | | | |", flush=True)
        for way in WAYS:
            kind, _, least = way.partition(":")
            packed, facts = packing.pack_plan(data, Packing(CompressOptions(kind, float(least or 40)), None))
            near = decibels(emulation.runner(packing.plan_of(packed))(picture).astype(np.float64), expected)
            plan_bytes = facts["plan_bytes"]
            print(
                f"| | {way.replace(':', ', ')} | {len(packed):,} | {plan_bytes:,} | {len(packed) - plan_bytes:,} "
                f"| {facts['psnr']} | {near:.1f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
