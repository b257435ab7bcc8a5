"""Pruning: budgets are met, what is left is readable again, and what carried nothing leaves no trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline import sources
from pipeline.architectures import build
from pipeline.network import Network
from pipeline.shrink.goals import parse
from pipeline.shrink.importance import CRITERIA, importance
from pipeline.shrink.prunable import prunable, save
from pipeline.shrink.prune import PruneOptions, fitting, prune
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint, style_onnx

FEW_SHOT = {
    "filters": [4, 6, 8, 8, 6, 8],
    "resnet_blocks": 2,
    "input_channels": 3,
    "use_bias": True,
    "tanh": True,
    "append_smoothers": True,
    "batch_norm": True,
}
KNOWN = {
    "fast-neural-style": {"widths": [4, 6, 8], "blocks": 2},
    "fast-neural-style-residual-skips": {"widths": [4, 6, 8], "blocks": 2},
    "fritz": {"widths": [4, 6, 8], "blocks": 2},
    "few-shot": FEW_SHOT,
    "few-shot-instance-norm": FEW_SHOT | {"batch_norm": False},
}


def network(name: str, tmp_path: Path) -> Network:
    """A known network with random weights, as read from a file."""
    torch.manual_seed(4)
    module = build(name, KNOWN[name])
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) * (0.5 if "running_var" in key else 0.2))
    path = tmp_path / "net.pth"
    stored = Network("net", path, "torch-zip", "", name, "", None, 0, module=module.eval())
    save(stored, path)
    return sources.read(path, sources.ReadOptions(architecture=name))


def picture(scale: float = 255.0) -> np.ndarray:
    return (np.random.default_rng(1).random((1, 3, 32, 40)) * scale).astype(np.float32)


@pytest.mark.parametrize("name", list(KNOWN))
def test_channels_of_zeros_go_exactly_and_the_rest_is_read_again(name, tmp_path) -> None:
    stored = prunable(network(name, tmp_path))
    gone = [group.units[1] for group in stored.groups]
    with torch.no_grad():
        state = stored.network.module.state_dict()
        for unit in gone:
            for place, axis, index in [*unit.makes, *unit.scales, *unit.others]:
                key, axes = stored.places.get(place, ("", {}))
                if key and "running" not in key:
                    state[key].movedim(axes[axis], 0)[index] = 0
        # batch norm of a channel of zeros shifts it by -mean * scale; with no scale it is zero
    before = sources.reference(stored.network)(picture())
    result = prunable(stored.network).pruned(gone)
    np.testing.assert_allclose(sources.reference(result)(picture()), before, atol=2e-3 * np.abs(before).max())
    assert result.weights < stored.network.weights
    path = tmp_path / "smaller.pth"
    save(result, path)
    again = sources.read(path, sources.ReadOptions(architecture=name))
    assert again.weights == result.weights
    np.testing.assert_array_equal(sources.reference(again)(picture()), sources.reference(result)(picture()))


def test_a_network_with_skips_is_not_taken_for_the_plain_one(tmp_path) -> None:
    network("fast-neural-style-residual-skips", tmp_path)
    assert sources.read(tmp_path / "net.pth").architecture == "fast-neural-style-residual-skips"


@pytest.mark.parametrize("goal", ["60%", "70% of gmac", "40 KB", "80% of ms on desktop", "2000 weights"])
def test_budgets_are_met_but_not_by_more_than_a_step(goal, tmp_path) -> None:
    style_checkpoint(tmp_path / "net.pth", (8, 12, 16), 1)
    source = sources.read(tmp_path / "net.pth")
    done = prune(source, parse(goal), PruneOptions("l2", refit=False, multiple=1))
    reported = done.report["goal"]
    assert 0.5 * reported["limit"] < reported["after"] <= reported["limit"] < reported["before"]
    assert done.report["weights"] == {"before": source.weights, "after": done.network.weights}


def test_a_goal_that_is_met_already_changes_nothing(tmp_path) -> None:
    source = sources.read(style_checkpoint(tmp_path / "net.pth"))
    assert prune(source, parse("100%"), PruneOptions("l2", refit=False)).network is source


def test_a_goal_out_of_reach_names_what_there_is(tmp_path) -> None:
    source = sources.read(style_checkpoint(tmp_path / "net.pth"))
    with pytest.raises(PipelineError, match=r"\[goal-out-of-reach\].*most pruned network"):
        prune(source, parse("10 weights"), PruneOptions("l2", refit=False))


@pytest.mark.parametrize("criterion", list(CRITERIA))
def test_every_criterion_ranks_every_channel(criterion, tmp_path) -> None:
    stored = prunable(sources.read(style_checkpoint(tmp_path / "net.pth")))
    pictures = [picture()]
    scores = importance(stored, criterion, pictures)
    assert [score.shape for score in scores] == [(group.width,) for group in stored.groups]
    assert all((score >= 0).all() and np.isfinite(score).all() for score in scores)
    again = importance(stored, criterion, pictures)
    assert all((a == b).all() for a, b in zip(scores, again, strict=True))


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"random", "geometric-median"}))
def test_a_channel_of_nothing_is_the_least_important(criterion, tmp_path) -> None:
    stored = prunable(sources.read(style_checkpoint(tmp_path / "net.pth")))
    for group in stored.groups:
        for name, axis, index in group.units[2].slots:
            np.moveaxis(stored.graph.tensors()[name].values, axis, 0)[index] = 0
    for group, score in zip(stored.groups, importance(stored, criterion, [picture()]), strict=True):
        assert score.argmin() == 2, group.name
        assert score[2] == pytest.approx(0, abs=1e-6)


def test_an_onnx_file_is_pruned_as_a_graph(tmp_path) -> None:
    source = sources.read(style_onnx(tmp_path / "net.onnx"))
    done = prune(source, parse("60%"), PruneOptions("ablation", multiple=1))
    save(done.network, tmp_path / "smaller.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "smaller.onnx"))
    again = sources.read(tmp_path / "smaller.onnx")
    assert again.weights == done.network.weights < source.weights
    assert sources.reference(again)(picture(1.0)).shape == (1, 3, 32, 40)


def test_a_graph_without_inner_channels_cannot_be_pruned(tmp_path) -> None:
    from tests.rewrites import model, node, random

    plain = model([node("Conv", "x w", "y", kernel_shape=[1, 1])], {"w": random((3, 3, 1, 1))})
    onnx.save(onnx.shape_inference.infer_shapes(plain), tmp_path / "a.onnx")
    with pytest.raises(PipelineError, match="cannot-prune"):
        prunable(sources.read(tmp_path / "a.onnx"))


def test_a_mask_is_named_as_what_it_is_worth(tmp_path) -> None:
    style_checkpoint(tmp_path / "net.pth")
    state = torch.load(tmp_path / "net.pth")
    for value in state.values():
        if value.ndim == 4:
            value[torch.rand(value.shape) < 0.5] = 0
    torch.save(state, tmp_path / "net.pth")
    done = prune(sources.read(tmp_path / "net.pth"), parse("80%"), PruneOptions("l2", refit=False))
    assert "do not make the network faster" in done.report["notes"][0]


@pytest.mark.parametrize(
    ("wish", "full", "multiple", "blocks", "wanted"),
    [
        (13, 32, 0, True, 16),
        (23, 32, 0, True, 16),
        (25, 32, 0, True, 32),
        (9, 32, 0, True, 8),
        (13, 32, 0, False, 12),
        (1, 9, 0, True, 4),
        (5, 9, 1, True, 5),
        (1, 3, 0, True, 1),
        (40, 128, 16, True, 32),
    ],
)
def test_widths_are_rounded_to_what_kernels_want(wish, full, multiple, blocks, wanted) -> None:
    assert fitting(wish, full, multiple, blocks) == wanted


def test_quantised_graphs_are_pruned_as_the_floats_that_they_stand_for(tmp_path) -> None:
    from tests.rewrites import model, node, random

    nodes = [
        node("DequantizeLinear", "q s", "w"),
        node("Conv", "x w", "c", kernel_shape=[1, 1]),
        node("Relu", "c", "r"),
        node("DequantizeLinear", "p s", "v"),
        node("Conv", "r v", "y", kernel_shape=[1, 1]),
    ]
    stored = {
        "q": (random((8, 3, 1, 1)) * 40).astype(np.int8),
        "p": (random((3, 8, 1, 1), 1) * 40).astype(np.int8),
        "s": np.float32(0.02),
    }
    quantised = onnx.shape_inference.infer_shapes(model(nodes, stored, opset=13))
    onnx.save(quantised, tmp_path / "q.onnx")
    source = sources.read(tmp_path / "q.onnx")
    result = prunable(source)
    assert [group.width for group in result.groups] == [8]
    save(result.pruned(result.groups[0].units[:3]), tmp_path / "smaller.onnx")
    assert sources.reference(sources.read(tmp_path / "smaller.onnx"))(random((1, 3, 12, 16))).shape[1] == 3
