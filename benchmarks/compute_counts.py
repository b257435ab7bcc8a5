"""What compiled kernels issue and move, beside Barracuda's kernels for the same network, plain and arranged.

    python benchmarks/compute_counts.py [--write]

For each network of ../shared/models one row at 960x540: billions of multiply-adds that a picture needs, those that
Barracuda's kernels issue as lowered and as arranged for a class of devices (docs/arranged.md), and those that the
compiled kernels issue; megabytes of activations read and written; dispatches. `--write` puts the table into
docs/compute.md. Counts only: nothing here is measured on a GPU. Takes a few minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.arranged import CLASSES, MODELS, NETWORKS, SIZE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "compute.md"
BEGIN, END = "<!-- counts: made by `python benchmarks/compute_counts.py --write` -->", "<!-- end of counts -->"
BYTES = 4


def row(name: str, ranges: dict[str, str]) -> str:
    from pipeline import sources
    from pipeline.bench.job import lower
    from pipeline.cost.model import at_size, device
    from pipeline.targets.compute import described, packing

    network = sources.read(MODELS / name, sources.ReadOptions(**ranges))
    compiled = lower(network, "compute", name)
    size = compiled.sized(SIZE)
    counts = described.counts(packing.plan_of(compiled.lowered.serialised), size)
    plain = at_size(lower(network, "barracuda-3.0", name).graph, size)
    needed = sum(layer.macs for layer in plain if layer.conv) * 1e-9
    moved = sum(layer.read + layer.written for layer in plain) * BYTES * 1e-6
    pairs = []
    for chosen in CLASSES:
        arranged = at_size(lower(network, "barracuda-3.0", name, chosen).graph, size)
        worker = device(chosen).worker
        pairs.append(", ".join(f"{sum(map(worker.issued, item)) * 1e-9:.1f}" for item in (plain, arranged)))
    return (
        f"| {Path(name).name} | {needed:.1f} | {' | '.join(pairs)} | {counts['giga_fma']:.1f} | {moved:,.0f} "
        f"| {counts['moved_megabytes']:,.0f} | {len(plain)} | {counts['dispatches']:.0f} |"
    )


def main() -> None:
    lines = [
        BEGIN,
        "",
        "| network | needed | Barracuda, desktop | phone, ARM and Apple | phone, Qualcomm | compiled "
        "| MB, Barracuda | MB, compiled | layers, Barracuda | dispatches, compiled |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, ranges in NETWORKS:
        lines.append(row(name, ranges))
        print(lines[-1], flush=True)
    if "--write" in sys.argv:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        behind = rest.partition(END)[2]
        PAGE.write_text(f"{before}{chr(10).join(lines)}\n\n{END}{behind}", encoding="utf-8")


if __name__ == "__main__":
    main()
