"""StyleTransferMask.shader, run: its vertices land where the camera sees them, and it shows what is in front."""

from __future__ import annotations

import numpy as np
import pytest

from tests import vulkan
from tests.gpu import reference, unity
from tests.gpu.scenes import FAR, NEAR, SCENES, Rectangle, Scene

_KERNELS = """
RWStructuredBuffer<float4> StyleVertices;
RWTexture2D<float4> StyleTarget;
Texture2D<float4> StyleDepths;

[numthreads(1, 1, 1)]
void Vertices(uint3 id : SV_DispatchThreadID)
{
    StyleVertices[id.x] = Vertex(StyleVertices[id.x]).position;
}

[numthreads(1, 1, 1)]
void Fragments(uint3 id : SV_DispatchThreadID)
{
    float depth = StyleDepths[id.xy].r;
    Varyings input;
    input.position = float4(id.xy + 0.5, depth, 1);
    StyleTarget[id.xy] = depth < 0 ? float4(0, 0, 0, 0) : Fragment(input);
}
"""


def kernel(entry: str) -> vulkan.Kernel:
    text = unity.hlsl(unity.common(unity.text_of("Mask"))) + _KERNELS
    return vulkan.kernel(text, entry, {"UNITY_UV_STARTS_AT_TOP": 1}, [unity.INCLUDES])


def projection(scene: Scene, reversed_: bool) -> np.ndarray:
    """What `GL.GetGPUProjectionMatrix` gives on Direct3D, for a view space of y down and z forward."""
    height, width = scene.size
    near, far = (FAR, NEAR) if reversed_ else (NEAR, FAR)
    return np.array(
        [
            [1, 0, 0, 0],
            [0, width / height, 0, 0],
            [0, 0, far / (far - near), -near * far / (far - near)],
            [0, 0, 1, 0],
        ]
    )


def rasterise(triangles: np.ndarray, size: tuple[int, int], reversed_: bool) -> np.ndarray:
    """Depth of the nearest of triangles in clip space (n x 3 x 4) at each pixel, -1 where there is none."""
    u, v = reference.coordinates(size)
    depths = np.full(size, -1.0)
    for triangle in triangles:
        points = triangle[:, :3] / triangle[:, 3:]
        (ax, ay), (bx, by), (cx, cy) = (points[:, :2] + 1) / 2
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        b = ((u - ax) * (cy - ay) - (cx - ax) * (v - ay)) / area
        c = ((bx - ax) * (v - ay) - (u - ax) * (by - ay)) / area
        depth = points[0, 2] + b * (points[1, 2] - points[0, 2]) + c * (points[2, 2] - points[0, 2])
        nearer = (depths < 0) | (depth > depths if reversed_ else depth < depths)
        hit = (b >= 0) & (c >= 0) & (b + c <= 1) & nearer & (depth >= 0) & (depth <= 1)
        depths[hit] = depth[hit]
    return depths


def clip(corners: np.ndarray, matrix: np.ndarray, world: np.ndarray | None = None) -> np.ndarray:
    """The shader's vertex function on points (n x 3)."""
    held = vulkan.buffer(np.concatenate([corners, np.ones((len(corners), 1))], axis=1).astype(np.float32))
    uniforms = {"_StyleEyeDepth": np.zeros(4), "_StyleMaskSize": np.zeros(4), "unity_MatrixMVP": np.zeros((4, 4))}
    world = np.eye(4) if world is None else world
    uniforms |= {
        "_CameraDepthTexture_TexelSize": np.zeros(4),
        "_StyleViewProjection": matrix,
        "unity_ObjectToWorld": world,
    }
    kernel("Vertices").run((len(corners), 1, 1), StyleVertices=held, **uniforms)
    return held.read()


def mask(depths: np.ndarray, camera_depth: np.ndarray, lens: tuple[float, ...]) -> np.ndarray:
    """The shader's fragment function at the depths of the objects, 0 where there is none."""
    height, width = depths.shape
    target = vulkan.texture(np.zeros((height, width, 4), np.float32))
    kernel("Fragments").run(
        (width, height, 1),
        StyleTarget=target,
        StyleDepths=vulkan.texture(depths[..., None].astype(np.float32)),
        _CameraDepthTexture=unity.nearest(np.repeat(camera_depth[..., None], 4, axis=2)),
        _StyleViewProjection=np.eye(4),
        _StyleEyeDepth=lens,
        _StyleMaskSize=(width, height, 0, 0),
        _CameraDepthTexture_TexelSize=(1 / camera_depth.shape[1], 1 / camera_depth.shape[0], 0, 0),
        unity_MatrixMVP=np.zeros((4, 4)),
        unity_ObjectToWorld=np.eye(4),
    )
    return target.read()


