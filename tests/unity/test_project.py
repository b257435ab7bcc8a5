from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.support.resources import resource
from pipeline.unity import swap
from pipeline.unity.project import add_package, check_project, create_project, find_project
from tests.unity.bundles import tree

PACKAGE = "com.unity.barracuda"


def _project(path: Path, packages: str | None = None) -> Path:
    (path / "Assets").mkdir(parents=True)
    (path / "ProjectSettings").mkdir()
    (path / "Packages").mkdir()
    if packages is not None:
        (path / "Packages" / "manifest.json").write_bytes(packages.encode())
    return path


def _packages(project: Path) -> str:
    return (project / "Packages" / "manifest.json").read_bytes().decode()


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


def test_a_folder_with_assets_alone_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "Assets").mkdir()
    assert find_project(tmp_path / "Assets") is None


def test_a_project_without_settings_is_taken_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "Assets").mkdir()
    assert check_project(tmp_path) == tmp_path


@pytest.mark.parametrize(("kind", "words"), [("missing", "no such folder"), ("file", "file"), ("empty", "Assets")])
def test_what_is_no_project_is_refused_with_the_reason(kind: str, words: str, tmp_path: Path) -> None:
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


# The list of packages


def test_a_package_is_one_new_line_where_the_order_puts_it(tmp_path: Path) -> None:
    lines = [
        "{",
        '  "dependencies": {',
        '    "com.unity.2d.sprite": "1.0.0",',
        '    "com.unity.ugui": "1.0.0",',
        '    "com.acme.last": "file:../last"',
        "  },",
        '  "scopedRegistries": [ { "name": "x", "url": "https://example.org", "scopes": ["a"] } ]',
        "}",
    ]
    project = _project(tmp_path, "\n".join(lines))
    assert "added" in str(add_package(project, PACKAGE, "3.0.0"))
    assert _packages(project).split("\n") == [*lines[:3], f'    "{PACKAGE}": "3.0.0",', *lines[3:]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{\r\n\t"dependencies": {\r\n\t\t"a.b": "1"\r\n\t}\r\n}\r\n',
            '{\r\n\t"dependencies": {\r\n\t\t"a.b": "1",\r\n\t\t"com.unity.barracuda": "3.0.0"\r\n\t}\r\n}\r\n',
        ),
        (
            '\ufeff{"dependencies":{"z":"1"}}',
            '\ufeff{"dependencies":{"com.unity.barracuda": "3.0.0","z":"1"}}',
        ),
        (
            '{\n  "dependencies": {}\n}\n',
            '{\n  "dependencies": {\n    "com.unity.barracuda": "3.0.0"\n  }\n}\n',
        ),
        (
            '{\n  "testables": ["}"]\n}\n',
            '{\n  "testables": ["}"],\n  "dependencies": {\n    "com.unity.barracuda": "3.0.0"\n  }\n}\n',
        ),
        ("{}", '{\n  "dependencies": {\n    "com.unity.barracuda": "3.0.0"\n  }\n}'),
    ],
    ids=["tabs and CRLF", "byte order mark, no spaces", "no packages", "no dependencies", "empty"],
)
def test_a_package_is_added_in_the_way_the_file_is_written(before: str, after: str, tmp_path: Path) -> None:
    project = _project(tmp_path, before)
    add_package(project, PACKAGE, "3.0.0")
    assert _packages(project) == after
    assert json.loads(after.removeprefix("\ufeff"))["dependencies"][PACKAGE] == "3.0.0"


def test_a_name_inside_another_object_is_not_taken_for_the_list(tmp_path: Path) -> None:
    text = '{"x": {"dependencies": {"a": "1"}}, "dependencies": {"b": "2"}, "y": "\\"dependencies\\": {"}'
    project = _project(tmp_path, text)
    add_package(project, PACKAGE, "3.0.0")
    expected = json.loads(text)
    expected["dependencies"][PACKAGE] = "3.0.0"
    assert json.loads(_packages(project)) == expected


def test_a_package_that_is_there_changes_nothing(tmp_path: Path) -> None:
    text = '{"dependencies": {"com.unity.barracuda":"3.0.0"}}'
    project = _project(tmp_path, text)
    before = os.stat(project / "Packages" / "manifest.json")
    assert add_package(project, PACKAGE, "3.0.0") is None
    assert os.stat(project / "Packages" / "manifest.json").st_mtime_ns == before.st_mtime_ns


def test_another_version_is_kept_and_named(tmp_path: Path) -> None:
    text = '{"dependencies": {"com.unity.barracuda": "2.0.0"}}'
    project = _project(tmp_path, text)
    note = add_package(project, PACKAGE, "3.0.0")
    assert note is not None and "2.0.0" in note and "3.0.0" in note
    assert _packages(project) == text


