"""Packed weights of compiled networks: bytes against PSNR, for each way of storing them.

    python benchmarks/compute_weights.py [MODEL ...] [--picture PICTURE] [--input-range ...] [--output-range ...]
    python benchmarks/compute_weights.py --write

For each model and each way: bytes of the file, of them the plan (dispatches, sizes, names) and the weights, and
how near it comes to the plan with float weights, in dB (peak 255): on the worst of the pictures that packing
measures with, and on PICTURE at 960x540, which nothing was rounded or measured with. Without MODEL, that of docs/
compute.md: Fritz' smallest network of ../shared/models, and a frame of a game. `--write` puts its table into the
page. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
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


ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT.parent / "shared" / "models"
NETWORK = MODELS / "fritz" / "starry_night_256x256_small_a03.h5"
PICTURE = MODELS / "images" / "kinematica_011.png"
PAGE = ROOT / "docs" / "compute.md"
BEGIN, END = "<!-- weights: made by `python benchmarks/compute_weights.py --write` -->", "<!-- end of weights -->"


def table(path: Path, picture: Path, declared: sources.ReadOptions) -> Iterator[str]:
    """The lines of a model's table, in Markdown."""
    network = sources.read(path, declared)
    data = lower_network(
        network, targets.get("compute"), Size(960, 540), bake_contract=True, metadata={}
    ).serialised
    plan = packing.plan_of(data)
    pixels = load(picture, 540, 960, plan.channels[0])
    expected = emulation.runner(plan)(pixels).astype(np.float64)
    yield (
        f"| {path.name}, {network.weights:,} weights | bytes | of which plan | of which weights "
        "| dB, worst of three pictures | dB on another picture |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    yield f"| float | {len(data):,} | | | | |"
    for way in WAYS:
        kind, _, least = way.partition(":")
        packed, facts = packing.pack_plan(data, Packing(CompressOptions(kind, float(least or 40)), None))
        near = decibels(emulation.runner(packing.plan_of(packed))(pixels).astype(np.float64), expected)
        way, plan_bytes = way.replace(":", " --min-psnr "), facts["plan_bytes"]
        yield (
            f"| `{way}` | {len(packed):,} | {plan_bytes:,} | {len(packed) - plan_bytes:,} "
            f"| {facts['psnr']} | {near:.1f} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--input-range")
    parser.add_argument("--output-range")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    if chosen.write and chosen.models:
        parser.error("--write writes the table of the network in docs/compute.md: give no MODEL")
    declared = sources.ReadOptions(input_range=chosen.input_range, output_range=chosen.output_range)
    lines: list[str] = []
    for path in chosen.models or [NETWORK]:
        for line in table(path, chosen.picture, declared):
            print(line, flush=True)
            lines.append(line)
        print()
    if chosen.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        behind = rest.partition(END)[2]
        PAGE.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{behind}"]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
