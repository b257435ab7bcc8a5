"""UnityProject/ is held to what Unity reads and to the bundle that it shows."""

from __future__ import annotations

import json
import re

import pytest

from pipeline.support.resources import resource
from pipeline.unity import guid as ids
from pipeline.unity import meta
from pipeline.unity.bundle import BENCHMARK_SCENE, render
from pipeline.unity.guid import guid
from pipeline.unity.manifest import is_pristine, read_manifest
from tests.unity.bundles import spec
from tests.unity.reading import (
    KNOWN_GUIDS,
    UnityObject,
    check_metas,
    check_objects,
    check_text,
    documents,
    guids,
    mapping,
    references,
)

PROJECT = resource("UnityProject")
SCENE = "Assets/Scenes/StyleTransferDemo.unity"
GENERATED = {"Library", "Temp", "Logs", "UserSettings", "obj"}


def _read() -> dict[str, bytes]:
    """The files of the project, without the built example: that is a bundle, and has tests of its own."""
    paths = (path for path in sorted(PROJECT.rglob("*")) if path.is_file())
    relative = (path.relative_to(PROJECT) for path in paths)
    return {
        path.as_posix(): (PROJECT / path).read_bytes()
        for path in relative
        if path.parts[0] not in GENERATED and path.parts[:2] not in (("Assets", "StyleTransfer"),)
        if path.as_posix() != "Assets/StyleTransfer.meta"
    }


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return _read()


@pytest.fixture(scope="module")
def scene(files: dict[str, bytes]) -> list[UnityObject]:
    return documents(files[SCENE])


def _assets(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path.startswith("Assets/")}


def test_every_asset_has_a_meta_and_every_meta_an_asset(files: dict[str, bytes]) -> None:
    check_metas(_assets(files), roots=("Assets",))


def test_the_metas_are_those_that_we_write(files: dict[str, bytes]) -> None:
    for path, data in _assets(files).items():
        if path.endswith(".meta"):
            asset = path.removesuffix(".meta")
            value = guid(f"UnityProject/{asset}")
            expected = meta.file_meta(asset, value) if asset in files else meta.folder_meta(value)
            assert data == expected, path


def test_no_guid_is_used_twice_beside_the_example_bundle(files: dict[str, bytes]) -> None:
    guids(_assets(files) | render(spec("Mosaic")))


def is_yaml(path: str) -> bool:
    """XRSettings.asset alone is JSON."""
    return path.endswith((".unity", ".mat", ".asset")) and not path.endswith("XRSettings.asset")


def test_all_that_is_unity_yaml_is_readable(files: dict[str, bytes]) -> None:
    found = [path for path in files if is_yaml(path)]
    assert len(found) >= 10
    for path in found:
        check_objects(documents(files[path]))


def test_texts_are_ascii_with_unix_line_ends(files: dict[str, bytes]) -> None:
    for path, data in files.items():
        if path.endswith((".unity", ".mat", ".asset", ".meta")):
            check_text(data)
        assert data.isascii() and b"\r" not in data, path


def test_every_reference_resolves_in_the_project_the_bundle_or_unity(files: dict[str, bytes]) -> None:
    known = guids(_assets(files) | render(spec("Mosaic"))).keys() | KNOWN_GUIDS.keys()
    for path in files:
        if is_yaml(path):
            for item in documents(files[path]):
                for link in references(item.fields):
                    assert "guid" not in link or link["guid"] in known, f"{path}: {link}"


def _component(scene: list[UnityObject], script: str) -> list[UnityObject]:
    expected = {"fileID": str(ids.MONO_SCRIPT), "guid": guid(script), "type": "3"}
    return [item for item in scene if item.type_name == "MonoBehaviour" and item.fields["m_Script"] == expected]


def test_the_camera_of_the_scene_carries_the_stub_of_the_example(scene: list[UnityObject]) -> None:
    (stub,) = _component(scene, "StyleTransfer/Models/Mosaic/MosaicStyleTransfer.cs")
    (camera,) = [item for item in scene if item.type_name == "Camera"]
    assert stub.fields["m_GameObject"] == camera.fields["m_GameObject"]
    (prefab_stub,) = [
        item
        for item in documents(render(spec("Mosaic"))["StyleTransfer/Models/Mosaic/MosaicCamera.prefab"])
        if item.type_name == "MonoBehaviour"
    ]
    values = {name: value for name, value in stub.fields.items() if name != "m_GameObject"}
    assert values == {name: value for name, value in prefab_stub.fields.items() if name != "m_GameObject"}


def test_something_in_the_scene_moves(scene: list[UnityObject], files: dict[str, bytes]) -> None:
    spinner, *_ = _component(scene, "UnityProject/Assets/Demo/Spinner.cs")
    assert b"class Spinner : MonoBehaviour" in files["Assets/Demo/Spinner.cs"]
    (turntable,) = [
        item
        for item in scene
        if item.type_name == "Transform" and item.fields["m_GameObject"] == spinner.fields["m_GameObject"]
    ]
    assert len(turntable.fields["m_Children"]) >= 5


def test_every_renderer_has_a_mesh_and_a_material_and_the_colours_differ(scene: list[UnityObject]) -> None:
    renderers = [item for item in scene if item.type_name == "MeshRenderer"]
    meshes = {item.fields["m_GameObject"]["fileID"] for item in scene if item.type_name == "MeshFilter"}
    assert {item.fields["m_GameObject"]["fileID"] for item in renderers} == meshes
    assert len({item.fields["m_Materials"][0]["guid"] for item in renderers}) >= 5


