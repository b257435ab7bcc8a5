"""The facts of a build as plain data, which every format of the report renders.

Deterministic: no times, no paths of the machine.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.support.version import __version__

if TYPE_CHECKING:
    import onnx

    from pipeline.build.lowering import Lowered
    from pipeline.contract import ImageSide
    from pipeline.network import Network
    from pipeline.targets import Target


def describe(network: Network) -> str:
    """A network in one line: architecture, parameters, weights."""
    details = ", ".join(
        f"{key.replace('_', ' ')} {'/'.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for key, value in network.details.items()
        if value != ""
    )
    weights = f"{network.weights:,} weights" if network.weights else "no weights"
    return f"{network.architecture}{', ' + details if details else ''}, {weights}"


def arranged(arrangement: dict[str, Any]) -> str:
    """The predicted gain of rearranging a graph for a class of devices, in a sentence."""
    gain = 1 - arrangement["after_ms"] / arrangement["before_ms"] if arrangement["before_ms"] else 0.0
    places = len(arrangement["done"])
    return (
        f"{places} layer{'' if places == 1 else 's'} rearranged for the device class {arrangement['device']}; "
        f"predicted {arrangement['before_ms']:.2f} -> {arrangement['after_ms']:.2f} ms at {arrangement['size']} "
        f"({gain:.0%} less)"
    )


def counts(operators: dict[str, int]) -> str:
    return " ".join(f"{name} {count}" for name, count in operators.items())


def title(name: str) -> str:
    """MosaicNc8 -> Mosaic Nc8."""
    spaced = "".join(f" {c}" if c.isupper() and i and not name[i - 1].isupper() else c for i, c in enumerate(name))
    return spaced.strip()


def metadata(network: Network, target: Target, baked: bool) -> dict[str, str]:
    """The file's metadata_props; Barracuda 2.1+ exposes them in C# as Model.Metadata."""
    contract = network.contract
    if baked and contract is not None:
        side = {"range": "0..1", "order": "rgb", "layout": "nchw"}
        declared: dict[str, Any] | None = {
            "input": side | {"channels": contract.input.channels} | _guides(contract.input),
            "output": side | {"channels": contract.output.channels},
        }
    else:
        declared = contract.as_dict() if contract else None
        if declared:
            declared.pop("sources", None)
    properties = {
        "source_digest": network.digest,
        "source_file": network.source.name,
        "architecture": network.architecture,
        "target": target.name,
        "tool": f"unity-bridge-pipeline {__version__}",
    }
    if declared:
        properties["image_contract"] = json.dumps(declared, sort_keys=True)
    return properties


def _guides(side: ImageSide) -> dict[str, list[str]]:
    """The guides of a bundle's model, which takes them in 0..1, by name."""
    return {"guides": [guide.name for guide in side.guides]} if side.guides else {}


_MOST_ADVISED = 5_000
"""Most nodes of a graph that is also validated for the other families, which takes a fifth of the time."""


def report(path: Path, network: Network, lowered: Lowered) -> dict[str, Any]:
    """Everything known before validation, as plain data without times or paths of this machine."""
    from pipeline.cost.advice import advice

    model = lowered.model
    constants = {t.name for t in model.graph.initializer}
    after = lowered.after
    layers = lowered.target.family.layer_counts(model, lowered.target)
    return {
        "schema": 1,
        "tool": f"unity-bridge-pipeline {__version__}",
        "source": {
            "file": path.name,
            "format": network.format,
            "digest": network.digest,
            "architecture": network.architecture,
            "reason": network.reason,
            "weights": network.weights,
            "details": network.details,
            "notes": list(network.notes),
        },
        "target": {
            "name": lowered.target.name,
            "package": lowered.target.package,
            "package_version": lowered.target.package_version,
        },
        "contract": network.contract.as_dict() if network.contract else None,
        "baked": lowered.baked,
        "before": lowered.before,
        "cost": predicted(lowered),
        "advice": advice(lowered.graph, lowered.target, lowered.fixed_size, lowered.plain)
        if len(lowered.graph.nodes) <= _MOST_ADVISED
        else None,
        **_plan(lowered.serialised, lowered.target),
        "edits": [e.as_dict() for e in lowered.edits],
        "refusals": [r.as_dict() for r in lowered.refusals],
        "arranged": lowered.arranged,
        **({} if lowered.checks is None else {"checks": [c.as_dict() for c in lowered.checks]}),
        "model": {
            "bytes": len(lowered.serialised),
            "digest": hashlib.sha256(lowered.serialised).hexdigest(),
            "width": lowered.size.width,
            "height": lowered.size.height,
            "fixed_size": lowered.fixed_size is not None,
            "size_multiple": lowered.size_multiple,
            "input_name": next(i.name for i in model.graph.input if i.name not in constants),
            "output_name": model.graph.output[0].name,
            "input_channels": lowered.input_channels,
            **_guide_facts(lowered),
            "output_channels": lowered.output_channels,
            "output_scale": lowered.output_scale,
            "opset": after["opset"],
            "operators": after["operators"],
            **({} if layers is None else {"layers": layers}),
            "weights": after["weights"],
            "giga_macs": round(after["macs"] / 1e9, 3),
            "activation_elements": after["activation_elements"],
            "notes": list(lowered.notes),
            **_form(model),
        },
    }


