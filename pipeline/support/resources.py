"""Where the files that travel with the package lie: in the repository, or inside the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def resource(name: str) -> Path:
    """The path of `unity_templates`, `UnityProject`, `examples/picture.jpg` or `docs/errors.md`.

    A checkout has them beside the package, a wheel in `pipeline/_data` (pyproject.toml, force-include).
    """
    for base in (_PACKAGE / "_data", _PACKAGE.parent):
        path = base / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of the pipeline")
