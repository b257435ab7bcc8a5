"""No family is named outside its folder, in code or in messages. Docstrings may cite sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from pipeline import targets
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "pipeline"
OUTSIDE = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[:1] != ("targets",)
    or path.relative_to(PACKAGE).parts[1] not in targets.families()
)
MEANT = {
    "targets/__init__.py": {targets.DEFAULT},
    "sources/triage.py": {"barracuda", "sentis"},
    "unity/measurements.py": {"barracuda"},
}
"""The one default; files of Unity's packages that are recognised when they are given as a source; and a column of
the benchmark's tables from before there was another engine."""


def words() -> re.Pattern[str]:
    """What names a family: its targets, package, engine and title, but for titles that are common words."""
    found = {name.rpartition("-")[0] for name in targets.names()} | set(targets.names())
    found |= {targets.get(name).package for name in targets.names()}
    for name in targets.families():
        family = targets.family_of(name)
        found |= {family.engine, family.title, name}
    found = {word.lower() for word in found} - {"compute", "inference", ""}
    return re.compile("|".join(re.escape(word) for word in sorted(found, key=len, reverse=True)))


def told(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Names and texts of a module, without docstrings (of attributes too) and examples in help."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.ImportFrom, ast.Import)):
            yield node.lineno, " ".join([getattr(node, "module", None) or "", *(item.name for item in node.names)])


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_family_is_named_outside_its_folder(path):
    meant = MEANT.get(path.relative_to(PACKAGE).as_posix(), set())
    named = [
        f"{path.name}:{line}: {text[:100]}"
        for line, text in told(ast.parse(path.read_text(encoding="utf-8")))
        if set(words().findall(text.lower())) - meant
    ]
    assert named == []
