"""Small bundles for tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import targets
from pipeline.unity.bundle import ROOT, BundleSpec
from pipeline.unity.manifest import manifest


def spec(name: str = "Mosaic", onnx: bytes = b"\x08\x03onnx\x00graph", **changes: Any) -> BundleSpec:
    values: dict[str, Any] = {
        "name": name,
        "title": name,
        "onnx": onnx,
        "target": targets.get(targets.DEFAULT),
        "source_name": f"{name.lower()}.pth",
        "source_digest": hashlib.sha256(b"source").hexdigest(),
        "model_digest": hashlib.sha256(onnx).hexdigest(),
        "architecture": "fast-neural-style",
        "input_name": "input",
        "output_name": "output",
        "input_channels": 3,
        "output_channels": 3,
        "nominal_width": 960,
        "nominal_height": 540,
        "size_multiple": 4,
        "fixed_size": False,
        "output_scale": 1.0,
        "weights": 1679235,
        "giga_macs": 42.125,
        "golden_input_png": b"\x89PNG\r\n\x1a\n\x00in",
        "golden_output_png": b"\x89PNG\r\n\x1a\n\x00out",
        "golden_tolerance": 1.0,
        "reports": {"report.html": b"<p>\n", "report.json": b"{}\n", "report.md": b"# Report\n"},
    }
    return BundleSpec(**(values | changes))


def small(content: str = "1", name: str = "Mosaic", more: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """A bundle of a few files: two shared ones, three of a model. `more`: further files of the model."""
    folder = f"{ROOT}/Models/{name}"
    shared = {
        f"{ROOT}.meta": b"fileFormatVersion: 2\nguid: root\n",
        f"{ROOT}/Runtime/Camera.cs": f"camera {content}\n".encode(),
        f"{ROOT}/Runtime/Camera.cs.meta": b"fileFormatVersion: 2\nguid: camera\n",
    }
    own = {
        f"{folder}.meta": b"fileFormatVersion: 2\nguid: folder\n",
        f"{folder}/{name}.onnx": b"\0graph " + content.encode(),
        f"{folder}/{name}StyleTransfer.cs": f"stub {content}\n".encode(),
        f"{folder}/{name}StyleTransfer.cs.meta": b"fileFormatVersion: 2\nguid: stub\nmore: 0\n",
        **{f"{folder}/{file}": data for file, data in (more or {}).items()},
    }
    return {
        **shared,
        **own,
        f"{ROOT}/bundle.json": manifest(shared),
        f"{folder}/bundle.json": manifest(own),
    }


def tree(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: path -> bytes; links as `-> target`, folders without content as `/`."""
    found: dict[str, bytes | str] = {}
    for base, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(base) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[relative] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[relative] = path.read_bytes()
            elif not any(path.iterdir()):
                found[relative] = "/"
    return found
