"""Reads the editor version, packages and render pipeline of a Unity project from its files, without Unity."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.unity import packages

BUILT_IN, UNIVERSAL, HIGH_DEFINITION = "built-in", "URP", "HDRP"
"""Render pipelines."""

_PIPELINES = {
    "com.unity.render-pipelines.universal": UNIVERSAL,
    "com.unity.render-pipelines.high-definition": HIGH_DEFINITION,
}
_VERSION = re.compile(r"^m_EditorVersion: *(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_ASSET_IN_USE = re.compile(
    r"^ *(?:m_CustomRenderPipeline|customRenderPipeline): *\{fileID: *-?[1-9]", re.MULTILINE
)
_LARGEST_SETTINGS = 4_000_000
"""Bytes of a settings file that is read; real ones have a hundredth."""


@dataclass(frozen=True)
class ProjectFacts:
    """Facts about a project.

    `editor` is (2022, 3, 17) for 2022.3.17f1, and None where the project does not say. `packages` holds direct,
    resolved and embedded packages: name -> version, path or URL. `pipelines` are the render pipelines that it
    may use: one, or URP and HDRP where both are installed and one is in use.
    """

    root: Path
    editor: tuple[int, int, int] | None
    packages: Mapping[str, str]
    pipelines: tuple[str, ...]


def read(project: Path) -> ProjectFacts:
    """The facts of the project in a folder. Raises PipelineError `package-manifest-broken`."""
    installed = packages.present(project)
    return ProjectFacts(project, _editor(project), installed, _pipelines(project, installed))


def _editor(project: Path) -> tuple[int, int, int] | None:
    found = _VERSION.search(_settings(project, "ProjectVersion.txt"))
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _pipelines(project: Path, held: Mapping[str, str]) -> tuple[str, ...]:
    """The package of a pipeline is not enough: an asset of it must be set, for all or for a quality level."""
    installed = tuple(name for package, name in _PIPELINES.items() if package in held)
    texts = (_settings(project, "GraphicsSettings.asset"), _settings(project, "QualitySettings.asset"))
    return installed if installed and any(map(_ASSET_IN_USE.search, texts)) else (BUILT_IN,)


def _settings(project: Path, name: str) -> str:
    try:
        with (project / "ProjectSettings" / name).open("rb") as file:
            return file.read(_LARGEST_SETTINGS).decode("utf-8", "replace")
    except OSError:
        return ""


def renderers(project: Path) -> Iterator[Path]:
    """URP's renderer assets in Assets/, which hold the list of renderer features."""
    for path in sorted((project / "Assets").rglob("*.asset")):
        try:
            with path.open("rb") as file:
                if b"m_RendererFeatures:" in file.read(_LARGEST_SETTINGS):
                    yield path
        except OSError:
            continue
