"""Hostile TorchScript archives: code that reaches outside is refused, the rest is written anew."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from pipeline.sources import read
from pipeline.sources.programs import checked_script
from tests.sources.attacks import MARK, Evil, Members, Written, code, refused, with_convolution, write

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]


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
def test_a_member_that_is_not_part_of_the_script_is_refused(
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
    result = checked_script(write(tmp_path / "a.pt", list(members.items())))
    with zipfile.ZipFile(io.BytesIO(result)) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        written = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
    assert not any(name.endswith(".debug_pkl") or "traced" in name for name in names)
    assert not any(word in written for word in (b"comment", b"print", b"warn"))
    torch.jit.load(io.BytesIO(result))(torch.rand(1, 3, 8, 8))


def test_a_refusal_names_the_code_that_it_is_about(tmp_path: Path, whole: dict[str, Members]) -> None:
    for line, item in (
        ("__import__('os').system('x')", "__import__('os').system"),
        ("(lambda: x)()", "lambda"),
        ("x.cuda.os.system(1)", "x.cuda.os.system"),
        ("[torch.save][0](x)", "[torch.save][0]"),
    ):
        members = {**whole["script"], "code/__torch__.py": with_convolution(whole, code(f"    {line}\n"))}
        assert item in refused(write(tmp_path / "a.pt", list(members.items()))).message
