"""State dicts made plain: wrappers, masks and norms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from pipeline.sources import plain
from pipeline.support.errors import PipelineError

X = torch.linspace(-1, 1, 2 * 4 * 9 * 9).reshape(2, 4, 9, 9)


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3))


def trained_spectral(module: nn.Module, apply: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A module whose u and v have seen a few steps, in eval mode."""
    module = apply(module).train()
    for _ in range(3):
        module(X if isinstance(module, nn.Conv2d) else torch.randn(2, 6, 7, 7))
    return module.eval()


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("module.", "module."),
        ("_orig_mod.", "_orig_mod."),
        ("module._orig_mod.", "module._orig_mod."),
        ("model.net.", "model.net."),
    ],
)
def test_wrapper_prefixes_go_and_are_noted(prefix: str, said: str) -> None:
    notes: list[str] = []
    found, _ = plain.names({f"{prefix}conv.weight": np.ones(1), f"{prefix}in.bias": np.ones(1)}, notes)
    assert list(found) == ["conv.weight", "in.bias"]
    assert notes == [f"prefix {said} removed from all names"]


def test_a_prefix_that_not_all_names_share_stays() -> None:
    notes: list[str] = []
    tensors = {"module.a": np.ones(1), "b": np.ones(1)}
    assert plain.names(tensors, notes) == (tensors, "")
    assert notes == []


def test_names_that_would_become_empty_stay() -> None:
    assert list(plain.names({"model": np.ones(1)}, [])[0]) == ["model"]


def test_pruning_masks_are_multiplied_in_and_counted() -> None:
    module = net()
    prune.l1_unstructured(module[0], "weight", amount=0.25)
    prune.random_unstructured(module[2], "bias", amount=3)
    notes: list[str] = []
    baked = plain.weights(arrays(module), notes, "a.pth")
    assert set(baked) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert np.array_equal(baked["0.weight"], module[0].weight.detach().numpy())
    assert np.array_equal(baked["2.bias"], module[2].bias.detach().numpy())
    assert notes == [
        "pruning masks baked into 2 tensors (57 of 222 values are zero: that does not make it faster)"
    ]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("apply", [nn.utils.weight_norm, parametrizations.weight_norm])
def test_weight_norm_gives_the_weight_that_torch_computes(
    apply: Callable[..., nn.Module], dim: int | None
) -> None:
    conv = apply(nn.Conv2d(4, 6, 3), dim=dim)
    notes: list[str] = []
    baked = plain.weights(arrays(conv), notes, "a.pth")
    assert np.allclose(baked["weight"], conv.weight.detach().numpy(), atol=1e-6)
    assert notes == ["weight_norm baked into 1 tensors"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("apply", [nn.utils.spectral_norm, parametrizations.spectral_norm])
@pytest.mark.parametrize("make", [lambda: nn.Conv2d(4, 6, 3), lambda: nn.ConvTranspose2d(6, 5, 3)])
def test_spectral_norm_gives_the_weight_of_eval_mode(
    apply: Callable[[nn.Module], nn.Module], make: Callable[[], nn.Module]
) -> None:
    module = trained_spectral(make(), apply)
    x = X if isinstance(module, nn.Conv2d) else torch.randn(2, 6, 7, 7)
    bare = make()
    bare.load_state_dict({k: torch.from_numpy(v) for k, v in plain.weights(arrays(module), [], "a.pth").items()})
    with torch.no_grad():
        assert torch.allclose(bare(x), module(x), atol=1e-5)


def test_another_parametrisation_is_refused_with_the_way_out() -> None:
    linear = parametrizations.orthogonal(nn.Linear(4, 4))
    with pytest.raises(PipelineError, match="remove_parametrizations") as caught:
        plain.weights(arrays(linear), [], "a.pth")
    assert caught.value.code == "unsupported-parametrization"


def test_parts_that_do_not_fit_each_other_are_a_clear_error() -> None:
    for tensors in (
        {"w_orig": np.ones((2, 2)), "w_mask": np.ones((2, 3))},
        {"w_g": np.ones((3, 1)), "w_v": np.ones((2, 2))},
        {"w_orig": np.ones((2, 2)), "w_u": np.ones(3), "w_v": np.ones(2)},
    ):
        with pytest.raises(PipelineError) as caught:
            plain.weights(tensors, [], "a.pth")
        assert caught.value.code == "damaged-file"


def test_names_that_only_look_like_hooks_stay() -> None:
    tensors = {"a_orig": np.ones(1), "style_g": np.ones(1), "x_v": np.ones(1)}
    assert plain.weights(tensors, [], "a.pth") == tensors
