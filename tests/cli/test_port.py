"""pipeline port, from the outside: styles for one package become styles for another."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from pipeline import targets
from tests.networks import style_checkpoint, style_onnx

DECLARED = ("--input-range", "0..1", "--output-range", "0..1", "--size", "64x48")


def project(tmp_path, package="com.unity.barracuda", version="3.0.0"):
    root = tmp_path / "Game"
    (root / "Assets").mkdir(parents=True)
    (root / "ProjectSettings").mkdir()
    (root / "Packages").mkdir()
    (root / "ProjectSettings" / "ProjectVersion.txt").write_text("m_EditorVersion: 6000.0.30f1\n")
    listed = {"dependencies": {package: version, "com.unity.modules.ui": "1.0.0"}}
    (root / "Packages" / "manifest.json").write_text(json.dumps(listed, indent=2) + "\n")
    return root


def painted(folder, name, target, value):
    family = targets.get(target).family
    file = next(
        path for suffix in (*family.suffixes, ".bytes") if (path := folder / name / f"{name}{suffix}").is_file()
    )
    return np.clip(family.runner(file.read_bytes(), targets.get(target))(value), 0, 1)


def test_a_project_goes_from_barracuda_to_inference_engine_and_back(pipeline, tmp_path):
    root = project(tmp_path)
    source = style_onnx(tmp_path / "wave.onnx")
    assert pipeline("build-unity", source, *DECLARED, "--project", root, "--target", "barracuda-3.0").code == 0
    models = root / "Assets/StyleTransfer/Models"
    before = {path: path.read_bytes() for path in models.rglob("*.asset")}
    metas = {path.name: path.read_text().split("guid: ")[1].split()[0] for path in models.rglob("*.onnx.meta")}
    value = np.random.default_rng(0).random((1, 3, 48, 64), np.float32)
    old = painted(models, "Wave", "barracuda-3.0", value)
    refused = pipeline("port", root, "--target", "inference-2")
    assert refused.code == 2 and "[onnx-importers-collide]" in refused.err, refused.err
    assert "--switch-package to replace com.unity.barracuda by com.unity.ai.inference" in (refused.err)
    assert "com.unity.barracuda" in (root / "Packages/manifest.json").read_text()
    there = pipeline("port", root, "--target", "inference-2", "--switch-package")
    assert there.code == 0, there.err
    assert there.out.split() == [str(models / "Wave")]
    requested = json.loads((root / "Packages/manifest.json").read_text())["dependencies"]
    assert "com.unity.barracuda" not in requested and requested["com.unity.ai.inference"] == "2.4.0"
    assert [(opset.domain, opset.version) for opset in onnx.load(models / "Wave/Wave.onnx").opset_import] == [
        ("", 15)
    ]
    assert np.abs(painted(models, "Wave", "inference-2", value) - old).max() < 1e-4
    report = json.loads((models / "Wave/report.json").read_text())
    assert report["source"]["file"] == "wave.onnx" and report["ported"]["from"]["name"] == "barracuda-3.0"
    asset = (models / "Wave/Wave.asset").read_text()
    assert "source: wave.onnx" in asset and "target: inference-2" in asset
    kept = {path.name: path.read_text().split("guid: ")[1].split()[0] for path in models.rglob("*.onnx.meta")}
    assert kept == metas, "scenes keep their references"
    back = pipeline("port", root / "Assets", "--target", "barracuda-3.0", "--switch-package")
    assert back.code == 0, back.err
    again = {path: path.read_bytes() for path in models.rglob("*.asset")}
    assert set(again) == set(before)
    assert np.abs(painted(models, "Wave", "barracuda-3.0", value) - old).max() < 1e-4


def test_what_is_arranged_for_a_class_is_plain_for_other_families(pipeline, tmp_path):
    source, out = style_checkpoint(tmp_path / "wave.pth", widths=(16, 16, 16)), tmp_path / "out"
    model = out / "StyleTransfer/Models/Wave/Wave.onnx"
    chosen = ("--device", "phone", "--size", "320x240")
    assert pipeline("build-unity", source, "-o", out, *chosen).code == 0
    assert "DepthToSpace" in {node.op_type for node in onnx.load(model).graph.node}
    there = pipeline("port", out, "--target", "inference-2")
    assert there.code == 0, there.err
    assert "arranged" not in there.err
    report = json.loads((model.parent / "report.json").read_text())
    assert report["proof"]["low_contrast"]["mean_taken_off"], "the model that was ported does it"
    assert not {"DepthToSpace", "SpaceToDepth"} & {node.op_type for node in onnx.load(model).graph.node}


def test_what_stays_arranged_is_reported_to_other_families():
    from pipeline.build.port import Style, _options

    report = {"arranged": {"device": "phone", "done": [{}]}, "model": {"width": 960, "height": 540}}
    style = Style("Wave", report, targets.get("barracuda-3.0"), b"")
    options, note = _options(style, targets.get("barracuda-2.0"), 1)
    assert (options.device, note) == ("phone", "")
    options, note = _options(style, targets.get("inference-2"), 1)
    assert options.device is None and "arranged for barracuda-3.0 on phone" in note
    assert _options(style, targets.get("inference-2"), 0)[1] == ""


def test_packed_weights_stay_packed_where_the_other_target_can(pipeline, tmp_path):
    source = style_onnx(tmp_path / "wave.onnx", channels=16)
    out = tmp_path / "out"
    assert (
        pipeline("build-unity", source, *DECLARED, "-o", out, "--target", "sentis-2.1", "--weights", "int8").code
        == 0
    )
    done = pipeline("port", out, "--target", "inference-2", "--json")
    assert done.code == 0, done.err
    (result,) = json.loads(done.out)
    assert result["packed"]["weights"] == "int8"
    assert (out / "StyleTransfer/Models/Wave/Wave.sentis").is_file()
    assert pipeline("port", out, "--target", "barracuda-1.0").code == 0
    stored = {path.name for path in (out / "StyleTransfer/Models/Wave").iterdir()}
    assert "Wave.onnx" in stored and not stored & {"Wave.sentis", "Wave.bytes"}


def test_a_dry_run_changes_nothing(pipeline, tmp_path):
    out = tmp_path / "out"
    for seed, name in ((3, "wave"), (4, "candy")):
        assert (
            pipeline("build-unity", style_onnx(tmp_path / f"{name}.onnx", seed=seed), *DECLARED, "-o", out).code
            == 0
        )
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    done = pipeline("port", out, "--target", "inference-2", "--dry-run")
    assert done.code == 0 and [line.rpartition("/")[2] for line in done.out.split()] == ["Candy", "Wave"]
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("damage", ["report", "model", "nothing"])
def test_what_cannot_be_ported_is_named_and_nothing_is_changed(pipeline, tmp_path, damage):
    out = tmp_path / "out"
    if damage != "nothing":
        assert pipeline("build-unity", style_onnx(tmp_path / "wave.onnx"), *DECLARED, "-o", out).code == 0
    model = out / "StyleTransfer/Models/Wave"
    if damage == "report":
        (model / "report.json").write_text("{}")
    elif damage == "model":
        (model / "Wave.onnx").unlink()
    else:
        out.mkdir()
    done = pipeline("port", out, "--target", "inference-2")
    assert done.code == 2 and ("no-styles" if damage == "nothing" else "bundle-broken") in done.err


def test_with_the_runtime_as_a_package_no_script_comes_into_assets(pipeline, tmp_path):
    """Scripts in Assets beside the same ones in Packages do not compile; a shader's files lie in the package."""
    root = project(tmp_path)
    source = style_onnx(tmp_path / "wave.onnx")
    given = ("--project", root, "--target", "barracuda-3.0", "--package")
    assert pipeline("build-unity", source, *DECLARED, *given).code == 0
    done = pipeline("port", root, "--target", "compute")
    assert done.code == 0, done.err
    assets = root / "Assets/StyleTransfer"
    assert sorted(path.name for path in assets.iterdir() if path.is_dir()) == ["Kernels", "Models"]
    (kernels,) = (assets / "Kernels").glob("*.compute")
    text = kernels.read_text()
    included = [line.split('"')[1] for line in text.splitlines() if line.startswith("#include")]
    assert included and all((root / path).is_file() for path in included)
    described = json.loads((root / "Packages/com.bridge-pipeline.styletransfer/package.json").read_text())
    assert "com.unity.barracuda" not in described["dependencies"]
    listed = json.loads((assets / "Models/Wave/bundle.json").read_text())
    assert f"StyleTransfer/Kernels/{kernels.name}" in listed["files"]