def test_a_project_without_a_list_keeps_its_built_in_modules(tmp_path: Path) -> None:
    project = _project(tmp_path)
    (project / "Packages").rmdir()
    add_package(project, PACKAGE, "2.0.0")
    found = json.loads(_packages(project))["dependencies"]
    assert found[PACKAGE] == "2.0.0"
    assert {"com.unity.modules.physics", "com.unity.modules.audio", "com.unity.modules.ui"} <= found.keys()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"dependencies": []}', '{"dependencies": {"a": "1",}}', "\udcff"], ids=repr
)
def test_a_broken_list_is_refused_and_left_alone(text: str, tmp_path: Path) -> None:
    project = _project(tmp_path)
    path = project / "Packages" / "manifest.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(PipelineError) as caught:
        add_package(project, PACKAGE, "3.0.0")
    assert caught.value.code == "package-manifest-broken"
    assert path.read_bytes() == before


def test_a_dry_run_does_not_touch_the_list(tmp_path: Path) -> None:
    project = _project(tmp_path, "{}")
    assert add_package(project, PACKAGE, "3.0.0", dry_run=True) is not None
    assert _packages(project) == "{}"


def test_a_list_that_cannot_be_written_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = _project(tmp_path, "{}")

    def write_bytes(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(PipelineError) as caught:
        add_package(project, PACKAGE, "3.0.0")
    assert caught.value.code == "disk-full"
    assert tree(project / "Packages") == {"manifest.json": b"{}"}


# Making one


def test_a_new_project_is_the_bundled_one(tmp_path: Path) -> None:
    assert create_project(tmp_path / "UnityProject")
    made = tree(tmp_path / "UnityProject")
    assert made.keys() <= tree(resource("UnityProject")).keys()
    assert made["ProjectSettings/ProjectVersion.txt"]
    assert check_project(tmp_path / "UnityProject")
    assert os.listdir(tmp_path) == ["UnityProject"]


def test_what_unity_generates_is_no_part_of_a_new_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = _project(tmp_path / "bundled")
    for path in ("Library/cache", "Temp/x", "Game.csproj", "Assets/Logs/mine.txt", ".gitignore"):
        (bundled / path).parent.mkdir(parents=True, exist_ok=True)
        (bundled / path).write_text("x")
    monkeypatch.setattr("pipeline.unity.project.resource", lambda name: bundled)
    create_project(tmp_path / "new")
    assert set(tree(tmp_path / "new")) >= {"Assets/Logs/mine.txt", ".gitignore"}
    assert not {"Library", "Temp", "Game.csproj"} & set(os.listdir(tmp_path / "new"))


def test_a_project_that_is_there_is_left_alone(tmp_path: Path) -> None:
    project = _project(tmp_path / "UnityProject")
    before = tree(project)
    assert not create_project(project)
    assert tree(project) == before


def test_an_empty_folder_becomes_the_project(tmp_path: Path) -> None:
    (tmp_path / "UnityProject").mkdir()
    assert create_project(tmp_path / "UnityProject")
    assert (tmp_path / "UnityProject" / "Assets").is_dir()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PipelineError) as caught:
        create_project(tmp_path)
    assert caught.value.code == "not-a-unity-project"
    assert tree(tmp_path) == {"notes.txt": b"mine"}


def test_a_dry_run_makes_no_project(tmp_path: Path) -> None:
    assert create_project(tmp_path / "UnityProject", dry_run=True)
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
        create_project(tmp_path / "UnityProject")
    assert caught.value.code == code
    assert os.listdir(tmp_path) == []


def test_a_killed_copy_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    (swap.staging(tmp_path, "UnityProject") / "Assets").mkdir(parents=True)
    assert create_project(tmp_path / "UnityProject")
    assert os.listdir(tmp_path) == ["UnityProject"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_another_version_is_exchanged_where_that_is_asked_for(tmp_path: Path, newline: str) -> None:
    text = (
        '\ufeff{ "dependencies" : {"a":"1", "%s" :  "3.0.0-preview" , "z": {"x": [1]}},\n\t"testables": ["%s"] }\n'
    )
    text = (text % (PACKAGE, PACKAGE)).replace("\n", newline)
    manifest = tmp_path / "Packages" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_bytes(text.encode())
    note = add_package(tmp_path, PACKAGE, "1.0.4", replace=True)
    assert note is not None and "from 3.0.0-preview to 1.0.4" in note
    assert manifest.read_bytes() == text.replace("3.0.0-preview", "1.0.4").encode()
