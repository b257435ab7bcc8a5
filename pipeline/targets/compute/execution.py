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
    adapters = [held for held in wgpu.gpu.enumerate_adapters_sync() if held.info["backend_type"] != "OpenGL"]
    if not adapters:
        raise PipelineError(
            "no-gpu",
            "no Vulkan, Metal or Direct3D 12 device was found",
            subject="--gpu",
            remedy="Install a driver; a software one is Debian's mesa-vulkan-drivers.",
        )
    order = ("CPU", "DiscreteGPU", "IntegratedGPU") if prefer_software else ("DiscreteGPU", "IntegratedGPU")
    adapter = min(adapters, key=lambda held: (*order, held.info["adapter_type"]).index(held.info["adapter_type"]))
    limits = {
        name: adapter.limits[name]
        for name in ("max-storage-buffer-binding-size", "max-buffer-size", "max-storage-buffers-per-shader-stage")
    }
    features = [name for name in ("timestamp-query",) if name in adapter.features]
    return adapter.request_device_sync(required_features=features, required_limits=limits)


def device_name() -> str:
    """What the device calls itself."""
    info = device_in_use().adapter.info
    return f"{info['device']} ({info['backend_type']})"


# --- kernels -------------------------------------------------------------------------------------------------


@functools.cache
def spirv(kernel: str, name: str, macros: tuple[tuple[str, int], ...]) -> bytes:
    """A variant of a kernel as SPIR-V. Raises PipelineError `no-shader-compiler`, `kernel-does-not-compile`."""
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
            told = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
            raise PipelineError(
                "kernel-does-not-compile", f"glslangValidator refuses {name}: {(told or ['?'])[0][:300]}"
            )
        return out.read_bytes()


_NAME, _DECORATE, _BINDING, _NON_READABLE = 5, 71, 33, 25
_HEADER_WORDS = 5


