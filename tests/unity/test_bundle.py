from __future__ import annotations

import json
import re

import pytest

from pipeline import targets
from pipeline.support.errors import PipelineError
from pipeline.targets.barracuda.packaging import NN_MODEL
from pipeline.unity import guid as ids
from pipeline.unity.bundle import BENCHMARK_SCENE, MODEL_SCRIPT, SHADERS, check_name, render
from pipeline.unity.guid import guid
from pipeline.unity.manifest import digest, read_manifest
from pipeline.unity.templates import templates_folder
from tests.unity.bundles import spec
from tests.unity.reading import (
    KNOWN_GUIDS,
    check_metas,
    check_objects,
    check_text,
    documents,
    guids,
    mapping,
    references,
)

MODEL = "StyleTransfer/Models/Mosaic"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return render(spec())


def test_the_files_of_a_model_are_those_that_the_readme_names(files: dict[str, bytes]) -> None:
    names = {path.removeprefix(f"{MODEL}/") for path in files if path.startswith(f"{MODEL}/")}
    assert {name for name in names if not name.endswith(".meta")} == {
        "Mosaic.onnx",
        "Mosaic.asset",
        "MosaicStyleTransfer.cs",
        "MosaicCamera.prefab",
        "golden_input.png",
        "golden_output.png",
        "report.html",
        "report.json",
        "report.md",
        "bundle.json",
    }


def test_every_file_and_folder_has_a_meta_and_no_guid_is_used_twice(files: dict[str, bytes]) -> None:
    check_metas(files)
    assert len(guids(files)) == sum(path.endswith(".meta") for path in files)


def test_a_guid_comes_only_from_the_path(files: dict[str, bytes]) -> None:
    for value, path in guids(files).items():
        assert value == guid(path)
    other = render(spec(onnx=b"other", title="Another", target=targets.get("barracuda-1.0")))
    assert guids(other) == guids(files)


def test_every_reference_resolves_to_an_object_of_the_right_kind(files: dict[str, bytes]) -> None:
    known = guids(files)
    kinds = {
        ".onnx": (str(NN_MODEL), "3"),
        ".cs": (str(ids.MONO_SCRIPT), "3"),
        ".shader": (str(ids.SHADER), "3"),
        ".png": (str(ids.TEXTURE), "3"),
        ".asset": (str(ids.SCRIPTABLE_OBJECT), "2"),
    }
    count = 0
    for path, data in files.items():
        if path.endswith(".meta"):
            values: list[object] = [mapping(data)]
        elif path.endswith((".asset", ".prefab", ".unity")):
            values = [item.fields for item in documents(data)]
        else:
            continue
        for link in references(values):
            if "guid" not in link or link["guid"] in KNOWN_GUIDS:
                continue
            target = known[link["guid"]]
            assert (link["fileID"], link["type"]) == kinds[re.search(r"\.\w+$", target)[0]], target  # type: ignore[index]
            count += 1
    # asset: script, model, two pictures; prefab: script, asset, 4 shaders; stub meta: asset, 4 shaders;
    # benchmark scene: script, shader
    assert count == 17


def test_the_asset_says_what_is_known_of_the_model(files: dict[str, bytes]) -> None:
    (asset,) = documents(files[f"{MODEL}/Mosaic.asset"])
    assert (asset.class_id, asset.file_id) == (114, ids.SCRIPTABLE_OBJECT)
    assert asset.fields["m_Name"] == "Mosaic"
    assert asset.fields["m_Script"]["guid"] == guid(MODEL_SCRIPT)
    assert asset.fields["model"] == {
        "fileID": "5022602860645237092",
        "guid": guid(f"{MODEL}/Mosaic.onnx"),
        "type": "3",
    }
    message = {
        name: asset.fields[name] for name in ("target", "nominalWidth", "fixedSize", "outputScale", "gigaMacs")
    }
    assert message == {
        "target": "barracuda-3.0",
        "nominalWidth": "960",
        "fixedSize": "0",
        "outputScale": "1",
        "gigaMacs": "42.125",
    }
    assert asset.fields["fileBytes"] == str(len(spec().onnx))


