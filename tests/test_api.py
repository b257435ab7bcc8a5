"""What Python calls: names, keywords and their types, and errors in Python's words."""

from __future__ import annotations

import inspect
import typing

import pytest

import pipeline
from pipeline.api import python_words
from pipeline.build import keywords
from pipeline.build.options import BuildOptions, all_options, source_options
from tests.networks import style_onnx


def test_dir_tells_the_public_names():
    assert {"build_unity", "convert", "validate", "compare", "inspect", "ProofFailed", "Size"} <= set(
        dir(pipeline)
    )
    for name in dir(pipeline):
        assert getattr(pipeline, name) is not None


@pytest.mark.parametrize(
    ("name", "command", "held"),
    [
        ("build_unity", "build-unity", keywords.BuildKeywords),
        ("convert", "convert", keywords.ConvertKeywords),
    ],
)
def test_every_option_of_a_command_is_a_keyword_that_help_explains(name, command, held):
    function = getattr(pipeline, name)
    known = {option.name for option in all_options() if command in option.declaration.commands}
    assert known <= set(inspect.signature(function).parameters)
    assert known == set(typing.get_type_hints(held))
    assert all(f"    {option}: " in function.__doc__ for option in known)


def test_text_for_paths_and_sizes_is_taken_and_the_bundle_is_there(tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    result = pipeline.build_unity(
        str(source),
        input_range="0..255",
        output_range="0..255",
        size="96x64",
        output=str(tmp_path / "out"),
        use_cache=False,
    )
    assert result.bundle == tmp_path / "out" / "StyleTransfer" / "Models" / "Net"
    assert (result.report["model"]["width"], result.report["model"]["height"]) == (96, 64)
    found = pipeline.validate(result.bundle / "Net.onnx", targets="barracuda-3.0")
    assert found.exit_code == 0
    with_itself = pipeline.compare(source, source, input_range="0..255", output_range="0..255", size="64x48")
    assert with_itself.passed
    assert pipeline.inspect(source)["format"]


def test_options_may_be_given_whole_and_changed():
    from pipeline.build.options import split

    options, to = split(BuildOptions(tolerance=2.0), {"size": (64, 48), "force": True, "picture": None})
    assert (options.tolerance, options.size, to.force) == (2.0, pipeline.Size(64, 48), True)


@pytest.mark.parametrize("name", ["compare", "inspect"])
def test_what_reads_a_model_has_the_options_of_reading(name, tmp_path):
    function = getattr(pipeline, name)
    known = {item.name for item in source_options()}
    assert known == set(typing.get_type_hints(keywords.ReadKeywords))
    assert known <= set(inspect.signature(function).parameters)
    assert all(f"    {option}: " in function.__doc__ for option in known)
    source = style_onnx(tmp_path / "net.onnx")
    given = (source, source) if name == "compare" else (source,)
    with pytest.raises(pipeline.PipelineError, match=r"unknown-option.*input_range"):
        function(*given, inputrange="0..1")
    with pytest.raises(pipeline.PipelineError) as caught:
        function(*given, prefix="net_ema")
    assert "prefix" in str(caught.value) and "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "code", "named"),
    [
        ({"sise": "3x4"}, "unknown-option", "Did you mean size?"),
        ({"size": "big"}, "bad-size", "size: 'big'"),
        ({"size": "3x4"}, "bad-size", "size: 3x4"),
        ({"tolerance": "much"}, "bad-option", "tolerance: 'much' is not a number"),
        ({"check": "yes"}, "bad-option", "check: 'yes' is not True or False"),
        ({"weights": "int3"}, "bad-weights", "weights: "),
        ({}, "contract-missing", "input_range and output_range"),
    ],
)
def test_errors_speak_of_keywords(tmp_path, chosen, code, named):
    with pytest.raises(pipeline.PipelineError) as caught:
        pipeline.build_unity(style_onnx(tmp_path / "net.onnx"), output=tmp_path / "out", **chosen)
    assert caught.value.code == code
    assert named in str(caught.value) and "--" not in str(caught.value)


def test_options_in_sentences_become_keywords():
    assert python_words("Use --size 960x540, or --force.") == 'Use size="960x540", or force=True.'
    assert python_words("--tolerance 2.15 would have passed.") == "tolerance=2.15 would have passed."
    assert python_words("Choose one: --prefix net_ema.") == 'Choose one: prefix="net_ema".'
    assert python_words("--architecture fritz-small, say") == 'architecture="fritz-small", say'
    assert python_words("Omit --size; --no-cache") == "Omit size; use_cache=False"


def test_an_unknown_target_is_an_error_here_too(tmp_path):
    with pytest.raises(pipeline.PipelineError) as caught:
        pipeline.compare(
            style_onnx(tmp_path / "a.onnx"), style_onnx(tmp_path / "b.onnx"), target="barracuda-9.9", size="64x48"
        )
    assert caught.value.code == "unknown-target"
