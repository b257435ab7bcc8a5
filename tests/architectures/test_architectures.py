"""Recognition: the nearest network and the first difference are named."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Any

import numpy as np
import pytest

from pipeline import architectures
from pipeline.architectures import FAMILIES, build, fast_neural_style, few_shot, load, names, recognise
from pipeline.architectures.base import Family
from pipeline.sources.tensors import StateDict
from pipeline.support.errors import MissingDependency, PipelineError

PARAMS = {"widths": [4, 6, 8], "blocks": 2}


def state(shapes: dict[str, tuple[int, ...]]) -> StateDict:
    return StateDict({k: np.zeros(s, np.float32) for k, s in shapes.items()}, "torch-zip", "net.pth")


def error_of(shapes: dict[str, tuple[int, ...]], name: str | None = None) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        recognise(state(shapes), name)
    return caught.value


def test_the_first_tensor_of_another_shape_is_named() -> None:
    shapes = fast_neural_style.shapes(PARAMS)
    shapes["res2.conv1.conv2d.weight"] = (8, 8, 5, 5)
    error = error_of(shapes)
    assert error.code == "unknown-architecture"
    assert "is fast-neural-style (" in error.message
    assert "'res2.conv1.conv2d.weight' has the shape [8, 8, 5, 5] instead of [8, 8, 3, 3]" in error.message


def test_a_near_miss_of_a_name_is_shown() -> None:
    shapes = fast_neural_style.shapes(PARAMS)
    shapes["deconv1.conv2D.weight"] = shapes.pop("deconv1.conv2d.weight")
    error = error_of(shapes)
    assert "'deconv1.conv2d.weight' of shape [6, 8, 3, 3] is missing" in error.message
    assert "the file has 'deconv1.conv2D.weight'" in error.message


def test_a_tensor_too_many_is_named() -> None:
    shapes = fast_neural_style.shapes(PARAMS) | {"attention.weight": (8, 8)}
    assert "it has no tensor 'attention.weight' of shape [8, 8]" in error_of(shapes).message


def test_a_changed_few_shot_network_finds_its_own_family() -> None:
    params: dict[str, Any] = {
        "filters": [4, 6, 8, 8, 10, 12],
        "resnet_blocks": 2,
        "input_channels": 3,
        "use_bias": True,
        "tanh": True,
        "append_smoothers": False,
        "batch_norm": True,
    }
    shapes = few_shot.shapes(params)
    del shapes["upconv1.1.weight"]
    error = error_of(shapes)
    assert "is few-shot (" in error.message
    assert "'upconv1.1.weight'" in error.message


@pytest.mark.parametrize("shapes", [{}, {"fc.weight": (10, 10)}, {"conv1.conv2d.weight": (4,)}])
def test_anything_else_is_unknown_with_the_way_out(shapes: dict[str, tuple[int, ...]]) -> None:
    error = error_of(shapes)
    assert error.code == "unknown-architecture"
    assert "package.module:factory" in error.remedy


def test_a_named_architecture_that_does_not_fit_says_where() -> None:
    error = error_of(fast_neural_style.shapes(PARAMS), "few-shot")
    assert error.code == "architecture-does-not-fit"
    assert "conv0.conv.weight" in error.message


def test_a_mistyped_architecture_gets_a_suggestion() -> None:
    error = error_of(fast_neural_style.shapes(PARAMS), "fast-neural-stile")
    assert error.code == "unknown-architecture-name"
    assert "Did you mean fast-neural-style?" in error.remedy
    assert all(name in error.remedy for name in names())


def test_loading_is_strict() -> None:
    module = build("fast-neural-style", PARAMS)
    tensors = state(fast_neural_style.shapes(PARAMS)).tensors
    del tensors["in5.bias"]
    with pytest.raises(PipelineError, match=r"'in5\.bias' of shape \[4\] is missing") as caught:
        load(module, tensors, "net.pth")
    assert caught.value.code == "weights-do-not-fit"


def test_without_torch_recognition_works_and_building_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = recognise(state(fast_neural_style.shapes(PARAMS)))
    assert found.params == PARAMS
    with pytest.raises(MissingDependency) as caught:
        build(found.name, found.params)
    assert caught.value.code == "missing-dependency"
    assert "pip install torch" in caught.value.remedy


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.variants[0].name)
def test_each_family_is_built_recognised_and_loaded_from_its_own_tensors(family) -> None:
    params = family.infer({})
    shapes = family.shapes(params)
    for name in family.choose(params, shapes, {}).names if family.module is not None else ():
        module = build(name, params)
        weights = {key: value.numpy() for key, value in module.state_dict().items()}
        assert {key: value.shape for key, value in weights.items()} == shapes, name
        found = recognise(StateDict(weights, "torch-zip", "net.pth"), name)
        assert (found.name, found.params) == (name, params)
        load(module, found.tensors)


def test_every_architecture_is_listed() -> None:
    defined = [
        value
        for info in pkgutil.iter_modules(architectures.__path__, "pipeline.architectures.")
        for value in vars(importlib.import_module(info.name)).values()
        if isinstance(value, Family)
    ]
    assert len(defined) >= len(FAMILIES) and all(any(value is family for family in FAMILIES) for value in defined)
