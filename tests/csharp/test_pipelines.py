"""The passes for URP and HDRP compile against every version of either, without engines, and draw right frames."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.csharp.conftest import EngineAssemblies
from tests.csharp.test_allocations import allocations, methods_of
from tests.csharp.toolchain import STUBS, TEMPLATES, UNITY_DEFINES, compile_csharp, must_compile, run, sources_of

URP = ("URP_10_OR_NEWER", "URP_12_OR_NEWER", "URP_13_OR_NEWER", "URP_17_OR_NEWER", "URP_17_3_OR_NEWER")


@dataclass(frozen=True)
class Pipeline:
    """A version of a render pipeline: the defines that its package version makes, and where our pass lies."""

    name: str
    folder: str
    package: str
    defines: tuple[str, ...]


PIPELINES = [
    *(
        Pipeline(f"urp-{version}", "Universal", "universal", URP[:count])
        for count, version in enumerate(("7", "10", "12", "13", "17.0", "17.3"))
    ),
    Pipeline("hdrp-10", "HighDefinition", "high-definition", ()),
    Pipeline("hdrp-12", "HighDefinition", "high-definition", ("HDRP_12_OR_NEWER",)),
]
FOLDERS = {pipeline.folder: pipeline.package for pipeline in PIPELINES}


each_pipeline = pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda pipeline: pipeline.name)


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Pipeline, Path], list[Path]]:
    """Makes the libraries that stand for a version of a pipeline."""
    folder = tmp_path_factory.mktemp("pipelines")
    result: dict[Pipeline, list[Path]] = {}

    def make(pipeline: Pipeline, engine: Path) -> list[Path]:
        if pipeline not in result:
            friends = STUBS / "AssemblyInfo.cs"
            name = "Unity.RenderPipelines.{}.Runtime.dll"
            core = folder / pipeline.name / name.format("Core")
            stand_in = folder / pipeline.name / name.format(pipeline.folder)
            must_compile(core, [STUBS / "RenderPipelineCore.cs", friends], [engine], pipeline.defines)
            must_compile(stand_in, [STUBS / f"{pipeline.folder}.cs", friends], [engine, core], pipeline.defines)
            result[pipeline] = [core, stand_in]
        return result[pipeline]

    return make


def volumes(made: EngineAssemblies, libraries: list[Path], folder: Path) -> Path:
    """The assembly of the volume component, which knows the core of both pipelines only."""
    references = [made.unity, made.runtime, libraries[0]]
    return must_compile(folder / "StyleTransfer.Volumes.dll", sources_of("Runtime/Volumes"), references)


@each_pipeline
def test_the_pass_compiles_draws_the_right_frames_and_allocates_nothing(
    pipeline: Pipeline,
    fake: EngineAssemblies,
    program: Path,
    stand_ins: Callable[[Pipeline, Path], list[Path]],
    tmp_path: Path,
) -> None:
    libraries = stand_ins(pipeline, fake.folder / "UnityEngine.dll")
    ours = tmp_path / f"StyleTransfer.{pipeline.folder}.dll"
    references = [fake.unity, fake.runtime, volumes(fake, libraries, tmp_path), *libraries]
    must_compile(ours, sources_of(f"Runtime/{pipeline.folder}"), references, pipeline.defines)

    methods = methods_of(ours, fake.folder, libraries[0].parent)
    roots = [
        name
        for name in methods
        if re.fullmatch(r"StyleTransfer\w+::(AddRenderPasses|SetUp|Execute|RecordRenderGraph|Render)", name)
    ]
    assert len(roots) == {"urp-17.0": 5, "urp-17.3": 4, "hdrp-10": 1, "hdrp-12": 1}.get(pipeline.name, 3)
    reached, found = allocations(methods, roots)
    assert reached >= set(roots)
    assert found == []

    defines = (*UNITY_DEFINES, *pipeline.defines, *(["HDRP"] if "hdrp" in pipeline.name else []))
    source = Path(__file__).with_name("PipelineCases.cs")
    cases = must_compile(tmp_path / "PipelineCases.exe", [source], [*references, program, fake.own, ours], defines)
    done = run("mono", cases, libraries=[fake.folder, libraries[0].parent])
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    names = ("moving", "masked", "masked by a network", "off", "lost", "volume")
    assert outcomes == dict.fromkeys(names, "ok")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_pass_depends_on_neither_an_engine_nor_the_editor(folder: str) -> None:
    """So one compilation per version of the pipeline stands for all."""
    for source in sources_of(f"Runtime/{folder}"):
        text = source.read_text()
        assert not re.search(r"Barracuda|Sentis|InferenceEngine", text)
        conditions = re.findall(r"^\s*#(?:el)?if (.*)$", text, re.MULTILINE)
        assert {word for line in conditions for word in re.findall(r"\w+", line)} <= {*URP, "HDRP_12_OR_NEWER"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_assembly_exists_only_beside_its_pipeline(folder: str) -> None:
    path = TEMPLATES / f"Runtime/{folder}/StyleTransfer.{folder}.asmdef"
    asmdef = json.loads(path.read_text())
    assert asmdef["name"] == path.stem
    short = {"Universal": "URP", "HighDefinition": "HDRP"}[folder]
    assert asmdef["defineConstraints"] == [f"STYLETRANSFER_{short}"]
    package = f"com.unity.render-pipelines.{FOLDERS[folder]}"
    defined = {entry["define"]: entry for entry in asmdef["versionDefines"]}
    assert defined[f"STYLETRANSFER_{short}"]["name"] == package
    used = {name for pipeline in PIPELINES if pipeline.folder == folder for name in pipeline.defines}
    assert used == defined.keys() - set(asmdef["defineConstraints"])
    for name in used:
        entry = defined[name]
        number = re.search(r"_(\d+(?:_\d+)?)_OR", name)[1].replace("_", ".")
        assert entry["name"] == package
        assert entry["expression"] == ".".join([*number.split("."), "0", "0"][:3])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("urp-7", ("URP_13_OR_NEWER",)), ("urp-13", ("URP_17_OR_NEWER",)), ("hdrp-10", ("HDRP_12_OR_NEWER",))],
)
def test_a_define_of_a_later_version_is_an_error(
    name: str,
    wrong: tuple[str, ...],
    fake: EngineAssemblies,
    stand_ins: Callable[[Pipeline, Path], list[Path]],
    tmp_path: Path,
) -> None:
    pipeline = next(pipeline for pipeline in PIPELINES if pipeline.name == name)
    libraries = stand_ins(pipeline, fake.folder / "UnityEngine.dll")
    references = [fake.unity, fake.runtime, volumes(fake, libraries, tmp_path), *libraries]
    defines = (*pipeline.defines, *wrong)
    done = compile_csharp(tmp_path / "Wrong.dll", sources_of(f"Runtime/{pipeline.folder}"), references, defines)
    assert done.returncode != 0
    assert re.search("CS0117|CS0234|CS0246|CS1061|CS0115", done.stdout + done.stderr)
