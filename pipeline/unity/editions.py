"""The editions of a whole Unity project: for which editor, with which render pipeline, packages and settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pipeline import targets
from pipeline.support.errors import PipelineError
from pipeline.targets import Target
from pipeline.unity import guid as ids
from pipeline.unity import meta, settings
from pipeline.unity.bundle import ROOT
from pipeline.unity.demo_scene import project_guid
from pipeline.unity.guid import guid, local_id, reference
from pipeline.unity.yaml_asset import Verbatim, asset, behaviour, document, flow

PRODUCT = "Style Transfer"


@dataclass(frozen=True)
class Edition:
    """A kind of project. `editor` opens it without an upgrade; `packages` are added to those of the target."""

    name: str
    editor: str
    revision: str
    unity: tuple[int, int]
    universal: bool = False
    packages: dict[str, str] = field(default_factory=dict)


EDITIONS = (
    Edition("2019.4", "2019.4.29f1", "0eeae20b1d82", (2019, 4)),
    Edition("2022.3", "2022.3.11f1", "d00248457e15", (2022, 3)),
    Edition(
        "6",
        "6000.0.58f2",
        "92dee566b325",
        (6000, 0),
        universal=True,
        packages={
            "com.unity.inputsystem": "1.14.2",
            "com.unity.render-pipelines.universal": "17.0.4",
            "com.unity.test-framework": "1.4.6",
            "com.unity.ugui": "2.0.0",
        },
    ),
)
"""Oldest first. 2019.4.29 is the oldest editor that Barracuda 3.0.0 is for (its changelog), 2022.3.11
that of Sentis 2.1.3 (its package.json)."""


def choose(target: str, version: str | None = None) -> Edition:
    """The edition of a name, or the oldest one that has what the target needs.

    Raises PipelineError `unknown-project-version`, `editor-too-old`.
    """
    needed = _needed(targets.get(target))
    if version is None:
        return next(edition for edition in EDITIONS if edition.unity >= needed)
    found = [edition for edition in EDITIONS if edition.name == version or edition.editor.startswith(version)]
    if not found:
        raise PipelineError(
            "unknown-project-version",
            f"there is no template project for Unity {version}",
            subject="--project-version",
            remedy=f"Available are: {', '.join(edition.name for edition in EDITIONS)}.",
        )
    if found[0].unity < needed:
        raise PipelineError(
            "editor-too-old",
            f"{target} needs Unity {targets.get(target).unity}",
            subject="--project-version",
            remedy=f"Use --project-version {choose(target).name}, or another --target.",
        )
    return found[0]


def own_target(version: str) -> str:
    """The target for a new project: of the newest package where the edition's Unity has it, else the default.

    Raises PipelineError `unknown-project-version`.
    """
    edition = choose(targets.DEFAULT, version)
    known = [target for target in map(targets.get, targets.names()) if target.package]
    newest = max(known, key=lambda target: (_needed(target), _numbers(target.package_version)))
    return newest.name if _needed(newest) <= edition.unity else targets.DEFAULT


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(found) for found in re.findall(r"\d+", version))


def _needed(target: Target) -> tuple[int, int]:
    major, minor, *_ = (int(part) for part in f"{target.unity}.0".split("."))
    return major, minor


def files(edition: Edition, scenes: list[tuple[str, str]]) -> dict[str, bytes]:
    """ProjectSettings/ and, for URP, the pipeline's assets: path in the project -> bytes."""
    product_guid = project_guid("product")
    result = settings.render(PRODUCT, product_guid, scenes) | settings.version(edition.editor, edition.revision)
    result |= settings.later(edition.unity)
    if not edition.universal:
        return result
    result[f"{settings.FOLDER}/GraphicsSettings.asset"] = settings.graphics(_asset_reference(_PIPELINE), 16)
    result[f"{settings.FOLDER}/QualitySettings.asset"] = settings.one_quality("PC", _asset_reference(_PIPELINE))
    result[f"{settings.FOLDER}/ProjectSettings.asset"] = settings.player(
        PRODUCT, product_guid, 28, input_system=True
    )
    result[f"{settings.FOLDER}/URPProjectSettings.asset"] = asset(
        behaviour(_script(_URP_PROJECT_SETTINGS), "", {"m_LastMaterialVersion": _MATERIAL_VERSION}, 1, hidden=61)
    )
    result[f"{settings.FOLDER}/ShaderGraphSettings.asset"] = asset(
        behaviour(_script(_SHADER_GRAPH_SETTINGS), "", _SHADER_GRAPH, 1, hidden=61)
    )
    assets = {_PIPELINE: _pipeline(), _RENDERER: _renderer()}
    for path, data in assets.items():
        result[path] = data
        result[f"{path}.meta"] = meta.file_meta(path, project_guid(path))
    result[f"{_SETTINGS}.meta"] = meta.folder_meta(project_guid(_SETTINGS))
    return result


# --- URP ---------------------------------------------------------------------------------------------------------

_SETTINGS = "Assets/Settings"
_PIPELINE = f"{_SETTINGS}/Universal.asset"
_RENDERER = f"{_SETTINGS}/UniversalRenderer.asset"
_FEATURE = f"{ROOT}/Runtime/Universal/StyleTransferFeature.cs"

