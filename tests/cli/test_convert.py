from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline.build import cache
from pipeline.build.config import load_jobs
from pipeline.build.job import _cache_key
from pipeline.build.options import BuildOptions
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint
from tests.rewrites import model, node, random

DECLARED = ("--input-range", "0..1", "--output-range", "0..1")


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
    assert "HardSwish composed of simpler operators: barracuda-3.0 has no operator HardSwish" in done.err
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
        _cache_key(network, item, "Net")
        for item in (options, replace(options, skip=("activations",)), replace(options, check=True))
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


def test_the_same_conversion_is_taken_from_the_cache(pipeline, network, monkeypatch):
    first = pipeline("convert", network, "-o", "a.onnx", "--json")
    monkeypatch.setattr("pipeline.build.prove.make", lambda *_, **__: pytest.fail("it is converted again"))
    again = pipeline("convert", network, "-o", "b.onnx", "--json")
    assert again.code == 0, again.err
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    report = [json.loads(done.out) for done in (first, again)]
    assert [item.pop("cached") for item in report] == [False, True]
    assert [Path(item.pop("bundle")).name for item in report] == ["a.onnx", "b.onnx"]
    assert report[0] == report[1]
    for option in ("--no-cache", ("--target", "barracuda-1.0"), ("--size", "64x48")):
        with pytest.raises(pytest.fail.Exception):
            pipeline("convert", network, "-o", "c.onnx", *([option] if isinstance(option, str) else option))


def test_a_changed_entry_of_the_cache_is_none(pipeline, network):
    assert pipeline("convert", network, "-o", "a.onnx").code == 0
    (entry,) = cache.folder().glob("*.zip")
    members, report = cache.load(entry.stem)
    cache.store(entry.stem, {"model": members["model"] + b"x"}, report)
    done = pipeline("convert", network, "-o", "b.onnx")
    assert done.code == 0 and Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()


def test_what_cannot_be_written_or_read_is_reported_before_the_work(pipeline, network, tmp_path):
    Path("words.png").write_text("no picture")
    (tmp_path / "other.onnx").write_bytes(network.read_bytes())
    assert pipeline("convert", network, "-o", "made.onnx").code == 0
    other = tmp_path / "other.onnx"
    stored = onnx.load(other)
    stored.producer_version = "2"
    onnx.save(stored, other)
    for arguments, code in (
        ((network, "-o", "words.png"), "file-exists"),
        ((other, "-o", "made.onnx"), "file-exists"),
        ((network, "-o", "made.onnx", "--size", "64x48"), "file-exists"),
        ((network, "-o", "made.onnx", "--no-cache"), "file-exists"),
        ((network, "-o", "words.png/net.onnx"), "destination-not-writable"),
        ((network, "--picture", "nothing.png"), "file-not-found"),
        ((network, "--picture", "words.png"), "bad-picture"),
        ((network, "--original", "nothing.pth"), "file-not-found"),
    ):
        done = pipeline("convert", *arguments)
        assert done.code == 2 and f"[{code}]" in done.err, done.err
        assert "  read" not in done.err
    again = pipeline("convert", network, "-o", "made.onnx")
    assert again.code == 0 and "identical" in again.err
    Path("made.onnx").write_bytes(b"mine")
    assert pipeline("convert", network, "-o", "made.onnx").code == 2
    assert pipeline("convert", network, "-o", "made.onnx", "--force").code == 0


def test_a_size_that_the_network_cannot_have_is_told(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    done = pipeline("convert", source, "--size", "65x47")
    assert "64x48 instead of 65x47: width and height must be multiples of 4" in done.err
    assert "instead of" not in pipeline("convert", source, "--size", "64x48", "--force").err


def test_colour_with_depth_is_converted_and_compared(pipeline, tmp_path):
    source = model([node("Conv", "x w", "y")], {"w": random((3, 4, 3, 3))}, opset=12, input_shape=(1, 4, "h", "w"))
    onnx.save(source, tmp_path / "rgbd.onnx")
    assert pipeline("convert", tmp_path / "rgbd.onnx", "-o", "made.onnx").code == 0
    ranges = ("--input-range", "0..1", "--output-range", "0..1")
    assert pipeline("compare", "made.onnx", tmp_path / "rgbd.onnx", *ranges).code == 0
    refused = pipeline("build-unity", tmp_path / "rgbd.onnx", *ranges)
    assert refused.code == 2 and "[auxiliary-inputs]" in refused.err and "4 channels" in refused.err


def test_a_file_that_only_the_target_reads_says_so(pipeline, tmp_path):
    """Clip with its bounds as inputs is written with attributes, which no opset beside it has."""
    pads = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": random((3, 3, 3, 3), scale=0.1)}
    nodes = [node("Pad", "x p", "a", mode="reflect"), node("Conv", "a w", "b"), node("Softplus", "b", "y")]
    onnx.save(model(nodes, pads, opset=14, input_shape=(1, 3, "h", "w")), tmp_path / "net.onnx")
    reported = {}
    for target in ("barracuda-3.0", "inference-2"):
        done = pipeline("convert", tmp_path / "net.onnx", "-o", f"{target}.onnx", "--target", target)
        assert done.code == 0, done.err
        form = {entry.key: entry.value for entry in onnx.load(f"{target}.onnx").metadata_props}.get("form", "")
        try:
            onnx.checker.check_model(onnx.load(f"{target}.onnx"))
            reported[target] = "right"
            assert not form and "pipeline compare" not in done.err
        except onnx.checker.ValidationError:
            reported[target] = "dialect"
            assert "pipeline compare" in form and "pipeline compare" in done.err
    assert reported["inference-2"] == "right"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.targets.barracuda.family._is_valid", lambda model: False)
        done = pipeline("convert", tmp_path / "net.onnx", "-o", "forced.onnx", "--no-cache")
    assert "ONNX Runtime and other tools may refuse it" in done.err
    done = pipeline("compare", tmp_path / "net.onnx", "forced.onnx", "--target", "barracuda-3.0", *DECLARED)
    assert done.code == 0, done.err
