"""A new project: its settings, its packages, and the style that was built in its demo scene, for every edition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.support.resources import resource
from pipeline.unity import demo_project, editions, packages, project_facts
from pipeline.unity.bundle import render
from pipeline.unity.demo_scene import SCENE
from pipeline.unity.editions import EDITIONS, Edition
from pipeline.unity.guid import guid
from pipeline.unity.project import create_project
from tests.unity.bundles import spec
from tests.unity.reading import KNOWN_GUIDS, check_objects, documents, guids, mapping, references

NAME = "Candy"
URP_GUIDS = {
    editions._URP_PIPELINE: "UniversalRenderPipelineAsset.cs",
    editions._URP_RENDERER: "UniversalRendererData.cs",
    editions._URP_POST_PROCESS_DATA: "PostProcessData.asset",
    editions._URP_PROJECT_SETTINGS: "URPProjectSettings.cs",
    editions._URP_LIT: "Lit.shader",
    editions._URP_ASSET_VERSION: "AssetVersion.cs",
    editions._SHADER_GRAPH_SETTINGS: "ShaderGraphProjectSettings.cs",
}
NEW_PROJECT = {
    *("AudioManager", "ClusterInputManager", "DynamicsManager", "EditorBuildSettings", "EditorSettings"),
    *("GraphicsSettings", "InputManager", "NavMeshAreas", "PackageManagerSettings", "Physics2DSettings"),
    *("PresetManager", "ProjectSettings", "QualitySettings", "TagManager", "TimeManager", "UnityConnectSettings"),
    *("VFXManager", "VersionControlSettings", "XRSettings"),
}
"""What a new project of Unity 2019.4 to 6 has in ProjectSettings/ (formats.md, 6.2)."""
LATER = {
    "2019.4": set(),
    "2022.3": {"MemorySettings"},
    "6": {"MemorySettings", "MultiplayerManager", "ShaderGraphSettings", "URPProjectSettings"},
}
"""What later editors add, as the projects of Unity-Technologies/sentis-samples (6000.0.58f2) have it."""


@pytest.fixture(scope="module")
def bundle() -> dict[str, bytes]:
    return render(spec(NAME))


@pytest.fixture(scope="module", params=EDITIONS, ids=lambda edition: edition.name)
def edition(request: pytest.FixtureRequest) -> Edition:
    return request.param


@pytest.fixture(scope="module")
def files(edition: Edition, bundle: dict[str, bytes]) -> dict[str, bytes]:
    prefab = bundle[f"StyleTransfer/Models/{NAME}/{NAME}Camera.prefab"].decode()
    return demo_project.overlay(NAME, prefab, edition)


def yaml_files(files: dict[str, bytes]) -> list[str]:
    suffixes = (".unity", ".mat", ".asset")
    return [path for path in files if path.endswith(suffixes) and not path.endswith("XRSettings.asset")]


def object_of(files: dict[str, bytes], path: str, type_name: str) -> dict:
    return next(item.fields for item in documents(files[path]) if item.type_name == type_name)


def test_every_file_reads_as_unity_reads_it(files: dict[str, bytes]) -> None:
    for path in yaml_files(files):
        check_objects(documents(files[path]))
    for path in files:
        if path.endswith(".meta"):
            assert mapping(files[path])["guid"]
        assert files[path].isascii() and b"\r" not in files[path]
    json.loads(files["ProjectSettings/XRSettings.asset"])


def test_first_opening_finds_every_file_that_unity_would_write(edition: Edition, files: dict[str, bytes]) -> None:
    names = {Path(path).stem for path in files if path.startswith("ProjectSettings/")}
    expected = NEW_PROJECT | {"ProjectVersion"} | LATER[edition.name]
    # The list of scene templates is Unity's own of each version, and written when somebody changes it.
    assert names == expected
    assert b"/Library/" in files[".gitignore"]


def test_every_reference_resolves(files: dict[str, bytes], bundle: dict[str, bytes]) -> None:
    assets = {path.removeprefix("Assets/"): data for path, data in files.items() if path.startswith("Assets/")}
    known = guids({**assets, **bundle}).keys() | KNOWN_GUIDS.keys() | URP_GUIDS.keys()
    for path in yaml_files(files):
        for item in documents(files[path]):
            for link in references(item.fields):
                assert "guid" not in link or link["guid"] in known, f"{path}: {link}"


def test_play_shows_the_style_that_was_built(files: dict[str, bytes]) -> None:
    text = files[SCENE].decode()
    assert guid(f"StyleTransfer/Models/{NAME}/{NAME}StyleTransfer.cs") in text
    assert guid(f"StyleTransfer/Models/{NAME}/{NAME}.asset") in text
    assert guid("StyleTransfer/Models/Mosaic/MosaicStyleTransfer.cs") not in text
    scenes = object_of(files, "ProjectSettings/EditorBuildSettings.asset", "EditorBuildSettings")["m_Scenes"]
    assert scenes[0]["path"] == SCENE


def test_the_project_is_of_the_editor_and_the_pipeline(
    edition: Edition, files: dict[str, bytes], tmp_path: Path
) -> None:
    create_project(tmp_path / "P", files)
    packages.add(tmp_path / "P", {"com.unity.barracuda": "3.0.0"})
    facts = project_facts.read(tmp_path / "P")
    assert facts.editor is not None and facts.editor[:2] == edition.unity
    assert facts.pipelines == (("URP",) if edition.universal else ("built-in",))
    assert facts.packages.items() >= edition.packages.items()
    kinds = [name.startswith("com.unity.modules.") for name in packages.requested(tmp_path / "P")]
    assert kinds == sorted(kinds), "modules stand last"
    assert "com.unity.modules.vr" not in facts.packages and "com.unity.modules.androidjni" in facts.packages
    player = object_of(files, "ProjectSettings/ProjectSettings.asset", "PlayerSettings")
    assert player["m_ActiveColorSpace"] == "1"


def test_materials_are_of_the_projects_pipeline(edition: Edition, files: dict[str, bytes]) -> None:
    for path in yaml_files(files):
        if path.endswith(".mat"):
            shader = object_of(files, path, "Material")["m_Shader"]
            expected = editions._URP_LIT if edition.universal else "0000000000000000f000000000000000"
            assert shader["guid"] == expected, path


def test_the_renderer_of_urp_draws_the_style() -> None:
    files = editions.files(EDITIONS[-1], [])
    found = documents(files[editions._RENDERER])
    feature = next(item for item in found if item.fields["m_Name"] == "StyleTransferFeature")
    script = feature.fields["m_Script"]["guid"]
    assert script == guid("StyleTransfer/Runtime/Universal/StyleTransferFeature.cs")
    renderer = next(item for item in found if item.fields["m_Name"] == "UniversalRenderer").fields
    assert renderer["m_RendererFeatures"] == [{"fileID": str(feature.file_id)}]
    assert int.from_bytes(bytes.fromhex(renderer["m_RendererFeatureMap"]), "little") == feature.file_id
    graphics = object_of(files, "ProjectSettings/GraphicsSettings.asset", "GraphicsSettings")
    pipeline = object_of(files, editions._PIPELINE, "MonoBehaviour")
    assert graphics["m_CustomRenderPipeline"]["guid"] == mapping(files[f"{editions._PIPELINE}.meta"])["guid"]
    assert pipeline["m_RendererDataList"][0]["guid"] == mapping(files[f"{editions._RENDERER}.meta"])["guid"]


@pytest.mark.parametrize(
    ("target", "wanted", "name"),
    [
        ("barracuda-3.0", None, "2019.4"),
        ("barracuda-1.0", None, "2019.4"),
        ("barracuda-3.0", "2022.3", "2022.3"),
        ("barracuda-3.0", "6", "6"),
        ("barracuda-3.0", "6000.0", "6"),
        ("inference-2", None, "6"),
    ],
)
def test_the_edition_is_the_oldest_that_the_target_runs_in(target: str, wanted: str | None, name: str) -> None:
    assert editions.choose(target, wanted).name == name


def test_an_edition_that_cannot_be_is_refused() -> None:
    with pytest.raises(PipelineError, match="needs Unity 6000") as caught:
        editions.choose("inference-2", "2022.3")
    assert "--project-version 6" in caught.value.remedy
    with pytest.raises(PipelineError, match=r"no template project for Unity 5\.6"):
        editions.choose("barracuda-3.0", "5.6")


def test_the_bundled_project_is_the_oldest_edition() -> None:
    project = resource("UnityProject")
    for path, data in editions.files(EDITIONS[0], []).items():
        if not path.endswith("EditorBuildSettings.asset"):
            assert (project / path).read_bytes() == data, "run: python dev.py bundle"
