"""Barracuda's importer in Unity's files and logs: its meta, its main object, its error messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.unity.guid import file_id
from pipeline.unity.meta import scripted_importer_meta

if TYPE_CHECKING:
    from pipeline.targets import Target

ONNX_IMPORTER = "683b6cb6d0a474744822c888b46772c9"
"""GUID of ONNXModelImporter.cs: the same in Barracuda 0.7.0 to 3.0.0 (barracuda-release, all tags)."""

NN_MODEL = file_id("MonoBehaviour", "main obj")
"""5022602860645237092: the NNModel inside an imported .onnx (formats.md, section 2)."""

_IMPORT_ERROR = re.compile(r"^Asset import failed, \"[^\"\n]+\.onnx\"[^\n]*(?:\n[^\n]+)?", re.MULTILINE)
"""The message of an OnnxImportException is on the next line."""


def importer_meta(guid: str, target: Target) -> bytes:
    """The meta of a `.onnx` for the importer of `target`, with the settings that this version has."""
    return scripted_importer_meta(guid, ONNX_IMPORTER, target.own["importer_fields"])


def import_error(log: str) -> str:
    """The first import error of an .onnx file in a log of the editor; "" if there is none."""
    found = _IMPORT_ERROR.search(log)
    return " ".join(found[0].split()) if found else ""
