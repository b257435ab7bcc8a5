"""Where pipeline build-unity puts a bundle: what it looks at before the work, and what it says afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import targets
from pipeline.unity.bundle import known_paths
from pipeline.unity.demo_scene import SCENE
from pipeline.unity.guid import guid
from tests.networks import style_onnx

DECLARED = ("--input-range", "0..1", "--output-range", "0..1")


def game(path: Path, packages: dict[str, str]) -> Path:
    (path / "Assets").mkdir(parents=True)
    (path / "Packages").mkdir()
    (path / "Packages" / "manifest.json").write_text(json.dumps({"dependencies": packages}))
    return path


def unreadable(path: Path) -> Path:
    """A source that any reading of would fail with another code."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"never read")
    return path


def style_of(project: Path) -> set[str]:
    text = (project / SCENE).read_text()
    names = ("Candy", "Mosaic", "Rain")
    return {name for name in names if guid(f"StyleTransfer/Models/{name}/{name}StyleTransfer.cs") in text}


def test_a_new_project_shows_the_built_style_and_the_next_one_after_it(pipeline, tmp_path):
    project = Path.cwd() / "UnityProject"
    done = pipeline("build-unity", style_onnx(tmp_path / "candy.onnx"), *DECLARED)
    assert done.code == 0, done.err
    assert style_of(project) == {"Candy"}
    assert not (project / "Assets/StyleTransfer/Models/Mosaic").exists()
    assert "created a new project for Unity 2019.4.29f1" in done.err and "press Play" in done.err
    assert str(project / "Assets/StyleTransfer/Models/Candy/report.html") in done.err
    assert "unchanged" not in done.err
    again = pipeline("build-unity", tmp_path / "candy.onnx", *DECLARED)
    assert "0 files written" not in again.err and "unchanged" in again.err and "demo scene" not in again.err

    rain = pipeline("build-unity", style_onnx(tmp_path / "rain.onnx", seed=3), *DECLARED)
    assert style_of(project) == {"Rain"} and "demo scene now shows Rain" in rain.err
    (project / SCENE).write_bytes((project / SCENE).read_bytes() + b"# mine\n")
    pipeline("build-unity", tmp_path / "candy.onnx", *DECLARED, "--force")
    assert style_of(project) == {"Rain"}, "a scene that was edited stays"


def test_a_new_project_is_of_the_edition_that_was_asked_for(pipeline, tmp_path):
    source = style_onnx(tmp_path / "candy.onnx")
    done = pipeline("build-unity", source, *DECLARED, "--project-version", "6")
    assert done.code == 0, done.err
    project = Path.cwd() / "UnityProject"
    assert "6000.0" in (project / "ProjectSettings/ProjectVersion.txt").read_text()
    listed = json.loads((project / "Packages/manifest.json").read_text())["dependencies"]
    assert listed["com.unity.ai.inference"] == "2.4.0" and "com.unity.render-pipelines.universal" in listed
    assert "com.unity.barracuda" not in listed, "Unity 6 projects want the package of today"
    other = pipeline("build-unity", source, *DECLARED, "--project-version", "2022.3")
    assert other.code == 2 and "[conflicting-options]" in other.err


@pytest.mark.parametrize(
    ("given", "package"),
    [
        (("--project-version", "2022.3"), "com.unity.barracuda"),
        (("--project-version", "6", "--target", "barracuda-3.0"), "com.unity.barracuda"),
        (("--project-version", "6", "--target", "inference-2.3"), "com.unity.ai.inference"),
    ],
)
def test_a_new_project_has_the_default_package_before_unity_6_and_the_one_that_was_chosen(
    pipeline, tmp_path, given, package
):
    done = pipeline("build-unity", style_onnx(tmp_path / "candy.onnx"), *DECLARED, *given)
    assert done.code == 0, done.err
    listed = json.loads((Path.cwd() / "UnityProject/Packages/manifest.json").read_text())["dependencies"]
    assert package in listed


