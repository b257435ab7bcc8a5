"""From the camera's picture through a network for Sentis or Inference Engine and back, run as a GPU runs it.

The shaders of the runtime and the package's conversion are executed; textures hold what their formats hold: half
precision in front of the network, 16 bits of 0..1 behind it, as PictureExchange.cs allocates them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import targets
from pipeline.build import prove
from pipeline.build.options import BuildOptions
from pipeline.support.size import Size
from tests.gpu import exchange, reference
from tests.gpu.test_convert import from_network, to_network
from tests.networks import style_onnx

SIZE = (36, 52)
LEVEL = 1 / 255
HALF_BITS, WHOLE = np.float16, 65535
TEMPLATES = Path(__file__).resolve().parents[2] / "unity_templates"


def camera_picture() -> np.ndarray:
    """sRGB, 8 bits, row 0 at the top: a bright and a dark end, all different in every direction."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    color = np.stack([rows / SIZE[0], columns / SIZE[1], (rows * columns) % 97 / 97], axis=2)
    return np.rint((0.02 + 0.96 * color) * 255) / 255


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A built network without a clamp, whose values leave 0..1 on both sides; and its source on RGB 0..1."""
    path = style_onnx(tmp_path_factory.mktemp("exchange") / "wave.onnx", seed=5)
    options = BuildOptions(
        target="inference-2", size=Size(SIZE[1], SIZE[0]), input_range="0..1", output_range="-1..1"
    )
    _, lowered, _, _ = prove.make(path, options, lambda name, found: None, bake_contract=True)
    assert lowered.graph.nodes[-1].op != "Clip"
    assert lowered.candidate is not None
    return lowered.candidate


def planes(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[None, ..., :3].transpose(0, 3, 1, 2), np.float32)


def texture(picture: np.ndarray) -> np.ndarray:
    """As Unity's textures lie in memory: row 0 is the bottom; with alpha."""
    color = np.concatenate([picture[..., :3], np.ones((*picture.shape[:2], 1))], axis=2)
    return np.ascontiguousarray(color[::-1], np.float32)


def shown(network, camera: np.ndarray, linear: bool, version: str) -> np.ndarray:
    """What the screen shows, as sRGB with row 0 at the top; `camera` is what the camera's texture holds."""
    drawn = to_network(camera, SIZE, linear=linear).astype(HALF_BITS).astype(np.float32)
    # The texture's format is linear in both versions, whatever the project is: nothing re-encodes it.
    encodes = version != "2.1.3" and stored_as_srgb()
    result = network(exchange.to_tensor(drawn, encodes=encodes))
    written = np.rint(np.clip(exchange.render(result), 0, 1) * WHOLE) / WHOLE
    screen = from_network(camera, written, _LinearProject=float(linear))[..., :3][::-1]
    return reference.srgb_from_linear(screen) if linear else screen


def stored_as_srgb() -> bool:
    """Whether the runtime's textures are allocated as sRGB ones."""
    text = (TEMPLATES / "Runtime/Textures.cs").read_text()
    allocated = text[text.index("public static RenderTexture AllocateTarget") :]
    return "RenderTextureReadWrite.Linear" not in allocated[: allocated.index("return target")]


@pytest.mark.parametrize("version", ["2.1.3", "2.4.0"])
@pytest.mark.parametrize("linear", [False, True])
def test_the_screen_shows_what_python_paints(network, linear: bool, version: str) -> None:
    picture = camera_picture()
    expected = np.clip(network(planes(picture)), 0, 1)[0].transpose(1, 2, 0)
    assert 0.05 < ((expected == 0) | (expected == 1)).mean() < 0.95, "the clamp and the values between count"
    stored = reference.linear_from_srgb(picture) if linear else picture
    difference = np.abs(shown(network, texture(stored), linear, version) - expected)
    assert difference.max() < LEVEL, f"{difference.max() / LEVEL:.2f} levels"


def test_a_texture_of_srgb_format_would_be_encoded_twice(network) -> None:
    """Why the runtime's textures are linear ones, and that these tests would see it."""
    picture = texture(camera_picture())
    plain, encoded = exchange.to_tensor(picture), exchange.to_tensor(picture, encodes=True)
    assert np.abs(plain - encoded).max() > 0.2
    assert np.abs(plain - planes(camera_picture())).max() == 0, "row 0 of a tensor is the top"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_comes_back_as_the_picture_that_it_was(channels: int) -> None:
    picture = texture(camera_picture())
    back = exchange.render(exchange.to_tensor(picture, channels))
    expected = picture if channels == 3 else np.repeat(picture[..., :1], 4, axis=2)
    assert (back == expected).all()


def test_the_golden_frame_of_the_bundled_project_is_what_its_network_paints() -> None:
    """The picture that a project is tested with, by the same way: conversion, network, conversion."""
    folder = TEMPLATES.parent / "UnityProject/Assets/StyleTransfer/Models/Mosaic"
    target = targets.get(json.loads((folder / "report.json").read_text())["target"]["name"])
    run = target.family.runner((folder / "Mosaic.onnx").read_bytes(), target)
    given, expected = (np.asarray(Image.open(folder / f"golden_{end}.png")) / 255 for end in ("input", "output"))
    result = exchange.render(run(exchange.to_tensor(texture(given))))[::-1, :, :3]
    assert np.abs(np.clip(result, 0, 1) - expected).max() < LEVEL
