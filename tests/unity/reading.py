"""Reads what Unity reads: UnityYAML documents, metas and the references between them. For tests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

HEADER = "%YAML 1.1\n%TAG !u! tag:unity3d.com,2011:\n"
_DOCUMENT = re.compile(r"^--- !u!(\d+) &(-?\d+)( stripped)?$", re.MULTILINE)

KNOWN_GUIDS = {
    "0000000000000000e000000000000000": "Unity's default resources (shared/unity/formats.md, section 2)",
    "0000000000000000f000000000000000": "Unity's builtin extra resources (formats.md, section 2)",
    "683b6cb6d0a474744822c888b46772c9": "ONNXModelImporter.cs of com.unity.barracuda (formats.md, 1.1)",
    "00000000000000000000000000000000": "no asset",
}
"""GUIDs outside the bundle and the project that a reference may name, and where each is known from."""


class _Strings(yaml.SafeLoader):
    """Every scalar as a string: YAML 1.1 would make 010 octal, `on` a bool and a GUID of digits a number."""


_Strings.yaml_implicit_resolvers = {}


@dataclass(frozen=True)
class UnityObject:
    class_id: int
    file_id: int
    type_name: str
    fields: dict[str, Any]


def documents(data: bytes) -> list[UnityObject]:
    """The objects of a scene, prefab, asset or material. AssertionError where Unity would not read it."""
    text = data.decode("ascii")
    assert text.startswith(HEADER), "no UnityYAML header"
    check_text(data)
    body = text[len(HEADER) :]
    heads = list(_DOCUMENT.finditer(body))
    assert heads and heads[0].start() == 0
    ends = [head.start() for head in heads[1:]] + [len(body)]
    found = []
    for head, end in zip(heads, ends, strict=True):
        content = yaml.load(body[head.end() : end], Loader=_Strings)
        assert len(content) == 1, "a document holds one object"
        ((type_name, fields),) = content.items()
        found.append(UnityObject(int(head[1]), int(head[2]), type_name, fields))
    return found


def mapping(data: bytes) -> dict[str, Any]:
    """A `.meta` file."""
    check_text(data)
    loaded = yaml.load(data.decode("ascii"), Loader=_Strings)
    assert isinstance(loaded, dict)
    return loaded


def check_text(data: bytes) -> None:
    """ASCII, LF, a last line end, no tabs, no comments, no block scalars (formats.md, 3.1)."""
    text = data.decode("ascii")
    assert "\r" not in text and "\t" not in text
    assert text.endswith("\n") and not text.endswith("\n\n")
    for line in text.splitlines():
        outside = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        assert "#" not in outside, f"a comment: {line}"
        assert not re.search(r":\s*[|>][+-]?$", outside), f"a block scalar: {line}"


def references(value: Any) -> Iterator[dict[str, str]]:
    """Every `{fileID: ...}` mapping inside a value."""
    if isinstance(value, dict):
        if "fileID" in value:
            yield value
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def guids(files: Mapping[str, bytes]) -> dict[str, str]:
    """GUID -> path of the asset, of all metas. AssertionError where one stands twice."""
    found: dict[str, str] = {}
    for path, data in files.items():
        if path.endswith(".meta"):
            value = mapping(data)["guid"]
            assert re.fullmatch(r"[0-9a-f]{32}", value)
            assert value not in found, f"{path} and {found[value]} have one GUID"
            found[value] = path.removesuffix(".meta")
    return found


def check_metas(files: Mapping[str, bytes], roots: tuple[str, ...] = ()) -> None:
    """Every file and folder has a meta and every meta belongs to one; `roots` are folders that have none."""
    assets = {path for path in files if not path.endswith(".meta")}
    folders = {
        "/".join(parts[:end]) for path in assets for parts in [path.split("/")] for end in range(1, len(parts))
    }
    expected = {f"{path}.meta" for path in (assets | folders) - set(roots)}
    assert expected == {path for path in files if path.endswith(".meta")}
    for folder in folders - set(roots):
        assert mapping(files[f"{folder}.meta"])["folderAsset"] == "yes"


def check_objects(objects: list[UnityObject]) -> None:
    """Ids are unique; game objects and components, parents and children, know each other; links resolve."""
    by_id = {item.file_id: item for item in objects}
    assert len(by_id) == len(objects) and 0 not in by_id
    for item in objects:
        for link in references(item.fields):
            if "guid" not in link and link["fileID"] != "0":
                assert int(link["fileID"]) in by_id, f"{item.type_name} {item.file_id} points to nothing"
    for item in objects:
        if item.type_name == "GameObject":
            components = [int(entry["component"]["fileID"]) for entry in item.fields["m_Component"]]
            assert by_id[components[0]].type_name == "Transform"
            assert len(set(components)) == len(components)
            for component in components:
                assert by_id[component].fields["m_GameObject"] == {"fileID": str(item.file_id)}
        elif int(item.fields.get("m_GameObject", {"fileID": "0"})["fileID"]):
            owner = by_id[int(item.fields["m_GameObject"]["fileID"])]
            assert {"component": {"fileID": str(item.file_id)}} in owner.fields["m_Component"]
        if item.type_name == "Transform":
            for child in item.fields["m_Children"]:
                assert by_id[int(child["fileID"])].fields["m_Father"] == {"fileID": str(item.file_id)}
            father = int(item.fields["m_Father"]["fileID"])
            if father:
                assert {"fileID": str(item.file_id)} in by_id[father].fields["m_Children"]
