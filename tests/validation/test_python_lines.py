"""Findings name the line of Python that created a node."""

from __future__ import annotations

import onnx
import pytest

from pipeline.validation.python_lines import STACK_TRACE, PythonLine, python_line

DYNAMO = """File "/home/u/net.py", line 40, in forward
    return self.tail(self.body(x))
  File "/home/u/blocks.py", line 6, in forward
    x=s.c(x)
  File "/env/lib/python3.11/site-packages/torch/nn/modules/conv.py", line 565, in forward
    return self._conv_forward(input, self.weight, self.bias)"""
LEGACY = """/env/lib/python3.11/site-packages/torch/nn/functional.py(2490): hardswish
/home/u/blocks.py(7): forward
/env/lib/python3.11/site-packages/torch/nn/modules/module.py(1768): _slow_forward
/home/u/net.py(41): forward
/home/u/export.py(3): <module>
"""
OLD_WINDOWS = """C:\\py3env\\lib\\site-packages\\torch\\nn\\functional.py(2685): pad
C:\\work\\style\\net.py(111): forward
C:\\py3env\\lib\\site-packages\\torch\\nn\\modules\\module.py(477): _slow_forward
"""


def node(trace: str = "", doc: str = "") -> onnx.NodeProto:
    new_node = onnx.NodeProto(op_type="Conv", doc_string=doc)
    if trace:
        new_node.metadata_props.add(key="pkg.torch.onnx.fx_node", value="%conv2d")
        new_node.metadata_props.add(key=STACK_TRACE, value=trace)
    return new_node


def test_the_dynamo_exporter_keeps_a_traceback():
    line = python_line(node(DYNAMO))
    assert line == PythonLine("/home/u/blocks.py", 6, "forward", "x=s.c(x)")
    assert str(line) == "blocks.py:6 in forward: x=s.c(x)"


def test_the_legacy_exporter_keeps_a_call_stack():
    assert python_line(node(doc=LEGACY)) == PythonLine("/home/u/blocks.py", 7, "forward")


def test_paths_of_windows_are_understood():
    line = python_line(node(doc=OLD_WINDOWS))
    assert line is not None and str(line) == "net.py:111 in forward"


def test_a_library_is_named_where_there_is_no_line_of_the_users_own():
    line = python_line(node(doc=LEGACY.splitlines()[0]))
    assert line is not None and str(line) == "functional.py:2490 in hardswish"


@pytest.mark.parametrize("text", ["", "a remark", "f(x): y", 'File "a", line x, in y', "a.py(99999999999): f"])
def test_other_comments_are_not_python_lines(text):
    assert python_line(node(doc=text)) is None
    assert python_line(node(trace=text)) is None


@pytest.mark.parametrize(
    "file", ["/home/u/src/net.py", "C:\\work\\src\\net.py", "src/net.py", "{folder}/src/net.py"]
)
def test_the_file_is_found_again_in_a_checkout(tmp_path, file):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "net.py").write_text("import torch\n\n  y = f(x)\n")
    path = file.format(folder=tmp_path)
    assert PythonLine(path, 3, "forward", "y = f(x)").below(tmp_path) == "src/net.py"
    assert PythonLine(path, 3).below(tmp_path) == "src/net.py"


def test_a_file_that_has_changed_is_not_taken_for_it(tmp_path):
    (tmp_path / "net.py").write_text("one\ntwo\n")
    assert PythonLine("/home/u/net.py", 2, "forward", "three").below(tmp_path) is None
    assert PythonLine("/home/u/net.py", 9).below(tmp_path) is None
    assert PythonLine("/home/u/other.py", 1).below(tmp_path) is None


def test_nothing_outside_the_folder_is_looked_at(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.py").write_text("one\n")
    assert PythonLine("../secret.py", 1).below(tmp_path / "inside") is None
    assert PythonLine(str(tmp_path / "secret.py"), 1).below(tmp_path / "inside") is None


def test_what_torch_itself_writes_is_understood(tmp_path):
    """The legacy exporter of the torch that is installed, with verbose=True."""
    import inspect
    import warnings

    import torch

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x)

    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Net().eval(), (torch.zeros(1, 3, 8, 8),), str(path), dynamo=False, verbose=True)
    (relu,) = onnx.load(path).graph.node
    line = python_line(relu)
    first = inspect.getsourcelines(Net.forward)[1]
    assert line is not None and (line.file, line.line, line.function) == (__file__, first + 1, "forward")
