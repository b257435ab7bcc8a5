"""StyleTransferGuides.shader, run: depth and normals of each render pipeline become what docs/guides.md says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from tests import vulkan
from tests.csharp.toolchain import TEMPLATES
from tests.gpu import unity

NEAR, FAR = 0.5, 40.0
SIZE = (12, 16)
VIEW = np.array([[0.6, 0.0, -0.8, 3], [0.0, 1.0, 0.0, -2], [0.8, 0.0, 0.6, 7], [0, 0, 0, 1]])
"""World to view: a camera turned about y. Its position must not matter."""


def scene(size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Eye distances, the last rows the sky, and normals in view space (z towards the camera)."""
    rng = np.random.default_rng(5)
    distance = rng.uniform(1, 30, size)
    distance[-3:] = FAR
    normals = rng.normal(size=(*size, 3))
    normals[..., 2] = np.abs(normals[..., 2]) + 0.2
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    normals[-3:] = (0, 0, 1)
    return distance, normals


def raw_depth(distance: np.ndarray, is_reversed: bool) -> np.ndarray:
    """The depth texture of a perspective camera: 0 at the near plane and 1 at the far plane, or reversed."""
    depth = (FAR / (FAR - NEAR)) * (1 - NEAR / distance)
    return 1 - depth if is_reversed else depth


def eye_depth(is_reversed: bool) -> tuple[float, ...]:
    """EyeDepth.Of for a perspective camera."""
    return (0, NEAR * FAR, FAR - NEAR, NEAR) if is_reversed else (0, NEAR * FAR, NEAR - FAR, FAR)


def picture(*planes: np.ndarray) -> np.ndarray:
    """Channels as a texture (height, width, 4); those that are missing are 1."""
    stacked = np.concatenate([p if p.ndim == 3 else p[..., None] for p in planes], axis=2)
    return np.concatenate([stacked, np.ones((*stacked.shape[:2], 4 - stacked.shape[2]))], axis=2)


def stereographic(normals: np.ndarray) -> np.ndarray:
    """View-space normals as _CameraDepthNormalsTexture has them, without the rounding to bytes."""
    plane = normals[..., :2] / (normals[..., 2:] + 1)
    return picture(plane / 1.7777 / 2 + 0.5, np.zeros(normals.shape[:2]))


def packed(normals: np.ndarray) -> np.ndarray:
    """Unit vectors in 3 bytes by their octahedral projection, as HDRP and URP's accurate G-buffer have them."""
    plane = normals[..., :2] / np.abs(normals).sum(axis=2, keepdims=True)
    folded = (1 - np.abs(plane[..., ::-1])) * np.where(plane >= 0, 1, -1)
    plane = np.where(normals[..., 2:] < 0, folded, plane)
    bits = np.rint((0.5 * plane + 0.5) * 4095).astype(int)
    third = (bits[..., 0] >> 8) | ((bits[..., 1] >> 8) << 4)
    return picture(np.stack([bits[..., 0] & 255, bits[..., 1] & 255, third], axis=2) / 255)


