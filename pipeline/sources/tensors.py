"""Read state dicts: named NumPy tensors from checkpoints, without torch and without running code.

`read_state` opens the container (archive.py), finds the state dict in whatever was saved around it, and normalises
the names and weights (plain.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.graph.integers import QuantizedTensor
from pipeline.sources import plain, quantised_state
from pipeline.sources.archive import Archive, open_archive
from pipeline.sources.arrays import is_tensor, rank
from pipeline.sources.failures import guarded
from pipeline.sources.pickled import Global, Record, shown
from pipeline.sources.triage import FileFormat, identify
from pipeline.support.errors import PipelineError

MAX_ENTRIES = 100_000
"""Most tensors and modules in one file; nested shared modules could otherwise grow without end."""
MAX_DEPTH = 100
MAX_NAME = 2000

ARCHITECTURE = "architecture"
"""Key beside the state dict under which this pipeline stores the architecture's name (students.save)."""
NOT_WEIGHTS = (
    "optimizer",
    "optimizers",
    "optimizer_state",
    "optimizer_states",
    "optimizer_state_dict",
    "optim",
    "opt",
    "opt_state",
    "scheduler",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler_state_dict",
    "scaler",
    "rng_state",
    "callbacks",
    "loops",
    "discriminator",
    "discriminator_state_dict",
    "netD",
    "criterion",
    "loss",
)
"""Keys of a checkpoint that never contain the image network."""


@dataclass
class StateDict:
    """Named tensors in normal form: no wrapper prefixes, no hooks, float32 (integers as int64).

    `classes` and `attributes` are set for pickles of whole modules: the class name of every submodule by its path
    ("" for the module itself), and the module's own plain attributes (numbers, strings, flags). `integers` has the
    original values of the tensors that are quantised in the file, under the same names.
    """

    tensors: dict[str, np.ndarray]
    format: str
    subject: str
    notes: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    integers: list[QuantizedTensor] = field(default_factory=list)
    removed: str = ""
    """The wrapper's prefix that was removed from every name, such as "module.model"."""
    prefix: str | None = None
    """The rest of the requested prefix after its first keys have selected this state dict; None if they did
    not."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, in the file's order."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


@dataclass
class _Found:
    """A state dict found in the file's object tree: its path and its tensor references."""

    where: str
    """As Python writes it: "['model']['net']"."""
    references: dict[str, Any]
    classes: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def read_state(
    path: Path,
    file_format: FileFormat | None = None,
    only: Callable[[str], bool] | None = None,
    prefix: str | None = None,
) -> StateDict:
    """Read the state dict in a torch zip, legacy torch, pickle or safetensors file.

    Wrapper prefixes are removed; pruning, weight_norm and spectral_norm are baked in; quantised weights are
    dequantised to float32; each of these adds a note. Tensors for whose names in the file `only` returns False are
    left out. `prefix` selects among several state dicts by the keys that lead to them, such as "params_ema".
    Raises PipelineError: unsafe-pickle, truncated-file, damaged-file, zip-bomb, over-budget, several-state-dicts,
    no-state-dict, unsupported-tensor, unsupported-parametrization, not-finite-weights.
    """
    path = Path(path)
    file_format = file_format or identify(path)
    if file_format.name not in ("torch-zip", "torch-legacy", "pickle", "safetensors"):
        raise PipelineError(
            "no-state-dict",
            f"this is {file_format.description}, not a file of named weights",
            subject=str(path),
            remedy="Use a .pth, .pt, .model or .safetensors file.",
        )
    archive = open_archive(path, file_format.name)
    found = guarded(path, lambda: _find(path, archive, prefix))
    notes = [file_format.note] if file_format.note else []
    if found.where:
        notes.append(f"the weights are in the checkpoint under {found.where}")
    name = file_format.name
    if found.classes:
        name = "torch-module"
        notes.append(
            f"a whole module of class {found.classes['']} was saved: only its tensors and class names were read, "
            "none of its code was run"
        )
    tensors: dict[str, np.ndarray] = {}
    quantised: dict[int, QuantizedTensor] = {}
    for key, reference in found.references.items():
        if only is not None and not only(key):
            continue
        value = archive.tensor(key, reference)
        if isinstance(value, QuantizedTensor):
            tensors[key] = value.real()
            quantised[id(tensors[key])] = value
        else:
            tensors[key] = value
    tensors, removed = plain.names(tensors, notes)
    tensors = quantised_state.without_activations(tensors, len(quantised), notes)
    integers = [replace(quantised[id(v)], name=key) for key, v in tensors.items() if id(v) in quantised]
    tensors = plain.weights(tensors, notes, str(path))
    plain.check_finite(tensors, str(path))
    return StateDict(
        tensors,
        name,
        str(path),
        notes,
        found.classes,
        {**archive.metadata, **found.attributes},
        integers,
        removed,
        _rest(found.where, prefix) if prefix else None,
    )


# --- finding the state dict -----------------------------------------------------------------------------------


