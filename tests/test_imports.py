"""Imports go one way: no circles between modules or rooms, and nothing knows what is above it.

Imports inside functions count; those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import pytest

from pipeline import targets
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "pipeline"
FILES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(name: str, tree: ast.AST) -> set[str]:
    """The modules of this package that a module imports when it runs."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for row in node.orelse:
                visit(row)
            return
        if isinstance(node, ast.Import):
            found.update(row.name for row in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = (f"{node.module}.{row.name}" for row in node.names)
            found.update(row if row in FILES else node.module for row in inside)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return {row for row in found if row.split(".")[0] == "pipeline"} - {name}


GRAPH = {name: imports(name, ast.parse(path.read_text(encoding="utf-8"))) for name, path in FILES.items()}


def room(name: str) -> str:
    """The folder of a module; each family of targets is a room of its own, and each module at the top."""
    parts = name.split(".")
    if parts[1:2] == ["targets"] and parts[2:3] and parts[2] in targets.families():
        return f"targets/{parts[2]}"
    if parts[1:2] == ["quantisation"]:  # one rewrite, large enough for a folder of its own
        return "rewrites"
    return parts[1] if len(parts) > 1 else "pipeline"


ROOMS: dict[str, set[str]] = defaultdict(set)
for _name, _found in GRAPH.items():
    ROOMS[room(_name)] |= {room(held) for held in _found} - {room(_name)}


@pytest.mark.parametrize("graph", [GRAPH, ROOMS], ids=["modules", "rooms"])
def test_there_is_no_circle(graph):
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_every_import_of_the_package_exists():
    assert {item for found in GRAPH.values() for item in found} <= set(FILES) | {"pipeline"}


def test_families_import_the_machinery_and_nothing_imports_a_family():
    families = {f"targets/{name}" for name in targets.families()}
    assert families
    assert {name: found & families for name, found in ROOMS.items() if found & families} == {}


@pytest.mark.parametrize(
    ("of", "by"),
    [
        ("cli", {"__main__"}),
        ("api", {"pipeline"}),
        ("report", {"cli", "build", "shrink"}),
        ("build", {"api", "cli", "bench", "comparison", "shrink"}),
        ("shrink", {"cli"}),
        ("bench", {"cli", "shrink"}),
        ("comparison", {"api", "cli", "bench"}),
    ],
)
def test_only_these_folders_import(of, by):
    assert {name for name, found in ROOMS.items() if of in found} <= by


def test_the_lowest_folders_import_nothing_above_them():
    assert ROOMS["support"] == set()
    assert ROOMS["contract"] | ROOMS["network"] <= {"support", "contract", "graph"}
    assert ROOMS["graph"] == {"support"}
    assert ROOMS["flicker"] <= {"support"}
    assert ROOMS["report"] <= {"support", "targets", "validation"}


def test_few_modules_lie_at_the_top():
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_the_folders_are_in_the_docs_from_the_top_down():
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `pipeline/")]
    place = {
        name: number for number, row in enumerate(rows) for name in re.findall(r"`pipeline/([\w/<>.]+?)/?`", row)
    }

    def level(name: str) -> int | None:
        return place.get("targets/<family>" if name.startswith("targets/") else f"{name}.py", place.get(name))

    for name, found in ROOMS.items():
        for item in found:
            if None not in (level(name), level(item)):
                assert level(name) <= level(item), (
                    f"{name} imports {item}, which docs/architecture.md puts above it"
                )
    data = {"contract", "network"}
    assert {room for room in ROOMS if "/" not in room} - set(place) <= {"pipeline", "__main__", "api", *data}


@pytest.mark.parametrize("first", ["quantisation.rewrite", "rewrites.base", "compress.files"])
def test_either_of_two_folders_that_need_each_other_can_be_imported_first(first):
    command = [sys.executable, "-c", f"import pipeline.{first}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
