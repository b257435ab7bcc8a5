"""A Unity project is looked at before anything is built for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline import targets
from pipeline.support.errors import PipelineError
from pipeline.unity import fit, project_facts

BARRACUDA, SENTIS, INFERENCE = "com.unity.barracuda", "com.unity.sentis", "com.unity.ai.inference"
URP, HDRP = "com.unity.render-pipelines.universal", "com.unity.render-pipelines.high-definition"
IN_USE = "{fileID: 11400000, guid: 681886c5eb7344803b6206f758bf0b1c, type: 2}"


def project(
    path: Path, packages: Mapping[str, str] = {}, editor: str = "2022.3.17f1", pipeline_asset: str = "{fileID: 0}"
) -> project_facts.ProjectFacts:
    settings = path / "ProjectSettings"
    for folder in (path / "Assets", path / "Packages", settings):
        folder.mkdir(parents=True)
    (path / "Packages/manifest.json").write_text(json.dumps({"dependencies": dict(packages)}))
    if editor:
        (settings / "ProjectVersion.txt").write_text(f"m_EditorVersion: {editor}\n")
    graphics = f"GraphicsSettings:\n  m_ObjectHideFlags: 0\n  m_CustomRenderPipeline: {pipeline_asset}\n"
    (settings / "GraphicsSettings.asset").write_text(graphics)
    return project_facts.read(path)


def refusal(facts: project_facts.ProjectFacts, target: str, **more: bool) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        fit.check(facts, targets.get(target), **more)
    return caught.value


@pytest.mark.parametrize(
    ("packages", "target"),
    [
        ({}, targets.DEFAULT),
        ({"com.unity.ugui": "1.0.0"}, targets.DEFAULT),
        ({BARRACUDA: "1.0.4"}, "barracuda-1.0"),
        ({BARRACUDA: "1.4.0-preview"}, "barracuda-1.0"),
        ({BARRACUDA: "2.0.0"}, "barracuda-2.0"),
        ({BARRACUDA: "2.4.0-preview"}, "barracuda-2.0"),
        ({BARRACUDA: "3.0.1"}, "barracuda-3.0"),
        ({BARRACUDA: "file:../barracuda"}, "barracuda-3.0"),
        ({BARRACUDA: "https://github.com/Unity-Technologies/barracuda-release.git"}, "barracuda-3.0"),
        ({SENTIS: "2.1.3"}, "sentis-2.1"),
        ({INFERENCE: "2.2.1"}, "inference-2"),
        ({INFERENCE: "2.9.0"}, "inference-2"),
    ],
)
def test_the_target_is_that_of_the_projects_package(packages: dict[str, str], target: str, tmp_path: Path) -> None:
    facts = project(tmp_path / "p", packages, "6000.0.58f2")
    assert fit.choose_target(facts) == target
    fit.check(facts, targets.get(target))


def test_a_package_that_another_one_brings_counts(tmp_path: Path) -> None:
    facts = project(tmp_path, {"com.unity.ml-agents": "2.0.1"})
    lock = {"dependencies": {BARRACUDA: {"version": "2.0.0", "depth": 1}}}
    (tmp_path / "Packages/packages-lock.json").write_text(json.dumps(lock))
    assert fit.choose_target(project_facts.read(facts.root)) == "barracuda-2.0"


def test_two_importers_of_one_suffix_are_refused_with_the_way_out(tmp_path: Path) -> None:
    facts = project(tmp_path / "a", {SENTIS: "2.1.3"})
    error = refusal(facts, "barracuda-3.0")
    assert error.code == "onnx-importers-collide" and "--target sentis-2.1" in error.remedy
    error = refusal(facts, "barracuda-3.0", switch_package=True)
    assert error.code == "onnx-importers-collide"
    both = project(tmp_path / "b", {SENTIS: "2.1.3", BARRACUDA: "3.0.0"})
    with pytest.raises(PipelineError) as caught:
        fit.choose_target(both)
    assert caught.value.code == "onnx-importers-collide" and SENTIS in caught.value.message


def test_another_version_of_the_package_is_refused_or_switched(tmp_path: Path) -> None:
    facts = project(tmp_path, {BARRACUDA: "2.0.0"})
    error = refusal(facts, "barracuda-3.0")
    assert error.code == "package-differs"
    assert "--target barracuda-2.0" in error.remedy and "--switch-package" in error.remedy
    fit.check(facts, targets.get("barracuda-3.0"), switch_package=True)
    assert refusal(project(tmp_path / "new", {BARRACUDA: "3.0.0"}), "barracuda-1.0").code == "package-differs"


@pytest.mark.parametrize("package", [BARRACUDA, SENTIS])
def test_a_package_before_all_targets_is_said(package: str, tmp_path: Path) -> None:
    facts = project(tmp_path, {package: "0.7.0"})
    with pytest.raises(PipelineError) as caught:
        fit.choose_target(facts)
    assert caught.value.code == "package-too-old" and "0.7.0" in caught.value.message


def test_an_editor_before_the_package_is_refused(tmp_path: Path) -> None:
    facts = project(tmp_path / "a", {}, "2021.3.4f1")
    error = refusal(facts, "inference-2")
    assert error.code == "editor-too-old" and "--target barracuda-3.0" in error.remedy
    old = project(tmp_path / "b", {}, "2018.4.1f1")
    assert "--target barracuda-1.0" in refusal(old, "barracuda-3.0").remedy
    fit.check(project(tmp_path / "c", {}, ""), targets.get("inference-2"))


def test_the_step_is_that_of_the_render_pipeline(tmp_path: Path) -> None:
    built_in = project(tmp_path / "a", {URP: "14.0.8"})
    assert built_in.pipelines == ("built-in",)
    assert "Renderer Feature" not in fit.next_step(built_in, "CandyCamera.prefab")

    universal = project(tmp_path / "b", {URP: "14.0.8"}, pipeline_asset=IN_USE)
    assert "Add Renderer Feature > Style Transfer Feature" in fit.next_step(universal, "CandyCamera.prefab")
    renderer = universal.root / "Assets/Settings/PC_Renderer.asset"
    renderer.parent.mkdir()
    renderer.write_text("MonoBehaviour:\n  m_RendererFeatures: []\n")
    assert "Assets/Settings/PC_Renderer.asset" in fit.next_step(universal, "CandyCamera.prefab")

    high = project(tmp_path / "c", {HDRP: "14.0.8"}, pipeline_asset=IN_USE)
    assert "Custom Pass Volume" in fit.next_step(high, "CandyCamera.prefab")

    quality = project(tmp_path / "d", {URP: "12.0.0"})
    (quality.root / "ProjectSettings/QualitySettings.asset").write_text(
        f"QualitySettings:\n  m_QualitySettings:\n  - name: High\n    customRenderPipeline: {IN_USE}\n"
    )
    assert project_facts.read(quality.root).pipelines == ("URP",)
