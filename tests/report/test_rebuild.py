"""A build's options come back through the command line as they were."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.build.job import BuildOptions
from pipeline.cli.build_unity import command
from pipeline.cli.console import to_build_options
from pipeline.report.rebuild import NOT_TOLD, rebuild_arguments


def through_the_command_line(words: list[str]) -> BuildOptions:
    """What build-unity makes of these words, before it does anything with them."""
    context = command.make_context("build-unity", ["net.onnx", *words])
    known = {field.name for field in dataclasses.fields(BuildOptions)}
    given = {name: value for name, value in context.params.items() if name in known and value}
    return to_build_options(given)


def test_defaults_say_nothing():
    assert rebuild_arguments(BuildOptions()) == []


@pytest.mark.parametrize(
    "options",
    [
        BuildOptions(input_range="0..255", output_range="-1..1", channel_order="bgr"),
        BuildOptions(size=(1280, 720), tolerance=0.25, architecture="my nets:Generator"),
        BuildOptions(skip=("padding", "resize"), check=True),
    ],
)
def test_what_was_chosen_is_chosen_again(options):
    assert through_the_command_line(rebuild_arguments(options)) == options


def test_every_option_is_one_of_the_command_line():
    known = {name for parameter in command.params for name in parameter.opts}
    for field in dataclasses.fields(BuildOptions):
        assert field.name in NOT_TOLD or f"--{field.name.replace('_', '-')}" in known


def test_what_belongs_to_one_machine_is_not_told(tmp_path):
    assert rebuild_arguments(BuildOptions(target="barracuda-1.0", name="Other", picture=tmp_path)) == []
