"""StyleTransferMotion.shader draws, run as C#, what the same mathematics gives in Python, and compiles as HLSL."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.csharp.conftest import ask
from tests.csharp.hlsl import Vector, functions
from tests.csharp.test_shader import compile_stage, entry_points, sample
from tests.csharp.toolchain import TEMPLATES

SHADERS = TEMPLATES / "Runtime/Shaders"
MOTION = (SHADERS / "StyleTransferMotion.shader").read_text()
REPROJECTION = (TEMPLATES / "Runtime/Reprojection.cs").read_text()
PASSES = {match[1]: match[2] for match in re.finditer(r'Name "([^"]+)"\s*CGPROGRAM(.*?)ENDCG', MOTION, re.DOTALL)}
HEIGHT, WIDTH = 20, 28


def common(text: str) -> str:
    return re.search(r"CGINCLUDE(.*?)ENDCG", text, re.DOTALL)[1]


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_of_the_motion_shader_compiles(tmp_path: Path, name: str) -> None:
    for stage, entry in entry_points(PASSES[name]):
        assert compile_stage(tmp_path, common(MOTION), stage, entry, 1) == ""


def test_the_mask_shader_compiles_and_shows_what_is_in_front(tmp_path: Path) -> None:
    text = (SHADERS / "StyleTransferMask.shader").read_text()
    for stage, entry in entry_points(text):
        assert compile_stage(tmp_path, common(text), stage, entry, 1) == ""
    uniforms = {"_StyleEyeDepth": Vector(0, 1, 0, 1), "_StyleMaskSize": Vector(4, 4, 0, 0), "DepthBias": 0.02}
    uniforms |= {"_StyleEyeDepth": Vector(*eye_depth(0.3, 100.0, False, True))}
    for scene, own, visible in [
        (10.0, 10.0, 1),
        (10.0, 10.15, 1),
        (10.0, 10.5, 0),
        (10.0, 4.0, 1),
        (100.0, 99.0, 1),
    ]:
        depth = {"tex2D": lambda _, at, scene=scene: Vector(raw(scene), 0, 0, 1), "_CameraDepthTexture": None}
        draw = functions(common(text), uniforms | depth)["Fragment"]
        pixel = type("Varyings", (), {"position": Vector(1.5, 2.5, raw(own), 1)})
        assert draw(pixel).x == visible, (scene, own)


def raw(distance: float, near: float = 0.3, far: float = 100.0) -> float:
    """What a reversed depth texture holds: z / w of a projection matrix, from its definition."""
    projection = np.array([[near / (far - near), near * far / (far - near)], [1, 0]])
    z, w = projection @ [distance, 1]
    return 0.0 + (z / w if near == 0 else (near * far / distance - near) / (far - near))


def eye_depth(near: float, far: float, orthographic: bool, reversed_: bool) -> tuple[float, float, float, float]:
    """EyeDepth.Of, by solving for the two planes: depth is 0 and 1 there, in either order."""
    at_near, at_far = (1.0, 0.0) if reversed_ else (0.0, 1.0)
    if orthographic:
        slope = (far - near) / (at_far - at_near)
        return slope, near - slope * at_near, 0.0, 1.0
    # 1 / distance is linear in depth.
    slope = (1 / far - 1 / near) / (at_far - at_near)
    factor = near * far
    return 0.0, factor, slope * factor, (1 / near - slope * at_near) * factor


def test_distances_come_from_any_camera_and_any_depth_texture(program: Path) -> None:
    cameras = [
        (near, far, orthographic, reversed_)
        for near, far in ((0.3, 1000.0), (0.01, 50.0), (1.0, 2.0))
        for orthographic in (True, False)
        for reversed_ in (True, False)
    ]
    lines = ask(program, "depth", stdin="".join(" ".join(map(str, camera)) + "\n" for camera in cameras))
    for (near, far, orthographic, reversed_), line in zip(cameras, lines, strict=True):
        x, y, z, w = map(float, line.split())
        known = eye_depth(near, far, orthographic, reversed_)
        for depth in (0.0, 0.1, 0.5, 0.99, 1.0):
            wanted = (known[0] * depth + known[1]) / (known[2] * depth + known[3])
            assert (x * depth + y) / (z * depth + w) == pytest.approx(wanted, rel=1e-4)
        ends = sorted((x * depth + y) / (z * depth + w) for depth in (0.0, 1.0))
        assert ends == pytest.approx([near, far], rel=1e-4)


def draw(
    program: Path,
    name: str,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    vectors: dict[str, tuple[float, ...]] | None = None,
    **textures: np.ndarray,
) -> np.ndarray:
    """A pass drawn by the shader's own text. Histories and frames are sampled at the nearest texel."""
    lines = [f"Motion {list(PASSES).index(name)} {size[1]} {size[0]}"]
    for key, values in (vectors or {}).items():
        lines.append(f"vector {key} {' '.join(map(repr, values))}")
    for key, picture in textures.items():
        kind = "point" if picture.dtype == np.float64 else "bilinear"
        lines.append(f"texture {key} {picture.shape[1]} {picture.shape[0]} {kind}")
        lines.append(" ".join(map(repr, picture.astype(np.float32).ravel().tolist())))
    (answer,) = ask(program, "shade", stdin="\n".join(lines) + "\n")
    return np.array(list(map(float, answer.split()))).reshape(*size, 4)


