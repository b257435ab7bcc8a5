"""Writes Unity scenes, in the layout of Unity 2019.4, which every later editor reads (formats.md, 5.1).

A scene is a tuple of `Item`s. File ids come from the scene's path and the names, so the same items give the same
bytes, and a change of one item leaves the others as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.unity.guid import local_id
from pipeline.unity.templates import fill, yaml_float

Vector = tuple[float, float, float]
Color = tuple[float, float, float]

MESHES = {"cube": 10202, "cylinder": 10206, "sphere": 10207, "capsule": 10208, "plane": 10209, "quad": 10210}
"""File ids of Unity's own meshes, in its default resources (formats.md, section 2)."""

DIRECTIONAL, POINT = 1, 2
"""Kinds of lights: LightType."""


@dataclass(frozen=True)
class Camera:
    """A perspective camera with an HDR target; `field_of_view` in degrees, vertical."""

    field_of_view: float = 60


@dataclass(frozen=True)
class Light:
    """A light in real time; `range` in metres, for point lights."""

    kind: int = DIRECTIONAL
    color: Color = (1, 1, 1)
    intensity: float = 1
    range: float = 10
    shadows: bool = True


@dataclass(frozen=True)
class Mesh:
    """One of MESHES with a material, given as a reference."""

    mesh: str
    material: str


@dataclass(frozen=True)
class Script:
    """A component of ours: the reference to its script, and the lines of its fields as YAML, without indent."""

    name: str
    script: str
    fields: Sequence[str] = ()


@dataclass(frozen=True)
class Item:
    """A game object. `euler` in degrees as the inspector shows them; `parent` names an item before it."""

    name: str
    position: Vector = (0, 0, 0)
    euler: Vector = (0, 0, 0)
    scale: Vector = (1, 1, 1)
    parent: str = ""
    tag: str = "Untagged"
    layer: int = 0
    camera: Camera | None = None
    hears: bool = False
    light: Light | None = None
    mesh: Mesh | None = None
    scripts: Sequence[Script] = field(default_factory=tuple)


def render_scene(path: str, items: Sequence[Item], *, ambient: Color = (0.45, 0.5, 0.6)) -> bytes:
    """The text of a scene. `path` is its stable name; names of items are unique; `ambient` is flat ambient light.

    Raises ValueError for a duplicate name, or a parent that does not precede its child.
    """
    by_name: dict[str, Item] = {}
    for item in items:
        if item.name in by_name or (item.parent and item.parent not in by_name):
            raise ValueError(f"{item.name}: a name must be unique, and a parent must precede its children")
        by_name[item.name] = item
    orders: dict[str, int] = {}
    texts = [fill("yaml/scene/settings.j2", ambient=_color(ambient))]
    for item in items:
        order = orders[item.parent] = orders.get(item.parent, -1) + 1
        texts.append(_item(path, item, order, [each.name for each in items if each.parent == item.name]))
    return b"".join(texts)


def component_id(path: str, item: str, component: str) -> int:
    """The file id of a component: of `GameObject`, `Transform`, `Camera`, or of a script by its name."""
    return local_id(f"{path}#{item}#{component}")


def _item(path: str, item: Item, order: int, children: Sequence[str]) -> bytes:
    def own(component: str) -> int:
        return component_id(path, item.name, component)

    parts: list[tuple[str, str, Mapping[str, Any]]] = []
    if item.camera is not None:
        parts.append(("Camera", "camera", vars(item.camera)))
    if item.hears:
        parts.append(("AudioListener", "listener", {}))
    if item.light is not None:
        parts.append(("Light", "light", vars(item.light) | {"color": _color(item.light.color)}))
    if item.mesh is not None:
        parts.append(("MeshFilter", "mesh_filter", {"mesh": MESHES[item.mesh.mesh]}))
        parts.append(("MeshRenderer", "mesh_renderer", {"material": item.mesh.material}))
    for script in item.scripts:
        parts.append((script.name, "script", {"script": script.script, "fields": script.fields}))

    texts = [
        fill(
            "yaml/scene/game_object.j2",
            object=own("GameObject"),
            transform=own("Transform"),
            components=[own("Transform"), *(own(name) for name, _, _ in parts)],
            layer=item.layer,
            name=item.name,
            tag=item.tag,
            rotation=_braces("xyzw", quaternion(item.euler)),
            position=_braces("xyz", item.position),
            scale=_braces("xyz", item.scale),
            children=[component_id(path, child, "Transform") for child in children],
            father=component_id(path, item.parent, "Transform") if item.parent else 0,
            order=order,
            euler=_braces("xyz", item.euler),
        )
    ]
    for name, template, values in parts:
        texts.append(fill(f"yaml/scene/{template}.j2", id=own(name), object=own("GameObject"), **values))
    return b"".join(texts)


def quaternion(euler: Vector) -> tuple[float, float, float, float]:
    """Unity's rotation for Euler angles in degrees: about z first, then x, then y (Quaternion.Euler)."""
    (sx, cx), (sy, cy), (sz, cz) = (
        (math.sin(math.radians(angle) / 2), math.cos(math.radians(angle) / 2)) for angle in euler
    )
    return (
        cy * sx * cz + sy * cx * sz,
        sy * cx * cz - cy * sx * sz,
        cy * cx * sz - sy * sx * cz,
        cy * cx * cz + sy * sx * sz,
    )


def _braces(names: str, values: Sequence[float]) -> str:
    rounded = (yaml_float(round(value, 7) + 0.0) for value in values)
    return "{" + ", ".join(f"{name}: {value}" for name, value in zip(names, rounded, strict=True)) + "}"


def _color(color: Color) -> str:
    return _braces("rgba", (*color, 1))
