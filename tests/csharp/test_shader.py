"""The shader compiles as HLSL, and its text, run in Python, does the colour and size arithmetic that it claims."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.csharp.hlsl import Vector, functions
from tests.csharp.toolchain import TEMPLATES, run

SHADER = TEMPLATES / "Runtime/Shaders/StyleTransferConvert.shader"
SHADER_STUBS = Path(__file__).resolve().parent / "shader_stubs"
TEXT = SHADER.read_text()
COMMON = re.search(r"CGINCLUDE(.*?)ENDCG", TEXT, re.DOTALL)[1]
PASSES = {match[1]: match[2] for match in re.finditer(r'Name "([^"]+)"\s*CGPROGRAM(.*?)ENDCG', TEXT, re.DOTALL)}
CONVERTER = (TEMPLATES / "Runtime/PictureConverter.cs").read_text()


def compile_stage(tmp_path: Path, program: str, stage: str, entry: str, flipped: int) -> str:
    """glslangValidator's words about one entry point; empty when all is well."""
    source = tmp_path / f"{entry}.hlsl"
    source.write_text(program)
    options = ["-D", "-V", "-S", stage, "-e", entry, "-o", str(tmp_path / f"{entry}.spv")]
    options += [f"-I{SHADER_STUBS}", f"-DUNITY_UV_STARTS_AT_TOP={flipped}"]
    done = run("glslangValidator", *options, source, cwd=tmp_path)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def entry_points(program: str) -> list[tuple[str, str]]:
    pragmas = dict(re.findall(r"#pragma (vertex|fragment) (\w+)", program))
    return [("vert", pragmas["vertex"]), ("frag", pragmas["fragment"])]


@pytest.mark.parametrize("flipped", [0, 1])
@pytest.mark.parametrize("name", PASSES)
def test_each_stage_of_each_pass_compiles(tmp_path: Path, name: str, flipped: int) -> None:
    for stage, entry in entry_points(PASSES[name]):
        assert compile_stage(tmp_path, COMMON, stage, entry, flipped) == ""


def test_a_mistake_in_the_shader_does_not_compile(tmp_path: Path) -> None:
    wrong = COMMON.replace("saturate(tex2D(_MainTex, uv).rgb)", "saturate(tex2D(_MainTexture, uv).rgb)")
    assert wrong != COMMON
    assert "_MainTexture" in compile_stage(tmp_path, wrong, "frag", "ToNetwork", 0)


def test_code_and_shader_agree_on_passes_and_properties() -> None:
    order = [re.search(r"#pragma fragment (\w+)", body)[1] for body in PASSES.values()]
    assert order[int(re.search(r"PassToNetwork = (\d)", CONVERTER)[1])] == "ToNetwork"
    assert order[int(re.search(r"PassFromNetwork = (\d)", CONVERTER)[1])] == "FromNetwork"
    used = set(re.findall(r'PropertyToID\("(\w+)"\)', CONVERTER))
    declared = set(re.findall(r"^    (?:sampler2D|float4|float) (_\w+);", COMMON, re.MULTILINE))
    assert used == declared - {"_MainTex", "_MainTex_TexelSize"}
    assert set(re.findall(r"^        (_\w+)\(", TEXT, re.MULTILINE)) == used | {"_MainTex"}
    assert f'Shader "{re.search(r"ShaderName = .(.*?).;", CONVERTER)[1]}"' in TEXT


def sample(picture: np.ndarray, uv: Vector) -> Vector:
    """Bilinear, clamped, texel centres at half: what a GPU does. `picture` is height x width x 4."""
    height, width = picture.shape[:2]
    x, y = uv.values[0] * width - 0.5, uv.values[1] * height - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0

    def at(row: int, column: int) -> np.ndarray:
        return picture[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]

    low = at(y0, x0) * (1 - fx) + at(y0, x0 + 1) * fx
    high = at(y0 + 1, x0) * (1 - fx) + at(y0 + 1, x0 + 1) * fx
    return Vector(*(low * (1 - fy) + high * fy))


def tap_offset(source: int, extent: int) -> float:
    """PictureConverter.TapOffset, once more; its text is checked below."""
    return 0.25 * min(max(source / extent - 1, 0), 1) / extent


