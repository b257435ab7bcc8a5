"""Validates files: what `pipeline validate` does, without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.findings import Finding, Severity


@dataclass(frozen=True)
class Verdict:
    """The findings of one file for one target, worst first."""

    file: Path
    target: str
    findings: tuple[Finding, ...]

    @property
    def summary(self) -> str:
        """What happens to the file in Unity, in a few words."""
        counts = Counter(f.severity for f in self.findings)
        told = ", ".join(f"{counts[s]} {s}" for s in Severity if counts[s])
        if counts[Severity.ERROR]:
            return f"does not import or run ({told})"
        if counts[Severity.WRONG]:
            return f"imports and computes something else ({told})"
        if counts[Severity.WARNING]:
            return f"computes right, the console warns ({told})"
        return f"computes right ({told})" if told else "computes right"

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "target": self.target,
            "summary": self.summary,
            "findings": [f.as_dict() for f in self.findings],
        }


def check_files(files: Iterable[Path], targets: Iterable[str] | None = None) -> list[Verdict]:
    """A verdict for each .onnx file and each target, in the order given; folders stand for their .onnx files.

    Raises PipelineError for what is no ONNX file, with the reason (LFS pointer, HTML page, truncated, ...).
    """
    from pipeline import targets as known
    from pipeline.sources.onnx_file import load_model
    from pipeline.validate import validate

    chosen = [known.get(name) for name in targets or (known.DEFAULT,)]
    verdicts = []
    for file in _expand(files):
        model = load_model(file)
        verdicts += [Verdict(file, t.name, tuple(validate(model, t))) for t in chosen]
    return verdicts


def _expand(files: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for file in files:
        if not file.is_dir():
            found[file] = None
            continue
        inside = sorted(p for p in file.rglob("*.onnx") if p.is_file())
        if not inside:
            raise PipelineError(
                "nothing-to-validate", "there is no .onnx file in this folder", subject=str(file)
            )
        found.update(dict.fromkeys(inside))
    return list(found)
