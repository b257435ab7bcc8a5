"""Implements the family protocol (`pipeline.targets.family`) for compiled networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.targets.family import Family, Picture2Picture, StyledPicture

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.compress.bundling import Packing
    from pipeline.cost.model import Conv, Device
    from pipeline.support.size import Size
    from pipeline.targets import Target
    from pipeline.validation.graphs import GraphKind
    from pipeline.validation.kinds import Kind

MAGICS = (b"STCP", b"STPK")
"""First bytes of a plan file: unpacked, packed."""


class Compute(Family):
    """A network compiled into compute shaders of its own: no package is needed."""

    name = "compute"
    title = "Compute"
    engine = "StyleTransfer.Compute"
    has_kernels = True
    packs_styles = False
    needs = "compute shaders (Direct3D, Vulkan or Metal, not WebGL 2 or OpenGL ES) and no package"
    sources = "`operators.py` and other file names refer to the compiler in `pipeline/targets/compute/`."

    def advice(self, name: str) -> str:
        return "Use --target compute: it has no versions." if name.startswith("compute") else ""

    def write(self, graph: gs.Graph, target: Target, metadata: Mapping[str, str] | None = None) -> bytes:
        """The plan file; for a graph that the compiler refuses, the graph, for which the rules report findings."""
        from pipeline.graph import to_model
        from pipeline.targets.compute import file
        from pipeline.targets.compute.compiler import compile_graph

        half = target.own.get("precision") == "half"
        plan = compile_graph(graph, half=half).plan
        if plan is None:
            return to_model(graph, metadata).SerializeToString(deterministic=True)
        plan.metadata = dict(metadata or {})
        return file.write(plan)

    def write_styles(
        self, graphs: Sequence[gs.Graph], target: Target, metadata: Mapping[str, str] | None = None
    ) -> bytes:
        """One plan with the weights of all styles, which the engine mixes."""
        from pipeline.targets.compute import file, styles

        written = [self.write(graph, target, metadata) for graph in graphs]
        if not all(data.startswith(MAGICS) for data in written):
            return written[0]
        return file.write(styles.joined([file.parse(data) for data in written]))

    def style_runner(self, data: bytes, target: Target) -> StyledPicture:
        from pipeline.targets.compute import emulation, packing, styles

        plan = packing.plan_of(data)
        of_style = styles.applied if plan.style_length else styles.mixed
        return lambda picture, weights: emulation.runner(of_style(plan, weights))(picture)

    def read(self, data: bytes) -> onnx.ModelProto:
        """An ONNX file, or a plan as a model whose nodes are its dispatches."""
        from pipeline.targets.compute import described, packing

        return described.model(packing.plan_of(data)) if data.startswith(MAGICS) else super().read(data)

    def emulate(self, data: bytes, target: Target) -> onnx.ModelProto:
        """Raises PipelineError `plan-has-no-graph` for a plan: `runner` emulates it without ONNX Runtime."""
        from pipeline.support.errors import PipelineError

        if not data.startswith(MAGICS):
            return self.read(data)
        raise PipelineError(
            "plan-has-no-graph",
            "a compiled network consists of kernels instead of operators, so its layers cannot be compared one by "
            "one",
            remedy="Compare without --bisect, or build for another target.",
        )

    def runner(self, data: bytes, target: Target) -> Picture2Picture:
        from pipeline.targets.compute import emulation, packing

        return emulation.runner(packing.plan_of(data)) if data.startswith(MAGICS) else super().runner(data, target)

    def input_runner(self, data: bytes, target: Target) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
        """A plan as a function of the picture and its guides."""
        import numpy as np

        if not data.startswith(MAGICS):
            return super().input_runner(data, target)
        run = self.runner(data, target)
        return lambda values: run(np.concatenate(list(values), axis=1))

    def tolerance(self, target: Target, requested: float) -> float:
        """The larger of the requested and the target's own tolerance: float16 storage has outliers in pixels."""
        return max(requested, float(target.own.get("tolerance", requested)))

    def least_psnr(self, target: Target) -> float | None:
        return target.own.get("least_psnr")

    def at_precision(self, target: Target, precision: str) -> str | None:
        return {"float": self.name, "half": f"{self.name}-half"}.get(precision)

    def rule_kinds(self) -> Mapping[str, Kind]:
        from pipeline.targets.compute.rules import KINDS

        return KINDS

    def graph_kinds(self) -> Mapping[str, GraphKind]:
        from pipeline.targets.compute.rules import GRAPH_KINDS

        return GRAPH_KINDS

    def devices(self) -> tuple[Device, ...]:
        from pipeline.targets.compute.cost import devices

        return devices()

    def kernel(self, conv: Conv) -> str:
        from pipeline.targets.compute.cost import kernel

        return kernel(conv)

    def table(self, data: bytes, target: Target) -> list[dict[str, Any]]:
        from pipeline.targets.compute import described, packing

        return described.table(packing.plan_of(data)) if data.startswith(MAGICS) else []

    def time_on_gpu(self, data: bytes, target: Target, size: Size, seconds: float) -> dict[str, Any] | None:
        from pipeline.targets.compute import execution, packing

        return execution.timed(packing.plan_of(data), size, seconds) if data.startswith(MAGICS) else None

    def model_files(self, name: str, data: bytes, target: Target) -> dict[str, bytes]:
        from pipeline.targets.compute import packaging, packing

        return packaging.model_files(name, packing.plan_of(data), data)

    def shared_files(self, data: bytes, target: Target) -> dict[str, bytes]:
        from pipeline.targets.compute import packaging, packing

        return packaging.shared_files(packing.plan_of(data))

    def model_reference(self, guid: str, target: Target) -> str:
        from pipeline.unity.guid import NATIVE, SCRIPTABLE_OBJECT, reference

        return reference(SCRIPTABLE_OBJECT, guid, NATIVE)

    def check_weights(self, kind: str, target: Target) -> None:
        """Every kind: a plan is unpacked when the game runs."""

    def pack(self, data: bytes, target: Target, request: Packing) -> tuple[bytes, dict[str, Any]] | None:
        from pipeline.targets.compute import packing

        return packing.pack_plan(data, request)


FAMILY = Compute()
