"""Keras .h5 files of Fritz's style network: the weights in layer order, as a state dict.

Read with h5py; no Keras, and none of the configuration is run. Files: `model_weights/<layer>/...` with the layers
in the order of the `layer_names` attribute (names sort as conv2d_1, conv2d_10, ...), kernels as (kh, kw, in, out);
where a `model_config` is there, its layers are checked against the architecture before anything is believed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.architectures.fritz import EPSILON
from pipeline.sources import plain
from pipeline.sources.budget import Budget
from pipeline.sources.failures import damaged, guarded
from pipeline.sources.pickled import shown
from pipeline.sources.tensors import StateDict
from pipeline.support.errors import MissingDependency, PipelineError

_KINDS = {frozenset({"kernel"}): "conv", frozenset({"gamma", "beta"}): "norm"}
"""Layers with weights in Fritz's network, by the names of their tensors."""


def read_keras(path: Path) -> StateDict:
    """The state dict of a Keras file, named `convN.weight` (out, in, kh, kw), `normN.weight`, `normN.bias`.

    Raises PipelineError: truncated-file, damaged-file, not-a-keras-model, unknown-architecture (another Keras
    network), not-finite-weights; MissingDependency without h5py.
    """
    try:
        import h5py
    except ImportError:
        raise MissingDependency("h5py", "keras", "reading Keras .h5 files") from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        text = str(error)
        code = "truncated-file" if "truncated" in text or "eof" in text.lower() else "damaged-file"
        raise damaged(path, "HDF5 cannot open it" if code == "damaged-file" else "HDF5 ends early", code) from None
    with file:
        return guarded(path, lambda: _read(path, file))


def _read(path: Path, file: Any) -> StateDict:
    import h5py

    group = _inside(file, "model_weights") if "model_weights" in file else file
    names = group.attrs.get("layer_names") if isinstance(group, h5py.Group) else None
    if names is None:
        raise PipelineError(
            "not-a-keras-model",
            "this is an HDF5 file, but not one that Keras wrote (it has no layer_names)",
            subject=str(path),
            remedy="Give the .h5 that model.save() or save_weights() wrote.",
        )
    notes = _check_config(path, file.attrs.get("model_config"))
    tensors: dict[str, np.ndarray] = {}
    count = {"conv": 0, "norm": 0}
    budget = Budget(path, path.stat().st_size)
    for name in map(_text, names):
        leaves = _datasets(_inside(group, name), h5py)
        kind = _KINDS.get(frozenset(leaves), "")
        if leaves and not kind:
            raise _foreign(path, f"layer {shown(name)} with the tensors {', '.join(sorted(leaves))[:200]}")
        for leaf, dataset in sorted(leaves.items(), reverse=True):
            if dataset.is_virtual or dataset.external:
                raise damaged(path, f"layer {shown(name)} keeps its numbers in another file")
            if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8 or dataset.shape is None:
                raise damaged(path, f"layer {shown(name)} holds no floating point numbers")
            if unknown := _filters(dataset) - _FILTERS:
                raise damaged(path, f"layer {shown(name)} is compressed by the filter {min(unknown)}")
            budget.take(dataset.size * max(dataset.dtype.itemsize, 4))
            count[kind] += leaf != "beta"
            values = np.asarray(dataset[()], dtype=np.float32)
            if leaf == "kernel" and values.ndim == 4:
                values = np.ascontiguousarray(values.transpose(3, 2, 0, 1))
            part = "bias" if leaf == "beta" else "weight"
            tensors[f"{kind}{count[kind]}.{part}"] = values
    if not tensors:
        raise PipelineError(
            "not-a-keras-model",
            "the file holds no weights",
            subject=str(path),
            remedy="Give the .h5 that model.save() or save_weights() wrote.",
        )
    plain.check_finite(tensors, str(path))
    return StateDict(tensors, "keras-h5", str(path), notes)


_FILTERS = {1, 2, 3, 6, 32000}
"""deflate, shuffle, fletcher32, scale-offset and LZF: others are plugins, which HDF5 loads from disk."""


def _filters(dataset: Any) -> set[int]:
    created = dataset.id.get_create_plist()
    return {created.get_filter(index)[0] for index in range(created.get_nfilters())}


def _inside(group: Any, name: str) -> Any:
    """What lies under a path inside the file itself: a soft or external link anywhere on the way is refused."""
    import h5py

    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{shown(name)} is a link, or is not there")
        group = group[part]
    return group


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise ValueError(f"a name in it is {shown(value)}")
    return value


def _datasets(group: Any, h5py: Any) -> dict[str, Any]:
    """The data sets of a layer by leaf name: kernel, gamma, beta, ..."""
    found = {}
    for name in map(_text, group.attrs.get("weight_names", ())):
        held = _inside(group, name)
        if not isinstance(held, h5py.Dataset):
            raise ValueError(f"{shown(name)} is no data set")
        found[name.rpartition("/")[2].partition(":")[0]] = held
    return found


def _foreign(path: Path, difference: str) -> PipelineError:
    return PipelineError(
        "unknown-architecture",
        f"this Keras network is not known here; the nearest is fritz, where {difference} is not part of it",
        subject=str(path),
        remedy="Export it to ONNX (tf2onnx) and give the .onnx file.",
    )


def _check_config(path: Path, config: Any) -> list[str]:
    """Compare the stored layers with those of Fritz's network; notes. A file of weights alone has no config."""
    if config is None:
        return ["the file holds weights only: the layers between them are taken to be those of Fritz's network"]
    layers = json.loads(_text(config))["config"]["layers"]
    kinds = [str(layer["class_name"]) for layer in layers]
    convolutions = kinds.count("Conv2D")
    expected = _expected(max(convolutions - 6, 0) // 2)
    for layer, wanted in zip(layers, expected, strict=False):
        settings = layer["config"]
        for key, value in wanted.items():
            held = layer["class_name"] if key == "class_name" else settings.get(key, value)
            if held != value and not (key == "axis" and held == 3):
                name = shown(layer.get("name"))
                raise _foreign(path, f"layer {name} ({key} {shown(held)} instead of {value!r})")
    if len(layers) != len(expected):
        raise _foreign(path, f"the number of layers ({len(layers)} instead of {len(expected)})")
    shape = layers[0]["config"].get("batch_input_shape") or [None] * 4
    return [f"Keras declares the input {shape[1:]}; the network runs at any multiple of 4"] if shape[1] else []


def _expected(blocks: int) -> list[dict[str, Any]]:
    """The layers of Fritz's network (style_transfer/models.py) with what matters of their configuration."""

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
