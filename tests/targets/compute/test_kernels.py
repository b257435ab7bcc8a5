"""The kernels themselves, executed on a software device, and their emulation, against ONNX Runtime."""

from __future__ import annotations

import re
import struct

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from pipeline.graph.runtime import run, session
from pipeline.targets.compute import emulation, execution, file, kernels
from pipeline.targets.compute.compiler import compile_graph
from tests.targets.compute.networks import NETWORKS, made, model, sizes

GUARD = 4096
"""Elements behind each buffer that must stay as they are."""


@pytest.fixture(scope="module", autouse=True)
def software():
    execution.use_software()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_kernels_and_emulation_compute_the_network(name):
    graph = made(name)
    compiled = compile_graph(graph)
    assert not compiled.refused, compiled.refused
    plan = file.parse(file.write(compiled.plan))
    opened, emulated = session(model(graph)), emulation.runner(plan)
    for size in sizes(name, plan.size):
        picture = np.random.default_rng(2).random((1, plan.channels[0], *size.hw), dtype=np.float32)
        expected = run(opened, picture)
        assert np.isfinite(expected).all()
        assert expected.std() > 0.02, "the picture says something"
        executor = execution.Executor(plan, size, guard=GUARD)
        for _ in range(2):
            painted = executor.run(picture)
        assert executor.guards_intact()
        assert painted.shape == expected.shape
        assert 255 * np.abs(painted - expected).max() < 0.05
        assert 255 * np.abs(emulated(picture) - expected).max() < 0.05


def test_half_precision_is_what_the_emulation_computes():
    """Activations are rounded to float16 alike: nearer to each other than either is to float32."""
    graph = made("style")
    plan = compile_graph(graph, half=True).plan
    picture = np.random.default_rng(2).random((1, 3, *plan.size.hw), dtype=np.float32)
    executor = execution.Executor(plan, plan.size, guard=GUARD)
    painted = executor.run(picture)
    assert executor.guards_intact()
    apart = np.sqrt(((painted - emulation.runner(plan)(picture)) ** 2).mean())
    rounded = np.sqrt(((painted - run(session(model(graph)), picture)) ** 2).mean())
    assert 0 < 1.5 * apart < rounded < 10 ** (-55 / 20)


def exact(graph):
    """The network in float64, by ONNX's reference."""
    held = model(graph)
    for tensor in held.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            double = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(double, tensor.name))
    for value in (*held.graph.input, *held.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    evaluator = ReferenceEvaluator(held)
    return lambda picture: evaluator.run(None, {"image": picture.astype(np.float64)})[0]


FRAMES = {
    "black": lambda noise: np.zeros_like(noise),
    "grey": lambda noise: np.full_like(noise, 0.5),
    "white": lambda noise: np.ones_like(noise),
    "low contrast": lambda noise: 0.99 + 0.01 * noise,
    "lower contrast": lambda noise: 0.996 + 0.004 * noise,
    "next to none": lambda noise: 0.9995 + 0.0005 * noise,
    "dim": lambda noise: 0.001 * noise,
    "noise": lambda noise: noise,
}


def test_flat_and_nearly_flat_frames_are_right():
    """Where normalisation by E[x^2] - E[x]^2, and float32 convolutions of the picture, are off by whole levels."""
    graph = made("style")
    plan = compile_graph(graph).plan
    run_exactly, emulated = exact(graph), emulation.runner(plan)
    executor = execution.Executor(plan, plan.size)
    noise = np.random.default_rng(3).random((1, 3, *plan.size.hw), dtype=np.float32)
    for name, of in FRAMES.items():
        frame = of(noise).astype(np.float32)
        expected = run_exactly(frame)
        assert 255 * np.abs(executor.run(frame) - expected).max() < 0.01, name
        assert 255 * np.abs(emulated(frame) - expected).max() < 0.01, name


# --- what Unity's other compilers refuse, found with the real ones (docs/compute.md) --------------------------


def _lines():
    for path in sorted(kernels.folder().glob("*.hlsl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield f"{path.name}:{number}", line.partition("//")[0]


def test_the_size_of_an_array_is_no_conditional_expression():
    """FXC, which compiles for Direct3D 11: X3058."""
    declared = [(place, line) for place, line in _lines() if "groupshared" in line]
    assert len(declared) >= 6
    assert [place for place, line in declared if "?" in line] == []


def test_a_condition_is_a_scalar():
    """DXC's HLSL 2021 takes no vector in front of a question mark; glslang and FXC do."""
    scalars = (
        r"left > \d|SOURCE_CHANNELS > \d|FLIP_ROWS != 0|"
        r"SPREAD_B == \d|POOL == 0|all > 0\.0|at (<|>=) \w+|i[01]{2}|inside|lane == \du"
    )
    asked = [(place, line[: line.index("?")]) for place, line in _lines() if "?" in line]
    assert len(asked) > 12
    assert [place for place, before in asked if not re.search(rf"\b({scalars}) $", before)] == []


def test_a_loop_turns_more_than_once():
    """FXC warns of a [loop] with one turn (X3557), and Unity's console shows that."""
    text = (kernels.folder() / "Conv.hlsl").read_text()
    for size in ("KERNEL_X", "KERNEL_Y", "ROW_STEP > 1 && KERNEL_Y"):
        assert re.search(rf"#if {size} > 1\n *\[loop\]\n", text)


def test_no_name_is_a_word_of_effect_files():
    """FXC reserves them (X3000); glslang and DXC do not."""
    reserved = r"\b(pass|technique|technique10|technique11|pixelshader|vertexshader|stateblock|compile|sampler)\b"
    assert [place for place, line in _lines() if re.search(reserved, line)] == []


WORKGROUP, POINTER, ARRAY, CONSTANT, VARIABLE = 4, 32, 28, 43, 59
"""A storage class and instructions of SPIR-V."""


def groupshared_bytes(module: bytes) -> int:
    """What the groupshared arrays of float4 of a SPIR-V module occupy."""
    words = struct.unpack(f"<{len(module) // 4}I", module)
    arrays, pointers, constants, total, at = {}, {}, {}, 0, 5
    while at < len(words):
        operation, operands = words[at] & 0xFFFF, words[at + 1 : at + (words[at] >> 16)]
        if operation == CONSTANT:
            constants[operands[1]] = operands[2]
        elif operation == ARRAY:
            arrays[operands[0]] = constants[operands[2]]
        elif operation == POINTER:
            pointers[operands[0]] = operands[2]
        elif operation == VARIABLE and operands[2] == WORKGROUP:
            total += 16 * arrays[pointers[operands[0]]]
        at += words[at] >> 16
    return total


def test_no_thread_group_takes_more_groupshared_memory_than_vulkan_guarantees():
    """16,384 bytes (maxComputeSharedMemorySize), in the compiled shader of every kernel that caches its input."""
    found = {}
    for name in sorted(NETWORKS):
        plan = compile_graph(made(name)).plan
        for kernel, dispatch in kernels.variants(plan).items():
            if dispatch.macro("SHARE"):
                macros = tuple(kernels.macros(dispatch, False).items())
                found[kernel] = groupshared_bytes(execution.spirv("Conv", kernel, macros))
    assert len(found) > 20 and min(found.values()) > 0 and max(found.values()) <= 16384, found
    strided = [size for kernel, size in found.items() if kernel.startswith("Conv3x3_Stride2_")]
    assert strided and max(strided) == 16 * 34 * 17
