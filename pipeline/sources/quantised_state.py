"""Read state dicts of networks that PyTorch quantised (torch.ao.quantization: eager static, dynamic, QAT, FX).

A converted network stores its convolutions' weights as quantised tensors, its linear layers' in `_packed_params`,
and for every layer the scale and zero point of its output. Only the weights matter for a float network; batch
normalisation that was folded into a convolution before quantising is no longer in the file.
Sources: torch/ao/nn/quantized/modules/{conv,linear}.py, torch/ao/quantization/fx/convert.py (torch 2.13).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.sources.arrays import is_tensor
from pipeline.sources.pickled import Record
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from torch import nn

    from pipeline.sources.plain import Tensors

_PACKED = "_packed_params._packed_params"
_PACKED_WEIGHT, _PACKED_BIAS = 10, 11
"""Positions of weight and bias in the state that a quantised convolution pickles (conv.py, `__getstate__`)."""
_OBSERVER = re.compile(r"(^|.*[._])(activation_post_process|fake_quant)(_\d+)?\..+")
_SCALE = re.compile(r"(.*(?:^|[._]))scale((?:_\d+)?)")


def unpacked(entries: dict[Any, Any]) -> dict[Any, Any]:
    """The entries of a state dict, with the packed (weight, bias) of every linear layer under their usual
    names."""
    result: dict[Any, Any] = {}
    for key, value in entries.items():
        if isinstance(key, str) and key.endswith(_PACKED) and isinstance(value, tuple) and len(value) == 2:
            layer = key.removesuffix(_PACKED)
            result[f"{layer}weight"] = value[0]
            if value[1] is not None:
                result[f"{layer}bias"] = value[1]
        elif isinstance(key, str) and (match := re.fullmatch(r"(.*)_packed_params\.(weight|bias)", key)):
            result[match[1] + match[2]] = value
        else:
            result[key] = value
    return result


def module_tensors(record: Record) -> dict[str, Any]:
    """Weight and bias references of a pickled quantised convolution, whose state is a tuple; {} for other
    records."""
    if not record.cls.module.startswith(("torch.ao.nn.", "torch.nn.")) or len(record.packed) <= _PACKED_BIAS:
        return {}
    parts = {"weight": record.packed[_PACKED_WEIGHT], "bias": record.packed[_PACKED_BIAS]}
    return {name: value for name, value in parts.items() if is_tensor(value)}


def without_activations(tensors: Tensors, integers: int, notes: list[str]) -> Tensors:
    """The tensors without observers and without the scales and zero points of activations; appends to `notes`.

    `integers` is the number of quantised weights; where it is 0, only observers are dropped.
    """
    observers = {name for name in tensors if _OBSERVER.fullmatch(name)}
    pairs: set[str] = set()
    for name, value in tensors.items() if integers else ():
        match = _SCALE.fullmatch(name)
        other = f"{match[1]}zero_point{match[2]}" if match else ""
        if other in tensors and value.size == tensors[other].size == 1:
            pairs |= {name, other}
    if integers:
        notes.append(
            f"quantised by PyTorch: {integers} integer weights became float32, exactly (q - zero_point) * scale; "
            f"the scales of {len(pairs) // 2} activations are ignored, because the targets compute in float: "
            "quantising makes the file smaller, but not faster"
        )
    if observers:
        notes.append(
            f"{len(observers)} tensors of quantisation observers are ignored: the network was prepared for "
            "quantisation, but its weights are floats"
        )
    return {name: value for name, value in tensors.items() if name not in observers | pairs}


def fit(module: nn.Module, tensors: Tensors, subject: str) -> list[str]:
    """Adapt a float module to the state dict of its quantised version, in place; returns notes.

    Batch normalisation without tensors was folded into the convolution before it, so it becomes nn.Identity; that
    convolution may have got a bias. Raises PipelineError `own-module-failed` for a module that is itself
    quantised.
    """
    from torch import nn, zeros

    for name, part in module.named_modules():
        quantised = type(part).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized"))
        if quantised and hasattr(part, "zero_point"):
            raise PipelineError(
                "own-module-failed",
                f"it returns a network that is already quantised ({name} is a {type(part).__name__})",
                subject=subject,
                remedy="Name a factory that returns the float network, before prepare and convert.",
            )
    folded, biased = [], []
    for name, part in list(module.named_modules()):
        inside = f"{name}." if name else ""
        for child_name, child in list(part.named_children()):
            path = inside + child_name
            if isinstance(child, nn.modules.batchnorm._NormBase) and not isinstance(
                child, nn.modules.instancenorm._InstanceNorm
            ):
                if not any(key.startswith(f"{path}.") for key in tensors):
                    setattr(part, child_name, nn.Identity())
                    folded.append(path)
            elif getattr(child, "bias", 0) is None and f"{path}.bias" in tensors:
                child.bias = nn.Parameter(zeros(np.shape(tensors[f"{path}.bias"])))
                biased.append(path)
    notes = []
    if folded:
        notes.append(f"batch normalisation that was folded before quantising is omitted: {', '.join(folded)}")
    if biased:
        notes.append(f"layers that got a bias by it: {', '.join(biased)}")
    return notes
