"""Archives that try to run code, write files or read other files when they are opened: nothing happens.

Every file here would leave a mark (a file `was-run` in the current folder) if what it holds were run.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.build.inspection import inspect
from pipeline.sources import read
from pipeline.sources.programs import checked_script
from pipeline.support.errors import PipelineError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]
MARK = "was-run"
REFUSALS = (
    "unsafe-program",
    "unsafe-pickle",
    "ambiguous-archive",
    "damaged-file",
    "truncated-file",
    "zip-bomb",
    "unsupported-format",
    "over-budget",
    "archive",
)


class Evil:
    """Unpickling this leaves the mark."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.system, (f"touch {MARK}",)


def evil_torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save(Evil(), buffer)
    return buffer.getvalue()


Members = dict[str, bytes]
Written = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def whole() -> dict[str, Members]:
    """A small network as .pt2 and TorchScript: members by name."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.conv(x))

    net = Net().eval()
    dim = torch.export.Dim
    shapes = ({2: dim("h", min=8, max=512), 3: dim("w", min=8, max=512)},)
    files = {"pt2": io.BytesIO(), "script": io.BytesIO()}
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 16, 24),), dynamic_shapes=shapes), files["pt2"])
    torch.jit.save(torch.jit.script(net), files["script"])
    held = {}
    for kind, file in files.items():
        with zipfile.ZipFile(file) as archive:
            held[kind] = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    held["script"] = _plainly_named(held["script"])
    return held


def _plainly_named(members: Members) -> Members:
    """The network's class becomes `__torch__.Net`, its convolution `__torch__.Conv`: torch's own names depend on
    what the process scripted before."""
    texts = {name: text.decode() for name, text in members.items() if name.endswith(".py")}
    renamed = {}
    for short, base in (("Net", "Net"), ("Conv", "Conv2d")):
        (name,) = [name for name, text in texts.items() if f"class {base}(Module)" in text]
        module = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
        renamed[f"{module}.{base}"] = f"__torch__.{short}"
    body = "".join(texts.values())
    pickled = members["data.pkl"]
    for old, new in renamed.items():
        body = body.replace(old, new)
        (module, _, name), (new_module, _, new_name) = old.rpartition("."), new.rpartition(".")
        pickled = pickled.replace(f"{module}\n{name}\n".encode(), f"{new_module}\n{new_name}\n".encode())
    body = body.replace("class Conv2d(Module)", "class Conv(Module)")
    others = {name: text for name, text in members.items() if not name.endswith((".py", ".debug_pkl"))}
    return {**others, "data.pkl": pickled, "code/__torch__.py": body.encode()}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARK).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) in (["a.pt"], ["a.pt2"], ["a.pt", "secret"])


def write(path: Path, members: Written, root: str = "a/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(root + name, content)
    return path


def refused(path: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read(path)
    assert caught.value.code in REFUSALS, caught.value
    with pytest.raises(PipelineError):
        inspect(path)
    return caught.value


# --- torch.export ---------------------------------------------------------------------------------------------

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
def test_a_member_that_is_no_part_of_the_program_is_refused(
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


def test_nested_files_of_two_minds_are_refused(tmp_path: Path, whole: dict[str, Members]) -> None:
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
    wanted = new.module(picture)
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
        assert torch.equal(network.module(picture), wanted)


# --- zip ------------------------------------------------------------------------------------------------------


def central(path: Path, find: bytes, put: bytes) -> None:
    """Change a name in the central directory alone: the local header keeps the old one."""
    data = path.read_bytes()
    at = data.rindex(find)
    path.write_bytes(data[:at] + put + data[at + len(find) :])


def test_headers_that_disagree_are_refused(tmp_path: Path, whole: dict[str, Members]) -> None:
    path = write(tmp_path / "a.pt2", [*whole["pt2"].items(), ("models/other.xson", b"{}")])
    central(path, b"models/other.xson", b"models/other.json")
    refused(path)
    path = write(tmp_path / "a.pt2", list(whole["pt2"].items()))
    central(path, b"data/weights/weight_0", b"data/weights/weight_7")
    refused(path)


@pytest.mark.parametrize("kind", ["pt2", "script"])
def test_links_second_names_and_encryption_are_refused(
    tmp_path: Path, whole: dict[str, Members], kind: str
) -> None:
    path = tmp_path / ("a.pt2" if kind == "pt2" else "a.pt")

    def special(change: Callable[[zipfile.ZipInfo], None]) -> str:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in whole[kind].items():
                entry = zipfile.ZipInfo(f"a/{name}")
                if name == "version" or name == "archive_version":
                    change(entry)
                archive.writestr(entry, content)
        return refused(path).code

    def link(entry: zipfile.ZipInfo) -> None:
        entry.external_attr = 0o120777 << 16

    def renamed(entry: zipfile.ZipInfo) -> None:
        entry.extra = struct.pack("<HHBI", 0x7075, 9, 1, 0) + b"evil"

    def squeezed(entry: zipfile.ZipInfo) -> None:
        entry.compress_type = zipfile.ZIP_LZMA

    assert {special(change) for change in (link, renamed, squeezed)} == {"ambiguous-archive"}


def test_an_archive_behind_another_is_one_archive(tmp_path: Path, whole: dict[str, Members]) -> None:
    """What stands before an archive and in its comment is not in what torch gets."""
    path = write(tmp_path / "a.pt", list(whole["script"].items()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a comment"
    honest = path.read_bytes()
    path.write_bytes(write(path, [("data.pkl", pickle.dumps(Evil()))]).read_bytes() + honest)
    made = checked_script(path)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert not archive.comment
        assert b"system" not in archive.read("archive/data.pkl")
    assert b"system" not in made


# --- TorchScript ----------------------------------------------------------------------------------------------


def code(body: str, extra: str = "", head: str = "") -> str:
    return (
        f"{head}class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n"
        f"  _is_full_backward_hook : Optional[bool]\n  conv : __torch__.Conv\n{extra}"
        f"  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n{body}    return x\n"
    )


def with_convolution(whole: dict[str, Members], text: str) -> bytes:
    """The source of an archive: this one class, and the convolution's as torch wrote it."""
    held = whole["script"]["code/__torch__.py"].decode()
    start = held.index("class Conv(")
    return (held[start:].partition("class Net(")[0] + text).encode()


