from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from pipeline.build.config import load_jobs
from pipeline.build.job import _cache_key
from pipeline.build.options import BuildOptions
from pipeline.support.errors import PipelineError
from tests.rewrites import model, node, random


@pytest.fixture
def network(tmp_path):
    nodes = [
        node("Pad", "x p", "a", mode="reflect"),
        node("Conv", "a w", "b"),
        node("HardSwish", "b", "y"),
    ]
    constants = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": random((3, 3, 3, 3), scale=0.1)}
    path = tmp_path / "net.onnx"
    source = model(nodes, constants, opset=14, input_shape=(1, 3, "h", "w"))
    source.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, [1, 3, "oh", "ow"]))
    onnx.save(source, path)
    return path


def test_explain_shows_operators_before_and_after_and_every_edit(pipeline, network):
    done = pipeline("convert", network, "--explain")
    assert done.code == 0
    rows = [line.split() for line in done.err.splitlines()]
    assert ["HardSwish", "1", "-"] in rows
    assert ["HardSigmoid", "-", "1"] in rows
    assert ["activations"] in rows
    assert "HardSwish composed of simpler operators: barracuda-3.0 does not have it" in done.err
    assert done.out.strip().endswith("net.barracuda-3.0.onnx")
    assert "operator " not in pipeline("convert", network, "--force").err


def test_explain_is_shown_too_when_the_target_refuses_the_result(pipeline, network):
    done = pipeline("convert", network, "--explain", "--skip", "activations")
    assert done.code == 1
    assert ["HardSwish", "1", "1"] in [line.split() for line in done.err.splitlines()]
    assert "target-refuses" in done.err


def test_an_unknown_rewrite_cannot_be_skipped(pipeline, network):
    done = pipeline("convert", network, "--skip", "activation")
    assert done.code == 2
    assert "unknown-rewrite" in done.err
    assert "activations" in done.err


def test_check_compares_each_rewrite_and_says_so_in_the_result(pipeline, network):
    done = pipeline("convert", network, "--check", "--explain", "--json")
    checks = json.loads(done.out)["checks"]
    assert {check["rewrite"] for check in checks} >= {"activations"}
    assert {check["outcome"] for check in checks} == {"same"}
    assert "none changed the result" in done.err
    assert "checks" not in json.loads(pipeline("convert", network, "--json", "--force").out)


def test_a_skipped_rewrite_makes_another_build(network):
    options = BuildOptions()
    keys = {
        _cache_key(network, held, "Net")
        for held in (options, replace(options, skip=("activations",)), replace(options, check=True))
    }
    assert len(keys) == 3


def test_both_can_stand_in_pipeline_toml(tmp_path):
    path = tmp_path / "pipeline.toml"
    path.write_text('[build-unity]\nskip = ["pools"]\ncheck = true\n[[models]]\nsource = "a.onnx"\n')
    options = BuildOptions.of(**load_jobs(path, {})[0].options)
    assert (options.skip, options.check) == (("pools",), True)
    for wrong in ('skip = "pools"', "skip = [1]", "check = 1", "tolerance = true"):
        path.write_text(f'[build-unity]\n{wrong}\n[[models]]\nsource = "a.onnx"\n')
        with pytest.raises(PipelineError) as caught:
            load_jobs(path, {})
        assert caught.value.code == "bad-config"
