"""Every command that opens a model takes the same options of how it is read, and uses them."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from pipeline.build.options import source_options
from pipeline.cli import COMMANDS
from pipeline.sources import ReadOptions
from tests.cli.test_ports import by_number, by_picture
from tests.networks import style_checkpoint

OPENS_NO_MODEL = {"decompress", "explain", "learn", "port", "targets", "train", "validate", "verify-unity"}
"""`validate` holds the file against a target as it is, and `decompress` reads packed files only."""
RANGES = ("--input-range", "0..1", "--output-range", "0..1")
MORE = {
    "bench": ["--size", "64x48", "--runs", "2", "--no-memory"],
    "build-unity": ["-o", "out", "--size", "64x48"],
    "convert": ["--size", "64x48"],
    "compress": ["--weights", "half"],
    "distill": ["--images", "frames", "--student", "fritz:0.3", "--steps", "1"],
    "flicker": ["--size", "64x48", "--count", "2"],
    "prune": ["--goal", "100%", "--criterion", "l1", "--no-refit"],
    "shrink": ["--images", "frames", "--goal", "50%"],
}
OPENS = sorted(set(COMMANDS) - OPENS_NO_MODEL)


def words(command: str, path: Path) -> list[str]:
    """The command on one model, without options of how it is read."""
    models = {"compare": [path, path], "paint": [path, "frames"]}.get(command, [path])
    return [command, *map(str, models), *MORE.get(command, [])]


@pytest.fixture
def frames(pipeline) -> Path:
    place = Path("frames")
    place.mkdir()
    Image.new("RGB", (64, 48), (200, 90, 30)).save(place / "a.png")
    return place


@pytest.mark.parametrize("command", OPENS)
def test_each_command_has_every_option_of_reading(command):
    made = import_module(f"pipeline.cli.{command.replace('-', '_')}").command
    flags = {flag for parameter in made.params for flag in parameter.opts}
    assert {held.flag for held in source_options()} <= flags


def test_what_is_declared_is_what_reading_takes():
    own = {"name", "describe", "where_unknown", "style_input", "as_float"}  # not of a command that only reads
    assert {held.name for held in fields(ReadOptions)} - own == {held.name for held in source_options()}


@pytest.mark.parametrize("command", OPENS)
def test_each_command_refuses_an_output_that_is_not_there(pipeline, frames, tmp_path, command):
    path = by_picture(tmp_path / "two.onnx", outputs=2)
    result = pipeline(*words(command, path), *RANGES, "--take", "nosuch")
    assert result.code == 2
    assert "nosuch" in result.err, result.err


@pytest.mark.parametrize("command", OPENS)
def test_each_command_refuses_an_input_that_is_not_there(pipeline, frames, tmp_path, command):
    result = pipeline(*words(command, by_number(tmp_path / "two.onnx")), *RANGES, "--bind", "nosuch=1")
    assert result.code == 2
    assert "nosuch" in result.err, result.err


@pytest.mark.parametrize("command", OPENS)
def test_each_command_refuses_a_prefix_for_a_graph(pipeline, frames, tmp_path, command):
    result = pipeline(*words(command, by_number(tmp_path / "two.onnx")), *RANGES, "--prefix", "net_ema")
    assert result.code == 2
    assert "--prefix" in result.err, result.err


@pytest.mark.parametrize("command", sorted(set(OPENS) - {"distill", "shrink"}))
def test_each_command_runs_a_network_whose_input_is_bound_and_output_chosen(pipeline, frames, tmp_path, command):
    path = by_picture(tmp_path / "two.onnx", outputs=2)
    Image.new("RGB", (24, 16), (20, 90, 130)).save(tmp_path / "wave.png")
    bound = ("--bind", f"style={tmp_path / 'wave.png'}", "--take", "out0")
    result = pipeline(*words(command, path), *RANGES, *bound)
    assert result.code == 0, result.err


def test_with_two_models_each_takes_what_it_can_have(pipeline, tmp_path):
    path, converted = by_number(tmp_path / "two.onnx"), tmp_path / "one.onnx"
    bound = ("--bind", "style=3")
    assert pipeline("convert", path, *RANGES, *bound, "--size", "64x48", "-o", converted).code == 0
    same = pipeline("compare", path, converted, *RANGES, *bound, "--target", "barracuda-3.0")
    assert same.code == 0, same.err
    checkpoint = style_checkpoint(tmp_path / "known.pth")
    other = pipeline("compare", checkpoint, path, *RANGES, *bound)
    assert other.code == 1, other.err
    none = pipeline("compare", checkpoint, checkpoint, *bound)
    assert none.code == 2
    assert "no .onnx file among these has inputs with that name" in none.err
