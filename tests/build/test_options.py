"""An option is declared once: the command line, pipeline.toml, the docs and the types follow."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from pipeline.build import keywords, pages
from pipeline.build.config import keys
from pipeline.build.options import BuildOptions, all_options
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("command", ["build-unity", "convert"])
def test_the_command_line_has_each_option_of_its_command(command):
    made = import_module(f"pipeline.cli.{command.replace('-', '_')}").command
    flags = {flag for parameter in made.params for flag in parameter.opts}
    own = {"--output", "--explain"} if command == "convert" else set()
    shared = {"--verbose", "--quiet", "--json", "--help"}
    declared = {held.flag for held in all_options() if command in held.told.commands}
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
    made = BuildOptions.of(
        size="64x48", picture="a.png", skip=["pools"], calibrate="b.png", tolerance=1, name=None
    )
    assert made == BuildOptions(
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
