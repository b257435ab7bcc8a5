"""Runs a plan's own kernels on a GPU, or on a software device: Vulkan, Metal or D3D12, by wgpu.

Needs the extra `gpu` (wgpu) and glslangValidator, which makes SPIR-V of the HLSL.
"""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute import kernels
from pipeline.targets.compute.constants import SHAPE, constants, groups, partial_elements
from pipeline.targets.compute.layout import buffer
from pipeline.targets.compute.plan import PICTURE, Dispatch, Plan

_READ = ("_Weights", "_Tables", "_SourceA", "_SourceB", "_Tiles")
_WRITTEN = ("_Output", "_Kept", "_Partials", "_NewTables")
_GLOBALS = "$Global"


@functools.cache
def device(prefer_software: bool = False) -> Any:
    """The wgpu device: the fastest one, or the software one for tests. Raises PipelineError `no-gpu`."""
    try:
        import wgpu
    except ImportError as error:
        raise PipelineError(
            "no-gpu",
            "running kernels needs the Python package wgpu, which is not installed",
            subject="--gpu",
            remedy="Install the extra: pip install 'unity-bridge-pipeline[gpu]'.",
        ) from error
    adapters = [each for each in wgpu.gpu.enumerate_adapters_sync() if each.info["backend_type"] != "OpenGL"]
    if not adapters:
        raise PipelineError(
            "no-gpu",
            "no Vulkan, Metal or Direct3D 12 device was found",
            subject="--gpu",
            remedy="Install a driver; a software one is Debian's mesa-vulkan-drivers.",
        )
    order = ("CPU", "DiscreteGPU", "IntegratedGPU") if prefer_software else ("DiscreteGPU", "IntegratedGPU")
    adapter = min(adapters, key=lambda each: (*order, each.info["adapter_type"]).index(each.info["adapter_type"]))
    limits = {
        name: adapter.limits[name]
        for name in ("max-storage-buffer-binding-size", "max-buffer-size", "max-storage-buffers-per-shader-stage")
    }
    features = [name for name in ("timestamp-query",) if name in adapter.features]
    return adapter.request_device_sync(required_features=features, required_limits=limits)


def device_name() -> str:
    """The name of the device in use, with its API."""
    info = device_in_use().adapter.info
    return f"{info['device']} ({info['backend_type']})"


# --- kernels -------------------------------------------------------------------------------------------------


