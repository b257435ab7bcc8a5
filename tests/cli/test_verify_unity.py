"""pipeline verify-unity, with a program that behaves like Unity in each way that it can end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pipeline.unity.bundle import render
from tests.unity import fake_unity
from tests.unity.bundles import spec

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in for Unity is a script of the shell")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the fake editor's version with one style."""
    place = tmp_path / "My Game"
    for name, data in render(spec("Mosaic")).items():
        (place / "Assets" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "Assets" / name).write_bytes(data)
    (place / "Packages").mkdir()
    (place / "Packages/manifest.json").write_text('{"dependencies": {}}')
    (place / "ProjectSettings").mkdir()
    (place / "ProjectSettings/ProjectVersion.txt").write_text(f"m_EditorVersion: {fake_unity.VERSION}\n")
    return place


@pytest.fixture
def verify(pipeline, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`verify("license", ...)`: verify-unity with the fake editor that ends so."""
    unity = fake_unity.install(tmp_path / "editor")

    def call(kind: str, *arguments: object):
        monkeypatch.setenv("FAKE_UNITY", kind)
        return pipeline("verify-unity", "--unity", unity, "--project", project, *arguments)

    return call


def test_a_right_style_is_reported_with_exit_code_0(verify, project: Path) -> None:
    done = verify("passed")
    assert done.code == 0 and done.out == ""
    assert "passed  Assets/StyleTransfer/Models/Mosaic/Mosaic.asset" in done.err
    assert "1 of 1 styles are right in Unity" in done.err
    assert (project / "Logs/StyleTransfer/results.xml").exists()
    assert (project / "Library").is_dir()  # the editor has the project's version: no copy


def test_a_wrong_style_is_reported_with_how_far_and_what_to_do(verify) -> None:
    done = verify("failed")
    assert done.code == 1
    assert "worst difference 41.2" in done.err and "--bisect" in done.err
    assert "0 of 1 styles are right" in done.err


def test_a_model_that_was_not_imported_is_reported_in_the_importers_words(verify) -> None:
    done = verify("no-network")
    assert done.code == 1
    assert "Unknown type Erf" in done.err and "pipeline validate" in done.err


def test_json_has_the_verdict_and_nothing_else_on_stdout(verify) -> None:
    done = verify("failed", "--json")
    report = json.loads(done.out)
    (test,) = report["tests"]
    assert (done.code, report["outcome"], test["outcome"]) == (1, "failed", "failed")
    assert report["unity"]["version"] == fake_unity.VERSION and not report["in_copy"]
    assert test["asset"] == fake_unity.ASSET and test["remedy"] and test["seconds"] == 0.512345


FAILURES = {
    "license": ("unity-no-license", "No valid Unity Editor license found", "Sign in to Unity Hub"),
    "open": ("unity-project-open", "project is already open", "Close it"),
    "open-on-console": ("unity-project-open", "project is already open", "Close it"),
    "open-and-mute": ("unity-project-open", "My Game", "Close it"),
    "packages": ("unity-packages", "[com.unity.barracuda@9.9.9] cannot be found", "manifest.json"),
    "compile-package": ("unity-compile-errors", "CS0234", "A package is missing"),
    "compile-ours": ("unity-compile-errors", "GoldenFrames.cs(12): CS1002: ; expected (and 1 more)", "--force"),
    "compile-theirs": ("unity-compile-errors", "Assets/Game/Player.cs(12)", "not part of the bundle"),
    "compile-silent": ("unity-compile-errors", "does not say why", "console"),
    "crash": ("unity-crashed", "crashed (exit code -11)", "Library"),
    "silent": ("unity-no-results", "exit code 3", "test-framework"),
    "no-tests": ("unity-no-tests", "not run any golden-frame test", "com.unity.test-framework"),
    "skipped": ("unity-no-tests", "skipped", "com.unity.test-framework"),
    "half": ("unity-results-broken", "results.xml", "Run the tests again"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_what_keeps_unity_from_telling_is_named_with_a_cure(verify, kind: str) -> None:
    code, part, remedy = FAILURES[kind]
    done = verify(kind, "--json")
    assert done.code == 2
    error = json.loads(done.out)["error"]
    assert error["code"] == code
    assert part in f"{error['subject']} {error['message']}" and remedy in error["remedy"]
    assert len(done.err.splitlines()) == 2  # the editor, and the error


def test_time_that_is_up_ends_unity_and_what_it_started(verify, tmp_path: Path, monkeypatch) -> None:
    child = tmp_path / "child"
    monkeypatch.setenv("FAKE_UNITY_CHILD", str(child))
    done = verify("hang", "--timeout", "3")
    assert done.code == 2 and "[unity-timeout]" in done.err and "--timeout" in done.err
    if not child.exists():
        return  # so busy a machine that Unity was ended before it had started anything
    pid = int(child.read_text())
    for _ in range(200):
        if not running(pid):
            return
        time.sleep(0.02)
    pytest.fail("what Unity had started still runs")


def running(pid: int) -> bool:
    """Whether a process lives; one that has ended and was not asked for counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_of_an_earlier_run_are_not_mistaken_for_new_ones(verify) -> None:
    assert verify("passed").code == 0
    assert "[unity-no-license]" in verify("license").err


def test_a_project_of_another_version_is_tested_in_a_copy(verify, project: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_UNITY_VERSION", "6000.0.21f1")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    done = verify("passed", "--json")
    assert done.code == 0 and json.loads(done.out)["in_copy"]
    assert "tested in a copy" in done.err
    reports = project / "Logs"
    after = {p: p.read_bytes() for p in project.rglob("*") if p.is_file() and reports not in p.parents}
    assert after == before and not (project / "Library").exists()


def test_without_a_style_unity_is_not_started(verify, project: Path) -> None:
    (project / "Assets/StyleTransfer/Models/Mosaic/Mosaic.asset").unlink()
    done = verify("passed")
    assert done.code == 2 and "[no-style-in-project]" in done.err and not (project / "Logs").exists()


def test_a_folder_without_assets_is_no_project(pipeline, tmp_path: Path) -> None:
    unity = fake_unity.install(tmp_path / "editor")
    done = pipeline("verify-unity", "--unity", unity, "--project", tmp_path)
    assert done.code == 2 and "[not-a-unity-project]" in done.err


def test_without_an_editor_it_says_where_to_get_one(pipeline, project: Path, monkeypatch, tmp_path: Path) -> None:
    from pipeline.unity import editors

    monkeypatch.setattr(editors, "_places", lambda: [tmp_path / "Hub"])
    done = pipeline("verify-unity", "--project", project)
    assert done.code == 2 and "[unity-not-found]" in done.err and "Unity Hub" in done.err
    fake_unity.install(tmp_path / "Hub" / fake_unity.VERSION / "Editor")
    monkeypatch.chdir(project / "Assets")
    assert pipeline("verify-unity").code == 0


def test_the_results_of_a_build_server_are_explained(pipeline, tmp_path: Path) -> None:
    results, log = tmp_path / "editmode-results.xml", tmp_path / "editor.log"
    results.write_text(fake_unity.results("Failed", fake_unity.MESSAGES["no-network"]))
    log.write_text(fake_unity.IMPORT)
    done = pipeline("verify-unity", "--results", results, "--log", log)
    assert done.code == 1 and "Unknown type Erf" in done.err
    results.write_text(fake_unity.results("Passed", ""))
    assert pipeline("verify-unity", "--results", results).code == 0
    assert "[conflicting-options]" in pipeline("verify-unity", "--results", results, "--timeout", 5).err
