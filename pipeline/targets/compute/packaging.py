"""A compiled network as Unity's files show it: an asset that holds the kernels and the plan together."""

from __future__ import annotations

from pipeline.unity.guid import IMPORTED, MONO_SCRIPT, TEXT, guid, reference

COMPUTE_SHADER = 7200000
"""The file ID of the ComputeShader in an imported .compute: its class ID, 72, times 100000."""
SCRIPT = "StyleTransfer/Engines/Compute/CompiledNetwork.cs"
MODELS = "StyleTransfer/Models"

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


def files(name: str, kernels: str, plan: bytes) -> dict[str, bytes]:
    """The asset that the model's asset refers to, the text of its kernels, and its plan."""
    folder = f"{MODELS}/{name}"
    asset = _ASSET.format(
        name=name,
        script=reference(MONO_SCRIPT, guid(SCRIPT), IMPORTED),
        kernels=reference(COMPUTE_SHADER, guid(f"{folder}/{name}.compute"), IMPORTED),
        plan=reference(TEXT, guid(f"{folder}/{name}.bytes"), IMPORTED),
    )
    return {
        f"{name}Network.asset": asset.encode(),
        f"{name}.compute": kernels.encode(),
        f"{name}.bytes": plan,
    }
