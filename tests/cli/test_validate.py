"""pipeline validate, from the outside."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper

from tests.networks import style_onnx


@pytest.fixture
def unsupported(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("HardSwish", ["x"], ["y"], name="act")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    path = tmp_path / "swish.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]), path)
    return path


def test_a_good_model_ends_with_0(pipeline, tmp_path):
    done = pipeline("validate", style_onnx(tmp_path / "net.onnx"))
    assert done.code == 0
    assert "computes right" in done.err


def test_an_unknown_operator_ends_with_1_and_says_what_unity_says(pipeline, unsupported):
    done = pipeline("validate", unsupported)
    assert done.code == 1
    assert "error [unknown-operator] HardSwish act" in done.out
    assert "Unknown type HardSwish encountered while parsing layer" in done.out


def test_json_holds_every_file_and_target(pipeline, tmp_path, unsupported):
    good = style_onnx(tmp_path / "net.onnx")
    targets = ("--target", "barracuda-1.0", "--target", "barracuda-3.0")
    done = pipeline("validate", good, unsupported, *targets, "--json")
    assert done.code == 1
    verdicts = json.loads(done.out)["files"]
    assert [v["target"] for v in verdicts] == ["barracuda-1.0", "barracuda-3.0"] * 2
    assert any(f["code"] == "unknown-operator" for f in verdicts[2]["findings"])


def test_a_folder_stands_for_its_onnx_files(pipeline, tmp_path, unsupported):
    style_onnx(tmp_path / "a.onnx")
    done = pipeline("validate", tmp_path, "--json")
    assert [v["file"] for v in json.loads(done.out)["files"]] == [str(tmp_path / "a.onnx"), str(unsupported)]


def test_fail_on_sets_the_bar(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    assert pipeline("validate", source, "--fail-on", "wrong").code == 0
    assert pipeline("validate", source, "--fail-on", "slow").code == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs-pointer"),
        (b"<!DOCTYPE html><html></html>", "html-page"),
        (b"", "empty-file"),
    ],
)
def test_what_is_no_model_is_named(pipeline, tmp_path, content, code):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    done = pipeline("validate", path)
    assert done.code == 2 and f"[{code}]" in done.err and "Traceback" not in done.err


def test_an_empty_folder_is_an_error(pipeline, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "[nothing-to-validate]" in pipeline("validate", tmp_path / "empty").err
