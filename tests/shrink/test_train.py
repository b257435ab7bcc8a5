"""Perceptual training with a tiny random loss network of VGG16's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as f

from pipeline.shrink import train
from pipeline.shrink.checkpoint import Run
from pipeline.shrink.data import Pictures
from pipeline.shrink.loop import LoopOptions
from pipeline.shrink.motion import Sequences
from pipeline.shrink.pictures import as_tensor
from pipeline.shrink.students import parse
from pipeline.shrink.train import LossNetwork, StyleOptions, read_loss_network, style_grams, train_style
from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import picture_files
from tests.conftest import REPOSITORY

WIDTHS = (4, 4, 6, 6, 8, 8, 8, 10, 10, 10)
SMALL = StyleOptions(
    LoopOptions(steps=4, every=2, device="cpu", half=False), style=1e5, content=1.0, side=64, batch=2
)


def tiny_vgg(classifier: bool = True) -> dict[str, torch.Tensor]:
    """Random tensors with the names of torchvision's VGG16, narrow."""
    generator = torch.Generator().manual_seed(3)
    tensors, inputs = {}, 3
    for index, width in zip(train.CONVOLUTIONS, WIDTHS, strict=True):
        tensors[f"features.{index}.weight"] = torch.randn(width, inputs, 3, 3, generator=generator) * 0.3
        tensors[f"features.{index}.bias"] = torch.randn(width, generator=generator) * 0.1
        inputs = width
    if classifier:
        tensors["classifier.0.weight"] = torch.full((4, 4), float("nan"))  # is never looked at
    return tensors


@pytest.fixture
def vgg(tmp_path) -> Path:
    torch.save(tiny_vgg(), tmp_path / "vgg.pth")
    return tmp_path / "vgg.pth"


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    picture = Image.open(REPOSITORY / "examples" / "picture.jpg")
    picture.crop((0, 0, 200, 160)).save(folder / "left.png")
    picture.crop((500, 200, 700, 400)).save(folder / "right.png")
    return folder


def test_the_loss_network_is_read_from_a_checkpoint_or_safetensors_and_is_not_mistaken_for_vgg16(vgg, tmp_path):
    network, digest, known = read_loss_network(vgg)
    assert len(digest) == 64 and not known
    save_file(tiny_vgg(classifier=False), tmp_path / "vgg.safetensors")
    again, other, _ = read_loss_network(tmp_path / "vgg.safetensors")
    x = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(1)) * 255
    a, b = network(x), again(x)
    assert digest != other and all(torch.equal(a[name], b[name]) for name in a)
    assert not any(p.requires_grad for p in network.parameters())


def test_its_features_are_those_that_torchvision_would_give():
    """The same layers written out, as torchvision.models.vgg16().features has them."""
    tensors = tiny_vgg()
    network = LossNetwork({k.removeprefix("features."): v.numpy() for k, v in tensors.items()}, "")
    x = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    seen = network(x * 255)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    y, expected = (x - mean[:, None, None]) / std[:, None, None], []
    layers: list[object] = [0, "relu", 2, "relu", "pool", 5, "relu", 7, "relu", "pool"]
    layers += [10, "relu", 12, "relu", 14, "relu", "pool"]
    layers += [17, "relu", 19, "relu", 21, "relu"]
    for position, layer in enumerate(layers):
        if layer == "relu":
            y = f.relu(y)
        elif layer == "pool":
            y = f.max_pool2d(y, 2, 2)
        else:
            assert layer == position
            y = f.conv2d(y, tensors[f"features.{layer}.weight"], tensors[f"features.{layer}.bias"], padding=1)
        if position in (3, 8, 15, 22):
            expected.append(y)
    assert [tuple(v.shape) for v in seen.values()] == [tuple(v.shape) for v in expected]
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in zip(seen.values(), expected, strict=True))
    stored = style_grams(seen)["relu2_2"]
    flat = expected[1].flatten(2)
    assert torch.allclose(stored, flat @ flat.transpose(1, 2) / flat[0].numel(), atol=1e-6)


def test_another_network_is_refused(tmp_path):
    tensors = tiny_vgg()
    del tensors["features.10.bias"]
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(PipelineError, match="10") as caught:
        read_loss_network(tmp_path / "other.pth")
    assert caught.value.code == "not-a-loss-network"


def learnt(vgg, images, options=SMALL, spec="fast-neural-style:4x1", **more):
    student = parse(spec)
    module = student.build(1)
    style = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    pictures = Pictures(picture_files([images]))
    network = read_loss_network(vgg)[0]
    history = train_style(module, student.contract, network, style, pictures, options, **more)
    return module, history


def test_the_style_comes_nearer(vgg, images, tmp_path):
    options = replace(SMALL, loop=replace(SMALL.loop, steps=40, every=10), flicker=1.0, variation=0.1)
    module, history = learnt(vgg, images, options, holdout=[images / "left.png"], run=Run(tmp_path / "run"))
    styles = [record["losses"]["style"] for record in history.records]
    assert styles[-1] < styles[0] / 2
    assert set(history.records[0]["losses"]) == {"content", "style", "variation", "flicker"}
    assert not module.training and len(list((tmp_path / "run" / "samples").iterdir())) == 4


def test_content_alone_draws_the_picture_nearer(vgg, images):
    options = replace(SMALL, loop=replace(SMALL.loop, steps=60, every=60, rate=1e-2), style=0.0)
    network = read_loss_network(vgg)[0]
    picture = as_tensor(images / "left.png")

    def apart(module: torch.nn.Module) -> float:
        with torch.no_grad():
            return f.mse_loss(network(module(picture))["relu2_2"], network(picture)["relu2_2"]).item()

    before = apart(parse("fast-neural-style:4x1").build(1))
    module, _ = learnt(vgg, images, options)
    assert apart(module) < before * 0.8


@pytest.mark.parametrize("spec", ["fritz:0.1,small", "few-shot:4,4,4x1", "fast-neural-style-skips:4x1"])
def test_every_architecture_can_be_trained(vgg, images, spec):
    module, _ = learnt(vgg, images, spec=spec)
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


@pytest.mark.parametrize("half", [False, True])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(vgg, images, tmp_path, half):
    options = replace(SMALL, loop=replace(SMALL.loop, half=half))
    whole, _ = learnt(vgg, images, options)

    def stop(history, done):
        if history.steps == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learnt(vgg, images, options, run=Run(tmp_path / "run"), progress=stop)
    resumed, _ = learnt(vgg, images, options, run=Run(tmp_path / "run", True))
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_sequence_adds_the_motion_between_its_frames(vgg, images, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    picture = Image.open(REPOSITORY / "examples" / "picture.jpg")
    for number in range(2):
        picture.crop((300 + 3 * number, 100, 420 + 3 * number, 200)).save(frames / f"{number}.png")
    options = replace(SMALL, flicker=1.0)
    alone, _ = learnt(vgg, images, options)
    moving, history = learnt(vgg, images, options, sequences=Sequences([frames], 1))
    assert history.records[-1]["losses"]["flicker"] > 0
    pairs = zip(alone.state_dict().values(), moving.state_dict().values(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)
    large = replace(options, side=128)
    with pytest.raises(PipelineError, match="crops of 128x128"):
        learnt(vgg, images, large, sequences=Sequences([frames], 1))