# GUIDs of scripts and shaders of com.unity.render-pipelines.universal 17.0.4.
_URP_PIPELINE = "bf2edee5c58d82540a51f03df9d42094"
_URP_RENDERER = "de640fe3d0db1804a85f9fc8f5cadab6"
_URP_POST_PROCESS_DATA = "41439944d30ece34e96484bdb6645b55"
_URP_PROJECT_SETTINGS = "247994e1f5a72c2419c26a37e9334c01"
_URP_LIT = "933532a4fcc9baf4fa0491de14d08ed7"
_URP_ASSET_VERSION = "d0353a89b1f911e48b9e16bdc9f2e058"
_MATERIAL_VERSION = 10

# Of com.unity.shadergraph, which URP brings.
_SHADER_GRAPH_SETTINGS = "de02f9e1d18f588468e474319d09a723"
_SHADER_GRAPH = {
    "shaderVariantLimit": 128,
    "overrideShaderVariantLimit": 0,
    "customInterpolatorErrorThreshold": 32,
    "customInterpolatorWarningThreshold": 16,
    "customHeatmapValues": Verbatim(ids.NOTHING),
}


def _script(script_guid: str) -> str:
    return reference(ids.MONO_SCRIPT, script_guid, ids.IMPORTED)


def _asset_reference(path: str) -> Verbatim:
    return Verbatim(reference(ids.SCRIPTABLE_OBJECT, project_guid(path), ids.NATIVE))


def _pipeline() -> bytes:
    """The pipeline's asset; other fields have URP's defaults. The depth texture is on, for masks and motion."""
    fields = {
        "k_AssetVersion": 12,
        "k_AssetPreviousVersion": 12,
        "m_RendererType": 1,
        "m_RendererDataList": [_asset_reference(_RENDERER)],
        "m_DefaultRendererIndex": 0,
        "m_RequireDepthTexture": 1,
        "m_RequireOpaqueTexture": 0,
        "m_SupportsHDR": 1,
        "m_MSAA": 1,
        "m_RenderScale": 1,
        "m_MainLightRenderingMode": 1,
        "m_MainLightShadowsSupported": 1,
        "m_MainLightShadowmapResolution": 2048,
        "m_AdditionalLightsRenderingMode": 1,
        "m_AdditionalLightsPerObjectLimit": 4,
        "m_ShadowDistance": 50,
        "m_ShadowCascadeCount": 2,
        "m_SoftShadowsSupported": 1,
        "m_UseSRPBatcher": 1,
        "m_ColorGradingMode": 0,
        "m_ColorGradingLutSize": 32,
    }
    return asset(behaviour(_script(_URP_PIPELINE), "Universal", fields))


def _renderer() -> bytes:
    """The renderer, with the feature that draws the style."""
    feature = local_id(f"{_RENDERER}#StyleTransferFeature")
    everything = {"serializedVersion": 2, "m_Bits": 4294967295}
    fields = {
        "m_RendererFeatures": [Verbatim(f"{{fileID: {feature}}}")],
        "m_RendererFeatureMap": Verbatim(feature.to_bytes(8, "little", signed=True).hex()),
        "m_UseNativeRenderPass": 0,
        "postProcessData": Verbatim(reference(ids.SCRIPTABLE_OBJECT, _URP_POST_PROCESS_DATA, ids.NATIVE)),
        "m_AssetVersion": 2,
        "m_OpaqueLayerMask": everything,
        "m_TransparentLayerMask": everything,
        "m_ShadowTransparentReceive": 1,
        "m_RenderingMode": 0,
        "m_DepthPrimingMode": 0,
        "m_CopyDepthMode": 0,
        "m_IntermediateTextureMode": 1,
    }
    own = {"m_Active": 1, "afterPostProcessing": 1}
    return asset(
        behaviour(_script(guid(_FEATURE)), "StyleTransferFeature", own, feature),
        behaviour(_script(_URP_RENDERER), "UniversalRenderer", fields),
    )


def lit_material(name: str, color: tuple[float, float, float], smoothness: float, metallic: float) -> bytes:
    """A material for URP's Lit shader; `color` is sRGB."""
    nothing = Verbatim(ids.NOTHING)
    tint = flow(dict(zip("rgba", (*color, 1), strict=True)))
    fields = {
        "serializedVersion": 6,
        "m_ObjectHideFlags": 0,
        **dict.fromkeys(("m_CorrespondingSourceObject", "m_PrefabInstance", "m_PrefabAsset"), nothing),
        "m_Name": name,
        "m_Shader": Verbatim(reference(ids.SHADER, _URP_LIT, ids.IMPORTED)),
        "m_ShaderKeywords": "",
        "m_LightmapFlags": 4,
        "m_EnableInstancingVariants": 0,
        "m_DoubleSidedGI": 0,
        "m_CustomRenderQueue": -1,
        "stringTagMap": {"RenderType": "Opaque"},
        "disabledShaderPasses": [],
        "m_SavedProperties": {
            "serializedVersion": 3,
            "m_TexEnvs": [],
            "m_Floats": [{"_Metallic": metallic}, {"_Smoothness": smoothness}],
            "m_Colors": [{"_BaseColor": tint}, {"_Color": tint}],
        },
    }
    version = behaviour(
        _script(_URP_ASSET_VERSION),
        "",
        {"version": _MATERIAL_VERSION},
        local_id(f"{name}#AssetVersion"),
        hidden=11,
    )
    return asset(version, document(21, "Material", fields, ids.MATERIAL))
