"""The generated C# compiles, without warnings, against each Barracuda version, and against nothing it must not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.csharp.conftest import Assemblies, build_stubs
from tests.csharp.toolchain import (
    TEMPLATES,
    UNITY_DEFINES,
    VERSION_DEFINES,
    compile_csharp,
    must_compile,
    sources_of,
)

EVERY_CSHARP = sorted(TEMPLATES.rglob("*.cs"))
ASMDEFS = sorted(TEMPLATES.rglob("*.asmdef"))


def test_all_assemblies_compile_for_each_version(assemblies: Assemblies) -> None:
    made = {path.name for path in assemblies.folder.glob("StyleTransfer.*.dll") if ".Demo" not in path.name}
    parts = ["Runtime", "Benchmark", "Editor", "Setup", "Tests", "Models"]
    parts += ["Packed"] if assemblies.imports_at_run_time else []
    assert made == {f"StyleTransfer.{part}.dll" for part in parts}


def test_runtime_compiles_for_a_player_and_an_older_editor(assemblies: Assemblies, tmp_path: Path) -> None:
    defines = VERSION_DEFINES[assemblies.version]
    for name, more in {"Runtime.dll": (), "WebGL.dll": ("UNITY_WEBGL",)}.items():
        must_compile(tmp_path / name, sources_of("Runtime"), assemblies.stubs, (*defines, *more))


def test_the_component_of_a_model_needs_no_barracuda_reference(stub_text: str) -> None:
    assert "Barracuda" not in re.sub(r"//.*", "", stub_text)


@pytest.mark.parametrize("version", ["1.0.4", "2.0.0"])
def test_a_pixel_shader_worker_is_an_error_before_3(version: str, tmp_path: Path) -> None:
    made = build_stubs(version, tmp_path)
    defines = (*UNITY_DEFINES, *VERSION_DEFINES["3.0.0"])
    source = TEMPLATES / "Runtime/StyleTransferWorker.cs"
    done = compile_csharp(tmp_path / "Wrong.dll", [source], made.stubs, defines)
    assert done.returncode != 0
    assert re.search("CS0117.*PixelShader", done.stderr)


def test_a_spelling_mistake_in_an_api_name_is_an_error(assemblies: Assemblies, tmp_path: Path) -> None:
    changed = tmp_path / "TensorExchange.cs"
    text = (TEMPLATES / "Runtime/TensorExchange.cs").read_text()
    changed.write_text(text.replace("ToRenderTexture", "ToTexture"))
    sources = [path for path in sources_of("Runtime") if path.name != changed.name] + [changed]
    done = compile_csharp(tmp_path / "Wrong.dll", sources, assemblies.stubs, assemblies.defines)
    assert done.returncode != 0
    assert "CS1061" in done.stdout + done.stderr


SETUP = "StyleTransfer.Setup"
"""The one assembly that compiles without Barracuda: it says that the package is missing."""


def test_the_package_check_compiles_without_barracuda(assemblies: Assemblies, tmp_path: Path) -> None:
    asmdef = json.loads((TEMPLATES / f"Editor/Setup/{SETUP}.asmdef").read_text())
    assert (asmdef["references"], asmdef["defineConstraints"]) == ([], [])
    references = [assemblies.folder / "UnityEngine.dll", assemblies.folder / "UnityEditor.dll"]
    for number, defines in enumerate([(), ("STYLETRANSFER_SENTIS",)]):
        sources = sources_of("Editor/Setup")
        must_compile(tmp_path / f"Setup{number}.dll", sources, references, (*UNITY_DEFINES, *defines))


@pytest.mark.parametrize("path", [path for path in ASMDEFS if path.stem != SETUP], ids=lambda path: path.name)
def test_assembly_definitions_are_skipped_without_barracuda(path: Path) -> None:
    asmdef = json.loads(path.read_text())
    assert asmdef["name"] == path.stem
    defined = {entry["define"]: entry for entry in asmdef["versionDefines"]}
    assert "STYLETRANSFER_BARRACUDA" in asmdef["defineConstraints"]
    assert defined["STYLETRANSFER_BARRACUDA"]["name"] == "com.unity.barracuda"
    assert set(asmdef["references"]) <= {
        *(other.stem for other in ASMDEFS),
        "Unity.Barracuda",
        *(["Unity.Barracuda.ONNX"] if "BARRACUDA_2_OR_NEWER" in asmdef["defineConstraints"] else []),
        "Unity.RenderPipelines.Core.Runtime",
        "Unity.RenderPipelines.Universal.Runtime",
        "Unity.RenderPipelines.HighDefinition.Runtime",
        "UnityEngine.TestRunner",
        "UnityEditor.TestRunner",
    }


@pytest.mark.parametrize(
    "name",
    [
        "Runtime/StyleTransfer.Runtime",
        "Benchmark/StyleTransfer.Benchmark",
        "Editor/StyleTransfer.Editor",
        f"Editor/Setup/{SETUP}",
    ],
)
def test_assembly_definitions_define_what_the_code_asks_for(name: str) -> None:
    path = TEMPLATES / f"{name}.asmdef"
    defined = {entry["define"]: entry["expression"] for entry in json.loads(path.read_text())["versionDefines"]}
    used = {
        word
        for source in path.parent.glob("*.cs")
        for line in re.findall(r"^\s*#(?:el)?if (.*)$", source.read_text(), re.MULTILINE)
        for word in re.findall(r"BARRACUDA_\w+", line)
    }
    assert used <= defined.keys()
    assert defined["BARRACUDA_2_OR_NEWER"] == "2.0.0"
    assert defined["BARRACUDA_3_OR_NEWER"] == "3.0.0"


@pytest.mark.parametrize("path", EVERY_CSHARP, ids=lambda path: path.name)
def test_files_are_named_after_their_class_in_plain_ascii(path: Path) -> None:
    text = path.read_bytes().decode("ascii")
    assert "\r" not in text and "\t" not in text and text.endswith("}\n")
    assert re.search(rf"(class|struct|enum) {path.stem}\b", text)
    assert text.count("#region") == text.count("#endregion")


def test_every_public_member_is_documented() -> None:
    missing = []
    for path in EVERY_CSHARP:
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if not re.match(r"\s*(public|protected virtual)\b", line) or " override " in line:
                continue
            above = number - 1
            while lines[above].strip().startswith("["):
                above -= 1
            internal_constructor = re.match(r"\s*public (Texture|Array)Exchange\(", line)
            if not lines[above].strip().startswith("///") and not internal_constructor:
                missing.append(f"{path.name}:{number + 1}: {line.strip()}")
    assert not missing


def test_the_component_of_a_model_quotes_what_users_name(stub_text: str) -> None:
    assert '[AddComponentMenu("Style Transfer/Candy \\"hot\\" \\\\ <1> & more")]' in stub_text
    assert "candy&lt;&amp;&gt;.pth" in stub_text
    assert "1,679,235 weights; 59.3 billion multiply-adds per picture of 960 x 540; 6,721,345 bytes" in stub_text
    assert "public sealed class CandyStyleTransfer : StyleTransferCamera" in stub_text
    assert stub_text.endswith("}\n") and "\n\n\n" not in stub_text
