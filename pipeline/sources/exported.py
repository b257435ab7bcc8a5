"""Read and check torch.export archives (.pt2) without torch's own loader.

torch.export.load unpickles members, evaluates size expressions with sympy, resolves any dotted name, and pastes
the names in the file into Python source that it executes (torch 2.13: torch/export/pt2_archive/_package.py
`_load_state_dict`, `_load_constants`; torch/_export/serde/serialize.py `deserialize_operator`, `_parse_sym_expr`,
`deserialize_metadata`, `sync_fx_node`; torch/utils/_pytree.py `treespec_loads`; torch/export/_unlift.py,
`guards_code`). Here the program is read as a table: operators of a fixed set (operators.py), their arguments, and
the tensors by name. Nothing in it is evaluated, imported or unpickled by torch.

Layouts: `models/<name>.json` with tensors beside it (torch 2.8 and newer, schema 8), with tensors in one torch
file (2.7), and `serialized_exported_program.json` (2.2 to 2.6).
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.sources import unpickle
from pipeline.sources.archive import open_torch_zip
from pipeline.sources.arrays import stored_dtype, strided
from pipeline.sources.budget import Budget
from pipeline.sources.expressions import check_expression
from pipeline.sources.failures import damaged, guarded
from pipeline.sources.pickled import TensorRef, is_count, shown
from pipeline.sources.size_arithmetic import NUMBERS
from pipeline.sources.zipped import SAVE_WEIGHTS_REMEDY, read_members
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json

_WORD = r"[A-Za-z0-9_]{1,100}"
_MEMBERS = re.compile(
    r"archive_format|archive_version|version|byteorder|\.data/version|\.data/serialization_id"
    rf"|models/{_WORD}\.json"
    r"|data/weights/weight_\d{1,6}|data/constants/tensor_\d{1,6}"
    rf"|data/weights/{_WORD}_weights_config\.json|data/constants/{_WORD}_constants_config\.json"
    rf"|data/weights/{_WORD}\.pt|data/constants/{_WORD}\.pt|data/sample_inputs/{_WORD}\.pt"
    r"|serialized_exported_program\.json|serialized_(?:state_dict|constants|example_inputs)\.pt"
    rf"|extra(?:_files)?/{_WORD}(?:\.{_WORD})?"
)
_UNREAD = re.compile(r"extra(?:_files)?/.*|\.data/.*")
_DTYPES = {1: "u1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 6: "f2", 7: "f4", 8: "f8", 12: "?", 13: "bf16"}
"""ScalarType of torch/_export/serde/schema.py, as the type names of arrays.py."""
_STRIDED = 7
MAX_NODES = 20_000
MAX_TEXT = 1000


@dataclass(frozen=True)
class Name:
    """An argument that refers to a value of the program by name."""

    name: str


@dataclass(frozen=True)
class Constant:
    """An argument of one of torch's own types: `kind` is dtype, memory_format, device or layout."""

    kind: str
    value: int = 0


@dataclass(frozen=True)
class Step:
    """One call of a program: the operator's full name, its arguments by name, and the names of its results."""

    target: str
    inputs: tuple[tuple[str, Any], ...]
    outputs: tuple[Any, ...]
    """A name; a tuple of names for a list of tensors; None for a result that is not used."""
    single_output: bool
    """Whether the call returns its only output itself, not a tuple of outputs."""


@dataclass
class Program:
    """A checked program with one picture as input (`image` is its name)."""

    image: str
    steps: list[Step]
    outputs: list[Any]
    weights: dict[str, str] = field(default_factory=dict)
    """Parameters and buffers: the name in the program, and the name in the state dict."""
    parameters: set[str] = field(default_factory=set)
    constants: dict[str, Any] = field(default_factory=dict)
    """The inputs that are plain values, by name."""
    tensors: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    """Values and type name (f4, bf16, ...) by the names in the state dict."""
    example: tuple[int, ...] | None = None
    mutated: int = 0


def read_program(path: Path) -> Program:
    """Read the program in a .pt2 file with its tensors.

    Raises PipelineError: zip-bomb, ambiguous-archive, damaged-file, truncated-file, unsafe-program, unsafe-pickle,
    over-budget, unsupported-format.
    """
    return guarded(path, lambda: _Archive(path).program())


