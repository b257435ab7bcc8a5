"""TorchScript (.pt) and torch.export (.pt2) archives: networks that bring their own graph.

TorchScript is a language of its own that torch interprets: loading it runs no Python, but it knows operators that
touch files, so an archive that names one is refused. A torch.export archive is checked before torch sees it,
because torch.export.load unpickles parts of it and resolves names in it (torch 2.13:
torch/export/pt2_archive/_package.py:891, :978; torch/_export/serde/serialize.py:2343, :2412).
"""

from __future__ import annotations

import inspect
import io
import json
import re
import types
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.sources import unpickle
from pipeline.sources.archive import check_zip, damaged, guarded, scan_storage
from pipeline.support.errors import MissingDependency, PipelineError
from pipeline.support.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_FORBIDDEN_SCRIPT = re.compile(
    r"\b(?:torch|ops\.aten|aten)\.(save|from_file)\s*\(|\bops\.(?!prim\b|aten\b|quantized\b|torchvision\b)(\w+)\."
)
_OPERATORS = "add|sub|mul|truediv|floordiv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_|abs"
_HONEST_TARGET = re.compile(
    r"torch\.ops\.(?:aten|prims|prim)\.(?!from_file\b|save\b|_?cuda)[a-z_]\w*(?:\.\w+)?"
    rf"|_operator\.(?:{_OPERATORS})"
    r"|math\.(?:ceil|floor|trunc|sqrt|pow)|torch\.sym_(?:int|float|max|min|not|ite|sqrt|sum)"
)
_SYMBOL = re.compile(r"Symbol\('\w+'(?:, (?:positive|integer|negative|real|zero)=(?:True|False))*\)")
_EXPRESSION = re.compile(r"[\w\s+\-*/(),.<>=&|~]*")
_FUNCTIONS = re.compile(
    r"Add|Mul|Pow|Integer|Rational|Float|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|ModularIndexing|IntTrueDiv|"
    r"FloatTrueDiv|TruncToInt|TruncToFloat|CeilToInt|FloorToInt|RoundToInt|ToFloat|Where|Eq|Ne|Lt|Le|Gt|Ge|And|Or|"
    r"Not|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|Piecewise|Identity"
)


def read_torchscript(path: Path) -> tuple[nn.Module, list[str]]:
    """The scripted or traced module in eval mode, and notes.

    Raises PipelineError: zip-bomb, damaged-file, unsafe-program; MissingDependency without torch.
    """
    guarded(path, lambda: _check_script(path))
    torch = _torch("reading TorchScript")
    with quiet():
        module = guarded(path, lambda: torch.jit.load(str(path), map_location="cpu"))
    notes = ["TorchScript: the graph in the file is used; loading it ran no Python code"]
    if getattr(module, "training", False):
        notes.append("saved in training mode: set to eval mode")
    if hasattr(module, "training"):
        module.eval()
    return module, notes


def _check_script(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        check_zip(path, archive)
        for name in archive.namelist():
            if not name.endswith(".py"):
                continue
            if match := _FORBIDDEN_SCRIPT.search(archive.read(name).decode("utf-8", "replace")):
                raise _unsafe(path, f"its TorchScript code uses {match[0].rstrip('(. ')!r}")


def _torch(purpose: str) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "torch", purpose) from None
    return torch


def _unsafe(path: Path, detail: str) -> PipelineError:
    return PipelineError(
        "unsafe-program",
        f"{detail}, which no image network needs and which can reach outside of it",
        subject=str(path),
        remedy="Nothing was executed. Get the weights as a state dict or the network as ONNX.",
    )


