"""Writes the Unity files of a compiled network: an asset that references the kernels and the plan."""

from __future__ import annotations

import hashlib

from pipeline.targets.compute import kernels
from pipeline.targets.compute.plan import Plan
from pipeline.unity.bundle import SHARED, model_folder
from pipeline.unity.guid import IMPORTED, MONO_SCRIPT, TEXT, guid, reference

COMPUTE_SHADER = 7200000
"""The file ID of the ComputeShader in an imported .compute: its class ID, 72, times 100000."""
SCRIPT = "StyleTransfer/Engines/Compute/CompiledNetwork.cs"
_DIGITS = 12
"""Hexadecimal digits of the SHA-256 of the `.compute` file that its name contains."""

_ASSET = """\
%YAML 1.1
%TAG !u! tag:unity3d.com,2011:
--- !u!114 &11400000
MonoBehaviour:
  m_ObjectHideFlags: 0
  m_CorrespondingSourceObject: {{fileID: 0}}
  m_PrefabInstance: {{fileID: 0}}
  m_PrefabAsset: {{fileID: 0}}
  m_GameObject: {{fileID: 0}}
  m_Enabled: 1
  m_EditorHideFlags: 0
  m_Script: {script}
  m_Name: {name}Network
  m_EditorClassIdentifier:\x20
  kernels: {kernels}
  plan: {plan}
"""


def model_files(name: str, plan: Plan, data: bytes) -> dict[str, bytes]:
    """The network asset, which the model's asset references, and the plan file with content `data`."""
    (kernels_name,) = shared_files(plan)
    asset = _ASSET.format(
        name=name,
        script=reference(MONO_SCRIPT, guid(SCRIPT), IMPORTED),
        kernels=reference(COMPUTE_SHADER, guid(f"{SHARED}/{kernels_name}"), IMPORTED),
        plan=reference(TEXT, guid(f"{model_folder(name)}/{name}.bytes"), IMPORTED),
    )
    return {f"{name}Network.asset": asset.encode(), f"{name}.bytes": data}


def shared_files(plan: Plan) -> dict[str, bytes]:
    """The `.compute` file; plans that use the same variants share it, whatever their weights."""
    text = kernels.compute_file(plan).encode()
    return {f"Kernels_{hashlib.sha256(text).hexdigest()[:_DIGITS]}.compute": text}
