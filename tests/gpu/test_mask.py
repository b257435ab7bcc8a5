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
    Attributes corner;
    corner.position = StyleVertices[id.x];
    corner.instance = id.x;
    StyleVertices[id.x] = Vertex(corner).position;
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


def kernel(entry: str, **defines: int) -> vulkan.Kernel:
    text = unity.hlsl(unity.common(unity.text_of("Mask"))) + _KERNELS
    return vulkan.kernel(text, entry, {"UNITY_VERSION": 201944, **defines})


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
    stored = vulkan.buffer(np.concatenate([corners, np.ones((len(corners), 1))], axis=1).astype(np.float32))
    uniforms = {"_StyleEyeDepth": np.zeros(4), "_StyleMaskSize": np.zeros(4)}
    world = np.eye(4) if world is None else world
    uniforms |= {
        "_CameraDepthTexture_TexelSize": np.zeros(4),
        "_StyleViewProjection": matrix,
        "unity_ObjectToWorld": world,
    }
    kernel("Vertices").run((len(corners), 1, 1), StyleVertices=stored, **uniforms)
    return stored.read()


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
    expected = scene.view(frame, u, v).which == 0
    assert 0.02 < expected.mean() < 0.5
    assert (drawn[..., 0] == drawn[..., 1]).all() and np.isin(drawn[..., 0], (0, 1)).all()
    # At another size than the depth texture's, a pixel's border may lie in either.
    assert ((drawn[..., 0] > 0.5) != expected).mean() <= (0 if size == scene.size else 0.01)


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


OBJECTS = 9
INDIRECT, PER_INSTANCE, CROSS_FADE = 0x80000000, 0x80000000, 32


def resident(draw: str, matrices: np.ndarray, visible: np.ndarray) -> dict[str, vulkan.Buffer]:
    """What Unity 6 binds for a draw of the GPU Resident Drawer.

    As UnityDOTSInstancing.hlsl of com.unity.render-pipelines.core 17 reads it: `matrices` of all objects, and the
    objects that are `visible`, listed in the draw's own table or in a list of all draws.
    """
    table = np.zeros((256, 4), np.uint32)
    lists, place = np.zeros(64, np.uint32), 160
    listed = visible.astype(np.uint32)
    if "fading" in draw:
        listed = listed | np.arange(1, len(listed) + 1, dtype=np.uint32) << 24
        table[0, 3] = CROSS_FADE
    if "indirect" in draw:
        start = 11
        table[0, 1] = INDIRECT | start
        lists[start : start + len(listed)] = listed
    else:
        table[: len(listed), 0] = listed
    data = np.zeros(place // 4 + 12 * OBJECTS, np.float32)
    # Three rows of a matrix, by columns.
    data[place // 4 :] = matrices[:, :3].transpose(0, 2, 1).reshape(-1)
    metadata = np.array([place | (0 if draw == "shared" else PER_INSTANCE), 0, 0, 0], np.uint32)
    return {
        "UnityInstancingDOTS_InstanceVisibility": vulkan.buffer(table),
        "UnityDOTSInstancing_BuiltinPropertyMetadata": vulkan.buffer(metadata),
        "unity_DOTSInstanceData": vulkan.buffer(data),
        "unity_DOTSInstancing_IndirectInstanceVisibility": vulkan.buffer(lists),
    }


@pytest.mark.parametrize("draw", ["direct", "indirect", "direct fading", "indirect fading", "shared"])
def test_objects_of_the_gpu_resident_drawer_are_where_they_are(draw: str) -> None:
    """Instance i of a draw is the i-th visible object; a matrix that is not kept per instance is all objects'."""
    chance = np.random.default_rng(5)
    matrices = np.tile(np.eye(4), (OBJECTS, 1, 1))
    matrices[:, :3] = chance.normal(size=(OBJECTS, 3, 4))
    visible = np.array([7, 0, 3, 8, 2])
    corners = np.concatenate([chance.normal(size=(len(visible), 3)), np.ones((len(visible), 1))], axis=1)
    stored = vulkan.buffer(corners.astype(np.float32))
    view = projection(SCENES["passing"], True)
    kernel("Vertices", DOTS_INSTANCING_ON=1, UNITY_VERSION=60000058).run(
        (len(visible), 1, 1),
        StyleVertices=stored,
        _StyleViewProjection=view,
        **dict.fromkeys(("_StyleEyeDepth", "_StyleMaskSize", "_CameraDepthTexture_TexelSize"), np.zeros(4)),
        unity_ObjectToWorld=np.full((4, 4), np.nan),
        **resident(draw, matrices, visible),
    )
    of = np.zeros(len(visible), int) if draw == "shared" else visible
    expected = np.einsum("ij,njk,nk->ni", view, matrices[of], corners)
    assert np.abs(stored.read() - expected).max() < 1e-4


def test_only_unity_6_has_such_a_buffer() -> None:
    """Before, the same keyword means another layout: those objects are drawn as everything else is."""
    for version in (201944, 202230):
        found = kernel("Vertices", DOTS_INSTANCING_ON=1, UNITY_VERSION=version).resources
        assert not any("DOTS" in name for name in found)


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
