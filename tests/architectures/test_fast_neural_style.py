"""TransformerNet: recognised by every tensor, built as it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.architectures import build, fast_neural_style, load, recognise
from pipeline.sources.tensors import StateDict, read_state
from pipeline.support.errors import PipelineError


def state(params: dict[str, Any], layout: str = "res") -> StateDict:
    """A state dict with random values, in either layout of names."""
    random = np.random.default_rng(0)
    tensors = {}
    for name, shape in fast_neural_style.shapes(params).items():
        if layout == "resnets" and name.startswith("res"):
            index, _, rest = name[3:].partition(".")
            name = f"resnets.{int(index) - 1}.{rest}"
        tensors[name] = random.normal(0, 0.1, shape).astype(np.float32)
    return StateDict(tensors, "torch-zip", "net.pth")


def picture(height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize(
    ("widths", "count"), [((32, 64, 128), 1_679_235), ((16, 32, 64), 424_899), ((8, 16, 32), 108_771)]
)
def test_the_published_parameter_counts_are_exact(widths: tuple[int, ...], count: int) -> None:
    module = build("fast-neural-style", {"widths": list(widths), "blocks": 5})
    assert sum(p.numel() for p in module.parameters()) == count
    assert len(module.state_dict()) == 62


@pytest.mark.parametrize(
    "params",
    [
        {"widths": [8, 16, 32], "blocks": 5},
        {"widths": [4, 4, 4], "blocks": 2},
        {"widths": [4, 6, 8], "blocks": 0},
        {"widths": [4, 6, 8], "blocks": 3, "decoder": [10, 12]},
        {"widths": [4, 6, 8], "blocks": 2, "inner": [5, 7]},
        {"widths": [4, 6, 8], "blocks": 1, "kernels": [7, 3]},
        {"widths": [4, 6, 8], "blocks": 1, "channels": [3, 1]},
        {"widths": [4, 6, 8], "blocks": 2, "ranks": {"res1.conv1": 5, "res2.conv2": 3}},
        {"widths": [4, 6, 8], "blocks": 2, "inner": [5, 7], "ranks": {"res1.conv1": 2, "res1.conv2": 3}},
        {"widths": [4, 6, 8], "blocks": 1, "ranks": {"conv1": 2, "conv3": 4, "deconv1": 5, "deconv3": 2}},
    ],
)
def test_the_parameters_are_read_from_every_tensor(params: dict[str, Any]) -> None:
    found = recognise(state(params))
    assert (found.name, found.params) == ("fast-neural-style", params)
    module = load(build(found.name, found.params), found.tensors)
    with torch.no_grad():
        assert module(torch.rand(1, 3, 32, 40)).shape == (1, params.get("channels", [3, 3])[1], 32, 40)


def test_the_contract_is_0_to_255_rgb_and_says_where_it_comes_from() -> None:
    contract = recognise(state({"widths": [4, 6, 8], "blocks": 1})).contract
    assert (contract.input.value_range, contract.output.value_range) == ("0..255", "0..255")
    assert (contract.input.order, contract.size_multiple) == ("rgb", 4)
    assert set(contract.sources.values()) == {"architecture fast-neural-style"}


def test_running_statistics_of_old_checkpoints_are_dropped_and_noted() -> None:
    old = state({"widths": [4, 6, 8], "blocks": 2})
    for name in ("in1", "res1.in1", "in5"):
        old.tensors[f"{name}.running_mean"] = np.zeros(4, np.float32)
        old.tensors[f"{name}.running_var"] = np.ones(4, np.float32)
    found = recognise(old)
    assert found.name == "fast-neural-style"
    assert any("6 running statistics" in note for note in found.notes)


def test_the_resnets_layout_is_asked_for_with_what_distinguishes_the_choices() -> None:
    with pytest.raises(PipelineError) as caught:
        recognise(state({"widths": [4, 6, 8], "blocks": 5}, "resnets"))
    assert caught.value.code == "ambiguous-architecture"
    for name, additions in zip(fast_neural_style.NAMES, (5, 8, 13), strict=True):
        assert name in caught.value.remedy
        assert f"{additions} additions" in caught.value.remedy


def test_the_resnets_layout_is_decided_where_long_skips_do_not_fit() -> None:
    found = recognise(state({"widths": [4, 6, 8], "blocks": 2, "decoder": [6, 5]}, "resnets"))
    assert found.name == "fast-neural-style"
    assert "widths differ" in found.reason


def additions(module: torch.nn.Module) -> int:
    traced = torch.jit.trace(module, picture())
    return sum(node.kind() == "aten::add" for node in traced.inlined_graph.nodes())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "count"), list(zip(fast_neural_style.NAMES, (5, 8, 13), strict=True)))
def test_each_variant_has_its_additions_and_says_why_it_was_taken(name: str, count: int) -> None:
    found = recognise(state({"widths": [4, 6, 8], "blocks": 5}, "resnets"), name)
    assert found.name == name
    assert f"--architecture {name} was given" in found.reason
    assert additions(load(build(name, found.params), found.tensors)) == count


def test_the_variants_are_different_networks() -> None:
    outputs = []
    for name in fast_neural_style.NAMES:
        found = recognise(state({"widths": [4, 6, 8], "blocks": 2}, "resnets"), name)
        with torch.no_grad():
            outputs.append(load(build(name, found.params), found.tensors)(picture()))
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-2)
    assert not torch.allclose(outputs[1], outputs[2], atol=1e-2)


def test_the_choice_can_override_the_names_but_not_the_shapes() -> None:
    found = recognise(state({"widths": [4, 6, 8], "blocks": 2}), "fast-neural-style-skips")
    assert found.name == "fast-neural-style-skips"
    assert any("overrides" in note for note in found.notes)
    with pytest.raises(PipelineError) as caught:
        recognise(state({"widths": [4, 6, 8], "blocks": 2, "decoder": [6, 5]}), "fast-neural-style-skips")
    assert caught.value.code == "architecture-does-not-fit"


def test_the_plain_network_paints_what_its_authors_export_paints(shared_models: Path) -> None:
    import onnxruntime as ort

    folder = shared_models / "fast_neural_style"
    for stem in ("mosaic_nc8", "candy_nc16"):
        found = recognise(read_state(folder / f"{stem}.model"))
        session = ort.InferenceSession(folder / f"{stem}_128x128.onnx")
        x = picture(128, 128)
        (expected,) = session.run(None, {"input.1": x.numpy()})
        with torch.inference_mode():
            output = load(build(found.name, found.params), found.tensors)(x).numpy()
        assert np.abs(output - expected).max() <= 1e-2


def test_the_network_with_13_additions_paints_what_its_export_paints(shared_models: Path) -> None:
    import onnxruntime as ort

    found = recognise(read_state(shared_models / "cjmills/final.pth"), "fast-neural-style-residual-skips")
    x = picture(960, 540)
    (expected,) = ort.InferenceSession(shared_models / "cjmills/final.onnx").run(None, {"input.1": x.numpy()})
    module = load(build(found.name, found.params), found.tensors)
    with torch.inference_mode():
        assert np.abs(module(x).numpy() - expected).max() <= 1e-2
    plain = load(build("fast-neural-style", found.params), found.tensors)
    with torch.inference_mode():
        assert np.abs(plain(x).numpy() - expected).max() > 10
