"""Whoever adds a readable format sees here where else its extension is told, and that the fuzz must know it."""

from __future__ import annotations

import re

import pytest

import pipeline
from pipeline import sources
from pipeline.cli import build_unity
from pipeline.sources.triage import FORMATS, READABLE
from tests.conftest import REPOSITORY
from tests.sources import mutants

TOLD = set(re.findall(r"\.[a-z0-9]+", READABLE))
"""The extensions that people are told."""


def test_people_are_told_an_extension_of_each_format_and_no_other():
    for name, known in FORMATS.items():
        assert TOLD & set(known.extensions), f"READABLE names no extension of {name}"
    assert set().union(*(known.extensions for known in FORMATS.values())) >= TOLD


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(pipeline.build_unity.__doc__, id="pipeline.build_unity"),
        pytest.param(build_unity.command.help, id="build-unity --help"),
        pytest.param(
            "".join(
                f".{found}"
                for found in re.search(
                    r'NetworkExtensions = "([^"]*)"',
                    (REPOSITORY / "unity_templates/Editor/StyleBuild.cs").read_text(encoding="utf-8"),
                )[1].split(",")
            ),
            id="StyleBuild.cs",
        ),
        pytest.param((REPOSITORY / "README.md").read_text(encoding="utf-8"), id="README.md"),
    ],
)
def test_the_extensions_are_told_everywhere(text):
    assert set(re.findall(r"\.[a-z0-9]+", text)) >= TOLD


def test_the_fuzz_damages_files_of_each_format(tmp_path):
    found = set()
    for number, (suffix, content) in enumerate(mutants.seeds(tmp_path).values()):
        file = tmp_path / f"{number}{suffix}"
        file.write_bytes(content)
        found.add(sources.identify(file).name)
    assert found == set(FORMATS)
