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
    result = {}
    for key, shape in family_of(name).shapes(params).items():
        values = random.normal(0, 0.2, shape)
        result[key] = np.abs(values) + 0.5 if "running_var" in key else values
    return {
        key: np.asarray(value, np.int64 if key.endswith("tracked") else np.float32)
        for key, value in result.items()
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
        ("cut", {"width": 64, "blocks": 9, "blurs_down": True, "blurs_up": True}, 11_378_179),
        ("rrmina", {"widths": [32, 64, 128], "blocks": 5, "inner": 0}, 1_679_235),
        ("rrmina-resnext", {"widths": [32, 64, 128], "blocks": 5, "inner": 64}, 470_915),
        ("rrmina-resnext", {"widths": [32, 32, 32], "blocks": 3, "inner": 16}, 63_459),
        ("rrmina-resnext", {"widths": [9, 9, 9], "blocks": 3, "inner": 4}, 8_229),
        ("mobilenet-style", {"widths": [32, 64, 128], "blocks": 5, "expansion": 1}, 239_456),
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
        ("cut", {"width": 4, "blocks": 2, "blurs_down": True, "blurs_up": True}),
        ("cut", {"width": 4, "blocks": 1, "blurs_down": True, "outputs": 1}),
        ("cut", {"width": 4, "blocks": 3, "blurs_up": True}),
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
    weights = tensors("cyclegan", params)
    x = f.relu(f.instance_norm(conv(weights, "model.1", reflected(PICTURE, 3))))
    for index in (4, 7):
        x = f.relu(f.instance_norm(conv(weights, f"model.{index}", x, stride=2, padding=1)))
    for index in (10, 11):
        y = f.relu(f.instance_norm(conv(weights, f"model.{index}.conv_block.1", reflected(x, 1))))
        x = x + f.instance_norm(conv(weights, f"model.{index}.conv_block.5", reflected(y, 1)))
    for index in (12, 15):
        x = f.relu(f.instance_norm(up(weights, f"model.{index}", x, output_padding=1)))
    expected = torch.tanh(conv(weights, "model.19", reflected(x, 3)))
    old = dict(weights)
    for index, channels in ((2, 4), (5, 8), (8, 16), (13, 8)):
        old[f"model.{index}.running_mean"] = np.full(channels, 9, np.float32)
        old[f"model.{index}.running_var"] = np.full(channels, 9, np.float32)
    for source in (weights, old):
        found = recognised(source)
        torch.testing.assert_close(run("cyclegan", found, PICTURE), expected, atol=1e-4, rtol=1e-4)
    assert "8 running statistics of instance norm are ignored" in found.notes[0]


@pytest.mark.parametrize("batch", [True, False])
def test_pix2pix_is_what_its_layers_say_with_either_statistics(batch: bool) -> None:
    params = {"width": 2, "levels": 5, "batch_norm": batch}
    weights = tensors("pix2pix", params)

    def norm(name: str, x: Tensor, picture: bool) -> Tensor:
        if not batch:
            return f.instance_norm(x)
        parts = [
            torch.from_numpy(weights[f"{name}.{key}"]) for key in ("running_mean", "running_var", "weight", "bias")
        ]
        return f.batch_norm(x, *([None, None] if picture else parts[:2]), *parts[2:], training=picture)

    def level(number: int, x: Tensor, picture: bool) -> Tensor:
        inside = "model.model.1" + ".model.3" * (number - 2) + ".model"
        y = conv(weights, f"{inside}.1", f.leaky_relu(x, 0.2), stride=2, padding=1)
        if number == 5:
            return torch.cat([x, norm(f"{inside}.4", up(weights, f"{inside}.3", f.relu(y)), picture)], 1)
        y = level(number + 1, norm(f"{inside}.2", y, picture), picture)
        return torch.cat([x, norm(f"{inside}.6", up(weights, f"{inside}.5", f.relu(y)), picture)], 1)

    for name in ("pix2pix", "pix2pix-picture") if batch else ("pix2pix",):
        x = level(2, conv(weights, "model.model.0", PICTURE, stride=2, padding=1), name == "pix2pix-picture")
        expected = torch.tanh(up(weights, "model.model.3", f.relu(x)))
        found = recognised(weights, name)
        torch.testing.assert_close(run(name, found, PICTURE), expected, atol=1e-4, rtol=1e-4)
        assert found.contract.size_multiple == 32
    if batch:
        with pytest.raises(PipelineError, match=r"ambiguous-architecture.*pix2pix-picture"):
            recognised(weights)


@pytest.mark.parametrize("scale", [1, 3])
def test_the_compact_form_adds_the_enlarged_picture(scale: int) -> None:
    weights = tensors("esrgan-compact", {"features": 5, "convolutions": 1, "scale": scale})
    x = PICTURE
    for number in (0, 2):
        x = f.prelu(
            conv(weights, f"body.{number}", x, padding=1), torch.from_numpy(weights[f"body.{number + 1}.weight"])
        )
    result = conv(weights, "body.4", x, padding=1).reshape(1, 3, scale, scale, 64, 96)
    result = result.permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 64 * scale, 96 * scale)
    expected = result + PICTURE.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(run("esrgan-compact", recognised(weights), PICTURE), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["animegan2", "animegan2-aligned"])