class _Archive:
    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.path = path
        self.members = read_members(
            path, data, lambda n: _MEMBERS.fullmatch(n) is not None, lambda n: not _UNREAD.fullmatch(n)
        )
        self.budget = Budget(path, len(data))

    def program(self) -> Program:
        models = [name for name in self.members if name.startswith("models/")]
        old = "serialized_exported_program.json"
        if len(models) + (old in self.members) != 1:
            raise PipelineError(
                "unsupported-format",
                "this torch.export archive contains several programs, or none",
                subject=str(self.path),
                remedy="Save one program per file with torch.export.save, or export it to ONNX.",
            )
        byteorder = self.members.get("byteorder", b"little")
        if byteorder != b"little":
            raise damaged(self.path, "its numbers are not little-endian")
        name = models[0].removeprefix("models/").removesuffix(".json") if models else ""
        reader = _ProgramReader(self.path, self._json(models[0] if models else old))
        program = reader.program()
        for sample in (f"data/sample_inputs/{name}.pt", "serialized_example_inputs.pt"):
            if sample in self.members:
                self._torch_file(sample)
        tensors = {**self._tensors("weights", name), **self._tensors("constants", name)}
        if missing := sorted(set(program.weights.values()) - tensors.keys()):
            raise damaged(self.path, f"the numbers of {shown(missing[0])} are missing", "truncated-file")
        program.tensors = {key: tensors[key] for key in dict.fromkeys(program.weights.values())}
        return program

    def _json(self, name: str) -> Any:
        if name not in self.members:
            raise damaged(self.path, f"{name} is missing", "truncated-file")
        return from_json(self.members[name])

    def _tensors(self, group: str, model: str) -> dict[str, tuple[np.ndarray, str]]:
        """The tensors of the state dict ("weights") or of the constants, by name."""
        old = {"weights": "serialized_state_dict.pt", "constants": "serialized_constants.pt"}[group]
        whole = old if not model else f"data/{group}/{model}.pt"
        config = f"data/{group}/{model}_{group}_config.json"
        others = [n for n in self.members if n.startswith(f"data/{group}/") and n.endswith((".pt", ".json"))]
        if set(others) - {whole, config} or (whole in self.members and config in self.members):
            raise unsafe(self.path, "the archive contains tensors that belong to none of its programs")
        if config in self.members:
            table = self._json(config)["config"]
            return {name: self._payload(group, name, entry) for name, entry in table.items()}
        if whole not in self.members or not self.members[whole]:
            return {}
        root, read = self._torch_file(whole)
        if not isinstance(root, dict):
            raise damaged(self.path, f"{whole} does not contain a table of tensors")
        return {str(name): read(str(name), value) for name, value in root.items()}

    def _payload(self, group: str, name: str, entry: Any) -> tuple[np.ndarray, str]:
        place = f"data/{group}/{entry['path_name']}"
        if not re.fullmatch(r"(?:weight|tensor)_\d{1,6}", entry["path_name"]):
            raise unsafe(self.path, f"{shown(name)} is an object, not a tensor")
        if place not in self.members:
            raise damaged(self.path, f"{place!r} is missing", "truncated-file")
        data = self.members[place]
        if entry.get("use_pickle"):
            root, read = self._torch_file(place)
            return read(name, root)
        meta = entry["tensor_meta"]
        kind = _DTYPES.get(meta["dtype"])
        if kind is None or meta.get("layout", _STRIDED) != _STRIDED:
            raise PipelineError(
                "unsupported-tensor",
                f"tensor {shown(name)} has an unsupported type",
                subject=str(self.path),
                remedy="Export the float network.",
            )
        shape, stride = ([_fixed(size) for size in meta[part]] for part in ("sizes", "strides"))
        dtype = stored_dtype(kind)
        reference = TensorRef(None, _fixed(meta["storage_offset"]), shape, stride)
        sizes, steps = strided(self.path, name, reference, len(data) // dtype.itemsize)
        self.budget.take(math.prod(sizes) * dtype.itemsize)
        if not math.prod(sizes):
            return np.zeros(sizes, dtype), kind
        flat = np.frombuffer(data, dtype, len(data) // dtype.itemsize)[reference.offset :]
        steps = tuple(step * dtype.itemsize for step in steps)
        return np.array(np.lib.stride_tricks.as_strided(flat, sizes, steps, writeable=False), order="C"), kind

    def _torch_file(self, name: str) -> tuple[Any, Callable[[str, Any], tuple[np.ndarray, str]]]:
        """A nested file written by torch.save, which may contain only tensors."""
        data = self.members[name]
        if not data.startswith(b"PK"):
            raise unsafe(self.path, f"the archive contains a bare pickle ({name!r})")
        with_tensors = zipfile.ZipFile(io.BytesIO(data))
        archive = open_torch_zip(self.path, with_tensors, len(data), self.budget, unpickle.tensors_only)
        return archive.root, archive.reader.stored  # type: ignore[union-attr]


def _fixed(size: Any) -> int:
    value = size["as_int"]
    if not is_count(value):
        raise ValueError("a tensor has an impossible shape")
    return int(value)


def unsafe(path: Path, detail: str) -> PipelineError:
    """The error for a program that contains something that image networks do not need."""
    return PipelineError(
        "unsafe-program",
        f"{detail}, which is not on the list of what image networks need, so the file is not loaded",
        subject=str(path),
        remedy=SAVE_WEIGHTS_REMEDY,
    )


# --- the program ----------------------------------------------------------------------------------------------

_TARGET = re.compile(r"torch\.ops\.aten\.([A-Za-z_]\w*)\.(\w+)", re.ASCII)
_SKIPPED = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range")


class _ProgramReader:
    """Turns the JSON of one program into steps, and refuses everything unknown."""

    def __init__(self, path: Path, data: Any) -> None:
        from pipeline.sources.operators import is_tensor_operator

        self.path, self.data = path, data
        self.known: set[str] = set()
        self.is_operator = is_tensor_operator

    def program(self) -> Program:
        self._check_expressions()
        module = self.data["graph_module"]
        graph, signature = module["graph"], module["signature"]
        program = Program("", [], [])
        self._inputs(program, graph["inputs"], signature["input_specs"])
        nodes = graph["nodes"]
        if not isinstance(nodes, list) or len(nodes) > MAX_NODES:
            raise damaged(self.path, "it has too many nodes")
        program.steps = [step for node in nodes if (step := self._step(node)) is not None]
        specs = signature["output_specs"]
        for spec, output in zip(specs, graph["outputs"], strict=True):
            if "user_output" in spec:
                program.outputs.append(self._value(output))
            elif spec.keys() & {"custom_obj", "token"}:
                raise unsafe(self.path, "the program returns an object")
            else:
                program.mutated += 1
        program.example = self._example(graph, program.image)
        return program

    def _check_expressions(self) -> None:
        """Require that every symbolic size is arithmetic on sizes (none is evaluated), and refuse objects."""
        pending = [self.data]
        while pending:
            value = pending.pop()
            if isinstance(value, list):
                pending += value
            if not isinstance(value, dict):
                continue
            pending += value.values()
            if isinstance(value.get("as_expr"), dict):
                text = value["as_expr"].get("expr_str")
                if not check_expression(text):
                    raise unsafe(self.path, f"a size in the program is the expression {shown(text)}")
            for key in ("as_custom_obj", "as_operator", "as_graph", "custom_obj"):
                if value.get(key) is not None:
                    raise unsafe(self.path, "the program refers to an object, a subgraph or an operator by name")
        for key in (*self.data.get("range_constraints", {}),):
            if not check_expression(key):
                raise unsafe(self.path, f"a size in the program is called {shown(key)}")

    def _inputs(self, program: Program, inputs: list[Any], specs: list[Any]) -> None:
        images = []
        for spec, value in zip(specs, inputs, strict=True):
            ((kind, body),) = spec.items()
            if kind in ("parameter", "buffer", "tensor_constant"):
                name = self._define(body["arg"]["name"])
                key = body[f"{kind}_name"]
                if not isinstance(key, str) or not re.fullmatch(r"[\w.]{1,300}", key):
                    raise damaged(self.path, f"a weight is called {shown(key)}")
                program.weights[name] = key
                if kind == "parameter":
                    program.parameters.add(key)
            elif kind == "user_input" and "as_tensor" in value:
                images.append(self._define(value["as_tensor"]["name"]))
            elif kind == "constant_input":
                program.constants[self._define(body["name"])] = self._value(body["value"])
            elif kind != "user_input" or value.keys() & {"as_sym_int", "as_custom_obj"}:
                raise unsafe(self.path, f"the program takes an input of the kind {shown(kind)}")
        if len(images) != 1:
            raise PipelineError(
                "not-image-to-image",
                f"the program takes {len(images)} tensors instead of one picture",
                subject=str(self.path),
                remedy="Export a module whose only input is the picture.",
            )
        program.image = images[0]

    def _define(self, name: Any) -> str:
        if not isinstance(name, str) or len(name) > MAX_TEXT:
            raise damaged(self.path, f"a value is called {shown(name)}")
        self.known.add(name)
        return name

    def _step(self, node: Any) -> Step | None:
        target = node["target"]
        match = _TARGET.fullmatch(target) if isinstance(target, str) else None
        if match is None and target not in NUMBERS:
            raise unsafe(self.path, f"the program calls {shown(target)}")
        if match is not None and not self.is_operator(match[1]):
            raise unsafe(self.path, f"the program calls {shown(target)}")
        inputs = tuple(
            (str(argument["name"])[:MAX_TEXT], self._value(argument["arg"])) for argument in node["inputs"]
        )
        results = node["outputs"]
        outputs = tuple(self._output(output) for output in results)
        if match is not None and match[1].startswith(_SKIPPED):
            return None
        return Step(target, inputs, outputs, len(results) == 1)

    def _output(self, output: Any) -> Any:
        ((kind, body),) = output.items()
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return self._define(body["name"])
        if kind == "as_tensors":
            return tuple(self._define(tensor["name"]) for tensor in body)
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._define(body["as_name"])
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return tuple(self._define(size["as_name"]) for size in body)
        raise damaged(self.path, f"an output is of the kind {shown(kind)}")

    def _name(self, name: Any) -> Name:
        if not isinstance(name, str) or name not in self.known:
            raise damaged(self.path, f"the program uses {shown(name)}, which is not defined")
        return Name(name)

    def _value(self, argument: Any) -> Any:
        """An argument of torch/_export/serde/schema.py `Argument` as plain data, names and constants."""
        ((kind, body),) = argument.items()
        single = _PLAIN.get(kind)
        if single is not None:
            return single(body)
        plural = _PLAIN.get(kind.removesuffix("s"))
        if plural is not None and isinstance(body, list):
            return [plural(item) for item in body]
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return self._name(body["name"])
        if kind == "as_tensors":
            return [self._name(tensor["name"]) for tensor in body]
        if kind == "as_nested_tensors":
            return [[self._name(tensor["name"]) for tensor in row] for row in body]
        if kind in ("as_optional_tensors", "as_optional_tensor"):
            rows = body if isinstance(body, list) else [body]
            values = [self._value(row) for row in rows]
            return values if isinstance(body, list) else values[0]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._size(body)
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return [self._size(size) for size in body]
        if kind == "as_scalar_type" and body in _DTYPES:
            return Constant("dtype", body)
        if kind == "as_memory_format" and type(body) is int and 0 < body < 5:
            return Constant("memory_format", body)
        if kind == "as_device":
            return Constant("device")
        if kind == "as_layout" and body == _STRIDED:
            return Constant("layout")
        if kind == "as_complex":
            return complex(_float(body["real"]), _float(body["imag"]))
        raise unsafe(self.path, f"the program has an argument of the kind {shown(kind)}")

    def _size(self, size: Any) -> Any:
        ((kind, body),) = size.items()
        return self._name(body) if kind == "as_name" else _PLAIN[kind](body)

    def _example(self, graph: Any, image: str) -> tuple[int, ...] | None:
        """The shape of the example picture at export, with 0 for symbolic sizes; None where it is not stored."""
        meta = graph["tensor_values"].get(image)
        if meta is None:
            return None
        return tuple(_fixed(size) if "as_int" in size else 0 for size in meta["sizes"])


def _int(value: Any) -> int:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise ValueError("a number of the program is not a 64-bit integer")
    return value


def _float(value: Any) -> float:
    if isinstance(value, str) and value in ("Infinity", "-Infinity", "NaN"):
        return float(value.replace("Infinity", "inf"))
    if type(value) not in (int, float):
        raise ValueError("a number of the program is not a number")
    return float(value)


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("a boolean of the program is not a boolean")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError("a text of the program is not a text, or too long")
    return value


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "as_int": _int,
    "as_float": _float,
    "as_bool": _bool,
    "as_string": _string,
}
