from __future__ import annotations

import pytest

from pipeline.unity import meta
from tests.unity.reading import mapping

GUID = "0123456789abcdef0123456789abcdef"


def test_a_folder_meta_is_what_unity_2019_writes() -> None:
    assert meta.folder_meta(GUID).decode() == (
        f"fileFormatVersion: 2\nguid: {GUID}\nfolderAsset: yes\nDefaultImporter:\n  externalObjects: {{}}\n"
        "  userData: \n  assetBundleName: \n  assetBundleVariant: \n"
    )


def test_a_script_meta_is_what_unity_2019_writes() -> None:
    assert meta.script_meta(GUID).decode() == (
        f"fileFormatVersion: 2\nguid: {GUID}\nMonoImporter:\n  externalObjects: {{}}\n  serializedVersion: 2\n"
        "  defaultReferences: []\n  executionOrder: 0\n  icon: {instanceID: 0}\n"
        "  userData: \n  assetBundleName: \n  assetBundleVariant: \n"
    )


def test_default_references_of_a_script_are_a_list_of_fields() -> None:
    written = meta.script_meta(GUID, {"model": "{fileID: 11400000, guid: " + GUID + ", type: 2}"})
    references = mapping(written)["MonoImporter"]["defaultReferences"]
    assert references == [{"model": {"fileID": "11400000", "guid": GUID, "type": "2"}}]


def test_a_texture_keeps_its_texels() -> None:
    importer = mapping(meta.texture_meta(GUID))["TextureImporter"]
    assert importer["mipmaps"]["enableMipMap"] == "0"
    assert importer["isReadable"] == "1"
    assert importer["nPOTScale"] == "0"
    assert [platform["textureCompression"] for platform in importer["platformSettings"]] == ["0"]
    assert importer["mipmaps"]["sRGBTexture"] == "1"
    assert mapping(meta.texture_meta(GUID, srgb=False))["TextureImporter"]["mipmaps"]["sRGBTexture"] == "0"


@pytest.mark.parametrize(
    ("path", "importer"),
    [
        ("a.asmdef", "AssemblyDefinitionImporter"),
        ("a.asset", "NativeFormatImporter"),
        ("a.mat", "NativeFormatImporter"),
        ("a.compute", "ComputeShaderImporter"),
        ("a.cs", "MonoImporter"),
        ("a.html", "TextScriptImporter"),
        ("a.json", "TextScriptImporter"),
        ("a.md", "TextScriptImporter"),
        ("a.txt", "TextScriptImporter"),
        ("a.bytes", "TextScriptImporter"),
        ("a.png", "TextureImporter"),
        ("a.prefab", "PrefabImporter"),
        ("a.shader", "ShaderImporter"),
        ("a.unity", "DefaultImporter"),
    ],
)
def test_a_file_gets_the_importer_of_its_suffix(path: str, importer: str) -> None:
    loaded = mapping(meta.file_meta(path, GUID))
    assert list(loaded) == ["fileFormatVersion", "guid", importer]
    assert loaded["guid"] == GUID


def test_a_shader_include_has_no_importer_because_its_name_changed() -> None:
    assert meta.file_meta("a.hlsl", GUID).decode() == f"fileFormatVersion: 2\nguid: {GUID}\n"


def test_a_native_asset_names_its_main_object() -> None:
    assert mapping(meta.file_meta("a.asset", GUID))["NativeFormatImporter"]["mainObjectFileID"] == "11400000"
    assert mapping(meta.file_meta("a.mat", GUID))["NativeFormatImporter"]["mainObjectFileID"] == "2100000"


def test_a_file_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.xyz"):
        meta.file_meta("a.xyz", GUID)
