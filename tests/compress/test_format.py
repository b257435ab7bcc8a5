"""docs/packed-format.md says all that a reader needs: one written from it alone rebuilds real models."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.compress import independent
from tests.compress.packs import mixed


def test_the_independent_reader_uses_nothing_of_the_pipeline():
    tree = ast.parse(Path(independent.__file__).read_text())
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported == {"struct", "zlib", "fractions"}


def test_it_rebuilds_every_kind_of_number():
    for seed in range(3):
        model, packed = mixed(seed)
        assert independent.read(packed) == model


def test_it_rebuilds_a_network(packed_network):
    assert independent.read(packed_network.packed) == packed_network.model
