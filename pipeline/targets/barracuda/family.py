"""Barracuda's implementation of `Family`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.targets.family import FORM, Family

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.cost.model import Conv, Device
    from pipeline.targets import Target
    from pipeline.validation.graphs import GraphKind
    from pipeline.validation.kinds import Kind


_FORM = (
    "this file has the form of ONNX that {target} imports; ONNX Runtime and other tools may refuse it. Check it "
    "with: pipeline compare SOURCE THIS.onnx --target {target}"
)


def _is_valid(model: onnx.ModelProto) -> bool:
    """Whether the file is valid ONNX, which other tools can read."""
    import onnx

    try:
        onnx.checker.check_model(model)
    except Exception:  # the checker's own kinds, and those of what it calls
        return False
    return True


class Barracuda(Family):
    """com.unity.barracuda, which reads ONNX of opset 9 in a dialect of its own."""

    name = "barracuda"
    title = "Barracuda"
    engine = "StyleTransfer.Barracuda"
    needs = "the package Barracuda, which Unity 6 no longer supports"
    successor = "For a project with Unity 6, use --target inference-2."
    sources = (
        "`file:line@version` is a line of com.unity.barracuda; `measured` says that such a graph was imported and "
        "run by Barracuda itself."
    )

    def write(self, graph: gs.Graph, target: Target, metadata: Mapping[str, str] | None = None) -> bytes:
        from pipeline.targets.barracuda.dialect import write

        model = write(graph, metadata)
        if metadata and not _is_valid(model):
            model = write(graph, {**metadata, FORM: _FORM.format(target=target.name)})
        return model.SerializeToString(deterministic=True)

    def emulate(self, data: bytes, target: Target) -> onnx.ModelProto:
        from pipeline.targets.barracuda.emulation import emulate

        return emulate(self.read(data), target)

    def meaning(self, data: bytes, target: Target) -> onnx.ModelProto:
        from pipeline.targets.barracuda.emulation import ROUNDING, emulate

        return emulate(self.read(data), target, leave_out=ROUNDING)

    def rule_kinds(self) -> Mapping[str, Kind]:
        from pipeline.targets.barracuda.rules import KINDS

        return KINDS

    def graph_kinds(self) -> Mapping[str, GraphKind]:
        from pipeline.targets.barracuda.rules import GRAPH_KINDS

        return GRAPH_KINDS

    def packages(self, target: Target) -> dict[str, str]:
        # Built-in modules that the package's C# uses without declaring it (ONNXTensor.cs:8@2.0.0).
        modules = dict.fromkeys(target.own.get("modules", ()), "1.0.0")
        return super().packages(target) | modules

    def devices(self) -> tuple[Device, ...]:
        from pipeline.targets.barracuda.cost import devices

        return devices()

    def kernel(self, conv: Conv) -> str:
        from pipeline.targets.barracuda.cost import kernel

        return kernel(conv)

    def file_cost(self, model: onnx.ModelProto, target: Target) -> dict[str, Any] | None:
        from pipeline.cost.model import of_file

        return of_file(model, self.devices())

    def meta(self, file_name: str, guid: str, target: Target) -> bytes | None:
        from pipeline.targets.barracuda.packaging import importer_meta

        return importer_meta(guid, target) if file_name.endswith(".onnx") else None

    def model_reference(self, guid: str, target: Target) -> str:
        from pipeline.targets.barracuda.packaging import NN_MODEL
        from pipeline.unity.guid import IMPORTED, reference

        return reference(NN_MODEL, guid, IMPORTED)

    def import_error(self, log: str) -> str:
        from pipeline.targets.barracuda.packaging import import_error

        return import_error(log)


FAMILY = Barracuda()
