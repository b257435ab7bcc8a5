"""ProjectSettings/ of a new Unity project: the files that Unity itself would write when it is first opened.

The values are those of a new project of Unity 2019.4, in its layout, which later editors read (formats.md, 6.2),
except for linear colour space, text serialisation and visible metas. Unity writes the files that are missing, so a
project under version control would otherwise start with twenty untracked files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.unity.guid import NOTHING
from pipeline.unity.templates import templates_folder
from pipeline.unity.yaml_asset import Verbatim, asset, behaviour, builtin, document, flow

FOLDER = "ProjectSettings"

_NONE = Verbatim(NOTHING)
_LINEAR = 1
_BOTH_INPUTS = 2
_PACKAGE_MANAGER = 13964
"""The file id of the script of PackageManagerSettings in Unity's own resources."""


def render(product: str, product_guid: str, scenes: list[tuple[str, str]]) -> dict[str, bytes]:
    """Path in the project -> bytes. `scenes` are (path, GUID) of the scenes of a build, the first one first."""
    table = _table()
    files = {
        f"{name}.asset": asset(document(file["class_id"], file["type"], _values(file["fields"])))
        for name, file in table.items()
    }
    files |= {
        "EditorBuildSettings.asset": asset(document(1045, "EditorBuildSettings", _scenes(scenes))),
        "GraphicsSettings.asset": graphics(_NONE),
        "PackageManagerSettings.asset": _package_manager(),
        "ProjectSettings.asset": player(product, product_guid, 20),
        "XRSettings.asset": _XR,
    }
    return {f"{FOLDER}/{name}": data for name, data in sorted(files.items())}


def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((templates_folder() / "yaml" / "project_settings.json").read_text("utf-8"))
    return table["files"]


def _values(value: Any) -> Any:
    """The table's values; a text that begins with = is YAML already."""
    if isinstance(value, dict):
        return {key: _values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_values(item) for item in value]
    return Verbatim(value[1:]) if isinstance(value, str) and value.startswith("=") else value


def version(editor: str, revision: str) -> dict[str, bytes]:
    """ProjectVersion.txt: the editor that opens the project without a question."""
    text = f"m_EditorVersion: {editor}\nm_EditorVersionWithRevision: {editor} ({revision})\n"
    return {f"{FOLDER}/ProjectVersion.txt": text.encode("ascii")}


def later(unity: tuple[int, int]) -> dict[str, bytes]:
    """The files that editors since 2019.4 have added, of those that `unity` has: path in the project -> bytes."""
    files = {}
    if unity >= _MEMORY_SINCE:
        sizes = dict.fromkeys((f"m_{name}" for name in _MEMORY_SIZES), -1)
        fields = _plain({"m_EditorMemorySettings": sizes, "m_PlatformMemorySettings": Verbatim("{}")})
        files["MemorySettings.asset"] = asset(document(387306366, "MemorySettings", fields))
    if unity >= _MULTIPLAYER_SINCE:
        fields = _plain({"m_EnableMultiplayerRoles": 0, "m_StrippingTypes": Verbatim("{}")})
        files["MultiplayerManager.asset"] = asset(document(655991488, "MultiplayerManager", fields))
    return {f"{FOLDER}/{name}": data for name, data in files.items()}


_MEMORY_SINCE = (2021, 2)
_MULTIPLAYER_SINCE = (6000, 0)

_MEMORY_SIZES = (
    *(f"{name}BlockSize" for name in ("MainAllocator", "ThreadAllocator", "MainGfx", "ThreadGfx", "Cache")),
    *(f"{name}BlockSize" for name in ("Typetree", "Profiler", "ProfilerEditor")),
    *(
        f"{kind}BucketAllocator{name}"
        for kind in ("", "Profiler")
        for name in ("Granularity", "BucketsCount", "BlockSize", "BlockCount")
    ),
    "TempAllocatorSizeMain",
    *(
        f"{name}BlockSize"
        for name in ("JobTempAllocator", "BackgroundJobTempAllocator", "JobTempAllocatorReduced")
    ),
    *(f"TempAllocatorSize{name}Worker" for name in ("GIBaking", "NavMesh", "Audio", "Cloud")),
    *(f"TempAllocatorSize{name}" for name in ("Gfx", "JobWorker", "BackgroundWorker", "PreloadManager")),
)
"""The sizes of the editor's memory blocks, in the file's order; -1 is Unity's own default."""


