"""The package's importers in Unity's files and logs: metas, the main object, error messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.unity.guid import file_id
from pipeline.unity.meta import scripted_importer_meta

if TYPE_CHECKING:
    from pipeline.targets import Target

MODEL_ASSET = file_id("MonoBehaviour", "main obj")
"""5022602860645237092: the ModelAsset inside an imported .onnx or .sentis (formats.md, section 2)."""

_IMPORT_ERROR = re.compile(
    r"^(?:Asset import failed, \"[^\"\n]+\.(?:onnx|sentis)\"[^\n]*(?:\n[^\n]+)?"
    r"|Unsupported ONNX Operator: [^\n]+|Failed to load serialized (?:Sentis )?model[^\n]+)",
    re.MULTILINE,
)


def importer_meta(file_name: str, guid: str, target: Target) -> bytes | None:
    """The meta of a `.onnx` or `.sentis` for the importer of `target`; None for other files."""
    suffix = file_name[file_name.rfind(".") :]
    importer = target.own["importers"].get(suffix)
    if importer is None:
        return None
    return scripted_importer_meta(guid, importer["script"], importer["fields"])


def import_error(log: str) -> str:
    """The first error message about a model file in a log of the editor, "" if there is none."""
    found = _IMPORT_ERROR.search(log)
    return " ".join(found[0].split()) if found else ""