def choose(names: list[str]) -> str:
    """The remedy for a checkpoint that contains several networks under these prefixes."""
    average = next((name for name in names if "ema" in name.lower()), None)
    advice = f"Choose one, such as --prefix {average or names[0]}."
    return (
        f"{advice} A network named ema is an average over the last steps, and usually better."
        if average
        else advice
    )


def _keys(where: str) -> str:
    """The path of a state dict as a prefix: `model.net` for ['model']['net']."""
    return ".".join(part.strip("'\"") for part in where[1:-1].split("]["))


def _rest(where: str, prefix: str) -> str | None:
    """The part of `prefix` after the path of a state dict; None where `prefix` does not begin with that path."""
    keys = _keys(where)
    if not where or not f"{prefix}.".startswith(f"{keys}."):
        return None
    return prefix[len(keys) + 1 :]


def _find(path: Path, archive: Archive, prefix: str | None = None) -> _Found:
    found = list(_candidates(archive.root, "", 0, [0]))
    if prefix and len(found) > 1:
        found = [item for item in found if _rest(item.where, prefix) is not None] or found
    if len(found) == 1:
        named = archive.root.get(ARCHITECTURE) if isinstance(archive.root, dict) else None
        if isinstance(named, str):
            found[0].attributes.setdefault(ARCHITECTURE, named)
        return found[0]
    if found:
        names = [_keys(candidate.where) for candidate in found]
        raise PipelineError(
            "several-state-dicts",
            f"the checkpoint contains {len(found)} networks: {', '.join(map(shown, names[:8]))}",
            subject=str(path),
            remedy=choose(names),
        )
    holds = "nothing"
    if isinstance(archive.root, dict):
        keys = ", ".join(shown(key, 40) for key in itertools.islice(archive.root, 5))
        holds = f"a dict of {keys or 'nothing'}"
    elif isinstance(archive.root, Record):
        holds = shown(archive.root)
    elif is_tensor(archive.root):
        holds = "a single tensor"
    elif archive.root is not None:
        holds = f"a {type(archive.root).__name__}"
    raise PipelineError(
        "no-state-dict",
        f"this file does not contain the weights of a network, but {holds}",
        subject=str(path),
        remedy="Save the network with torch.save(network.state_dict(), 'network.pth').",
    )


def _candidates(value: Any, where: str, depth: int, visited: list[int]) -> Iterator[_Found]:
    """Every state dict or module in a tree of dicts and lists, outermost first."""
    visited[0] += 1
    if depth > 4 or visited[0] > MAX_ENTRIES:
        return
    if isinstance(value, Record) and _is_module(value):
        yield _from_module(value, where)
    elif isinstance(value, (dict, Record)):
        entries = quantised_state.unpacked(value if isinstance(value, dict) else value.state)
        visited[0] += len(entries)
        tensors = {k: v for k, v in entries.items() if isinstance(k, str) and is_tensor(v)}
        if any(rank(v) >= 2 for v in tensors.values()):
            yield _Found(where, tensors)
            return
        for key, item in entries.items():
            if key not in NOT_WEIGHTS:
                yield from _candidates(item, f"{where}[{shown(key)}]", depth + 1, visited)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value[:100]):
            yield from _candidates(item, f"{where}[{index}]", depth + 1, visited)


def _is_module(record: Record) -> bool:
    return isinstance(record.state.get("_parameters"), dict) and isinstance(record.state.get("_modules"), dict)


def _from_module(record: Record, where: str) -> _Found:
    """The state dict of a pickled torch.nn.Module, in the order of Module.state_dict()."""
    wrapped = record.state["_modules"].get("module")
    if record.cls.name.endswith("DataParallel") and isinstance(wrapped, Record) and _is_module(wrapped):
        record = wrapped
    found = _Found(where, {})
    visited = 0

    def walk(module: Record, prefix: str, depth: int) -> None:
        nonlocal visited
        visited += 1
        if depth > MAX_DEPTH or visited > MAX_ENTRIES or len(found.references) > MAX_ENTRIES:
            raise ValueError("its modules are nested endlessly")
        if len(prefix) > MAX_NAME:
            raise ValueError("its modules have names that are too long")
        found.classes[prefix.rstrip(".")] = str(module.cls)
        skipped = module.state.get("_non_persistent_buffers_set") or []
        for group in ("_parameters", "_buffers"):
            members = module.state.get(group)
            for name, value in (members or {}).items() if isinstance(members, dict) else ():
                if value is not None and isinstance(name, str) and name not in skipped:
                    found.references[prefix + name] = value
        for name, child in module.state["_modules"].items():
            if isinstance(child, Record) and isinstance(name, str) and _is_module(child):
                walk(child, f"{prefix}{name}.", depth + 1)
            elif isinstance(child, Record) and isinstance(name, str):
                parts = quantised_state.module_tensors(child)
                found.references.update({f"{prefix}{name}.{part}": value for part, value in parts.items()})
                found.classes[prefix + name] = str(child.cls)

    walk(record, "", 0)
    found.attributes = {
        key: str(value) if isinstance(value, Global) else value
        for key, value in record.state.items()
        if isinstance(key, str)
        and not key.startswith("_")
        and isinstance(value, (bool, int, float, str, Global, type(None)))
    }
    return found
