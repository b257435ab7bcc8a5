"""The whole ordered sequence: `lower` on what exporters write, and on real files."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections import Counter

import numpy as np
import onnx
import pytest

from pipeline import targets
from pipeline.graph import from_model, to_model
from pipeline.rewrites import FINISHING, REWRITES, lower
from pipeline.support.errors import PipelineError
from pipeline.targets.barracuda.dialect import write
from tests.rewrites import assert_equivalent, model, node, operators, random

TARGETS = [targets.get(name) for name in ("barracuda-1.0", "barracuda-2.0", "barracuda-3.0")]


def names_of(targets_):
    return [target.name for target in targets_]


def test_every_rewrite_has_a_name_of_its_own_and_says_what_it_removes():
    names = [rewrite.name for rewrite in (*REWRITES, *FINISHING)]
    assert len(names) == len(set(names))
    for rewrite in (*REWRITES, *FINISHING):
        assert rewrite.summary
        assert bool(rewrite.removes) != bool(rewrite.reason)


def test_a_rewrite_can_be_skipped_by_name_and_an_unknown_name_is_refused():
    source = model([node("Softplus", "x", "y")])
    graph = from_model(source)
    lower(graph, TARGETS[2], skip=["activations"])
    assert operators(graph) == ["Softplus"]
    with pytest.raises(PipelineError) as caught:
        lower(graph, TARGETS[2], skip=["activation"])
    assert caught.value.code == "unknown-rewrite"


def style_network():
    import torch
    from torch import nn

    torch.manual_seed(0)

    def block(given, made, size, stride=1):
        pad = nn.ReflectionPad2d(size // 2)
        return [pad, nn.Conv2d(given, made, size, stride), nn.InstanceNorm2d(made, affine=True, eps=1e-3)]

    network = nn.Sequential(
        *block(3, 4, 9),
        nn.ReLU(),
        *block(4, 6, 3, 2),
        nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="nearest"),
        *block(6, 4, 3),
        nn.ReLU(),
        nn.ReflectionPad2d(4),
        nn.Conv2d(4, 3, 9),
    )
    with torch.no_grad():
        for part in network:
            if isinstance(part, nn.InstanceNorm2d):
                part.weight.normal_(1.0, 0.3)
                part.bias.normal_()
    return network.eval()


def exported(network, opset, dynamic=False):
    import torch

    written = io.BytesIO()
    axes = {"x": {2: "h", 3: "w"}} if dynamic else None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 16, 24),),
            written,
            opset_version=opset,
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
        )
    return onnx.load_from_string(written.getvalue())


@pytest.fixture(scope="module")
def network():
    return style_network()


@pytest.mark.parametrize("opset", [9, 10, 11, 13, 17, 18])
@pytest.mark.parametrize("dynamic", [False, True])
def test_the_style_network_is_the_same_graph_from_every_opset(network, opset, dynamic):
    source = exported(network, opset, dynamic)
    built = []
    for target in TARGETS:
        graph = from_model(source)
        result = lower(graph, target)
        assert not result.refusals
        built.append(Counter(operators(graph)))
    assert built == [Counter(Pad=4, Conv=4, InstanceNormalization=3, Relu=3, Resize=1)] * 3
    assert write(graph).opset_import[0].version == 9
    assert_equivalent(source, graph, sizes=((16, 24), (32, 20)), tolerance=1e-5)


@pytest.mark.parametrize("target", TARGETS, ids=names_of(TARGETS))
def test_lowering_a_lowered_graph_changes_nothing(network, target):
    graph = from_model(exported(network, 13))
    lower(graph, target)
    first = write(graph)
    again = from_model(first)
    assert not lower(again, target).edits
    assert write(again).SerializeToString(deterministic=True) == first.SerializeToString(deterministic=True)


def test_lowering_is_deterministic(network):
    source = exported(network, 13)
    written = set()
    for _ in range(2):
        graph = from_model(copy.deepcopy(source))
        lower(graph, TARGETS[0])
        written.add(to_model(graph).SerializeToString(deterministic=True))
    assert len(written) == 1


def test_new_nodes_are_named_after_the_old_one_and_the_rewrite():
    graph = from_model(model([node("HardSwish", "x", "y")], opset=14))
    lower(graph, TARGETS[0])
    assert all(item.name.startswith("y_node/activations/") for item in graph.nodes)


@pytest.mark.parametrize("target", TARGETS, ids=names_of(TARGETS))
def test_rewrites_of_several_families_work_together(target):
    nodes = [
        node("Pad", "x p", "a", mode="reflect"),
        node("Conv", "a w", "b"),
        node("Concat", "b b", "c", axis=-3),
        node("InstanceNormalization", "c scale bias", "d"),
        node("HardSwish", "d", "e"),
        node("Resize", "e - k", "f", mode="cubic"),
        node("Split", "f halves", "g h", axis=1),
        node("Sigmoid", "h", "i"),
        node("Mul", "g i", "j"),
        node("ReduceMean", "j", "m", axes=[-1, -2], keepdims=1),
        node("Sub", "j m", "n"),
        node("Add", "n half", "o"),
        node("Conv", "o w2", "q", pads=[1, 1, 1, 1]),
        node("Clip", "q zero one", "y"),
    ]
    constants = {
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "w": random((4, 3, 3, 3), 1),
        "scale": random((8,), 2),
        "bias": random((8,), 3),
        "k": np.array([1, 1, 2, 2], np.float32),
        "halves": np.array([4, 4]),
        "half": 0.5,
        "w2": random((3, 4, 3, 3), 4, scale=0.1),
        "zero": 0.0,
        "one": 1.0,
    }
    source = model(nodes, constants, opset=14, input_shape=(1, 3, "h", "w"))
    graph = from_model(source)
    result = lower(graph, target)
    assert not result.refusals
    assert all(target.accepts(operator) for operator in operators(graph))
    assert_equivalent(source, graph, tolerance=1e-5)


REAL = [
    "cjmills/12_small.onnx",
    "cjmills/final.onnx",
    "fewshot/model_00001.synthetic.opset9.onnx",
    "fritz/starry_night_small_a03.converted.onnx",
    "other/super_resolution.onnx",
]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("target", TARGETS, ids=names_of(TARGETS))
def test_real_networks_compute_the_same_after_lowering(shared_models, name, target):
    source = onnx.load(shared_models / name)
    graph = from_model(source)
    result = lower(graph, target)
    assert not result.refusals
    assert all(target.accepts(operator) for operator in operators(graph))
    fixed = name.startswith("other")
    sizes = [(224, 224)] if fixed else [(32, 48), (64, 40)]
    assert_equivalent(source, graph, sizes=sizes, low=0, high=1, tolerance=1e-4)
