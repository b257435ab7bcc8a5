"""GeneratorJ: everything inferred from its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.architectures import build, few_shot, load, recognise
from pipeline.sources.tensors import StateDict, read_state
from pipeline.support.errors import PipelineError

REFERENCE = {
    "filters": [32, 64, 128, 128, 128, 64],
    "resnet_blocks": 7,
    "input_channels": 3,
    "use_bias": True,
    "tanh": True,
    "append_smoothers": True,
    "batch_norm": True,
}
SMALL = REFERENCE | {"filters": [4, 6, 8, 8, 10, 12], "resnet_blocks": 2}


def state(params: dict[str, Any], classes: dict[str, str] | None = None) -> StateDict:
    random = np.random.default_rng(0)
    tensors = {}
    for name, shape in few_shot.shapes(params).items():
        low = 0.5 if name.endswith("running_var") else -0.3
        tensors[name] = random.uniform(low, 1.0, shape).astype(np.float32)
    return StateDict(tensors, "torch-zip", "net.pth", classes=classes or {})


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 3_267_523),
        ({"resnet_blocks": 4}, 2_381_251),
        ({"resnet_blocks": 4, "filters": [8, 16, 32, 32, 32, 16]}, 152_179),
    ],
)
def test_the_published_parameter_counts_are_exact(changes: dict[str, Any], count: int) -> None:
    module = build("few-shot", REFERENCE | changes)
    assert sum(p.numel() for p in module.parameters()) == count


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tanh": False},
        {"append_smoothers": False},
        {"use_bias": False},
        {"input_channels": 6},
        {"resnet_blocks": 0},
        {"tanh": False, "append_smoothers": False, "use_bias": False},
    ],
)
def test_every_option_is_inferred_and_builds(changes: dict[str, Any]) -> None:
    params = SMALL | changes
    found = recognise(state(params))
    assert (found.name, found.params) == ("few-shot", params)
    assert found.contract.input.value_range == found.contract.output.value_range == "-1..1"
    assert found.contract.input.channels == params["input_channels"]
    module = load(build(found.name, found.params), found.tensors)
    with torch.no_grad():
        output = module(torch.rand(1, params["input_channels"], 16, 24))
    assert output.shape == (1, 3, 16, 24)
    if params["tanh"]:
        assert output.abs().max() <= 1


def test_batch_norm_uses_the_statistics_of_the_file() -> None:
    found = recognise(state(SMALL))
    module = load(build(found.name, found.params), found.tensors)
    assert not module.training
    assert np.array_equal(
        module.state_dict()["conv0.normalization.running_var"].numpy(),
        state(SMALL).tensors["conv0.normalization.running_var"],
    )
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        alone, beside = module(x), module(torch.cat((x, 5 * x)))[:1]
    assert torch.allclose(alone, beside, atol=1e-5)


def test_without_batch_norm_the_norm_is_asked_for() -> None:
    params = SMALL | {"batch_norm": False}
    with pytest.raises(PipelineError) as caught:
        recognise(state(params))
    assert caught.value.code == "ambiguous-architecture"
    assert "few-shot-instance-norm" in caught.value.remedy
    assert "few-shot-no-norm" in caught.value.remedy


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        ({"": "models.GeneratorJ"}, "few-shot-no-norm"),
        (
            {"": "models.GeneratorJ", "conv0.normalization": "torch.nn.modules.instancenorm.InstanceNorm2d"},
            "few-shot-instance-norm",
        ),
    ],
)
def test_without_batch_norm_a_whole_modules_class_names_tell(classes: dict[str, str], name: str) -> None:
    found = recognise(state(SMALL | {"batch_norm": False}, classes))
    assert found.name == name
    module = load(build(found.name, found.params), found.tensors)
    norms = sum(isinstance(m, torch.nn.InstanceNorm2d) for m in module.modules())
    assert norms == (7 if name.endswith("instance-norm") else 0)


def test_the_counters_of_batch_norm_are_not_needed() -> None:
    with_counters = state(SMALL)
    with_counters.tensors["conv0.normalization.num_batches_tracked"] = np.array(7)
    found = recognise(with_counters)
    assert found.weights == recognise(state(SMALL)).weights


def test_the_real_pickle_and_state_dict_paint_what_the_export_paints(shared_models: Path) -> None:
    import onnxruntime as ort

    folder = shared_models / "fewshot"
    session = ort.InferenceSession(folder / "model_00001.synthetic.opset9.onnx")
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 256, 256)).astype(np.float32)
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    for name in ("model_00001.synthetic.pth", "model_00001.synthetic.state_dict.pth"):
        found = recognise(read_state(folder / name))
        assert found.weights == 152_179
        with torch.inference_mode():
            output = load(build(found.name, found.params), found.tensors)(torch.from_numpy(x)).numpy()
        assert np.abs(output - expected).max() * 127.5 <= 1e-2
