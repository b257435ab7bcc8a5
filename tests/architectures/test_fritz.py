"""Fritz's Keras network in torch, with Keras' padding and keras_contrib's norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional as f

from pipeline.architectures import build, fritz, load, recognise
from pipeline.sources.tensors import StateDict


def tensors(params: dict[str, Any]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in fritz.shapes(params).items()}


@pytest.mark.parametrize(
    ("widths", "blocks", "count"),
    [
        ((32, 64, 128), 5, 1_677_638),
        ((16, 32, 64), 5, 424_102),
        ((8, 16, 32), 5, 108_374),
        ((9, 9, 9), 3, 11_868),
        ((32, 32, 32), 3, 108_422),
    ],
)
def test_the_published_parameter_counts_are_exact(widths: tuple[int, ...], blocks: int, count: int) -> None:
    module = build("fritz", {"widths": list(widths), "blocks": blocks})
    assert sum(p.numel() for p in module.parameters()) == count


@pytest.mark.parametrize(
    "params",
    [
        {"widths": [9, 9, 9], "blocks": 3},
        {"widths": [4, 6, 8], "blocks": 0},
        {"widths": [4, 6, 8], "blocks": 2, "decoder": [5, 7], "inner": [3, 4]},
    ],
)
def test_the_parameters_are_read_from_every_tensor(params: dict[str, Any]) -> None:
    found = recognise(StateDict(tensors(params), "keras-h5", "net.h5"))
    assert (found.name, found.params) == ("fritz", params)
    assert found.contract.input.value_range == found.contract.output.value_range == "0..255"


def keras(weights: dict[str, np.ndarray], blocks: int, x: torch.Tensor) -> torch.Tensor:
    """The same network written from the Keras documentation: TensorFlow's padding formula, float64."""

    def conv(i: int, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        kernel = torch.from_numpy(weights[f"conv{i}.weight"]).double()
        pads = []
        for size, k in ((x.shape[3], kernel.shape[3]), (x.shape[2], kernel.shape[2])):
            along = max(k - stride, 0) if size % stride == 0 else max(k - size % stride, 0)
            pads += [along // 2, along - along // 2]
        y = f.conv2d(f.pad(x, pads), kernel, stride=stride)
        mean, std = y.mean((2, 3), keepdim=True), y.std((2, 3), unbiased=False, keepdim=True)
        gamma = torch.from_numpy(weights[f"norm{i}.weight"]).double().view(1, -1, 1, 1)
        beta = torch.from_numpy(weights[f"norm{i}.bias"]).double().view(1, -1, 1, 1)
        return (y - mean) / (std + 1e-3) * gamma + beta

    def twice(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    x = conv(3, conv(2, conv(1, x.double()).relu(), 2).relu(), 2).relu()
    for block in range(blocks):
        x = x + conv(5 + 2 * block, conv(4 + 2 * block, x).relu())
    i = 4 + 2 * blocks
    x = conv(i + 1, twice(conv(i, twice(x)).relu())).relu()
    return (torch.tanh(conv(i + 2, x)) + 1) * 127.5


@pytest.mark.parametrize("size", [(32, 40), (36, 28), (33, 42), (31, 29)])
def test_the_module_computes_what_keras_computes_at_even_and_odd_sizes(size: tuple[int, int]) -> None:
    params = {"widths": [4, 6, 8], "blocks": 2}
    module = load(build("fritz", params), tensors(params))
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2)) * 255
    with torch.no_grad():
        output = module(x).double()
        expected = keras(tensors(params), 2, x)
    assert output.shape == expected.shape
    assert (output - expected).abs().max() < 0.01


@pytest.mark.parametrize(
    "params",
    [{"widths": [4, 6, 8], "blocks": 2}, {"widths": [9, 9, 9], "blocks": 0}, {"widths": [5, 3, 4], "blocks": 1}],
)
@pytest.mark.parametrize("size", [(32, 40), (36, 28)])
def test_the_graph_for_machines_without_torch_computes_what_the_module_does(params, size) -> None:
    from pipeline.graph.runtime import run, session

    module = load(build("fritz", params), tensors(params))
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2)) * 255
    with torch.no_grad():
        expected = module(x).numpy()
    graph = fritz.FAMILY.graph(params, tensors(params))
    onnx.checker.check_model(graph, full_check=True)
    assert np.abs(run(session(graph), x.numpy()) - expected).max() < 0.02


def test_the_norm_of_a_flat_channel_is_its_shift() -> None:
    params = {"widths": [4, 6, 8], "blocks": 0}
    module = build("fritz", params)
    norm = module.get_submodule("norm1")
    with torch.no_grad():
        norm.bias.fill_(0.25)
        flat = norm(torch.full((1, 4, 5, 5), 7.0))
    assert torch.equal(flat, torch.full((1, 4, 5, 5), 0.25))
