"""Scenes that we write: what Unity must find in them."""

from __future__ import annotations

import math

import pytest

from pipeline.unity.scene import MESHES, Camera, Item, Light, Mesh, Script, component_id, quaternion, render_scene
from tests.unity.reading import UnityObject, check_objects, documents

MATERIAL = "{fileID: 2100000, guid: 0123456789abcdef0123456789abcdef, type: 2}"
SCRIPT = "{fileID: 11500000, guid: fedcba9876543210fedcba9876543210, type: 3}"
ITEMS = (
    Item("Eye", (0, 1, -10), tag="MainCamera", camera=Camera(50), hears=True, scripts=(Script("Own", SCRIPT),)),
    Item("Sun", euler=(50, -30, 0), light=Light(intensity=0.5)),
    Item("Table", scripts=(Script("Spin", SCRIPT, ("speed: 20", "things: []")), Script("Other", SCRIPT))),
    Item("Cup", (1, 0.25, 0), scale=(0.1, 0.2, 0.3), parent="Table", mesh=Mesh("cylinder", MATERIAL)),
    Item("Ball", parent="Table", layer=8, mesh=Mesh("sphere", MATERIAL)),
)


@pytest.fixture
def scene() -> list[UnityObject]:
    return documents(render_scene("A/B.unity", ITEMS))


def of(scene: list[UnityObject], type_name: str) -> list[UnityObject]:
    return [item for item in scene if item.type_name == type_name]


def test_everything_in_it_knows_each_other(scene: list[UnityObject]) -> None:
    check_objects(scene)
    assert [item.fields["m_Name"] for item in of(scene, "GameObject")] == [item.name for item in ITEMS]
    table = next(item for item in of(scene, "Transform") if len(item.fields["m_Children"]) == 2)
    assert table.file_id == component_id("A/B.unity", "Table", "Transform")
    orders = [(item.fields["m_Father"]["fileID"], item.fields["m_RootOrder"]) for item in of(scene, "Transform")]
    father = str(table.file_id)
    assert orders == [("0", "0"), ("0", "1"), ("0", "2"), (father, "0"), (father, "1")]


def test_what_was_asked_for_is_written(scene: list[UnityObject]) -> None:
    (camera,) = of(scene, "Camera")
    (light,) = of(scene, "Light")
    cup, ball = of(scene, "MeshFilter")
    assert camera.fields["field of view"] == "50"
    assert (light.fields["m_Intensity"], light.fields["m_Type"], light.fields["m_Shadows"]["m_Type"]) == (
        "0.5",
        "1",
        "2",
    )
    assert [item.fields["m_Mesh"]["fileID"] for item in (cup, ball)] == ["10206", "10207"]
    assert of(scene, "MeshRenderer")[0].fields["m_Materials"] == [
        {"fileID": "2100000", "guid": "0123456789abcdef0123456789abcdef", "type": "2"}
    ]
    own, spin, other = of(scene, "MonoBehaviour")
    assert (spin.fields["speed"], spin.fields["things"]) == ("20", [])
    assert "speed" not in other.fields | own.fields
    assert of(scene, "GameObject")[4].fields["m_Layer"] == "8"
    assert of(scene, "Transform")[3].fields["m_LocalScale"] == {"x": "0.1", "y": "0.2", "z": "0.3"}


def test_another_item_changes_nothing_of_the_rest() -> None:
    before = render_scene("A/B.unity", ITEMS).decode()
    after = render_scene("A/B.unity", (*ITEMS, Item("Late"))).decode()
    assert after.startswith(before)
    assert before == render_scene("A/B.unity", ITEMS).decode() != render_scene("A/C.unity", ITEMS).decode()


@pytest.mark.parametrize("items", [(Item("A"), Item("A")), (Item("A", parent="B"), Item("B"))])
def test_names_are_unique_and_parents_come_first(items: tuple[Item, ...]) -> None:
    with pytest.raises(ValueError, match="unique"):
        render_scene("A.unity", items)


def test_rotations_are_those_of_unity() -> None:
    """The sun of Unity's own template scene: Euler (50, -30, 0) (formats.md, 5.2)."""
    assert quaternion((50, -30, 0)) == pytest.approx((0.40821788, -0.23456968, 0.10938163, 0.8754261), abs=1e-7)
    for euler in ((0, 0, 0), (10, 20, 30), (-90, 45, 180)):
        assert math.hypot(*quaternion(euler)) == pytest.approx(1)
    half = math.sqrt(0.5)
    assert quaternion((0, 0, 90)) == pytest.approx((0, 0, half, half))
    # z first, then x: the x axis of the object ends up along z.
    assert quaternion((90, 0, 90)) == pytest.approx((0.5, -0.5, 0.5, 0.5))


def test_meshes_are_unitys_own() -> None:
    assert MESHES["cube"] == 10202 and len(set(MESHES.values())) == len(MESHES)
