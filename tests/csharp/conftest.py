"""The generated C#, compiled once per session against the stubs of each Barracuda version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.unity.templates import fill
from tests.csharp.shading import programs
from tests.csharp.toolchain import (
    STUBS,
    TEMPLATES,
    UNITY_DEFINES,
    VERSION_DEFINES,
    VERSIONS,
    must_compile,
    run,
    sources_of,
)

CASES_SOURCES = [Path(__file__).with_name(f"{name}.cs") for name in ("Cases", "EffectCases", "BenchmarkCases")]

STUB_VALUES = {
    "class_name": "CandyStyleTransfer",
    "title": 'Candy "hot" \\ <1> & more',
    "source_name": "candy<&>.pth",
    "source_digest": "0123456789abcdef",
    "weights": 1679235,
    "giga_macs": 59.34,
    "nominal_width": 960,
    "nominal_height": 540,
    "file_bytes": 6721345,
    "target": "barracuda-3.0",
    "tool_version": "0.1",
}


@dataclass(frozen=True)
class Assemblies:
    """What one Barracuda version's compilation gave: the folder holds the libraries side by side."""

    version: str
    folder: Path
    defines: tuple[str, ...]

    @property
    def stubs(self) -> list[Path]:
        return [self.folder / "UnityEngine.dll", self.folder / "Unity.Barracuda.dll"]

    @property
    def runtime(self) -> Path:
        return self.folder / "StyleTransfer.Runtime.dll"

    @property
    def packed(self) -> Path:
        return self.folder / "StyleTransfer.Packed.dll"

    @property
    def onnx(self) -> Path:
        return self.folder / "Unity.Barracuda.ONNX.dll"

    @property
    def imports_at_run_time(self) -> bool:
        """Whether this version can import models while the game runs: those with the packed assembly can."""
        return "BARRACUDA_2_OR_NEWER" in self.defines

    @property
    def editor(self) -> Path:
        return self.folder / "StyleTransfer.Editor.dll"


@pytest.fixture(scope="session")
def stub_text() -> str:
    """The generated component of one model."""
    return fill("model/stub.cs.j2", **STUB_VALUES).decode()


def build_stubs(version: str, folder: Path) -> Assemblies:
    """The stand-ins for Unity and for one Barracuda version, compiled."""
    made = Assemblies(version, folder, (*UNITY_DEFINES, *VERSION_DEFINES[version]))
    friends = STUBS / "AssemblyInfo.cs"
    engine_sources = [
        *(STUBS / name for name in ("UnityEngine.cs", "UnityRendering.cs", "JsonUtility.cs")),
        friends,
    ]
    engine = must_compile(folder / "UnityEngine.dll", engine_sources)
    must_compile(folder / "UnityEditor.dll", [STUBS / "UnityEditor.cs", friends], [engine])
    must_compile(folder / "nunit.framework.dll", [STUBS / "NUnit.cs"])
    barracuda = [STUBS / "Barracuda_Common.cs", STUBS / f"Barracuda_{version.replace('.', '_')}.cs", friends]
    library = must_compile(folder / "Unity.Barracuda.dll", barracuda, [engine])
    if made.imports_at_run_time:
        must_compile(made.onnx, [STUBS / "BarracudaOnnx.cs"], [library, engine])
    return made


def build_runtime_and_editor(made: Assemblies) -> list[Path]:
    """Runtime, benchmark and editor side; what an assembly that uses them refers to."""
    must_compile(made.runtime, sources_of("Runtime"), made.stubs, made.defines)
    if made.imports_at_run_time:
        packed_references = [*made.stubs, made.onnx, made.folder / "UnityEditor.dll", made.runtime]
        must_compile(made.packed, sources_of("Runtime/Packed"), packed_references, made.defines)
    benchmark = made.folder / "StyleTransfer.Benchmark.dll"
    must_compile(benchmark, sources_of("Benchmark"), [*made.stubs, made.runtime], made.defines)
    references = [*made.stubs, made.folder / "UnityEditor.dll", made.runtime, benchmark]
    must_compile(made.editor, sources_of("Editor"), references, made.defines)
    return references


@pytest.fixture(scope="session", params=VERSIONS)
def assemblies(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stub_text: str
) -> Assemblies:
    """All assemblies of a bundle, compiled as their asmdefs say, for each Barracuda version."""
    folder = tmp_path_factory.mktemp(f"barracuda-{request.param}")
    made = build_stubs(request.param, folder)
    editor_references = build_runtime_and_editor(made)
    setup_references = [folder / "UnityEngine.dll", folder / "UnityEditor.dll"]
    setup_defines = (*made.defines, "STYLETRANSFER_BARRACUDA")
    must_compile(folder / "StyleTransfer.Setup.dll", sources_of("Editor/Setup"), setup_references, setup_defines)
    test_references = [*editor_references, made.editor, folder / "nunit.framework.dll"]
    must_compile(folder / "StyleTransfer.Tests.dll", sources_of("Editor/Tests"), test_references, made.defines)
    stub = folder / f"{STUB_VALUES['class_name']}.cs"
    stub.write_text(stub_text)
    # The models' assembly has no version defines of Barracuda.
    model_references = [folder / "UnityEngine.dll", made.runtime]
    must_compile(folder / "StyleTransfer.Models.dll", [stub], model_references, UNITY_DEFINES)
    return made


@pytest.fixture(scope="session")
def program(assemblies: Assemblies) -> Path:
    """The program of Cases.cs, against each Barracuda version."""
    references = [
        *assemblies.stubs,
        assemblies.folder / "UnityEditor.dll",
        assemblies.runtime,
        assemblies.folder / "StyleTransfer.Benchmark.dll",
        assemblies.editor,
    ]
    shaders = assemblies.folder / "Shaders.cs"
    shaders.write_text(programs(sorted((TEMPLATES / "Runtime/Shaders").glob("*.shader"))))
    sources = [*CASES_SOURCES, Path(__file__).with_name("Hlsl.cs"), shaders]
    return must_compile(assemblies.folder / "Cases.exe", sources, references, UNITY_DEFINES)


def ask(program: Path, *arguments: str, stdin: str = "") -> list[str]:
    """The lines that the program answers to arguments and input."""
    done = run("mono", program, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