def _bound(module: bytes) -> tuple[bytes, dict[str, int]]:
    """The module with the painted picture declared as never read, and the binding of each resource by its name.

    A format that may be written need not be one that may be read.
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
        for held, place in self.bindings.items():
            entry: dict[str, Any] = {"binding": place, "visibility": wgpu.ShaderStage.COMPUTE}
            if held in _READ:
                entry["buffer"] = {"type": "read-only-storage"}
            elif held in _WRITTEN:
                entry["buffer"] = {"type": "storage"}
            elif held == "_Picture":
                entry["texture"] = {"sample_type": "unfilterable-float"}
            elif held == "_Painted":
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
    """Run on the software device from now on: what tests do."""
    global _software
    _software = True


def device_in_use() -> Any:
    return device(_software)


@functools.cache
def _kernel(kernel: str, name: str, macros: tuple[tuple[str, int], ...]) -> _Kernel:
    return _Kernel(spirv(kernel, name, macros), name)


# --- timing --------------------------------------------------------------------------------------------------

_MOST_RUNS = 200


def timed(plan: Plan, size: Size, seconds: float) -> dict[str, Any]:
    """Milliseconds of a picture of `size`: median and fastest of as many runs as `seconds` allow.

    A run is given to the device as a whole and waited for; the picture is on the device before and after. The
    first two runs warm up and are not counted, but where the first takes all of the time: then it is the only one.
    """
    executor = Executor(plan, size)

    def run() -> float:
        start = time.perf_counter()
        executor.submit()
        executor.wait()
        return time.perf_counter() - start

    first = run()
    found = [first]
    if first < seconds:
        run()
        found, end = [run()], time.perf_counter() + seconds
        while len(found) < _MOST_RUNS and time.perf_counter() < end:
            found.append(run())
    return {
        "median": round(1000 * float(np.median(found)), 3),
        "minimum": round(1000 * min(found), 3),
        "runs": len(found),
        "device": device_name(),
    }


# --- running -------------------------------------------------------------------------------------------------


class Executor:
    """A plan on the device, for pictures of one size.

    `guard` elements of not-a-number lie behind each buffer, and every buffer begins as not-a-number: what is read
    before it is written, or outside, spoils the picture. `guards_hold` tells whether anything was written there.
    """

    def __init__(self, plan: Plan, size: Size, guard: int = 0, flip: bool = False) -> None:
        import wgpu

        self.plan, self.size, self.guard, self.flip = plan, size, guard, flip
        self._sizes = plan.sizes(size)
        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST
        self._usage = usage
        made = device_in_use()
        self._weights = made.create_buffer_with_data(data=buffer(plan).tobytes(), usage=usage)
        each = 8 if plan.half else 16
        self._slots = [self._poisoned(count, each) for count in plan.slot_elements(size)]
        self._tables = self._poisoned(plan.table_elements, 16)
        self._partials = self._poisoned(partial_elements(plan, self._sizes), 16)
        flags = wgpu.TextureUsage
        out = self._sizes[plan.result]
        self._picture = made.create_texture(
            size=(size.width, size.height, 1), format="rgba32float", usage=flags.TEXTURE_BINDING | flags.COPY_DST
        )
        self._painted = made.create_texture(
            size=(out.width, out.height, 1), format="rgba32float", usage=flags.STORAGE_BINDING | flags.COPY_SRC
        )
        self._views = self._picture.create_view(), self._painted.create_view()
        self._work = [self._prepared(dispatch) for dispatch in plan.dispatches]

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
        held = shape.tobytes() + real.tobytes()
        bound: dict[str, Any] = {
            "_Weights": self._weights,
            "_Tables": self._tables,
            "_NewTables": self._tables,
            "_Partials": self._partials,
            "_Tiles": self._partials,
            "_SourceA": self._of(dispatch.first),
            "_SourceB": self._of(dispatch.second),
            "_Output": self._of(dispatch.output),
            "_Kept": self._of(dispatch.kept),
            "_Picture": self._views[0],
            "_Painted": self._views[1],
        }
        entries = []
        for resource, place in kernel.bindings.items():
            if resource in bound:
                given = bound[resource]
            else:
                given = device_in_use().create_buffer_with_data(data=held, usage=wgpu.BufferUsage.UNIFORM)
            view = resource in ("_Picture", "_Painted")
            entries.append(
                {
                    "binding": place,
                    "resource": given if view else {"buffer": given, "offset": 0, "size": given.size},
                }
            )
        group = device_in_use().create_bind_group(layout=kernel.layout, entries=entries)
        return kernel, group, groups(plan, dispatch, self._sizes)

    def _of(self, number: int) -> Any:
        if number < 0 or number == PICTURE:
            return None
        root = self.plan.values[self.plan.values[number].root]
        return self._slots[root.slot] if root.slot >= 0 else None

    def run(self, picture: np.ndarray) -> np.ndarray:
        """What the plan makes of a picture (1, C, H, W), as (1, C, H', W'); both RGB 0..1, float32."""
        height, width = self.size.hw
        channels = picture.shape[1]
        pixels = np.zeros((height, width, 4), np.float32)
        pixels[..., :3] = picture[0].transpose(1, 2, 0) if channels == 3 else picture[0, 0][..., None]
        if self.flip:
            pixels = np.ascontiguousarray(pixels[::-1])
        queue = device_in_use().queue
        rows = {"bytes_per_row": width * 16, "rows_per_image": height}
        queue.write_texture({"texture": self._picture}, pixels.tobytes(), rows, (width, height, 1))
        self.submit()
        tall, wide = self._sizes[self.plan.result].hw
        rows = {"bytes_per_row": wide * 16, "rows_per_image": tall}
        data = queue.read_texture({"texture": self._painted}, rows, (wide, tall, 1))
        made = np.frombuffer(data, np.float32).reshape(tall, wide, 4)
        if self.flip:
            made = made[::-1]
        return np.ascontiguousarray(made[None, :, :, : self.plan.channels[1]].transpose(0, 3, 1, 2))

    def submit(self) -> None:
        """Run all dispatches once, without waiting."""
        encoder = device_in_use().create_command_encoder()
        work = encoder.begin_compute_pass()
        for kernel, group, count in self._work:
            work.set_pipeline(kernel.pipeline)
            work.set_bind_group(0, group)
            work.dispatch_workgroups(*count)
        work.end()
        device_in_use().queue.submit([encoder.finish()])

    def wait(self) -> None:
        """Wait until everything that was submitted has run."""
        device_in_use().queue.read_buffer(self._tables, 0, 16)

    def guards_hold(self) -> bool:
        """Whether nothing was written behind the buffers."""
        each = 8 if self.plan.half else 16
        held = [(slot, n * each) for slot, n in zip(self._slots, self.plan.slot_elements(self.size), strict=True)]
        held += [
            (self._tables, self.plan.table_elements * 16),
            (self._partials, partial_elements(self.plan, self._sizes) * 16),
        ]
        for one, end in held:
            data = np.frombuffer(device_in_use().queue.read_buffer(one), np.uint32)[max(end, each) // 4 :]
            if not np.all(data == 0x7FC07FC0):
                return False
        return True