def _guide_facts(lowered: Lowered) -> dict[str, Any]:
    """The guides of the model: their names and the inputs that take them, one for each texture."""
    from pipeline.contract import input_widths

    if not lowered.guides:
        return {}
    constants = {tensor.name for tensor in lowered.model.graph.initializer}
    inputs = [value.name for value in lowered.model.graph.input if value.name not in constants]
    return {
        "guides": [guide.name for guide in lowered.guides],
        "guide_inputs": [
            {"name": name, "channels": channels}
            for name, channels in zip(inputs[1:], input_widths(lowered.guides)[1:], strict=True)
        ],
    }


def _form(model: onnx.ModelProto) -> dict[str, str]:
    """`form`: a note in the file if it is not the ONNX that other tools read."""
    from pipeline.targets.family import FORM

    found = next((entry.value for entry in model.metadata_props if entry.key == FORM), "")
    return {FORM: found} if found else {}


def predicted(lowered: Lowered) -> dict[str, Any]:
    """Counted and predicted cost of one picture at each of the usual sizes, or at the fixed size."""
    from collections import Counter

    from pipeline.cost.model import SIZES, at_size, counted, devices_of

    built = lowered.graph
    sizes = SIZES if lowered.fixed_size is None else (lowered.fixed_size,)
    devices = devices_of(lowered.target)
    costs = {}
    for nominal in sizes:
        size = nominal.rounded(lowered.size_multiple)
        costs[str(size)] = counted(built, size, devices)
    family = lowered.target.family
    convolutions = [layer.conv for layer in at_size(built, lowered.size) if layer.conv]
    return {
        "sizes": costs,
        "devices": [{**device.as_dict(), "error": device.error} for device in devices],
        "kernels": dict(sorted(Counter(filter(None, map(family.kernel, convolutions))).items())),
    }


_DEEP = 32
"""A multiple that nearly every network can take."""


def _plan(data: bytes, target: Target) -> dict[str, Any]:
    """`plan`: one row for each dispatch of the target's engine, if that is known before Unity runs it."""
    rows = target.family.table(data, target)
    return {"plan": rows} if rows else {}


def cost(network: Network, target: Target) -> dict[str, Any] | str:
    """What the network costs once it is lowered for `target`; or why that is not known.

    `operators`: nodes before and after the lowering. `sizes`: for one picture at each of `SIZES` multiply-adds in
    billions, activations written, and the most of them alive at once, in megabytes of float32.
    """
    from pipeline.build.export import export
    from pipeline.build.lowering import declared_size, rewrite
    from pipeline.cost.model import SIZES
    from pipeline.graph import declare_size
    from pipeline.graph.statistics import count, operators
    from pipeline.support.errors import PipelineError

    try:
        exported = export(network, SIZES[0])
        if declared_size(exported) is None:
            exported = declare_size(exported, *SIZES[0].hw)
        before = operators(exported)
        graph = rewrite(exported, None, target).graph
        channels = graph.inputs[0].shape[1]
        graph.inputs[0].shape = [1, channels, *SIZES[0].hw]
        plan = _plan(target.family.write(graph, target), target)
        sizes = {}
        for size in SIZES:
            graph.inputs[0].shape = [1, channels, *size.hw]
            counted = count(graph)
            if counted.uncounted:  # a size that the network's halvings do not divide
                graph.inputs[0].shape = [1, channels, *size.rounded(_DEEP).hw]
                counted = count(graph)
            sizes[str(size)] = {
                "giga_macs": round(counted.macs / 1e9, 3),
                "activation_megabytes": round(counted.activation_elements * 4 / 1e6, 1),
                "peak_megabytes": round(counted.peak_elements * 4 / 1e6, 1),
            }
    except PipelineError as error:
        return error.message
    names = sorted({*before, *counted.operators})
    return {
        "target": target.name,
        "operators": {op: {"before": before.get(op, 0), "after": counted.operators.get(op, 0)} for op in names},
        "weights": counted.weights,
        "sizes": sizes,
        **plan,
    }
