"""Architectures x exporters x targets: nothing left to find, the same numbers at two sizes.

A sample of the rows of benchmarks/exporters.py, which runs all of them.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from benchmarks import as_exported, exporters
from benchmarks.architectures import ARCHITECTURES, network
from pipeline import targets
from pipeline.graph import OPSET
from tests.conftest import REPOSITORY

OPSETS = (9, 13, 18)
"""Of torch's TorchScript exporter: the dialect itself, the first with axes as inputs, the last for Reduce."""
LEFT_OUT = ("torch dynamo, opset 20", "torch dynamo, opset 23")
OTHERS = tuple(
    name for name in exporters.EXPORTERS if not name.startswith("torch, opset") and name not in LEFT_OUT
)
STYLE = "plain style network"


def rows() -> list[tuple[str, str, str]]:
    """Every architecture from three opsets and one other exporter, each for one target: another each time."""
    names = [target for group in exporters.GROUPS.values() for target in group]
    found = []
    for at, name in enumerate(ARCHITECTURES):
        for number, opset in enumerate(OPSETS):
            found.append((name, f"torch, opset {opset}", names[(at + number) % len(names)]))
        found.append((name, OTHERS[at % len(OTHERS)], names[(at + 3) % len(names)]))
    return found


@pytest.mark.parametrize(("name", "exporter", "target"), rows())
def test_a_network_from_any_exporter_is_computed_right(name, exporter, target):
    outcome = exporters.judge(name, exporter, target)
    if outcome is None:
        assert "0.4" in exporter or "channels last" in exporter
        return
    assert not outcome.problem
    assert outcome.off <= exporters.TOLERANCE


def written(graph: gs.Graph, constants: bool) -> str:
    """Every node's operator, attributes and constants; without the names, which exporters choose, and without
    attributes that have the operator's default, which some exporters write and some leave out."""
    stored = [
        (node.op, _attributes(node), [_fact(tensor, constants) for tensor in node.inputs]) for node in graph.nodes
    ]
    return repr(stored)


def _attributes(made: gs.Node) -> list[tuple[str, object]]:
    known = onnx.defs.get_schema(made.op, OPSET).attributes
    defaults = {
        name: onnx.helper.get_attribute_value(item.default_value)
        for name, item in known.items()
        if item.default_value.type
    }
    as_text = {name: value.decode() if isinstance(value, bytes) else value for name, value in defaults.items()}
    return sorted((name, value) for name, value in made.attrs.items() if as_text.get(name) != value)


def _fact(tensor: gs.Tensor, constants: bool) -> object:
    if not isinstance(tensor, gs.Constant):
        return None
    return tensor.values.tobytes() if constants else tensor.values.shape


@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_the_plain_style_network_is_small_and_the_same_graph_from_every_exporter(target):
    names = [f"torch, opset {opset}" for opset in (9, 11, 13, 17, 18)]
    names += OTHERS if target == targets.DEFAULT else ("PyTorch 0.4", "tf2onnx, channels last")
    graphs = {name: exporters.lowered(exporters.EXPORTERS[name](STYLE), target)[0] for name in names}
    assert len(graphs[names[0]].nodes) <= 64
    assert len({written(graph, constants=False) for graph in graphs.values()}) == 1
    exact = {written(graph, constants=True) for name, graph in graphs.items() if "float16" not in name}
    assert len(exact) == 1


@pytest.mark.parametrize("name", ["candy_nc16", "mosaic_nc8"])
def test_the_export_of_2018_is_the_same_graph_as_todays_from_the_weights(shared_models, name):
    """PyTorch 0.4 exported these networks in 2018; their weights are exported anew."""
    from pipeline import sources
    from pipeline.build.export import export
    from pipeline.build.lowering import rewrite

    folder = shared_models / "fast_neural_style"
    target = targets.get("barracuda-3.0")
    old = rewrite(sources.read(folder / f"{name}_128x128.onnx").model, None, target).graph
    new = rewrite(export(sources.read(folder / f"{name}.model")), None, target).graph
    assert written(old, constants=True) == written(new, constants=True)
    assert len(old.nodes) <= 64


def test_what_is_not_a_combination_is_distinguished_from_a_wrong_one(monkeypatch):
    monkeypatch.setitem(
        exporters.EXPORTERS, "wrong", lambda name: onnx.helper.make_model(exporters.legacy("U-Net", 9).graph)
    )
    outcome = exporters.judge("U-Net", "wrong", "barracuda-3.0")
    assert outcome.problem == ""
    moved = exporters.legacy("U-Net", 9)
    changed = onnx.ModelProto()
    changed.CopyFrom(moved)
    bias = next(tensor for tensor in changed.graph.initializer if tensor.name == "last.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.1), "last.bias"))
    monkeypatch.setitem(exporters.EXPORTERS, "wrong", lambda name: changed)
    assert exporters.judge("U-Net", "wrong", "barracuda-3.0").problem.startswith("off by")
    monkeypatch.setitem(exporters.EXPORTERS, "wrong", lambda name: None)
    assert exporters.judge("U-Net", "wrong", "barracuda-3.0") is None


def test_the_forms_are_those_of_the_exporters():
    """What makes these rows worth having: each form is really in the file."""
    old = as_exported.pytorch_0_4(exporters.legacy(STYLE, 9))
    assert {item.name for item in old.graph.initializer} < {item.name for item in old.graph.input}
    assert all(item.name.isdigit() for item in old.graph.input)
    (upsample, _) = [node for node in old.graph.node if node.op_type == "Upsample"]
    assert [item.name for item in upsample.attribute] == ["mode", "scales"]
    last = as_exported.channels_last(exporters.legacy("U-Net", 13))
    assert [dim.dim_value for dim in last.graph.input[0].type.tensor_type.shape.dim] == [1, 32, 48, 3]
    assert last.producer_name == "tf2onnx"
    called = as_exported.functions(exporters.dynamo("U-Net", optimize=False))
    assert len(called.functions) == sum(bool(node.domain) for node in called.graph.node) > 10
    half = as_exported.float16(exporters.legacy("U-Net", 13))
    assert half.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


def test_networks_have_distinct_weights_and_are_in_eval_mode():
    model = network("MobileNet")
    assert not model.training
    assert model.state_dict()["1.running_var"].unique().numel() == 3


def test_the_page_has_no_cell_that_went_wrong():
    text = (REPOSITORY / "docs" / "exporters.md").read_text(encoding="utf-8")
    cells = [
        cell.strip()
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| exporter")
        for cell in line.split("|")[2:-1]
    ]
    lines = sum(len(exporters.rows(package)) for package in exporters.GROUPS)
    assert len(cells) == lines * len(ARCHITECTURES)
    assert all(part.strip().isdigit() or part == "-" for cell in cells for part in cell.split("/"))