def shade(entry: str, main: np.ndarray, size: tuple[int, int], **uniforms: object) -> np.ndarray:
    """Draws one pass on a picture of (height, width)."""
    height, width = size
    offset = Vector(tap_offset(main.shape[1], width), tap_offset(main.shape[0], height), 0, 0)
    scope = {
        "_MainTex": main,
        "_TapOffset": offset,
        "tex2D": sample,
        "_LinearProject": 0.0,
        "_Mask": main,
        "_Masked": 0.0,
        **uniforms,
    }
    draw = functions(COMMON, scope)[entry]
    pixels = [
        [
            draw(SimpleNamespace(uv=Vector(u, v), uvStylized=Vector(u, v))).values
            for u in (np.arange(width) + 0.5) / width
        ]
        for v in (np.arange(height) + 0.5) / height
    ]
    return np.array(pixels)


def noise(height: int, width: int, highest: float = 1.0) -> np.ndarray:
    return np.random.default_rng(7).uniform(0, highest, (height, width, 4))


def test_the_converter_computes_the_taps_as_these_tests_do() -> None:
    body = re.search(r"float TapOffset\(int sourceExtent, int extent\)\s*=> (.*?);", CONVERTER, re.DOTALL)[1]
    assert body == "QuarterPixel * Mathf.Clamp01((float)sourceExtent / extent - 1) / extent"
    assert "const float QuarterPixel = 0.25f;" in CONVERTER


def srgb_from_linear(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def test_the_colour_curves_are_those_of_the_standard() -> None:
    curves = functions(COMMON, {})
    values = np.concatenate([np.linspace(0, 1, 256), [0.001, 0.0031308, 0.0031309, 0.04045, 0.04046]])
    for value in values:
        linear = Vector(value, value, value)
        srgb = curves["LinearToSrgb"](linear)
        assert srgb.x == pytest.approx(float(srgb_from_linear(np.array(value))), abs=1e-7)
        assert curves["SrgbToLinear"](srgb).x == pytest.approx(value, abs=1e-6)


def test_the_same_size_in_a_gamma_project_changes_nothing() -> None:
    picture = noise(5, 7)
    drawn = shade("ToNetwork", picture, (5, 7))
    assert np.abs(drawn[..., :3] - picture[..., :3]).max() < 1e-9
    assert (drawn[..., 3] == 1).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_reducing_averages_every_texel_once(factor: int) -> None:
    picture = noise(4 * factor, 6 * factor)
    drawn = shade("ToNetwork", picture, (4, 6))
    mean = picture.reshape(4, factor, 6, factor, 4).mean(axis=(1, 3))
    assert np.abs(drawn[..., :3] - mean[..., :3]).max() < 1e-9


def test_a_linear_project_reduces_in_linear_light_and_gives_srgb() -> None:
    picture = noise(8, 12)
    drawn = shade("ToNetwork", picture, (4, 6), _LinearProject=1.0)
    mean = picture.reshape(4, 2, 6, 2, 4).mean(axis=(1, 3))
    assert np.abs(drawn[..., :3] - srgb_from_linear(mean[..., :3])).max() < 1e-9


def test_a_highlight_does_not_whiten_its_neighbours() -> None:
    picture = np.zeros((2, 2, 4))
    picture[0, 0] = 100
    assert shade("ToNetwork", picture, (1, 1))[0, 0, 0] == pytest.approx(0.25)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_blending_keeps_alpha_and_the_cameras_highlights(strength: float) -> None:
    source, stylized = noise(4, 4, highest=3.0), noise(4, 4)[::-1]
    drawn = shade("FromNetwork", source, (4, 4), _Stylized=stylized, _Strength=strength)
    wanted = source[..., :3] * (1 - strength) + stylized[..., :3] * strength
    assert np.abs(drawn[..., :3] - wanted).max() < 1e-9
    assert np.abs(drawn[..., 3] - source[..., 3]).max() < 1e-9


def test_a_linear_project_shows_the_networks_colours_as_linear_light() -> None:
    source, stylized = noise(4, 4), noise(4, 4)
    network = stylized.copy()
    network[..., :3] = srgb_from_linear(stylized[..., :3])
    drawn = shade("FromNetwork", source, (4, 4), _Stylized=network, _Strength=1.0, _LinearProject=1.0)
    assert np.abs(drawn[..., :3] - stylized[..., :3]).max() < 1e-6


def test_the_stylised_picture_is_turned_where_blit_turns_the_camera_picture_alone() -> None:
    vertex = re.search(r"Varyings Vertex\(.*?\n    }", COMMON, re.DOTALL)[0]
    flip = "if (_MainTex_TexelSize.y < 0) output.uvStylized.y = 1 - output.uvStylized.y;"
    assert re.search(r"#if UNITY_UV_STARTS_AT_TOP\s+" + re.escape(flip) + r"\s+#endif", vertex)
    assert "tex2D(_Stylized, input.uvStylized)" in COMMON and "tex2D(_MainTex, input.uvStylized)" not in COMMON
