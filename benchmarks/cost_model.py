"""Fits the cost model's terms for ONNX Runtime to measurements, and shows the fit.

    python benchmarks/cost_model.py                 measure, fit, print
    python benchmarks/cost_model.py --write         ... and write costs.json, docs/cost_fit.md, .svg

Random networks of every known family are lowered as for Unity and timed in ONNX Runtime with one thread, in turn,
so that a drift of the machine's speed falls on all of them; a network's time is the least processor time of its
runs. The terms are fitted to the relative error, no network weighing more than another; each network's error is
also given with the terms fitted without it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cost.model import SIZES

ROOT = Path(__file__).resolve().parent.parent
STYLE = "fast-neural-style"
NETWORKS: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("style 32/64/128, 5 blocks", STYLE, {"widths": [32, 64, 128], "blocks": 5}, 1),
    ("style 32/64/128, 3 blocks", STYLE, {"widths": [32, 64, 128], "blocks": 3}, 1),
    ("style 16/32/64, 5 blocks", STYLE, {"widths": [16, 32, 64], "blocks": 5}, 2),
    ("style 16/32/64, 3 blocks", STYLE, {"widths": [16, 32, 64], "blocks": 3}, 2),
    ("style 32/32/32, 3 blocks", STYLE, {"widths": [32, 32, 32], "blocks": 3}, 2),
    ("style 8/16/32, 5 blocks", STYLE, {"widths": [8, 16, 32], "blocks": 5}, 3),
    ("style 8/16/32, 2 blocks", STYLE, {"widths": [8, 16, 32], "blocks": 2}, 3),
    ("style 16/16/16, 3 blocks", STYLE, {"widths": [16, 16, 16], "blocks": 3}, 3),
    ("style 12/24/48, 4 blocks", STYLE, {"widths": [12, 24, 48], "blocks": 4}, 2),
    ("style 9/9/9, 3 blocks", STYLE, {"widths": [9, 9, 9], "blocks": 3}, 3),
    ("style 4/8/16, 2 blocks", STYLE, {"widths": [4, 8, 16], "blocks": 2}, 3),
    ("Fritz alpha 0.25", "fritz", {"widths": [8, 16, 32], "blocks": 5}, 2),
    ("Fritz small 0.3", "fritz", {"widths": [9, 9, 9], "blocks": 3}, 2),
    ("GeneratorJ 8..32, 4 blocks", "few-shot", {"filters": [8, 16, 32, 32, 32, 16], "resnet_blocks": 4}, 2),
    ("GeneratorJ 16..32, 3 blocks", "few-shot", {"filters": [16, 32, 32, 32, 32, 32], "resnet_blocks": 3}, 2),
)
"""Name, architecture, its parameters, and at how many of SIZES it is measured."""


def lowered(architecture: str, parameters: dict[str, Any]) -> Any:
    """The graph that Unity would get."""
    from pipeline import targets
    from pipeline.architectures import build, family_of
    from pipeline.build.export import export
    from pipeline.build.lowering import rewrite
    from pipeline.network import Network

    if architecture == "few-shot":
        flags = {"use_bias": True, "tanh": True, "append_smoothers": True, "batch_norm": True}
        parameters = {**parameters, **flags, "input_channels": 3}
    contract = family_of(architecture).contract(parameters)
    module = build(architecture, parameters)
    network = Network("n", Path("n"), "", "", architecture, "", contract, 0, module=module)
    return rewrite(export(network, SIZES[0]), contract, targets.get(targets.DEFAULT)).graph


def measured(rounds: int) -> list[dict[str, Any]]:
    """For each network and size: multiply-adds, elements written, milliseconds."""
    import copy

    from pipeline.bench.timing import measure
    from pipeline.cost.model import at_size
    from pipeline.graph import to_model

    rows: list[dict[str, Any]] = []
    models: dict[str, Any] = {}
    for name, architecture, parameters, count in NETWORKS:
        graph = lowered(architecture, parameters)
        for size in SIZES[:count]:
            found = at_size(graph, size)
            graph.inputs[0].shape = [1, 3, *size.hw]
            key = f"{name} at {size}"
            models[key] = copy.deepcopy(to_model(graph))
            rows.append(
                {
                    "name": name,
                    "size": str(size),
                    "key": key,
                    "gmac": sum(layer.macs for layer in found) * 1e-9,
                    "gelem": sum(layer.written for layer in found) * 1e-9,
                    "terms": terms_of(found),
                }
            )
    for size in {row["size"] for row in rows}:
        part = {row["key"]: models[row["key"]] for row in rows if row["size"] == size}
        print(f"{size}: {len(part)} networks, {rounds} rounds", flush=True)
        times = measure(part, runs=rounds, seconds=1e9)
        for row in rows:
            if row["key"] in times:
                row["ms"], row["wall"] = times[row["key"]].cpu, times[row["key"]].median
    return rows


def terms_of(layers: list[Any]) -> list[float]:
    """1e9 multiply-adds in blocked and in plain kernels, 1e9 elements written by convolutions and by others."""
    from pipeline.cost.model import device

    terms = {"blocked-8": 1.0, "plain": 0.0}
    blocked = sum(layer.macs * device("here").worker.weight(layer, terms) for layer in layers)
    by_convolutions = sum(layer.written for layer in layers if layer.conv)
    counted = (
        blocked,
        sum(layer.macs for layer in layers) - blocked,
        by_convolutions,
        sum(layer.written for layer in layers) - by_convolutions,
    )
    return [count * 1e-9 for count in counted]


def fit(rows: list[dict[str, Any]], columns: str = "terms") -> np.ndarray:
    """Milliseconds for each of the terms, least squares of the relative error."""
    table = np.array([row[columns] for row in rows])
    times = np.array([row["ms"] for row in rows])
    return np.linalg.lstsq(table / times[:, None], np.ones(len(rows)), rcond=None)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    rows = measured(chosen.rounds)
    terms = fit(rows)
    for row in rows:
        row["two"] = [row["gmac"], row["gelem"]]
        apart = fit([other for other in rows if other["name"] != row["name"]])
        row["predicted"] = float(terms @ row["terms"])
        row["error"] = row["predicted"] / row["ms"] - 1
        row["unseen"] = float(apart @ row["terms"]) / row["ms"] - 1
    load = os.getloadavg()[1]
    text = page(rows, terms, load)
    print(text)
    if chosen.write:
        write(rows, terms, text)


def page(rows: list[dict[str, Any]], terms: np.ndarray, load: float) -> str:
    import onnxruntime

    errors = np.abs([row["error"] for row in rows])
    unseen = np.abs([row["unseen"] for row in rows])
    two = fit(rows, "two")
    plain = np.abs([float(two @ row["two"]) / row["ms"] - 1 for row in rows])
    busy = np.median([row["wall"] / row["ms"] for row in rows])
    lines = [
        f"`ms = {terms[0]:.2f} GMAC in blocked kernels + {terms[1]:.2f} GMAC in plain kernels + {terms[2]:.0f} "
        f"Gelem written by convolutions + {terms[3]:.0f} Gelem written by other layers`. "
        f"ONNX Runtime {onnxruntime.__version__}, one thread, {platform.machine()}, {os.cpu_count()} cores; the "
        f"load was {load:.1f}, and the median run took {busy:.2f} times its processor time.",
        "",
        f"Error over {len(rows)} points: median {np.median(errors):.0%}, largest {errors.max():.0%}; for networks "
        f"that were left out of the fit, median {np.median(unseen):.0%}, largest {unseen.max():.0%}. With only "
        f"two terms (`{two[0]:.2f} GMAC + {two[1]:.0f} Gelem`): median {np.median(plain):.0%}, largest "
        f"{plain.max():.0%}. GMAC and Gelem are billions of multiply-adds and of activation elements written.",
        "",
        "| network | size | GMAC | Gelem | measured ms | predicted ms | error | error if left out of the fit |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['name']} | {r['size']} | {r['gmac']:.2f} | {r['gelem']:.3f} | {r['ms']:.0f} | {r['predicted']:.0f} "
        f"| {r['error']:+.0%} | {r['unseen']:+.0%} |"
        for r in rows
    ]
    return "\n".join(lines)


def write(rows: list[dict[str, Any]], terms: np.ndarray, text: str) -> None:
    from pipeline.report.charts import scatter, standalone

    path = ROOT / "pipeline" / "cost" / "costs.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    old = next(entry for entry in stored["devices"] if entry["name"] == "here")
    old["gmac"], old["gelem"] = round(float(terms[0]), 3), round(float(terms[3]), 1)
    weights = {"blocked-8": 1.0, "plain": terms[1] / terms[0], "reordered": terms[2] / terms[3]}
    old["kernels"] = {key: round(float(value), 3) for key, value in weights.items()}
    path.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    families = {name: "style network" if name.startswith("style") else name.split()[0] for name, *_ in NETWORKS}
    points = [(row["predicted"], row["ms"], families[row["name"]]) for row in rows]
    drawn = scatter(points, "predicted and measured milliseconds", "predicted ms", "measured ms", diagonal=True)
    (ROOT / "docs" / "cost_fit.svg").write_text(standalone(drawn), encoding="utf-8")
    (ROOT / "docs" / "cost_fit.md").write_text(
        f"# Fit of the cost model for ONNX Runtime\n\n![](cost_fit.svg)\n\n{text}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
