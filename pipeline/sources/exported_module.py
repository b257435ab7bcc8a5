"""A checked torch.export program as a torch module that runs its steps in order.

The operators are torch's own; nothing in the file is compiled or turned into code. torch's exporter traces the
module like any other, with dynamic sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pipeline.sources.exported import Constant, Name, Program, Step
from pipeline.sources.size_arithmetic import NUMBERS, small

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}


class ExportedNetwork(nn.Module):
    """Runs a program on one picture (N, C, H, W). Training and evaluation mode are the same."""

    from_file = True

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._image = program.image
        self._outputs = program.outputs
        self._constants = program.constants
        self._places = {name: key for name, key in program.weights.items()}
        for key, (values, kind) in program.tensors.items():
            self._hold(key, _tensor(values, kind), key in program.parameters)
        self._steps = [(_function(step), step) for step in program.steps]
        for _, step in self._steps:
            if step.target.startswith("torch.ops."):
                _check_arguments(step)
        super().eval()

    def _hold(self, key: str, value: torch.Tensor, parameter: bool) -> None:
        *path, last = key.split(".")
        owner: nn.Module = self
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner._modules[part]  # type: ignore[assignment]
        if parameter and value.is_floating_point():
            owner.register_parameter(last, nn.Parameter(value, requires_grad=False))
        else:
            owner.register_buffer(last, value)

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Do nothing: the mode is fixed in the program."""
        return self

    def forward(self, picture: torch.Tensor) -> Any:
        values: dict[str, Any] = dict(self._constants)
        tensors = dict(self.named_parameters(remove_duplicate=False)) | dict(
            self.named_buffers(remove_duplicate=False)
        )
        values.update({name: tensors[key] for name, key in self._places.items()})
        values[self._image] = picture
        for function, step in self._steps:
            result = function(step, values)
            if step.single_output:
                _keep(values, step.outputs[0], result)
            elif step.outputs:
                for name, part in zip(step.outputs, result, strict=True):
                    _keep(values, name, part)
        outputs = [_resolve(output, values) for output in self._outputs]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _keep(values: dict[str, Any], name: Any, result: Any) -> None:
    if isinstance(name, tuple):
        for part, value in zip(name, result, strict=True):
            values[part] = value
    elif name is not None:
        values[name] = result


def _tensor(values: np.ndarray, kind: str) -> torch.Tensor:
    if kind == "bf16":
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def _resolve(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, Name):
        return values[value.name]
    if isinstance(value, list):
        return [_resolve(item, values) for item in value]
    if isinstance(value, Constant):
        return _CONSTANTS[value.kind](value.value)
    return value


_CONSTANTS: dict[str, Callable[[int], Any]] = {
    "dtype": _TYPES.__getitem__,
    "memory_format": _FORMATS.__getitem__,
    "device": lambda _: torch.device("cpu"),
    "layout": lambda _: torch.strided,
}


def _function(step: Step) -> Callable[[Step, dict[str, Any]], Any]:
    if not step.target.startswith("torch.ops."):
        function = NUMBERS[step.target]
        return lambda step, values: small(function(*_arguments(step.inputs, values)))
    name, overload = step.target.split(".")[3:]
    if name == "sym_size" and overload == "int":
        return lambda step, values: _size(*_arguments(step.inputs, values))
    found = getattr(getattr(torch.ops.aten, name), overload)
    if not isinstance(found, torch._ops.OpOverload):
        raise ValueError(f"torch has no operator {step.target}")
    order = [(argument.name, argument.kwarg_only) for argument in found._schema.arguments]

    def call(step: Step, values: dict[str, Any]) -> Any:
        arguments = {key: _resolve(value, values) for key, value in step.inputs}
        positional: list[Any] = []
        for key, keyword_only in order:
            if keyword_only or key not in arguments:
                break
            positional.append(arguments.pop(key))
        return found(*positional, **arguments)

    return call


def _arguments(inputs: Iterable[tuple[str, Any]], values: dict[str, Any]) -> list[Any]:
    return [_resolve(value, values) for _, value in inputs]


def _check_arguments(step: Step) -> None:
    name, overload = step.target.split(".")[3:]
    known = {argument.name for argument in getattr(getattr(torch.ops.aten, name), overload)._schema.arguments}
    if {key for key, _ in step.inputs} - known:
        raise ValueError(f"{step.target} has no such argument")


def _size(tensor: torch.Tensor, dim: int) -> Any:
    return tensor.shape[dim]
