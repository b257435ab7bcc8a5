"""The source network as a function: the reference that `verify` compares with."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.network import Network
from pipeline.support.errors import PipelineError
from pipeline.support.quiet import quiet
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx
    from torch import nn

Run = Callable[[np.ndarray], np.ndarray]

PROBES = (Size(80, 64), Size(512, 256))
"""Sizes at which a network of unknown channels is tried."""


class Reference:
    """The source network as a function; `fixed_size` is the only size that it runs at, or None."""

    def __init__(self, function: Run, fixed_size: Size | None) -> None:
        self.function = function
        self.fixed_size = fixed_size

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The output for one picture. Raises PipelineError `source-does-not-run`, `not-image-to-image`."""
        try:
            result = self.function(np.ascontiguousarray(picture, dtype=np.float32))
        except PipelineError:
            raise
        except (
            Exception
        ) as error:  # of many kinds: torch's, ONNX Runtime's, those of the process that runs it apart
            size = "x".join(str(side) for side in reversed(picture.shape[2:]))
            raise PipelineError(
                "source-does-not-run",
                f"the source itself does not run on a picture of {size} with {picture.shape[1]} channels "
                f"({_last_line(error) or type(error).__name__})",
                remedy="Export it again with the input height and width that it needs.",
            ) from error
        if result.ndim != 4:
            raise PipelineError(
                "not-image-to-image",
                f"the network's output has the shape {list(result.shape)}, but pictures have 4 dimensions",
                remedy="This tool takes networks that turn a picture into a picture.",
            )
        return np.ascontiguousarray(result, np.float32)


def reference(network: Network) -> Reference:
    """The source network as a function from NCHW float32 to NCHW float32, in the network's own value ranges.

    torch modules run under inference_mode. ONNX models run in ONNX Runtime as they were read; a channels-last
    model gets transposed pictures, and declared sizes are relaxed where the file runs at other sizes too.
    """
    if network.module is not None:
        return _torch_reference(network)
    return _onnx_reference(network)


# --- torch ----------------------------------------------------------------------------------------------------


def run_module(module: nn.Module, picture: np.ndarray) -> np.ndarray:
    """The module's output for one NCHW float32 array. A tuple of one tensor counts as that tensor."""
    import torch

    from pipeline.sources.programs import is_program
    from pipeline.sources.trial import limited

    with torch.inference_mode(), quiet(), limited() if is_program(module) else contextlib.nullcontext():
        output = module(torch.from_numpy(np.array(picture, dtype=np.float32, order="C")))
    if isinstance(output, (tuple, list)) and len(output) == 1:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"it returns a {type(output).__name__}, not one tensor")
    return output.detach().float().numpy()


def _torch_reference(network: Network) -> Reference:
    module = network.module
    assert module is not None
    fixed = None
    shape = network.details.get("exported_shape")
    if shape and shape[2] and shape[3]:
        channels, height, width = shape[1], shape[2], shape[3]
        scales = set()
        for size in (Size(width, height), Size(width + 32, height + 16)):
            try:
                output = run_module(module, np.zeros((1, channels, *size.hw), np.float32))
                scales.add((output.shape[2] / size.height, output.shape[3] / size.width))
            except Exception:  # torch's own errors for sizes that a baked shape does not allow
                scales.add((0.0, 0.0))
        if len(scales) != 1 or (0.0, 0.0) in scales:
            fixed = Size(width, height)
    return Reference(lambda picture: run_module(module, picture), fixed)


def probe_channels(module: nn.Module, path: Path, shape: list[int] | None = None) -> tuple[int, int]:
    """Input and output channels of a module, found by running it. Raises PipelineError `not-image-to-image`."""
    first = next((p.shape[1] for p in module.parameters() if p.ndim == 4), None)
    sizes: tuple[Size, ...] = PROBES
    choices = [c for c in dict.fromkeys((first, 3, 1)) if c]
    if shape and len(shape) == 4:
        sizes = (Size(shape[3] or PROBES[0].width, shape[2] or PROBES[0].height),)
        choices = [shape[1]]
    reason = ""
    for size, channels in itertools.product(sizes, choices):
        try:
            output = run_module(module, np.zeros((1, channels, *size.hw), np.float32))
        except Exception as error:  # whatever the network raises: it does not accept this picture
            reason = reason or f"{type(error).__name__}: {_last_line(error)}"
            continue
        if output.ndim == 4:
            return channels, output.shape[1]
        reason = f"its output has the shape {list(output.shape)}"
    raise PipelineError(
        "not-image-to-image",
        f"the network does not turn a picture of {sizes[0]} into a picture ({reason})",
        subject=str(path),
        remedy="Use a network with one picture (N, C, H, W) as input and one as output.",
    )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


