"""Runs HLSL compute kernels on a Vulkan device: glslangValidator compiles them, wgpu runs them.

The device may be software (Debian's mesa-vulkan-drivers): float32, real samplers, NaN and infinity as on a GPU.

    kernel = vulkan.kernel(hlsl, entry="Main", defines={"WIDTH": 8})
    result = vulkan.buffer(np.zeros(64, np.float32))
    kernel.run((8, 1, 1), Source=vulkan.buffer(values), Result=result, _Scale=2.0)
    result.read()

Everything is bound by its name in the HLSL: buffers, textures, samplers, constant buffers, and uniforms that stand
outside of any buffer. Registers need not be written.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.csharp.toolchain import INSTALL, tool
from tests.spirv import Resource, resources

_FORMATS = {
    ("float32", 4): "rgba32float",
    ("float32", 2): "rg32float",
    ("float32", 1): "r32float",
    ("float16", 4): "rgba16float",
    ("uint8", 4): "rgba8unorm",
}


class CompileError(Exception):
    """What glslangValidator says about a kernel."""


@functools.cache
def device() -> Any:
    """The wgpu device, software before hardware; fails the test if there is none."""
    import wgpu

    # OpenGL has no float32 filtering that could be relied on.
    adapters = [it for it in wgpu.gpu.enumerate_adapters_sync() if it.info["backend_type"] != "OpenGL"]
    if not adapters:
        pytest.fail(f"There is no Vulkan device. Install one in software: {INSTALL}", pytrace=False)
    adapter = min(adapters, key=lambda it: it.info["adapter_type"] != "CPU")
    expected = {"float32-filterable", "texture-adapter-specific-format-features", "shader-f16"}
    limits = {
        name: adapter.limits[name]
        for name in ("max-storage-buffer-binding-size", "max-buffer-size", "max-storage-buffers-per-shader-stage")
    }
    features = sorted(expected & set(adapter.features))
    return adapter.request_device_sync(required_features=features, required_limits=limits)


@dataclass(eq=False)
class Buffer:
    """An array on the device, for structured buffers and constant buffers."""

    handle: Any
    dtype: np.dtype
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """What the buffer holds now, in the type and shape that it was made of."""
        data = device().queue.read_buffer(self.handle)
        return np.frombuffer(data, self.dtype, int(np.prod(self.shape))).reshape(self.shape).copy()


@dataclass(eq=False)
class Texture:
    """A picture on the device, height x width x channels; row 0 is at texture coordinate v = 0."""

    handle: Any
    view: Any
    dtype: np.dtype
    shape: tuple[int, int, int]
    format: str
    point: bool

    def read(self) -> np.ndarray:
        """What the picture holds now; of a `uint8` picture the bytes."""
        height, width, channels = self.shape
        layout = {"bytes_per_row": width * channels * self.dtype.itemsize, "rows_per_image": height}
        data = device().queue.read_texture({"texture": self.handle}, layout, (width, height, 1))
        return np.frombuffer(data, self.dtype).reshape(self.shape).copy()


def buffer(values: np.ndarray) -> Buffer:
    """A buffer that holds an array; kernels read and write it."""
    import wgpu

    values = np.asarray(values)
    flags = wgpu.BufferUsage
    usage = flags.STORAGE | flags.UNIFORM | flags.COPY_SRC | flags.COPY_DST
    # WebGPU's buffers are whole numbers of four bytes, constant buffers of sixteen, and none is empty.
    data = values.tobytes()
    data += b"\0" * (-len(data) % 16 or 16 * (not data))
    return Buffer(device().create_buffer_with_data(data=data, usage=usage), values.dtype, values.shape)


def texture(pixels: np.ndarray, point: bool = False) -> Texture:
    """A picture to sample from, or to write to.

    Args:
        pixels: height x width x channels; float32 of 1, 2 or 4 channels, float16 or uint8 (0..255 is 0..1) of 4.
        point: sample the nearest texel, not bilinearly.
    """
    import wgpu

    pixels = np.ascontiguousarray(pixels)
    height, width, channels = pixels.shape
    layout = _FORMATS[pixels.dtype.name, channels]
    flags = wgpu.TextureUsage
    usage = flags.TEXTURE_BINDING | flags.COPY_SRC | flags.COPY_DST
    usage |= flags.STORAGE_BINDING if pixels.dtype == np.float32 else 0
    handle = device().create_texture(size=(width, height, 1), format=layout, usage=usage)
    rows = {"bytes_per_row": width * channels * pixels.itemsize, "rows_per_image": height}
    device().queue.write_texture({"texture": handle}, pixels.tobytes(), rows, (width, height, 1))
    return Texture(handle, handle.create_view(), pixels.dtype, (height, width, channels), layout, point)


@functools.cache
def sampler(point: bool = False) -> Any:
    """A sampler that clamps at the borders: bilinear, or the nearest texel."""
    mode = "nearest" if point else "linear"
    return device().create_sampler(mag_filter=mode, min_filter=mode)


@dataclass(eq=False)
class Kernel:
    """A compiled compute kernel."""

    spirv: bytes
    entry: str
    resources: Mapping[str, Resource] = field(init=False)

    def __post_init__(self) -> None:
        self.resources = resources(self.spirv)

    @functools.cached_property
    def _pipeline(self) -> Any:
        import wgpu

        entries = [
            {"binding": it.binding, "visibility": wgpu.ShaderStage.COMPUTE, **_LAYOUTS[it.kind](it)}
            for it in self.resources.values()
        ]
        layout = device().create_pipeline_layout(
            bind_group_layouts=[device().create_bind_group_layout(entries=entries)]
        )
        module = device().create_shader_module(code=self.spirv)
        stage = {"module": module, "entry_point": self.entry}
        return device().create_compute_pipeline(layout=layout, compute=stage)

    def run(self, groups: Sequence[int], **bound: Any) -> None:
        """Runs thread groups, after whatever was run before.

        Args:
            groups: how many, along x, y and z.
            bound: by name in the HLSL. A `Buffer` or an array for a buffer, a `Texture`, a sampler, and numbers
                for a uniform outside of any buffer (a square matrix as an array of rows). The sampler `samplerX`
                need not be given: it is the one that texture `X` asks for. What the kernel does not use is left
                out.

        Raises:
            KeyError: the kernel uses a name that was not given.
        """
        entries = [
            {"binding": it.binding, "resource": self._resource(name, it, bound)}
            for name, it in self.resources.items()
        ]
        pipeline = self._pipeline
        group = device().create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
        encoder = device().create_command_encoder()
        work = encoder.begin_compute_pass()
        work.set_pipeline(pipeline)
        work.set_bind_group(0, group)
        work.dispatch_workgroups(*groups)
        work.end()
        device().queue.submit([encoder.finish()])

    def _resource(self, name: str, resource: Resource, bound: Mapping[str, Any]) -> Any:
        if name == "$Global":
            return _whole(buffer(np.frombuffer(_packed(resource, bound), np.uint8)))
        value = bound.get(name)
        if value is None and resource.kind == "sampler":
            value = sampler(bound[name.removeprefix("sampler")].point)
        if value is None:
            raise KeyError(f"the kernel uses {name}, which was not given")
        if isinstance(value, Texture):
            return value.view
        if isinstance(value, np.ndarray):
            value = buffer(value)
        return _whole(value) if isinstance(value, Buffer) else value


_LAYOUTS: dict[str, Any] = {
    "uniform": lambda it: {"buffer": {"type": "uniform"}},
    "storage": lambda it: {"buffer": {"type": "read-only-storage" if it.read_only else "storage"}},
    "sampler": lambda it: {"sampler": {"type": "filtering"}},
    "texture": lambda it: {"texture": {"sample_type": "float"}},
    "storage texture": lambda it: {"storage_texture": {"access": it.access, "format": it.format}},
}


def _whole(of: Buffer) -> dict[str, Any]:
    return {"buffer": of.handle, "offset": 0, "size": of.handle.size}


def _packed(resource: Resource, bound: Mapping[str, Any]) -> bytes:
    """The bytes of the uniforms outside of any buffer."""
    data = bytearray(resource.size)
    for name, member in resource.members.items():
        if name not in bound:
            raise KeyError(f"the kernel uses {name}, which was not given")
        values = np.asarray(bound[name], member.dtype)
        # HLSL keeps matrices by columns, each in 16 bytes.
        columns = values.T if values.ndim == 2 else values.reshape(1, -1)
        for i, column in enumerate(columns):
            start = member.offset + 16 * i
            data[start : start + 4 * len(column)] = column.tobytes()
    return bytes(data)


def compile_hlsl(
    text: str, entry: str = "Main", defines: Mapping[str, object] | None = None, include: Sequence[Path] = ()
) -> bytes:
    """SPIR-V of a compute kernel.

    Raises:
        CompileError: the text is not valid HLSL.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "kernel.hlsl", Path(folder) / "kernel.spv"
        source.write_text(text)
        options = ["-D", "-V", "--target-env", "vulkan1.1", "-S", "comp", "-e", entry, "-o", str(out)]
        # Registers t0, s0, u0 and b0 are four places in HLSL and one in Vulkan.
        options += ["--auto-map-bindings", "--shift-texture-binding", "100", "--shift-sampler-binding", "200"]
        options += ["--shift-image-binding", "300", "--shift-ssbo-binding", "400", "--shift-UBO-binding", "500"]
        options += [f"-D{name}={value}" for name, value in (defines or {}).items()]
        options += [f"-I{path}" for path in include]
        done = subprocess.run(
            [tool("glslangValidator"), *options, str(source)], capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise CompileError(done.stdout + done.stderr)
        return out.read_bytes()


@functools.cache
def _cached(text: str, entry: str, defines: tuple[tuple[str, object], ...], include: tuple[Path, ...]) -> Kernel:
    return Kernel(compile_hlsl(text, entry, dict(defines), include), entry)


def kernel(
    text: str, entry: str = "Main", defines: Mapping[str, object] | None = None, include: Sequence[Path] = ()
) -> Kernel:
    """A kernel of an HLSL text; the same text and defines are compiled once in a process."""
    return _cached(text, entry, tuple((defines or {}).items()), tuple(include))
