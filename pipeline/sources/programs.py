"""Read TorchScript (.pt) and torch.export (.pt2) files: networks that contain their own graph.

Both are programs, and torch's own loaders execute parts of them. A TorchScript archive is read once, checked
member by member (script_code.py, script_data.py) and rewritten; torch opens only the rewritten archive. A
torch.export archive is not passed to torch at all (exported.py).
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.sources.budget import Budget
from pipeline.sources.exported import unsafe
from pipeline.sources.failures import damaged, guarded
from pipeline.sources.zipped import read_members, rebuilt
from pipeline.support.errors import MissingDependency
from pipeline.support.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_WORD = r"[A-Za-z_][A-Za-z0-9_]{0,200}"
_CODE = re.compile(rf"code/__torch__(?:/{_WORD})*\.py")
_READ = re.compile(r"data\.pkl|constants\.pkl|(?:data|constants)/\d{1,6}|version|byteorder")
_UNREAD = re.compile(
    rf"code/__torch__(?:/{_WORD})*\.py\.debug_pkl|traced_inputs\.pkl|traced_inputs/\d{{1,6}}|\.data/serialization_id"
    rf"|\.data/version|bytecode\.pkl|mobile_debug_handles\.pkl|bytecode/\d{{1,6}}|extra/[\w.-]{{1,100}}",
    re.ASCII,
)
"""Members that torch writes beside the network; they are not unpacked."""
EMPTY = b"\x80\x02)."
"""The pickle of an empty tuple: a network without constants."""


def read_torchscript(path: Path) -> tuple[nn.Module, list[str]]:
    """The scripted or traced module in eval mode, and notes.

    Raises PipelineError: zip-bomb, ambiguous-archive, damaged-file, truncated-file, unsafe-program, unsafe-pickle,
    over-budget; MissingDependency without torch.
    """
    archive = checked_script(path)
    torch = _torch("reading TorchScript")
    with quiet():
        module = guarded(path, lambda: torch.jit.load(io.BytesIO(archive), map_location="cpu"))
    notes = ["TorchScript: the graph in the file is used; no code was run to load it"]
    if getattr(module, "training", False):
        notes.append("saved in training mode; set to eval mode")
    if hasattr(module, "training"):
        module.eval()
    return module, notes


def checked_script(path: Path) -> bytes:
    """A new TorchScript archive that contains only what was checked in the file.

    Raises PipelineError as `read_torchscript` does; torch is not needed.
    """
    return guarded(path, lambda: _checked_script(path))


def _checked_script(path: Path) -> bytes:
    from pipeline.sources.script_code import Refused, rewrite
    from pipeline.sources.script_data import ScriptData

    data = path.read_bytes()
    members = read_members(
        path,
        data,
        lambda name: any(pattern.fullmatch(name) for pattern in (_CODE, _READ, _UNREAD)),
        lambda name: _CODE.fullmatch(name) is not None or _READ.fullmatch(name) is not None,
    )
    if members.get("byteorder", b"little") != b"little":
        raise damaged(path, "its numbers are not little-endian")
    version = members.get("version", b"3").strip()
    if not re.fullmatch(rb"\d{1,2}", version):
        raise damaged(path, "it has no version")
    if "data.pkl" not in members:
        raise damaged(path, "data.pkl is missing", "truncated-file")
    members.setdefault("constants.pkl", EMPTY)
    try:
        with quiet():
            code, classes = rewrite({name: text for name, text in members.items() if _CODE.fullmatch(name)})
        pickles = ScriptData(path, members, classes, Budget(path, len(data)))
        contents = {
            **pickles.rewrite("data.pkl", "data"),
            **code,
            **pickles.rewrite("constants.pkl", "constants"),
            "version": version + b"\n",
            "byteorder": b"little",
        }
    except Refused as refusal:
        raise unsafe(path, str(refusal)) from None
    return rebuilt(contents)


def _torch(purpose: str) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "torch", purpose) from None
    return torch


def is_program(module: Any) -> bool:
    """Whether a module runs a program that came from a file."""
    import torch

    return isinstance(module, torch.jit.ScriptModule) or getattr(module, "from_file", False) is True


def trained_tensors(module: Any) -> dict[str, np.ndarray]:
    """The parameters as float32 arrays; for a frozen TorchScript module, which has none, the constants in its
    code."""
    tensors = {name: value.detach().float().numpy() for name, value in module.named_parameters()}
    if not tensors and hasattr(module, "inlined_graph"):
        graph = module.inlined_graph  # its nodes live as long as it does
        for index, node in enumerate(graph.findAllNodes("prim::Constant")):
            if "value" in node.attributeNames() and node.kindOf("value") == "t":
                value = node.t("value")
                if value.is_floating_point() and value.numel() > 1:
                    tensors[f"constant {index}"] = value.detach().float().numpy()
    return tensors


# --- torch.export ---------------------------------------------------------------------------------------------


def read_exported(path: Path) -> tuple[nn.Module, tuple[int, ...] | None, list[str]]:
    """The exported program as a module, the shape of its example input, and notes.

    Size guards are left out: a program that was exported at one size runs at others where its graph allows it.
    Raises PipelineError: what `exported.read_program` raises; MissingDependency without torch.
    """
    from pipeline.sources.exported import read_program

    program = read_program(path)
    _torch("reading torch.export archives")
    from pipeline.sources.exported_module import ExportedNetwork

    with quiet():
        module = guarded(path, lambda: ExportedNetwork(program))
    notes = ["torch.export: the graph in the file is used, as it was exported"]
    if program.mutated:
        notes.append(f"{program.mutated} values that the program would keep for the next picture are discarded")
    return module, program.example, notes
