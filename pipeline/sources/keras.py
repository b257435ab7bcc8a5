"""Read Keras .h5 files of Fritz's style network into a state dict, with the weights in layer order.

Keras is not needed, and no configuration is executed. If the file has a `model_config`, its layers are checked
against the architecture. The file is read in a separate process (keras_file.py), because the HDF5 library can
crash or hang on a damaged file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.architectures.fritz_graph import EPSILON
from pipeline.sources import plain
from pipeline.sources.budget import Budget
from pipeline.sources.failures import damaged, guarded
from pipeline.sources.pickled import shown
from pipeline.sources.tensors import StateDict
from pipeline.support import limits
from pipeline.support.errors import MissingDependency, PipelineError
from pipeline.support.parsing import from_json
from pipeline.support.untrusted import out_of_memory

_KINDS = {frozenset({"kernel"}): "conv", frozenset({"gamma", "beta"}): "norm"}
"""Layers with weights in Fritz's network, by the names of their tensors."""
SECONDS = 30.0
"""Time limit for reading a file, unless PIPELINE_TIME_LIMIT is set."""


def read_keras(path: Path) -> StateDict:
    """The state dict of a Keras file: `convN.weight` (out, in, kh, kw), `normN.weight`, `normN.bias`.

    Raises PipelineError: truncated-file, damaged-file, not-a-keras-model, unknown-architecture (another Keras
    network), not-finite-weights, over-budget, time-limit; MissingDependency without h5py.
    """
    if importlib.util.find_spec("h5py") is None:
        raise MissingDependency("h5py", "keras", "reading Keras .h5 files")
    return guarded(path, lambda: _state(path, *_layers(path)))


Layer = tuple[str, dict[str, np.ndarray]]
"""The name of a layer, and its tensors by their leaf names (kernel, gamma, beta)."""


def _layers(path: Path) -> tuple[list[Layer], str | None]:
    """The layers of the file in order, and its model_config or None, read by another process."""
    budget = Budget(path, path.stat().st_size)
    seconds = limits.time_limit() if os.environ.get(limits.TIME) else SECONDS
    command = [sys.executable, "-m", "pipeline.sources.keras_file", str(budget.limit), str(path.absolute())]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)},
            )
        )
        stack.callback(process.kill)
        try:
            answer, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise PipelineError(
                "time-limit",
                f"HDF5 did not finish reading this file within {seconds:g} s",
                subject=str(path),
                remedy="It is most likely damaged. If not, allow more time: "
                f"{limits.TIME}={max(600, round(4 * seconds))}.",
            ) from None
    stream = io.BytesIO(answer)
    try:
        about = json.loads(stream.readline())
    except ValueError:
        if process.returncode == -9:
            raise out_of_memory(str(path)) from None
        raise damaged(path, f"HDF5 failed while reading it (exit code {process.returncode})") from None
    if "code" in about:
        raise _refusal(path, about, budget)
    layers: list[Layer] = []
    for name, leaves in about["layers"]:
        layers.append((name, {leaf: np.load(stream, allow_pickle=False) for leaf in leaves}))
    return layers, about["config"]


def _refusal(path: Path, about: dict[str, str], budget: Budget) -> PipelineError:
    """The refusal of the reading process as a PipelineError."""
    code, detail = str(about["code"]), str(about["detail"])[:400]
    if code == "not-a-keras-model":
        return PipelineError(
            "not-a-keras-model",
            detail,
            subject=str(path),
            remedy="Use the .h5 file that model.save() or save_weights() wrote.",
        )
    if code == "over-budget":
        budget.take(budget.limit + 1 if not detail.isdecimal() else int(detail))
    if code == "out-of-memory":
        return out_of_memory(str(path))
    return damaged(path, detail, code if code == "truncated-file" else "damaged-file")


def _state(path: Path, layers: list[Layer], config: str | None) -> StateDict:
    notes = _check_config(path, config)
    tensors: dict[str, np.ndarray] = {}
    count = {"conv": 0, "norm": 0}
    for name, leaves in layers:
        kind = _KINDS.get(frozenset(leaves), "")
        if leaves and not kind:
            raise _foreign(path, f"layer {shown(name)} with the tensors {', '.join(sorted(leaves))[:200]}")
        for leaf, array in sorted(leaves.items(), reverse=True):
            count[kind] += leaf != "beta"
            values = array.astype(np.float32)
            if leaf == "kernel" and values.ndim == 4:
                values = np.ascontiguousarray(values.transpose(3, 2, 0, 1))
            part = "bias" if leaf == "beta" else "weight"
            tensors[f"{kind}{count[kind]}.{part}"] = values
    if not tensors:
        raise _refusal(
            path, {"code": "not-a-keras-model", "detail": "the file contains no weights"}, Budget(path, 0)
        )
    plain.check_finite(tensors, str(path))
    return StateDict(tensors, "keras-h5", str(path), notes)


def _foreign(path: Path, difference: str) -> PipelineError:
    return PipelineError(
        "unknown-architecture",
        f"this Keras network is not known; the most similar one is fritz, which does not have {difference}",
        subject=str(path),
        remedy="Export it to ONNX (tf2onnx) and use the .onnx file.",
    )


def _check_config(path: Path, config: str | None) -> list[str]:
    """Compare the stored layers with those of Fritz's network; returns notes. A file of weights has no config."""
    if config is None:
        return ["the file contains only weights: the layers are assumed to be those of Fritz's network"]
    layers = from_json(config)["config"]["layers"]
    kinds = [str(layer["class_name"]) for layer in layers]
    convolutions = kinds.count("Conv2D")
    expected = _expected(max(convolutions - 6, 0) // 2)
    for layer, known in zip(layers, expected, strict=False):
        settings = layer["config"]
        for key, value in known.items():
            found = layer["class_name"] if key == "class_name" else settings.get(key, value)
            if found != value and not (key == "axis" and found == 3):
                name = shown(layer.get("name"))
                raise _foreign(path, f"layer {name} ({key} {shown(found)} instead of {value!r})")
    if len(layers) != len(expected):
        raise _foreign(path, f"the number of layers ({len(layers)} instead of {len(expected)})")
    shape = layers[0]["config"].get("batch_input_shape") or [None] * 4
    return [f"Keras declares the input {shape[1:]}; the network runs at any multiple of 4"] if shape[1] else []


def _expected(blocks: int) -> list[dict[str, Any]]:
    """The layers of Fritz's network (style_transfer/models.py), with the settings that affect the result."""

    def layer(stride: int, kernel: int, activation: str = "relu") -> list[dict[str, Any]]:
        conv = {"strides": [stride] * 2, "kernel_size": [kernel] * 2, "padding": "same", "use_bias": False}
        plain_conv = {"activation": "linear", "dilation_rate": [1, 1]}
        return [
            {"class_name": "Conv2D", **conv, **plain_conv},
            {"class_name": "InstanceNormalization", "axis": -1, "epsilon": EPSILON},
            *([{"class_name": "Activation", "activation": activation}] if activation else []),
        ]

    up = {"class_name": "UpSampling2D", "size": [2, 2], "interpolation": "nearest"}
    return [
        {"class_name": "InputLayer"},
        *layer(1, 9),
        *layer(2, 3),
        *layer(2, 3),
        *[part for _ in range(blocks) for part in (*layer(1, 3), *layer(1, 3, ""), {"class_name": "Add"})],
        up,
        *layer(1, 3),
        up,
        *layer(1, 3),
        *layer(1, 9, "tanh"),
        {"class_name": "DeprocessStylizedImage"},
    ]
