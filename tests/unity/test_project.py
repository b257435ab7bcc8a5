from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.support.resources import resource
from pipeline.unity import swap
from pipeline.unity.project import check_project, create_project, find_project
from tests.unity.bundles import tree


def _project(path: Path, packages: str | None = None) -> Path:
    (path / "Assets").mkdir(parents=True)
    (path / "ProjectSettings").mkdir()
    (path / "Packages").mkdir()
    if packages is not None:
        (path / "Packages" / "manifest.json").write_bytes(packages.encode())
    return path


# Finding


def test_a_project_is_found_from_any_folder_inside_it(tmp_path: Path) -> None:
    project = _project(tmp_path / "Game")
    inside = project / "Assets" / "Scripts" / "Deep"
    inside.mkdir(parents=True)
    assert find_project(inside) == project
    assert find_project(project) == project


def test_the_nearest_project_is_found(tmp_path: Path) -> None:
    _project(tmp_path / "Outer")
    inner = _project(tmp_path / "Outer" / "Inner")
    assert find_project(inner / "Assets") == inner


def test_a_folder_with_only_assets_is_not_a_project(tmp_path: Path) -> None:
    (tmp_path / "Assets").mkdir()
    assert find_project(tmp_path / "Assets") is None


def test_a_project_without_settings_is_taken_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "Assets").mkdir()
    assert check_project(tmp_path) == tmp_path


@pytest.mark.parametrize(("kind", "words"), [("missing", "no such folder"), ("file", "file"), ("empty", "Assets")])
def test_what_is_not_a_project_is_refused_with_the_reason(kind: str, words: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("")
    elif kind == "empty":
        place.mkdir()
    with pytest.raises(PipelineError, match=words) as caught:
        check_project(place)
    assert caught.value.code == "not-a-unity-project"


def test_a_folder_inside_a_project_is_refused_with_the_project_it_lies_in(tmp_path: Path) -> None:
    project = _project(tmp_path / "Game")
    with pytest.raises(PipelineError) as caught:
        check_project(project / "Assets")
    assert str(project) in caught.value.remedy


# Making one


OVERLAY = {"ProjectSettings/ProjectVersion.txt": b"m_EditorVersion: 2022.3.7f1\n", "Packages/manifest.json": b"{}"}


def test_a_new_project_is_the_bundled_one_without_its_example(tmp_path: Path) -> None:
    assert create_project(tmp_path / "UnityProject", OVERLAY)
    result = tree(tmp_path / "UnityProject")
    bundled = tree(resource("UnityProject")).keys()
    assert result.keys() <= bundled
    assert {path for path in bundled - result.keys() if not path.startswith("Assets/StyleTransfer")} == set()
    assert not [path for path in result if path.startswith("Assets/StyleTransfer")]
    assert result.items() >= OVERLAY.items()
    assert check_project(tmp_path / "UnityProject")
    assert os.listdir(tmp_path) == ["UnityProject"]


def test_what_unity_generates_is_not_part_of_a_new_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = _project(tmp_path / "bundled")
    for path in ("Library/cache", "Temp/x", "Game.csproj", "Assets/Logs/mine.txt", ".gitignore"):
        (bundled / path).parent.mkdir(parents=True, exist_ok=True)
        (bundled / path).write_text("x")
    monkeypatch.setattr("pipeline.unity.project.resource", lambda name: bundled)
    create_project(tmp_path / "new", OVERLAY)
    assert set(tree(tmp_path / "new")) >= {"Assets/Logs/mine.txt", ".gitignore"}
    assert not {"Library", "Temp", "Game.csproj"} & set(os.listdir(tmp_path / "new"))


def test_a_project_that_is_there_is_left_alone(tmp_path: Path) -> None:
    project = _project(tmp_path / "UnityProject")
    before = tree(project)
    assert not create_project(project, OVERLAY)
    assert tree(project) == before


def test_an_empty_folder_becomes_the_project(tmp_path: Path) -> None:
    (tmp_path / "UnityProject").mkdir()
    assert create_project(tmp_path / "UnityProject", OVERLAY)
    assert (tmp_path / "UnityProject" / "Assets").is_dir()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PipelineError) as caught:
        create_project(tmp_path, OVERLAY)
    assert caught.value.code == "not-a-unity-project"
    assert tree(tmp_path) == {"notes.txt": b"mine"}


def test_a_dry_run_makes_no_project(tmp_path: Path) -> None:
    assert create_project(tmp_path / "UnityProject", OVERLAY, dry_run=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EROFS, "destination-not-writable")]
)
def test_a_copy_that_fails_leaves_nothing(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copyfile(source: str, target: str, **_: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("shutil.copyfile", copyfile)
    with pytest.raises(PipelineError) as caught:
        create_project(tmp_path / "UnityProject", OVERLAY)
    assert caught.value.code == code
    assert os.listdir(tmp_path) == []


def test_a_killed_copy_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    (swap.staging(tmp_path, "UnityProject") / "Assets").mkdir(parents=True)
    assert create_project(tmp_path / "UnityProject", OVERLAY)
    assert os.listdir(tmp_path) == ["UnityProject"]
