"""Rewrites our shaders' own text into C#, so that it draws pictures under mono: see Hlsl.cs."""

from __future__ import annotations

import re
from pathlib import Path

_TYPE = r"(?:float[234]?|Varyings)"


def program(shader: Path) -> str:
    """The C# class of a shader: uniforms as static fields, its functions, and `Draw(pass, u, v, width, height)`.

    Taken over: everything in CGINCLUDE but vertex stages, includes, and of `#if` what stands after `#else`.
    What HLSL allows and this rewriting does not know fails to compile as C#.
    """
    text = shader.read_text()
    name = re.search(r'Shader "[^"]*/(\w+)"', text)[1]
    code = re.search(r"CGINCLUDE(.*?)ENDCG", text, re.DOTALL)[1]
    entries = re.findall(r"#pragma fragment (\w+)", text)

    code = re.sub(r"//[^\n]*", "", code)
    code = re.sub(r"#if(?:(?!#endif).)*?#else(.*?)#endif", r"\1", code, flags=re.DOTALL)
    code = re.sub(r"#if.*?#endif|#include[^\n]*", "", code, flags=re.DOTALL)
    code = re.sub(r"\n    Varyings Vertex\w*\(.*?\n    }\n", "\n", code, flags=re.DOTALL)
    code = re.sub(r"^    float4x4 [^\n]*$", "", code, flags=re.MULTILINE)
    code = re.sub(r"sampler2D_float|Texture2D", "sampler2D", code)
    code = re.sub(r"^    SamplerState [^\n]*$", "", code, flags=re.MULTILINE)
    code = re.sub(r"(\w+)\.Sample\(point_clamp_sampler, ", r"nearest(\1, ", code)

    fields = re.search(r"struct Varyings\s*{(.*?)};", code, re.DOTALL)[1]
    names = re.findall(r"float(\d) (\w+) :", fields)
    members = "".join(f" public float{size} {member};" for size, member in names)
    code = re.sub(r"struct Varyings\s*{.*?};", f"struct Varyings {{{members} }}", code, flags=re.DOTALL)

    code = re.sub(r"\bstatic const (\w+ \w+ =)", r"const \1", code)
    code = re.sub(rf"^    ({_TYPE}|sampler2D) (_\w+;)", r"    static \1 \2", code, flags=re.MULTILINE)
    code = re.sub(rf"^    ({_TYPE} \w+\([^)]*\))(?: : SV_Target)?$", r"    static \1", code, flags=re.MULTILINE)
    code = re.sub(r"\bfloat([234])\(", r"new float\1(", code)
    code = re.sub(r"\bfloat\b", "double", code)

    values = {
        "position": "new float4(u * width, v * height, 0, 1)",
        "uv": "new float2(u, v)",
        "uvStylized": "new float2(u, v)",
    }
    inputs = ", ".join(f"{member} = {values[member]}" for _, member in names)
    cases = "".join(f"            case {i}: return {entry}(input);\n" for i, entry in enumerate(entries))
    return f"""
public static class {name}
{{
    {code.strip()}

    public static float4 Draw(int pass, double u, double v, double width, double height)
    {{
        var input = new Varyings {{ {inputs} }};
        switch (pass)
        {{
{cases}            default: throw new System.ArgumentException("pass " + pass);
        }}
    }}
}}
"""


def programs(shaders: list[Path]) -> str:
    """One C# file for several shaders."""
    classes = "".join(map(program, shaders))
    # Uniforms are assigned through reflection: 0649 says that they are not.
    return f"#pragma warning disable 0649\nnamespace Hlsl\n{{\nusing static Hlsl.Intrinsics;\n{classes}}}\n"