@functools.cache
def spirv(kernel: str, name: str, macros: tuple[tuple[str, int], ...]) -> bytes:
    """Compile a variant to SPIR-V. Raises PipelineError `no-shader-compiler`, `kernel-does-not-compile`."""
    compiler = shutil.which("glslangValidator")
    if compiler is None:
        raise PipelineError(
            "no-shader-compiler",
            "running kernels needs glslangValidator, which is not installed",
            subject="--gpu",
            remedy="Install glslang-tools (Debian), glslang (Homebrew) or the Vulkan SDK.",
        )
    folder = kernels.folder()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "kernel.spv"
        defines = [f"-D{macro}={number}" for macro, number in (("ENTRY", name), *macros)]
        command = [
            compiler,
            "-D",
            "-V",
            "--target-env",
            "vulkan1.1",
            "-S",
            "comp",
            "-e",
            name,
            "--amb",
            f"-I{folder}",
        ]
        done = subprocess.run(
            [*command, *defines, "-o", str(out), str(folder / f"{kernel}.hlsl")],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
            raise PipelineError(
                "kernel-does-not-compile", f"glslangValidator refuses {name}: {(errors or ['?'])[0][:300]}"
            )
        return out.read_bytes()


_NAME, _DECORATE, _BINDING, _NON_READABLE = 5, 71, 33, 25
_HEADER_WORDS = 5


def _bound(module: bytes) -> tuple[bytes, dict[str, int]]:
    """A SPIR-V module with its output texture decorated NonReadable, and bindings of resources by name.

    Storage textures of most formats may only be written.
    """
    words = list(struct.unpack(f"<{len(module) // 4}I", module))
    names, bindings = {}, {}
    at, decorations = _HEADER_WORDS, 0
    while at < len(words):
        operation, end = words[at] & 0xFFFF, at + (words[at] >> 16)
        if operation == _NAME:
            text = struct.pack(f"<{end - at - 2}I", *words[at + 2 : end])
            names[words[at + 1]] = text.split(b"\0")[0].decode()
        elif operation == _DECORATE:
            decorations = decorations or at
            if words[at + 2] == _BINDING:
                bindings[names.get(words[at + 1]) or _GLOBALS] = words[at + 3]
        at = end
    for number, name in names.items():
        if name == "_Painted":
            words[decorations:decorations] = [3 << 16 | _DECORATE, number, _NON_READABLE]
    return struct.pack(f"<{len(words)}I", *words), bindings


class _Kernel:
    def __init__(self, module: bytes, name: str) -> None:
        import wgpu

        module, self.bindings = _bound(module)
        entries = []
        for resource, binding in self.bindings.items():
            entry: dict[str, Any] = {"binding": binding, "visibility": wgpu.ShaderStage.COMPUTE}
            if resource in _READ:
                entry["buffer"] = {"type": "read-only-storage"}
            elif resource in _WRITTEN:
                entry["buffer"] = {"type": "storage"}
            elif resource == "_Picture":
                entry["texture"] = {"sample_type": "unfilterable-float"}
            elif resource == "_Painted":
                entry["storage_texture"] = {"access": "write-only", "format": "rgba32float"}
            else:
                entry["buffer"] = {"type": "uniform"}
            entries.append(entry)
        self.layout = device_in_use().create_bind_group_layout(entries=entries)
        pipeline_layout = device_in_use().create_pipeline_layout(bind_group_layouts=[self.layout])
        shader = device_in_use().create_shader_module(code=module)
        self.pipeline = device_in_use().create_compute_pipeline(
            layout=pipeline_layout, compute={"module": shader, "entry_point": name}
        )


_software = False


def use_software() -> None:
    """Use the software device from now on, as tests do."""
    global _software
    _software = True


def device_in_use() -> Any:
    return device(_software)


@functools.cache
def _kernel(kernel: str, name: str, macros: tuple[tuple[str, int], ...]) -> _Kernel:
    return _Kernel(spirv(kernel, name, macros), name)


# --- timing --------------------------------------------------------------------------------------------------

_MAX_RUNS = 200


def timed(plan: Plan, size: Size, seconds: float) -> dict[str, Any]:
    """Time the plan for a picture of `size`: median and minimum of its runs in milliseconds.

    Runs are repeated for `seconds`. Each is submitted as a whole and waited for; the picture stays on the device.
    The first two runs warm up and are not counted, unless the first one alone takes `seconds`: then it is the
    result.
    """
    executor = Executor(plan, size)

    def run() -> float:
        start = time.perf_counter()
        executor.submit()
        executor.wait()
        return time.perf_counter() - start

    first = run()
    times = [first]
    if first < seconds:
        run()
        times, end = [run()], time.perf_counter() + seconds
        while len(times) < _MAX_RUNS and time.perf_counter() < end:
            times.append(run())
    return {
        "median": round(1000 * float(np.median(times)), 3),
        "minimum": round(1000 * min(times), 3),
        "runs": len(times),
        "device": device_name(),
    }


# --- running -------------------------------------------------------------------------------------------------


class Executor:
    """A plan with its buffers and bind groups on the device, for pictures of one size.

    Every buffer is initialised with NaN and followed by `guard` elements of NaN, so that a read of uninitialised
    or out-of-bounds memory shows in the output. `guards_intact` tells whether a kernel wrote behind a buffer.
    `flip`: rows of the input and output textures are stored bottom-up.
    """

    def __init__(self, plan: Plan, size: Size, guard: int = 0, flip: bool = False) -> None:
        import wgpu

        self.plan, self.size, self.guard, self.flip = plan, size, guard, flip
        self._sizes = plan.sizes(size)
        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST
        self._usage = usage
        gpu = device_in_use()
        self._weights = gpu.create_buffer_with_data(data=buffer(plan).tobytes(), usage=usage)
        each = 8 if plan.half else 16
        self._slots = [self._poisoned(count, each) for count in plan.slot_elements(size)]
        self._tables = self._poisoned(plan.table_elements, 16)
        self._partials = self._poisoned(partial_elements(plan, self._sizes), 16)
        flags = wgpu.TextureUsage
        out = self._sizes[plan.result]
        read = flags.TEXTURE_BINDING | flags.COPY_DST
        self._textures = [
            gpu.create_texture(size=(size.width, size.height, 1), format="rgba32float", usage=read)
            for _ in plan.input_widths
        ]
        self._painted = gpu.create_texture(
            size=(out.width, out.height, 1), format="rgba32float", usage=flags.STORAGE_BINDING | flags.COPY_SRC
        )
        self._texture_views = [texture.create_view() for texture in self._textures]
        self._painted_view = self._painted.create_view()
        self._passes = [self._prepared(dispatch) for dispatch in plan.dispatches]

    def _poisoned(self, elements: int, each: int) -> Any:
        data = np.full((max(1, elements) + self.guard) * each // 4, 0x7FC07FC0, np.uint32)
        return device_in_use().create_buffer_with_data(data=data.tobytes(), usage=self._usage)

    def _prepared(self, dispatch: Dispatch) -> tuple[_Kernel, Any, tuple[int, int, int]]:
        import wgpu

        plan = self.plan
        name = kernels.kernel_name(dispatch, plan.half)
        kernel = _kernel(dispatch.kernel, name, tuple(kernels.macros(dispatch, plan.half).items()))
        shape, real = constants(plan, dispatch, self._sizes, self.flip)
        assert shape.shape[0] == len(SHAPE)
        uniforms = shape.tobytes() + real.tobytes()
        resources: dict[str, Any] = {
            "_Weights": self._weights,
            "_Tables": self._tables,
            "_NewTables": self._tables,
            "_Partials": self._partials,
            "_Tiles": self._partials,
            "_SourceA": self._buffer_of(dispatch.first),
            "_SourceB": self._buffer_of(dispatch.second),
            "_Output": self._buffer_of(dispatch.output),
            "_Kept": self._buffer_of(dispatch.kept),
            "_Picture": self._texture_views[dispatch.first if plan.is_texture(dispatch.first) else PICTURE],
            "_Painted": self._painted_view,
        }
        entries = []
        for resource, place in kernel.bindings.items():
            if resource in resources:
                bound_resource = resources[resource]
            else:
                bound_resource = device_in_use().create_buffer_with_data(
                    data=uniforms, usage=wgpu.BufferUsage.UNIFORM
                )
            view = resource in ("_Picture", "_Painted")
            entries.append(
                {
                    "binding": place,
                    "resource": bound_resource
                    if view
                    else {"buffer": bound_resource, "offset": 0, "size": bound_resource.size},
                }
            )
        group = device_in_use().create_bind_group(layout=kernel.layout, entries=entries)
        return kernel, group, groups(plan, dispatch, self._sizes)

    def _buffer_of(self, number: int) -> Any:
        if number < 0 or self.plan.is_texture(number):
            return None
        root = self.plan.values[self.plan.values[number].root]
        return self._slots[root.slot] if root.slot >= 0 else None

    def run(self, picture: np.ndarray) -> np.ndarray:
        """The output of the plan for a picture (1, C, H, W), as (1, C, H', W'); both RGB 0..1, float32.

        If the plan has guides, the picture has their channels after its own.
        """
        if self.plan.numbers_in >= 0:
            padded = np.zeros(4 * self.plan.values[self.plan.numbers_in].blocks, np.float32)
            padded[: picture.size] = picture.reshape(-1)
            device_in_use().queue.write_buffer(self._buffer_of(self.plan.numbers_in), 0, padded.tobytes())
        else:
            ends = np.cumsum(self.plan.input_widths)[:-1]
            for number, part in enumerate(np.split(picture, ends, axis=1)):
                self._upload(number, part)
        self.submit()
        if self.plan.numbers_out:
            data = device_in_use().queue.read_buffer(self._buffer_of(self.plan.result))
            return np.frombuffer(data, np.float32)[: self.plan.channels[1]].reshape(1, -1, 1, 1)
        return self._download()

    def _upload(self, number: int, picture: np.ndarray) -> None:
        """Upload an input texture. A grey picture fills red, green and blue; other channels are not read: NaN."""
        height, width = self.size.hw
        filled = 3 if number == PICTURE else picture.shape[1]
        pixels = np.full((height, width, 4), np.nan, np.float32)
        pixels[..., :filled] = picture[0].transpose(1, 2, 0)
        if self.flip:
            pixels = np.ascontiguousarray(pixels[::-1])
        rows = {"bytes_per_row": width * 16, "rows_per_image": height}
        texture = {"texture": self._textures[number]}
        device_in_use().queue.write_texture(texture, pixels.tobytes(), rows, (width, height, 1))

    def _download(self) -> np.ndarray:
        out_height, out_width = self._sizes[self.plan.result].hw
        rows = {"bytes_per_row": out_width * 16, "rows_per_image": out_height}
        data = device_in_use().queue.read_texture({"texture": self._painted}, rows, (out_width, out_height, 1))
        pixels_out = np.frombuffer(data, np.float32).reshape(out_height, out_width, 4)
        if self.flip:
            pixels_out = pixels_out[::-1]
        return np.ascontiguousarray(pixels_out[None, :, :, : self.plan.channels[1]].transpose(0, 3, 1, 2))

    def submit(self) -> None:
        """Submit all dispatches once, without waiting."""
        encoder = device_in_use().create_command_encoder()
        compute_pass = encoder.begin_compute_pass()
        for kernel, group, count in self._passes:
            compute_pass.set_pipeline(kernel.pipeline)
            compute_pass.set_bind_group(0, group)
            compute_pass.dispatch_workgroups(*count)
        compute_pass.end()
        device_in_use().queue.submit([encoder.finish()])

    def wait(self) -> None:
        """Wait until all submitted work has finished."""
        device_in_use().queue.read_buffer(self._tables, 0, 16)

    def guards_intact(self) -> bool:
        """Whether the guard elements behind all buffers are unchanged."""
        each = 8 if self.plan.half else 16
        buffers = [
            (slot, n * each) for slot, n in zip(self._slots, self.plan.slot_elements(self.size), strict=True)
        ]
        buffers += [
            (self._tables, self.plan.table_elements * 16),
            (self._partials, partial_elements(self.plan, self._sizes) * 16),
        ]
        for gpu_buffer, end in buffers:
            data = np.frombuffer(device_in_use().queue.read_buffer(gpu_buffer), np.uint32)[max(end, each) // 4 :]
            if not np.all(data == 0x7FC07FC0):
                return False
        return True
