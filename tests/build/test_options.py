"""An option is declared once: the command line, pipeline.toml, the docs and the types follow."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.build import keywords, pages
from pipeline.build.config import keys
from pipeline.build.options import KINDS, BuildOptions, all_options, converted, option, options_of
from pipeline.cli.options import _click_option
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("command", ["build-unity", "convert"])
def test_the_command_line_has_each_option_of_its_command(command):
    result = import_module(f"pipeline.cli.{command.replace('-', '_')}").command
    flags = {flag for parameter in result.params for flag in parameter.opts}
    own = {"--output", "--explain"} if command == "convert" else set()
    shared = {"--verbose", "--quiet", "--json", "--help"}
    declared = {option.flag for option in all_options() if command in option.declaration.commands}
    assert {flag for flag in flags if flag.startswith("--")} - own - shared == declared


def test_pipeline_toml_has_the_options_that_may_stand_there():
    assert set(keys("build-unity")) < set(keys("models"))
    assert set(keys("models")) - set(keys("build-unity")) == {"name"}
    assert "force" not in keys("models") and "min-psnr" in keys("build-unity")


def test_the_docs_and_the_types_are_made_from_the_declarations():
    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert pages.with_table(page) == page and "`min-psnr`" in page
    assert Path(keywords.__file__).read_text(encoding="utf-8") == pages.keywords()


def test_values_become_what_their_option_is():
    result = BuildOptions.of(
        size="64x48", picture="a.png", skip=["pools"], calibrate="b.png", tolerance=1, name=None
    )
    assert result == BuildOptions(
        size=Size(64, 48), picture=Path("a.png"), skip=("pools",), calibrate=(Path("b.png"),), tolerance=1.0
    )


@pytest.mark.parametrize("value", [True, "1", None.__class__, [1]])
def test_a_value_of_another_type_is_an_error(value):
    with pytest.raises(PipelineError, match="tolerance"):
        BuildOptions.of(tolerance=value)


def test_a_size_is_read_rounded_and_written():
    size = Size.parse(" 960X540 ")
    assert (size, str(size), size.hw) == (Size(960, 540), "960x540", (540, 960))
    assert Size(961, 3).rounded(4) == Size(960, 4)
    assert Size.of_hw((540, 960)) == size
    for wrong in ("960", "x", "-3x4", "3x4x5", "1e3x4", ""):
        with pytest.raises(PipelineError) as caught:
            Size.parse(wrong)
        assert caught.value.code == "bad-size"


MADE_UP = {str: "a", int: 3, float: 0.5, bool: True, Path: Path("a"), Size: Size(8, 16)}


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_can_have_each_kind(kind):
    fields = [("one", kind, option(None, "one")), ("many", tuple[kind, ...], option((), "several"))]
    result = dataclasses.make_dataclass("MadeUp", fields[:1] if kind is bool else fields)
    value, declared, got = MADE_UP[kind], options_of(result), {}
    expected = {"one": value, "many": (value, value)} if kind is not bool else {"one": value}
    assert converted(result, expected) == expected

    def command(**given):
        got.update(given)

    for item in declared:
        command = _click_option(item)(command)
    words = ["--one", str(value), "--many", str(value), "--many", str(value)] if kind is not bool else ["--one"]
    done = CliRunner().invoke(click.command()(command), words)
    assert done.exit_code == 0, done.output
    assert converted(result, got) == expected


def test_an_option_of_another_kind_says_so_at_once():
    result = dataclasses.make_dataclass("MadeUp", [("one", complex, option(1j, "one"))])
    with pytest.raises(TypeError, match=r"MadeUp\.one cannot be .*complex.*KINDS"):
        options_of(result)
