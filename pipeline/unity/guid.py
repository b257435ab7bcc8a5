"""Identities inside Unity: GUIDs of assets, and file ids of the objects in them, all derived from names.

A reference in a scene is a GUID plus a file id and nothing else, so both come from stable names: a rebuild,
on any machine, gives the same ones and breaks no reference in the user's scenes.
"""

from __future__ import annotations

import hashlib
import re

import xxhash

NAMESPACE = "unity-bridge-pipeline"
"""Hashed in front of every stable name. Changing it breaks every scene made so far: never change it."""

_READ_AS_NUMBER = re.compile(r"[0-9]+(e[0-9]+)?")


def guid(stable_name: str) -> str:
    """The asset GUID of a stable name (its path in the bundle, such as `StyleTransfer/Runtime`).

    32 lower-case hex digits, as Unity writes them; any 128-bit value but zero is a legal GUID. Values that a
    YAML reader would take for a number (only digits, or digits e digits) are hashed again: unityparser and
    PyYAML turn those into int or float (shared/unity/formats.md, 4.1).
    """
    attempt = 0
    while True:
        salted = f"{NAMESPACE}:{stable_name}" + (f"#{attempt}" if attempt else "")
        value = hashlib.sha256(salted.encode("utf-8")).hexdigest()[:32]
        if not _READ_AS_NUMBER.fullmatch(value):
            return value
        attempt += 1


def file_id(type_name: str, identifier: str) -> int:
    """The file id that Unity gives an object which a ScriptedImporter adds under `identifier`.

    int64(XXH64("Type:<type>-><identifier>0", seed 0)); `type_name` is the native class, `MonoBehaviour` for
    every ScriptableObject. Reproduces the ids seen in eight public projects (formats.md, section 2).
    """
    unsigned = xxhash.xxh64_intdigest(f"Type:{type_name}->{identifier}0".encode())
    return unsigned - (1 << 64) if unsigned >= 1 << 63 else unsigned


def local_id(stable_name: str) -> int:
    """The file id of an object that we write ourselves in a prefab: a positive int64, never 0."""
    return (xxhash.xxh64_intdigest(f"{NAMESPACE}:{stable_name}".encode()) >> 1) | 1


MONO_SCRIPT = 11500000
SHADER = 4800000
TEXT = 4900000
TEXTURE = 2800000
SCRIPTABLE_OBJECT = 11400000
MATERIAL = 2100000

NATIVE = 2
"""`type` of a reference to a file in Unity's own format (.asset, .mat)."""
IMPORTED = 3
"""`type` of a reference to what an importer made (.cs, .shader, .png, .onnx, .prefab)."""


NOTHING = "{fileID: 0}"
"""A reference to no object."""


def reference(object_id: int, asset_guid: str, kind: int) -> str:
    """A reference as Unity writes it: `{fileID: 11400000, guid: 0123..., type: 2}`."""
    return f"{{fileID: {object_id}, guid: {asset_guid}, type: {kind}}}"
