"""The objects of the demo scene, which is made for judging stylised video.

The camera circles, thin and thick objects occlude each other, some move, and stripes and highlights show flicker.
All meshes are Unity's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.unity import guid as ids
from pipeline.unity.bundle import model_folder
from pipeline.unity.guid import guid, reference
from pipeline.unity.scene import (
    DIRECTIONAL,
    POINT,
    Camera,
    Color,
    Item,
    Light,
    Mesh,
    Script,
    Vector,
    component_id,
    render_scene,
)

SCENE = "Assets/Scenes/StyleTransferDemo.unity"

MATERIALS: dict[str, tuple[Color, float, float]] = {
    "Blue": ((0.16, 0.4, 0.78), 0.5, 0),
    "Charcoal": ((0.12, 0.12, 0.14), 0.3, 0),
    "Chrome": ((0.9, 0.9, 0.92), 0.92, 1),
    "Gold": ((1, 0.78, 0.34), 0.8, 1),
    "Green": ((0.25, 0.6, 0.27), 0.5, 0),
    "Orange": ((0.93, 0.52, 0.13), 0.5, 0),
    "Red": ((0.83, 0.18, 0.15), 0.5, 0),
    "Sand": ((0.78, 0.7, 0.55), 0.1, 0),
    "Teal": ((0.1, 0.55, 0.55), 0.4, 0),
    "Violet": ((0.5, 0.26, 0.64), 0.5, 0),
    "White": ((0.92, 0.91, 0.88), 0.2, 0),
    "Yellow": ((0.95, 0.82, 0.2), 0.5, 0),
}
"""Colour (sRGB), smoothness and metallic of each material."""


def render(style: str, prefab: str) -> bytes:
    """The text of the scene; its camera shows the bundle `style`, `prefab` is the text of that bundle's prefab."""
    return render_scene(f"UnityProject/{SCENE}", tuple(items(style, prefab)))


def project_guid(path: str) -> str:
    """The GUID of a file of the bundled project that is not part of a bundle."""
    return guid(f"UnityProject/{path}")


def material_path(name: str) -> str:
    """Where the material of a name of MATERIALS lies in the project."""
    return f"Assets/Demo/Materials/{name}.mat"


def _mesh(kind: str, material: str) -> Mesh:
    return Mesh(kind, reference(ids.MATERIAL, project_guid(material_path(material)), ids.NATIVE))


def _script(name: str, *fields: str, folder: str = "Assets/Demo") -> Script:
    return Script(name, reference(ids.MONO_SCRIPT, project_guid(f"{folder}/{name}.cs"), ids.IMPORTED), fields)


def _stub(style: str, prefab: str) -> Script:
    """The style's component with the fields of its prefab: what build-unity gives a camera."""
    name = f"{style}StyleTransfer"
    body = prefab.partition("MonoBehaviour:\n")[2].partition("m_EditorClassIdentifier: \n")[2]
    fields = [line[2:] for line in body.splitlines()]
    script = reference(ids.MONO_SCRIPT, guid(f"{model_folder(style)}/{name}.cs"), ids.IMPORTED)
    return Script(name, script, fields)


def items(style: str, prefab: str) -> Iterator[Item]:
    """Every object of the scene, parents before their children."""
    yield _camera(style, prefab)
    yield Item("Sun", (0, 6, 0), (50, -30, 0), light=Light(DIRECTIONAL, (1, 0.95686275, 0.8392157), 1))
    yield Item("Warm Light", (-4, 3, 2), light=Light(POINT, (1, 0.6, 0.3), 1.4, 9, shadows=False))
    yield Item("Cool Light", (4, 3.5, -2), light=Light(POINT, (0.4, 0.6, 1), 1.2, 9, shadows=False))
    yield Item("Ground", scale=(4, 1, 4), mesh=_mesh("plane", "Sand"))
    yield from _floor()
    yield from _turntable()
    yield from _pillars()
    yield from _fence()
    yield from _stairs()
    yield from _arch()
    yield from _pictures()
    yield from _balls()
    yield from _comet()


def _camera(style: str, prefab: str) -> Item:
    walk = f"path: {{fileID: {component_id(f'UnityProject/{SCENE}', 'Main Camera', 'CameraPath')}}}"
    return Item(
        "Main Camera",
        (0, 2.6, -9),
        (7.6, 0, 0),
        tag="MainCamera",
        camera=Camera(50),
        hears=True,
        scripts=(
            _script("CameraPath"),
            _stub(style, prefab),
            _script("DemoControls", walk, folder="Assets/Demo/Controls"),
        ),
    )


def _floor() -> Iterator[Item]:
    """Stripes, which shimmer when a style does."""
    yield Item("Floor", (0, 0.01, 0))
    for number in range(14):
        colour = ("White", "Charcoal")[number % 2]
        place = (0, 0, round(-2.6 + 0.4 * number, 2))
        yield Item(f"Plank {number + 1}", place, scale=(6, 0.02, 0.4), parent="Floor", mesh=_mesh("cube", colour))