def _serialized_fields(source: bytes) -> set[bytes]:
    return set(re.findall(rb"\[SerializeField.*?\]\s+[\w.\[\]]+ (\w+) =", source, re.DOTALL))


def test_the_asset_has_the_fields_of_its_class(files: dict[str, bytes]) -> None:
    (asset,) = documents(files[f"{MODEL}/Mosaic.asset"])
    written = {name.encode() for name in asset.fields if not name.startswith("m_")}
    assert written == _serialized_fields(files[MODEL_SCRIPT])


def test_the_prefab_is_a_camera_that_carries_the_stub(files: dict[str, bytes]) -> None:
    objects = documents(files[f"{MODEL}/MosaicCamera.prefab"])
    check_objects(objects)
    assert [item.type_name for item in objects] == ["GameObject", "Transform", "Camera", "MonoBehaviour"]
    assert objects[0].fields["m_Name"] == "MosaicCamera"
    stub = objects[3].fields
    assert stub["m_Script"]["guid"] == guid(f"{MODEL}/MosaicStyleTransfer.cs")
    assert stub["model"]["guid"] == guid(f"{MODEL}/Mosaic.asset")
    assert [stub[field]["guid"] for field in SHADERS] == [guid(path) for path in SHADERS.values()]
    assert stub["targetHeight"] == "540"


def test_the_prefab_fills_the_fields_of_the_component(files: dict[str, bytes]) -> None:
    stub = documents(files[f"{MODEL}/MosaicCamera.prefab"])[3].fields
    written = {name.encode() for name in stub if not name.startswith("m_")}
    assert written == _serialized_fields(files["StyleTransfer/Runtime/StyleTransferSettings.cs"])


def test_a_new_component_gets_the_model_and_the_shader(files: dict[str, bytes]) -> None:
    defaults = mapping(files[f"{MODEL}/MosaicStyleTransfer.cs.meta"])["MonoImporter"]["defaultReferences"]
    assert [next(iter(entry)) for entry in defaults] == ["model", *SHADERS]


def test_a_script_is_named_as_its_class(files: dict[str, bytes]) -> None:
    """Unity finds the class of a component or asset by the name of its file."""
    assert b"class MosaicStyleTransfer : StyleTransferCamera" in files[f"{MODEL}/MosaicStyleTransfer.cs"]
    assert b"class StyleTransferModel : ScriptableObject" in files[MODEL_SCRIPT]
    assert (
        b"class StyleTransferCamera : StyleTransferSettings"
        in files["StyleTransfer/Runtime/StyleTransferCamera.cs"]
    )


def test_texts_are_ascii_with_unix_line_ends(files: dict[str, bytes]) -> None:
    for path, data in files.items():
        if path.endswith((".meta", ".asset", ".prefab", ".unity")):
            check_text(data)
        elif path.endswith((".cs", ".shader", ".asmdef", "README.txt")):
            assert data.isascii() and b"\r" not in data, path


def test_the_shared_folders_are_the_templates_byte_for_byte(files: dict[str, bytes]) -> None:
    for room in ("Runtime", "Editor"):
        for path in (templates_folder() / room).rglob("*"):
            if path.is_file():
                relative = path.relative_to(templates_folder()).as_posix()
                assert files[f"StyleTransfer/{relative}"] == path.read_bytes()


def test_two_bundles_merge(files: dict[str, bytes]) -> None:
    other = render(spec("Candy", onnx=b"candy", target=targets.get("barracuda-2.0")))
    common = files.keys() & other.keys()
    assert any(path.startswith("StyleTransfer/Runtime/") for path in common)
    assert all(files[path] == other[path] for path in common)
    assert not any(path.startswith((f"{MODEL}/", f"{MODEL}.meta")) for path in common)
    merged = files | other
    check_metas(merged)
    guids(merged)


