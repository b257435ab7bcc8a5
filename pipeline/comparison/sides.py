"""A model that is compared: a network with the contract around it, run as itself or as a target computes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contract import ImageContract, contract_missing
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    import onnx

    from pipeline.network import Network
    from pipeline.sources import ReadOptions
    from pipeline.targets import Target
    from pipeline.verify.bisect import ModelWithInput
    from pipeline.verify.proof import Picture2Picture


@dataclass(frozen=True)
class Side:
    """One of the two models: what was read, and as what it is run."""

    label: str
    """A or B."""
    path: Path
    network: Network
    contract: ImageContract
    target: Target | None
    """None: run as itself, in torch or ONNX Runtime."""
    file: onnx.ModelProto | None
    """What the target reads: an .onnx file as it is, without what reading made explicit in `network`."""
    plain: Picture2Picture
    """The network as itself, in its own value ranges."""
    fixed: Size | None
    """The one size at which it runs."""

    def run(self, picture: np.ndarray) -> np.ndarray:
        """What it makes of a picture (1, C, H, W), RGB 0..1 on both sides. Raises whatever the engine raises."""
        from pipeline.verify.proof import around

        side = self.contract.output
        if side.value_range != "imagenet":  # what a file does not declare: any number of channels may come
            side = replace(side, channels=1)
        contract = replace(self.contract, output=side)
        if self.target is None:
            return around(self.plain, contract)(picture)

        def emulated(value: np.ndarray) -> np.ndarray:
            bound = self._with_input(value)
            (result,) = bound.run([bound.output])
            return result.transpose(0, 3, 1, 2) if self.contract.output.layout == "nhwc" else result

        return around(emulated, contract)(picture)

    def with_input(self, picture: np.ndarray) -> ModelWithInput:
        """The graph that is run, with `picture` (RGB 0..1) as its input; a torch network's export."""
        from pipeline.verify.proof import around

        fed: list[np.ndarray] = []

        def record(value: np.ndarray) -> np.ndarray:
            fed.append(value)
            return np.zeros((1, self.contract.output.channels, 1, 1))

        around(record, self.contract)(picture)
        return self._with_input(fed[0])

    def _with_input(self, value: np.ndarray) -> ModelWithInput:
        """The graph at the size of `value`, an NCHW array in the network's range, and that in its own layout."""
        from pipeline.build.export import export
        from pipeline.graph import declare_size, valid
        from pipeline.verify.bisect import ModelWithInput

        size = Size(value.shape[3], value.shape[2])
        if self.target is not None:
            data = declare_size(self.file or export(self.network, size), *size.hw).SerializeToString()
            model = self.target.family.emulate(data, self.target)
        else:
            model = valid(declare_size(self.network.model or export(self.network, size), *size.hw))
        return ModelWithInput(
            model, value.transpose(0, 2, 3, 1) if self.contract.input.layout == "nhwc" else value
        )

    @property
    def ran_as(self) -> str:
        return self.target.name if self.target else "itself"

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": self.path.name,
            "format": self.network.format,
            "architecture": self.network.architecture,
            "digest": self.network.digest,
            "computed_as": self.ran_as,
            "contract": self.contract.as_dict(),
        }


def model_file(source: str | Path) -> Path:
    """The file of a source: itself, or the .onnx of a bundle folder (StyleTransfer/Models/<Name>)."""
    from pipeline.support.files import existing_file

    path = Path(source)
    if not path.is_dir():
        return existing_file(path)
    name = path.resolve().name
    own = path / f"{name}.onnx"
    for file in (own, path / f"{name}.bytes"):
        if file.is_file():
            return file
    raise PipelineError(
        "not-a-bundle",
        f"this folder is not a bundle: it does not contain {own.name}",
        subject=str(path),
        remedy="Name a model file, or a folder such as Assets/StyleTransfer/Models/Mosaic.",
    )


@on_a_file
def read_side(
    label: str, source: str | Path, options: ReadOptions, target: Target | None = None, *, planes: bool = False
) -> Side:
    """Read a model, to be run as itself or as `target` computes it.

    Raises PipelineError for what cannot be read or run, `contract-missing` where neither file nor options say
    what its numbers mean, and `auxiliary-inputs` for one that takes more than a picture, unless `planes` are
    filled (pipeline.verify.pictures.load).
    """
    from pipeline import sources
    from pipeline.sources.onnx_file import load_model

    path = model_file(source)
    network = sources.read_one(path, options)
    has_guides = network.contract is not None and network.contract.input.guides
    chosen = options.take is not None or options.bind or options.mask is not None or has_guides
    if network.contract is None:
        raise contract_missing(
            f"{label} ({network.format}) does not contain its value ranges, so it cannot be run on a picture",
            str(path),
        )
    if network.contract.input.channels not in (1, 3) and not planes:
        raise PipelineError(
            "auxiliary-inputs",
            f"{label} has {network.contract.input.channels} input channels, but a picture file has 3 (or 1)",
            subject=str(path),
            remedy="`pipeline convert` and `pipeline compare` support such networks: they fill the other channels "
            "with placeholder values.",
        )
    plain = _plain(network)
    file = network.model if chosen or network.format != "onnx" else load_model(path)
    return Side(
        label,
        path,
        network,
        network.contract,
        target,
        file,
        plain,
        plain.fixed_size,
    )


def _plain(network: Network) -> Any:
    """`sources.reference`; a file in Barracuda's dialect is first brought to the forms of one opset."""
    from pipeline.graph import valid
    from pipeline.sources import reference

    try:
        return reference(network)
    except PipelineError as error:
        if error.code != "source-does-not-run" or network.model is None:
            raise
    return reference(replace(network, model=valid(network.model)))