def test_animegan_is_what_its_layers_say_either_way_of_enlarging(name: str) -> None:
    params = {"widths": [4, 6, 6, 8, 8, 7, 8, 6, 6, 5, 5, 4], "inner": [6, 10, 10, 10], "outer": [9, 9, 9, 9]}
    weights = tensors("animegan2", params)

    def normed(place: str, x: Tensor) -> Tensor:
        return f.group_norm(x, 1, *(torch.from_numpy(weights[f"{place}.{part}"]) for part in ("weight", "bias")))

    def unit(place: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        side = weights[f"{place}.1.weight"].shape[2] // 2
        padded = f.pad(x, (0, 1, 0, 1) if stride == 2 else (side,) * 4, mode="reflect")
        return f.leaky_relu(
            normed(f"{place}.2", conv(weights, f"{place}.1", padded, stride=stride, groups=groups)), 0.2
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
        y = normed(f"{inside}.3", conv(weights, f"{inside}.2", y))
        x = x + y if x.shape == y.shape else y
    x = enlarged(unit("block_c.5", x))
    x = enlarged(unit("block_d.1", unit("block_d.0", x)))
    for number in range(3):
        x = unit(f"block_e.{number}", x)
    expected = torch.tanh(conv(weights, "out_layer.0", x))
    found = recognised(weights, name)
    assert found.params == params
    torch.testing.assert_close(run(name, found, PICTURE), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(PipelineError, match=r"ambiguous-architecture.*animegan2-aligned"):
        recognised(weights)


def cut_filters(width: int, blocks: int) -> dict[str, np.ndarray]:
    """The fixed filters as CUT's files hold them."""
    down, up = (
        np.outer(row, row) / gain for row, gain in ((np.array([1, 2, 1]), 16), (np.array([1, 3, 3, 1]), 16))
    )
    places = {"7": (down, 2), "11": (down, 4), str(12 + blocks): (up, 4), str(16 + blocks): (up, 2)}
    return {
        f"model.{at}.filt": np.tile(values.astype(np.float32), (factor * width, 1, 1, 1))
        for at, (values, factor) in places.items()
    }


def test_the_filters_of_cut_are_what_its_generator_does() -> None:
    params = {"width": 4, "blocks": 1, "blurs_down": True, "blurs_up": True}
    weights = tensors("cut", params) | cut_filters(4, 1)
    found = recognised(weights)
    assert (found.name, found.params) == ("cut", params) and not any("filt" in key for key in found.tensors)
    t = {key: torch.from_numpy(value) for key, value in weights.items()}

    def conv(x: Tensor, at: int) -> Tensor:
        y = f.conv2d(x, t[f"model.{at}.weight"], t[f"model.{at}.bias"], padding=1)
        return f.relu(f.instance_norm(y))

    x = f.conv2d(f.pad(PICTURE, (3,) * 4, mode="reflect"), t["model.1.weight"], t["model.1.bias"])
    x = f.relu(f.instance_norm(x))
    for at in (4, 8):
        x = f.pad(conv(x, at), (1,) * 4, mode="reflect")
        x = f.conv2d(x, t[f"model.{7 if at == 4 else 11}.filt"], stride=2, groups=x.shape[1])
    y = x
    for at in (1, 5):
        name = f"model.12.conv_block.{at}"
        y = f.conv2d(f.pad(y, (1,) * 4, mode="reflect"), t[f"{name}.weight"], t[f"{name}.bias"])
        y = f.relu(f.instance_norm(y)) if at == 1 else f.instance_norm(y)
    x = x + y
    for at in (13, 17):
        x = f.pad(x, (1,) * 4, mode="replicate")
        x = f.conv_transpose2d(x, t[f"model.{at}.filt"], stride=2, padding=2, groups=x.shape[1])
        x = conv(x[:, :, 1:-1, 1:-1], at + 1)
    x = f.conv2d(f.pad(x, (3,) * 4, mode="reflect"), t["model.22.weight"], t["model.22.bias"])
    torch.testing.assert_close(run("cut", found, PICTURE), torch.tanh(x), atol=2e-4, rtol=0)

    # Readers take off what all names begin with.
    bare = {key.removeprefix("model."): value for key, value in weights.items()}
    assert recognised(bare).params == params
    weights["model.7.filt"] = weights["model.7.filt"] * 2
    with pytest.raises(PipelineError, match="unknown-architecture"):
        recognised(weights)


def test_rrmina_s_networks_are_distinguished_by_what_the_file_lists_first() -> None:
    plain = {"widths": [4, 5, 6], "blocks": 2, "inner": 0}
    weights = tensors("rrmina", plain)
    with pytest.raises(PipelineError, match="rrmina-tanh") as caught:
        recognised(weights)
    assert caught.value.code == "ambiguous-architecture"
    picture = (PICTURE + 1) * 127.5
    output = {name: run(name, recognised(weights, name), picture) for name in ("rrmina", "rrmina-tanh")}
    torch.testing.assert_close(torch.tanh(output["rrmina"]) * 150, output["rrmina-tanh"])
    found = recognised(weights, "rrmina")
    assert found.contract.input.order == found.contract.output.order == "bgr"
    t = {key: torch.from_numpy(value) for key, value in weights.items()}

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = t[f"{name}.conv_layer.weight"]
        y = f.conv2d(
            f.pad(x, (weight.shape[3] // 2,) * 4, mode="reflect"), weight, t[f"{name}.conv_layer.bias"], stride
        )
        if f"{name}.norm_layer.weight" not in t:
            return y
        return f.instance_norm(y, weight=t[f"{name}.norm_layer.weight"], bias=t[f"{name}.norm_layer.bias"])

    x = picture
    for at, stride in ((0, 1), (2, 2), (4, 2)):
        x = f.relu(unit(x, f"ConvBlock.{at}", stride))
    for block in range(2):
        x = x + unit(f.relu(unit(x, f"ResidualBlock.{block}.conv1")), f"ResidualBlock.{block}.conv2")
    for at in (0, 2):
        name = f"DeconvBlock.{at}"
        x = f.conv_transpose2d(
            x, t[f"{name}.conv_transpose.weight"], t[f"{name}.conv_transpose.bias"], 2, 1, output_padding=1
        )
        x = f.relu(f.instance_norm(x, weight=t[f"{name}.norm_layer.weight"], bias=t[f"{name}.norm_layer.bias"]))
    torch.testing.assert_close(output["rrmina"], unit(x, "DeconvBlock.4"), atol=2e-3, rtol=1e-4)

    before = {"widths": [4, 5, 6], "blocks": 1, "inner": 0, "norm_first": True}
    found = recognised(tensors("rrmina-preactivation", before))
    assert (found.name, found.params) == ("rrmina-preactivation", before)
    assert run(found.name, found, picture).shape == picture.shape
    bottlenecks = {"widths": [4, 5, 6], "blocks": 2, "inner": 3}
    found = recognised(tensors("rrmina-resnext", bottlenecks))
    assert (found.name, found.params) == ("rrmina-resnext", bottlenecks)


def test_the_mobile_network_is_recognised_and_adds_only_where_it_fits() -> None:
    params = {"widths": [4, 6, 8], "blocks": 2, "expansion": 2}
    weights = tensors("mobilenet-style", params)
    found = recognised(weights)
    assert (found.name, found.params) == ("mobilenet-style", params)
    assert found.contract.input.value_range == "0..255" and found.contract.input.order == "rgb"
    t = {key: torch.from_numpy(value) for key, value in weights.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        return f.instance_norm(x, weight=t[f"{name}.weight"], bias=t[f"{name}.bias"])

    def bottleneck(x: Tensor, name: str, stride: int = 1) -> Tensor:
        y = norm(f.conv2d(x, t[f"{name}.conv1.weight"]), f"{name}.in1").clamp(0, 6)
        y = f.conv2d(
            f.pad(y, (1,) * 4, mode="reflect"), t[f"{name}.conv2.weight"], None, stride, groups=y.shape[1]
        )
        y = norm(f.conv2d(norm(y, f"{name}.in2").clamp(0, 6), t[f"{name}.conv3.weight"]), f"{name}.in3")
        return y + x if y.shape == x.shape else y

    x = (PICTURE + 1) * 127.5
    y = f.relu(norm(f.conv2d(f.pad(x, (4,) * 4, mode="reflect"), t["conv1.weight"]), "in1"))
    y = bottleneck(bottleneck(y, "conv2", 2), "conv3", 2)
    for name in ("res1", "res2"):
        y = bottleneck(y, name)
    for name in ("upconv1.conv1", "upconv2.conv1"):
        y = f.relu(bottleneck(f.interpolate(y, scale_factor=2.0, mode="nearest"), name))
    y = f.conv2d(f.pad(y, (4,) * 4, mode="reflect"), t["conv4.weight"])
    torch.testing.assert_close(run(found.name, found, x), y, atol=2e-3, rtol=1e-4)
