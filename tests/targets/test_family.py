"""A family is a folder: a made-up one is added from a temporary folder, used, and taken away again."""

from __future__ import annotations

import json
import sys

import pytest

from pipeline import targets
from tests.conftest import REPOSITORY

FAMILY = """
from pipeline.targets.family import Family


class MadeUp(Family):
    name = "madeup"
    title = "Made Up"
    engine = "StyleTransfer.MadeUp"

    def write(self, graph, target, metadata=None):
        from pipeline.graph import to_model

        return to_model(graph, metadata).SerializeToString(deterministic=True)

    def emulate(self, data, target):
        return self.read(data)

    def model_files(self, name, data, target):
        return {f"{name}.txt": b"made up", f"{name}.bytes": data}

    def model_reference(self, guid, target):
        return f"{{fileID: 4900000, guid: {guid}, type: 3}}"


FAMILY = MadeUp()
"""


def data(version: str, **more):
    stored = targets.get(targets.DEFAULT)
    return {
        "package": "com.example.madeup",
        "package_version": version,
        "unity": "2022.3",
        "opset": 15,
        "max_rank": 8,
        "dtypes": ["FLOAT"],
        "constants": None,
        "sources": {},
        "semantics": [],
        "graph_rules": [
            {"kind": "unknown-operators", "code": "unknown-operator", "severity": "error", "source": "x"}
        ],
        "rules": [],
        "operators": {name: {"source": "x"} for name in stored.operators},
        **more,
    }


@pytest.fixture
def madeup(tmp_path, monkeypatch):
    """The family `madeup` with the targets madeup-1.6, madeup-1.6-pre and another-2."""
    folder = tmp_path / "madeup"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "family.py").write_text(FAMILY)
    (folder / "1.6.json").write_text(
        json.dumps(data("1.6.0", capabilities={"runtime-import": {"can": True, "source": "x"}}))
    )
    (folder / "1.6-pre.json").write_text(json.dumps(data("1.6.0-pre.1")))
    (folder / "2.json").write_text(json.dumps(data("2.1.3", name="another-2")))
    monkeypatch.setattr(targets, "__path__", [*targets.__path__, str(tmp_path)])
    targets.forget()
    yield folder
    monkeypatch.undo()
    for name in [name for name in sys.modules if name.startswith("pipeline.targets.madeup")]:
        del sys.modules[name]
    if hasattr(targets, "madeup"):
        del targets.madeup
    targets.forget()


def test_a_family_is_found_by_its_folder(madeup):
    assert {"barracuda", "madeup"} <= set(targets.families())
    named = [name for name in targets.names() if targets.get(name).family_name == "madeup"]
    assert named == ["madeup-1.6-pre", "madeup-1.6", "another-2"]
    target = targets.get("madeup-1.6")
    assert target.family.title == "Made Up"
    assert target.family.packages(target) == {"com.example.madeup": "1.6.0"}
    assert target.can("runtime-import") and not target.can("uneven-dilations")


def test_a_copy_that_kept_the_name_of_a_target_is_refused(madeup):
    (madeup / "3.json").write_text(json.dumps(data("3.0.0", name="barracuda-3.0")))
    targets.forget()
    with pytest.raises(ValueError, match=r"two data files describe the target barracuda-3\.0"):
        targets.names()


def test_a_family_that_names_no_importer_for_its_models_says_what_to_add(madeup):
    from pipeline.unity.meta import file_meta

    with pytest.raises(ValueError, match="the method `meta` of its family must name one"):
        file_meta("StyleTransfer/Models/Mosaic/Mosaic.onnx", "0" * 32)


@pytest.mark.parametrize("name", targets.families())
def test_the_engine_of_a_family_has_its_folder(name):
    engine = targets.family_of(name).engine
    folder = REPOSITORY / "unity_templates" / "Engines" / engine.removeprefix("StyleTransfer.")
    assert json.loads((folder / f"{engine}.asmdef").read_text())["name"] == engine


def test_a_family_disappears_with_its_folder(madeup, monkeypatch):
    monkeypatch.setattr(targets, "__path__", targets.__path__[:1])
    targets.forget()
    assert "madeup" not in targets.families()
    assert targets.DEFAULT in targets.names()


def test_a_bundle_holds_the_files_of_its_family(madeup):
    from pipeline.unity.bundle import render
    from pipeline.unity.guid import guid
    from tests.unity.bundles import spec

    files = render(spec(target=targets.get("madeup-1.6")))
    folder = "StyleTransfer/Models/Mosaic"
    assert files[f"{folder}/Mosaic.txt"] == b"made up"
    assert files[f"{folder}/Mosaic.bytes"] == spec().onnx
    assert f"{folder}/Mosaic.onnx" not in files
    assert (
        f"model: {{fileID: 4900000, guid: {guid(f'{folder}/Mosaic.txt')}, type: 3}}"
        in files[f"{folder}/Mosaic.asset"].decode()
    )


def test_a_bundle_is_built_for_a_new_family(madeup, tmp_path):
    """Read, lowered, written in its dialect, validated by its rules, proven by its emulation, packaged."""
    from pipeline.build.job import build_unity
    from tests.networks import style_onnx

    result = build_unity(
        style_onnx(tmp_path / "net.onnx"),
        target="madeup-1.6",
        input_range="0..255",
        output_range="0..255",
        size="96x64",
        output=tmp_path / "out",
        use_cache=False,
    )
    assert result.report["target"]["name"] == "madeup-1.6"
    assert result.report["proof"]["passed"]
    assert (result.bundle / "Net.txt").read_bytes() == b"made up"
    assert "Net.txt" in str(list(result.bundle.iterdir()))


def test_a_family_that_is_taken_away_leaves_the_rest_working(tmp_path):
    """The whole tree without the folders of the other families: targets, validation and a build."""
    import shutil
    import subprocess

    from tests.networks import style_onnx

    gone = [name for name in targets.families() if name != "barracuda"]
    engines = [targets.family_of(name).engine.removeprefix("StyleTransfer.") for name in gone]
    place = tmp_path / "tree"
    for folder in ("pipeline", "unity_templates", "examples"):
        left_out = shutil.ignore_patterns("__pycache__", "*.pth", "_data")
        shutil.copytree(REPOSITORY / folder, place / folder, ignore=left_out)
    for name in gone:
        shutil.rmtree(place / "pipeline" / "targets" / name)
    for name in engines:
        shutil.rmtree(place / "unity_templates" / "Engines" / name)
    source = style_onnx(tmp_path / "net.onnx")
    code = f"""
import pipeline
from pathlib import Path
from pipeline import targets
assert Path(pipeline.__file__).is_relative_to({str(place)!r})
assert targets.families() == ("barracuda",), targets.families()
assert pipeline.validate({str(source)!r}).verdicts
made = pipeline.build_unity({str(source)!r}, input_range="0..255", output_range="0..255", size="96x64",
                            output={str(tmp_path / "out")!r}, use_cache=False)
assert made.report["proof"]["passed"]
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
