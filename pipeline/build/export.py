"""Export: a network becomes an ONNX model in the opset that Barracuda knows best.

torch's TorchScript exporter (dynamo=False) writes opset 9 faithfully for opset-9 operators; the dynamo exporter
accepts opset 9 and silently writes 18 (peers.md section C). Where opset 9 cannot say what the network does
(bilinear with align_corners, bicubic, ...), 11, 13 and 17 are tried: lowering brings them to the target's dialect.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.network import Network
from pipeline.support.errors import MissingDependency, PipelineError
from pipeline.support.quiet import quiet
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx

OPSETS = (9, 11, 13, 17)
"""Tried in this order: Barracuda has the best coverage of opset 9 (Exporting.md:139@3.0.0)."""
TRACE_SIZE = Size(80, 64)
"""Of the traced picture: multiples of 16, tall differs from wide; a fifth of 540x720's memory."""
LARGER_TRACE_SIZE = Size(512, 256)
"""For networks that cannot take a picture as small as that, such as U-Nets that halve it eight times."""
OTHER_SIZES = {TRACE_SIZE: (Size(96, 80),), LARGER_TRACE_SIZE: (Size(256, 512), Size(304, 272))}
"""Where a traced graph must do as the network does, else it holds sizes of the traced picture. What is odd there
after halving a few times was even before, and the other way round: U-Nets pad by that."""
INPUT, OUTPUT = "input", "output"


def export(network: Network, size: Size | None = None) -> onnx.ModelProto:
    """The network as an ONNX model with one input `input` and one output `output`.

    A torch module is traced at a small size; the input is then declared as [1, C, height, width] of `size`, and
    the output's size is left open. Where the graph holds sizes of that small picture (F.interpolate to
    `x.shape[2:]`, pixel_shuffle in opset 9), it is exported with computed sizes, and where Python computed them
    (`int(x.shape[2])`), traced at `size` itself. An ONNX source comes back as a copy, with its own names and
    sizes. Raises PipelineError `export-failed` naming the operator that no opset has.
    """
    import onnx

    if network.model is not None:
        copy = onnx.ModelProto()
        copy.CopyFrom(network.model)
        return copy
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "torch", "exporting a torch network") from None

    from pipeline.architectures import holds_no_sizes
    from pipeline.sources.running import reference

    module: Any = network.module
    channels = _channels(network)
    bound = reference(network).fixed_size if "exported_shape" in network.details else None
    attempt = _Attempt(torch, module, channels)
    for trace in (bound,) if bound else (TRACE_SIZE, LARGER_TRACE_SIZE):
        others = () if bound or holds_no_sizes(network.architecture) else OTHER_SIZES[trace]
        model = attempt.at(trace, others)
        if model is None and others:
            model = attempt.at(trace, others, computed_sizes=True) or attempt.at(size or trace)
        if model is not None:
            return _declare(model, channels, bound or size or TRACE_SIZE)
    failure = attempt.failure
    assert failure is not None
    raise PipelineError(
        "export-failed",
        f"torch cannot export this network to ONNX: {_reason(failure)}",
        subject=str(network.source),
        remedy="Replace that operation in the network's code, or export the network to ONNX yourself.",
    ) from failure


class _Attempt:
    """Exports of one module at several sizes and opsets; `failure` is the first thing that went wrong."""

    def __init__(self, torch: Any, module: Any, channels: int) -> None:
        self.torch, self.module, self.channels = torch, module, channels
        self.failure: Exception | None = None

    def at(
        self, trace: Size, others: tuple[Size, ...] = (), computed_sizes: bool = False
    ) -> onnx.ModelProto | None:
        """The module traced at `trace`, in the first opset that says what it does there and at the `others`."""
        import onnx

        picture = self.torch.zeros(1, self.channels, *trace.hw)
        for opset in OPSETS:
            try:
                model = onnx.load_from_string(_export(self.torch, self.module, picture, opset, computed_sizes))
            except Exception as error:  # torch raises many kinds, for many reasons; the first is what counts
                self.failure = self.failure or error
                if not _worth_a_later_opset(error):
                    return None
                continue
            if opset == OPSETS[0] and _misread(model):
                continue
            if all(self._does_the_same(model, other) for other in others):
                return model
        return None

    def _does_the_same(self, model: onnx.ModelProto, size: Size) -> bool:
        """Whether the exported graph does as the module at another size; the tolerance is far above rounding."""
        from pipeline.graph.runtime import free_size, run, session
        from pipeline.sources.running import run_module

        picture = np.random.default_rng(0).random((1, self.channels, *size.hw), np.float32)
        try:
            expected = run_module(self.module, picture)
        except Exception:  # whatever the network raises at a size that it does not take
            return True
        copy = type(model)()
        copy.CopyFrom(model)
        try:
            actual = run(session(free_size(copy)), picture)
        except Exception:  # whatever ONNX Runtime raises for sizes that do not meet
            return False
        return actual.shape == expected.shape and bool(
            np.abs(actual - expected).mean() <= 1e-3 * np.abs(expected).mean()
        )


