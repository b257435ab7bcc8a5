"""Refitting: what other channels can make up for is made up for exactly, and the rest gets closer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import sources
from pipeline.network import Network
from pipeline.shrink.choosing import choose, scores
from pipeline.shrink.goals import parse
from pipeline.shrink.prunable import Prunable, prunable
from pipeline.shrink.prune import PruneOptions, prune
from pipeline.shrink.refit import observe, patches, positions, readers, refit
from pipeline.support.size import Size
from tests.networks import style_checkpoint, style_onnx


def pictures(count: int = 2) -> list[np.ndarray]:
    """Smooth colours with some noise, 0..255."""
    rng = np.random.default_rng(3)
    result = []
    for _ in range(count):
        small = Image.fromarray((rng.random((6, 8, 3)) * 255).astype(np.uint8))
        large = np.asarray(small.resize((48, 40), Image.Resampling.BICUBIC), np.float32)
        result.append(
            np.clip(large + rng.normal(0, 8, large.shape), 0, 255).astype(np.float32).transpose(2, 0, 1)[None]
        )
    return result


def with_a_double(tmp_path: Path) -> tuple[Network, Prunable]:
    """A network in which one channel of every width is computed twice: its weights and its norm are equal."""
    path = style_checkpoint(tmp_path / "net.pth", (4, 6, 6), 1)
    stored = prunable(sources.read(path))
    state = torch.load(path, weights_only=True)
    for group in stored.groups:
        for unit, twin in ((group.units[0], group.units[1]),):
            for name, axis, index in [*unit.makes, *unit.scales, *unit.others]:
                key, axes = stored.places[name]
                twin_index = next(
                    i for n, a, i in [*twin.makes, *twin.scales, *twin.others] if n == name and a == axis
                )
                moved = state[key].movedim(axes[axis], 0)
                moved[twin_index] = moved[index]
    torch.save(state, path)
    network = sources.read(path)
    return network, prunable(network)


def test_a_channel_that_occurs_twice_goes_without_a_trace(tmp_path: Path) -> None:
    network, stored = with_a_double(tmp_path)
    original = sources.reference(network)
    gone = [group.units[1] for group in stored.groups]
    values = refit(stored, gone, pictures())
    unseen = pictures(3)[2]
    expected = original(unseen)
    refitted = sources.reference(stored.pruned(gone, values))(unseen)
    plain = sources.reference(stored.pruned(gone))(unseen)
    assert np.abs(refitted - expected).max() < 0.05 * np.abs(plain - expected).max()


def test_a_channel_that_occurs_twice_is_the_first_to_go(tmp_path: Path) -> None:
    _, stored = with_a_double(tmp_path)
    orders, costs = choose(stored, pictures())
    assert all(order[0] in (0, 1) for order in orders)
    assert all(cost[0] < 0.01 * max(cost) for cost in costs)
    ranked = scores(stored, pictures())
    assert all(int(np.argmin(score)) in (0, 1) for score in ranked)


def test_refitting_gets_closer_also_for_onnx(tmp_path: Path) -> None:
    for source in (style_checkpoint(tmp_path / "a.pth", (4, 6, 8), 1), style_onnx(tmp_path / "b.onnx")):
        network = sources.read(source)
        original = sources.reference(network)
        stored = prunable(network)
        gone = [unit for group in stored.groups for unit in group.units[: group.width // 3]]
        given = pictures()
        expected = original(given[0])
        apart = [
            float(np.mean((sources.reference(stored.pruned(gone, values))(given[0]) - expected) ** 2))
            for values in ({}, refit(stored, gone, given))
        ]
        assert apart[1] < 0.85 * apart[0], source.name


def test_patches_are_what_a_convolution_multiplies(tmp_path: Path) -> None:
    stored = prunable(sources.read(style_checkpoint(tmp_path / "net.pth")))
    given = pictures(1)
    rng = np.random.default_rng(0)
    for reader in readers(stored.graph):
        seen = observe(stored.graph, [reader.tensor, reader.output], given)[0]
        output = seen[reader.output][0]
        at = positions(*output.shape[1:], rng)
        weights = np.asarray(reader.node.inputs[1].values)
        result = patches(seen[reader.tensor], reader.node, at) @ weights.reshape(len(weights), -1).T
        if reader.bias is not None:
            result = result + np.asarray(reader.node.inputs[2].values)
        np.testing.assert_allclose(result.T, output.reshape(len(weights), -1)[:, at], rtol=1e-3, atol=0.05)


def test_pruning_refits_unless_told_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.shrink.prune.PICTURE_SIZE", Size(64, 48))
    source = sources.read(style_checkpoint(tmp_path / "net.pth", (4, 6, 8), 1))
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, picture in enumerate(pictures()):
        Image.fromarray(picture[0].transpose(1, 2, 0).astype(np.uint8)).save(frames / f"{number}.png")
    picture = pictures(3)[2]
    expected = sources.reference(source)(picture)
    apart = {}
    for fitted in (True, False):
        options = PruneOptions("reconstruction", multiple=1, images=(frames,), refit=fitted)
        done = prune(source, parse("60%"), options)
        assert done.report["refitted"] is fitted
        apart[fitted] = float(np.mean((sources.reference(done.network)(picture) - expected) ** 2))
    assert apart[True] < apart[False]


@pytest.mark.parametrize(("nearly", "stream"), [(1e9, 12), (0.0, 11)])
def test_blocks_are_narrowed_inside_if_that_is_nearly_as_good(
    nearly: float, stream: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.shrink.prune.PICTURE_SIZE", Size(64, 48))
    monkeypatch.setattr("pipeline.shrink.prune.NEARLY", nearly)
    source = sources.read(style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 3))
    done = prune(source, parse("75%"), PruneOptions("l1", multiple=1))
    widths = done.network.details["widths"]
    assert (widths[2] == 12) is (nearly > 1)
    assert widths[2] <= stream and min(done.network.details.get("inner", [12])) < 12
