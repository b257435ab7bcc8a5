"""What the tests of hostile archives share: a network as members of an archive, and code that leaves a mark.

Every file that they make would leave that mark (a file `was-run` in the current folder) if what it holds were run.
"""

from __future__ import annotations

import io
import os
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.build.inspection import inspect
from pipeline.sources import read
from pipeline.support.errors import PipelineError

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


@cache
def programs() -> dict[str, Members]:
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
    stored = {}
    for kind, file in files.items():
        with zipfile.ZipFile(file) as archive:
            stored[kind] = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    stored["script"] = _plainly_named(stored["script"])
    return stored


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


def code(body: str, extra: str = "", head: str = "") -> str:
    return (
        f"{head}class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n"
        f"  _is_full_backward_hook : Optional[bool]\n  conv : __torch__.Conv\n{extra}"
        f"  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n{body}    return x\n"
    )


def with_convolution(whole: dict[str, Members], text: str) -> bytes:
    """The source of an archive: this one class, and the convolution's as torch wrote it."""
    stored = whole["script"]["code/__torch__.py"].decode()
    start = stored.index("class Conv(")
    return (stored[start:].partition("class Net(")[0] + text).encode()
