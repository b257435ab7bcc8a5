"""Hostile torch.export archives: nothing in them is run, and what is no part of a program is refused."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.sources import read
from tests.sources.attacks import MARK, Evil, Members, Written, evil_torch_file, refused, write

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]


EVIL = evil_torch_file()
EXTRA: dict[str, Written] = {
    "weights of the older layout": [("data/weights/model.pt", EVIL)],
    "constants of the older layout": [("data/constants/model.pt", EVIL)],
    "another case": [("MODELS/MODEL.JSON", b"{}")],
    "another case of the weights": [("data/weights/MODEL_WEIGHTS_CONFIG.JSON", b"{}")],
    "a letter that folds": [("models/\u212aodel.json", b"{}")],
    "a program without extension": [("models/evil_json", b"{}")],
    "a program in a folder": [("models/x/model.json", b"{}")],
    "two programs": [("models/other.json", b"{}")],
    "compiled code": [("data/aotinductor/model/a.so", b"\x7fELF")],
    "compiled wrapper": [("data/aotinductor/model/a.wrapper.cpp", b"")],
    "an opaque object": [("data/constants/opaque_obj_0", pickle.dumps(Evil()))],
    "a custom object": [("data/constants/custom_obj_0", pickle.dumps(Evil()))],
    "executorch": [("data/executorch/model.pte", b"x")],
    "python": [("code/__torch__.py", b"import os")],
    "a pickle at the top": [("data.pkl", pickle.dumps(Evil()))],
    "a folder above": [("../data/weights/weight_0", b"x")],
    "a backslash": [("data\\weights\\weight_0", b"x")],
    "no name": [("", b"x")],
    "a folder": [("models/", b"")],
    "the older file besides": [("serialized_exported_program.json", b"{}")],
}


@pytest.mark.parametrize("extra", EXTRA.values(), ids=EXTRA)
@pytest.mark.parametrize("first", [True, False], ids=["in front", "behind"])
def test_a_member_that_is_not_part_of_the_program_is_refused(
    tmp_path: Path, whole: dict[str, Members], extra: Written, first: bool
) -> None:
    rest = list(whole["pt2"].items())
    refused(write(tmp_path / "a.pt2", extra + rest if first else rest + extra))


@pytest.mark.parametrize("name", ["models/model.json", "data/weights/weight_0", "archive_format"])
@pytest.mark.parametrize("first", [True, False])
def test_a_duplicate_is_refused(tmp_path: Path, whole: dict[str, Members], name: str, first: bool) -> None:
    rest = list(whole["pt2"].items())
    extra = [(name, b"{}")]
    path = write(tmp_path / "a.pt2", extra + rest if first else rest + extra)
    assert refused(path).code == "ambiguous-archive"


def changed(whole: Members, change: Callable[[Any], None]) -> Written:
    program = json.loads(whole["models/model.json"])
    change(program)
    return list({**whole, "models/model.json": json.dumps(program).encode()}.items())


def _everywhere(program: Any, act: Callable[[dict[str, Any]], None]) -> None:
    pending = [program]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            act(value)
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _expressions(text: str) -> Callable[[Any], None]:
    def act(value: dict[str, Any]) -> None:
        if "expr_str" in value:
            value["expr_str"] = text

    return lambda program: _everywhere(program, act)


def _target(text: str) -> Callable[[Any], None]:
    return lambda program: program["graph_module"]["graph"]["nodes"][-1].update(target=text)


def _argument(held: Any) -> Callable[[Any], None]:
    return lambda program: program["graph_module"]["graph"]["nodes"][-1]["inputs"][0].update(arg=held)


CODE = f"__import__('os').system('touch {MARK}')"
PROGRAMS: dict[str, Callable[[Any], None]] = {
    "expression": _expressions(CODE),
    "expression by attribute": _expressions("().__class__.__base__.__subclasses__()"),
    "expression of a symbol's attribute": _expressions("Symbol('s0').func"),
    "expression with text": _expressions(f'Symbol("{CODE}")'),
    "expression by sympify of a text": _expressions(f"Integer('{MARK}')"),
    "lambda": _expressions("(lambda: 1)()"),
    "walrus": _expressions("(s0 := 1)"),
    "giant power": _expressions("9**9**9**9"),
    "open": _expressions(f"open('{MARK}', 'w')"),
    "save": _target("torch.ops.aten.save.default"),
    "from_file": _target("torch.ops.aten.from_file.default"),
    "python": _target("torch.hub.load"),
    "system": _target("torch._utils_internal.os.system"),
    "operator": _target("_operator.attrgetter"),
    "call": _target("_operator.methodcaller"),
    "math": _target("math.__loader__.load_module"),
    "extension": _target("#x:y"),
    "higher order": _target("torch.ops.higher_order.cond"),
    "custom operator": _target("torch.ops.mylib.write.default"),
    "prim": _target("torch.ops.prim.Print.default"),
    "target with a line": _target("torch.ops.aten.relu.default\n"),
    "object": _argument({"as_custom_obj": {"name": "x", "class_fqn": "y"}}),
    "operator by name": _argument({"as_operator": "torch.hub.load"}),
    "subgraph": _argument({"as_graph": {"name": "g", "graph": {}}}),
    "unknown argument": _argument({"as_evil": 1}),
    "name that is code": _argument({"as_tensor": {"name": f"x={CODE}"}}),
}


@pytest.mark.parametrize("change", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_would_run_code_is_refused(
    tmp_path: Path, whole: dict[str, Members], change: Callable[[Any], None]
) -> None:
    refused(write(tmp_path / "a.pt2", changed(whole["pt2"], change)))


def test_text_that_torch_would_run_is_never_run(tmp_path: Path, whole: dict[str, Members]) -> None:
    """Guards, module paths, tree specifications and names of values are program text or imports to torch."""

    def change(program: Any) -> None:
        module = program["graph_module"]
        program["guards_code"] = [CODE]
        program["verifiers"] = [CODE]
        module["metadata"] = {"custom": CODE}
        spec = {"type": "collections.defaultdict", "context": json.dumps([CODE]), "children_spec": []}
        module["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, spec])
        name = f"x\n    {CODE}\n    y"
        old = json.dumps(module).replace('"conv2d"', json.dumps(name))
        program["graph_module"] = json.loads(old)
        for node in program["graph_module"]["graph"]["nodes"]:
            node["metadata"] = {"source_fn_stack": "a,torch.hub", "nn_module_stack": "a,b,os.system"}

    network = read(write(tmp_path / "a.pt2", changed(whole["pt2"], change)))
    assert network.module is not None
    network.module(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("pickled", [True, False])
def test_nested_files_that_run_code_are_refused(tmp_path: Path, whole: dict[str, Members], pickled: bool) -> None:
    members = dict(whole["pt2"])
    config = json.loads(members["data/weights/model_weights_config.json"])
    config["config"]["conv.weight"]["use_pickle"] = True
    members["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    members["data/weights/weight_0"] = pickle.dumps(Evil()) if pickled else EVIL
    assert refused(write(tmp_path / "a.pt2", list(members.items()))).code in ("unsafe-program", "unsafe-pickle")


def test_nested_files_of_contradicting_kinds_are_refused(tmp_path: Path, whole: dict[str, Members]) -> None:
    nested = io.BytesIO()
    torch.save({}, nested)
    with zipfile.ZipFile(nested, "a") as archive:
        archive.writestr("archive/DATA.PKL", pickle.dumps(Evil()))
    members = {**whole["pt2"], "data/sample_inputs/model.pt": nested.getvalue()}
    assert refused(write(tmp_path / "a.pt2", list(members.items()))).code == "ambiguous-archive"


@pytest.mark.parametrize("stride", [0, -1, 1 << 40])
def test_weights_beyond_their_member_are_refused(tmp_path: Path, whole: dict[str, Members], stride: int) -> None:
    members = dict(whole["pt2"])
    config = json.loads(members["data/weights/model_weights_config.json"])
    meta = config["config"]["conv.weight"]["tensor_meta"]
    meta["strides"] = [{"as_int": stride}] * 4
    meta["sizes"] = [{"as_int": 1 << 10}] * 4
    members["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    refused(write(tmp_path / "a.pt2", list(members.items())))


def test_both_older_layouts_are_read_as_the_newest(tmp_path: Path, whole: dict[str, Members]) -> None:
    new = read(write(tmp_path / "a.pt2", list(whole["pt2"].items())))
    assert new.module is not None
    state = {key: value.clone() for key, value in new.module.state_dict().items()}
    picture = torch.rand(1, 3, 16, 24)
    expected = new.module(picture)
    saved = io.BytesIO()
    torch.save(state, saved)
    empty = io.BytesIO()
    torch.save({}, empty)
    members = {k: v for k, v in whole["pt2"].items() if not k.startswith(("data/weights", "data/constants"))}
    middle = {**members, "data/weights/model.pt": saved.getvalue(), "data/constants/model.pt": empty.getvalue()}
    old = {
        "serialized_exported_program.json": whole["pt2"]["models/model.json"],
        "serialized_state_dict.pt": saved.getvalue(),
        "serialized_constants.pt": empty.getvalue(),
        "serialized_example_inputs.pt": b"" or empty.getvalue(),
        "version": b"8.20",
    }
    for layout, root in ((middle, "a/"), (old, "")):
        network = read(write(tmp_path / "a.pt2", list(layout.items()), root))
        assert network.module is not None
        assert torch.equal(network.module(picture), expected)