def _channels(network: Network) -> int:
    if network.contract is not None:
        return network.contract.input.channels
    from pipeline.sources.running import probe_channels

    assert network.module is not None
    return probe_channels(network.module, network.source, network.details.get("exported_shape"))[0]


def _export(torch: Any, module: Any, picture: Any, opset: int, computed_sizes: bool = False) -> bytes:
    """One run of torch's exporter, kept silent: it prints whole graphs on failure, and warnings that explain
    nothing to whoever did not write torch. With `computed_sizes` height and width stay open while it traces."""
    buffer = io.BytesIO()
    with quiet(), silence():
        torch.onnx.export(
            module,
            (picture,),
            buffer,
            dynamo=False,
            opset_version=opset,
            do_constant_folding=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {2: "height", 3: "width"}} if computed_sizes else None,
        )
    return buffer.getvalue()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Swallow what Python and, below it, torch's C++ write to stdout. stderr stays: progress is shown there."""
    copy = None
    try:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            number = sys.__stdout__.fileno()  # type: ignore[union-attr]
            sys.__stdout__.flush()  # type: ignore[union-attr]
            copy = os.dup(number)
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), number)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if copy is not None:
            with contextlib.suppress(OSError, AttributeError, TypeError):
                ctypes.CDLL(None).fflush(None)
            os.dup2(copy, number)
            os.close(copy)


def _worth_a_later_opset(error: Exception) -> bool:
    """Whether a later opset may know what this one does not: not so when the network itself fails."""
    text = f"{type(error).__name__}: {error}"
    return "onnx" in type(error).__module__ or "ONNX" in text or "opset" in text


def _misread(model: onnx.ModelProto) -> bool:
    """Whether an opset 9 model says something else than the network does: the exporter writes bilinear resizing
    as Upsample, which ONNX defines with other coordinates than torch has (right from Resize-11 on), and shrinking
    or fractional nearest resizing as Upsample too, which must enlarge."""
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for node in model.graph.node:
        if node.op_type == "Upsample":
            mode = next((a.s for a in node.attribute if a.name == "mode"), b"nearest")
            scales = constants.get(node.input[1])
            if mode != b"nearest" or scales is None or any(s < 1 or s != int(s) for s in scales):
                return True
    return False


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if match := re.search(r"[Oo]perator '?(aten::\w+)'?", text):
        return f"the operator {match[1]} has no counterpart in ONNX (opsets {OPSETS[0]} to {OPSETS[-1]})"
    if match := re.search(r"aten::\w+", text):
        return f"{match[0]}: {text[:200]}"
    return f"{type(error).__name__}: {text[:240]}"


def _declare(model: onnx.ModelProto, channels: int, size: Size) -> onnx.ModelProto:
    """Declare the input as [1, C, H, W] and leave every other size open: they belong to the traced picture."""
    (image,) = [value for value in model.graph.input if value.name == INPUT]
    for dim, value in zip(image.type.tensor_type.shape.dim, (1, channels, *size.hw), strict=True):
        dim.dim_value = value
    if len(model.graph.output) != 1:
        raise PipelineError(
            "not-image-to-image",
            f"the network has {len(model.graph.output)} outputs, and must have one",
            remedy="Wrap it in a module that returns only the picture.",
        )
    shape = model.graph.output[0].type.tensor_type.shape
    for axis in (2, 3):
        if len(shape.dim) == 4:
            shape.dim[axis].Clear()
            shape.dim[axis].dim_param = f"output_{('height', 'width')[axis - 2]}"
    del model.graph.value_info[:]
    return model
