"""Writes the shared runtime as a package of Unity's package manager instead of into Assets.

Everything in `StyleTransfer/` except the models becomes the package, with the same GUIDs, so that styles refer to
the runtime in the same way in both cases. The models stay in Assets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.support.resources import resource
from pipeline.support.version import __version__
from pipeline.targets import Target
from pipeline.unity import demo_project, meta
from pipeline.unity.bundle import ROOT, SHARED, with_manifest
from pipeline.unity.editions import EDITIONS
from pipeline.unity.guid import guid
from pipeline.unity.manifest import MANIFEST
from pipeline.unity.packages import MODULES
from pipeline.unity.templates import fill, templates_folder

NAME = "com.bridge-pipeline.styletransfer"
"""The package, and its folder in Packages/."""

_SAMPLE = f"{NAME}/Samples~/Demo"
_MODELS = f"{ROOT}/Models"


def split(files: Mapping[str, bytes], style: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of `bundle.render` for Assets, and the shared ones for the package's folder in Packages/."""
    assets, shared = {}, {}
    for path, data in files.items():
        if PurePosixPath(path.removesuffix(".meta")).name == MANIFEST and not path.startswith(f"{_MODELS}/"):
            continue
        kept = path in (f"{ROOT}.meta", f"{_MODELS}.meta", f"{SHARED}.meta")
        if kept or path.startswith((f"{_MODELS}/", f"{SHARED}/")):
            assets[path] = data
        elif not path.startswith(f"{ROOT}/README.txt"):
            shared[f"{NAME}{path.removeprefix(ROOT)}"] = data
    own = f"{_MODELS}/{style}"
    of_models = (f"{own}.meta", f"{SHARED}.meta")
    common = {
        path: data
        for path, data in assets.items()
        if path not in of_models and not path.startswith((f"{own}/", f"{SHARED}/"))
    }
    of_style = {path: data for path, data in assets.items() if path not in common}
    return {**with_manifest(ROOT, common), **_including_package(of_style, own)}, shared


def _including_package(files: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    """The files of a style, its compute shaders with the package's files instead of those in Assets."""
    rewritten = {
        path: data.replace(b'#include "../', b'#include "Packages/%b/' % NAME.encode())
        if path.endswith(".compute")
        else data
        for path, data in files.items()
    }
    if rewritten == files:
        return rewritten
    manifest = f"{folder}/{MANIFEST}"
    facts = {
        key: value for key, value in json.loads(rewritten[manifest]).items() if key not in ("format", "files")
    }
    return with_manifest(folder, {p: d for p, d in rewritten.items() if not p.startswith(manifest)}, facts)


def render(shared: Mapping[str, bytes], target: Target, style: str, prefab: str) -> dict[str, bytes]:
    """Every file of the package: path from Packages/ -> bytes. `shared` is the second part of `split`.

    The demo is a sample that shows the bundle `style`, whose prefab's text is `prefab`.
    """
    values = {"name": NAME, "version": _version(), "unity": target.unity, "target": target.name}
    texts = {
        "package.json": _description(target),
        "README.md": fill("package/README.md.j2", **values),
        "CHANGELOG.md": fill("package/CHANGELOG.md.j2", **values),
        "LICENSE.md": (templates_folder() / "package" / "LICENSE.md").read_bytes().replace(b"\r\n", b"\n"),
    }
    files = dict(shared)
    for name, data in texts.items():
        path = f"{NAME}/{name}"
        files |= {path: data, f"{path}.meta": meta.file_meta(path, guid(path))}
    files |= _sample(style, prefab)
    engines = {path.split("/")[2] for path in files if path.startswith(f"{NAME}/Engines/") and path.count("/") > 2}
    engine_files: dict[str, bytes] = {}
    for engine in sorted(engines):
        folder = f"{NAME}/Engines/{engine}"
        unit = {
            path: data for path, data in files.items() if path.startswith(f"{folder}/") or path == f"{folder}.meta"
        }
        engine_files |= with_manifest(folder, unit)
    rest = {path: data for path, data in files.items() if path not in engine_files}
    return dict(sorted((engine_files | with_manifest(NAME, rest)).items()))


def _version() -> str:
    """As Unity's package manager wants it: three numbers."""
    numbers = [part for part in __version__.split(".") if part.isdigit()][:3]
    return ".".join([*numbers, *["0"] * (3 - len(numbers))])


def _description(target: Target) -> bytes:
    described = {
        "name": NAME,
        "version": _version(),
        "displayName": "Style Transfer",
        "description": "Real-time style transfer for cameras: the runtime for styles built by "
        "unity-bridge-pipeline.",
        "unity": target.unity,
        "license": "MIT",
        "keywords": ["style transfer", "post-processing", "neural network"],
        "dependencies": dict(sorted((target.family.packages(target) | MODULES).items())),
        "samples": [
            {
                "displayName": "Demo",
                "description": "A small scene with moving objects, a camera path, and keys for the settings.",
                "path": _SAMPLE.removeprefix(f"{NAME}/"),
            }
        ],
    }
    return (json.dumps(described, indent=2) + "\n").encode("ascii")


def _sample(style: str, prefab: str) -> dict[str, bytes]:
    """The demo, as a folder that Unity copies into Assets."""
    project = resource("UnityProject")
    by_hand = demo_project.hand_written(project)
    files = demo_project.render(by_hand, style, prefab, EDITIONS[0])
    files |= {path: (project / path).read_bytes().replace(b"\r\n", b"\n") for path in by_hand}
    kept = ("Assets/Demo", "Assets/Scenes")
    return {
        f"{_SAMPLE}/{path.removeprefix('Assets/')}": data for path, data in files.items() if path.startswith(kept)
    }


def embedded(project: Path) -> Path:
    """The folder of the package in a project that embeds it."""
    return project / "Packages" / NAME
