from __future__ import annotations

import json

import pytest

from pipeline.build.config import load_jobs
from pipeline.build.port import port
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json, from_toml
from pipeline.unity.manifest import read_manifest
from pipeline.validation.waivers import load_settings

DEEP = 100_000


@pytest.mark.parametrize("text", ["", "{", "[" * DEEP, '{"a":' * DEEP, "1" * 5000, b"\xff\xfe\xfd"])
def test_whatever_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        from_json(text)


@pytest.mark.parametrize("text", ["a", "a = " + "[" * DEEP, "a = 1\na = 2", "a." * DEEP + "a = 1"])
def test_whatever_is_no_toml_is_a_value_error(text):
    with pytest.raises(ValueError):
        from_toml(text)


def test_a_manifest_that_is_nested_too_deep_lists_nothing():
    assert read_manifest(b'{"files":' + b"[" * DEEP) == {}


def test_a_pipeline_toml_that_is_nested_too_deep_is_refused(tmp_path):
    path = tmp_path / "pipeline.toml"
    path.write_text("a = " + "[" * DEEP)
    for read in (lambda: load_jobs(path, {}), lambda: load_settings(path)):
        with pytest.raises(PipelineError, match="nested too deep") as raised:
            read()
        assert raised.value.code == "bad-config"


@pytest.mark.parametrize("content", [None, b"#" * ((1 << 20) + 1), b"a = \xff"])
def test_a_pipeline_toml_that_is_a_folder_or_too_large_or_not_text_is_refused(tmp_path, content):
    path = tmp_path / "pipeline.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    for read in (lambda: load_jobs(path, {}), lambda: load_settings(path)):
        with pytest.raises(PipelineError, match="bad-config"):
            read()


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"model": {"width": float("inf"), "height": 64}},
        {"model": {"width": 64, "height": -5}},
        {"arranged": [1]},
        {"arranged": {"done": 5}},
        {"packed": "int8"},
        {"source": "a"},
    ],
)
def test_a_damaged_style_is_refused_before_it_is_ported(tmp_path, report):
    whole = {
        "target": {"name": "barracuda-3.0"},
        "model": {"width": 64, "height": 64},
        "source": {"digest": "a"},
    }
    style = tmp_path / "StyleTransfer" / "Models" / "A"
    style.mkdir(parents=True)
    (style / "report.json").write_text(json.dumps(whole | report))
    (style / "A.onnx").write_bytes(b"not a model")
    with pytest.raises(PipelineError) as raised:
        port(tmp_path, "inference-2")
    assert raised.value.code == ("bundle-broken" if report else "damaged-file")