def nearest(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    column = np.clip(np.floor(u * width).astype(int), 0, width - 1)
    row = np.clip(np.floor(v * height).astype(int), 0, height - 1)
    return picture[row, column]


def bilinear(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.array(
        [sample(picture, Vector(a, b)).values for a, b in zip(u.ravel(), v.ravel(), strict=True)]
    ).reshape(*u.shape, 4)


def coordinates() -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid((np.arange(WIDTH) + 0.5) / WIDTH, (np.arange(HEIGHT) + 0.5) / HEIGHT)


def inside(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)


@pytest.fixture
def scene() -> dict[str, np.ndarray]:
    """A random history and frame; motion of a few texels and a half, distances of three surfaces."""
    chance = np.random.default_rng(3)

    def texels(amount: float) -> np.ndarray:
        # Odd quarters of a texel: never near the border between two.
        steps = chance.integers(-4 * amount, 4 * amount, (HEIGHT, WIDTH, 2)) * 0.5 + 0.25
        return steps / [WIDTH, HEIGHT]

    def distances() -> np.ndarray:
        return chance.choice([2.0, 2.1, 8.0, 30.0], (HEIGHT, WIDTH, 1), p=[0.6, 0.2, 0.1, 0.1])

    valid = chance.choice([0.0, 1.0], (HEIGHT, WIDTH, 1), p=[0.25, 0.75])
    return {
        "history": np.concatenate([texels(2), distances(), valid], axis=2),
        "frame": np.concatenate([texels(1), distances(), np.ones((HEIGHT, WIDTH, 1))], axis=2),
    }


def test_the_history_grows_by_a_frame_as_the_reference_does(program: Path, scene: dict[str, np.ndarray]) -> None:
    got = draw(program, "Accumulate", _MainTex=scene["history"], _Frame=scene["frame"])
    u, v = coordinates()
    motion, now = scene["frame"][..., :2], scene["frame"][..., 2]
    before_u, before_v = u - motion[..., 0], v - motion[..., 1]
    before = nearest(scene["history"], before_u, before_v)
    known = (before[..., 3] > 0) & inside(before_u, before_v) & (np.abs(before[..., 2] - now) <= 0.1 * now)
    assert 0.2 < known.mean() < 0.8
    assert np.abs(got[..., :2] - (motion + before[..., :2])).max() < 1e-6
    assert np.abs(got[..., 2] - now).max() < 1e-6
    assert (got[..., 3] == known).all()


def test_a_history_begins_without_motion(program: Path, scene: dict[str, np.ndarray]) -> None:
    got = draw(program, "Begin", _MainTex=scene["frame"], _Frame=scene["frame"])
    assert (got[..., :2] == 0).all() and (got[..., 3] == 1).all()
    assert np.abs(got[..., 2] - scene["frame"][..., 2]).max() < 1e-6


def uncovered(key: np.ndarray, history: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """The colours of pixels that the network's picture does not show, from neighbours that look alike."""
    u, v = coordinates()
    here = bilinear(camera, u, v)[..., :3]
    total, weights = np.zeros((HEIGHT, WIDTH, 3)), np.zeros((HEIGHT, WIDTH, 1))
    for ring in (1, 2, 3):
        for tap in range(8):
            angle = (tap + 0.5 * ring) * np.pi / 4
            at_u = u + np.cos(angle) * 3 * ring**2 / key.shape[1]
            at_v = v + np.sin(angle) * 3 * ring**2 / key.shape[0]
            there = nearest(history, at_u, at_v)
            likeness = 2.0 ** (-40 * ((bilinear(camera, at_u, at_v)[..., :3] - here) ** 2).sum(axis=-1))
            weight = (there[..., 3] * inside(at_u, at_v) * likeness / ring)[..., None]
            total += weight * bilinear(key, at_u - there[..., 0], at_v - there[..., 1])[..., :3]
            weights += weight
    share = np.clip(weights / 0.25, 0, 1)
    return here * (1 - share) + total / np.maximum(weights, 0.0001) * share


def test_a_picture_moves_and_its_holes_are_filled_as_in_the_reference(
    program: Path, scene: dict[str, np.ndarray]
) -> None:
    chance = np.random.default_rng(4)
    # The network's picture has another size than the histories: the governor lowered it.
    key = chance.uniform(0, 1, (12, 16, 4)).astype(np.float32)
    camera = (chance.uniform(0, 0.2, (HEIGHT, WIDTH, 4)) + chance.choice([0.1, 0.7], (HEIGHT, WIDTH, 1))).astype(
        "f4"
    )
    history = scene["history"].astype(np.float32).astype(np.float64)
    got = draw(program, "Move", _MainTex=key, _History=history, _Camera=camera)
    u, v = coordinates()
    known = history[..., 3:] > 0.5
    moved = bilinear(key, u - history[..., 0], v - history[..., 1])[..., :3]
    wanted = np.where(known, moved, uncovered(key, history, camera))
    assert np.abs(got[..., :3] - wanted).max() < 1e-5
    assert np.abs(wanted - bilinear(camera, u, v)[..., :3])[~known[..., 0]].max() > 0.1


def test_a_share_of_the_frame_before_stays_on_its_surface(program: Path, scene: dict[str, np.ndarray]) -> None:
    chance = np.random.default_rng(8)
    key, before, camera = (chance.uniform(0, 1, (HEIGHT, WIDTH, 4)).astype(np.float32) for _ in range(3))
    history = scene["history"].copy()
    history[..., 3] = 1
    last = scene["frame"][:, ::-1].copy()
    textures = {"_MainTex": key, "_History": history, "_Camera": camera, "_Frame": scene["frame"]}
    textures |= {"_FrameBefore": last, "_Before": before}
    plain = draw(program, "Move", **textures)
    got = draw(program, "Move", vectors={"_Stability": (0.7, 0.0, 0.0, 0.0)}, **textures)
    u, v = coordinates()
    at_u, at_v = u - scene["frame"][..., 0], v - scene["frame"][..., 1]
    now, then = scene["frame"][..., 2], nearest(last, at_u, at_v)[..., 2]
    same = inside(at_u, at_v) & (np.abs(then - now) <= 0.1 * now)
    assert 0.2 < same.mean() < 0.8
    share = 0.7 * same[..., None]
    wanted = plain[..., :3] * (1 - share) + bilinear(before, at_u, at_v)[..., :3] * share
    assert np.abs(got[..., :3] - wanted).max() < 1e-5


def test_without_any_neighbour_the_camera_is_shown(program: Path, scene: dict[str, np.ndarray]) -> None:
    history = scene["history"] * [1, 1, 1, 0]
    camera = np.random.default_rng(5).uniform(0, 1, (HEIGHT, WIDTH, 4)).astype(np.float32)
    got = draw(program, "Move", _MainTex=camera[::-1].copy(), _History=history, _Camera=camera)
    assert np.abs(got[..., :3] - camera[..., :3]).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "motion", "depth"),
    [
        ("Frame, built-in pipeline", "_CameraMotionVectorsTexture", "_CameraDepthTexture"),
        ("Frame, URP", "_MotionVectorTexture", "_CameraDepthTexture"),
        ("Frame, HDRP", "_MotionCopy", "_DepthCopy"),
    ],
)
def test_a_frame_holds_motion_and_distance(program: Path, name: str, motion: str, depth: str) -> None:
    chance = np.random.default_rng(6)
    vectors = chance.uniform(-0.1, 0.1, (HEIGHT, WIDTH, 4))
    distances = chance.uniform(0.5, 90, (HEIGHT, WIDTH))
    raws = np.repeat(np.vectorize(raw)(distances)[..., None], 4, axis=2)
    vectors[3, 5] = 2.0  # HDRP's mark for "no motion vector"
    numbers = {"_EyeDepth": eye_depth(0.3, 100.0, False, True)}
    got = draw(program, name, vectors=numbers, _MainTex=vectors, **{motion: vectors, depth: raws})
    assert np.abs(got[..., 2] / distances - 1).max() < 1e-3
    wanted = vectors[..., :2].copy()
    if name == "Frame, HDRP":
        wanted[3, 5] = 0
    assert np.abs(got[..., :2] - wanted).max() < 1e-6


def test_code_and_motion_shader_agree_on_passes_and_properties() -> None:
    names = list(PASSES)
    order = {name: int(number) for name, number in re.findall(r"const int Pass(\w+) = (\d);", REPROJECTION)}
    assert order == {name: names.index(name) for name in ("Begin", "Accumulate", "Move")}
    sources = dict(re.findall(r"^    (BuiltIn|Universal|Copies) = (\d)", REPROJECTION, re.MULTILINE))
    assert sources == {"BuiltIn": "0", "Universal": "1", "Copies": "2"}
    assert [name.partition(", ")[2] for name in names[:3]] == ["built-in pipeline", "URP", "HDRP"]
    used = set(re.findall(r'PropertyToID\("(\w+)"\)', REPROJECTION))
    assert used | {"_MainTex"} == set(re.findall(r"^        (_\w+)\(", MOTION, re.MULTILINE))
    assert f'Shader "{re.search(r"ShaderName = .(.*?).;", REPROJECTION)[1]}"' in MOTION
    mask = (SHADERS / "StyleTransferMask.shader").read_text()
    code = (TEMPLATES / "Runtime/ObjectMask.cs").read_text()
    uniforms = {*re.findall(r"float4(?:x4)? (_Style\w+);", mask), "_CameraDepthTexture"}
    assert set(re.findall(r'PropertyToID\("(\w+)"\)', code)) == uniforms
    assert f'Shader "{re.search(r"ShaderName = .(.*?).;", code)[1]}"' in mask