def _turntable() -> Iterator[Item]:
    yield Item("Turntable", (0, 0.02, 0), scripts=(_script("Spinner", "speed: 20"),))
    things: tuple[tuple[str, str, str, Vector, float], ...] = (
        ("Red Cube", "cube", "Red", (1.2, 1.2, 1.2), 0.6),
        ("Yellow Sphere", "sphere", "Yellow", (1.5, 1.5, 1.5), 0.75),
        ("Green Cylinder", "cylinder", "Green", (1, 1, 1), 1),
        ("Blue Capsule", "capsule", "Blue", (1, 1, 1), 1),
        ("Violet Block", "cube", "Violet", (1, 1.8, 1), 0.9),
        ("Orange Sphere", "sphere", "Orange", (1.2, 1.2, 1.2), 0.6),
    )
    for number, (name, mesh, material, scale, height) in enumerate(things):
        x, z = _round(2, number / len(things))
        turn = round(360 * number / len(things))
        place = (x, height, z)
        yield Item(name, place, (0, turn, 0), scale, parent="Turntable", mesh=_mesh(mesh, material))
    yield Item("Tower", (0, 1.2, 0), scale=(0.8, 2.4, 0.8), parent="Turntable", mesh=_mesh("cube", "White"))
    yield Item(
        "Tower Top", (0, 2.75, 0), scale=(0.7, 0.7, 0.7), parent="Turntable", mesh=_mesh("sphere", "Chrome")
    )


def _pillars() -> Iterator[Item]:
    """They stand between the camera and everything else, and uncover it again."""
    colours = ("Red", "White", "Teal", "White", "Blue", "White", "Violet", "White")
    yield Item("Pillars")
    for number, colour in enumerate(colours):
        x, z = _round(6, (number + 0.5) / len(colours))
        shaft, top = f"Pillar {number + 1}", f"Capital {number + 1}"
        yield Item(shaft, (x, 1.5, z), scale=(0.5, 1.5, 0.5), parent="Pillars", mesh=_mesh("cylinder", colour))
        yield Item(top, (x, 3.1, z), (0, 45, 0), (0.8, 0.2, 0.8), parent="Pillars", mesh=_mesh("cube", "Sand"))


def _fence() -> Iterator[Item]:
    """Rods of a few pixels: the smallest thing that a style should not swallow."""
    yield Item("Fence")
    for number in range(18):
        x, z = _round(6.8, 0.3 + number * 0.012)
        name = f"Rod {number + 1}"
        yield Item(
            name, (x, 0.55, z), scale=(0.05, 0.55, 0.05), parent="Fence", mesh=_mesh("cylinder", "Charcoal")
        )


def _stairs() -> Iterator[Item]:
    yield Item("Stairs", (-4.5, 0, 3), (0, 35, 0))
    for number in range(5):
        height = round(0.25 * (number + 1), 2)
        place, scale = (0, height / 2, round(0.45 * number, 2)), (1.6, height, 0.45)
        colour = ("Teal", "White")[number % 2]
        yield Item(f"Step {number + 1}", place, scale=scale, parent="Stairs", mesh=_mesh("cube", colour))


def _arch() -> Iterator[Item]:
    yield Item("Arch", (4.2, 0, 3.4), (0, -40, 0))
    for name, x in (("Left Post", -1.0), ("Right Post", 1.0)):
        yield Item(name, (x, 1.1, 0), scale=(0.4, 2.2, 0.5), parent="Arch", mesh=_mesh("cube", "Sand"))
    yield Item("Lintel", (0, 2.4, 0), scale=(2.8, 0.4, 0.6), parent="Arch", mesh=_mesh("cube", "Red"))
    spin = (_script("Spinner", "speed: 60"),)
    yield Item("Pendulum", (0, 1.2, 0), (0, 0, 12), parent="Arch", scripts=spin)
    yield Item(
        "Pendulum Ball", (0.35, 0, 0), scale=(0.5, 0.5, 0.5), parent="Pendulum", mesh=_mesh("sphere", "Gold")
    )


def _pictures() -> Iterator[Item]:
    """A wall with flat colours, beside shading: where styles show their texture."""
    yield Item("Wall", (0, 0, 12.5))
    yield Item("Wall Body", (0, 1.6, 0), scale=(10, 3.2, 0.2), parent="Wall", mesh=_mesh("cube", "White"))
    for number, colour in enumerate(("Blue", "Yellow", "Red", "Green")):
        place = (-3 + 2 * number, 1.7, -0.12)
        name = f"Picture {number + 1}"
        yield Item(name, place, scale=(1.4, 1.4, 1), parent="Wall", mesh=_mesh("quad", colour))


def _balls() -> Iterator[Item]:
    for number, (colour, x, z) in enumerate((("Chrome", -3, -2.4), ("Gold", 3.2, -2.2), ("Orange", 0, 4.6))):
        fields = (f"swing: {0.35 + 0.1 * number:.2f}", f"seconds: {3 + number}", f"phase: {0.3 * number:.1f}")
        scripts = (_script("Bobber", *fields),)
        place = (x, 1.3, z)
        yield Item(
            f"Ball {number + 1}", place, scale=(0.8, 0.8, 0.8), mesh=_mesh("sphere", colour), scripts=scripts
        )


def _comet() -> Iterator[Item]:
    """Something fast: it covers and uncovers within a few frames."""
    yield Item("Comet", (0, 1.9, 0), scripts=(_script("Spinner", "speed: 95"),))
    yield Item("Comet Head", (4.6, 0, 0), scale=(0.5, 0.5, 0.5), parent="Comet", mesh=_mesh("capsule", "Yellow"))


def _round(radius: float, turn: float) -> tuple[float, float]:
    """A place on a circle, `turn` of 1 all the way round from +x."""
    return round(radius * math.cos(2 * math.pi * turn), 3), round(radius * math.sin(2 * math.pi * turn), 3)