SAVE = f'    _0 = torch.save(x, "{MARK}")\n'
BODIES: dict[str, str] = {
    "save": code(f'    torch.save(x, "{MARK}")\n'),
    "save with a space": code(f'    torch. save(x, "{MARK}")\n'),
    "save with a line continuation": code(f'    torch.\\\nsave(x, "{MARK}")\n'),
    "save with a comment": code(f'    (torch # x\n    .save)(x, "{MARK}")\n'),
    "save in brackets": code(f'    (torch.save)(x, "{MARK}")\n'),
    "aten save": code(f'    ops.aten.save(x, "{MARK}")\n'),
    "save as a method": code(f'    x.save("{MARK}")\n'),
    "save through a name": code(f'    f = torch.save\n    f(x, "{MARK}")\n'),
    "save behind a keyword": code(f'    torch.add(torch.save(x, "{MARK}"), 1)\n'),
    "save in a default": code(
        "", extra=f'  def g(self: __torch__.Net, y: Tensor=torch.save(0, "{MARK}")) -> None:\n    pass\n'
    ),
    "from_file": code('    x = torch.from_file("secret", True, 8)\n'),
    "from_file with a space": code('    x = torch. from_file("secret", False, 8)\n'),
    "custom operator": code('    x = ops.mylib.load("secret")\n'),
    "python operator": code("    x = ops.prim.PythonOp(x)\n"),
    "rpc": code("    x = ops.prim.rpc_sync(x)\n"),
    "cuda": code("    x = ops.cuda.synchronize(x)\n"),
    "setstate": code(SAVE, extra="  def __setstate__(self: __torch__.Net, s: int) -> None:\n    torch.relu(s)\n"),
    "getstate": code("", extra="  def __getstate__(self: __torch__.Net) -> int:\n    return 1\n"),
    "init": code("", extra="  def __init__(self: __torch__.Net) -> None:\n    pass\n"),
    "import": code("", head="import os\n"),
    "statement at the top": code("", head=f'torch.save(0, "{MARK}")\n'),
    "decorator": code("", extra="  @torch.save\n  def g(self: __torch__.Net) -> None:\n    pass\n"),
    "base class": code("").replace("(Module)", "(Interface)"),
    "lambda": code("    f = lambda: 1\n"),
    "while": code("    while True:\n      pass\n"),
    "fork": code("    y = fork(self.forward, x)\n"),
    "f-string": code('    y = f"{x}"\n'),
    "comprehension": code("    y = [x for x in [1]]\n"),
    "try": code("    try:\n      pass\n    finally:\n      pass\n"),
    "with": code("    with x:\n      pass\n"),
    "assert": code("    assert torch.save(x)\n"),
    "star": code("    y = torch.cat(*[x])\n"),
    "reserved name": code("    torch = x\n    y = torch.save\n"),
    "class as value": code("    y = __torch__.Net\n"),
    "unknown method": code("    y = (self).evil(x, )\n"),
    "attribute of a tensor": code("    y = x.data\n"),
    "getattr of a tensor": code('    y = getattr(x, "save")\n'),
    "module that turns into a tensor": code(f'    y = self.conv\n    y = x\n    y.save("{MARK}")\n'),
    "unicode": code("    yé = x\n"),
    "control": code('    y = "\\x1b[31m"\n'),
}


