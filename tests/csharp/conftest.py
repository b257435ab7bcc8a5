"""The generated C#, compiled once a session: each engine per version of its package, all else without packages."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.unity.templates import fill
from tests.csharp.shading import programs
from tests.csharp.toolchain import (
    STUBS,
    TEMPLATES,
    UNITY_DEFINES,
    must_compile,
    run,
    sources_of,
)

HERE = Path(__file__).resolve().parent
CASES_SOURCES = [HERE / f"{name}.cs" for name in ("Cases", "EffectCases", "BenchmarkCases")]
"""The cases of every engine; those of one engine are in its rig."""

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
class Engine:
    """An engine at one version of its package: what to compile it with.

    `package`: the library that stands for it, made of these stubs. `folder`: of unity_templates/Engines, None for
    the made-up engine. `rig`: what tells the cases about the engine.
    """

    name: str
    version: str
    package: str
    stubs: tuple[str, ...]
    folder: str | None
    defines: tuple[str, ...]
    rig: str

    @property
    def assembly(self) -> str:
        """The library of the engine itself, without its suffix."""
        return f"StyleTransfer.{self.folder}" if self.folder else "FakeEngine"

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


def _barracuda(version: str, *defines: str) -> Engine:
    stubs = ("Barracuda_Common.cs", f"Barracuda_{version.replace('.', '_')}.cs")
    return Engine("barracuda", version, "Unity.Barracuda", stubs, "Barracuda", defines, "BarracudaRig")


def _inference(version: str, *defines: str) -> Engine:
    package = "Unity.Sentis" if "STYLETRANSFER_SENTIS" in defines else "Unity.InferenceEngine"
    return Engine("inference", version, package, ("Inference.cs",), "InferenceEngine", defines, "InferenceRig")


FAKE = Engine("fake", "7", "", (), None, (), "FakeRig")
ENGINES = (
    FAKE,
    Engine("compute", "1", "", (), "Compute", (), "ComputeRig"),
    _barracuda("1.0.4"),
    _barracuda("2.0.0", "BARRACUDA_2_OR_NEWER"),
    _barracuda("3.0.0", "BARRACUDA_2_OR_NEWER", "BARRACUDA_3_OR_NEWER"),
    _inference("2.1.3", "STYLETRANSFER_SENTIS"),
    _inference("2.2.2"),
    _inference("2.4.0", "STUB_INFERENCE_2_4"),
)


@dataclass(frozen=True)
class Assemblies:
    """The libraries that know no package, side by side in a folder."""

    folder: Path

    def library(self, name: str) -> Path:
        """The path of a library, by its name without suffix."""
        return self.folder / f"{name}.dll"

    @property
    def unity(self) -> Path:
        return self.library("UnityEngine")

    @property
    def runtime(self) -> Path:
        return self.library("StyleTransfer.Runtime")

    @property
    def editor(self) -> list[Path]:
        """What the editor side refers to, and the editor side itself."""
        names = (
            "UnityEngine",
            "UnityEditor",
            "StyleTransfer.Runtime",
            "StyleTransfer.Benchmark",
            "StyleTransfer.Editor",
        )
        return [self.library(name) for name in names]


@dataclass(frozen=True)
class EngineAssemblies(Assemblies):
    """The same with one engine and the stand-in of its package beside them."""

    engine: Engine

    @property
    def own(self) -> Path:
        """The library of the engine."""
        return self.library(self.engine.assembly)

    @property
    def package(self) -> list[Path]:
        """The stand-in for the package; empty for an engine without one."""
        return [self.library(self.engine.package)] if self.engine.package else []


@pytest.fixture(scope="session")
def stub_text() -> str:
    """The generated component of one model."""
    return fill("model/stub.cs.j2", **STUB_VALUES).decode()


def build_unity(folder: Path) -> Assemblies:
    """The stand-ins for Unity, compiled."""
    friends = STUBS / "AssemblyInfo.cs"
    names = ("UnityEngine.cs", "UnityRendering.cs", "JsonUtility.cs", "Networks.cs", "Compute.cs")
    engine = must_compile(folder / "UnityEngine.dll", [*(STUBS / name for name in names), friends])
    must_compile(folder / "UnityEditor.dll", [STUBS / "UnityEditor.cs", friends], [engine])
    must_compile(folder / "nunit.framework.dll", [STUBS / "NUnit.cs"])
    return Assemblies(folder)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, stub_text: str) -> Assemblies:
    """All assemblies of a bundle but the engine, compiled as their asmdefs say: without any inference package."""
    result = build_unity(tmp_path_factory.mktemp("shared"))
    editor = result.library("UnityEditor")
    must_compile(result.runtime, sources_of("Runtime"), [result.unity], UNITY_DEFINES)
    benchmark = result.library("StyleTransfer.Benchmark")
    must_compile(benchmark, sources_of("Benchmark"), [result.unity, result.runtime], UNITY_DEFINES)
    references = [result.unity, editor, result.runtime, benchmark]
    must_compile(result.library("StyleTransfer.Editor"), sources_of("Editor"), references, UNITY_DEFINES)
    setup = result.library("StyleTransfer.Setup")
    must_compile(setup, sources_of("Editor/Setup"), [result.unity, editor], UNITY_DEFINES)
    references = [*result.editor, result.library("nunit.framework")]
    must_compile(result.library("StyleTransfer.Tests"), sources_of("Editor/Tests"), references, UNITY_DEFINES)
    stub = result.folder / f"{STUB_VALUES['class_name']}.cs"
    stub.write_text(stub_text)
    must_compile(result.library("StyleTransfer.Models"), [stub], [result.unity, result.runtime], UNITY_DEFINES)
    return result


def build_package(made: EngineAssemblies) -> None:
    """The stand-in for an engine's package, compiled."""
    if made.package:
        sources = [*(STUBS / name for name in made.engine.stubs), STUBS / "AssemblyInfo.cs"]
        must_compile(made.package[0], sources, [made.unity], made.engine.defines)


