"""The runtime as a package of Unity's package manager, with the models in Assets."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath

import pytest

from pipeline import targets
from pipeline.unity import package
from pipeline.unity.bundle import render
from tests.networks import style_onnx
from tests.unity.bundles import spec
from tests.unity.reading import KNOWN_GUIDS, documents, guids, references

NAME = "Candy"
PACKAGE = f"Packages/{package.NAME}"
DECLARED = ("--input-range", "0..1", "--output-range", "0..1")


@pytest.fixture(scope="module")
def parts() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Assets and the package."""
    files = render(spec(NAME))
    assets, shared = package.split(files, NAME)
    prefab = files[f"StyleTransfer/Models/{NAME}/{NAME}Camera.prefab"].decode()
    return assets, package.render(shared, targets.get("barracuda-3.0"), NAME, prefab)


def inside(made: dict[str, bytes]) -> dict[str, bytes]:
    return {path.removeprefix(f"{package.NAME}/"): data for path, data in made.items()}


def test_every_file_and_folder_of_the_package_has_its_meta(
    parts: tuple[dict[str, bytes], dict[str, bytes]],
) -> None:
    files = inside(parts[1])
    for path in files:
        hidden = path.startswith("Samples~/") and path.count("/") < 2
        folders = [folder.as_posix() for folder in PurePosixPath(path).parents][:-1]
        for needed in [path, *folders]:
            if not needed.endswith(".meta") and not needed.startswith("Samples~") and not hidden:
                assert f"{needed}.meta" in files, "an immutable package ignores assets without a meta"
    samples = [path for path in files if path.startswith("Samples~/Demo/") and not path.endswith(".meta")]
    assert samples and all(f"{path}.meta" in files for path in samples)


def test_the_description_is_what_the_package_manager_reads(
    parts: tuple[dict[str, bytes], dict[str, bytes]],
) -> None:
    files = inside(parts[1])
    described = json.loads(files["package.json"])
    assert re.fullmatch(r"[a-z0-9._-]{1,214}", described["name"]) and not described["name"].startswith(
        "com.unity."
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+", described["version"]) and re.fullmatch(r"\d+\.\d+", described["unity"])
    assert described["dependencies"]["com.unity.barracuda"] == "3.0.0"
    assert {"com.unity.modules.androidjni", "com.unity.modules.imgui"} <= described["dependencies"].keys()
    for sample in described["samples"]:
        assert any(path.startswith(f"{sample['path']}/") for path in files)
    assert files["LICENSE.md"].startswith(b"MIT License") and package.NAME.encode() in files["README.md"]


def test_each_file_of_the_bundle_is_in_one_place_with_its_guid(
    parts: tuple[dict[str, bytes], dict[str, bytes]],
) -> None:
    assets, result = parts
    files = render(spec(NAME))
    lists = [path for path in files if "bundle.json" in path]
    for path, data in files.items():
        places = [assets.get(path), result.get(path.replace("StyleTransfer", package.NAME, 1))]
        if path not in lists and "README.txt" not in path:
            assert [place for place in places if place is not None] == [data], path
    runtime = {path for path in assets if path.endswith((".cs", ".asmdef", ".shader"))}
    assert runtime == {
        f"StyleTransfer/Models/{NAME}/{NAME}StyleTransfer.cs",
        "StyleTransfer/Models/StyleTransfer.Models.asmdef",
    }
    visible = {path: data for path, data in result.items() if "Samples~" not in path}
    known = guids({**assets, **visible}).keys() | KNOWN_GUIDS.keys()
    for path, data in {**assets, **visible}.items():
        if path.endswith((".asset", ".prefab", ".unity")):
            for item in documents(data):
                for link in references(item.fields):
                    assert "guid" not in link or link["guid"] in known, f"{path}: {link}"


def test_asmdefs_find_each_other_wherever_they_lie(parts: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    found = [json.loads(data) for part in parts for path, data in part.items() if path.endswith(".asmdef")]
    names = {item["name"] for item in found}
    assert len(names) == len(found)
    ours = {name for item in found for name in item["references"] if name.startswith("StyleTransfer")}
    assert ours <= names


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_gets_the_package_and_a_second_style_uses_it(pipeline, tmp_path: Path) -> None:
    first = pipeline("build-unity", style_onnx(tmp_path / "candy.onnx"), *DECLARED, "--package")
    assert first.code == 0, first.err
    project = Path.cwd() / "UnityProject"
    assert (project / PACKAGE / "Runtime/Shaders/StyleTransferConvert.shader").exists()
    assert not (project / "Assets/StyleTransfer/Runtime").exists()
    listed = json.loads((project / "Packages/manifest.json").read_text())
    assert listed["testables"] == [package.NAME], "Unity shows the golden frame's test"
    before = files_below(project / PACKAGE)
    # Without the option: the project has the package.
    second = pipeline("build-unity", style_onnx(tmp_path / "rain.onnx", seed=3), *DECLARED)
    assert second.code == 0, second.err
    assert not (project / "Assets/StyleTransfer/Runtime").exists()
    assert (project / "Assets/StyleTransfer/Models/Rain").exists()
    changed = {path for path, data in files_below(project / PACKAGE).items() if before[path] != data}
    assert {path for path in changed if "Samples~" not in path} <= {"bundle.json"}


def test_a_package_from_a_repository_stays_as_it_is(pipeline, tmp_path: Path) -> None:
    project = tmp_path / "Game"
    for folder in ("Assets", "Packages"):
        (project / folder).mkdir(parents=True)
    address = "https://example.org/styles.git?path=/Packages/x"
    (project / "Packages/manifest.json").write_text(json.dumps({"dependencies": {package.NAME: address}}))
    done = pipeline("build-unity", style_onnx(tmp_path / "candy.onnx"), *DECLARED, "--project", project)
    assert done.code == 0, done.err
    assert address in done.err and not (project / PACKAGE).exists()
    assert sorted(path.name for path in (project / "Assets/StyleTransfer").iterdir()) == [
        *("Models", "Models.meta", "bundle.json", "bundle.json.meta"),
    ]


def test_the_runtime_is_not_put_beside_itself(pipeline, tmp_path: Path) -> None:
    source = style_onnx(tmp_path / "candy.onnx")
    assert pipeline("build-unity", source, *DECLARED).code == 0
    done = pipeline("build-unity", source, *DECLARED, "--package")
    assert done.code == 2 and "[runtime-twice]" in done.err


def test_a_folder_gets_both_parts_side_by_side(pipeline, tmp_path: Path) -> None:
    done = pipeline("build-unity", style_onnx(tmp_path / "c.onnx"), *DECLARED, "--package", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / package.NAME / "package.json").exists()
    assert (tmp_path / "out" / "StyleTransfer/Models/C/C.onnx").exists()
