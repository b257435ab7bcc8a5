"""What TextureConverter of Sentis and Inference Engine does to a picture, as kernels of our own.

Written from the packages' documentation of ToTensor, RenderToTexture and TextureTransform, and held once against
the packages' kernels of 2.1.3, 2.2.2, 2.3.0 and 2.4.0, which gave the same bits. For textures of the tensor's
size: channels first, row 0 of the tensor at the top (CoordOrigin.TopLeft), row 0 of a texture at the bottom; from
2.2 on ToTensor re-encodes textures whose format is sRGB. Results are written as they are: the texture clamps.
"""

from __future__ import annotations

import numpy as np

from tests import vulkan

_GROUP = 8

_TO_TENSOR = """
Texture2D<float4> Picture;
RWStructuredBuffer<float> Values;
uint Width, Height, Channels, Encodes;

float Encoded(float value)
{
    return value > 0.0031308 ? 1.055 * pow(abs(value), 1 / 2.4) - 0.055 : 12.92 * value;
}

[numthreads(8, 8, 1)]
void Main(uint3 at : SV_DispatchThreadID)
{
    if (at.x >= Width || at.y >= Height) return;
    float4 color = Picture[uint2(at.x, Height - 1 - at.y)];
    for (uint channel = 0; channel < Channels; channel++)
    {
        float value = color[channel];
        if (Encodes) value = Encoded(value);
        Values[(channel * Height + at.y) * Width + at.x] = value;
    }
}
"""

_RENDER = """
StructuredBuffer<float> Values;
RWTexture2D<float4> Picture;
uint Width, Height, Channels;

[numthreads(8, 8, 1)]
void Main(uint3 at : SV_DispatchThreadID)
{
    if (at.x >= Width || at.y >= Height) return;
    float4 color = float4(0, 0, 0, 1);
    for (uint channel = 0; channel < 4; channel++)
    {
        uint from = Channels == 1 ? 0 : channel;
        if (from < Channels) color[channel] = Values[(from * Height + at.y) * Width + at.x];
    }
    Picture[uint2(at.x, Height - 1 - at.y)] = color;
}
"""


def to_tensor(picture: np.ndarray, channels: int = 3, encodes: bool = False) -> np.ndarray:
    """What ToTensor gives of a texture (height, width, 4), row 0 at the bottom: (1, channels, height, width)."""
    height, width = picture.shape[:2]
    values = vulkan.buffer(np.zeros((1, channels, height, width), np.float32))
    vulkan.kernel(_TO_TENSOR).run(
        _groups(width, height),
        Picture=vulkan.texture(picture),
        Values=values,
        Width=width,
        Height=height,
        Channels=channels,
        Encodes=int(encodes),
    )
    return values.read()


def render(values: np.ndarray) -> np.ndarray:
    """What RenderToTexture writes of a tensor (1, C, height, width), into a texture that can hold any number."""
    channels, height, width = values.shape[1:]
    picture = vulkan.texture(np.zeros((height, width, 4), np.float32))
    vulkan.kernel(_RENDER).run(
        _groups(width, height),
        Values=vulkan.buffer(values.astype(np.float32)),
        Picture=picture,
        Width=width,
        Height=height,
        Channels=channels,
    )
    return picture.read()


def _groups(width: int, height: int) -> tuple[int, int, int]:
    return -(-width // _GROUP), -(-height // _GROUP), 1
