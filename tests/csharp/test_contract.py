"""The C# and what is generated beside it agree: names in YAML, and the example in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.csharp.conftest import Assemblies
from tests.csharp.toolchain import REPOSITORY, TEMPLATES, UNITY_DEFINES, must_compile

SERIALISED = {
    "yaml/model.asset.j2": "StyleTransferModel",
    "yaml/camera.prefab.j2": "StyleTransferSettings",
}


def serialised_fields(name: str) -> list[str]:
    """The fields of a class that Unity writes into YAML, in order."""
    text = (TEMPLATES / f"Runtime/{name}.cs").read_text()
    region = re.search(r"#region (?:Serialised fields|Editable attributes)\n(.*?)#endregion", text, re.DOTALL)[1]
    fields = re.findall(r"^    [\w\[\]]+ (\w+) = .*;$", region, re.MULTILINE)
    assert len(fields) == region.count("[SerializeField") == text.count("[SerializeField")
    return fields


@pytest.mark.parametrize("template", SERIALISED)
def test_yaml_holds_exactly_the_serialised_fields(template: str) -> None:
    own = (TEMPLATES / template).read_text().rpartition("m_EditorClassIdentifier:")[2]
    keys = re.findall(r"^  (\w+):", own, re.MULTILINE)
    fields = serialised_fields(SERIALISED[template])
    assert len(fields) == (36 if "asset" in template else 33)
    assert keys == fields


PAGES = sorted(path for folder in (".", "docs", "examples") for path in (REPOSITORY / folder).glob("*.md"))
EXAMPLES = [
    (path.name, number, example)
    for path in PAGES
    for number, example in enumerate(
        re.findall(r"^ *```(?:csharp|cs|c#)\n(.*?)```", path.read_text(), re.DOTALL | re.M)
    )
]
"""Every piece of C# in the documentation."""


def test_pages_with_examples_are_found() -> None:
    assert {name for name, _, _ in EXAMPLES} >= {"unity.md", "unity-migration.md"}


@pytest.mark.parametrize(("page", "number", "example"), EXAMPLES, ids=[f"{p}-{n}" for p, n, _ in EXAMPLES])
def test_examples_in_the_documentation_compile(
    page: str, number: int, example: str, shared: Assemblies, tmp_path: Path
) -> None:
    source = tmp_path / "Example.cs"
    source.write_text(example)
    must_compile(tmp_path / "Example.dll", [source], [shared.unity, shared.runtime], UNITY_DEFINES)


def test_the_documentation_names_files_that_exist() -> None:
    text = (REPOSITORY / "docs/unity.md").read_text()
    named = re.findall(r"`((?:Runtime|Editor|Engines)/[\w./]*)`", text)
    assert len(named) >= 9
    assert [name for name in named if not (TEMPLATES / name).exists()] == []


def test_every_setting_is_kept_in_its_range_and_explained() -> None:
    text = (TEMPLATES / "Runtime/StyleTransferSettings.cs").read_text()
    validated = re.search(r"void OnValidate\(\)\s*{(.*?)}", text, re.DOTALL)[1]
    ranged = re.findall(r"\[SerializeField, Range\((?:(?!SerializeField).)*?\)\]\s*\w+ (\w+) = ", text, re.DOTALL)
    assert {"strength", "stability"} <= set(ranged)
    for field in ranged:
        assert f"= {field};" in validated, f"OnValidate does not keep {field} in its range"
    page = (REPOSITORY / "docs/unity.md").read_text()
    rows = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    for field in serialised_fields("StyleTransferSettings"):
        title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field[0].upper() + field[1:]).removesuffix(" Shader")
        assert title in rows, f"docs/unity.md has no row for {title}"


@pytest.mark.parametrize(
    ("page", "source"),
    [
        ("unity-builtin", "Runtime/StyleTransferCamera.cs"),
        ("unity-urp", "Runtime/Universal/StyleTransferFeature.cs"),
        ("unity-hdrp", "Runtime/HighDefinition/StyleTransferCustomPass.cs"),
    ],
)
def test_each_pipelines_page_names_what_there_is_to_click(page: str, source: str) -> None:
    text = (REPOSITORY / f"docs/{page}.md").read_text()

    # As Unity's menus and inspectors write the names of classes and fields.
    def written(name: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name[0].upper() + name[1:])

    if page != "unity-builtin":
        assert written(Path(source).stem) in text
        assert written(Path(source).stem) in (TEMPLATES / "README.txt.j2").read_text()
    fields = {written(name) for name in serialised_fields("StyleTransferSettings")}
    assert {"Stylized Layers", "Target Frame Rate", "Run Every Frames", "Reproject"} <= fields
    for field in ("Stylized Layers", "Target Frame Rate", "Run Every Frames", "Reproject"):
        assert field in text
    assert f"({page}.md)" in (REPOSITORY / "docs/unity.md").read_text()
