"""Draws full-screen passes of our Unity shaders on a Vulkan device: `draw` is `Graphics.Blit`.

A pass's own HLSL is compiled, vertex and fragment function, as a compute kernel with a thread for each pixel of
the target. Unity's names get the meaning that its documentation gives them.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from tests import vulkan
from tests.csharp.toolchain import TEMPLATES

SHADERS = TEMPLATES / "Runtime/Shaders"
INCLUDES = Path(__file__).resolve().parent / "includes"

_GROUP = 8

_ENTRY = """
RWTexture2D<float4> StyleTarget;
float4 StyleSize;
float StyleFlipped;

[numthreads({group}, {group}, 1)]
void Main(uint3 id : SV_DispatchThreadID)
{{
    if (id.x >= (uint)StyleSize.x || id.y >= (uint)StyleSize.y) return;
    float2 uv = (id.xy + 0.5) / StyleSize.xy;
    appdata_img corner;
    corner.vertex = float4(uv, 0, 1);
    corner.texcoord = float2(uv.x, StyleFlipped > 0 ? 1 - uv.y : uv.y);
    Varyings input = {vertex}(corner);
    input.position = float4(id.xy + 0.5, 0, 1);
    StyleTarget[id.xy] = {fragment}(input);
}}
"""


@functools.cache
def text_of(shader: str) -> str:
    """The ShaderLab text of `StyleTransfer<shader>.shader`."""
    return (SHADERS / f"StyleTransfer{shader}.shader").read_text()


def common(text: str) -> str:
    """What all passes of a shader share."""
    return re.search(r"(?:CG|HLSL)INCLUDE(.*?)END(?:CG|HLSL)", text, re.DOTALL)[1]


def passes(text: str) -> dict[str, tuple[str, str]]:
    """Vertex and fragment function of each pass with a name, in order."""
    blocks = re.findall(r'Name "([^"]+)"(.*?)END(?:CG|HLSL)', text, re.DOTALL)
    pragmas = {name: dict(re.findall(r"#pragma (vertex|fragment) (\w+)", block)) for name, block in blocks}
    return {name: (stages["vertex"], stages["fragment"]) for name, stages in pragmas.items()}


def hlsl(text: str) -> str:
    """A shader's functions in the HLSL of today: a sampler2D becomes a texture and a sampler.

    There are no mips, so that level 0 is what tex2D and Sample read. Load4 is four loads, because wgpu refuses the
    signed indices that glslangValidator makes of it.
    """
    separate = r"\1Texture2D<float4> \2; SamplerState sampler\2;"
    text = re.sub(r"^( *)sampler2D(?:_float)? (\w+);", separate, text, flags=re.MULTILINE)
    loads = ", ".join(rf"\1.Load(\2 + {4 * i}u)" for i in range(4))
    text = re.sub(r"(\w+)\.Load4\(([\w +]+)\)", f"uint4({loads})", text)
    return re.sub(r"\.Sample\((\w+), ([\w.]+)\)", r".SampleLevel(\1, \2, 0)", text)


_PROPERTY = r'^        (_\w+)\("[^"]*", ([\w(), .]+)\) = (.*)$'


def properties_of(text: str) -> dict[str, Any]:
    """What a material's properties are before they are set: the values in the shader's own `Properties`."""
    values: dict[str, Any] = {}
    for name, kind, value in re.findall(_PROPERTY, text, re.MULTILINE):
        if kind == "2D":
            level = {"black": 0.0, "white": 1.0}[re.match(r'"(\w+)" {}$', value)[1]]
            values[name] = vulkan.texture(np.array([[[level, level, level, 1]]], np.float32))
        else:
            values[name] = [float(number) for number in re.findall(r"-?[\d.]+", value)]
    return values


@functools.cache
def kernel(shader: str, name: str, starts_at_top: bool = True, text: str = "") -> vulkan.Kernel:
    """A pass as a compute kernel; `text` stands for the shader's own."""
    text = text or text_of(shader)
    vertex, fragment = passes(text)[name]
    entry = _ENTRY.format(group=_GROUP, vertex=vertex, fragment=fragment)
    defines = {"UNITY_UV_STARTS_AT_TOP": int(starts_at_top)}
    return vulkan.kernel(hlsl(common(text)) + entry, defines=defines, include=[INCLUDES])


def draw(
    shader: str,
    name: str,
    source: np.ndarray,
    size: tuple[int, int],
    flipped: bool = False,
    point: bool = False,
    text: str = "",
    **properties: Any,
) -> np.ndarray:
    """What `Graphics.Blit(source, target, material, pass)` leaves in the target.

    Args:
        shader: `Convert` or `Motion`.
        name: the pass's name.
        source: `_MainTex`, height x width x 4, float32; row 0 is at v = 0.
        size: of the target, (height, width).
        flipped: what Direct3D-like APIs do to the camera's picture with anti-aliasing: it is upside down, Unity
            says so by a negative `_MainTex_TexelSize.y`, and Blit turns the texture coordinates.
        point: sample the source at the nearest texel.
        properties: of the material: numbers; pictures, sampled bilinearly; `vulkan.Texture`s. Those that are not
            given are what the shader says.
    """
    height, width = source.shape[:2]
    target = vulkan.texture(np.zeros((*size, 4), np.float32))
    bound = {
        key: vulkan.texture(value.astype(np.float32))
        if isinstance(value, np.ndarray) and value.ndim == 3
        else value
        for key, value in properties.items()
    }
    given = properties_of(text or text_of(shader)) | bound
    sizes = {f"{key}_TexelSize": _texel_size(value) for key, value in given.items() if hasattr(value, "view")}
    main = source[::-1] if flipped else source
    kernel(shader, name, text=text).run(
        (-(-size[1] // _GROUP), -(-size[0] // _GROUP), 1),
        StyleTarget=target,
        StyleSize=(size[1], size[0], 0, 0),
        StyleFlipped=float(flipped),
        point_clamp_sampler=vulkan.sampler(point=True),
        unity_MatrixMVP=np.eye(4),
        unity_ObjectToWorld=np.eye(4),
        _MainTex=vulkan.texture(main.astype(np.float32), point),
        _MainTex_TexelSize=(1 / width, (-1 if flipped else 1) / height, width, height),
        **{key: value for key, value in (sizes | given).items() if not key.startswith("_MainTex")},
    )
    return target.read()


def _texel_size(texture: vulkan.Texture) -> tuple[float, float, int, int]:
    """What Unity sets beside each texture."""
    height, width = texture.shape[:2]
    return 1 / width, 1 / height, width, height


def nearest(picture: np.ndarray) -> vulkan.Texture:
    """A picture that is sampled at the nearest texel, as `FilterMode.Point` says."""
    return vulkan.texture(picture.astype(np.float32), point=True)
