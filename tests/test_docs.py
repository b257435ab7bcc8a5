"""What the pages for Unity developers name is there: links, menus, buttons, commands, options, columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS
from pipeline.unity.measurements import COLUMNS
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.glob("unity*.md"))
CSHARP = "\n".join(path.read_text() for path in (REPOSITORY / "unity_templates").rglob("*.cs"))


@pytest.mark.parametrize("page", [*PAGES, DOCS / "ci.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_menus_that_are_named_exist(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    named = re.findall(r"\*(Style Transfer > [^*]+)\*", text)
    menus = set(re.findall(r'"((?:Style Transfer|Assets/Create)/[^"]+)"', CSHARP))
    for menu in named:
        assert menu.replace(" > ", "/") in menus or "Add Component" in text, menu
    for menu in re.findall(r"\*Assets > (Create > Style Transfer > [^*]+)\*", text):
        assert any(known.startswith(f"Assets/{menu.replace(' > ', '/')}") for known in menus), menu


def test_commands_and_options_that_are_named_exist() -> None:
    from importlib import import_module

    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"(?:^|`)pipeline ([a-z-]+)([^`\n]*)", text, re.MULTILINE)
        assert named or page.name not in ("unity-start.md", "unity-performance.md")
        for name, rest in named:
            assert name in COMMANDS, f"{page.name}: pipeline {name}"
            command = import_module(f"pipeline.cli.{name.replace('-', '_')}").command
            known = {option for parameter in command.params for option in parameter.opts}
            unknown = set(re.findall(r"(?<!\S)--[a-z-]+", rest)) - known
            assert not unknown, f"{page.name}: {name} {unknown}"


def test_each_command_is_documented_and_tested() -> None:
    rows = [line for line in (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines() if "| `" in line]
    tests = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    for name in COMMANDS:
        assert any(f"`pipeline {name}" in line for line in rows), f"README.md has no row for pipeline {name}"
        assert re.search(rf'(pipeline\(\s*|[\[(])"{name}", ', tests), f"no test runs pipeline {name}"


def test_fields_of_the_component_have_their_names() -> None:
    fields = set(re.findall(r"^    [\w.]+(?:\[\])? (\w+) = ", CSHARP, re.MULTILINE))
    names = {re.sub(r"(?<!^)([A-Z])", r" \1", field[0].upper() + field[1:]) for field in fields}
    text = (DOCS / "unity-troubleshooting.md").read_text() + (DOCS / "unity-performance.md").read_text()
    used = {"Run Every Frames", "Spread Frames", "Reproject", "Target Height", "Strength", "Stylized Layers"}
    assert all(f"*{name}*" in text for name in used)
    assert used | {"Budget Milliseconds", "Preload Styles", "Target Frame Rate"} <= names


def test_every_column_of_the_benchmark_is_explained() -> None:
    text = (DOCS / "unity-performance.md").read_text(encoding="utf-8")
    table = text.partition("| column | meaning |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert tuple(name for cell in cells for name in re.findall(r"`(\w+)`", cell)) == COLUMNS


def test_kernels_cost_what_the_law_of_the_desktop_says() -> None:
    from pipeline.cost.model import device

    text = (DOCS / "unity-performance.md").read_text(encoding="utf-8")
    table = text.partition("| kernel | used if |")[2].partition("\n\n")[0]
    reported = {
        cells[1].strip(): cells[3].strip() for line in table.splitlines()[2:] if (cells := line.split("|"))
    }
    law = device("desktop").kernels
    for name, kernel in (("blocked 4x4", "blocked-4x4"), ("register 4x2", "register-4x2"), ("naive", "naive")):
        assert float(reported[name]) == law[kernel]
    assert reported["strict 4x4"] == f"{law['strict-4x4']} ({law['strict-1x1']} if 1x1)"
