"""The runner of compute kernels: everything is bound by its name, and what comes back is what HLSL says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests import vulkan
from tests.conftest import REPOSITORY

KERNEL = """
Texture2D<float4> _MainTex T0;
SamplerState sampler_MainTex S0;
StructuredBuffer<float> Source T1;
RWStructuredBuffer<float> Result U0;
RWTexture2D<float4> Target U1;
cbuffer Sizes B0 { int4 N; float2 Unused; };
float _Scale;
float4 _Offset;
float4x4 _Matrix;
uint _Bits;

[numthreads(8, 1, 1)]
void Main(uint3 id : SV_DispatchThreadID)
{
    if (id.x >= (uint)N.y) return;
    Result[id.x] = Source[id.x] * _Scale + N.x + mul(_Matrix, _Offset).y;
    float4 color = _MainTex.SampleLevel(sampler_MainTex, float2(id.x + 0.5, 0.5) / 8, 0);
    Target[id.xy] = id.x == 7 ? asfloat(_Bits).xxxx : color;
}
"""
REGISTERS = {"T0": "t0", "T1": "t1", "S0": "s0", "U0": "u0", "U1": "u1", "B0": "b0"}


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("point", [False, True])
def test_everything_is_bound_by_its_name(registers: bool, point: bool) -> None:
    text = KERNEL
    for name, register in REGISTERS.items():
        text = text.replace(f" {name}", f" : register({register})" if registers else "")
    chance = np.random.default_rng(1)
    source, matrix = chance.normal(size=8).astype(np.float32), chance.normal(size=(4, 4))
    offset = chance.normal(size=4)
    pixels = chance.uniform(size=(1, 4, 4)).astype(np.float32)
    result, target = vulkan.buffer(np.zeros(8, np.float32)), vulkan.texture(np.zeros((1, 8, 4), np.float32))
    vulkan.kernel(text).run(
        (1, 1, 1),
        Source=vulkan.buffer(source),
        Result=result,
        Target=target,
        Sizes=np.array([5, 8, 0, 0, 0, 0, 0, 0], np.int32),
        _MainTex=vulkan.texture(pixels, point=point),
        _Scale=2.0,
        _Offset=offset,
        _Matrix=matrix,
        _Bits=0x7FC00000,
        _NotThere=1,
    )
    expected = source * 2 + 5 + (matrix @ offset)[1]
    assert np.abs(result.read() - expected).max() < 1e-5
    got = target.read()[0]
    assert np.isnan(got[7]).all()
    columns = np.arange(8) * 0.5 - 0.25
    low = np.clip(np.floor(columns).astype(int), 0, 3)
    share = (columns - np.floor(columns))[:, None]
    high = np.where(columns < 0, 0, np.clip(low + 1, 0, 3))
    smooth = pixels[0, low] * (1 - share) + pixels[0, high] * share
    assert (
        np.abs(got[:7] - (pixels[0, np.arange(8) // 2] if point else smooth)[:7]).max() < 1e-2 * (not point) + 1e-7
    )


def test_a_name_that_is_missing_is_told() -> None:
    kernel = vulkan.kernel("float _A; RWStructuredBuffer<float> R; [numthreads(1,1,1)] void Main() { R[0] = _A; }")
    with pytest.raises(KeyError, match="_A"):
        kernel.run((1, 1, 1), R=vulkan.buffer(np.zeros(1, np.float32)))


def test_a_mistake_is_the_compilers_to_tell() -> None:
    with pytest.raises(vulkan.CompileError, match="Nowhere"):
        vulkan.kernel("RWStructuredBuffer<float> R; [numthreads(1,1,1)] void Main() { R[0] = Nowhere; }")


def test_kernels_run_one_after_the_other_on_the_same_buffer() -> None:
    values = vulkan.buffer(np.arange(256, dtype=np.float32))
    main = "[numthreads(N, 1, 1)] void Main(uint3 i : SV_DispatchThreadID) { R[i.x] *= 2; }"
    kernel = vulkan.kernel("RWStructuredBuffer<float> R; " + main, defines={"N": 64})
    for _ in range(5):
        kernel.run((4, 1, 1), R=values)
    assert (values.read() == np.arange(256) * 32).all()


def test_the_test_command_knows_whether_there_is_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.spec_from_file_location("dev", REPOSITORY / "dev.py")
    dev = importlib.util.module_from_spec(found)
    found.loader.exec_module(dev)
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "XDG_DATA_DIRS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dev, "VULKAN_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(dev.sys, "platform", "linux")
    assert dev.VULKAN_DRIVER in dev.missing_tools() and dev.VULKAN_DRIVER in dev.install_line(dev.missing_tools())
    monkeypatch.setenv("VK_DRIVER_FILES", "/somewhere/icd.json")
    assert dev.VULKAN_DRIVER not in dev.missing_tools()
    monkeypatch.delenv("VK_DRIVER_FILES")
    (tmp_path / "vulkan/icd.d").mkdir(parents=True)
    (tmp_path / "vulkan/icd.d/lvp_icd.x86_64.json").write_text("{}")
    assert dev.VULKAN_DRIVER not in dev.missing_tools()
