"""Checkpoints of networks with a style as second input, and of dense ones, against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as f

from pipeline import sources
from pipeline.architectures import build, recognise
from pipeline.sources.tensors import StateDict
from pipeline.support.errors import PipelineError

RNG = np.random.default_rng(5)
STYLES, WIDTHS, BLOCKS = 3, (4, 6, 8), 2
PICTURE = torch.from_numpy(RNG.uniform(0, 255, (1, 3, 32, 40)).astype(np.float32))


def numbers(*shape: int) -> Tensor:
    return torch.from_numpy(RNG.normal(0, 0.3, shape).astype(np.float32))


def padded(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    return f.conv2d(f.pad(x, (weight.shape[2] // 2,) * 4, mode="reflect"), weight, bias, stride)


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


# --- conditional instance norm -------------------------------------------------------------------------------


def layers(last_norm: bool) -> list[tuple[str, str, int, int, int]]:
    a, b, c = WIDTHS
    blocks = [(f"res{i}.conv{j}", f"res{i}.in{j}", c, c, 3) for i in range(1, BLOCKS + 1) for j in (1, 2)]
    down = [("conv1", "in1", 3, a, 9), ("conv2", "in2", a, b, 3), ("conv3", "in3", b, c, 3)]
    up = [
        ("deconv1", "in4", c, b, 3),
        ("deconv2", "in5", b, a, 3),
        ("deconv3", "in6" if last_norm else "", a, 3, 9),
    ]
    return [*down, *blocks, *up]


def conditional(layout: str) -> dict[str, Tensor]:
    """A checkpoint of one of the three layouts, made anew."""
    made: dict[str, Tensor] = {}
    everywhere = layout == "gamma"
    for conv, norm, inputs, outputs, side in layers(everywhere):
        made[f"{conv}.conv2d.weight"] = numbers(outputs, inputs, side, side)
        if not everywhere:
            made[f"{conv}.conv2d.bias"] = numbers(outputs)
        if everywhere:
            name = norm.replace("in", "cin")
            made[f"{name}.gamma"], made[f"{name}.beta"] = (numbers(STYLES, outputs, 1, 1) for _ in range(2))
        elif norm.startswith("res"):
            made[f"{norm}.weight"], made[f"{norm}.bias"] = numbers(outputs), numbers(outputs)
        elif norm and layout == "embed":
            made[f"{norm}.embed.weight"] = numbers(STYLES, 2 * outputs)
        elif norm:
            for style in range(STYLES):
                for part in ("weight", "bias"):
                    made[f"{norm}.inns.{style}.{part}"] = numbers(outputs)
    return made


def painted(made: dict[str, Tensor], layout: str, style: int) -> Tensor:
    """The forward of the repositories, with one style."""

    def norm(x: Tensor, name: str) -> Tensor:
        if layout == "gamma":
            name = name.replace("in", "cin")
            scale, shift = made[f"{name}.gamma"][style], made[f"{name}.beta"][style]
        elif name.startswith("res"):
            scale, shift = made[f"{name}.weight"][:, None, None], made[f"{name}.bias"][:, None, None]
        elif layout == "embed":
            scale, shift = (half[:, None, None] for half in made[f"{name}.embed.weight"][style].chunk(2))
        else:
            scale, shift = (made[f"{name}.inns.{style}.{part}"][:, None, None] for part in ("weight", "bias"))
        return f.instance_norm(x) * scale + shift

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return padded(x, made[f"{name}.conv2d.weight"], made.get(f"{name}.conv2d.bias"), stride)

    y = torch.relu(norm(conv(PICTURE, "conv1"), "in1"))
    y = torch.relu(norm(conv(y, "conv2", 2), "in2"))
    y = torch.relu(norm(conv(y, "conv3", 2), "in3"))
    for i in range(1, BLOCKS + 1):
        inner = torch.relu(norm(conv(y, f"res{i}.conv1"), f"res{i}.in1"))
        y = y + norm(conv(inner, f"res{i}.conv2"), f"res{i}.in2")
    y = torch.relu(norm(conv(twice(y), "deconv1"), "in4"))
    y = torch.relu(norm(conv(twice(y), "deconv2"), "in5"))
    y = conv(y, "deconv3")
    return 255 * torch.sigmoid(norm(y, "in6")) if layout == "gamma" else y


@pytest.mark.parametrize("layout", ["inns", "embed", "gamma"])
def test_a_checkpoint_of_several_styles_is_bound_to_each(layout: str, tmp_path: Path) -> None:
    made = conditional(layout)
    torch.save(made, tmp_path / "net.pth")
    for style in range(STYLES):
        options = sources.ReadOptions(bind=(f"style={style}",))
        network = sources.read_one(tmp_path / "net.pth", options)
        assert (network.architecture, network.details["styles"]) == ("conditional-instance-norm", STYLES)
        assert network.contract is not None and network.contract.input.order == "rgb"
        result = sources.reference(network)(PICTURE.numpy())
        expected = painted(made, layout, style).numpy()
        np.testing.assert_allclose(result, expected, atol=2e-3 * max(1, np.abs(expected).max() / 100))
    with pytest.raises(PipelineError, match="2 inputs"):
        sources.read_one(tmp_path / "net.pth")


# --- MSG-Net -------------------------------------------------------------------------------------------------


def msg_net(first: int, down: int, inner: int, blocks: int, up: tuple[int, int]) -> dict[str, Tensor]:
    """A checkpoint as the repository saves it, with the tensors that it contains twice and old statistics."""
    made: dict[str, Tensor] = {}

    def conv(name: str, inputs: int, outputs: int, side: int) -> None:
        made[f"{name}.weight"], made[f"{name}.bias"] = numbers(outputs, inputs, side, side), numbers(outputs)

    def bottleneck(name: str, inputs: int, planes: int, residual: str) -> None:
        if residual:
            conv(f"{name}.{residual}", inputs, 4 * planes, 1)
        for index, (a, b, side) in {"2": (inputs, planes, 1), "5.conv2d": (planes, planes, 3)}.items():
            conv(f"{name}.conv_block.{index}", a, b, side)
        conv(f"{name}.conv_block.8", planes, 4 * planes, 1)

    conv("model1.0.conv2d", 3, first, 7)
    bottleneck("model1.3", first, down, "residual_layer")
    bottleneck("model1.4", 4 * down, inner, "residual_layer")
    made["model1.1.running_mean"] = torch.zeros(first)
    made["ins.weight"] = numbers(1, 4 * inner, 4 * inner)
    made |= {
        name.replace("model1.", "model.0."): value for name, value in made.items() if name.startswith("model1.")
    }
    made["model.1.weight"] = made["ins.weight"]
    for number in range(2, 2 + blocks):
        bottleneck(f"model.{number}", 4 * inner, inner, "")
    bottleneck(f"model.{2 + blocks}", 4 * inner, up[0], "residual_layer.conv2d")
    bottleneck(f"model.{3 + blocks}", 4 * up[0], up[1], "residual_layer.conv2d")
    conv(f"model.{6 + blocks}.conv2d", 4 * up[1], 3, 7)
    return made


def inspired(made: dict[str, Tensor], blocks: int, style: Tensor, picture: Tensor) -> Tensor:
    """setTarget and forward of the repository; pictures BGR 0..255."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return padded(x, made[f"{name}.weight"], made[f"{name}.bias"], stride)

    def block(x: Tensor, name: str, stride: int = 1, enlarges: bool = False) -> Tensor:
        y = conv(torch.relu(f.instance_norm(x)), f"{name}.conv_block.2")
        y = torch.relu(f.instance_norm(y))
        y = conv(twice(y) if enlarges else y, f"{name}.conv_block.5.conv2d", stride)
        y = conv(torch.relu(f.instance_norm(y)), f"{name}.conv_block.8")
        if enlarges:
            return y + conv(twice(x), f"{name}.residual_layer.conv2d")
        return y + (conv(x, f"{name}.residual_layer", stride) if f"{name}.residual_layer.weight" in made else x)

    def encoded(x: Tensor) -> Tensor:
        x = torch.relu(f.instance_norm(conv(x, "model1.0.conv2d")))
        return block(block(x, "model1.3", 2), "model1.4", 2)

    features = encoded(style).flatten(2)
    gram = features @ features.transpose(1, 2) / (features.shape[1] * features.shape[2])
    x = encoded(picture)
    x = ((made["ins.weight"] @ gram).transpose(1, 2) @ x.flatten(2)).view_as(x)
    for number in range(2, 2 + blocks):
        x = block(x, f"model.{number}")
    x = block(block(x, f"model.{2 + blocks}", enlarges=True), f"model.{3 + blocks}", enlarges=True)
    return conv(torch.relu(f.instance_norm(x)), f"model.{6 + blocks}.conv2d")


