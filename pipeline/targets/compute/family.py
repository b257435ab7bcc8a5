"""What the shared machinery asks of the compute family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.targets.family import Family, Picture2Picture

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target
    from pipeline.validation.graphs import GraphKind
    from pipeline.validation.kinds import Kind

MAGIC = b"STCP"
"""What the file of a plan begins with."""


class Compute(Family):
    """A network compiled into compute shaders of its own: no package is needed."""

    name = "compute"
    title = "Compute"
    engine = "StyleTransfer.Compute"
    sources = "`operators.py` and the like are files of the compiler, `pipeline/targets/compute/`."

    def advice(self, name: str) -> str:
        return "Use --target compute: it has no versions." if name.startswith("compute") else ""

    def write(self, graph: gs.Graph, target: Target, metadata: Mapping[str, str] | None = None) -> bytes:
        """The file of the plan; where the compiler refuses the graph, the graph, for the rules to say why."""
        from pipeline.graph import to_model
        from pipeline.targets.compute import file
        from pipeline.targets.compute.compiler import compile_graph

        plan = compile_graph(graph).plan
        if plan is None:
            return to_model(graph, metadata).SerializeToString(deterministic=True)
        plan.metadata = dict(metadata or {})
        return file.write(plan)

    def read(self, data: bytes) -> onnx.ModelProto:
        """An ONNX file, or a plan as a model whose nodes are its dispatches."""
        from pipeline.targets.compute import described, file

        return described.model(file.parse(data)) if data.startswith(MAGIC) else super().read(data)

    def emulate(self, data: bytes, target: Target) -> onnx.ModelProto:
        """Only a graph that was not compiled is one that ONNX Runtime runs; a plan is run by `runner`."""
        from pipeline.support.errors import PipelineError

        if not data.startswith(MAGIC):
            return self.read(data)
        raise PipelineError(
            "plan-has-no-graph",
            "a compiled network has kernels, not operators, so its layers cannot be looked at one by one",
            remedy="Compare whole pictures, or build for another target.",
        )

    def runner(self, data: bytes, target: Target) -> Picture2Picture:
        from pipeline.targets.compute import emulation, file

        return emulation.runner(file.parse(data)) if data.startswith(MAGIC) else super().runner(data, target)

    def rule_kinds(self) -> Mapping[str, Kind]:
        from pipeline.targets.compute.rules import KINDS

        return KINDS

    def graph_kinds(self) -> Mapping[str, GraphKind]:
        from pipeline.targets.compute.rules import GRAPH_KINDS

        return GRAPH_KINDS

    def model_files(self, name: str, data: bytes, target: Target) -> dict[str, bytes]:
        from pipeline.targets.compute import file, kernels

        plan = file.parse(data)
        return {f"{name}.compute": kernels.compute_file(plan).encode(), f"{name}.bytes": data}

    def model_reference(self, guid: str, target: Target) -> str:
        from pipeline.targets.compute.packaging import COMPUTE_SHADER
        from pipeline.unity.guid import IMPORTED, reference

        return reference(COMPUTE_SHADER, guid, IMPORTED)

    def meta(self, file_name: str, guid: str, target: Target) -> bytes | None:
        from pipeline.targets.compute.packaging import compute_meta

        return compute_meta(guid) if file_name.endswith(".compute") else None


FAMILY = Compute()
