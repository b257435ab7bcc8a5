"""A build's options come back through the command line as they were."""

from __future__ import annotations

import pytest

from pipeline.build.options import BuildOptions, options_of
from pipeline.build.rebuild import rebuild_arguments
from pipeline.cli.build_unity import command
from pipeline.support.size import Size


def through_the_command_line(words: list[str]) -> BuildOptions:
    """What build-unity makes of these words, before it does anything with them."""
    context = command.make_context("build-unity", ["net.onnx", *words])
    known = {option.name for option in options_of(BuildOptions)}
    given = {name: value for name, value in context.params.items() if name in known and value not in (None, ())}
    return BuildOptions.of(**given)


def test_defaults_say_nothing():
    assert rebuild_arguments(BuildOptions()) == []


@pytest.mark.parametrize(
    "options",
    [
        BuildOptions(input_range="0..255", output_range="-1..1", channel_order="bgr"),
        BuildOptions(size=Size(1280, 720), tolerance=0.25, architecture="my nets:Generator"),
        BuildOptions(skip=("padding", "resize"), check=True),
    ],
)
def test_what_was_chosen_is_chosen_again(options):
    assert through_the_command_line(rebuild_arguments(options)) == options


def test_what_belongs_to_one_machine_is_not_told(tmp_path):
    assert rebuild_arguments(BuildOptions(target="barracuda-1.0", name="Other", picture=tmp_path)) == []