def test_the_projects_package_decides_the_target(pipeline, tmp_path):
    source = style_onnx(tmp_path / "candy.onnx")
    project = game(tmp_path / "Game", {"com.unity.barracuda": "2.0.0"})
    done = pipeline("build-unity", source, *DECLARED, "--project", project, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["target"]["name"] == "barracuda-2.0" and "press Play" in result["next_step"]
    listed = json.loads((project / "Packages/manifest.json").read_text())["dependencies"]
    assert listed["com.unity.barracuda"] == "2.0.0" and "com.unity.modules.androidjni" in listed


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(pipeline, tmp_path):
    project = game(tmp_path / "Game", {})
    before = sorted(project.rglob("*"))
    arguments = ("build-unity", style_onnx(tmp_path / "candy.onnx"), *DECLARED, "--project", project)
    done = pipeline(*arguments, "--dry-run")
    assert done.code == 0 and "to write; nothing was changed" in done.err and "files written" not in done.err
    assert "report.html" not in done.err
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--name", "Con"), "bad-model-name"),
        (("--preview", "nowhere/p.png"), "no-such-folder"),
        (("--project-version", "5.6"), "unknown-project-version"),
        (("--project-version", "2019.4", "--target", "inference-2"), "editor-too-old"),
    ],
)
def test_what_can_be_known_is_said_before_the_source_is_read(pipeline, tmp_path, arguments, code):
    done = pipeline("build-unity", unreadable(tmp_path / "candy.onnx"), *arguments)
    assert done.code == 2 and f"[{code}]" in done.err
    assert not any(Path.cwd().iterdir())


def test_a_name_that_differs_in_case_is_said_before_the_source_is_read(pipeline, tmp_path):
    project = game(tmp_path / "Game", {})
    (project / "Assets/StyleTransfer/Models/CANDY").mkdir(parents=True)
    done = pipeline("build-unity", unreadable(tmp_path / "candy.onnx"), "--project", project)
    assert done.code == 2 and "[name-differs-in-case]" in done.err


def test_two_files_of_one_name_do_not_share_a_bundle(pipeline, tmp_path):
    project = game(tmp_path / "Game", {})
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        style_onnx(tmp_path / folder / "net.onnx", seed=seed)
    build = ("build-unity", *DECLARED, "--project", project)
    assert pipeline(*build, tmp_path / "a/net.onnx").code == 0
    done = pipeline(*build, tmp_path / "b/net.onnx")
    assert done.code == 2 and "[name-taken]" in done.err and str(tmp_path / "a" / "net.onnx") in done.err
    unreadable(tmp_path / "b/net.onnx")
    assert "[name-taken]" in pipeline(*build, tmp_path / "b/net.onnx").err, "before the source is read"
    # Trained on in its place, or moved, it is the same source.
    style_onnx(tmp_path / "a/net.onnx", seed=3)
    assert pipeline(*build, tmp_path / "a/net.onnx").code == 0
    style_onnx(tmp_path / "b/net.onnx", seed=4)
    (tmp_path / "a/net.onnx").unlink()
    assert pipeline(*build, tmp_path / "b/net.onnx").code == 0


def test_an_urp_project_gets_its_step(pipeline, tmp_path):
    project = game(tmp_path / "Game", {"com.unity.render-pipelines.universal": "14.0.8"})
    (project / "ProjectSettings").mkdir()
    (project / "ProjectSettings/GraphicsSettings.asset").write_text(
        "GraphicsSettings:\n  m_CustomRenderPipeline: {fileID: 11400000, guid: 681886c5eb73448e, type: 2}\n"
    )
    done = pipeline("build-unity", style_onnx(tmp_path / "candy.onnx"), *DECLARED, "--project", project)
    assert done.code == 0 and "Add Renderer Feature > Style Transfer Feature" in done.err


@pytest.mark.parametrize("kind", ["another file", "a folder", "the source"])
def test_an_output_of_convert_that_cannot_be_is_said_before_the_source_is_read(pipeline, tmp_path, kind):
    source = unreadable(tmp_path / "net.onnx")
    output = {"another file": tmp_path / "mine.onnx", "a folder": tmp_path, "the source": source}[kind]
    if kind == "another file":
        output.write_bytes(b"mine")
    done = pipeline("convert", source, "--output", output)
    assert done.code == 2 and "[file-exists]" in done.err
    assert source.read_bytes() == b"never read"


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_lies_where_shared_files_belong_is_reported_before_the_work(pipeline, tmp_path, what):
    editor = next(path for path in known_paths("Net", targets.get("barracuda-3.0")) if "/Editor/" in path)
    place = Path("out/StyleTransfer/Runtime" if what == "folder" else f"out/{editor}")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"") if what == "folder" else place.mkdir()
    done = pipeline("build-unity", unreadable(tmp_path / "net.onnx"), "-o", "out")
    assert done.code == 2 and str(place) in done.err, done.err


def test_a_list_of_testable_packages_that_is_none_is_reported_before_the_work(pipeline, tmp_path):
    project = game(tmp_path / "game", {"com.unity.barracuda": "3.0.0"})
    (project / "Packages" / "manifest.json").write_text('{"dependencies": {}, "testables": {}}')
    done = pipeline("build-unity", unreadable(tmp_path / "net.onnx"), "-p", project, "--package")
    assert done.code == 2 and "[package-manifest-broken]" in done.err, done.err
