"""The generated C# compiles, without warnings: each engine with its package, all else without any."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline import targets
from tests.csharp.conftest import ENGINES, Assemblies, Engine, EngineAssemblies, with_engine
from tests.csharp.toolchain import TEMPLATES, UNITY_DEFINES, compile_csharp, must_compile, sources_of

EVERY_CSHARP = sorted(TEMPLATES.rglob("*.cs"))
ASMDEFS = sorted(TEMPLATES.rglob("*.asmdef"))
FOLDERS = sorted({path.parent.name for path in TEMPLATES.glob("Engines/*/*.asmdef")})
"""The engines: folders of unity_templates/Engines."""

BARRACUDA = [engine for engine in ENGINES if engine.name == "barracuda"]


def test_all_assemblies_compile_without_any_package(shared: Assemblies) -> None:
    names = {path.name for path in shared.folder.glob("StyleTransfer.*.dll")}
    parts = ["Runtime", "Benchmark", "Editor", "Setup", "Tests", "Models"]
    assert names == {f"StyleTransfer.{part}.dll" for part in parts}


def test_every_engine_is_compiled(engine: EngineAssemblies) -> None:
    assert engine.own.exists()
    assert {one.folder for one in ENGINES} - {None} == set(FOLDERS)


@pytest.mark.parametrize("defines", [(), ("UNITY_WEBGL",)], ids=["older", "webgl"])
def test_what_is_in_a_player_compiles_without_the_editor(
    engine: EngineAssemblies, tmp_path: Path, defines: tuple[str, ...]
) -> None:
    must_compile(tmp_path / "StyleTransfer.Runtime.dll", sources_of("Runtime"), [engine.unity], defines)
    if engine.engine.folder:
        sources = sources_of(f"Engines/{engine.engine.folder}")
        references = [engine.unity, *engine.package, engine.runtime]
        must_compile(tmp_path / "Engine.dll", sources, references, (*engine.engine.defines, *defines))


def test_only_engines_know_packages() -> None:
    """What is outside of Engines names none of their packages in code, and has no condition on one."""
    outside = [path for path in EVERY_CSHARP if path.relative_to(TEMPLATES).parts[0] != "Engines"]
    assert len(outside) > 40
    for path in outside:
        code = re.sub(r"//.*", "", path.read_text())
        assert not re.search(
            r"using Unity\.(Barracuda|Sentis|InferenceEngine)|\bUnity\.(Barracuda|Sentis)\b", code
        ), path
        conditions = re.findall(r"^\s*#(?:el)?if (.*)$", code, re.MULTILINE)
        assert not re.search(r"BARRACUDA|SENTIS|INFERENCE", " ".join(conditions)), path


def test_the_component_of_a_model_needs_no_engine(stub_text: str) -> None:
    assert not re.search("Barracuda|Inference|Sentis", re.sub(r"//.*", "", stub_text))


@pytest.mark.parametrize("older", BARRACUDA[:-1], ids=str)
def test_a_define_of_a_later_version_is_an_error(older: Engine, shared: Assemblies, tmp_path: Path) -> None:
    result = with_engine(shared, older, tmp_path)
    references = [result.unity, result.library("UnityEditor"), *result.package, result.runtime]
    defines = (*UNITY_DEFINES, *BARRACUDA[-1].defines)
    done = compile_csharp(tmp_path / "Wrong.dll", sources_of("Engines/Barracuda"), references, defines)
    assert done.returncode != 0
    assert re.search("PixelShaderOps|CS0117.*PixelShader", done.stderr)


def test_a_spelling_mistake_in_an_api_name_is_an_error(shared: Assemblies, tmp_path: Path) -> None:
    result = with_engine(shared, BARRACUDA[-1], tmp_path)
    changed = tmp_path / "TensorExchange.cs"
    text = (TEMPLATES / "Engines/Barracuda/TensorExchange.cs").read_text()
    changed.write_text(text.replace("ToRenderTexture", "ToTexture"))
    sources = [path for path in sources_of("Engines/Barracuda") if path.name != changed.name] + [changed]
    references = [result.unity, result.library("UnityEditor"), *result.package, result.runtime]
    done = compile_csharp(tmp_path / "Wrong.dll", sources, references, (*UNITY_DEFINES, *result.engine.defines))
    assert done.returncode != 0
    assert "CS1061" in done.stdout + done.stderr


OTHER_ASSEMBLIES = {
    "Unity.RenderPipelines.Core.Runtime",
    "Unity.RenderPipelines.Universal.Runtime",
    "Unity.RenderPipelines.HighDefinition.Runtime",
    "UnityEngine.TestRunner",
    "UnityEditor.TestRunner",
}
FAMILIES = {
    targets.family_of(name).engine.removeprefix("StyleTransfer."): targets.family_of(name)
    for name in targets.families()
}
"""Engine -> its family of targets."""


def packages_of(engine: str) -> set[str]:
    """The packages that an engine is compiled with, those of its family; none for the compute family."""
    family = FAMILIES[engine].name
    return {targets.get(name).package for name in targets.names(family, narrow=True)} - {""}


def define_of(engine: str) -> str:
    """The define that stands for the packages of an engine, such as STYLETRANSFER_BARRACUDA."""
    return f"STYLETRANSFER_{FAMILIES[engine].name.upper()}"


@pytest.mark.parametrize("path", ASMDEFS, ids=lambda path: path.name)
def test_assembly_definitions_ask_for_the_package_that_they_need_and_no_other(path: Path) -> None:
    asmdef = json.loads(path.read_text())
    assert asmdef["name"] == path.stem
    inside = path.relative_to(TEMPLATES).parts
    own = {other.stem for other in ASMDEFS if other.relative_to(TEMPLATES).parts[0] != "Engines"}
    if inside[0] != "Engines":
        assert set(asmdef["references"]) <= own | OTHER_ASSEMBLIES
        return
    packages, define = packages_of(inside[1]), define_of(inside[1])
    if not packages:
        assert (
            set(asmdef["references"]) <= own and not asmdef["versionDefines"] and not asmdef["defineConstraints"]
        )
        return
    own |= {other.stem for other in ASMDEFS if other.relative_to(TEMPLATES).parts[:2] == inside[:2]}
    assert all(name in own or name.startswith("Unity.") for name in asmdef["references"])
    defined = {entry["define"]: entry for entry in asmdef["versionDefines"]}
    assert define in asmdef["defineConstraints"] and set(asmdef["defineConstraints"]) <= defined.keys()
    assert {entry["name"] for entry in asmdef["versionDefines"]} == packages


@pytest.mark.parametrize("folder", FOLDERS)
def test_assembly_definitions_define_what_the_code_asks_for(folder: str) -> None:
    path = TEMPLATES / f"Engines/{folder}/StyleTransfer.{folder}.asmdef"
    defined = {entry["define"]: entry["expression"] for entry in json.loads(path.read_text())["versionDefines"]}
    used = {
        word
        for source in path.parent.glob("*.cs")
        for line in re.findall(r"^\s*#(?:el)?if (.*)$", source.read_text(), re.MULTILINE)
        for word in re.findall(r"\w+", line)
        if not word.startswith("UNITY_")
    }
    assert used <= defined.keys()
    assert defined.keys() - used <= ({define_of(folder)} if packages_of(folder) else set())


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_engine_survives_stripping_and_play_without_a_reload(folder: str) -> None:
    """Nothing refers to an engine's assembly, so it must be linked, registered by Unity, and registered again."""
    text = "".join(path.read_text() for path in (TEMPLATES / f"Engines/{folder}").glob("*.cs"))
    assert "[assembly: AlwaysLinkAssembly]" in text
    register = re.search(
        r"((?: *(?:\[|#).*\n)+) *static void Register\(\) => StyleTransferEngines\.Register\(", text
    )[1]
    assert "[Preserve]" in register and "RuntimeInitializeLoadType.AfterAssembliesLoaded" in register
    assert "[UnityEditor.InitializeOnLoadMethod]" in register


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
            while lines[above].strip().startswith(("[", '"')):  # an attribute, and the rest of its text
                above -= 1
            internal_constructor = re.match(r"\s*public \w+Exchange\(", line)
            if not lines[above].strip().startswith("///") and not internal_constructor:
                missing.append(f"{path.name}:{number + 1}: {line.strip()}")
    assert not missing


def test_the_component_of_a_model_quotes_what_users_name(stub_text: str) -> None:
    assert '[AddComponentMenu("Style Transfer/Candy \\"hot\\" \\\\ <1> & more")]' in stub_text
    assert "candy&lt;&amp;&gt;.pth" in stub_text
    assert "1,679,235 weights; 59.3 billion multiply-adds per picture of 960 x 540; 6,721,345 bytes" in stub_text
    assert "public sealed class CandyStyleTransfer : StyleTransferCamera" in stub_text
    assert stub_text.endswith("}\n") and "\n\n\n" not in stub_text
