"""The family of Sentis 2.1 and Inference Engine 2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.targets.family import Family

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.compress.bundling import Packing
    from pipeline.cost.model import Conv, Device
    from pipeline.targets import Target
    from pipeline.validation.graphs import GraphKind
    from pipeline.validation.kinds import Kind

_ADVICE = {
    r"sentis-?(0|1)(\..*)?": "Sentis 1.x is not supported, because its importer and its C# API are different. "
    "Change the project to com.unity.sentis 2.1.3 (Unity 2022.3.11 and later; Window > Package Manager > Add "
    "package by name) and use --target sentis-2.1, or on Unity 6 to com.unity.ai.inference and --target "
    "inference-2.",
    r"sentis(-?2(\.0.*)?)?": "Use --target sentis-2.1, which is com.unity.sentis 2.1.3; in a project "
    "with 2.0, update the package.",
    r"sentis-?2\.[2-9].*": "From version 2.2 on, the package is com.unity.ai.inference: use --target inference-2.",
    r"inference(-engine)?(-?2\.[4-9].*)?": "Use --target inference-2, which is com.unity.ai.inference 2.2 to 2.6.",
}
"""Names that people try, as patterns, and what to use instead."""


class Inference(Family):
    """com.unity.sentis 2.1 and com.unity.ai.inference: the same importer and engine under two names."""

    name = "inference"
    title = "Inference Engine"
    engine = "StyleTransfer.InferenceEngine"
    needs = "Unity 6 and its package Inference Engine"
    suffixes = (".onnx", ".sentis")

    def advice(self, name: str) -> str:
        return next((text for pattern, text in _ADVICE.items() if re.fullmatch(pattern, name)), "")

    def write(self, graph: gs.Graph, target: Target, metadata: Mapping[str, str] | None = None) -> bytes:
        from pipeline.targets.inference.dialect import write

        return write(graph, target, metadata)

    def emulate(self, data: bytes, target: Target) -> onnx.ModelProto:
        from pipeline.targets.inference.emulation import emulate

        return emulate(self.read(data), target)

    def read(self, data: bytes) -> onnx.ModelProto:
        from pipeline.targets.inference.sentis.format import decode, is_sentis

        if not is_sentis(data):
            return super().read(data)
        from pipeline.targets.inference.sentis.raising import model_of

        return model_of(decode(data))

    def meaning(self, data: bytes, target: Target) -> onnx.ModelProto:
        return self.read(data)

    def check_weights(self, kind: str, target: Target) -> None:
        from pipeline.targets.inference.packing import check_kind

        check_kind(kind)

    def pack(self, data: bytes, target: Target, packing: Packing) -> tuple[bytes, dict[str, Any]]:
        from pipeline.targets.inference.packing import pack

        return pack(data, packing)

    def model_files(self, name: str, data: bytes, target: Target) -> dict[str, bytes]:
        from pipeline.targets.inference.sentis.format import is_sentis

        return {f"{name}{'.sentis' if is_sentis(data) else '.onnx'}": data}

    def rule_kinds(self) -> Mapping[str, Kind]:
        from pipeline.targets.inference import operators, resizing

        return {**operators.KINDS, **resizing.KINDS}

    def graph_kinds(self) -> Mapping[str, GraphKind]:
        from pipeline.targets.inference.graphs import GRAPH_KINDS

        return GRAPH_KINDS

    def devices(self) -> tuple[Device, ...]:
        from pipeline.targets.inference.cost import devices

        return devices()

    def kernel(self, conv: Conv) -> str:
        from pipeline.targets.inference.cost import kernel

        return kernel(conv)

    def layer_counts(self, model: onnx.ModelProto, target: Target) -> dict[str, int]:
        from pipeline.targets.inference.optimiser import layer_counts

        return layer_counts(model, target)

    def file_cost(self, model: onnx.ModelProto, target: Target) -> dict[str, Any] | None:
        from pipeline.cost.model import of_file

        return of_file(model, self.devices())

    def meta(self, file_name: str, guid: str, target: Target) -> bytes | None:
        from pipeline.targets.inference.packaging import importer_meta

        return importer_meta(file_name, guid, target)

    def model_reference(self, guid: str, target: Target) -> str:
        from pipeline.targets.inference.packaging import MODEL_ASSET
        from pipeline.unity.guid import IMPORTED, reference

        return reference(MODEL_ASSET, guid, IMPORTED)

    def import_error(self, log: str) -> str:
        from pipeline.targets.inference.packaging import import_error

        return import_error(log)


FAMILY = Inference()
