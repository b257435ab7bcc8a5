"""The `.meta` text of every kind of file in a bundle, in the layout of Unity 2019.4.

Older layouts load unchanged in every later editor, which fills in the keys it misses (formats.md, 4 and 5.1),
so the oldest supported one is written. Texts are ASCII with LF; keys without a value keep the space after
the colon that Unity itself writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from pipeline.unity.guid import IMPORTED, MATERIAL, MONO_SCRIPT, SCRIPTABLE_OBJECT, reference
from pipeline.unity.templates import fill

_TAIL = ("userData: ", "assetBundleName: ", "assetBundleVariant: ")

_IMPORTERS: dict[str, tuple[str, ...]] = {
    ".asmdef": ("AssemblyDefinitionImporter",),
    ".asset": ("NativeFormatImporter", f"mainObjectFileID: {SCRIPTABLE_OBJECT}"),
    ".bytes": ("TextScriptImporter",),
    ".compute": ("ComputeShaderImporter",),
    ".html": ("TextScriptImporter",),
    ".json": ("TextScriptImporter",),
    ".mat": ("NativeFormatImporter", f"mainObjectFileID: {MATERIAL}"),
    ".md": ("TextScriptImporter",),
    ".prefab": ("PrefabImporter",),
    ".shader": ("ShaderImporter", "defaultTextures: []", "nonModifiableTextures: []"),
    ".txt": ("TextScriptImporter",),
    ".unity": ("DefaultImporter",),
    ".xml": ("TextScriptImporter",),
}


def _text(guid: str, lines: tuple[str, ...]) -> bytes:
    return ("\n".join(("fileFormatVersion: 2", f"guid: {guid}", *lines)) + "\n").encode("ascii")


def _importer(guid: str, importer: str, *fields: str) -> bytes:
    body = tuple("  " + line for line in ("externalObjects: {}", *fields, *_TAIL))
    return _text(guid, (f"{importer}:", *body))


def folder_meta(guid: str) -> bytes:
    """The meta of a folder."""
    lines = ("folderAsset: yes", "DefaultImporter:", "  externalObjects: {}")
    return _text(guid, (*lines, *("  " + line for line in _TAIL)))


def script_meta(guid: str, references: Mapping[str, str] | None = None) -> bytes:
    """The meta of a `.cs` file. `references`: field name -> reference that Unity fills in for new components.

    Default references work only for components that are added in the editor; scenes and prefabs carry
    their own.
    """
    if references:
        defaults = ("defaultReferences:", *(f"- {name}: {value}" for name, value in references.items()))
    else:
        defaults = ("defaultReferences: []",)
    return _importer(
        guid, "MonoImporter", "serializedVersion: 2", *defaults, "executionOrder: 0", "icon: {instanceID: 0}"
    )


def scripted_importer_meta(guid: str, importer: str, fields: Sequence[str]) -> bytes:
    """The meta of a file that a package's ScriptedImporter reads.

    `importer` is the GUID of the importer's script, `fields` are its settings, as `name: value`. Never with the
    key `fileIDToRecycleName`: it would pin the main object to file id 11400000, and every reference to it would
    break (formats.md, section 2). Importers ignore keys they do not know and default those that are missing, so a
    model also survives a change of the package's version.
    """
    head = (
        "internalIDToNameTable: []",
        "externalObjects: {}",
        "serializedVersion: 2",
        *_TAIL,
        f"script: {reference(MONO_SCRIPT, importer, IMPORTED)}",
    )
    body = tuple("  " + line for line in (*head, *fields))
    return _text(guid, ("ScriptedImporter:", *body))


def texture_meta(guid: str, *, srgb: bool = True) -> bytes:
    """The meta of a `.png` whose texels must stay exact: uncompressed, readable, own size, no mipmaps.

    `srgb` says how shaders see it in a project with linear colour; `GetPixels32` gives the stored bytes
    either way. The largest size is 8192, the most that Unity 2019.4 imports unscaled.
    """
    return fill("yaml/texture.meta.j2", guid=guid, srgb=int(srgb))


def file_meta(path: str, guid: str) -> bytes:
    """The meta of a file that needs nothing but its GUID: chosen by the suffix of `path`.

    Shader includes (`.hlsl`, `.cginc`) have the two-line form without an importer, because its name changed
    in Unity 2021.2; the editor accepts that form and fills it in (formats.md, 4).
    """
    suffix = PurePosixPath(path).suffix
    if suffix in (".hlsl", ".cginc"):
        return _text(guid, ())
    if suffix == ".cs":
        return script_meta(guid)
    if suffix == ".png":
        return texture_meta(guid)
    if suffix not in _IMPORTERS:
        raise ValueError(f"no importer is known for {path}: the method `meta` of its family must name one")
    return _importer(guid, *_IMPORTERS[suffix])
