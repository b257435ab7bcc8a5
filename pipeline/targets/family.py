"""What a family of targets provides to the shared code.

A family is a folder beside this module: `pipeline/targets/<family>/`. It holds one JSON file per package version,
and `family.py`, whose object `FAMILY` (an instance of a subclass of `Family`) implements the methods below. The
folder imports the shared code, never the other way: the shared code reaches a family through `Target.family`.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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

CODES = "codes.json"
"""The file in a family's folder that explains the codes of findings that only this family has."""

Picture2Picture = Callable[["np.ndarray"], "np.ndarray"]
"""From pictures (1, C, H, W) to pictures, both float32."""
StyledPicture = Callable[["np.ndarray", Sequence[float]], "np.ndarray"]
"""The same with a weight for each of several styles."""


FORM = "form"
"""Key in a model file's metadata for the note on a file that is not standard ONNX."""


class Family(ABC):
    """Targets that share a dialect, an engine and a folder. One object per family, without state.

    The module that defines a subclass is imported by commands that must start light: it imports numpy, onnx and
    the shared code inside its methods.
    """

    name: ClassVar[str]
    """The name of the folder, and the first part of the names of its targets: `barracuda`."""
    title: ClassVar[str]
    """The name in sentences: `Barracuda`."""
    has_kernels: ClassVar[bool] = False
    """Whether its kernels also run outside of Unity, on this machine's GPU (`time_on_gpu`)."""
    packs_styles: ClassVar[bool] = True
    """Whether `--weights` also works for a network of several styles."""
    sources: ClassVar[str] = ""
    """What the citations in its data files mean, in a sentence for docs/findings.md."""
    engine: ClassVar[str]
    """The C# assembly that loads and runs its models (folder `unity_templates/Engines/<last part>`)."""

    successor: ClassVar[str] = ""
    """A sentence on what newer projects use instead; "" where nothing is newer."""
    needs: ClassVar[str] = ""
    """What a game must have for it, as the end of "It needs": `compute shaders`; "" for nothing unusual."""
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    """Of the files that Unity imports as its models."""

    def advice(self, name: str) -> str:
        """What to do instead of asking for a target of that name, which does not exist; "" if unknown."""
        return ""

    # --- the bytes that the target reads ---------------------------------------------------------------------

    @abstractmethod
    def write(self, graph: gs.Graph, target: Target, metadata: Mapping[str, str] | None = None) -> bytes:
        """The model file of a graph in the valid form, in the target's dialect; the same graph, the same bytes.

        The only place where a dialect appears. `metadata` goes into the file where its format has room for it.
        """

    @abstractmethod
    def emulate(self, data: bytes, target: Target) -> onnx.ModelProto:
        """A strictly valid model that computes in ONNX Runtime what the target computes of the file `data`.

        Names of inputs and outputs stay, and those of nodes where they still exist. Nothing is repaired: a form
        that the dialect does not have raises PipelineError.
        """

    def read(self, data: bytes) -> onnx.ModelProto:
        """The file as the ONNX model that the rules check."""
        import onnx

        return onnx.load_from_string(data)

    def meaning(self, data: bytes, target: Target) -> onnx.ModelProto:
        """A strictly valid model of what the target computes of the file `data`, one without findings.

        The default is `emulate`; a family whose files are valid ONNX already gives those, so that what it computes
        in other ways than ONNX says is not written out.
        """
        return self.emulate(data, target)

    def runner(self, data: bytes, target: Target) -> Picture2Picture:
        """The file `data` as a function, computed as the target computes it; what the proof runs.

        The default runs `emulate` in ONNX Runtime at any size that the graph can take.
        """
        from pipeline.graph.runtime import free_size, run, session
        from pipeline.support.memory import release_memory

        emulated = free_size(self.emulate(data, target)).SerializeToString()
        del data
        release_memory()
        opened = session(emulated)
        del emulated
        release_memory()
        return lambda picture: run(opened, picture)

    def input_runner(self, data: bytes, target: Target) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
        """The file of a network with several inputs as a function of their values, in the file's order."""
        import numpy as np

        from pipeline.graph.runtime import free_size, session

        opened = session(free_size(self.emulate(data, target)))
        names = [declared.name for declared in opened.get_inputs()]

        def run(values: Sequence[np.ndarray]) -> np.ndarray:
            return np.asarray(opened.run(None, dict(zip(names, values, strict=True)))[0])

        return run

    # --- several styles in one file --------------------------------------------------------------------------

    def write_styles(
        self, graphs: Sequence[gs.Graph], target: Target, metadata: Mapping[str, str] | None = None
    ) -> bytes:
        """One file of graphs that differ in constants only, a graph for each style; see `graph.weighted`.

        The default is a network with a second input, a weight for each style. Raises `styles-differ`.
        """
        from pipeline.graph.weighted import weighted

        return self.write(weighted(graphs), target, metadata)

    def style_runner(self, data: bytes, target: Target) -> StyledPicture:
        """The file of `write_styles` as a function of a picture and a weight for each style."""
        import numpy as np

        from pipeline.graph.runtime import free_size, session

        opened = session(free_size(self.emulate(data, target)))
        picture_name, weights_name = (declared.name for declared in opened.get_inputs())

        def run(picture: np.ndarray, weights: Sequence[float]) -> np.ndarray:
            shaped = np.asarray(weights, np.float32).reshape(1, -1, 1, 1)
            return np.asarray(opened.run(None, {picture_name: picture, weights_name: shaped})[0])

        return run

    def tolerance(self, target: Target, requested: float) -> float:
        """The largest difference that the proof allows, in levels of 255; `requested` comes from --tolerance."""
        return requested

    def least_psnr(self, target: Target) -> float | None:
        """The lowest PSNR, in dB, that the proof allows for a picture beside the tolerance; None for no limit."""
        return None

    def at_precision(self, target: Target, precision: str) -> str | None:
        """The name of the target that stores activations as `float` or `half`; None where there is none."""
        return target.name if precision == "float" else None

    # --- validation ------------------------------------------------------------------------------------------

    def codes(self) -> dict[str, dict[str, str]]:
        """Codes of findings that only this family has: `title`, `explanation`, `remedy`; its `codes.json`."""
        path = Path(sys.modules[type(self).__module__].__file__ or "").with_name(CODES)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def rule_kinds(self) -> Mapping[str, Kind]:
        """Rule kinds for nodes that only this family's data files name, besides `pipeline.validation.kinds`."""
        return {}

    def graph_kinds(self) -> Mapping[str, GraphKind]:
        """Kinds of rules about a whole graph that only this family's data files name."""
        return {}

    # --- cost ------------------------------------------------------------------------------------------------

    def devices(self) -> tuple[Device, ...]:
        """Classes of devices for which the cost model predicts times of this family's engine."""
        return ()

    def kernel(self, conv: Conv) -> str:
        """Which of its kernels the engine's usual worker on a GPU runs a convolution with; "" if unknown."""
        return ""

    def layer_counts(self, model: onnx.ModelProto, target: Target) -> dict[str, int] | None:
        """Layers that Unity makes of a model file, and those that its optimiser leaves: `imported`, `optimised`.

        None where the family does not count them.
        """
        return None

    def file_cost(self, model: onnx.ModelProto, target: Target) -> dict[str, Any] | None:
        """What a model file costs as it is, as data: `size` ("720x540") and `milliseconds` by class of devices.

        None where that is not predicted: for other inputs than one picture, and above
        `pipeline.cost.model.MOST_NODES`.
        """
        return None

    # --- kernels of its own ----------------------------------------------------------------------------------

    def table(self, data: bytes, target: Target) -> list[dict[str, Any]]:
        """What the engine runs of the file `data`, a row for each dispatch; nothing where a package decides."""
        return []

    def time_on_gpu(self, data: bytes, target: Target, size: Size, seconds: float) -> dict[str, Any] | None:
        """Milliseconds of the file `data` on this machine's GPU at a size, for about `seconds`.

        None where only Unity runs it. The result has `median`, `minimum`, `runs` and `device`. Raises
        PipelineError where there is no GPU.
        """
        return None

    # --- Unity -----------------------------------------------------------------------------------------------

    def packages(self, target: Target) -> dict[str, str]:
        """Entries of Packages/manifest.json that a project needs: package -> version."""
        return {target.package: target.package_version} if target.package else {}

    def check_weights(self, kind: str, target: Target) -> None:
        """Raise PipelineError where a bundle for `target` cannot hold weights stored as the integers `kind`.

        The default is for the packed file of this pipeline, which is unpacked and imported when the game runs.
        """
        from pipeline.support.errors import PipelineError

        if not target.can("runtime-import"):
            raise PipelineError(
                "target-cannot-unpack",
                f"{target.name} imports models only in the editor, but a packed model is imported in the game",
                subject="--weights",
                remedy="Use a target that can import a model at run time, or --weights float.",
            )

    def pack(self, data: bytes, target: Target, packing: Packing) -> tuple[bytes, dict[str, Any]] | None:
        """The model file `data` with its weights in fewer bytes, as Unity imports it, and the facts about it.

        None: the packed file of this pipeline (`compress.job`) holds it. The facts are those of `compress.job`,
        and `consequence`: what storing weights so means when the game runs, in a sentence or two.
        """
        return None

    def model_files(self, name: str, data: bytes, target: Target) -> dict[str, bytes]:
        """The files that hold the network `name` in its folder of the bundle: file name -> bytes.

        The model's asset refers to the first one (`model_reference`).
        """
        return {f"{name}.onnx": data}

    def shared_files(self, data: bytes, target: Target) -> dict[str, bytes]:
        """Files that several networks may have in common: file name -> bytes. The name says what is in the file.

        They lie in `pipeline.unity.bundle.SHARED`, once for all models that were built with the same.
        """
        return {}

    def meta(self, file_name: str, guid: str, target: Target) -> bytes | None:
        """The text of the `.meta` of one of `model_files` or `shared_files`.

        None where `pipeline.unity.meta` knows its suffix; models such as .onnx have an importer of the family's.
        """
        return None

    @abstractmethod
    def model_reference(self, guid: str, target: Target) -> str:
        """How the model's asset refers to the imported network: `{fileID: ..., guid: ..., type: ...}`.

        `guid` is that of the first of `model_files`.
        """

    def import_error(self, log: str) -> str:
        """The first complaint of the package's importer in a log of the Unity editor; "" where there is none."""
        return ""