def test_the_same_code_without_an_attack_is_read(tmp_path: Path, whole: dict[str, Members]) -> None:
    """Else the refusals below would prove nothing."""
    for body in ("", "    y = (self.conv).forward(x, )\n    x = torch.add(x, y)\n"):
        members = {**whole["script"], "code/__torch__.py": with_convolution(whole, code(body))}
        network = read(write(tmp_path / "a.pt", list(members.items())))
        assert network.module is not None
        assert network.module(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("text", BODIES.values(), ids=BODIES)
def test_script_code_that_reaches_outside_is_refused(tmp_path: Path, whole: dict[str, Members], text: str) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 64)
    members = {**whole["script"], "code/__torch__.py": with_convolution(whole, text)}
    refused(write(tmp_path / "a.pt", list(members.items())))


@pytest.mark.parametrize(
    "extra",
    [
        [("code/__torch__.PY", code(SAVE).encode())],
        [("CODE/__torch__.py", code(SAVE).encode())],
        [("code/__torch__.py", code(SAVE).encode())],
        [("code/__torch__/evil.py", f'def f(x: Tensor) -> None:\n  torch.save(x, "{MARK}")\n'.encode())],
        [("code/__torch__/a.b.py", b"")],
        [("code/other.py", b"")],
        [("code/__torch__.py.txt", b"")],
        [("data.PKL", pickle.dumps(Evil()))],
        [("attributes.pkl", pickle.dumps(Evil()))],
        [("model.json", b"{}")],
        [("tensors/0", b"x")],
        [("data/0/1", b"x")],
        [("constants.pkl", pickle.dumps(Evil()))],
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["in front", "behind"])
def test_a_member_that_is_no_part_of_the_script_is_refused(
    tmp_path: Path, whole: dict[str, Members], extra: Written, first: bool
) -> None:
    rest = list(whole["script"].items())
    refused(write(tmp_path / "a.pt", extra + rest if first else rest + extra))


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil(), 2),
        b"\x80\x02c__torch__\nOther\n)\x81}b.",
        b"\x80\x02c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n)\x81N\x85b.",
        b"\x80\x02ctorch.jit._pickle\nbuild_tensor_from_id\nK\x00\x85R.",
        b"\x80\x02c__torch__\nNet\n)\x81(K\x01K\x02tb.",
        b"\x80\x02(X\x03\x00\x00\x00\x1b[31t.",
    ],
)
def test_script_pickles_hold_modules_and_tensors_only(
    tmp_path: Path, whole: dict[str, Members], member: str, content: bytes
) -> None:
    refused(write(tmp_path / "a.pt", list({**whole["script"], member: content}.items())))