def quad(rectangle: Rectangle, frame: int) -> np.ndarray:
    """Two triangles' corners."""
    x, y, z = rectangle.at(frame)
    w, h = rectangle.half
    a, b, c, d = ((x + i * w, y + j * h, z) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)))
    return np.array([a, b, c, a, c, d])


@pytest.mark.parametrize("reversed_", [False, True])
@pytest.mark.parametrize("name", ["passing", "falling"])
@pytest.mark.parametrize("size", [None, (36, 64), (108, 192)])
def test_the_mask_shows_an_object_where_nothing_hides_it(
    name: str, reversed_: bool, size: tuple[int, int] | None
) -> None:
    scene, frame = SCENES[name], 24
    size = size or scene.size
    view, _, _ = scene.frame(frame)
    lens = (NEAR, FAR, False, reversed_)
    camera_depth = reference.raw_depth(view.distance, *lens)
    corners = clip(quad(scene.rectangles[0], frame), projection(scene, reversed_))
    depths = rasterise(corners.reshape(-1, 3, 4), size, reversed_)
    drawn = mask(depths, camera_depth, reference.eye_depth(*lens))
    u, v = reference.coordinates(size)
    wanted = scene.view(frame, u, v).which == 0
    assert 0.02 < wanted.mean() < 0.5
    assert (drawn[..., 0] == drawn[..., 1]).all() and np.isin(drawn[..., 0], (0, 1)).all()
    # At another size than the depth texture's, a pixel's border may lie in either.
    assert ((drawn[..., 0] > 0.5) != wanted).mean() <= (0 if size == scene.size else 0.01)


@pytest.mark.parametrize("size", [(27, 48), (40, 70), (108, 192)])
def test_a_slanted_surface_does_not_hide_itself(size: tuple[int, int]) -> None:
    scene = SCENES["passing"]
    corners = np.array([[-1, -1, 3], [1, -1, 9], [1, 1, 9], [-1, -1, 3], [1, 1, 9], [-1, 1, 3]], float)
    triangles = clip(corners, projection(scene, True)).reshape(-1, 3, 4)
    seen = rasterise(triangles, (54, 96), True)
    lens = reference.eye_depth(NEAR, FAR, False, True)
    drawn = mask(rasterise(triangles, size, True), np.maximum(seen, 0), lens)[..., 0]
    inner = rasterise(triangles, size, True) >= 0
    assert inner.mean() > 0.05
    # At its silhouette the depth texture shows what is behind.
    for axis in (0, 1, 0, 1):
        inner &= np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
    assert (drawn[inner] == 1).all()


def test_the_objects_own_matrix_counts() -> None:
    matrix = projection(SCENES["passing"], True)
    world = np.array([[0, -2, 0, 1], [2, 0, 0, -1], [0, 0, 2, 3], [0, 0, 0, 1]], float)
    corners = np.random.default_rng(1).normal(size=(5, 3))
    points = np.concatenate([corners, np.ones((5, 1))], axis=1)
    assert np.abs(clip(corners, matrix, world) - points @ (matrix @ world).T).max() < 1e-4


@pytest.mark.parametrize("reversed_", [False, True])
def test_orthographic_cameras_may_have_objects_behind_them(reversed_: bool) -> None:
    lens = (-10.0, 50.0, True, reversed_)
    scene = np.array([[-5.0, -5.0, -5.0, 20.0, 20.0]])
    own = np.array([[-5.0, -6.0, -4.0, 19.0, 21.0]])
    raw = [reference.raw_depth(distances, *lens) for distances in (own, scene)]
    drawn = mask(raw[0], raw[1], reference.eye_depth(*lens))
    assert drawn[0, :, 0].tolist() == [1, 1, 0, 1, 0]


def test_what_is_not_a_number_hides() -> None:
    depth = np.array([[0.5, np.nan, np.inf, 0.5]])
    drawn = mask(np.full((1, 4), 0.5), depth, reference.eye_depth(NEAR, FAR, False, True))
    assert drawn[0, :, 0].tolist() == [1, 0, 0, 1]
