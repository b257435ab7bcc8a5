"""Everything in Unity's format that we write, read by a parser that is not ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from unityparser import UnityDocument

from pipeline.support.resources import resource
from pipeline.unity.bundle import render
from tests.unity.bundles import spec

SUFFIXES = (".unity", ".prefab", ".asset", ".mat")


def written(folder: Path) -> Iterator[Path]:
    """The project with its built example, and a bundle whose words need quotes."""
    yield from (path for path in sorted(resource("UnityProject").rglob("*")) if path.suffix in SUFFIXES)
    title = 'Caf\u00e9 "hot": - {x: 1} # 100%\n\u65e5\u672c'
    for name, data in render(spec("Odd", title=title, source_name="- a: b.pth")).items():
        if name.endswith(SUFFIXES):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
            yield folder / name


def test_every_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    again, count = tmp_path / "again.yaml", 0
    for path in written(tmp_path):
        if path.name == "XRSettings.asset":  # JSON, in Unity too
            continue
        document = UnityDocument.load_yaml(str(path))
        document.dump_yaml(str(again), width=math.inf)
        ours = path.read_bytes()
        # It writes non-ASCII as it is where ours is escaped.
        if "Odd" not in path.name:
            assert again.read_bytes() == ours, path
        assert len(document.entries) == ours.count(b"\n--- !u!")
        count += 1
    assert count > 15


def test_values_are_those_that_we_meant(tmp_path: Path) -> None:
    (path,) = [path for path in written(tmp_path) if path.name == "Odd.asset"]
    asset = UnityDocument.load_yaml(str(path)).entry
    assert asset.displayName == 'Caf\u00e9 "hot": - {x: 1} # 100%\n\u65e5\u672c'
    assert asset.source == "- a: b.pth"
    assert asset.model["fileID"] == "5022602860645237092"


def test_objects_are_found_by_class_and_name() -> None:
    path = resource("UnityProject") / "Assets/Scenes/StyleTransferDemo.unity"
    scene = UnityDocument.load_yaml(str(path))
    cameras = scene.filter(class_names=("Camera",))
    (owner,) = [item for item in scene.filter(class_names=("GameObject",)) if item.m_Name == "Main Camera"]
    assert [camera.m_GameObject["fileID"] for camera in cameras] == [owner.anchor]


def test_a_mistake_is_one_for_it_too(tmp_path: Path) -> None:
    broken = tmp_path / "broken.asset"
    broken.write_bytes(
        render(spec())["StyleTransfer/Models/Mosaic/Mosaic.asset"].replace(b"model: {", b"model: {{", 1)
    )
    with pytest.raises(Exception, match=r"while (parsing|scanning|constructing)"):
        UnityDocument.load_yaml(str(broken))
