"""SOAP on convolutions: it learns badly conditioned ones faster than Adam, and its state is saved and restored."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from pipeline.shrink.loop import bfloat16
from pipeline.shrink.optimiser import EVERY, Soap


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of four nearly equal channels, and what a convolution gives for them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 1, 12, 12, generator=generator) + 0.1 * torch.randn(4, 4, 12, 12, generator=generator)
    return x, f.conv2d(x, torch.randn(3, 4, 3, 3, generator=generator))


def layer() -> nn.Conv2d:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last)


def train(module: nn.Module, optimiser: Soap | torch.optim.Adam, steps: int) -> float:
    x, goal = problem()
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (module(x) - goal).square().mean()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def soap(module: nn.Module) -> Soap:
    return Soap([{"params": list(module.parameters()), "scale": 1.0}], 0.02)


def test_it_learns_from_correlated_channels_what_adam_does_not():
    ours, adams = layer(), layer()
    plain = torch.optim.Adam(adams.parameters(), 0.02, betas=(0.95, 0.99))
    assert train(ours, soap(ours), 600) < 0.01 * train(adams, plain, 600)


@pytest.mark.parametrize("steps", [0, 1, EVERY, 2 * EVERY + 3])
def test_with_a_restored_state_it_takes_the_same_steps(steps):
    module = layer()
    optimiser = soap(module)
    if steps:
        train(module, optimiser, steps)
    again = layer()
    again.load_state_dict(module.state_dict())
    other = soap(again)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    assert optimiser.state_dict().keys() == other.state_dict().keys()
    assert train(module, optimiser, EVERY + 2) == train(again, other, EVERY + 2)
    assert torch.equal(module.weight, again.weight)


def test_a_state_of_other_shapes_is_refused():
    module = layer()
    optimiser = soap(module)
    train(module, optimiser, 2)
    state = optimiser.state_dict() | {"0.exp_avg": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match=r"\[2, 2\]"):
        soap(layer()).load_state_dict(state)


def test_the_layout_of_a_gradient_in_memory_does_not_matter():
    one, other = layer(), layer()
    for module, layout in ((one, torch.channels_last), (other, torch.contiguous_format)):
        optimiser = soap(module)
        for seed in range(3):
            gradient = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
            module.weight.grad = gradient.contiguous(memory_format=layout)
            optimiser.step()
    assert torch.equal(one.weight, other.weight) and not torch.equal(one.weight, layer().weight)


def test_padding_stays_in_bfloat16_and_is_torchs_own_afterwards():
    x = torch.rand(1, 2, 8, 8, dtype=torch.bfloat16)
    with bfloat16(torch.device("cpu")):
        assert f.pad(x, (1, 1, 1, 1), mode="reflect").dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert f.pad(x, (1, 1, 1, 1), mode="reflect").dtype == torch.float32
