"""Checkpoints of known networks under other names, keys and prefixes, as training code writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.sources import ReadOptions, read
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint

PICTURE = torch.from_numpy(np.random.default_rng(0).random((1, 3, 24, 32), np.float32) * 255)


@pytest.fixture
def known(tmp_path: Path) -> dict[str, torch.Tensor]:
    return torch.load(style_checkpoint(tmp_path / "known.pth"))


def saved(path: Path, held: object) -> Path:
    torch.save(held, path)
    return path


def painted(path: Path, **options: object) -> torch.Tensor:
    module = read(path, ReadOptions(**options)).module
    with torch.no_grad():
        return module(PICTURE)


def average(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value * 0.9 for name, value in state.items()}


@pytest.mark.parametrize("prefix", ["params_ema", "outer.net"])
def test_one_of_several_networks_is_chosen_by_its_key(tmp_path, known, prefix):
    weights = {"params": known, "params_ema": average(known), "outer": {"net": average(known), "epoch": 3}}
    path = saved(tmp_path / "several.pth", weights)
    with pytest.raises(PipelineError, match="--prefix params_ema") as caught:
        read(path)
    assert caught.value.code == "several-state-dicts" and "'outer.net'" in caught.value.message
    alone = painted(saved(tmp_path / "alone.pth", average(known)))
    assert torch.equal(painted(path, prefix=prefix), alone)
    with pytest.raises(PipelineError) as caught:
        read(path, ReadOptions(prefix="nothing"))
    assert caught.value.code == "several-state-dicts"


def test_a_prefix_may_go_on_inside_the_chosen_network(tmp_path, known):
    both = {**{f"net.{k}": v for k, v in known.items()}, **{f"slow.{k}": v for k, v in average(known).items()}}
    path = saved(tmp_path / "deep.pth", {"state": both, "critic_state": {"w": torch.zeros(2, 2)}})
    alone = painted(saved(tmp_path / "alone.pth", average(known)))
    assert torch.equal(painted(path, prefix="state.slow"), alone)


@pytest.mark.parametrize("wrapper", ["_forward_module", "my_own.painter"])
def test_a_wrapper_that_nobody_listed_is_seen_through(tmp_path, known, wrapper):
    path = saved(tmp_path / "wrapped.pth", {f"{wrapper}.{name}": value for name, value in known.items()})
    assert torch.equal(painted(path), painted(tmp_path / "known.pth"))


@pytest.mark.parametrize(
    "renamed",
    [
        lambda name: name.replace("in", "norm", 1) if name.startswith("in") else name,
        lambda name: name.replace("weight", "gamma").replace("bias", "beta") if "in" in name[:8] else name,
    ],
)
def test_other_names_are_taken_in_their_order_where_the_network_is_named(tmp_path, known, renamed):
    path = saved(tmp_path / "renamed.pth", {renamed(name): value for name, value in known.items()})
    with pytest.raises(PipelineError) as caught:
        read(path)
    assert caught.value.code == "unknown-architecture"
    assert "use --architecture fast-neural-style, which matches" in caught.value.remedy
    assert torch.equal(painted(path, architecture="fast-neural-style"), painted(tmp_path / "known.pth"))


def test_tensors_of_other_shapes_are_not_taken_by_their_order(tmp_path, known):
    wrong = {name.replace("in1", "norm1"): value for name, value in known.items()}
    wrong["norm1.weight"] = torch.zeros(len(known["in1.weight"]) + 1)
    with pytest.raises(PipelineError) as caught:
        read(saved(tmp_path / "wrong.pth", wrong), ReadOptions(architecture="fast-neural-style"))
    assert caught.value.code == "architecture-does-not-fit"