# --- ONNX -----------------------------------------------------------------------------------------------------


_DTYPES = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
"""What ONNX Runtime calls the input types of networks that do not take float32."""


def _onnx_reference(network: Network) -> Reference:
    from pipeline.graph.runtime import session
    from pipeline.sources.onnx_file import image_input, layout_of
    from pipeline.sources.ports import described, required_inputs

    model = network.model
    assert model is not None
    image = image_input(model)
    subject = str(network.source)
    if image is None:
        raise PipelineError(
            "not-image-to-image",
            f"it has no input that is a picture (N, C, H, W); its inputs are: {described(required_inputs(model))}",
            subject=subject,
            remedy="Use a network with one picture as input and one as output.",
        )
    layout, channels = layout_of(image)
    out_layout, _ = layout_of(model.graph.output[0], layout)
    if network.contract is not None:
        layout, out_layout = network.contract.input.layout, network.contract.output.layout
        channels = network.contract.input.channels
    channels = channels or 3
    axes = (1, 2) if layout == "nhwc" else (2, 3)
    dims = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    height, width = (max(dims[axis], 0) for axis in axes)
    # where only one side is declared, the other is assumed to be equal
    declared = Size(width or height, height or width) if height or width else None

    def make_run(model: onnx.ModelProto) -> Run:
        runtime = session(model)
        name = runtime.get_inputs()[0].name
        dtype = _DTYPES.get(runtime.get_inputs()[0].type, np.float32)
        output = runtime.get_outputs()[0].name
        style_inputs = {} if network.style is None else {runtime.get_inputs()[1].name: network.style.vector}

        def run(picture: np.ndarray) -> np.ndarray:
            array = picture.transpose(0, 2, 3, 1) if layout == "nhwc" else picture
            if dtype is np.uint8:
                array = np.clip(np.rint(array), 0, 255)
            result = np.asarray(
                runtime.run([output], {name: np.ascontiguousarray(array, dtype), **style_inputs})[0]
            )
            return result.transpose(0, 3, 1, 2) if out_layout == "nhwc" and result.ndim == 4 else result

        return run

    if declared is not None:
        relaxed = _relaxed(model, image.name, axes)
        try:
            run = make_run(relaxed)
            if _scales_alike(run, channels):
                return Reference(run, None)
        except Exception:  # baked sizes: ONNX Runtime refuses to load or to run at another size
            pass
    try:
        run = make_run(model)
    except Exception as error:
        raise PipelineError(
            "source-does-not-run",
            f"ONNX Runtime cannot run the source ({_last_line(error)})",
            subject=subject,
            remedy="Without its output nothing can be proven. Export the network again for a batch of one "
            "picture, with operators that ONNX Runtime supports.",
        ) from error
    return Reference(run, declared)


def _relaxed(model: onnx.ModelProto, name: str, axes: tuple[int, int]) -> onnx.ModelProto:
    """A copy whose input has symbolic height and width, without the shapes derived from the declared size."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name == name:
            for axis, symbol in zip(axes, ("height", "width"), strict=True):
                value.type.tensor_type.shape.dim[axis].dim_param = symbol
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    del copy.graph.value_info[:]
    return copy


def _scales_alike(run: Run, channels: int) -> bool:
    """Whether the ratio of output size to input size is the same at two small sizes."""
    scales = set()
    for height, width in ((96, 64), (64, 128)):
        output = run(np.zeros((1, channels, height, width), np.float32))
        if output.ndim != 4:
            return False
        scales.add((output.shape[2] / height, output.shape[3] / width))
    return len(scales) == 1
