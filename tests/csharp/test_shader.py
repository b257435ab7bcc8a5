"""Each stage of each pass of each shader compiles, and C# and StyleTransferConvert.shader agree.

What the shaders draw: tests/gpu.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.csharp.toolchain import TEMPLATES, run
from tests.gpu.unity import INCLUDES, common, hlsl, passes, text_of

CONVERT = text_of("Convert")
CONVERTER = (TEMPLATES / "Runtime/PictureConverter.cs").read_text()
STAGES = [
    (shader, stage, entry)
    for shader in ("Convert", "Motion", "Mask", "Guides")
    for stage, entry in sorted(set(re.findall(r"#pragma (vertex|fragment) (\w+)", text_of(shader))))
]


def compile_stage(tmp_path: Path, text: str, stage: str, entry: str, starts_at_top: int) -> str:
    """glslangValidator's words about one entry point; empty when all is well."""
    source = tmp_path / f"{entry}.hlsl"
    source.write_text(hlsl(common(text)))
    options = ["-D", "-V", "-S", stage[:4], "-e", entry, "-o", str(tmp_path / f"{entry}.spv")]
    options += [f"-I{INCLUDES}", f"-DUNITY_UV_STARTS_AT_TOP={starts_at_top}", "--auto-map-bindings"]
    done = run("glslangValidator", *options, source, cwd=tmp_path)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("starts_at_top", [0, 1])
@pytest.mark.parametrize(("shader", "stage", "entry"), STAGES)
def test_each_stage_of_each_pass_compiles(
    tmp_path: Path, shader: str, stage: str, entry: str, starts_at_top: int
) -> None:
    assert compile_stage(tmp_path, text_of(shader), stage, entry, starts_at_top) == ""


def test_a_mistake_in_the_shader_does_not_compile(tmp_path: Path) -> None:
    wrong = CONVERT.replace("tex2D(_Stylized,", "tex2D(_Stylised,")
    assert wrong != CONVERT
    assert "_Stylised" in compile_stage(tmp_path, wrong, "fragment", "FromNetwork", 0)


def test_code_and_shader_agree_on_passes_and_properties() -> None:
    order = [fragment for _, fragment in passes(CONVERT).values()]
    assert order[int(re.search(r"PassToNetwork = (\d)", CONVERTER)[1])] == "ToNetwork"
    assert order[int(re.search(r"PassFromNetwork = (\d)", CONVERTER)[1])] == "FromNetwork"
    used = set(re.findall(r'PropertyToID\("(\w+)"\)', CONVERTER))
    declared = set(re.findall(r"^    (?:Texture2D|sampler2D|float4|float) (_\w+);", common(CONVERT), re.MULTILINE))
    assert used == declared - {"_MainTex", "_MainTex_TexelSize"}
    assert set(re.findall(r"^        (_\w+)\(", CONVERT, re.MULTILINE)) == used | {"_MainTex"}
    assert f'Shader "{re.search(r"ShaderName = .(.*?).;", CONVERTER)[1]}"' in CONVERT


def test_the_converter_computes_the_taps_as_the_tests_of_the_shader_do() -> None:
    body = re.search(r"float TapOffset\(int sourceExtent, int extent\)\s*=> (.*?);", CONVERTER, re.DOTALL)[1]
    assert body == "QuarterPixel * Mathf.Clamp01((float)sourceExtent / extent - 1) / extent"
    assert "const float QuarterPixel = 0.25f;" in CONVERTER
