"""pipeline build-unity, from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.unity import packages
from tests.networks import style_checkpoint, style_onnx

DECLARED = ("--input-range", "0..1", "--output-range", "0..1")


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_checkpoint_becomes_a_bundle(pipeline, tmp_path):
    done = pipeline("build-unity", style_checkpoint(tmp_path / "my_style.pth"), "-o", tmp_path / "out")
    assert done.code == 0, done.err
    bundle = tmp_path / "out" / "StyleTransfer" / "Models" / "MyStyle"
    assert done.out.strip() == str(bundle)
    names = {p.name for p in bundle.iterdir()}
    assert {"MyStyle.onnx", "MyStyle.asset", "MyStyleStyleTransfer.cs", "report.html", "report.json"} <= names
    report = json.loads((bundle / "report.json").read_text())
    assert report["proof"]["passed"] and report["proof"]["would_have_passed_at"] < 0.1
    assert {f["severity"] for f in report["findings"]} <= {"slow", "note"}


@pytest.mark.parametrize("target", ["barracuda-1.0", "barracuda-2.0", "barracuda-3.0"])
def test_every_target_is_built(pipeline, tmp_path, target):
    source = style_onnx(tmp_path / "net.onnx")
    done = pipeline("build-unity", source, *DECLARED, "--target", target, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["target"]["name"] == target
    assert result["proof"]["passed"]
    assert result["model"]["operators"]["InstanceNormalization"] == 1


def test_the_same_source_gives_the_same_bytes(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    for place in ("a", "b"):
        assert pipeline("build-unity", source, *DECLARED, "--no-cache", "-o", tmp_path / place).code == 0
    assert files_below(tmp_path / "a") == files_below(tmp_path / "b")


def test_a_second_build_comes_from_the_cache_and_changes_nothing(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    first = pipeline("build-unity", source, *DECLARED, "-o", tmp_path / "out", "--json")
    before = files_below(tmp_path / "out")
    second = pipeline("build-unity", source, *DECLARED, "-o", tmp_path / "out", "--json")
    assert (json.loads(first.out)["cached"], json.loads(second.out)["cached"]) == (False, True)
    assert json.loads(second.out)["install"]["written"] == []
    assert files_below(tmp_path / "out") == before


def test_an_undeclared_range_is_asked_for_and_nothing_is_written(pipeline, tmp_path):
    done = pipeline("build-unity", style_onnx(tmp_path / "net.onnx"), "-o", tmp_path / "out")
    assert done.code == 2
    assert "[contract-missing] net.onnx" in done.err and "--input-range" in done.err
    assert not (tmp_path / "out").exists()


def test_a_proof_that_fails_ends_with_1_and_nothing_is_written(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "s.pth")
    done = pipeline("build-unity", source, "-o", tmp_path / "out", "--tolerance", "1e-9", "--json")
    assert done.code == 1
    assert "[proof-failed]" in done.err and "--tolerance" in done.err
    assert json.loads(done.out)["error"]["code"] == "proof-failed"
    assert json.loads(done.out)["report"]["proof"]["passed"] is False
    assert not (tmp_path / "out").exists()


def test_without_a_place_a_project_is_made_here_and_used_again(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    done = pipeline("build-unity", source, *DECLARED)
    assert done.code == 0, done.err
    project = Path.cwd() / "UnityProject"
    assert (project / "Assets" / "StyleTransfer" / "Models" / "Net" / "Net.onnx").is_file()
    manifest = json.loads((project / "Packages" / "manifest.json").read_text())
    assert manifest["dependencies"]["com.unity.barracuda"] == "3.0.0"
    assert pipeline("build-unity", source, *DECLARED).code == 0


def test_a_new_project_gets_the_package_of_the_target(pipeline, tmp_path):
    done = pipeline("build-unity", style_onnx(tmp_path / "net.onnx"), *DECLARED, "--target", "barracuda-1.0")
    assert done.code == 0, done.err
    manifest = json.loads((Path.cwd() / "UnityProject" / "Packages" / "manifest.json").read_text())
    assert manifest["dependencies"]["com.unity.barracuda"] == "1.0.4"
    assert "com.unity.modules.physics" in manifest["dependencies"]


def test_the_example_of_a_new_project_does_not_hold_its_name(pipeline, tmp_path):
    done = pipeline("build-unity", style_onnx(tmp_path / "mosaic.onnx"), *DECLARED)
    assert done.code == 0, done.err
    report = Path.cwd() / "UnityProject" / "Assets" / "StyleTransfer" / "Models" / "Mosaic" / "report.json"
    assert json.loads(report.read_text())["source"]["file"] == "mosaic.onnx"


def test_a_dry_run_writes_nothing(pipeline, tmp_path):
    done = pipeline("build-unity", style_onnx(tmp_path / "net.onnx"), *DECLARED, "--dry-run")
    assert done.code == 0, done.err
    assert list(Path.cwd().iterdir()) == []


def test_an_edited_file_stays_and_is_named(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    pipeline("build-unity", source, *DECLARED, "-o", tmp_path / "out")
    stub = tmp_path / "out" / "StyleTransfer" / "Models" / "Net" / "NetStyleTransfer.cs"
    stub.write_text("// mine\n")
    done = pipeline("build-unity", source, *DECLARED, "-o", tmp_path / "out", "--size", "640x360")
    assert done.code == 0, done.err
    assert stub.read_text() == "// mine\n"
    assert "NetStyleTransfer.cs" in done.err


def test_two_sources_do_not_share_a_name(pipeline, tmp_path):
    pipeline("build-unity", style_onnx(tmp_path / "net.onnx"), *DECLARED, "-o", tmp_path / "out")
    other = style_onnx(tmp_path / "other.onnx", seed=5)
    done = pipeline("build-unity", other, *DECLARED, "-o", tmp_path / "out", "--name", "Net")
    assert done.code == 2 and "[name-taken]" in done.err
    (tmp_path / "sub").mkdir()
    twin = style_onnx(tmp_path / "sub" / "net.onnx")
    done = pipeline("build-unity", tmp_path / "net.onnx", twin, *DECLARED, "-o", tmp_path / "out")
    assert done.code == 2 and "[duplicate-name]" in done.err


def test_pipeline_toml_builds_several_models(pipeline, tmp_path):
    style_onnx(Path.cwd() / "one.onnx")
    style_onnx(Path.cwd() / "two.onnx", seed=9)
    Path("pipeline.toml").write_text(
        '[build-unity]\ninput-range = "0..1"\noutput-range = "0..1"\noutput = "bundle"\n'
        '[[models]]\nsource = "one.onnx"\n[[models]]\nsource = "two.onnx"\nname = "Second"\n'
    )
    done = pipeline("build-unity")
    assert done.code == 0, done.err
    assert sorted(p.name for p in Path("bundle/StyleTransfer/Models").iterdir() if p.is_dir()) == ["One", "Second"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--size", "960"), "bad-size"),
        (("--size", "4x4"), "bad-size"),
        (("--tolerance", "0"), "bad-tolerance"),
        (("--target", "barracuda-9"), "unknown-target"),
        (("--input-range", "0..100"), "bad-value-range"),
        (("--name", "my style"), "bad-name"),
        (("--picture", "nothing.png"), "file-not-found"),
        (("--output", "a", "--project", "b"), "conflicting-options"),
        (("--project", "nowhere"), "not-a-unity-project"),
    ],
)
def test_a_bad_option_is_one_line_with_a_code(pipeline, tmp_path, arguments, code):
    done = pipeline("build-unity", style_onnx(tmp_path / "net.onnx"), *DECLARED, *arguments)
    assert done.code == 2
    lines = done.err.strip().splitlines()
    assert f"[{code}]" in lines[-1]
    assert "Traceback" not in done.err
    assert list(Path.cwd().iterdir()) == []


def test_a_missing_file_is_named(pipeline, tmp_path):
    done = pipeline("build-unity", tmp_path / "no.pth")
    assert done.code == 2 and "[file-not-found]" in done.err and "no.pth" in done.err


def test_the_preview_shows_both_pictures(pipeline, tmp_path):
    from PIL import Image

    source = style_onnx(tmp_path / "net.onnx")
    arguments = ("build-unity", source, *DECLARED, "-o", tmp_path / "out", "--size", "64x36")
    assert pipeline(*arguments, "--preview", tmp_path / "p.png").code == 0
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size == (64 * 2 + 8, 36)


def test_the_package_is_switched_where_that_is_asked_for(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    project = tmp_path / "Game"
    (project / "Assets").mkdir(parents=True)
    (project / "Packages").mkdir()
    manifest = project / "Packages" / "manifest.json"
    manifest.write_text('{"dependencies": {"com.unity.barracuda": "3.0.0"}}')
    build = ("build-unity", source, "--project", project, "--target", "barracuda-1.0")
    ranges = ("--input-range", "0..255", "--output-range", "0..255")
    refused = pipeline(*build, *ranges)
    assert refused.code == 2 and "[package-differs]" in refused.err and "--target barracuda-3.0" in refused.err
    assert "3.0.0" in manifest.read_text() and not list((project / "Assets").iterdir())
    switched = pipeline(*build, *ranges, "--switch-package")
    assert switched.code == 0 and "from 3.0.0 to 1.0.4" in switched.err
    listed = json.loads(manifest.read_text())["dependencies"]
    assert listed == {"com.unity.barracuda": "1.0.4"} | packages.MODULES


def test_a_project_that_another_importer_is_in_is_refused_before_the_work(pipeline, tmp_path):
    project = tmp_path / "Game"
    (project / "Assets").mkdir(parents=True)
    (project / "Packages").mkdir()
    manifest = project / "Packages" / "manifest.json"
    manifest.write_text('{"dependencies": {"com.unity.sentis": "2.1.3"}}')
    source = tmp_path / "net.onnx"
    source.write_bytes(b"never read")
    build = ("build-unity", source, "--project", project, "--target", "barracuda-3.0")
    refused = pipeline(*build)
    assert refused.code == 2 and "[onnx-importers-collide]" in refused.err and "--target sentis-2.1" in refused.err
    manifest.write_text("{")
    assert "[package-manifest-broken]" in pipeline(*build).err
    assert not list((project / "Assets").iterdir())