def test_script_tensors_beyond_their_storage_are_refused(tmp_path: Path, whole: dict[str, Members]) -> None:
    data = whole["script"]["data.pkl"]
    shape = b"(K\x03K\x03K\x03K\x03t"
    assert shape in data
    for changed_data in (
        data.replace(shape, b"(K\x03K\x03K\x03K\xfft"),
        data.replace(shape, b"(K\x03K\x03K\x03J\xff\xff\xff\xfft"),
        data.replace(shape, b"(K\x03K\x03K\x03J\xff\xff\xff\x7ft"),
    ):
        refused(write(tmp_path / "a.pt", list({**whole["script"], "data.pkl": changed_data}.items())))
    short = {**whole["script"], "data/0": whole["script"]["data/0"][:-4]}
    refused(write(tmp_path / "a.pt", list(short.items())))


def test_what_torch_gets_is_written_anew(tmp_path: Path, whole: dict[str, Members]) -> None:
    """Comments, prints, warnings, debug pickles and traced inputs of the file are not in what torch loads."""
    text = whole["script"]["code/__torch__.py"].replace(
        b"    return", b'    # a comment\n    print(x)\n    torch.warn("\\\\x1b", 2)\n    return'
    )
    members = {**whole["script"], "code/__torch__.py": text, "traced_inputs.pkl": pickle.dumps(Evil())}
    members["code/__torch__.py.debug_pkl"] = pickle.dumps(Evil())
    made = checked_script(write(tmp_path / "a.pt", list(members.items())))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        written = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
    assert not any(name.endswith(".debug_pkl") or "traced" in name for name in names)
    assert not any(word in written for word in (b"comment", b"print", b"warn"))
    torch.jit.load(io.BytesIO(made))(torch.rand(1, 3, 8, 8))


# --- programs that never end ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code_wanted"),
    [
        ("    for i in range(9223372036854775807):\n      x = torch.add(x, 1)\n", "time-limit"),
        ("    for i in range(40):\n      x = torch.cat([x, x], 1)\n", "memory-limit"),
        ("    x = torch.zeros([1, 3, 100000, 100000])\n", "memory-limit"),
    ],
)
def test_programs_that_run_or_grow_without_end_are_stopped(
    tmp_path: Path, whole: dict[str, Members], monkeypatch: pytest.MonkeyPatch, body: str, code_wanted: str
) -> None:
    monkeypatch.setenv("PIPELINE_TIME_LIMIT", "3" if code_wanted == "time-limit" else "60")
    monkeypatch.setenv("PIPELINE_MEMORY_LIMIT", "800M")
    members = {**whole["script"], "code/__torch__.py": with_convolution(whole, code(body))}
    path = write(tmp_path / "a.pt", list(members.items()))
    with pytest.raises(PipelineError) as caught:
        inspect(path)
    assert caught.value.code == code_wanted
    assert "PIPELINE_" in caught.value.remedy


def test_a_program_that_grows_later_is_stopped_too(
    tmp_path: Path, whole: dict[str, Members], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the size of the first run it is harmless."""
    from pipeline.sources import reference
    from pipeline.support import memory
    from pipeline.support.errors import LimitReached

    body = (
        "    if torch.gt(torch.size(x, 2), 100):\n      y = torch.zeros([1, 3, 100000, 100000])\n"
        "    else:\n      y = x\n    x = torch.add(y, x)\n"
    )
    members = {**whole["script"], "code/__torch__.py": with_convolution(whole, code(body))}
    network = read(write(tmp_path / "a.pt", list(members.items())))
    monkeypatch.setattr(memory, "_own_process", True)
    paint = reference(network)
    with pytest.raises(LimitReached, match="memory-limit"):
        paint(np.zeros((1, 3, 128, 128), np.float32))


def test_a_program_that_ends_the_process_is_told(tmp_path: Path) -> None:
    from pipeline.sources.trial import first_run

    (tmp_path / "a.pt").touch()
    with pytest.raises(PipelineError, match="signal 6") as caught:
        first_run(tmp_path / "a.pt", os.abort)
    assert caught.value.code == "source-does-not-run"
    first_run(tmp_path / "a.pt", lambda: 1 / 0)
    first_run(tmp_path / "a.pt", lambda: (tmp_path / MARK).write_text("x"))
    assert not (tmp_path / MARK).exists()
