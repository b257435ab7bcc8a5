"""Writes Python values as UnityYAML, in the layout of Unity's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.unity.guid import NOTHING
from pipeline.unity.templates import yaml_float, yaml_string

HEADER = "%YAML 1.1\n%TAG !u! tag:unity3d.com,2011:\n"


class Verbatim(str):
    """Text that is YAML already: a reference, a vector, a colour."""


def flow(values: Mapping[str, float]) -> Verbatim:
    """A vector or a colour: `{x: 0, y: -9.81}`."""
    return Verbatim("{" + ", ".join(f"{name}: {yaml_float(value)}" for name, value in values.items()) + "}")


def builtin(file_id: int) -> Verbatim:
    """A reference to one of Unity's built-in extra resources, by its number there."""
    return Verbatim(f"{{fileID: {file_id}, guid: 0000000000000000f000000000000000, type: 0}}")


def document(class_id: int, type_name: str, fields: Mapping[str, Any], file_id: int = 1) -> str:
    """One object of a file. Keys stand in the order of `fields`; nested mappings and lists are blocks."""
    return f"--- !u!{class_id} &{file_id}\n{type_name}:\n" + "".join(_members(fields, "  "))


def asset(*documents: str) -> bytes:
    """The bytes of a file."""
    return (HEADER + "".join(documents)).encode("ascii")


def behaviour(script: str, name: str, fields: Mapping[str, Any], file_id: int = 11400000, hidden: int = 0) -> str:
    """A MonoBehaviour without a game object: how Unity keeps a ScriptableObject. `script` is a reference."""
    head = {
        "m_ObjectHideFlags": hidden,
        **dict.fromkeys(
            ("m_CorrespondingSourceObject", "m_PrefabInstance", "m_PrefabAsset", "m_GameObject"), Verbatim(NOTHING)
        ),
        "m_Enabled": 1,
        "m_EditorHideFlags": 0,
        "m_Script": Verbatim(script),
        "m_Name": name,
        "m_EditorClassIdentifier": "",
    }
    return document(114, "MonoBehaviour", head | dict(fields), file_id)


def _members(fields: Mapping[str, Any], indent: str) -> list[str]:
    return [line for name, value in fields.items() for line in _member(name, value, indent)]


def _member(name: str, value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        lines = _members(value, indent + "  ")
        return [f"{indent}{name}:\n", *lines] if lines else [f"{indent}{name}: {{}}\n"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        lines = [line for item in value for line in _item(item, indent)]
        return [f"{indent}{name}:\n", *lines] if lines else [f"{indent}{name}: []\n"]
    return [f"{indent}{name}: {_scalar(value)}\n"]


def _item(value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        first, *rest = _members(value, indent + "  ")
        return [f"{indent}- {first.lstrip()}", *rest]
    return [f"{indent}- {_scalar(value)}\n"]


def _scalar(value: Any) -> str:
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, str):
        return yaml_string(value)
    return yaml_float(value) if isinstance(value, float) else str(int(value))
