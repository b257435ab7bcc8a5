"""The result of a build, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.unity.writer import InstallResult


@dataclass
class BuildResult:
    """The result of a build. `report` is deterministic; the other fields describe this one run."""

    report: dict[str, Any]
    bundle: Path | None = None
    """The folder of the model: .../StyleTransfer/Models/<Name>, or the .onnx file of `convert`."""
    project: Path | None = None
    install: InstallResult | None = None
    cached: bool = False
    notes: list[str] = field(default_factory=list)
    preview: Path | None = None
    """The file that --preview named."""
    next_step: str = ""
    """What to do in Unity, in a sentence."""

    def as_dict(self) -> dict[str, Any]:
        """The result as data for `--json`: the report and where things went."""
        return {
            **self.report,
            "bundle": str(self.bundle) if self.bundle else None,
            "project": str(self.project) if self.project else None,
            "cached": self.cached,
            "install": None if self.install is None else _install_dict(self.install),
            "preview": str(self.preview) if self.preview else None,
            "install_notes": self.notes,
            "next_step": self.next_step,
        }


def _install_dict(install: InstallResult) -> dict[str, list[str]]:
    return {key: sorted(str(path) for path in paths) for key, paths in asdict(install).items()}