def trained_tensors(module: Any) -> dict[str, np.ndarray]:
    """The parameters as arrays; for a frozen TorchScript module, which has none, its code's float constants."""
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
    Raises PipelineError: zip-bomb, damaged-file, unsafe-program, unsafe-pickle, unsupported-format.
    """
    example = guarded(path, lambda: _check_exported(path))
    torch = _torch("reading torch.export archives")
    with quiet():
        program = guarded(path, lambda: torch.export.load(io.BytesIO(path.read_bytes())))
        unguarded = "check_guards" in inspect.signature(program.module).parameters
        module = guarded(path, lambda: program.module(check_guards=False) if unguarded else program.module())
    # torch.export forbids train() and eval(): the mode is part of the graph. The ONNX exporter calls both.
    module.train = types.MethodType(lambda self, mode=True: self, module)
    module.eval = types.MethodType(lambda self: self, module)
    notes = ["torch.export: the graph in the file is used, as it was exported"]
    if unguarded:
        # What is left of the guards is a hook that compares sizes with those of the example.
        module._forward_pre_hooks.clear()
        module._forward_pre_hooks_with_kwargs.clear()
    return module, example, notes


def _check_exported(path: Path) -> tuple[int, ...] | None:
    with zipfile.ZipFile(path) as archive:
        check_zip(path, archive)
        names = archive.namelist()
        roots = {name.partition("/")[0] for name in names}
        if len(set(names)) != len(names):
            raise damaged(path, "two entries of the archive have the same name")
        inner = {name.partition("/")[2]: name for name in names}
        programs = [name for name in inner if name.startswith("models/") and name.endswith(".json")]
        if len(roots) != 1 or len(programs) != 1:
            raise PipelineError(
                "unsupported-format",
                "this torch.export archive is of an older layout or holds several programs",
                subject=str(path),
                remedy="Save it again with torch 2.8 or newer, one program per file, or export it to ONNX.",
            )
        pickled: set[str] = set()
        for short, name in inner.items():
            if not short.startswith(("models/", "data/weights/", "data/constants/", "data/sample_inputs/")):
                if short.startswith("data/") or short.endswith((".so", ".dll", ".o")):
                    raise _unsafe(path, f"the archive holds compiled code or unknown data ({short!r})")
                continue
            last = short.rpartition("/")[2]
            if last.startswith(("custom_obj", "opaque_obj")):
                raise _unsafe(path, f"the archive holds a pickled object ({short!r})")
            if last.endswith("_config.json"):
                config = json.loads(archive.read(name)).get("config", {})
                folder = short.rpartition("/")[0]
                pickled |= {
                    f"{folder}/{entry['path_name']}" for entry in config.values() if entry.get("use_pickle")
                }
            if short.startswith("data/sample_inputs/"):
                pickled.add(short)
        for short in sorted(pickled):
            if short not in inner:
                raise damaged(path, f"{short!r} is missing", "truncated-file")
            _check_pickles(path, archive.read(inner[short]), short)
        program = json.loads(archive.read(inner[programs[0]]))
    _check_program(path, program)
    return _example_shape(program)


def _check_pickles(path: Path, data: bytes, short: str) -> None:
    """Refuse a nested torch file that is more than tensors: torch.load would run it."""
    if not data.startswith(b"PK"):
        raise _unsafe(path, f"the archive holds a bare pickle ({short!r})")
    with zipfile.ZipFile(io.BytesIO(data)) as nested:
        total = sum(entry.file_size for entry in nested.infolist())
        if total > 8 * len(data) + (1 << 20) or len(set(nested.namelist())) != len(nested.namelist()):
            raise damaged(path, f"{short!r} is malformed")
        for name in nested.namelist():
            if name.endswith(".pkl"):
                unpickle.load(io.BytesIO(nested.read(name)), scan_storage, str(path), tensors_only=True)


def _check_program(path: Path, program: Any) -> None:
    """Every name that torch resolves must be an ATen operator, every expression plain arithmetic on sizes."""
    pending = [program]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        if not isinstance(value, dict):
            continue
        pending += value.values()
        if "target" in value and "inputs" in value:
            target = value["target"]
            if not isinstance(target, str) or not _HONEST_TARGET.fullmatch(target):
                raise _unsafe(path, f"the program calls {str(target)[:80]!r}")
        for key in ("as_expr", "expr_str", "as_custom_obj", "as_operator"):
            if key == "expr_str" and isinstance(value.get(key), str):
                _check_expression(path, value[key])
            elif key in ("as_custom_obj", "as_operator") and value.get(key) is not None:
                raise _unsafe(path, "the program refers to an object or operator by name")


def _check_expression(path: Path, text: str) -> None:
    rest = _SYMBOL.sub("s", text)
    calls = re.findall(r"([A-Za-z_]\w*)\s*\(", rest)
    attribute = re.search(r"[A-Za-z_)]\s*\.|\.\s*[A-Za-z_]", rest)
    if (
        not _EXPRESSION.fullmatch(rest)
        or "__" in rest
        or attribute
        or not all(_FUNCTIONS.fullmatch(name) for name in calls)
    ):
        raise _unsafe(path, f"a size in the program is the expression {text[:80]!r}")


def _example_shape(program: Any) -> tuple[int, ...] | None:
    """The shape of the program's one user input, with 0 for symbolic sizes."""
    graph = program["graph_module"]["graph"]
    inputs = [
        spec["user_input"]["arg"].get("as_tensor", {}).get("name")
        for spec in program["graph_module"]["signature"]["input_specs"]
        if "user_input" in spec
    ]
    if len(inputs) != 1 or inputs[0] not in graph["tensor_values"]:
        return None
    return tuple(int(size.get("as_int", 0) or 0) for size in graph["tensor_values"][inputs[0]]["sizes"])