def rows(guides: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The matrices of GuideLayout.cs for each texture: what its channels take of the scene, and of the others."""
    columns = {
        "normals": [(0, 0), (0, 1), (0, 2)],
        "depth": [(0, 3)],
        "mask": [(1, 0)],
        "texture": [(1, 1), (1, 2), (1, 3)],
    }
    textures: list[list[tuple[int, int]]] = []
    for guide in guides:
        if not textures or len(textures[-1]) + len(columns[guide]) > 4:
            textures.append([])
        textures[-1] += columns[guide]
    found = []
    for channels in textures:
        both = np.zeros((2, 4, 4))
        for row, (which, column) in enumerate(channels * 3 if len(channels) == 1 else channels):
            both[which, row, column] = 1
        found.append((both[0], both[1]))
    return found


def draw(
    guides: Sequence[str], texture: int = 0, size: tuple[int, int] = SIZE, **properties: object
) -> np.ndarray:
    layout = rows(guides)
    blank = np.zeros((*SIZE, 4))
    none = np.zeros((4, 4))
    second = layout[1] if len(layout) > 1 else (none, none)
    flipped = bool(properties.pop("flipped", False))
    taps = [max(0, min(1, SIZE[1 - i] / size[1 - i] - 1)) * 0.25 / size[1 - i] for i in (0, 1)]
    given = {
        "_CameraDepthTexture": blank,
        "_CameraDepthNormalsTexture": blank,
        "_CameraNormalsTexture": blank,
        "_WorldToView": VIEW,
        "_SceneToFirst": layout[0][0],
        "_OthersToFirst": layout[0][1],
        "_SceneToSecond": second[0],
        "_OthersToSecond": second[1],
        "_DepthDistance": (20, FAR, 0, 0),
        "_TapOffset": (*taps, 0, 0),
        "linear_clamp_sampler": vulkan.sampler(point=False),
        **properties,
    }
    name = ("First texture", "Second texture")[texture]
    text = unity.text_of("Guides")
    if given.pop("octahedral", False):
        text = text.replace("CGINCLUDE", "CGINCLUDE\n#define _GBUFFER_NORMALS_OCT 1\n")
    return unity.draw("Guides", name, np.zeros((*SIZE, 4)), size, flipped=flipped, text=text, **given)


def expected(distance: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(normal.xyz, depth) of each camera pixel."""
    return np.concatenate([0.5 * normals + 0.5, np.clip(distance / 20, 0, 1)[..., None]], axis=2)


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("source", ["built-in", "URP", "URP, accurate normals", "HDRP"])
def test_depth_and_normals_of_each_pipeline(source: str, is_reversed: bool) -> None:
    distance, normals = scene()
    world = normals @ VIEW[:3, :3]
    raw = picture(raw_depth(distance, is_reversed))
    given: dict[str, object] = {"_EyeDepth": eye_depth(is_reversed)}
    if source == "built-in":
        given |= {"_CameraDepthTexture": raw, "_CameraDepthNormalsTexture": stereographic(normals)}
    elif source == "HDRP":
        given |= {"_DepthCopy": raw, "_NormalsCopy": packed(world), "_NormalsSource": 2.0, "_DepthSource": 1.0}
    else:
        accurate = source != "URP"
        coded = packed(world) if accurate else picture(np.where(distance[..., None] < FAR, world, 0))
        given |= {"_CameraDepthTexture": raw, "_CameraNormalsTexture": coded, "_NormalsSource": 1.0}
        given |= {"octahedral": accurate}
    drawn = draw(["normals", "depth"], **given)
    off = np.abs(drawn - expected(distance, normals)).max(axis=(0, 1))
    assert (off[:3] < 2e-3).all() and off[3] < 1e-4, off


def test_a_reduction_averages_what_was_decoded() -> None:
    distance, normals = scene()
    given = {"_EyeDepth": eye_depth(True), "_CameraDepthTexture": picture(raw_depth(distance, True))}
    given["_CameraDepthNormalsTexture"] = stereographic(normals)
    drawn = draw(["depth", "normals"], size=(6, 8), **given)
    full = expected(distance, normals)[..., [3, 0, 1, 2]]
    assert np.abs(drawn - full.reshape(6, 2, 8, 2, 4).mean(axis=(1, 3))).max() < 2e-3


def test_with_anti_aliasing_the_guides_stay_upright() -> None:
    distance, normals = scene()
    given = {"_EyeDepth": eye_depth(True), "_CameraDepthTexture": picture(raw_depth(distance, True))}
    given["_CameraDepthNormalsTexture"] = stereographic(normals)
    upright, flipped = draw(["depth"], **given), draw(["depth"], flipped=True, **given)
    assert np.allclose(upright, flipped, atol=1e-6)
    assert np.abs(upright[..., 0] - upright[..., 2]).max() == 0  # engines may take the mean of three channels


def test_a_second_texture_a_mask_and_a_texture() -> None:
    rng = np.random.default_rng(2)
    distance, normals = scene()
    mask, texture = rng.random((*SIZE, 4)), rng.random((*SIZE, 4))
    mask[0, 0, 0], texture[1, 1, 2] = np.nan, 2.5
    given = {"_EyeDepth": eye_depth(True), "_CameraDepthTexture": picture(raw_depth(distance, True))}
    given |= {"_CameraDepthNormalsTexture": stereographic(normals), "_GuideMask": mask, "_GuideTexture": texture}
    first = draw(["depth", "mask", "normals"], 0, **given)
    second = draw(["depth", "mask", "normals"], 1, **given)
    assert np.allclose(first[3:, :, 1], mask[3:, :, 0], atol=1e-4) and np.isfinite(first).all()
    assert (first[..., 2:] == 0).all() and np.abs(
        second[..., :3] - expected(distance, normals)[..., :3]
    ).max() < 2e-3
    third = draw(["mask", "texture"], 0, **given)
    assert np.allclose(third[3:, :, 1:], np.clip(texture[3:, :, :3], 0, 1), atol=1e-4) and third.max() <= 1


def test_no_number_in_the_depth_is_no_number_in_the_guides() -> None:
    distance, normals = scene()
    raw = raw_depth(distance, True)
    raw[4, 4], raw[5, 5] = np.nan, np.inf
    coded = stereographic(normals)
    coded[6, 6] = np.nan
    given = {
        "_EyeDepth": eye_depth(True),
        "_CameraDepthTexture": picture(raw),
        "_CameraDepthNormalsTexture": coded,
    }
    drawn = draw(["normals", "depth"], **given)
    assert np.isfinite(drawn).all() and drawn.min() >= 0 and drawn.max() <= 1


def test_code_and_shader_agree() -> None:
    text, code = unity.text_of("Guides"), (TEMPLATES / "Runtime/GuidePainter.cs").read_text()
    used = set(re.findall(r'PropertyToID\("(\w+)"\)', code))
    declared = set(
        re.findall(r"^    (?:Texture2D(?:<float4>)?|float4x4|float4|float) (_\w+);", text, re.MULTILINE)
    )
    camera = {name for name in declared if name.startswith(("_Camera", "_MainTex"))}
    assert used == declared - camera
    assert list(unity.passes(text).values()) == [("Vertex", "First"), ("Vertex", "Second")]
    layout = (TEMPLATES / "Runtime/GuideLayout.cs").read_text()
    assert "const int DepthColumn = 3;" in layout and "const int FirstTextureColumn = 1;" in layout
