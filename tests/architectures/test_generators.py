"""CycleGAN's and pix2pix's generators and ESRGAN's compact form: counts, names, and what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from pipeline.architectures import build, family_of, load, recognise
from pipeline.architectures.base import Recognised
from pipeline.sources.tensors import StateDict
from pipeline.support.errors import PipelineError


def tensors(name: str, params: dict[str, Any], seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    made = {}
    for key, shape in family_of(name).shapes(params).items():
        values = random.normal(0, 0.2, shape)
        made[key] = np.abs(values) + 0.5 if "running_var" in key else values
    return {
        key: np.asarray(value, np.int64 if key.endswith("tracked") else np.float32) for key, value in made.items()
    }


def recognised(held: dict[str, np.ndarray], name: str | None = None) -> Recognised:
    return recognise(StateDict(held, "torch-zip", "net.pth"), name)


def run(name: str, found: Recognised, picture: Tensor) -> Tensor:
    with torch.no_grad():
        return load(build(name, found.params), found.tensors)(picture)


PICTURE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.mark.parametrize(
    ("name", "params", "count"),
    [
        ("cyclegan", {"width": 64, "blocks": 6}, 7_837_699),
        ("cyclegan", {"width": 32, "blocks": 9}, 2_850_563),
        ("cyclegan", {"width": 8, "blocks": 6}, 124_931),
        ("pix2pix", {"width": 8, "levels": 8, "batch_norm": True}, 852_307),
        ("pix2pix", {"width": 16, "levels": 7, "batch_norm": True}, 2_617_507),
        ("pix2pix", {"width": 8, "levels": 7, "batch_norm": False}, 655_027),
        ("esrgan-compact", {"features": 64, "convolutions": 16, "scale": 4}, 621_424),
        ("esrgan-compact", {"features": 64, "convolutions": 32, "scale": 4}, 1_213_296),
        (
            "animegan2",
            {
                "widths": [32, 64, 64, 128, 128, 128, 128, 128, 128, 64, 64, 32],
                "inner": [256, 512, 512, 512],
                "outer": [256] * 4,
            },
            2_143_552,
        ),
    ],
)
def test_the_published_parameter_counts_are_exact(name: str, params: dict[str, Any], count: int) -> None:
    module = build(name, params)
    assert sum(p.numel() for p in module.parameters()) == count
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == family_of(name).shapes(
        params
    )


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("cyclegan", {"width": 4, "blocks": 2}),
        ("cyclegan", {"width": 4, "blocks": 3, "inputs": 1, "outputs": 1}),
        ("cyclegan", {"width": 6, "blocks": 1, "dropout": True}),
        ("pix2pix", {"width": 2, "levels": 5, "batch_norm": False}),
        ("pix2pix", {"width": 2, "levels": 7, "batch_norm": False, "outputs": 1}),
        ("esrgan-compact", {"features": 8, "convolutions": 3, "scale": 1}),
        ("esrgan-compact", {"features": 6, "convolutions": 0, "scale": 2}),
    ],
)
def test_the_parameters_are_read_from_the_tensors(name: str, params: dict[str, Any]) -> None:
    found = recognised(tensors(name, params))
    assert (found.name, found.params) == (name, params)
    assert found.contract.input.value_range == ("0..1" if name == "esrgan-compact" else "-1..1")
    assert found.contract.input.channels == params.get("inputs", 3)


def conv(held: dict[str, np.ndarray], name: str, x: Tensor, **more: Any) -> Tensor:
    bias = held.get(f"{name}.bias")
    return f.conv2d(
        x, torch.from_numpy(held[f"{name}.weight"]), None if bias is None else torch.from_numpy(bias), **more
    )


def up(held: dict[str, np.ndarray], name: str, x: Tensor, **more: Any) -> Tensor:
    bias = held.get(f"{name}.bias")
    kernel = torch.from_numpy(held[f"{name}.weight"])
    return f.conv_transpose2d(
        x, kernel, None if bias is None else torch.from_numpy(bias), stride=2, padding=1, **more
    )


def reflected(x: Tensor, side: int) -> Tensor:
    return f.pad(x, (side,) * 4, mode="reflect")


def test_cyclegan_is_what_its_layers_say_and_statistics_of_2018_are_left_out() -> None:
    params = {"width": 4, "blocks": 2}
    held = tensors("cyclegan", params)
    x = f.relu(f.instance_norm(conv(held, "model.1", reflected(PICTURE, 3))))
    for index in (4, 7):
        x = f.relu(f.instance_norm(conv(held, f"model.{index}", x, stride=2, padding=1)))
    for index in (10, 11):
        y = f.relu(f.instance_norm(conv(held, f"model.{index}.conv_block.1", reflected(x, 1))))
        x = x + f.instance_norm(conv(held, f"model.{index}.conv_block.5", reflected(y, 1)))
    for index in (12, 15):
        x = f.relu(f.instance_norm(up(held, f"model.{index}", x, output_padding=1)))
    wanted = torch.tanh(conv(held, "model.19", reflected(x, 3)))
    old = dict(held)
    for index, channels in ((2, 4), (5, 8), (8, 16), (13, 8)):
        old[f"model.{index}.running_mean"] = np.full(channels, 9, np.float32)
        old[f"model.{index}.running_var"] = np.full(channels, 9, np.float32)
    for source in (held, old):
        found = recognised(source)
        torch.testing.assert_close(run("cyclegan", found, PICTURE), wanted, atol=1e-4, rtol=1e-4)
    assert "8 running statistics of instance norm are ignored" in found.notes[0]


@pytest.mark.parametrize("batch", [True, False])
def test_pix2pix_is_what_its_layers_say_with_either_statistics(batch: bool) -> None:
    params = {"width": 2, "levels": 5, "batch_norm": batch}
    held = tensors("pix2pix", params)

    def norm(name: str, x: Tensor, picture: bool) -> Tensor:
        if not batch:
            return f.instance_norm(x)
        parts = [
            torch.from_numpy(held[f"{name}.{key}"]) for key in ("running_mean", "running_var", "weight", "bias")
        ]
        return f.batch_norm(x, *([None, None] if picture else parts[:2]), *parts[2:], training=picture)

    def level(number: int, x: Tensor, picture: bool) -> Tensor:
        inside = "model.model.1" + ".model.3" * (number - 2) + ".model"
        y = conv(held, f"{inside}.1", f.leaky_relu(x, 0.2), stride=2, padding=1)
        if number == 5:
            return torch.cat([x, norm(f"{inside}.4", up(held, f"{inside}.3", f.relu(y)), picture)], 1)
        y = level(number + 1, norm(f"{inside}.2", y, picture), picture)
        return torch.cat([x, norm(f"{inside}.6", up(held, f"{inside}.5", f.relu(y)), picture)], 1)

    for name in ("pix2pix", "pix2pix-picture") if batch else ("pix2pix",):
        x = level(2, conv(held, "model.model.0", PICTURE, stride=2, padding=1), name == "pix2pix-picture")
        wanted = torch.tanh(up(held, "model.model.3", f.relu(x)))
        found = recognised(held, name)
        torch.testing.assert_close(run(name, found, PICTURE), wanted, atol=1e-4, rtol=1e-4)
        assert found.contract.size_multiple == 32
    if batch:
        with pytest.raises(PipelineError, match=r"ambiguous-architecture.*pix2pix-picture"):
            recognised(held)


@pytest.mark.parametrize("scale", [1, 3])
def test_the_compact_form_adds_the_enlarged_picture(scale: int) -> None:
    held = tensors("esrgan-compact", {"features": 5, "convolutions": 1, "scale": scale})
    x = PICTURE
    for number in (0, 2):
        x = f.prelu(
            conv(held, f"body.{number}", x, padding=1), torch.from_numpy(held[f"body.{number + 1}.weight"])
        )
    made = conv(held, "body.4", x, padding=1).reshape(1, 3, scale, scale, 64, 96)
    made = made.permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 64 * scale, 96 * scale)
    wanted = made + PICTURE.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(run("esrgan-compact", recognised(held), PICTURE), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["animegan2", "animegan2-aligned"])
def test_animegan_is_what_its_layers_say_either_way_of_enlarging(name: str) -> None:
    params = {"widths": [4, 6, 6, 8, 8, 7, 8, 6, 6, 5, 5, 4], "inner": [6, 10, 10, 10], "outer": [9, 9, 9, 9]}
    held = tensors("animegan2", params)

    def normed(place: str, x: Tensor) -> Tensor:
        return f.group_norm(x, 1, *(torch.from_numpy(held[f"{place}.{part}"]) for part in ("weight", "bias")))

    def unit(place: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        side = held[f"{place}.1.weight"].shape[2] // 2
        padded = f.pad(x, (0, 1, 0, 1) if stride == 2 else (side,) * 4, mode="reflect")
        return f.leaky_relu(
            normed(f"{place}.2", conv(held, f"{place}.1", padded, stride=stride, groups=groups)), 0.2
        )

    def enlarged(x: Tensor) -> Tensor:
        size = [2 * side for side in x.shape[2:]]
        return f.interpolate(x, size=size, mode="bilinear", align_corners=name.endswith("aligned"))

    x = PICTURE
    for place in ("block_a.0", "block_a.1", "block_a.2", "block_b.0", "block_b.1", "block_c.0"):
        x = unit(place, x, 2 if place in ("block_a.1", "block_b.0") else 1)
    for number in range(1, 5):
        inside = f"block_c.{number}.layers"
        y = unit(f"{inside}.0", x)
        y = unit(f"{inside}.1", y, groups=y.shape[1])
        y = normed(f"{inside}.3", conv(held, f"{inside}.2", y))
        x = x + y if x.shape == y.shape else y
    x = enlarged(unit("block_c.5", x))
    x = enlarged(unit("block_d.1", unit("block_d.0", x)))
    for number in range(3):
        x = unit(f"block_e.{number}", x)
    wanted = torch.tanh(conv(held, "out_layer.0", x))
    found = recognised(held, name)
    assert found.params == params
    torch.testing.assert_close(run(name, found, PICTURE), wanted, atol=1e-4, rtol=1e-4)
    with pytest.raises(PipelineError, match=r"ambiguous-architecture.*animegan2-aligned"):
        recognised(held)