def build_engine(made: EngineAssemblies) -> None:
    """An engine, compiled as its asmdef says."""
    engine = made.engine
    sources = sources_of(f"Engines/{engine.folder}") if engine.folder else [HERE / "FakeEngine.cs"]
    references = [made.unity, made.library("UnityEditor"), *made.package, made.runtime]
    must_compile(made.own, sources, references, (*UNITY_DEFINES, *engine.defines))


def with_engine(shared: Assemblies, engine: Engine, folder: Path) -> EngineAssemblies:
    """The shared libraries in a folder of their own, with one engine."""
    for library in shared.folder.glob("*.dll"):
        shutil.copy(library, folder)
    result = EngineAssemblies(folder, engine)
    build_package(result)
    build_engine(result)
    return result


def build_cases(made: EngineAssemblies) -> Path:
    """The program of Cases.cs for one engine."""
    shaders = made.folder / "Shaders.cs"
    full_screen = [TEMPLATES / f"Runtime/Shaders/StyleTransfer{name}.shader" for name in ("Convert", "Motion")]
    shaders.write_text(programs(full_screen))
    sources = [*CASES_SOURCES, HERE / f"{made.engine.rig}.cs", HERE / "Hlsl.cs", shaders]
    references, defines = [*made.editor, *made.package, made.own], (*UNITY_DEFINES, *made.engine.defines)
    return must_compile(made.folder / "Cases.exe", sources, references, defines)


@pytest.fixture(scope="session", params=ENGINES, ids=str)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared: Assemblies
) -> EngineAssemblies:
    """Each engine at each version of its package."""
    return with_engine(shared, request.param, tmp_path_factory.mktemp(str(request.param)))


@pytest.fixture(scope="session")
def cases(engine: EngineAssemblies) -> Path:
    """The program of Cases.cs, for each engine."""
    return build_cases(engine)


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory, shared: Assemblies) -> EngineAssemblies:
    """The made-up engine: for what does not depend on the engine."""
    return with_engine(shared, FAKE, tmp_path_factory.mktemp("made-up"))


@pytest.fixture(scope="session")
def program(fake: EngineAssemblies) -> Path:
    """The program of Cases.cs with the made-up engine."""
    return build_cases(fake)


def ask(program: Path, *arguments: str, stdin: str = "") -> list[str]:
    """The lines that the program answers to arguments and input."""
    done = run("mono", program, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
