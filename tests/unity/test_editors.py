"""Finding a Unity editor that fits a project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.unity import editors
from tests.unity import fake_unity


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder on Linux, so that no editor of this machine is found."""
    monkeypatch.setattr(editors.sys, "platform", "linux")
    monkeypatch.setattr(editors.Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    return tmp_path


def hub(home: Path, *versions: str, folder: str = "Unity/Hub/Editor") -> None:
    for version in versions:
        fake_unity.install(home / folder / version / "Editor")


def test_the_editors_of_the_hub_are_found_in_order(home: Path) -> None:
    hub(home, "2021.3.24f1", "2021.3.4f1", "6000.0.21f1", "2019.4.20f1")
    (home / "Unity/Hub/Editor/notes").mkdir()
    versions = [editor.version for editor in editors.installed()]
    assert versions == ["2019.4.20f1", "2021.3.4f1", "2021.3.24f1", "6000.0.21f1"]


def test_the_second_folder_of_the_hub_is_known(home: Path) -> None:
    settings = home / ".config/UnityHub"
    settings.mkdir(parents=True)
    (settings / "secondaryInstallPath.json").write_text(json.dumps(str(home / "more")))
    hub(home, "2022.3.7f1", folder="more")
    assert editors.choose("").version == "2022.3.7f1"
    (settings / "secondaryInstallPath.json").write_text("{broken")
    assert editors.installed() == []


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("2021.3.4f1", "2021.3.4f1"),
        ("2021.3.5f1", "2021.3.24f1"),
        ("2020.3.24f1", "2021.3.4f1"),
        ("2022.1.0f1", "6000.0.21f1"),
        ("6000.0.0b12", "6000.0.21f1"),
        ("", "6000.0.21f1"),
    ],
)
def test_the_nearest_later_editor_is_chosen(home: Path, wanted: str, chosen: str) -> None:
    hub(home, "2021.3.4f1", "2021.3.24f1", "6000.0.21f1")
    assert editors.choose(wanted).version == chosen


def test_older_editors_are_named_and_not_taken(home: Path) -> None:
    hub(home, "2019.4.20f1", "2021.3.4f1")
    with pytest.raises(PipelineError) as caught:
        editors.choose("2022.3.7f1")
    assert caught.value.code == "unity-not-found"
    assert "needs Unity 2022.3.7f1" in str(caught.value) and "2019.4.20f1, 2021.3.4f1" in str(caught.value)


def test_no_editor_at_all_says_where_it_looked(home: Path) -> None:
    with pytest.raises(PipelineError, match="no Unity editor was found where Unity Hub installs them"):
        editors.choose("2021.3.24f1")


@pytest.mark.parametrize("part", ["", "Editor", "Editor/Unity"])
def test_a_program_or_the_folder_of_an_installation_names_an_editor(home: Path, part: str) -> None:
    hub(home, "2021.3.24f1")
    place = home / "Unity/Hub/Editor/2021.3.24f1" / part
    if part == "Editor":
        with pytest.raises(PipelineError, match="no Unity editor was found there"):
            editors.editor_at(place)
        return
    editor = editors.editor_at(place)
    assert (editor.path.name, editor.version) == ("Unity", "2021.3.24f1")


def test_a_mac_application_is_a_folder(tmp_path: Path) -> None:
    program = fake_unity.install(tmp_path / "Unity.app/Contents/MacOS")
    assert editors.editor_at(tmp_path / "Unity.app").path == program
    assert editors.editor_at(tmp_path).path == program


def test_the_version_is_that_of_the_folder_else_what_the_program_tells(tmp_path: Path) -> None:
    program = tmp_path / "2020.3.24f1" / "Unity"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert editors.editor_at(program).version == "2020.3.24f1"
    assert editors.editor_at(fake_unity.install(tmp_path / "somewhere")).version == fake_unity.VERSION
    assert editors.editor_at(program.rename(tmp_path / "Unity")).version == ""


def test_what_is_not_a_program_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "Unity"
    text.write_text("hello")
    with pytest.raises(PipelineError) as caught:
        editors.editor_at(text)
    assert caught.value.code == "unity-does-not-start"


def test_the_version_of_a_project_is_read(tmp_path: Path) -> None:
    assert editors.project_version(tmp_path) == ""
    (tmp_path / "ProjectSettings").mkdir()
    file = tmp_path / "ProjectSettings/ProjectVersion.txt"
    file.write_text("m_EditorVersion: 2019.4.20f1\nm_EditorVersionWithRevision: 2019.4.20f1 (6dd1c08eedfa)\n")
    assert editors.project_version(tmp_path) == "2019.4.20f1"
    file.write_bytes(b"\xff\xfe")
    assert editors.project_version(tmp_path) == ""