def player(product: str, product_guid: str, layout: int, *, input_system: bool = False) -> bytes:
    """ProjectSettings.asset; `layout` is the editor's version of it: 20 is of 2019.4, 28 of 6000.0.

    `input_system` switches the Input System on beside the old Input Manager.
    """
    fields = {
        "serializedVersion": layout,
        "productGUID": product_guid,
        "defaultScreenOrientation": 4,
        "companyName": "DefaultCompany",
        "productName": product,
        "defaultScreenWidth": 1280,
        "defaultScreenHeight": 720,
        "m_ActiveColorSpace": _LINEAR,
        "m_MTRendering": 1,
        "runInBackground": 1,
        "gpuSkinning": 1,
        "resizableWindow": 1,
        "fullscreenMode": 1,
        "bundleVersion": "0.1",
        "scriptingRuntimeVersion": 1,
        "apiCompatibilityLevel": 6,
    }
    if input_system:
        fields["activeInputHandler"] = _BOTH_INPUTS
    return asset(document(129, "PlayerSettings", _plain(fields)))


def graphics(pipeline: Verbatim, layout: int = 13) -> bytes:
    """GraphicsSettings.asset with a render pipeline's asset; `layout` 13 is of 2019.4, 16 of 6000.0."""
    built_in = {
        "m_Deferred": 69,
        "m_DeferredReflections": 74,
        "m_ScreenSpaceShadows": 64,
        "m_LegacyDeferred": 63,
        "m_DepthNormals": 62,
        "m_MotionVectors": 75,
        "m_LightHalo": 105,
        "m_LensFlare": 102,
    }
    if layout > 13:
        del built_in["m_LegacyDeferred"]
    kept = ("Plain", "DirCombined", "DynamicPlain", "DynamicDirCombined", "ShadowMask", "Subtractive")
    fields = {
        "serializedVersion": layout,
        **{name: {"m_Mode": 1, "m_Shader": builtin(shader)} for name, shader in built_in.items()},
        "m_AlwaysIncludedShaders": [builtin(shader) for shader in (7, 15104, 15105, 15106, 10753, 10770)],
        "m_PreloadedShaders": [],
        "m_SpritesDefaultMaterial": builtin(10754),
        "m_CustomRenderPipeline": pipeline,
        "m_TransparencySortMode": 0,
        "m_TransparencySortAxis": flow({"x": 0, "y": 0, "z": 1}),
        "m_DefaultRenderingPath": 1,
        "m_DefaultMobileRenderingPath": 1,
        "m_TierSettings": [],
        "m_LightmapStripping": 0,
        "m_FogStripping": 0,
        "m_InstancingStripping": 0,
        **{f"m_LightmapKeep{name}": 1 for name in kept},
        **{f"m_FogKeep{name}": 1 for name in ("Linear", "Exp", "Exp2")},
        "m_AlbedoSwatchInfos": [],
        "m_LightsUseLinearIntensity": int(pipeline != _NONE),
        "m_LightsUseColorTemperature": int(pipeline != _NONE),
        "m_LogWhenShaderIsCompiled": 0,
    }
    return asset(document(30, "GraphicsSettings", _plain(fields)))


def one_quality(name: str, pipeline: Verbatim) -> bytes:
    """QualitySettings.asset with one level, for all platforms, that has a render pipeline's asset."""
    table = _table()
    fields = _values(table["QualitySettings"]["fields"])
    level = fields["m_QualitySettings"][-1] | {"name": name, "customRenderPipeline": pipeline}
    fields |= {"m_CurrentQuality": 0, "m_QualitySettings": [level], "m_PerPlatformDefaultQuality": {}}
    return asset(document(47, "QualitySettings", fields))


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"m_ObjectHideFlags": 0, **fields}


def _scenes(scenes: list[tuple[str, str]]) -> dict[str, Any]:
    listed = [{"enabled": 1, "path": Verbatim(path), "guid": Verbatim(guid)} for path, guid in scenes]
    return _plain({"serializedVersion": 2, "m_Scenes": listed, "m_configObjects": {}})


def _package_manager() -> bytes:
    registry = {
        "m_Id": "main",
        "m_Name": "",
        "m_Url": Verbatim("https://packages.unity.com"),
        "m_Scopes": [],
        "m_IsDefault": 1,
    }
    script = f"{{fileID: {_PACKAGE_MANAGER}, guid: 0000000000000000e000000000000000, type: 0}}"
    fields = {
        "m_ScopedRegistriesSettingsExpanded": 1,
        "oneTimeWarningShown": 0,
        "m_Registries": [registry],
        "m_UserSelectedRegistryName": "",
        "m_UserAddingNewScopedRegistry": 0,
    }
    return asset(behaviour(script, "", fields, 1, hidden=61))


_XR = b"""{
    "m_SettingKeys": [
        "VR Device Disabled",
        "VR Device User Alert"
    ],
    "m_SettingValues": [
        "False",
        "False"
    ]
}
"""
