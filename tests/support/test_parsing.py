from __future__ import annotations

import pytest

from pipeline.build.config import load_jobs
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json, from_toml
from pipeline.unity.manifest import read_manifest
from pipeline.validation.waivers import load_settings

DEEP = 100_000


@pytest.mark.parametrize("text", ["", "{", "[" * DEEP, '{"a":' * DEEP, "1" * 5000, b"\xff\xfe\xfd"])
def test_whatever_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        from_json(text)


@pytest.mark.parametrize("text", ["a", "a = " + "[" * DEEP, "a = 1\na = 2"])
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
