"""UnityProject/ is what `python dev.py bundle` makes, and everything in it knows each other."""

from __future__ import annotations

from pathlib import Path

from pipeline.support.resources import resource
from pipeline.unity import demo_project, demo_scene
from pipeline.unity.editions import EDITIONS
from pipeline.unity.scene import Item

PROJECT = resource("UnityProject")
PREFAB = PROJECT / "Assets/StyleTransfer/Models/Mosaic/MosaicCamera.prefab"


def items() -> dict[str, Item]:
    return {item.name: item for item in demo_scene.items("Mosaic", PREFAB.read_text())}


def test_the_project_is_what_the_command_makes() -> None:
    demo = PROJECT / "Assets/Demo"
    by_hand = [path for path in sorted(demo.rglob("*")) if path.suffix in (".cs", ".asmdef")]
    names = [path.relative_to(PROJECT).as_posix() for path in by_hand]
    files = demo_project.render(names, "Mosaic", PREFAB.read_text(), EDITIONS[0])
    differing = [name for name, data in files.items() if (PROJECT / name).read_bytes() != data]
    assert differing == [], "run: python dev.py bundle"
    there = {path.relative_to(PROJECT).as_posix() for path in demo.rglob("*") if path.is_file()}
    assert there <= files.keys() | set(names), "run: python dev.py bundle"


def test_writing_drops_what_is_no_longer_made(tmp_path: Path) -> None:
    place = tmp_path / PREFAB.relative_to(PROJECT)
    place.parent.mkdir(parents=True)
    place.write_bytes(PREFAB.read_bytes())
    own = tmp_path / "Assets/Demo/Mine.cs"
    own.parent.mkdir()
    own.write_text("class Mine {}")
    old = tmp_path / "Assets/Demo/Materials/Old.mat"
    old.parent.mkdir()
    old.write_text("old")
    demo_project.write(tmp_path)
    assert own.exists() and own.with_suffix(".cs.meta").exists() and not old.exists()
    assert (tmp_path / demo_project.SCENE).read_bytes() == (PROJECT / demo_project.SCENE).read_bytes()


def test_things_pass_in_front_of_each_other_and_some_move_by_themselves() -> None:
    scripts = [script.name for item in items().values() for script in item.scripts]
    assert scripts.count("Spinner") >= 3 and scripts.count("Bobber") >= 3 and scripts.count("CameraPath") == 1
    meshes = {item.mesh.mesh for item in items().values() if item.mesh is not None}
    assert meshes == {"cube", "sphere", "cylinder", "capsule", "plane", "quad"}
    thin = [
        item for item in items().values() if item.mesh and min(item.scale) <= 0.06 and item.name.startswith("Rod")
    ]
    assert len(thin) >= 10


def test_nothing_stands_where_the_camera_goes() -> None:
    """It keeps 7.5 to 10.5 metres from the middle; the parents that are looked into stand at the origin."""
    for item in items().values():
        if item.mesh is None or item.name == "Ground" or item.parent not in ("", "Pillars", "Fence"):
            continue
        distance = (item.position[0] ** 2 + item.position[2] ** 2) ** 0.5
        assert distance + max(item.scale[0], item.scale[2]) / 2 < 7.4, item.name
    wall = items()["Wall"]
    assert wall.position[2] > 11


def test_the_camera_has_its_path_the_style_and_the_keys() -> None:
    names = [script.name for script in items()["Main Camera"].scripts]
    assert names == ["CameraPath", "MosaicStyleTransfer", "DemoControls"]
