"""Distances as EyeDepth.cs gives them, and that C# and StyleTransferMotion.shader agree on passes and properties.

What the shader draws: tests/gpu.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.csharp.conftest import ask
from tests.csharp.toolchain import TEMPLATES
from tests.gpu.reference import eye_depth
from tests.gpu.unity import passes, text_of

MOTION = text_of("Motion")
REPROJECTION, INTERPOLATION = (
    (TEMPLATES / f"Runtime/{name}.cs").read_text() for name in ("Reprojection", "Interpolation")
)


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
            expected = (known[0] * depth + known[1]) / (known[2] * depth + known[3])
            assert (x * depth + y) / (z * depth + w) == pytest.approx(expected, rel=1e-4)
        ends = sorted((x * depth + y) / (z * depth + w) for depth in (0.0, 1.0))
        assert ends == pytest.approx([near, far], rel=1e-4)


def test_code_and_motion_shader_agree_on_passes_and_properties() -> None:
    names = list(passes(MOTION))
    both = REPROJECTION + INTERPOLATION
    order = {name: int(number) for name, number in re.findall(r"const int Pass(\w+) = (\d);", both)}
    assert order == {name: names.index(name) for name in ("Begin", "Accumulate", "Move", "Interpolate", "Fill")}
    sources = dict(re.findall(r"^    (BuiltIn|Universal|Copies) = (\d)", REPROJECTION, re.MULTILINE))
    assert sources == {"BuiltIn": "0", "Universal": "1", "Copies": "2"}
    assert [name.partition(", ")[2] for name in names[:3]] == ["built-in pipeline", "URP", "HDRP"]
    used = set(re.findall(r'PropertyToID\("(\w+)"\)', both))
    assert used | {"_MainTex"} == set(re.findall(r"^        (_\w+)\(", MOTION, re.MULTILINE))
    assert f'Shader "{re.search(r"ShaderName = .(.*?).;", REPROJECTION)[1]}"' in MOTION
    mask = text_of("Mask")
    code = (TEMPLATES / "Runtime/ObjectMask.cs").read_text()
    uniforms = {*re.findall(r"float4(?:x4)? (_Style\w+);", mask), "_CameraDepthTexture"}
    assert set(re.findall(r'PropertyToID\("(\w+)"\)', code)) == uniforms
    assert f'Shader "{re.search(r"ShaderName = .(.*?).;", code)[1]}"' in mask