def test_the_same_spec_gives_the_same_bytes_in_the_same_order(files: dict[str, bytes]) -> None:
    again = render(spec())
    assert list(again.items()) == list(files.items())
    assert list(files) == sorted(files)


def test_the_manifests_list_every_other_file_once(files: dict[str, bytes]) -> None:
    shared = read_manifest(files["StyleTransfer/bundle.json"])
    own = read_manifest(files[f"{MODEL}/bundle.json"])
    engine = read_manifest(files["StyleTransfer/Engines/Barracuda/bundle.json"])
    assert not shared.keys() & own.keys() and not (shared | own).keys() & engine.keys()
    assert all(path.startswith("StyleTransfer/Engines/Barracuda") for path in engine)
    assert shared | own | engine == {
        path: digest(data) for path, data in files.items() if not path.endswith("bundle.json")
    }
    assert all(path.startswith(MODEL) for path in own)


def test_the_model_meta_is_that_of_the_target() -> None:
    old = render(spec(target=targets.get("barracuda-1.0")))
    assert "importMode" not in mapping(old[f"{MODEL}/Mosaic.onnx.meta"])["ScriptedImporter"]


def test_words_of_the_user_stay_words() -> None:
    title = 'Ca\u0301fe "*/ <b>\\\n#\u2028 { x: 1 }'
    files = render(spec(title=title, source_name="\u65e5\u672c.pth"))
    (asset,) = documents(files[f"{MODEL}/Mosaic.asset"])
    assert asset.fields["displayName"] == title
    assert asset.fields["source"] == "\u65e5\u672c.pth"
    stub = files[f"{MODEL}/MosaicStyleTransfer.cs"].decode("utf-8")
    assert len(stub.splitlines()) == len(render(spec())[f"{MODEL}/MosaicStyleTransfer.cs"].splitlines())


@pytest.mark.parametrize(
    "name", ["", "2Fast", "My Model", "a-b", "../x", "Caf\u00e9", "CON", "nul", "a.b", "Mosaic\n"]
)
def test_a_name_that_is_not_a_class_or_folder_is_refused(name: str) -> None:
    with pytest.raises(PipelineError) as caught:
        check_name(name)
    assert caught.value.code == "bad-model-name"
    assert "\n" not in str(caught.value)


def test_the_assembly_definitions_are_json_with_the_names_of_their_files(files: dict[str, bytes]) -> None:
    found = {path: json.loads(data) for path, data in files.items() if path.endswith(".asmdef")}
    assert len(found) >= 3
    for path, content in found.items():
        assert path.endswith(f"/{content['name']}.asmdef")


def test_every_assembly_that_one_refers_to_exists(files: dict[str, bytes]) -> None:
    found = [json.loads(data) for path, data in files.items() if path.endswith(".asmdef")]
    own = {content["name"] for content in found}
    for content in found:  # those outside the bundle are in tests/csharp/test_compile.py
        ours = {name for name in content["references"] if name.startswith("StyleTransfer")}
        assert ours <= own - {content["name"]}, content["name"]


def test_the_benchmark_scene_holds_the_benchmark(files: dict[str, bytes]) -> None:
    objects = documents(files[BENCHMARK_SCENE])
    check_objects(objects)
    (script,) = [item for item in objects if item.type_name == "MonoBehaviour"]
    assert script.fields["m_Script"]["guid"] == guid("StyleTransfer/Benchmark/StyleTransferBenchmark.cs")
    written = {name.encode() for name in script.fields if not name.startswith("m_")}
    assert written <= _serialized_fields(files["StyleTransfer/Benchmark/StyleTransferBenchmark.cs"])
    assert [item.type_name for item in objects].count("Camera") == 1
