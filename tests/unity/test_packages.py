"""The list of packages of a Unity project: read, and added to without touching another byte."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.unity import packages
from tests.unity.bundles import tree

PACKAGE = "com.unity.barracuda"


def _project(path: Path, packages: str | None = None) -> Path:
    (path / "Packages").mkdir(parents=True)
    if packages is not None:
        (path / "Packages" / "manifest.json").write_bytes(packages.encode())
    return path


def _packages(project: Path) -> str:
    return (project / "Packages" / "manifest.json").read_bytes().decode()


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
    (line,) = packages.add(project, {PACKAGE: "3.0.0"})
    assert line.startswith(f"added {PACKAGE} 3.0.0")
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
    packages.add(project, {PACKAGE: "3.0.0"})
    assert _packages(project) == after
    assert json.loads(after.removeprefix("\ufeff"))["dependencies"][PACKAGE] == "3.0.0"


def test_a_name_inside_another_object_is_not_taken_for_the_list(tmp_path: Path) -> None:
    text = '{"x": {"dependencies": {"a": "1"}}, "dependencies": {"b": "2"}, "y": "\\"dependencies\\": {"}'
    project = _project(tmp_path, text)
    packages.add(project, {PACKAGE: "3.0.0"})
    expected = json.loads(text)
    expected["dependencies"][PACKAGE] = "3.0.0"
    assert json.loads(_packages(project)) == expected


def test_a_package_that_is_there_changes_nothing(tmp_path: Path) -> None:
    text = '{"dependencies": {"com.unity.barracuda":"3.0.0"}}'
    project = _project(tmp_path, text)
    before = os.stat(project / "Packages" / "manifest.json")
    assert packages.add(project, {PACKAGE: "3.0.0"}) == []
    assert os.stat(project / "Packages" / "manifest.json").st_mtime_ns == before.st_mtime_ns


def test_another_version_is_kept(tmp_path: Path) -> None:
    text = '{"dependencies": {"com.unity.barracuda": "2.0.0"}}'
    project = _project(tmp_path, text)
    assert packages.add(project, {PACKAGE: "3.0.0"}) == []
    assert _packages(project) == text


def test_a_project_without_a_list_keeps_its_built_in_modules(tmp_path: Path) -> None:
    project = _project(tmp_path)
    (project / "Packages").rmdir()
    packages.add(project, {PACKAGE: "2.0.0"})
    found = json.loads(_packages(project))["dependencies"]
    assert found[PACKAGE] == "2.0.0"
    assert {"com.unity.modules.physics", "com.unity.modules.audio", "com.unity.modules.ui"} <= found.keys()


BROKEN = ["", "{", "[]", '{"dependencies": []}', '{"dependencies": {"a": "1",}}', '{"dependencies": {"a": 1}}']


@pytest.mark.parametrize("text", [*BROKEN, "\udcff", "[" * 99999], ids=lambda text: repr(text)[:40])
def test_a_broken_list_is_refused_and_left_alone(text: str, tmp_path: Path) -> None:
    project = _project(tmp_path)
    path = project / "Packages" / "manifest.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(PipelineError) as caught:
        packages.add(project, {PACKAGE: "3.0.0"})
    assert caught.value.code == "package-manifest-broken"
    assert path.read_bytes() == before


def test_a_dry_run_does_not_touch_the_list(tmp_path: Path) -> None:
    project = _project(tmp_path, "{}")
    assert packages.add(project, {PACKAGE: "3.0.0"}, dry_run=True)
    assert _packages(project) == "{}"


def test_a_list_that_cannot_be_written_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = _project(tmp_path, "{}")

    def write_bytes(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(PipelineError) as caught:
        packages.add(project, {PACKAGE: "3.0.0"})
    assert caught.value.code == "disk-full"
    assert tree(project / "Packages") == {"manifest.json": b"{}"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_another_version_is_exchanged_where_that_is_asked_for(tmp_path: Path, newline: str) -> None:
    text = '\ufeff{ "dependencies" : {"a":"1", "%s" :  "3.0.0-preview" , "z": "2"},\n\t"testables": ["%s"] }\n'
    text = (text % (PACKAGE, PACKAGE)).replace("\n", newline)
    manifest = tmp_path / "Packages" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_bytes(text.encode())
    (note,) = packages.add(tmp_path, {PACKAGE: "1.0.4"}, replace=True)
    assert "from 3.0.0-preview to 1.0.4" in note
    assert manifest.read_bytes() == text.replace("3.0.0-preview", "1.0.4").encode()


def test_several_packages_are_added_at_once_and_modules_are_never_replaced(tmp_path: Path) -> None:
    project = _project(tmp_path, '{"dependencies": {"com.unity.modules.imgui": "2.0.0"}}')
    expected = {PACKAGE: "3.0.0", "com.unity.modules.androidjni": "1.0.0", "com.unity.modules.imgui": "1.0.0"}
    assert len(packages.add(project, expected, replace=True)) == 2
    assert packages.requested(project) == expected | {"com.unity.modules.imgui": "2.0.0"}


def test_what_other_packages_bring_and_what_lies_in_the_folder_is_there_too(tmp_path: Path) -> None:
    project = _project(tmp_path, '{"dependencies": {"com.unity.ml-agents": "2.0.1", "com.acme.local": "file:x"}}')
    lock = {
        "dependencies": {
            "com.unity.ml-agents": {"version": "2.0.1", "depth": 0},
            "com.unity.barracuda": {"version": "2.0.0", "depth": 1},
            "com.acme.local": {"version": "file:x", "depth": 0},
            "broken": "1",
        }
    }
    (project / "Packages/packages-lock.json").write_text(json.dumps(lock))
    embedded = project / "Packages/com.unity.sentis"
    embedded.mkdir()
    (embedded / "package.json").write_text('{"name": "com.unity.sentis", "version": "1.6.0"}')
    (project / "Packages/odd").mkdir()
    (project / "Packages/odd/package.json").write_text("not JSON")
    assert packages.present(project) == {
        "com.unity.ml-agents": "2.0.1",
        "com.unity.barracuda": "2.0.0",
        "com.acme.local": "file:x",
        "com.unity.sentis": "1.6.0",
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"dependencies": {}}', '{"dependencies": {},"testables": ["a.b"]}'),
        ('{\n  "dependencies": {}\n}\n', '{\n  "dependencies": {},\n  "testables": ["a.b"]\n}\n'),
        ('{"testables": [ ], "dependencies": {}}', '{"testables": ["a.b" ], "dependencies": {}}'),
        ('{"testables": ["c"], "dependencies": {}}', '{"testables": ["a.b", "c"], "dependencies": {}}'),
        ('{"testables": ["c", "a.b"], "dependencies": {}}', '{"testables": ["c", "a.b"], "dependencies": {}}'),
    ],
)
def test_unity_is_asked_to_show_a_packages_tests(before: str, after: str, tmp_path: Path) -> None:
    project = _project(tmp_path, before)
    packages.show_tests(project, "a.b")
    assert _packages(project) == after and "a.b" in json.loads(after)["testables"]
