"""Starting and validating stay light: what they import is part of what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

HEAVY = ("torch", "onnxruntime", "onnxsim", "h5py", "jinja2", "PIL")


def imported_by(*arguments: str) -> set[str]:
    """The top-level modules that `pipeline <arguments>` has imported when it ends."""
    code = (
        "import sys, atexit\n"
        "loaded = lambda: sorted({m.split('.')[0] for m in sys.modules})\n"
        "atexit.register(lambda: print(' '.join(loaded()), file=sys.stderr))\n"
        f"sys.argv = ['pipeline', *{list(arguments)!r}]\n"
        "from pipeline.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return set(done.stderr.strip().splitlines()[-1].split())


@pytest.fixture
def relu(tmp_path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    path = tmp_path / "relu.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)]), path)
    return path


def test_help_imports_click_and_nothing_else_of_weight():
    modules = imported_by("--help")
    assert "click" in modules
    assert not modules & {*HEAVY, "onnx", "numpy", "rich", "hashlib", "json", "secrets"}


def test_validating_never_imports_torch(relu):
    modules = imported_by("validate", str(relu), "--target", "barracuda-1.0", "--target", "barracuda-3.0")
    assert "onnx" in modules
    assert not modules & {"torch", "onnxruntime", "onnxsim", "h5py"}


def test_a_cached_build_imports_no_engine(relu, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    build = (
        "build-unity",
        str(relu),
        "--input-range",
        "0..1",
        "--output-range",
        "0..1",
        "-o",
        str(tmp_path / "out"),
    )
    assert "onnxruntime" in imported_by(*build)
    # jinja2 is: the files of the bundle are made from our templates each time (pipeline/build/parts.py)
    assert not imported_by(*build) & ({*HEAVY, "onnx", "numpy"} - {"jinja2"})