def test_the_scene_has_the_layout_of_2019_and_the_class_ids_of_its_types(scene: list[UnityObject]) -> None:
    """Newer editors load the old layout; the other way round it is not so (formats.md, 5.1)."""
    versions = {(item.class_id, item.type_name): item.fields.get("serializedVersion") for item in scene}
    assert versions == {
        (29, "OcclusionCullingSettings"): "2",
        (104, "RenderSettings"): "9",
        (157, "LightmapSettings"): "11",
        (196, "NavMeshSettings"): "2",
        (1, "GameObject"): "6",
        (4, "Transform"): None,
        (20, "Camera"): "2",
        (23, "MeshRenderer"): None,
        (33, "MeshFilter"): None,
        (81, "AudioListener"): None,
        (108, "Light"): "10",
        (114, "MonoBehaviour"): None,
    }  # fmt: skip
    assert all("m_RootOrder" in item.fields for item in scene if item.type_name == "Transform")


def test_roots_have_an_order_of_their_own(scene: list[UnityObject]) -> None:
    transforms = [item.fields for item in scene if item.type_name == "Transform"]
    roots = [int(fields["m_RootOrder"]) for fields in transforms if fields["m_Father"] == {"fileID": "0"}]
    assert sorted(roots) == list(range(len(roots)))


def test_rotations_are_unit_quaternions(scene: list[UnityObject]) -> None:
    for item in scene:
        if item.type_name == "Transform":
            rotation = item.fields["m_LocalRotation"]
            assert sum(float(rotation[axis]) ** 2 for axis in "xyzw") == pytest.approx(1, abs=1e-5)


def test_the_build_list_names_the_scene_with_its_guid(files: dict[str, bytes]) -> None:
    (settings,) = documents(files["ProjectSettings/EditorBuildSettings.asset"])
    value = mapping(files[f"{SCENE}.meta"])["guid"]
    benchmark = {"enabled": "1", "path": f"Assets/{BENCHMARK_SCENE}", "guid": guid(BENCHMARK_SCENE)}
    assert settings.fields["m_Scenes"] == [{"enabled": "1", "path": SCENE, "guid": value}, benchmark]


def test_assets_are_kept_as_text_with_visible_metas(files: dict[str, bytes]) -> None:
    (settings,) = documents(files["ProjectSettings/EditorSettings.asset"])
    assert settings.fields["m_SerializationMode"] == "2"
    assert settings.fields["m_ExternalVersionControlSupport"] == "Visible Meta Files"


def test_the_version_of_unity_is_one_that_exists(files: dict[str, bytes]) -> None:
    text = files["ProjectSettings/ProjectVersion.txt"].decode()
    version = r"m_EditorVersion: (2019\.4\.29f1)\nm_EditorVersionWithRevision: \1 \(0eeae20b1d82\)\n"
    assert re.fullmatch(version, text)


def test_the_packages_have_what_the_scene_and_the_bundle_use(files: dict[str, bytes]) -> None:
    packages = json.loads(files["Packages/manifest.json"])["dependencies"]
    assert packages["com.unity.barracuda"] == "3.0.0"
    needed = {"com.unity.test-framework", "com.unity.modules.audio", "com.unity.modules.imageconversion"}
    assert needed <= packages.keys()


MODULES = (
    *("ai", "androidjni", "animation", "assetbundle", "audio", "cloth"),
    *("director", "imageconversion", "imgui", "jsonserialize", "particlesystem", "physics"),
    *("physics2d", "screencapture", "terrain", "terrainphysics", "tilemap", "ui"),
    *("uielements", "umbra", "unitywebrequest", "unitywebrequestassetbundle", "unitywebrequestaudio"),
    *("unitywebrequesttexture", "unitywebrequestwww", "vehicles", "video", "vr", "wind", "xr"),
)
BUILT_IN = {f"com.unity.modules.{name}" for name in MODULES}
"""Built-in packages that Unity 2019.4 has, and the list of the 6000.0 manual too (Built-in packages)."""


def test_every_package_exists_in_every_editor_that_opens_the_project(files: dict[str, bytes]) -> None:
    packages = json.loads(files["Packages/manifest.json"])["dependencies"]
    assert packages.keys() - BUILT_IN == {"com.unity.barracuda", "com.unity.test-framework"}
    assert {version for name, version in packages.items() if name in BUILT_IN} == {"1.0.0"}


def test_git_does_not_see_what_unity_generates(files: dict[str, bytes]) -> None:
    ignored = files[".gitignore"].decode().splitlines()
    assert {f"/{name}/" for name in GENERATED} <= set(ignored)


def test_the_built_example_is_whole_and_made_from_these_templates() -> None:
    """After a change of the templates: python dev.py bundle."""
    folder = PROJECT / "Assets"
    there = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in [folder / "StyleTransfer.meta", *(folder / "StyleTransfer").rglob("*")]
        if path.is_file()
    }
    listed = {
        path: value
        for name, data in there.items()
        if name.endswith("/bundle.json")
        for path, value in read_manifest(data).items()
    }
    manifests = {name for name in there if name.endswith("/bundle.json")}
    assert listed.keys() == there.keys() - manifests
    assert [path for path, value in listed.items() if not is_pristine(there[path], value)] == []
    fresh = {path: data for path, data in render(spec("Mosaic")).items() if "/Models/Mosaic" not in path}
    assert [path for path, data in fresh.items() if there.get(path) != data] == [], "run: python dev.py bundle"
    own = render(spec("Mosaic"))
    assert {path for path in own if "report" not in path} <= there.keys()
