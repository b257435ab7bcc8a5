"""Factoring: kernels that are products are found again exactly, goals are met, and the closer method is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline import sources
from pipeline.shrink import factor
from pipeline.shrink.data import Pictures
from pipeline.shrink.goals import parse
from pipeline.shrink.prunable import prunable, save
from pipeline.shrink.prune import PruneOptions, prune
from pipeline.shrink.tuning import fine_tune
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint
from tests.shrink.test_prune import network
from tests.shrink.test_refit import pictures, with_a_double

RANK = 3


def separable(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights (O, C, kh, kw) that two convolutions through `RANK` channels compute exactly."""
    outputs, inputs, height, width = shape
    vertical, horizontal = rng.normal(size=(RANK, inputs, height)), rng.normal(size=(outputs, RANK, width))
    return (np.einsum("rih,orw->oihw", vertical, horizontal) * 0.1).astype(np.float32)


def checkpoint(path: Path, widths: tuple[int, int, int] = (6, 8, 12), layers: str = "res") -> Path:
    """A style network whose layers with names that begin so have separable kernels."""
    style_checkpoint(path, widths, 2)
    rng = np.random.default_rng(2)
    state = torch.load(path, weights_only=True)
    for name, value in state.items():
        if value.ndim == 4 and name.startswith(layers):
            value.copy_(torch.from_numpy(separable(tuple(value.shape), rng)))
    torch.save(state, path)
    return path


def test_separable_kernels_are_factored_without_a_trace(tmp_path: Path) -> None:
    original = sources.read(checkpoint(tmp_path / "net.pth"))
    whole = prunable(original)
    layers = [name for name in factor.factorable(whole.graph) if whole.places[name][0].startswith("res")]
    result = factor.as_network(whole, factor.factored(whole, dict.fromkeys(layers, RANK), pictures()))
    save(result, tmp_path / "smaller.pth")
    again = sources.read(tmp_path / "smaller.pth")
    assert again.weights == result.weights < original.weights
    assert again.details["ranks"] == {f"res{i}.conv{j}": RANK for i in (1, 2) for j in (1, 2)}
    unseen = pictures(3)[2]
    expected = sources.reference(original)(unseen)
    assert np.abs(sources.reference(again)(unseen) - expected).max() < 2e-3 * np.abs(expected).max()


def test_strided_dilated_and_padded_convolutions_of_a_graph_are_factored_exactly(tmp_path: Path) -> None:
    from tests.rewrites import model, node, random

    rng = np.random.default_rng(5)
    attributes = {"kernel_shape": [3, 5], "strides": [2, 1], "dilations": [1, 2], "pads": [1, 4, 0, 3]}
    plain = model(
        [
            node("Conv", "x w b", "m", **attributes),
            node("Relu", "m", "r"),
            node("Conv", "r v", "y", kernel_shape=[1, 1]),
        ],
        {"w": separable((9, 3, 3, 5), rng), "b": random((9,)), "v": random((3, 9, 1, 1))},
        input_shape=(1, 3, 40, 48),
    )
    onnx.save(onnx.shape_inference.infer_shapes(plain), tmp_path / "a.onnx")
    original = sources.read(tmp_path / "a.onnx")
    whole = prunable(original)
    (layer,) = factor.factorable(whole.graph)
    result = factor.as_network(whole, factor.factored(whole, {layer: RANK}, pictures()))
    save(result, tmp_path / "smaller.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "smaller.onnx"))
    again = sources.read(tmp_path / "smaller.onnx")
    assert again.weights == result.weights < original.weights
    unseen = pictures(3)[2]
    expected = sources.reference(original)(unseen)
    found = sources.reference(again)(unseen)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("goal", ["60%", "80% of gmac", "70 KB", "95% of ms on desktop"])
def test_goals_are_met_but_not_by_more_than_a_step(goal: str, tmp_path: Path) -> None:
    source = sources.read(style_checkpoint(tmp_path / "net.pth", (8, 16, 32), 2))
    done = prune(source, parse(goal), PruneOptions(method="factor", multiple=1))
    value = done.report["goal"]
    assert 0.8 * value["limit"] < value["after"] <= value["limit"] < value["before"]
    assert done.report["method"] == "factor"
    assert done.report["weights"] == {"before": source.weights, "after": done.network.weights}
    assert set(done.network.details["ranks"]) <= set(
        name.removesuffix(".conv2d.weight") for name in source.module.state_dict()
    )


def test_the_closer_method_is_taken(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.pth", (4, 6, 16))
    kernels = prune(sources.read(path), parse("75%"), PruneOptions(multiple=1))
    assert kernels.report["method"] == "factor"
    double, _ = with_a_double(tmp_path)
    channels = prune(double, parse("72%"), PruneOptions(multiple=1))
    assert (channels.report["method"], channels.report["ranks"]) == ("channels", {})


def test_it_is_closer_the_higher_the_rank(tmp_path: Path) -> None:
    source = sources.read(style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 1))
    whole, unseen = prunable(source), pictures(3)[2]
    expected, errors = sources.reference(source)(unseen), []
    layers = [name for name in factor.factorable(whole.graph) if whole.places[name][0].startswith("res")]
    for rank in (2, 6, 14):
        result = factor.as_network(whole, factor.factored(whole, dict.fromkeys(layers, rank), pictures()))
        errors.append(float(np.square(sources.reference(result)(unseen) - expected).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_a_factored_network_is_pruned_and_trained_further(tmp_path: Path) -> None:
    source = sources.read(style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 1))
    first = prune(source, parse("70%"), PruneOptions(method="factor", multiple=1)).network
    second = prune(first, parse("80%"), PruneOptions("l2", refit=False, multiple=1)).network
    assert second.weights <= 0.8 * first.weights
    save(second, tmp_path / "again.pth")
    assert sources.read(tmp_path / "again.pth").details == second.details
    from PIL import Image

    Image.fromarray(pictures(1)[0][0].astype(np.uint8).transpose(1, 2, 0)).resize((96, 80)).save(
        tmp_path / "a.png"
    )
    before = {name: value.clone() for name, value in first.module.state_dict().items()}
    report = fine_tune(first, source, Pictures([tmp_path / "a.png"]), {"steps": 4}, 1)
    assert report["steps"] == 4
    changed = [name for name, value in first.module.state_dict().items() if not torch.equal(value, before[name])]
    assert any("vertical" in name for name in changed) and any("horizontal" in name for name in changed)


@pytest.mark.parametrize(
    ("options", "goal", "code"),
    [
        ({"method": "ranks"}, "50%", "unknown-method"),
        ({"method": "factor", "criterion": "l1"}, "50%", "conflicting-options"),
        ({"method": "factor", "refit": False}, "50%", "conflicting-options"),
        ({"method": "factor"}, "1%", "goal-out-of-reach"),
    ],
)
def test_what_cannot_be_factored_is_refused(options: dict, goal: str, code: str, tmp_path: Path) -> None:
    source = sources.read(style_checkpoint(tmp_path / "net.pth"))
    with pytest.raises(PipelineError) as caught:
        prune(source, parse(goal), PruneOptions(**options))
    assert caught.value.code == code and caught.value.remedy


def test_architectures_without_a_factored_form_lose_channels(tmp_path: Path) -> None:
    source = network("fritz", tmp_path)
    assert prune(source, parse("80%"), PruneOptions(multiple=1)).report["method"] == "channels"
    with pytest.raises(PipelineError) as caught:
        prune(source, parse("80%"), PruneOptions(method="factor"))
    assert caught.value.code == "cannot-prune"