def test_msg_net_takes_a_style_picture(tmp_path: Path) -> None:
    made = msg_net(6, 2, 3, 2, (2, 1))
    torch.save(made, tmp_path / "net.model")
    pixels = RNG.integers(0, 255, (512, 512, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wave.png")
    options = sources.ReadOptions(bind=(f"style={tmp_path / 'wave.png'}",))
    network = sources.read_one(tmp_path / "net.model", options)
    assert network.architecture == "msg-net" and network.contract is not None
    assert (network.contract.input.order, network.details["blocks"], network.details["inner"]) == ("bgr", 2, 3)
    style = torch.from_numpy(pixels[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32))
    expected = inspired(made, 2, style, PICTURE).numpy()
    np.testing.assert_allclose(sources.reference(network)(PICTURE.numpy()), expected, rtol=1e-3, atol=2e-2)
    assert "MatMul" not in {node.op_type for node in network.model.graph.node}, "the style's matrix is a constant"


def test_the_published_sizes_are_recognised_and_training_is_refused() -> None:
    made = {name: value.numpy() for name, value in msg_net(64, 32, 128, 6, (32, 16)).items()}
    found = recognise(StateDict(made, "torch-zip", "net.model"))
    assert (found.name, found.weights) == ("msg-net", 2_386_147)
    with pytest.raises(PipelineError, match="as second input"):
        build("msg-net", found.params)
    embedded = {name: value.numpy() for name, value in conditional("embed").items()}
    assert recognise(StateDict(embedded, "torch-zip", "net.pth")).params["conditioned"] == [
        f"in{i}" for i in range(1, 6)
    ]


# --- rrmina's dense networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("rrmina-densenet", 269_731), ("rrmina-unet-densenet", 269_536)])
def test_a_dense_network_is_what_its_layers_say(name: str, count: int) -> None:
    from pipeline.architectures import family_of, load

    family = family_of(name)
    assert sum(parameter.numel() for parameter in build(name, family.infer({})).parameters()) == count
    params = {"widths": [4, 5, 8], "reduced": 4, "inner": [6, 3], "growth": [2, 2]}
    held = {key: numbers(*shape) for key, shape in family.shapes(params).items()}
    found = recognise(StateDict({key: value.numpy() for key, value in held.items()}, "torch-zip", "net.pth"))
    assert (found.name, found.params, found.contract.input.order) == (name, params, "bgr")

    def norm(x: Tensor, key: str) -> Tensor:
        return f.instance_norm(x, weight=held[f"{key}.norm_layer.weight"], bias=held[f"{key}.norm_layer.bias"])

    def conv(x: Tensor, key: str, stride: int = 1, kind: str = "conv_layer") -> Tensor:
        return padded(x, held[f"{key}.{kind}.weight"], held.get(f"{key}.{kind}.bias"), stride)

    steps, x = [], PICTURE
    for number, key in enumerate(
        ("C1", "C2", "C3") if "unet" in name else ("ConvBlock.0", "ConvBlock.2", "ConvBlock.4")
    ):
        x = torch.relu(norm(conv(x, key, 2 if number else 1), key))
        steps.append(x)
    x = conv(torch.relu(norm(x, "DenseBlock.0")), "DenseBlock.0")
    for layer in ("DenseBlock.1", "DenseBlock.2"):
        y = conv(torch.relu(norm(x, f"{layer}.conv1")), f"{layer}.conv1")
        x = torch.cat((x, conv(torch.relu(norm(y, f"{layer}.conv3")), f"{layer}.conv3")), 1)
    if "unet" in name:
        x = torch.relu(steps[2] + x)
        x = torch.relu(conv(twice(x), "D1", kind="conv2d") + steps[1])
        x = conv(torch.relu(conv(twice(x), "D2", kind="conv2d") + steps[0]), "D3")
    else:
        for key in ("DeconvBlock.0", "DeconvBlock.2"):
            weight, bias = held[f"{key}.conv_transpose.weight"], held[f"{key}.conv_transpose.bias"]
            x = torch.relu(norm(f.conv_transpose2d(x, weight, bias, 2, 1, 1), key))
        x = conv(x, "DeconvBlock.4")
    with torch.no_grad():
        made = load(build(name, params), found.tensors)(PICTURE)
    torch.testing.assert_close(made, x, rtol=1e-4, atol=1e-3)
