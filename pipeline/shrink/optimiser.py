"""The optimiser of trainings, and the state of optimisers as named tensors. Imports torch: import it inside a
function.

SOAP (Vyas et al.: SOAP: Improving and Stabilizing Shampoo using Adam, 2024) takes the steps of Adam in the
eigenbasis of the gradients' second moments. The layers of a small network are badly conditioned, because its few
channels are correlated: in the same time, it comes closer to its teacher than with Adam (docs/distill.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pytorch_optimizer.optimizer.soap import SOAP
from torch import Tensor, nn

BETAS = 0.95, 0.99
"""Decay of the first and of the second moments."""
EVERY = 10
"""Steps between two updates of the eigenbases."""
LARGEST = 512
"""Largest side of a matrix of weights for which an eigenbasis is computed; the cost grows with its cube."""
_BASES = ("GG", "Q")
"""The entries of SOAP's state that are lists: for each side the second moments, and their eigenbasis."""


class Soap:
    """SOAP on the weights of convolutions as matrices, (outputs, kernel height * kernel width * inputs).

    `groups` are parameter groups with a `scale`, which is only kept; `param_groups` are those of the optimiser,
    whose `lr` may be changed. With the four axes of a convolution apart, as SOAP takes them, correlations between
    an input and a place in the kernel would be lost.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], rate: float) -> None:
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        self._soap = SOAP(
            [self._matrices(group) for group in groups],
            lr=rate,
            betas=BETAS,
            weight_decay=0,
            precondition_frequency=EVERY,
            max_precondition_dim=LARGEST,
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self._soap.param_groups

    def add_param_group(self, group: dict[str, Any]) -> None:
        self._soap.add_param_group(self._matrices(group))

    def zero_grad(self) -> None:
        for parameter, _ in self._pairs:
            parameter.grad = None

    def step(self) -> None:
        """Change the parameters by their gradients; those without one stay as they are."""
        for parameter, matrix in self._pairs:
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad, parameter)
        self._soap.step()
        for state in self._soap.state.values():  # in the layout that a checkpoint restores, for the same rounding
            state["Q"] = [basis if isinstance(basis, list) else basis.contiguous() for basis in state["Q"]]

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors themselves, no copies: `G.step` of each group, and of its parameters `N.exp_avg`,
        `N.exp_avg_sq`, and `N.GG.S` and `N.Q.S` of each side that has an eigenbasis."""
        tensors = {f"{n}.step": torch.tensor(group.get("step", 0)) for n, group in enumerate(self.param_groups)}
        for number, (_, matrix) in enumerate(self._pairs):
            state = self._soap.state.get(matrix, {})
            tensors |= {f"{number}.{key}": state[key] for key in ("exp_avg", "exp_avg_sq") if key in state}
            for key in _BASES:
                sides = enumerate(state.get(key, ()))
                tensors |= {f"{number}.{key}.{side}": value for side, value in sides if len(value)}
        return tensors

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Load such a state. Raises ValueError or KeyError if it does not fit these parameters."""
        self._soap.state.clear()
        for number, group in enumerate(self.param_groups):
            group["step"] = int(tensors[f"{number}.step"])
        for number, (_, matrix) in enumerate(self._pairs):
            if f"{number}.exp_avg" not in tensors:  # none of its gradients came yet
                continue
            state: dict[str, Any] = {"exp_avg": torch.empty_like(matrix), "exp_avg_sq": torch.empty_like(matrix)}
            self._soap.init_pre_conditioner(matrix, state, EVERY, BETAS[1], LARGEST)
            state["Q"] = [torch.empty_like(side) if len(side) else [] for side in state["GG"]]
            for key in ("exp_avg", "exp_avg_sq"):
                fill(state[key], tensors[f"{number}.{key}"])
            for key in _BASES:
                for side, value in enumerate(state[key]):
                    if len(value):
                        fill(value, tensors[f"{number}.{key}.{side}"])
            self._soap.state[matrix] = state

    def _matrices(self, group: dict[str, Any]) -> dict[str, Any]:
        """A group whose parameters share the memory of the given ones, and are matrices or vectors."""
        matrices = [nn.Parameter(_matrix(parameter.data, parameter)) for parameter in group["params"]]
        for parameter, matrix in zip(group["params"], matrices, strict=True):
            if matrix.data_ptr() != parameter.data_ptr():
                raise ValueError(f"a parameter of shape {list(parameter.shape)} cannot be seen as a matrix")
        self._pairs += zip(group["params"], matrices, strict=True)
        return group | {"params": matrices}


def _matrix(values: Tensor, parameter: Tensor) -> Tensor:
    """The values of a parameter, or its gradients, as a matrix whose rows are the first axis, in the parameter's
    order in memory."""
    if parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
        values = values.permute(0, 2, 3, 1)
    return values.flatten(1) if values.dim() > 2 else values


class Adam:
    """The state of an Adam optimiser as named tensors: `N.exp_avg` and so on of its parameter number N."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self.optimiser = optimiser
        self.parameters = [p for group in optimiser.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors themselves, no copies; none before the first step."""
        states = ((n, self.optimiser.state.get(p, {})) for n, p in enumerate(self.parameters))
        return {f"{n}.{key}": value for n, state in states for key, value in state.items()}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Load such a state. Raises ValueError or KeyError if it does not fit these parameters."""
        self.optimiser.state.clear()
        for number, parameter in enumerate(self.parameters):
            if f"{number}.exp_avg" not in tensors:  # none of its gradients came yet
                continue
            state = {"step": torch.zeros((), dtype=torch.float32)}
            state |= {key: torch.empty_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
            for key, value in state.items():
                fill(value, tensors[f"{number}.{key}"])
            self.optimiser.state[parameter] = state


def fill(place: Tensor, value: Tensor) -> None:
    """Copy `value` into a tensor in its layout in memory. Raises ValueError if the shapes differ."""
    if place.shape != value.shape:
        raise ValueError(f"a tensor of shape {list(value.shape)} stands for one of {list(place.shape)}")
    place.copy_(value)
