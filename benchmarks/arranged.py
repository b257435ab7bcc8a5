"""What arranging networks for a class of devices saves: the work that Barracuda's kernels issue, before and after.

    python benchmarks/arranged.py                   print
    python benchmarks/arranged.py --write           ... and write docs/arranged.md

Needs ../shared/models (networks of other people). Each is lowered and proven as by `build-unity` for Barracuda 3.0
at 960x540 (or its own size), as it is and arranged for each class. Issued work is counted as in
pipeline/targets/barracuda/cost.py, which agrees with what was counted for the real kernels
(tests/cost/test_model.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.support.size import Size

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT.parent / "shared" / "models"
LEVELS = {"input_range": "0..255", "output_range": "0..255"}
NETWORKS: tuple[tuple[str, dict[str, str]], ...] = (
    ("fast_neural_style/candy_nc16.model", {}),
    ("fast_neural_style/mosaic_nc8.model", {}),
    ("cjmills/final.onnx", LEVELS),
    ("fritz/starry_night_256x256_025.h5", {}),
    ("fritz/starry_night_256x256_small_a03.h5", {}),
    ("fewshot/model_00001.synthetic.state_dict.pth", {}),
    ("tf_fast_style/udnie_full.converted.onnx", LEVELS),
)
"""Files below ../shared/models, and the value ranges that they do not tell."""
SIZE = Size(960, 540)
CLASSES = ("desktop", "phone", "phone-qualcomm")


def rows() -> list[dict[str, Any]]:
    """For each network and class: billions of multiply-adds issued, predicted milliseconds, weights, levels."""
    from pipeline import sources, targets
    from pipeline.build.lowering import lower_network
    from pipeline.build.options import BuildOptions
    from pipeline.build.prove import make
    from pipeline.cost.model import at_size, device

    found = []
    for name, ranges in NETWORKS:
        result = {}
        network = sources.read(MODELS / name, sources.ReadOptions(**ranges))
        plain = lower_network(network, targets.get(targets.DEFAULT), SIZE, bake_contract=True, metadata={})
        for chosen in CLASSES:
            options = BuildOptions.of(size=SIZE, device=chosen, **ranges)
            _, lowered, proof, report = make(MODELS / name, options, lambda *_: None, bake_contract=True)
            result[chosen] = lowered, proof, report
            print(f"{name} for {chosen}", file=sys.stderr, flush=True)
        for chosen in CLASSES:
            lowered, proof, report = result[chosen]
            on = device(chosen)
            issued, predicted = [], []
            for item in (plain, lowered):
                layers = at_size(item.graph, item.size)
                issued.append(sum(on.worker.issued(layer) for layer in layers) * 1e-9)
                predicted.append(on.milliseconds(layers))
            found.append(
                {
                    "network": Path(name).name,
                    "class": chosen,
                    "needed": plain.after["macs"] * 1e-9,
                    "issued": issued,
                    "ms": predicted,
                    "weights": (plain.after["weights"], lowered.after["weights"]),
                    "levels": proof.worst.max_levels,
                    "done": [entry["rewrite"] for entry in report["arranged"]["done"]],
                }
            )
    return found


def page(found: list[dict[str, Any]]) -> str:
    lines = [
        "# What arranging for a class of devices saves",
        "",
        "<!-- Made by `python benchmarks/arranged.py --write`. -->",
        "",
        "For each network at 960x540: the billions of multiply-adds that its convolutions need, that Barracuda's",
        "kernels issue before arranging, and that they issue after it ([shrink.md](shrink.md),",
        "[cost.md](cost.md)); predicted milliseconds; number of weights; and the difference between the arranged",
        "network and its source in the proof, in levels of 255. On a desktop the issued work may rise if a layer",
        "gets a faster kernel; the milliseconds take that into account. Nothing here was measured on a GPU:",
        "issued work is counted from the kernels, and milliseconds are predictions.",
        "",
        "| network | class | needed | issued | arranged | predicted ms | weights | difference | arrangements |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in found:
        counted = {name: row["done"].count(name) for name in dict.fromkeys(row["done"])}
        done = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in counted.items()) or "nothing"
        lines.append(
            f"| {row['network']} | {row['class']} | {row['needed']:.1f} | {row['issued'][0]:.1f} | "
            f"{row['issued'][1]:.1f} | {row['ms'][0]:.1f} to {row['ms'][1]:.1f} | "
            f"{row['weights'][0]:,} to {row['weights'][1]:,} | {row['levels']:.3f} | {done} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/arranged.md")
    chosen = parser.parse_args()
    text = page(rows())
    print(text)
    if chosen.write:
        (ROOT / "docs" / "arranged.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
