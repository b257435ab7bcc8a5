"""Compute shaders as Unity's files show them."""

from __future__ import annotations

COMPUTE_SHADER = 7200000
"""The file ID of the ComputeShader in an imported .compute: its class ID, 72, times 100000."""


def compute_meta(guid: str) -> bytes:
    """The meta of a `.compute` file."""
    lines = (
        "fileFormatVersion: 2",
        f"guid: {guid}",
        "ComputeShaderImporter:",
        "  externalObjects: {}",
        "  userData: ",
        "  assetBundleName: ",
        "  assetBundleVariant: ",
    )
    return ("\n".join(lines) + "\n").encode()