def test_a_compiled_style_is_said_to_need_its_source(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    built = pipeline("build-unity", source, "--target", "compute", "-o", "out")
    assert built.code == 0, built.err
    done = pipeline("port", "out", "--target", "barracuda-3.0")
    assert done.code == 2 and "[plan-has-no-graph]" in done.err
    assert "cannot be turned back into a graph" in done.err and "Build it from its source (net.pth)" in done.err


def test_a_newer_version_of_the_package_stays_and_an_editor_that_is_too_old_is_refused(pipeline, tmp_path):
    root = project(tmp_path, "com.unity.ai.inference", "2.6.1")
    source = style_onnx(tmp_path / "wave.onnx")
    assert pipeline("build-unity", source, *DECLARED, "-o", root / "Assets", "--target", "sentis-2.1").code == 0
    assert pipeline("port", root, "--target", "inference-2").code == 0
    requested = json.loads((root / "Packages/manifest.json").read_text())["dependencies"]
    assert requested["com.unity.ai.inference"] == "2.6.1"
    (root / "ProjectSettings" / "ProjectVersion.txt").write_text("m_EditorVersion: 2022.3.20f1\n")
    done = pipeline("port", root, "--target", "inference-2")
    assert done.code == 2 and "[editor-too-old]" in done.err, done.err


def test_a_package_of_the_folder_packages_is_not_removed_but_named(pipeline, tmp_path):
    root = project(tmp_path, "com.unity.modules.audio", "1.0.0")
    embedded = root / "Packages" / "com.unity.barracuda"
    embedded.mkdir()
    (embedded / "package.json").write_text(json.dumps({"name": "com.unity.barracuda", "version": "3.0.0"}))
    source = style_onnx(tmp_path / "wave.onnx")
    assert pipeline("build-unity", source, *DECLARED, "-o", root / "Assets", "--target", "barracuda-3.0").code == 0
    done = pipeline("port", root, "--target", "inference-2", "--switch-package")
    assert done.code == 2 and "or its folder in Packages" in done.err, done.err
